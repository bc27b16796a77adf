//! What is read of type information: functions, members, types in C's words; of files that are
//! damaged too.

use super::made::Made;
use super::*;

/// Types like the kernel's: numbers, structures in structures, bit fields, functions.
pub(in crate::sources::hits) fn kernel() -> Made {
    let mut made = Made::new();
    let int = made.integer("int", 4, true);
    let char = made.integer("char", 1, true);
    let byte = made.integer("unsigned char", 1, false);
    let word = made.integer("unsigned int", 4, false);
    let half = made.integer("unsigned short", 2, false);
    let long = made.integer("long unsigned int", 8, false);
    let constant = made.constant(char);
    let text = made.pointer(constant);
    let mode = made.typedef("umode_t", half);
    let color = made.enumeration("color", 4);
    let nothing = made.pointer(0);
    let pair = made.structure("pair", 16, &[("a", int, 0), ("b", int, 64)]);
    let to_pair = made.pointer(pair);
    let name = made.array(char, 16);
    let bytes = made.array(byte, 8);
    let pairs = made.array(pair, 4);
    let unnamed = made.union("", 8, &[("count", int, 0), ("whole", long, 0)]);
    let inner = made.structure("qstr", 16, &[("", unnamed, 0), ("name", text, 64)]);
    let dentry = made.structure("dentry", 64, &[("d_flags", word, 0), ("d_name", inner, 256)]);
    let to_dentry = made.pointer(dentry);
    let path = made.structure("path", 16, &[("mnt", nothing, 0), ("dentry", to_dentry, 64)]);
    let unknown = made.forward("pair");
    let to_unknown = made.pointer(unknown);
    let table = made.pointer(to_pair);
    let file = made.structure(
        "file",
        200,
        &[
            ("f_mode", word, 0),
            ("f_path", path, 64),
            ("f_name", name, 192),
            ("f_bytes", bytes, 320),
            ("f_pairs", pairs, 384),
            ("f_table", table, 896),
            ("f_color", color, 960),
            ("f_data", nothing, 1024),
            ("f_text", text, 1088),
            ("f_other", to_unknown, 1152),
        ],
    );
    let to_file = made.pointer(file);
    let bits = made.fields(
        "flags",
        16,
        &[("low", word, 0, 3), ("high", word, 29, 3), ("odd", long, 70, 10), ("whole", int, 96, 0)],
    );
    let to_bits = made.pointer(bits);
    let itself = made.typedef("file_t", file);
    let to_itself = made.pointer(itself);
    made.function(
        "open_it",
        int,
        &[("dfd", int), ("filename", text), ("mode", mode), ("both", pair), ("last", to_pair)],
    );
    made.function(
        "read_it",
        to_file,
        &[
            ("file", to_file),
            ("count", long),
            ("flags", to_bits),
            ("buf", nothing),
            ("dentry", to_dentry),
            ("same", to_itself),
        ],
    );
    made.function("end_it", 0, &[("color", color)]);
    made
}

fn btf() -> Btf {
    Btf::new(kernel().bytes()).unwrap()
}

fn told(btf: &Btf, function: &str) -> Vec<String> {
    btf.function(function).unwrap().parameters.iter().map(Parameter::to_string).collect()
}

#[test]
fn parameters_have_their_names_and_how_to_fetch_them() {
    let expected =
        ["s32 dfd", "string filename", "u16 mode", "both (can't be fetched)", "last (can't be fetched)"];
    assert_eq!(told(&btf(), "open_it"), expected);
    let slots: Vec<Slot> = btf().function("open_it").unwrap().parameters.iter().map(|one| one.slot).collect();
    assert_eq!(slots[..3], [Slot::Argument(1), Slot::Argument(2), Slot::Argument(3)]);
    assert!(matches!(slots[3..], [Slot::Nowhere(whole), Slot::Nowhere(behind)] if whole != behind));
    assert_eq!(btf().function("other"), None);
}

#[test]
fn what_a_function_returns_is_known() {
    assert_eq!(btf().function("open_it").unwrap().returns, Some(Shape::Integer { bytes: 4, signed: true }));
    assert_eq!(btf().function("end_it").unwrap().returns, None);
}

#[test]
fn members_are_found_with_their_places_also_in_what_has_no_name() {
    let btf = btf();
    let place = |structure: &str, name| {
        let found = btf.member(btf.structure(structure).unwrap(), name)?;
        Some((found.bit, found.width))
    };
    assert_eq!(place("file", "f_path"), Some((64, None)));
    assert_eq!(place("qstr", "name"), Some((64, None)));
    assert_eq!(place("qstr", "whole"), Some((0, None)));
    assert_eq!(place("flags", "high"), Some((29, Some(3))));
    assert_eq!(place("flags", "whole"), Some((96, None)));
    assert_eq!(place("file_t", "f_mode"), Some((0, None)), "a name of a structure is as good");
    assert_eq!(place("file", "f_pth"), None);
    assert_eq!(btf.structure("umode_t"), None);
    assert_eq!(btf.members(btf.structure("qstr").unwrap()), ["name", "count", "whole"]);
}

