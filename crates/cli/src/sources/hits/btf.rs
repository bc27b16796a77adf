//! The kernel's own type information: `/sys/kernel/btf/vmlinux`, `/sys/kernel/btf/MODULE`.
//!
//! Read here, as much of the format (Documentation/bpf/btf.rst) as says where a value lies: the
//! crates for it are under a licence that does not fit ours (`btf-rs`) or know nothing of a
//! module's types, which continue the kernel's numbering (`btf`, `btfparse`).

mod function;
mod kind;
#[cfg(test)]
pub(super) mod made;
mod structure;

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

pub(super) use function::{Function, Parameter, Slot};

/// Types that may stand for types that stand for types: more than any real chain, so that a damaged
/// one ends.
const LONGEST_CHAIN: usize = 32;

/// A type, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// What a type is to one who fetches a value of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An integer, a truth value or an enumeration.
    Integer {
        /// How wide.
        bytes: u8,
        /// Whether it has a sign.
        signed: bool,
    },
    /// A pointer, to characters or to anything else.
    Pointer {
        /// To what; `None` for a `void *`.
        to: Option<Id>,
        /// Whether that is a text.
        is_text: bool,
    },
    /// Elements in a row.
    Array {
        /// Of one element.
        of: Id,
        /// How many.
        count: u32,
        /// Whether they are a text.
        is_text: bool,
    },
    /// A structure or a union.
    Structure(Id),
    /// A function, a number of another kind, …: nothing that can be fetched by itself.
    Other,
}

impl Shape {
    /// The type that one value is fetched as, unless told otherwise.
    pub(super) fn form(self) -> Option<&'static str> {
        Some(match self {
            Self::Integer { bytes: 1, signed: true } => "s8",
            Self::Integer { bytes: 2, signed: true } => "s16",
            Self::Integer { bytes: 4, signed: true } => "s32",
            Self::Integer { signed: true, .. } => "s64",
            Self::Integer { bytes: 1, .. } => "u8",
            Self::Integer { bytes: 2, .. } => "u16",
            Self::Integer { bytes: 4, .. } => "u32",
            Self::Integer { .. } => "u64",
            Self::Pointer { is_text: true, .. } | Self::Array { is_text: true, .. } => "string",
            Self::Pointer { .. } => "x64",
            Self::Array { .. } | Self::Structure(_) | Self::Other => return None,
        })
    }
}

/// A type as it lies in the file.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    kind: u32,
    /// Whether members of a structure have widths in bits.
    has_widths: bool,
    /// Size in bytes, or the type it refers to.
    size_or_type: u32,
    /// The file it is from, where in that what follows it lies, and how many there are.
    file: usize,
    more: usize,
    count: usize,
}

/// The types of the kernel, or of the kernel and a module.
#[derive(Clone, Debug, Default)]
pub(super) struct Btf {
    /// The files: the kernel's, which all share that have it, then the module's.
    files: Vec<Rc<File>>,
}

/// A file of types.
#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    /// Its types; the first one's number follows that of the last one of the file before it.
    types: Vec<Type>,
    /// Where its strings begin in it, and how long they are.
    strings: (usize, usize),
    /// Its types of [`NAMED`] by their names: a name's hash and where in `types` it is, sorted.
    names: OnceCell<Vec<(u32, u32)>>,
}

/// Kinds that are looked for by their names.
const NAMED: [u32; 5] = [kind::INT, kind::STRUCT, kind::UNION, kind::TYPEDEF, kind::FUNC];

impl Btf {
    /// The types of the kernel; with a module's behind them, for which call [`and`](Self::and).
    pub(super) fn new(kernel: Vec<u8>) -> Option<Self> {
        Self::default().and(kernel)
    }

