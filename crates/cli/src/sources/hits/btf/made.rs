//! Type information made for tests, from types as C has them.

use super::kind;

/// A file that is being made.
#[derive(Clone, Debug, Default)]
pub(in crate::sources::hits) struct Made {
    words: Vec<u32>,
    strings: Vec<u8>,
    /// What the types and strings of the file that it continues take.
    base: (u32, u32),
    types: u32,
}

impl Made {
    /// The file that is the first one.
    pub(in crate::sources::hits) fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    /// A file that continues this one.
    pub(in crate::sources::hits) fn continued(&self) -> Self {
        let base = (self.base.0 + self.types, self.base.1 + self.strings.len() as u32);
        Self { base, ..Self::default() }
    }

    /// A type: the number it gets.
    pub(in crate::sources::hits) fn add(&mut self, name: &str, info: u32, size: u32, more: &[u32]) -> u32 {
        let name = self.string(name);
        self.words.extend([name, info, size]);
        self.words.extend(more);
        self.types += 1;
        self.base.0 + self.types
    }

    fn string(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.base.1 + self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    pub(in crate::sources::hits) fn integer(&mut self, name: &str, bytes: u32, signed: bool) -> u32 {
        self.add(name, kind::INT << 24, bytes, &[(u32::from(signed) << 24) | (8 * bytes)])
    }

    pub(in crate::sources::hits) fn alias(&mut self, kind: u32, name: &str, of: u32) -> u32 {
        self.add(name, kind << 24, of, &[])
    }

    pub(in crate::sources::hits) fn typedef(&mut self, name: &str, of: u32) -> u32 {
        self.alias(kind::TYPEDEF, name, of)
    }

    pub(in crate::sources::hits) fn constant(&mut self, of: u32) -> u32 {
        self.alias(kind::CONST, "", of)
    }

    pub(in crate::sources::hits) fn pointer(&mut self, to: u32) -> u32 {
        self.alias(kind::PTR, "", to)
    }

    pub(in crate::sources::hits) fn array(&mut self, of: u32, count: u32) -> u32 {
        self.add("", kind::ARRAY << 24, 0, &[of, 1, count])
    }

    pub(in crate::sources::hits) fn forward(&mut self, name: &str) -> u32 {
        self.add(name, kind::FWD << 24, 0, &[])
    }

    pub(in crate::sources::hits) fn enumeration(&mut self, name: &str, bytes: u32) -> u32 {
        self.add(name, kind::ENUM << 24, bytes, &[])
    }

    /// A structure of members, each a name, a type and the bit it begins at.
    pub(in crate::sources::hits) fn structure(
        &mut self,
        name: &str,
        bytes: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        self.members(kind::STRUCT << 24, name, bytes, members)
    }

    /// As [`structure`](Self::structure), of a union.
    pub(in crate::sources::hits) fn union(
        &mut self,
        name: &str,
        bytes: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        self.members(kind::UNION << 24, name, bytes, members)
    }

    /// A structure with bit fields: members with their widths, 0 for one that is none.
    pub(in crate::sources::hits) fn fields(
        &mut self,
        name: &str,
        bytes: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let members: Vec<_> =
            members.iter().map(|(name, of, bit, width)| (*name, *of, width << 24 | bit)).collect();
        self.members(1 << 31 | kind::STRUCT << 24, name, bytes, &members)
    }

    fn members(&mut self, info: u32, name: &str, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        let more: Vec<u32> =
            members.iter().flat_map(|(name, of, at)| [self.string(name), *of, *at]).collect();
        self.add(name, info | members.len() as u32, bytes, &more)
    }

    /// A function of parameters, each a name and a type.
    pub(in crate::sources::hits) fn function(
        &mut self,
        name: &str,
        returns: u32,
        parameters: &[(&str, u32)],
    ) {
        let more: Vec<u32> = parameters.iter().flat_map(|(name, of)| [self.string(name), *of]).collect();
        let prototype = self.add("", kind::FUNC_PROTO << 24 | parameters.len() as u32, returns, &more);
        self.add(name, kind::FUNC << 24, prototype, &[]);
    }

    /// As it lies in a file.
    pub(in crate::sources::hits) fn bytes(&self) -> Vec<u8> {
        let length = 4 * self.words.len() as u32;
        let header = [0x0001_eb9f, 24, 0, length, length, self.strings.len() as u32];
        let words = header.iter().chain(&self.words).flat_map(|word| word.to_le_bytes());
        words.chain(self.strings.iter().copied()).collect()
    }
}