#[test]
fn types_have_a_size_and_the_words_that_c_has_for_them() {
    let btf = btf();
    let file = btf.structure("file").unwrap();
    let told = |name| {
        let of = btf.member(file, name).unwrap().of;
        (btf.spelled(of), btf.size(of))
    };
    assert_eq!(told("f_mode"), ("unsigned int".into(), Some(4)));
    assert_eq!(told("f_path"), ("struct path".into(), Some(16)));
    assert_eq!(told("f_name"), ("char [16]".into(), Some(16)));
    assert_eq!(told("f_pairs"), ("struct pair [4]".into(), Some(64)));
    assert_eq!(told("f_table"), ("struct pair **".into(), Some(8)));
    assert_eq!(told("f_color"), ("enum color".into(), Some(4)));
    assert_eq!(told("f_data"), ("void *".into(), Some(8)));
    assert_eq!(told("f_text"), ("char *".into(), Some(8)));
}

#[test]
fn what_is_only_announced_is_what_has_its_name() {
    let btf = btf();
    let other = btf.member(btf.structure("file").unwrap(), "f_other").unwrap();
    let Shape::Pointer { to: Some(to), .. } = btf.shape(other.of) else { panic!("{other:?}") };
    assert_eq!(btf.shape(to), Shape::Structure(btf.structure("pair").unwrap()));
}

#[test]
fn a_modules_types_continue_the_kernels() {
    let base = kernel();
    let mut module = base.continued();
    let char = module.integer("char", 1, true);
    let text = module.pointer(char);
    let own = module.structure("own", 16, &[("name", text, 64)]);
    let to_own = module.pointer(own);
    module.function("of_module", 0, &[("path", text), ("own", to_own)]);
    let btf = Btf::new(base.bytes()).unwrap().and(module.bytes()).unwrap();
    assert_eq!(told(&btf, "of_module"), ["string path", "x64 own"]);
    assert_eq!(btf.member(btf.structure("own").unwrap(), "name").unwrap().bit, 64);
    assert!(btf.function("open_it").is_some());
    assert!(btf.structure("file").is_some());
}

#[test]
fn of_two_functions_of_one_name_the_modules_own_is_meant() {
    let base = kernel();
    let mut module = base.continued();
    let int = module.integer("int", 4, true);
    module.function("open_it", 0, &[("own", int)]);
    assert_ne!(told(&btf(), "open_it"), ["s32 own"]);
    let btf = Btf::new(base.bytes()).unwrap().and(module.bytes()).unwrap();
    assert_eq!(told(&btf, "open_it"), ["s32 own"]);
}

/// Asks all that is asked.
fn ask(btf: &Btf) {
    for name in ["open_it", "read_it", "of_itself"] {
        if let Some(function) = btf.function(name) {
            let _ = function.parameters.iter().map(Parameter::to_string).collect::<Vec<_>>();
        }
    }
    for name in ["file", "flags", "qstr", "itself"] {
        if let Some(id) = btf.structure(name) {
            for member in btf.members(id) {
                let member = btf.member(id, &member);
                let _ =
                    member.map(|member| (btf.spelled(member.of), btf.size(member.of), btf.shape(member.of)));
            }
        }
    }
}

#[test]
fn what_is_no_btf_or_damaged_gives_nothing_and_does_not_panic() {
    assert!(Btf::new(b"no".to_vec()).is_none());
    let whole = kernel().bytes();
    for length in 0..whole.len() {
        if let Some(btf) = Btf::new(whole[..length].to_vec()) {
            ask(&btf);
        }
    }
    for at in 0..whole.len() {
        for byte in [0xff, 0, 4, 0x84] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            if let Some(btf) = Btf::new(damaged) {
                ask(&btf);
            }
        }
    }
}

#[test]
fn what_holds_itself_comes_to_an_end() {
    let mut made = Made::new();
    made.structure("itself", 8, &[("", 1, 0), ("", 1, 0), ("", 2, 0), ("x", 3, 0)]);
    made.array(2, 4);
    made.typedef("round", 3);
    let btf = Btf::new(made.bytes()).unwrap();
    ask(&btf);
    let x = btf.member(btf.structure("itself").unwrap(), "x").unwrap();
    assert_eq!((btf.shape(x.of), btf.size(x.of)), (Shape::Other, None));
    let array = btf.member(btf.structure("itself").unwrap(), "y");
    assert_eq!(array, None);
}
