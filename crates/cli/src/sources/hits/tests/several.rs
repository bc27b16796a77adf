//! Probes of several functions at once.

use super::*;

/// The errors that the module gives for some functions.
fn refusing(addresses: &[u64]) -> Module {
    Module {
        refused: addresses.to_vec(),
        refusal: Some((ProbeError::NotProbeable, Errno::INVAL)),
        ..Module::default()
    }
}

#[test]
fn what_is_fetched_is_fetched_of_each_function_by_its_own_names() {
    let hits = asked(&["read_it", "sys_openat", "r8169:of_module", "--args", "comm=$comm"]).unwrap();
    let all: Vec<Vec<String>> = hits.points.iter().map(fetched).collect();
    assert_eq!(all[0][..3], ["comm:string", "file:x64", "count:u64"]);
    assert_eq!(all[1], ["comm:string", "dfd:s32", "filename:string", "regs:x64"]);
    assert_eq!(all[2], ["comm:string", "ring:s32"]);
}

#[test]
fn a_function_that_lacks_what_is_fetched_is_named_with_what_to_do() {
    for (words, expected) in [
        (&["read_it", "end_it", "count"][..], "in `end_it`: the function has no parameter `count`"),
        (&["read_it", "end_it", "if count == 1"], "in `end_it`: the function has no parameter `count`"),
        (
            &["read_it", "r8169:of_*", "count"],
            "in `r8169:of_module`: the function has no parameter `count`; it has: s32 ring\n  count\n  ^^^^^\n",
        ),
        (&["read_it", "end_it", "r", "$retval", "--return"], "in `end_it`: the function returns nothing"),
        (&["read_it", "r", "--args"], "in `r`: the parameters of `r` are not known"),
    ] {
        let error = asked(words).err().unwrap_or_else(|| panic!("{words:?}")).to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
        assert!(error.contains("leave this one out, or fetch what all have"), "{error}");
    }
}

#[test]
fn a_misspelt_second_function_is_told_as_one_and_so_is_one_behind_what_is_fetched() {
    let error = |words: &[&str]| asked(words).err().unwrap().to_string();
    let text = error(&["read_it", "end_ti"]);
    assert!(
        text.contains("no parameter `end_ti`")
            && text.contains(
                "nor is there a function of that name, to be probed too: did you mean one of: end_it?"
            ),
        "{text}"
    );
    let text = error(&["read_it", "cuont"]);
    assert!(!text.contains("nor is there a function"), "{text}");
    let text = error(&["read_it", "count", "end_it"]);
    assert!(text.contains("the places stand before what is fetched"), "{text}");
}

#[test]
fn functions_of_a_pattern_whose_parameters_are_not_known_are_recorded_without() {
    let hits = asked(&["r*", "comm=$comm", "--args"]).unwrap();
    let all: Vec<(String, usize)> =
        hits.points.iter().map(|point| (point.name.clone(), fetched(point).len())).collect();
    assert_eq!(all, [("read_it".into(), 7), ("r".into(), 1)]);
    let told: Vec<String> = hits.notes.lines().collect();
    assert!(
        told[0].starts_with("1 function recorded without parameters") && told[0].ends_with(": r"),
        "{told:?}"
    );
}

#[test]
fn each_function_is_a_probe_of_the_trace_with_its_name_and_the_condition() {
    let mut hits = asked(&["read_it", "sys_openat", "if comm == \"dd\""]).unwrap();
    let module = Module::default();
    hits.arm(&module, &quietly(false)).unwrap();
    let mut header = Header::default();
    hits.describe(&mut header);
    let told: Vec<(&str, Option<&str>)> =
        header.probes.iter().map(|probe| (probe.name.as_str(), probe.condition.as_deref())).collect();
    let condition = Some("comm == \"dd\"");
    assert_eq!(told, [("read_it", condition), ("sys_openat", condition)]);
    assert_eq!(header.sources.len(), 1);
    assert_eq!(hits.counted(&module).probes.hits, 201);
}

#[test]
fn what_the_module_refuses_of_a_pattern_is_left_out_and_told() {
    let mut hits = asked(&["r*", "end_it"]).unwrap();
    let module = refusing(&[0xffff_ffff_8100_0200]);
    hits.arm(&module, &quietly(false)).unwrap();
    let names: Vec<&str> = hits.points.iter().map(|point| point.name.as_str()).collect();
    assert_eq!(names, ["read_it", "end_it"]);
    let told: Vec<String> = hits.notes.lines().collect();
    assert_eq!(told, ["1 function left out: the kernel allows no probe at their first instruction: r"]);
    // One that was named is an error, and so is a pattern of which nothing is left.
    let refused = |words: &[&str]| {
        let mut hits = asked(words).unwrap();
        hits.arm(&module, &quietly(false)).map_err(|error| error.to_string())
    };
    assert!(refused(&["end_it", "r"]).unwrap_err().starts_with("can't probe r (0xffffffff81000200)"));
    let error =
        asked(&["r?*"]).unwrap().arm(&refusing(&[0xffff_ffff_8100_0000]), &quietly(false)).unwrap_err();
    assert!(error.to_string().starts_with("can't probe read_it"), "{error}");
}

#[test]
fn a_signal_while_functions_are_probed_ends_that() {
    let mut hits = asked(&["read_it", "end_it", "r"]).unwrap();
    let module = Module::default();
    let error = hits.arm(&module, &quietly(true)).unwrap_err();
    assert!(matches!(error, Refusal::Interrupted { done: 1, all: 3 }), "{error}");
    assert_eq!(module.taken.borrow().len(), 1);
}

#[test]
fn a_module_of_which_several_functions_are_probed_is_told_to_be_gone_once() {
    let mut hits = asked(&["r8169:of_module", "r8169:of_module+4", "read_it"]).unwrap();
    let module = Module::default();
    hits.arm(&module, &quietly(false)).unwrap();
    module.is_gone.set(true);
    assert_eq!(hits.gone(&module), ["the module r8169, in which 2 functions are probed, is gone"]);
    assert_eq!(hits.gone(&module), [""; 0]);
}
