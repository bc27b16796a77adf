//! rnndb: XML of envytools, Mesa (`src/freedreno/registers`) and the kernel (`drm/msm/registers`).
//!
//! A file has domains, and registers in them one by one, in arrays and stripes, and in groups that
//! are used in several places. Offsets count cells of the domain's width, and become bytes here.
//! What lies in a file that another imports is found by asking for it; of bitsets, enums and groups
//! the one in the file itself comes first.
//!
//! Registers of all variants are taken unless one is asked for. Then what is of others is left out,
//! by the order of the variants in their enum.
//!
//! Format: `rnndb/rules-ng-ng.txt` of envytools, `rules-fd.txt` of Mesa for what was added there.

mod fields;
mod variants;

use std::collections::{HashMap, HashSet};

use roxmltree::Node;

use crate::AccessRule;

use super::output::{Line, Output};
use super::place::{Array, INDEX, Part, Place};
use super::tree::{Tree, child, children, words};
use super::{ImportError, Options, Source};

use variants::Variants;

/// Groups, arrays and stripes within each other at most.
const DEEPEST: usize = 24;

/// Files that are imported at most.
const MOST_FILES: usize = 512;

/// Takes the registers of the domains that were chosen.
pub(super) fn import(
    sources: &[&Source],
    options: &Options<'_>,
    output: &mut Output,
) -> Result<(), ImportError> {
    let imported = with_imports(sources, options, output)?;
    let all: Vec<&Source> = sources.iter().copied().chain(&imported).collect();
    let trees = all.iter().map(|source| Tree::parse(source)).collect::<Result<Vec<_>, _>>()?;
    let named = Named::of(&trees);
    let variants = Variants::of(&named, &options.variants)?;
    let mut domains: Vec<(usize, Node<'_, '_>, &str)> = Vec::new();
    for (file, tree) in trees.iter().enumerate() {
        for node in tree.root().descendants().filter(|node| node.has_tag_name("domain")) {
            if let Some(name) = node.attribute("name").filter(|_| has_registers(&node)) {
                domains.push((file, node, name));
            }
        }
    }
    let chosen = choose(&all, sources.len(), domains, &options.blocks)?;
    let names: HashSet<&str> = chosen.iter().map(|(.., name)| *name).collect();
    output.title(|| chosen.first().map_or_else(String::new, |(.., name)| (*name).to_owned()));
    let mut import =
        Import { files: &all, trees: &trees, named: &named, variants, output, base: options.base };
    for (file, node, name) in chosen {
        let cell = node.attribute("width").and_then(number).unwrap_or(8) / 8;
        if !matches!(cell, 1 | 2 | 4 | 8) {
            let line = Line { file: &all[file].name, line: trees[file].line(node) };
            import.output.leave(line, name, "a domain of cells that are no bytes", "");
            continue;
        }
        let prefix = if names.len() > 1 { name.to_owned() } else { String::new() };
        let place = Place { name: prefix, ..Place::default() };
        import.block(file, node, &place, cell, 0);
    }
    Ok(())
}

fn has_registers(domain: &Node<'_, '_>) -> bool {
    let is_one = |node: Node<'_, '_>| {
        let name = node.tag_name().name();
        width_of(name).is_some() || name == "use-group"
    };
    domain.descendants().any(is_one)
}

/// Bytes of a `<reg32>`.
fn width_of(tag: &str) -> Option<u8> {
    match tag {
        "reg8" => Some(1),
        "reg16" => Some(2),
        "reg32" => Some(4),
        "reg64" => Some(8),
        _ => None,
    }
}

/// All files that the sources import, and those import.
fn with_imports(
    sources: &[&Source],
    options: &Options<'_>,
    output: &mut Output,
) -> Result<Vec<Source>, ImportError> {
    let mut imported: Vec<Source> = Vec::new();
    let (mut asked, mut missing) = (HashSet::new(), HashSet::new());
    let mut next = 0;
    while next < sources.len() + imported.len() {
        let source =
            if next < sources.len() { sources[next].clone() } else { imported[next - sources.len()].clone() };
        next += 1;
        let tree = Tree::parse(&source)?;
        for node in tree.root().descendants().filter(|node| node.has_tag_name("import")) {
            let Some(file) = node.attribute("file") else { continue };
            let line = Line { file: &source.name, line: tree.line(node) };
            if imported.len() >= MOST_FILES {
                output.leave(line, file, "too many files are imported", format!("at most {MOST_FILES}"));
                return Ok(imported);
            }
            match options.find.and_then(|find| find(file, &source.name)) {
                Some(found) => {
                    let is_given = sources.iter().any(|source| source.name == found.name);
                    if !is_given && asked.insert(found.name.clone()) {
                        imported.push(found);
                    }
                }
                None if file.contains("copyright") || !missing.insert(file.to_owned()) => {}
                None => output.leave(line, file, "a file that it imports was not found", ""),
            }
        }
    }
    Ok(imported)
}

