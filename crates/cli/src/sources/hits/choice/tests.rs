//! Which places words name, on a machine in a folder.

use std::fs;

use trapline_trace::Symbols;

use super::super::btf;
use super::*;
use crate::system::System;
use crate::system::tests::with;

/// A kernel with functions that can be probed and such that can't, and a module.
fn machine(traceable: &str) -> (tempfile::TempDir, System) {
    let (root, system) = with(&[
        (
            "proc/kallsyms",
            "ffffffff81000000 T read_it\nffffffff81000000 T read_alias\nffffffff81000100 t read_more\n\
             ffffffff81000180 t read_more.cold\nffffffff81000200 T read_forbidden\nffffffff81000300 T count\n\
             ffffffff82000000 D read_data\nffffffffc0400000 t read_too\t[r8169]\nffffffffc0400100 t read_ring\t[r8169]\n\
             ffffffffc0500000 t read_ours\t[trapline]\nffffffffc0600000 t file_open\t[file]\n",
        ),
        (
            "proc/modules",
            "r8169 4096 0 - Live 0xffffffffc0400000\ntrapline 4096 0 - Live 0xffffffffc0500000\nfile 4096 0 - Live 0xffffffffc0600000\n",
        ),
        ("sys/module/r8169/refcnt", "0\n"),
        ("sys/module/trapline/refcnt", "0\n"),
        // As a parameter of read_it is called.
        ("sys/module/file/refcnt", "0\n"),
        ("sys/kernel/btf/x", ""),
        ("sys/kernel/debug/kprobes/blacklist", "0xffffffff81000200-0xffffffff81000300\tread_forbidden\n"),
        ("sys/kernel/debug/tracing/available_filter_functions", traceable),
    ]);
    fs::write(root.path().join("sys/kernel/btf/vmlinux"), btf::tests::kernel().bytes()).unwrap();
    (root, system)
}

const TRACEABLE: &str =
    "read_it\nread_more\nread_forbidden\ncount\nread_too [r8169]\nread_ring [r8169]\nfile_open [file]\n";

fn try_chosen(words: &[&str], at_most: u32, traceable: &str) -> Result<Choice, SpecError> {
    let (_root, system) = machine(traceable);
    let symbols = Symbols::load(&system.path("proc")).unwrap();
    let kernel = Kernel::new(&system, &symbols);
    let behind: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
    choose(&kernel, &Definition::read(words[0], &behind, |word| word.starts_with("r8169:"))?, at_most)
}

/// The places that words name, and what is to be fetched.
fn chosen(words: &[&str]) -> (Vec<String>, Vec<String>) {
    let choice = try_chosen(words, 500, TRACEABLE).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    (choice.places.into_iter().map(|place| place.spot.name).collect(), choice.fetch)
}

