//! CMSIS-SVD: what vendors of microcontrollers describe their peripherals in.
//!
//! Elements are read by `svd-parser`, one at a time. Its own way through a whole file ends at the
//! first element that it doesn't like, takes any number of array elements at its word, and follows
//! derived elements in circles; the walk here leaves out the one register, and goes on.
//!
//! Format: <https://open-cmsis-pack.github.io/svd-spec/main/svd_Format_pg.html>.

mod derive;
mod fields;

use svd_parser::svd::{Access, DeriveFrom, DimElement, RegisterProperties};
use svd_parser::{Config, Parse, ValidateLevel};

use roxmltree::Node;

use crate::AccessRule;

use super::output::{Line, Output};
use super::place::{Array, INDEX, Part, Place};
use super::tree::{Tree, child, children, text};
use super::{ImportError, Options, Source};

use derive::{Derived, Names};

/// Clusters within clusters at most: more is a mistake in the file.
const DEEPEST: usize = 16;

/// Elements of an array at most that have names of their own.
const MOST_LABELS: u32 = 4096;

/// Bits of a register whose file does not tell (the format's default).
const USUAL_BITS: u32 = 32;

/// Takes the registers of the peripherals that were chosen.
pub(super) fn import(source: &Source, options: &Options<'_>, output: &mut Output) -> Result<(), ImportError> {
    let tree = Tree::parse(source)?;
    let device = tree.root();
    let mut import =
        Import { file: &source.name, names: Names::of(&tree), tree: &tree, output, config: config() };
    let mut peripherals = Vec::new();
    let found = children(device, "peripherals").flat_map(|node| children(node, "peripheral"));
    for (node, name) in found.filter_map(|node| Some((node, text(node, "name")?))) {
        let derived = import.names.derived(node);
        let Some(base) = import.attempt(node, &name, derived.number("baseAddress")) else { continue };
        if derived.iter().any(|node| child(node, "registers").is_some()) {
            peripherals.push(Peripheral { name, base, derived });
        }
    }
    let chosen = choose(&source.name, peripherals, &options.blocks)?;
    let Some(lowest) = chosen.iter().map(|peripheral| peripheral.base).min() else { return Ok(()) };
    let base = options.base.unwrap_or(lowest);
    let is_one = chosen.len() == 1;
    import.output.title(|| {
        let title = text(device, "name").unwrap_or_default();
        if is_one { format!("{title} {}", chosen[0].name) } else { title }
    });
    let properties = import.properties(Derived::of(device), &RegisterProperties::default());
    for peripheral in chosen {
        import.peripheral(peripheral, base, is_one, &properties);
    }
    Ok(())
}

/// Vendors' files are full of small mistakes against the format; what matters is checked here.
fn config() -> Config {
    Config::default().validate_level(ValidateLevel::Disabled)
}

/// Registers of one block.
struct Peripheral<'a, 'i> {
    name: String,
    base: u64,
    derived: Derived<'a, 'i>,
}

/// Those that were asked for; the only one if none was.
fn choose<'a, 'i>(
    file: &str,
    mut all: Vec<Peripheral<'a, 'i>>,
    wanted: &[String],
) -> Result<Vec<Peripheral<'a, 'i>>, ImportError> {
    let names = |all: &[Peripheral<'_, '_>]| all.iter().map(|peripheral| peripheral.name.clone()).collect();
    let (file, kind) = (file.to_owned(), "peripheral");
    if wanted.is_empty() {
        return if all.len() > 1 {
            Err(ImportError::Choose { file, kind, option: "--peripheral", names: names(&all) })
        } else {
            Ok(all)
        };
    }
    let is = |peripheral: &Peripheral<'_, '_>, wanted: &str| peripheral.name.eq_ignore_ascii_case(wanted);
    if wanted.iter().any(|wanted| wanted == "*") {
        return Ok(all);
    }
    if let Some(wanted) = wanted.iter().find(|wanted| !all.iter().any(|one| is(one, wanted))) {
        return Err(ImportError::NoBlock { file, kind, wanted: wanted.clone(), names: names(&all) });
    }
    all.retain(|peripheral| wanted.iter().any(|wanted| is(peripheral, wanted)));
    Ok(all)
}

/// An import under way.
struct Import<'a, 'i> {
    file: &'a str,
    tree: &'a Tree<'i>,
    names: Names<'a, 'i>,
    output: &'a mut Output,
    config: Config,
}