    /// With those of another file that continues these. `None` if it is no BTF.
    pub(super) fn and(&self, bytes: Vec<u8>) -> Option<Self> {
        /// `BTF_MAGIC`.
        const MAGIC: u32 = 0xeb9f;
        let half = |at: usize| Some(u32::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
        let at = |at: usize| word(&bytes, at).map(|word| word as usize);
        if half(0)? != MAGIC {
            return None;
        }
        let (header, first, length) = (at(4)?, at(8)?, at(12)?);
        let (strings, strings_length) = (at(16)?, at(20)?);
        let mut next = header.checked_add(first)?;
        let end = next.checked_add(length)?.min(bytes.len());
        let mut types = Vec::new();
        while next < end {
            let found = read(&bytes, next, self.files.len())?;
            next = found.more.checked_add(kind::following(found.kind, found.count))?;
            types.push(found);
        }
        let strings = (header.checked_add(strings)?, strings_length);
        let mut files = self.files.clone();
        files.push(Rc::new(File { bytes, types, strings, names: OnceCell::new() }));
        Some(Self { files })
    }

    /// What type `id` is.
    pub(super) fn shape(&self, id: Id) -> Shape {
        self.known(id).unwrap_or(Shape::Other)
    }

    /// What the number called `name` is.
    pub(super) fn scalar(&self, name: &str) -> Option<Shape> {
        let found = self.named(name, &[kind::INT, kind::TYPEDEF]).next();
        found.map(|(id, _)| self.shape(id)).filter(|shape| matches!(shape, Shape::Integer { .. }))
    }

    fn known(&self, id: Id) -> Option<Shape> {
        let (id, found) = self.unaliased(id)?;
        let size = found.size_or_type;
        Some(match found.kind {
            kind::INT if matches!(size, 1 | 2 | 4 | 8) => {
                let encoding = self.word(&found, 0)? >> 24;
                Shape::Integer { bytes: size as u8, signed: encoding & 1 == 1 }
            }
            // The kernel's probe events take an enumeration for an `int` too.
            kind::ENUM | kind::ENUM64 if matches!(size, 1 | 2 | 4 | 8) => {
                Shape::Integer { bytes: size as u8, signed: true }
            }
            kind::PTR => {
                Shape::Pointer { to: (size != 0).then_some(Id(size)), is_text: self.is_character(Id(size)) }
            }
            kind::ARRAY => {
                let of = Id(self.word(&found, 0)?);
                Shape::Array { of, count: self.word(&found, 2)?, is_text: self.is_character(of) }
            }
            kind::STRUCT | kind::UNION => Shape::Structure(id),
            // Known to somebody else by its members.
            kind::FWD => Shape::Structure(self.structure(self.string(found.name)?)?),
            _ => return None,
        })
    }

    /// Bytes of a value of type `id`.
    pub(super) fn size(&self, id: Id) -> Option<u64> {
        let (mut id, mut elements) = (id, 1_u64);
        for _ in 0..LONGEST_CHAIN {
            match self.shape(id) {
                Shape::Array { of, count, .. } => {
                    (id, elements) = (of, elements.checked_mul(count.into())?);
                }
                Shape::Pointer { .. } => return elements.checked_mul(8),
                Shape::Integer { bytes, .. } => return elements.checked_mul(bytes.into()),
                Shape::Structure(id) => return elements.checked_mul(self.get(id)?.size_or_type.into()),
                Shape::Other => return None,
            }
        }
        None
    }

    /// A type as C has it, for messages.
    pub(super) fn spelled(&self, id: Id) -> String {
        let (mut id, mut behind) = (id, String::new());
        for _ in 0..LONGEST_CHAIN {
            let Some(found) = self.get(id) else { break };
            let name = self.string(found.name).unwrap_or_default();
            let of =
                |word: &str| if name.is_empty() { format!("{word} …") } else { format!("{word} {name}") };
            let front = match found.kind {
                kind::PTR => {
                    behind.insert(0, '*');
                    if found.size_or_type == 0 {
                        return format!("void {behind}");
                    }
                    id = Id(found.size_or_type);
                    continue;
                }
                kind::ARRAY => {
                    behind.push_str(&format!("[{}]", self.word(&found, 2).unwrap_or_default()));
                    id = Id(self.word(&found, 0).unwrap_or_default());
                    continue;
                }
                kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = Id(found.size_or_type);
                    continue;
                }
                kind::STRUCT | kind::FWD => of("struct"),
                kind::UNION => of("union"),
                kind::ENUM | kind::ENUM64 => of("enum"),
                kind::FUNC_PROTO => "function".into(),
                _ => name.to_owned(),
            };
            let space = if behind.is_empty() { "" } else { " " };
            return format!("{front}{space}{behind}");
        }
        "unknown".into()
    }