fn error(words: &[&str]) -> String {
    match try_chosen(words, 3, TRACEABLE) {
        Ok(choice) => panic!("{words:?}: {choice:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn words_are_places_as_long_as_they_can_be_and_a_parameter_is_none() {
    for (words, places, fetch) in [
        (&["read_more"][..], &["read_more"][..], &[][..]),
        (&["read_it", "read_more", "%di"], &["read_it", "read_more"], &["%di"]),
        // `count` is a function, and a parameter of read_it.
        (&["read_it", "count", "read_more"], &["read_it"], &["count", "read_more"]),
        (&["read_more", "count", "x=%di"], &["read_more", "count"], &["x=%di"]),
        (&["read_it", "count:u32"], &["read_it"], &["count:u32"]),
        (&["read_it", "file[2]"], &["read_it"], &["file[2]"]),
        (&["read_it", "file:string"], &["read_it"], &["file:string"]),
        (&["read_it", "count:u128"], &["read_it"], &["count:u128"]),
        (&["read_it", "file:file_open"], &["read_it", "file:file_open"], &[]),
        (&["read_it", "file*"], &["read_it", "file:file_open"], &[]),
        (&["read_it", "nothing[2]"], &["read_it"], &["nothing[2]"]),
        (&["read_it", "file->f_pairs[2]"], &["read_it"], &["file->f_pairs[2]"]),
        (&["read_it", "$arg*"], &["read_it"], &["$arg*"]),
        (&["read_it", "read_data"], &["read_it"], &["read_data"]),
        (&["read_it", "nobody"], &["read_it"], &["nobody"]),
        (
            &["read_it", "read_more+4", "0xffffffff81000010"],
            &["read_it", "read_more+4", "0xffffffff81000010"],
            &[],
        ),
        (&["read_it", "r8169:read_ring", "a=%di"], &["read_it", "r8169:read_ring"], &["a=%di"]),
        (&["r8169:read_too", "read_it"], &["r8169:read_too", "read_it"], &[]),
        (&["read_it", "read_more", "read_it"], &["read_it", "read_more"], &[]),
        (&["read_it read_more", "+8(%si):string"], &["read_it", "read_more"], &["+8(%si):string"]),
        // A definition of the kernel's is of one place, whatever is behind it.
        (&["p:mine read_it read_more"], &["read_it"], &["read_more"]),
    ] {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(chosen(words), (strings(places), strings(fetch)), "{words:?}");
    }
}

#[test]
fn a_pattern_is_all_functions_that_can_be_probed_each_address_once() {
    for (words, places) in [
        (&["read_*"][..], &["read_it", "read_more", "r8169:read_too", "r8169:read_ring"][..]),
        (&["r8169:read_*"], &["r8169:read_too", "r8169:read_ring"]),
        (&["read_more", "read_[im]*"], &["read_more", "read_it"]),
        (&["*_more*", "*_[it]*"], &["read_more", "read_it", "r8169:read_too"]),
    ] {
        assert_eq!(chosen(words).0, places, "{words:?}");
    }
    assert_eq!(chosen(&["*_[mr]*", "comm=$comm"]).1, ["comm=$comm"]);
}

#[test]
fn what_of_a_pattern_can_not_be_probed_is_noted_with_the_reason() {
    let notes = |traceable| {
        let choice = try_chosen(&["read_*"], 500, traceable).unwrap();
        choice.notes.lines().collect::<Vec<_>>()
    };
    let told = notes(TRACEABLE);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("1 function left out: the function tracer")
            && told[0].ends_with(": read_more.cold")
    );
    assert!(told[1].contains("blacklist") && told[1].ends_with(": read_forbidden"), "{told:?}");
    assert!(told[2].contains("Trapline's own module") && told[2].ends_with("trapline:read_ours"), "{told:?}");
    // Where the function tracer does not tell, the module is asked.
    assert_eq!(notes("").len(), 2);
    let text = error(&["read_f*"]);
    assert!(
        text.starts_with("nothing that `read_f*` matches can be probed:\n  1 function left out:"),
        "{text}"
    );
}

#[test]
fn more_functions_than_the_limit_are_refused_with_their_number_and_what_to_do() {
    let text = error(&["read_*"]);
    let expected = "`read_*` would be 4 functions (read_it, read_more, r8169:read_too, r8169:read_ring), and 3 are probed at most";
    assert!(text.starts_with(expected) && text.ends_with("--at-most 4"), "{text}");
    assert!(text.contains("MODULE:PATTERN"), "{text}");
    assert_eq!(try_chosen(&["read_*"], 4, TRACEABLE).unwrap().places.len(), 4);
    // What is named one by one is meant.
    let named = ["read_it", "read_more", "r8169:read_too", "r8169:read_ring"];
    assert_eq!(try_chosen(&named, 3, TRACEABLE).unwrap().places.len(), 4);
}

#[test]
fn a_pattern_that_matches_nothing_is_told_with_names_like_it() {
    let text = error(&["raed_it*"]);
    assert!(text.starts_with("`raed_it*` matches no function: did you mean one of: read_it"), "{text}");
    let text = error(&["r8169:raed_*"]);
    assert!(text.starts_with("`r8169:raed_*` matches no function in module r8169: did you mean"), "{text}");
    assert!(!text.contains("read_more"), "{text}");
    assert_eq!(error(&["r8196:read_*"]), "no module `r8196` is loaded; did you mean r8169?");
    assert!(error(&["read_it", "zzz*"]).contains("matches no function: a module's functions are there once"));
}

#[test]
fn what_is_named_itself_and_can_not_be_probed_is_an_error() {
    assert!(error(&["read_forbidden"]).contains("allows no probe in `read_forbidden`"));
    assert!(error(&["read_it", "read_ours"]).contains("Trapline's own module"));
    assert!(error(&["read_it", "read_more+0x10000"]).contains("is past its end"));
    assert!(error(&["read_it", "r8196:read_ring"]).contains("no module `r8196` is loaded"));
}

#[test]
fn the_return_is_of_all_places_or_of_none() {
    let at_return = |words: &[&str]| try_chosen(words, 500, TRACEABLE).unwrap().at_return;
    assert!(at_return(&["read_it%return", "read_more%return", "$retval"]));
    assert!(at_return(&["read_[im]*%return"]));
    assert!(!at_return(&["read_it", "read_more"]));
    let text = error(&["read_it%return", "read_more"]);
    assert!(text.contains("write --return instead") && text.contains("\n  read_more\n"), "{text}");
}

#[test]
fn a_pattern_in_a_definition_of_the_kernels_is_told_as_that() {
    let text = error(&["p:mine read_* %di"]);
    assert!(text.contains("is of one place, no pattern"), "{text}");
    assert!(text.ends_with("\n  p:mine read_* %di\n         ^^^^^^"), "{text}");
}