impl<'a, 'i> Import<'a, 'i> {
    fn line(&self, node: Node<'_, '_>) -> Line<'a> {
        Line { file: self.file, line: self.tree.line(node) }
    }

    /// What was read, or nothing, and a word about it.
    fn attempt<T, E: std::fmt::Display>(
        &mut self,
        node: Node<'_, '_>,
        name: &str,
        read: Result<T, E>,
    ) -> Option<T> {
        read.map_err(|error| {
            let line = self.line(node);
            self.output.leave(line, name, "it is not as the format has it", error);
        })
        .ok()
    }

    fn peripheral(
        &mut self,
        peripheral: Peripheral<'a, 'i>,
        base: u64,
        is_alone: bool,
        properties: &RegisterProperties,
    ) {
        let Peripheral { name, base: start, derived } = peripheral;
        let node = derived.itself();
        let Some(offset) = start.checked_sub(base) else {
            let detail = format!("{start:#x} is below {base:#x}");
            return self.output.leave(self.line(node), &name, "it lies before the base", detail);
        };
        let properties = self.properties(derived.clone(), properties);
        let place = if is_alone && child(node, "dim").is_none() {
            vec![Place { offset, ..Place::default() }]
        } else {
            self.enter(&Place::default(), &derived, &name, offset)
        };
        let Some(registers) = derived.first("registers") else { return };
        for place in place {
            self.block(registers, &place, &properties, 0);
        }
    }

    /// The registers and clusters in `block`, which lies at `place`.
    fn block(&mut self, block: Node<'a, 'i>, place: &Place, inherited: &RegisterProperties, depth: usize) {
        for node in block.children().filter(Node::is_element) {
            if self.output.is_full() {
                return;
            }
            let is_register = match node.tag_name().name() {
                "register" => true,
                "cluster" => false,
                _ => continue,
            };
            let Some(name) = text(node, "name") else {
                self.output.leave(self.line(node), "(nameless)", "it has no name", "");
                continue;
            };
            let derived = self.names.derived(node);
            let Some(offset) = self.attempt(node, &name, derived.number("addressOffset")) else { continue };
            let properties = self.properties(derived.clone(), inherited);
            for place in self.enter(place, &derived, &name, offset) {
                if self.output.is_full() {
                    return;
                }
                if is_register {
                    self.register(&derived, place, &properties);
                } else if depth >= DEEPEST {
                    self.output.leave(self.line(node), &name, "clusters lie too deep in clusters", "");
                } else {
                    let has_registers =
                        |node: &Node<'a, 'i>| child(*node, "register").or(child(*node, "cluster")).is_some();
                    let Some(inside) = derived.iter().find(has_registers) else { continue };
                    self.block(inside, &place, &properties, depth + 1);
                }
            }
        }
    }

    /// Where an element lies, which may be there several times.
    fn enter(&mut self, place: &Place, derived: &Derived<'a, 'i>, name: &str, offset: u64) -> Vec<Place> {
        let node = derived.itself();
        let name = name.replace(INDEX, "");
        let mut part = Part { name: name.replace("%s", INDEX), offset, array: None, labels: None };
        if let Some(dimensions) = derived.iter().find(|node| child(*node, "dim").is_some()) {
            let Some(dim) = self.dimensions(dimensions, &name) else { return Vec::new() };
            let is_usual = |labels: &Vec<String>| {
                labels.iter().enumerate().all(|(number, label)| *label == number.to_string())
            };
            part.array = Some(Array { count: dim.dim, stride: dim.dim_increment.into() });
            part.labels = dim.dim_index.filter(|labels| !is_usual(labels));
        }
        match place.enter(&part) {
            Ok(places) => {
                self.output.spend(self.line(node), &name, places.len());
                places
            }
            Err(why) => {
                self.output.leave(self.line(node), &name, why, "");
                Vec::new()
            }
        }
    }

    /// How often `node` is there.
    fn dimensions(&mut self, node: Node<'a, 'i>, name: &str) -> Option<DimElement> {
        if let Err(why) = fields::check_labels(node) {
            self.output.leave(self.line(node), name, "its array makes no sense", why);
            return None;
        }
        let dim = self.attempt(node, name, DimElement::parse(&node, &self.config))?;
        let labels = dim.dim_index.as_ref().map(Vec::len);
        if labels.is_some_and(|labels| labels != dim.dim as usize) {
            let why = format!("{} elements have {} names", dim.dim, labels.unwrap_or_default());
            self.output.leave(self.line(node), name, "its array makes no sense", why);
            return None;
        }
        Some(dim)
    }

    /// Size, access and reset value, an element's own before those around it.
    fn properties(&mut self, derived: Derived<'a, 'i>, inherited: &RegisterProperties) -> RegisterProperties {
        let mut all = RegisterProperties::default();
        for node in derived.iter() {
            let name = text(node, "name").unwrap_or_default();
            let own = RegisterProperties::parse(&node, &self.config);
            if let Some(own) = self.attempt(node, &name, own) {
                all = all.derive_from(&own);
            }
        }
        all.derive_from(inherited)
    }

    fn register(&mut self, derived: &Derived<'a, 'i>, place: Place, properties: &RegisterProperties) {
        let bytes = properties.size.unwrap_or(USUAL_BITS).div_ceil(8).max(1);
        // What is too wide is left out by the register file's own check.
        let width = u8::try_from(bytes.next_power_of_two()).unwrap_or(u8::MAX);
        let mut register = place.register(width);
        register.access = access(derived, properties.access);
        register.reset = properties.reset_value.filter(|reset| {
            // Bits that the mask leaves out are not known.
            let known = properties.reset_mask.unwrap_or(u64::MAX);
            known & *reset == *reset && known != 0
        });
        register.description = derived.first_text("description").unwrap_or_default();
        if let Some(fields) = derived.first("fields") {
            register.fields = self.fields(fields, &register.name);
        }
        self.output.add(self.line(derived.itself()), register);
    }
}

fn access(derived: &Derived<'_, '_>, access: Option<Access>) -> AccessRule {
    if derived.first_text("readAction").as_deref() == Some("clear") {
        return AccessRule::Rc;
    }
    if derived.first_text("modifiedWriteValues").as_deref() == Some("oneToClear") {
        return AccessRule::W1c;
    }
    match access {
        Some(Access::ReadOnly) => AccessRule::Ro,
        Some(Access::WriteOnly | Access::WriteOnce) => AccessRule::Wo,
        Some(Access::ReadWrite | Access::ReadWriteOnce) | None => AccessRule::Rw,
    }
}

#[cfg(test)]
mod tests;
