//! A function's parameters, from the kernel's own type information: `/sys/kernel/btf/vmlinux`, `/sys/kernel/btf/MODULE`.
//!
//! Read here, the little of the format that is needed (Documentation/bpf/btf.rst): the crates for it are under a licence that does not fit ours (`btf-rs`) or
//! know nothing of a module's types, which continue the kernel's numbering (`btf`, `btfparse`).

use std::fmt;

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its place: 1 is the first.
    pub(super) number: u16,
    /// Its name; empty if it has none.
    pub(super) name: String,
    /// What it is.
    pub(super) shape: Shape,
}

/// What a parameter is, as far as it says how to fetch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An integer.
    Integer {
        /// How wide.
        bytes: u8,
        /// Whether it has a sign.
        signed: bool,
    },
    /// An enumeration of so many bytes.
    Enum(u8),
    /// A pointer to characters.
    Text,
    /// Another pointer.
    Pointer,
    /// More than a register holds, or what is passed elsewhere.
    Aggregate,
    /// Behind one of those.
    Behind,
}

impl Parameter {
    /// The type that it is fetched as.
    pub(super) fn form(&self) -> &'static str {
        match self.shape {
            Shape::Integer { bytes: 1, signed: true } => "s8",
            Shape::Integer { bytes: 2, signed: true } => "s16",
            Shape::Integer { bytes: 4, signed: true } => "s32",
            Shape::Integer { signed: true, .. } => "s64",
            Shape::Integer { bytes: 1, .. } => "u8",
            Shape::Integer { bytes: 2, .. } => "u16",
            Shape::Integer { bytes: 4, .. } => "u32",
            Shape::Integer { .. } => "u64",
            Shape::Enum(8) => "x64",
            Shape::Enum(_) => "x32",
            Shape::Text => "string",
            Shape::Pointer | Shape::Aggregate | Shape::Behind => "x64",
        }
    }

    /// How wide it is, if it is an integer or an enumeration.
    pub(super) fn integer(&self) -> Option<u8> {
        match self.shape {
            Shape::Integer { bytes, .. } | Shape::Enum(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Why it can't be fetched, if it can't.
    pub(super) fn unreachable(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Aggregate => Some("it is passed as a whole, not in one register"),
            Shape::Behind => Some("one before it is passed as a whole, so its own place is not known"),
            _ => None,
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Aggregate | Shape::Behind => write!(f, "{} (can't be fetched)", self.name),
            _ => write!(f, "{} {}", self.form(), self.name),
        }
    }
}

/// Kinds of types (include/uapi/linux/btf.h).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Types that may stand for types that stand for types: more than any real chain, so that a damaged one ends.
const LONGEST_CHAIN: usize = 32;

/// A type as it lies in the file.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    kind: u32,
    /// Size in bytes, or the type it refers to.
    size_or_type: u32,
    /// Where what follows it lies, and how many there are.
    more: usize,
    count: usize,
}

/// The types of the kernel, or of the kernel and a module.
#[derive(Debug, Default)]
pub(super) struct Btf {
    /// The files: the kernel's, then the module's.
    files: Vec<Vec<u8>>,
    /// All types; type 1 is at index 0. With the file it is from.
    types: Vec<(usize, Type)>,
    /// Where the strings of each file begin in it, and how long they are.
    strings: Vec<(usize, usize)>,
}

impl Btf {
    /// The types of the kernel; with a module's behind them, for which call [`and`](Self::and).
    pub(super) fn new(kernel: Vec<u8>) -> Option<Self> {
        Self::default().and(kernel)
    }

