//! Structures and unions, and where their members lie.

use std::collections::HashSet;

use super::{Btf, Id, kind};

/// Where a member lies in its structure, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources::hits) struct Member {
    /// Its first bit, counted from the structure's beginning.
    pub(in crate::sources::hits) bit: u64,
    /// Its width, if it is a bit field.
    pub(in crate::sources::hits) width: Option<u8>,
    /// Its type.
    pub(in crate::sources::hits) of: Id,
}

impl Btf {
    /// The structure or union called `name`, or what a `typedef` calls so.
    pub(in crate::sources::hits) fn structure(&self, name: &str) -> Option<Id> {
        let found = self.named(name, &[kind::STRUCT, kind::UNION]).map(|(id, _)| id).next();
        found.or_else(|| {
            let (id, found) = self.unaliased(self.named(name, &[kind::TYPEDEF]).next()?.0)?;
            matches!(found.kind, kind::STRUCT | kind::UNION).then_some(id)
        })
    }

    /// The names of all structures and unions.
    pub(in crate::sources::hits) fn structures(&self) -> impl Iterator<Item = &str> {
        let found = self
            .files
            .iter()
            .flat_map(|file| &file.types)
            .filter(|found| matches!(found.kind, kind::STRUCT | kind::UNION));
        found.filter_map(|found| self.string(found.name)).filter(|name| !name.is_empty())
    }

    /// The member called `name` of structure `id`, also of one without a name in it.
    pub(in crate::sources::hits) fn member(&self, id: Id, name: &str) -> Option<Member> {
        self.find_member(id, |found| (found == name).then_some(()))
    }

    /// The names of all its members.
    pub(in crate::sources::hits) fn members(&self, id: Id) -> Vec<String> {
        let mut names = Vec::new();
        self.find_member(id, |found| {
            names.push(found.to_owned());
            None
        });
        names
    }

    /// The first member whose name `wanted` takes.
    fn find_member(&self, id: Id, mut wanted: impl FnMut(&str) -> Option<()>) -> Option<Member> {
        // Structures whose members are members of it, with where they begin: those without a name.
        // Each once, so that a damaged file, where one may hold itself, comes to an end.
        let mut inside = vec![(id, 0)];
        let mut seen = HashSet::new();
        while let Some((id, base)) = inside.pop() {
            let Some((id, found)) = self.unaliased(id) else { continue };
            if !matches!(found.kind, kind::STRUCT | kind::UNION) || !seen.insert(id) {
                continue;
            }
            for index in 0..found.count {
                let field = |word| self.word(&found, 3 * index + word);
                let (name, of, at) = (field(0)?, Id(field(1)?), field(2)?);
                let (bit, width) = if found.has_widths { (at & 0xff_ffff, at >> 24) } else { (at, 0) };
                let bit = base + u64::from(bit);
                match self.string(name) {
                    None | Some("") => inside.push((of, bit)),
                    Some(name) if wanted(name).is_some() => {
                        return Some(Member { bit, width: (width != 0).then_some(width as u8), of });
                    }
                    Some(_) => {}
                }
            }
        }
        None
    }
}