/// Those that were asked for; the only one of the sources if none was.
fn choose<'n>(
    files: &[&Source],
    sources: usize,
    mut all: Vec<(usize, Node<'n, 'n>, &'n str)>,
    wanted: &[String],
) -> Result<Vec<(usize, Node<'n, 'n>, &'n str)>, ImportError> {
    let names = |of: &[(usize, Node<'_, '_>, &str)]| {
        let mut names: Vec<String> = Vec::new();
        for (.., name) in of {
            if !names.iter().any(|one| one == name) {
                names.push((*name).to_owned());
            }
        }
        names
    };
    let of_sources: Vec<_> = all.iter().copied().filter(|(file, ..)| *file < sources).collect();
    let (file, kind) = (files[0].name.clone(), "domain");
    if wanted.is_empty() {
        let own = names(&of_sources);
        match own.len() {
            0 if !all.is_empty() => {
                return Err(ImportError::Choose { file, kind, option: "--domain", names: names(&all) });
            }
            0 | 1 => {}
            _ => return Err(ImportError::Choose { file, kind, option: "--domain", names: own }),
        }
        // Parts of it may stand in files that are imported.
        all.retain(|(.., name)| own.iter().any(|one| one == name));
        return Ok(all);
    }
    if wanted.iter().any(|wanted| wanted == "*") {
        return Ok(of_sources);
    }
    if let Some(wanted) =
        wanted.iter().find(|wanted| !all.iter().any(|(.., name)| name.eq_ignore_ascii_case(wanted)))
    {
        return Err(ImportError::NoBlock { file, kind, wanted: wanted.clone(), names: names(&all) });
    }
    all.retain(|(.., name)| wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)));
    Ok(all)
}

/// A number as rnndb writes it.
fn number(text: &str) -> Option<u64> {
    crate::field::number(&text.trim().to_lowercase())
}

/// Bitsets, enums and groups by name; of several all, for they are one.
struct Named<'n> {
    all: HashMap<(&'n str, &'n str), Vec<(usize, Node<'n, 'n>)>>,
}

impl<'n> Named<'n> {
    fn of(trees: &'n [Tree<'n>]) -> Self {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for (file, tree) in trees.iter().enumerate() {
            for node in tree.root().descendants() {
                let tag = node.tag_name().name();
                if matches!(tag, "bitset" | "enum" | "group")
                    && let Some(name) = node.attribute("name")
                {
                    all.entry((tag, name)).or_default().push((file, node));
                }
            }
        }
        Self { all }
    }

    fn get<'s>(&'s self, tag: &'s str, name: &'s str) -> &'s [(usize, Node<'n, 'n>)] {
        self.all.get(&(tag, name)).map_or(&[], Vec::as_slice)
    }
}

/// An import under way.
struct Import<'o, 'n> {
    files: &'o [&'o Source],
    trees: &'n [Tree<'n>],
    named: &'o Named<'n>,
    variants: Variants<'n>,
    output: &'o mut Output,
    base: Option<u64>,
}

impl<'o, 'n> Import<'o, 'n> {
    fn leave(
        &mut self,
        file: usize,
        node: Node<'_, '_>,
        name: &str,
        why: &'static str,
        detail: impl std::fmt::Display,
    ) {
        let line = self.line(file, node);
        self.output.leave(line, name, why, detail);
    }