    /// With those of another file that continues these. `None` if it is no BTF.
    pub(super) fn and(mut self, bytes: Vec<u8>) -> Option<Self> {
        /// `BTF_MAGIC`.
        const MAGIC: u32 = 0xeb9f;
        let half = |at: usize| Some(u32::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
        let at = |at: usize| word(&bytes, at).map(|word| word as usize);
        if half(0)? != MAGIC {
            return None;
        }
        let (header, types, length) = (at(4)?, at(8)?, at(12)?);
        let (strings, strings_length) = (at(16)?, at(20)?);
        let file = self.files.len();
        let mut next = header.checked_add(types)?;
        let end = next.checked_add(length)?.min(bytes.len());
        while next < end {
            let found = read(&bytes, next)?;
            next = found.more.checked_add(following(&found))?;
            self.types.push((file, found));
        }
        self.strings.push((header.checked_add(strings)?, strings_length));
        self.files.push(bytes);
        Some(self)
    }

    /// The parameters of function `name`; `None` if it is not known.
    pub(super) fn parameters(&self, name: &str) -> Option<Vec<Parameter>> {
        let is_it =
            |(_, found): &&(usize, Type)| found.kind == kind::FUNC && self.string(found.name) == Some(name);
        // Of a module's own functions first: the kernel may have one of the same name.
        let of_file = |file| self.types.iter().filter(move |found| found.0 == file).find(is_it);
        let (_, function) = (0..self.files.len()).rev().find_map(of_file)?;
        let (file, prototype) = self.get(function.size_or_type)?;
        if prototype.kind != kind::FUNC_PROTO {
            return None;
        }
        let mut behind = false;
        let parameter = |index: usize| {
            let at = prototype.more + 8 * index;
            let (name, of) = (word(&self.files[file], at)?, word(&self.files[file], at + 4)?);
            // The last one of a function with any number of arguments: nothing.
            let shape = if behind { Shape::Behind } else { self.shape(of)? };
            behind |= shape == Shape::Aggregate;
            Some(Parameter { number: index as u16 + 1, name: self.string(name)?.into(), shape })
        };
        Some((0..prototype.count).map_while(parameter).collect())
    }

    /// What type `id` is, to one who fetches it.
    fn shape(&self, id: u32) -> Option<Shape> {
        let (file, found) = self.unaliased(id)?;
        let size = found.size_or_type;
        Some(match found.kind {
            kind::INT if matches!(size, 1 | 2 | 4 | 8) => {
                let encoding = word(&self.files[file], found.more)? >> 24;
                Shape::Integer { bytes: size as u8, signed: encoding & 1 == 1 }
            }
            kind::ENUM | kind::ENUM64 => Shape::Enum(size as u8),
            kind::PTR if self.is_character(size) => Shape::Text,
            kind::PTR => Shape::Pointer,
            _ => Shape::Aggregate,
        })
    }

    fn is_character(&self, id: u32) -> bool {
        let found = self.unaliased(id);
        // Named, since an u8 is as wide; and bytes of data are no text.
        found.is_some_and(|(_, found)| found.kind == kind::INT && self.string(found.name) == Some("char"))
    }

    /// The type that `id` stands for, without its names, `const` and the like.
    fn unaliased(&self, mut id: u32) -> Option<(usize, Type)> {
        for _ in 0..LONGEST_CHAIN {
            let (file, found) = self.get(id)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type;
                }
                _ => return Some((file, found)),
            }
        }
        None
    }

    fn get(&self, id: u32) -> Option<(usize, Type)> {
        self.types.get((id as usize).checked_sub(1)?).copied()
    }

    /// The string at `offset`, counted through the strings of all files.
    fn string(&self, offset: u32) -> Option<&str> {
        let mut offset = offset as usize;
        for (file, (start, length)) in self.files.iter().zip(&self.strings) {
            if offset < *length {
                let bytes = file.get(start + offset..start + length)?;
                return std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok();
            }
            offset -= length;
        }
        None
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// The type at `at`.
fn read(bytes: &[u8], at: usize) -> Option<Type> {
    let (name, info, size_or_type) = (word(bytes, at)?, word(bytes, at + 4)?, word(bytes, at + 8)?);
    let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
    Some(Type { name, kind, size_or_type, more: at + 12, count })
}

/// Bytes that follow a type.
fn following(found: &Type) -> usize {
    match found.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * found.count,
        kind::ENUM | kind::FUNC_PROTO => 8 * found.count,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a BTF file of types, each given by name, kind, count, size or type, and what follows.
    fn file(types: &[(&str, u32, u32, u32, &[u32])], names: &[&str], base: u32) -> Vec<u8> {
        let mut strings = if base == 0 { vec![0] } else { Vec::new() };
        let mut place = |name: &str| {
            if name.is_empty() {
                return 0;
            }
            let at = base + strings.len() as u32;
            strings.extend(name.bytes().chain([0]));
            at
        };
        let named: Vec<u32> = names.iter().map(|name| place(name)).collect();
        let mut words = Vec::new();
        for (name, kind, count, size, more) in types {
            words.extend([place(name), kind << 24 | count, *size]);
            // Names that follow are given by their number in `names`, from 1000 on.
            words.extend(more.iter().map(|word| match *word {
                name @ 1000..1100 => named[name as usize - 1000],
                word => word,
            }));
        }
        let length = 4 * words.len() as u32;
        let header = [0x0001_eb9f, 24, 0, length, length, strings.len() as u32];
        let bytes = header.iter().chain(&words).flat_map(|word| word.to_le_bytes());
        bytes.chain(strings).collect()
    }

    fn kernel() -> Vec<u8> {
        let signed = 1 << 24 | 32;
        file(
            &[
                ("int", kind::INT, 0, 4, &[signed]),                 // 1
                ("char", kind::INT, 0, 1, &[8]),                     // 2
                ("", kind::CONST, 0, 2, &[]),                        // 3
                ("", kind::PTR, 0, 3, &[]),                          // 4: const char *
                ("pair", kind::STRUCT, 2, 16, &[0, 1, 0, 0, 1, 64]), // 5
                ("", kind::PTR, 0, 5, &[]),                          // 6
                ("umode_t", kind::TYPEDEF, 0, 8, &[]),               // 7
                ("unsigned short", kind::INT, 0, 2, &[16]),          // 8
                ("", kind::FUNC_PROTO, 5, 1, &[1000, 1, 1001, 4, 1002, 7, 1003, 5, 1004, 6]), // 9
                ("open_it", kind::FUNC, 1, 9, &[]),                  // 10
            ],
            &["dfd", "filename", "mode", "both", "last"],
            0,
        )
    }

    #[test]
    fn parameters_have_their_names_and_how_to_fetch_them() {
        let parameters = Btf::new(kernel()).unwrap().parameters("open_it").unwrap();
        let told: Vec<String> = parameters.iter().map(Parameter::to_string).collect();
        assert_eq!(
            told,
            ["s32 dfd", "string filename", "u16 mode", "both (can't be fetched)", "last (can't be fetched)"]
        );
        assert_eq!(parameters[4].shape, Shape::Behind);
        assert_eq!(Btf::new(kernel()).unwrap().parameters("other"), None);
    }

    #[test]
    fn a_modules_types_continue_the_kernels() {
        let base = kernel();
        let strings = u32::from_le_bytes(base[20..24].try_into().unwrap());
        let module = file(
            &[("", kind::FUNC_PROTO, 1, 0, &[1000, 4]), ("of_module", kind::FUNC, 1, 11, &[])],
            &["path"],
            strings,
        );
        let btf = Btf::new(base).unwrap().and(module).unwrap();
        let told: Vec<String> =
            btf.parameters("of_module").unwrap().iter().map(Parameter::to_string).collect();
        assert_eq!(told, ["string path"]);
        assert!(btf.parameters("open_it").is_some());
    }

    #[test]
    fn of_two_functions_of_one_name_the_modules_own_is_meant() {
        let base = kernel();
        let strings = u32::from_le_bytes(base[20..24].try_into().unwrap());
        let types: [(&str, u32, u32, u32, &[u32]); 2] =
            [("", kind::FUNC_PROTO, 1, 0, &[1000, 4]), ("open_it", kind::FUNC, 1, 11, &[])];
        let module = file(&types, &["path"], strings);
        let told = |btf: Btf| -> Vec<String> {
            btf.parameters("open_it").unwrap().iter().map(Parameter::to_string).collect()
        };
        assert_ne!(told(Btf::new(base.clone()).unwrap()), ["string path"]);
        assert_eq!(told(Btf::new(base).unwrap().and(module).unwrap()), ["string path"]);
    }

    #[test]
    fn what_is_no_btf_or_damaged_gives_nothing_and_does_not_panic() {
        assert!(Btf::new(b"no".to_vec()).is_none());
        let whole = kernel();
        for length in 0..whole.len() {
            if let Some(btf) = Btf::new(whole[..length].to_vec()) {
                let _ = btf.parameters("open_it");
            }
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            if let Some(btf) = Btf::new(damaged) {
                let _ = btf.parameters("open_it");
            }
        }
    }
}