    /// The types called `name` that are of one of `kinds`, which are some of [`NAMED`]: a module's
    /// own first, since the kernel may have one of the same name.
    fn named<'a>(&'a self, name: &'a str, kinds: &'a [u32]) -> impl Iterator<Item = (Id, &'a Type)> {
        let wanted = hash(name);
        let is_it = move |found: &Type| kinds.contains(&found.kind) && self.string(found.name) == Some(name);
        let all = move |number: usize| {
            let before: usize = self.files[..number].iter().map(|file| file.types.len()).sum();
            let (file, names) = (&self.files[number], self.names(number));
            let first = names.partition_point(|(hash, _)| *hash < wanted);
            let alike = names[first..].iter().take_while(move |(hash, _)| *hash == wanted);
            alike.map(move |(_, at)| (before + *at as usize, &file.types[*at as usize]))
        };
        let found = (0..self.files.len()).rev().flat_map(all).filter(move |(_, found)| is_it(found));
        found.map(|(index, found)| (Id(index as u32 + 1), found))
    }

    /// The index of names of file `number`, made when it is looked at first.
    fn names(&self, number: usize) -> &[(u32, u32)] {
        let file = &self.files[number];
        file.names.get_or_init(|| {
            let entry = |(at, found): (usize, &Type)| {
                let name = self.string(found.name).filter(|_| NAMED.contains(&found.kind))?;
                Some((hash(name), at as u32))
            };
            let mut names: Vec<_> = file.types.iter().enumerate().filter_map(entry).collect();
            names.sort_unstable();
            names
        })
    }

    fn is_character(&self, id: Id) -> bool {
        let found = self.unaliased(id);
        // Named, since an u8 is as wide; and bytes of data are no text.
        found.is_some_and(|(_, found)| found.kind == kind::INT && self.string(found.name) == Some("char"))
    }

    /// The type that `id` stands for, without its names, `const` and the like.
    fn unaliased(&self, mut id: Id) -> Option<(Id, Type)> {
        for _ in 0..LONGEST_CHAIN {
            let found = self.get(id)?;
            if !kind::is_alias(found.kind) {
                return Some((id, found));
            }
            id = Id(found.size_or_type);
        }
        None
    }

    fn get(&self, Id(number): Id) -> Option<Type> {
        let mut index = (number as usize).checked_sub(1)?;
        for file in &self.files {
            match file.types.get(index) {
                Some(found) => return Some(*found),
                None => index -= file.types.len(),
            }
        }
        None
    }

    /// Word `index` of what follows a type.
    fn word(&self, found: &Type, index: usize) -> Option<u32> {
        word(&self.files.get(found.file)?.bytes, found.more.checked_add(4 * index)?)
    }

    /// The string at `offset`, counted through the strings of all files.
    fn string(&self, offset: u32) -> Option<&str> {
        let mut offset = offset as usize;
        for File { bytes, strings: (start, length), .. } in self.files.iter().map(|file| &**file) {
            if offset < *length {
                let bytes = bytes.get(start.checked_add(offset)?..start.checked_add(*length)?)?;
                return std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok();
            }
            offset -= length;
        }
        None
    }
}

fn hash(name: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as u32
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// The type at `at` of file number `file`.
fn read(bytes: &[u8], at: usize, file: usize) -> Option<Type> {
    let (name, info, size_or_type) = (word(bytes, at)?, word(bytes, at + 4)?, word(bytes, at + 8)?);
    Some(Type {
        name,
        kind: info >> 24 & 0x1f,
        has_widths: info >> 31 == 1,
        size_or_type,
        file,
        more: at + 12,
        count: (info & 0xffff) as usize,
    })
}

#[cfg(test)]
pub(super) mod tests;