    fn line(&self, file: usize, node: Node<'_, '_>) -> Line<'o> {
        Line { file: &self.files[file].name, line: self.trees[file].line(node) }
    }

    /// All that lies in `block`, which lies at `place`.
    fn block(&mut self, file: usize, block: Node<'n, 'n>, place: &Place, cell: u64, depth: usize) {
        for node in block.children().filter(Node::is_element) {
            if self.output.is_full() {
                return;
            }
            let tag = node.tag_name().name();
            let name = node.attribute("name").unwrap_or_default();
            let is_block = matches!(tag, "array" | "stripe" | "use-group");
            if !is_block && width_of(tag).is_none() {
                continue;
            }
            if depth > DEEPEST {
                self.leave(file, node, name, "blocks lie too deep in blocks", "");
                continue;
            }
            if !self.variants.has(node) {
                self.leave(
                    file,
                    node,
                    name,
                    "it is of other variants",
                    node.attribute("variants").unwrap_or_default(),
                );
                continue;
            }
            if tag == "use-group" {
                // Groups that use each other twice double with each level.
                let line = Line { file: &self.files[file].name, line: self.trees[file].line(node) };
                self.output.spend(line, name, 1);
                let groups = self.named.get("group", name);
                if groups.is_empty() {
                    self.leave(file, node, name, "a group that is not known", "");
                }
                for &(file, group) in groups {
                    self.block(file, group, place, cell, depth + 1);
                }
                continue;
            }
            for place in self.enter(file, node, place, cell) {
                match width_of(tag) {
                    Some(width) => self.register(file, node, place, width),
                    None => self.block(file, node, &place, cell, depth + 1),
                }
            }
        }
    }

    /// The places of an array, a stripe or a register.
    fn enter(&mut self, file: usize, node: Node<'n, 'n>, place: &Place, cell: u64) -> Vec<Place> {
        let tag = node.tag_name().name();
        let name = node.attribute("name").unwrap_or_default().replace(INDEX, "");
        let attribute = |name: &str| match node.attribute(name) {
            None => Ok(None),
            Some(text) => number(text).map(Some).ok_or_else(|| format!("{name}=\"{text}\" is no number")),
        };
        let read = || {
            let offset = attribute("offset");
            // Mesa's arrays may lie at several offsets, by the index.
            let offsets = node.attribute("offsets").map(|offsets| {
                let numbers = offsets.split(',').map(|text| number(text).ok_or(text));
                numbers.collect::<Result<Vec<_>, _>>().map_err(|text| format!("{text:?} is no offset"))
            });
            Ok((offset?, offsets.transpose()?, attribute("stride")?, attribute("length")?))
        };
        let (offset, offsets, stride, length) = match read() {
            Ok(read) => read,
            Err(why) => {
                let why: String = why;
                self.leave(file, node, &name, "it is not as the format has it", why);
                return Vec::new();
            }
        };
        let bytes = |cells: u64| cells.checked_mul(cell);
        if let Some(offsets) = offsets {
            let each = offsets.iter().enumerate().map(|(index, offset)| {
                let offset = bytes(*offset).ok_or("it lies past the end of all addresses")?;
                place.enter(&Part { name: format!("{name}[{index}]"), offset, array: None, labels: None })
            });
            return match each.collect::<Result<Vec<_>, _>>() {
                Ok(places) => {
                    let line = Line { file: &self.files[file].name, line: self.trees[file].line(node) };
                    self.output.spend(line, &name, places.len());
                    places.into_iter().flatten().collect()
                }
                Err(why) => {
                    self.leave(file, node, &name, why, "");
                    Vec::new()
                }
            };
        }
        let usual = width_of(tag).map_or(0, u64::from);
        let stride = match stride {
            Some(stride) => bytes(stride),
            None => Some(usual),
        };
        let length = length.unwrap_or(1);
        let (Some(offset), Some(stride), Ok(count)) =
            (bytes(offset.unwrap_or(0)), stride, u32::try_from(length.max(1)))
        else {
            self.leave(file, node, &name, "it lies past the end of all addresses", "");
            return Vec::new();
        };
        if offset == 0 && node.attribute("offset").is_none() && width_of(tag).is_some() {
            self.leave(file, node, &name, "it is not as the format has it", "there is no offset");
            return Vec::new();
        }
        // An array of one has no index.
        let array = (count > 1).then_some(Array { count, stride });
        let part = Part { name, offset, array, labels: None };
        let part =
            if part.name.is_empty() && array.is_some() { Part { name: INDEX.into(), ..part } } else { part };
        match place.enter(&part) {
            Ok(places) => {
                let line = Line { file: &self.files[file].name, line: self.trees[file].line(node) };
                self.output.spend(line, &part.name, places.len());
                places
            }
            Err(why) => {
                self.leave(file, node, &part.name, why, "");
                Vec::new()
            }
        }
    }

    fn register(&mut self, file: usize, node: Node<'n, 'n>, mut place: Place, width: u8) {
        let base = self.base.unwrap_or(0);
        let Some(offset) = place.offset.checked_sub(base) else {
            let detail = format!("{:#x} is below {base:#x}", place.offset);
            return self.leave(file, node, &place.name, "it lies before the base", detail);
        };
        place.offset = offset;
        let mut register = place.register(width);
        register.access = match node.attribute("access") {
            Some("r") => AccessRule::Ro,
            Some("w") => AccessRule::Wo,
            _ => AccessRule::Rw,
        };
        register.description = description(node);
        register.fields = self.fields(file, node, &register.name, width);
        let line = Line { file: &self.files[file].name, line: self.trees[file].line(node) };
        self.output.add(line, register);
    }
}

/// What `<brief>` says, or `<doc>`.
fn description(node: Node<'_, '_>) -> String {
    let found = child(node, "brief").or_else(|| children(node, "doc").next());
    let texts = found.map(|found| {
        found.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect::<String>()
    });
    words(&texts.unwrap_or_default())
}

#[cfg(test)]
mod tests;
