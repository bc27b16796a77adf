//! The command on a machine in a folder and a module in memory: everything but the kernel.

use std::fs;
use std::os::unix::fs::symlink;

use clap::Parser;
use rustix::io::Errno;
use trapline_abi::InjectCounts;
use trapline_trace::Header;

use super::*;
use crate::args::{Cli, Command, Request};
use crate::device::fake::Module;
use crate::exit::{Error, Exit};
use crate::sources::Sources;
use crate::system::tests::with;
use crate::trace::Source;
use crate::trace::tests::quietly;

/// An e1000e, which the shipped register files know, and a disk that holds the root file system.
fn machine() -> (tempfile::TempDir, System) {
    let device = |files: &mut Vec<(String, String)>, address: &str, ids: [&str; 2], start: u64| {
        let folder = format!("sys/bus/pci/devices/{address}");
        let resource = format!("{start:#018x} {:#018x} 0x0000000000040200\n", start + 0x1_ffff);
        for (name, text) in [
            ("vendor", ids[0]),
            ("device", ids[1]),
            ("class", "0x020000"),
            ("irq", "11"),
            ("resource", &resource),
        ] {
            files.push((format!("{folder}/{name}"), text.into()));
        }
    };
    let mut files = Vec::new();
    device(&mut files, "0000:00:02.0", ["0x8086", "0x10d3"], 0xfebc_0000);
    device(&mut files, "0000:00:04.0", ["0x8086", "0x10d3"], 0xfecc_0000);
    device(&mut files, "0000:00:03.0", ["0x1234", "0x11e8"], 0xfedc_0000);
    let mounts = "23 22 8:2 / / rw,relatime shared:1 - ext4 /dev/root rw\n";
    files.push(("proc/self/mountinfo".into(), mounts.into()));
    files.push(("proc/7/status".into(), "Tgid:\t7\n".into()));
    files.push(("sys/devices/system/cpu/possible".into(), "0-3\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let (root, system) = with(&files);
    let disk = system.path("sys/devices/pci0000:00/0000:00:03.0/block/sda/sda2");
    fs::create_dir_all(&disk).unwrap();
    for link in ["sys/dev/block/8:2", "sys/class/block/sda2"] {
        let link = system.path(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&disk, link).unwrap();
    }
    (root, system)
}

fn try_sources(system: &System, words: &[&str]) -> Result<Sources, Error> {
    let line = ["trapline", "inject"].iter().chain(words);
    let Command::Inject(inject) = Cli::parse_from(line).command else { panic!("not inject") };
    Ok(Sources::new(system, &Request::from(inject))?)
}

fn source(words: &[&str]) -> Box<dyn Source> {
    let (_root, system) = machine();
    let mut sources = try_sources(&system, words).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sources.all.len(), 1);
    sources.all.remove(0)
}

fn refused(words: &[&str]) -> (String, Exit) {
    let (_root, system) = machine();
    let Err(error) = try_sources(&system, words) else { panic!("{words:?} is not refused") };
    (error.to_string(), error.exit())
}

const CARD: [&str; 2] = ["--device", "00:02.0"];

fn injected(source: &dyn Source) -> Injected {
    let mut header = Header::default();
    source.describe(&mut header);
    let [trapline_trace::Source::Access(watched)] = &header.sources[..] else { panic!("{header:?}") };
    assert!(watched.reads && watched.writes);
    watched.injected.clone().unwrap()
}

#[test]
fn the_rules_are_given_before_anything_is_watched_in_their_order() {
    let mut source = source(&[&CARD[..], &["STATUS ones from 3", "CTRL drop", "--seed", "7"]].concat());
    let module = Module::default();
    source.arm(&module, &quietly(false)).unwrap();
    let rules = module.rules.borrow();
    let told: Vec<_> = rules.iter().map(|rule| (rule.physical, rule.first)).collect();
    assert_eq!(told, [(0xfebc_0008, 3), (0xfebc_0000, 1)]);
    assert!(module.watched.get());
    let Injected { rules, seed } = injected(source.as_ref());
    assert_eq!((rules, seed), (vec!["STATUS ones from 3".into(), "CTRL drop".into()], 7));
}

#[test]
fn the_same_seed_gives_the_same_rules_and_each_rule_a_stream_of_its_own() {
    let given = |seed: &[&str]| {
        let rules = ["STATUS random", "CTRL random"];
        let mut source = source(&[&CARD[..], &rules, seed].concat());
        let module = Module::default();
        source.arm(&module, &quietly(false)).unwrap();
        let rules: Vec<u64> = module.rules.borrow().iter().map(|rule| rule.seed).collect();
        assert_ne!(rules[0], rules[1]);
        (rules, injected(source.as_ref()).seed)
    };
    assert_eq!(given(&["--seed", "0xffffffffffffffff"]), given(&["--seed", "18446744073709551615"]));
    assert_ne!(given(&["--seed", "1"]), given(&["--seed", "2"]));
    // What was chosen is told, and can be given.
    let (rules, seed) = given(&[]);
    assert_eq!(given(&["--seed", &seed.to_string()]), (rules, seed));
}

#[test]
fn what_each_rule_counted_is_told_of_all_its_devices_together() {
    let words = ["--device", "00:04.0", "STATUS ones", "CTRL drop", "* delay 1us"];
    let mut source = source(&[&CARD[..], &words].concat());
    let module = Module::default();
    source.arm(&module, &quietly(false)).unwrap();
    assert_eq!(module.rules.borrow().len(), 5);
    assert_eq!(source.idle(), Some("nothing was injected"), "before it was asked");
    let counts = |matched, applied| InjectCounts { matched, applied, ..InjectCounts::default() };
    *module.rule_counts.borrow_mut() =
        vec![counts(5, 3), counts(2, 1), counts(0, 0), counts(7, 0), counts(0, 0)];
    source.counted(&module);
    assert_eq!(source.idle(), None);
    let table = anstream::adapter::strip_str(&source.beside(false).unwrap()).to_string();
    for line in [
        "           7            4  STATUS ones\n",
        "           7            0  CTRL drop  never applied, to none of these accesses\n",
        "           0            0  * delay 1us  never applied: there was no such access",
    ] {
        assert!(table.contains(line), "{table}");
    }
    let quiet = anstream::adapter::strip_str(&source.beside(true).unwrap()).to_string();
    assert_eq!(quiet, "trapline: never applied: CTRL drop\ntrapline: never applied: * delay 1us");
    module.rule_counts.borrow_mut().clear();
    source.counted(&module);
    assert_eq!(source.idle(), Some("nothing was injected"));
}

#[test]
fn a_rule_that_the_module_refuses_is_told_and_nothing_is_watched() {
    let words = ["--device", "00:04.0", "STATUS ones", "CTRL drop"];
    let mut source = source(&[&CARD[..], &words].concat());
    let module = Module { bad_rule: Some((2, Errno::INVAL)), ..Module::default() };
    let refusal = source.arm(&module, &quietly(false)).unwrap_err();
    assert!(refusal.to_string().contains("refused the rule `CTRL drop`"), "{refusal}");
    assert!(!module.watched.get());
    let module = Module { bad_rule: Some((u32::MAX, Errno::NOMEM)), ..Module::default() };
    let refusal = source.arm(&module, &quietly(false)).unwrap_err();
    assert!(refusal.to_string().contains("refused the rules: "), "{refusal}");
}

#[test]
fn a_device_that_the_machine_needs_is_refused_unless_it_is_said_that_it_may_be_touched() {
    let (error, exit) = refused(&["--device", "00:03.0", "* gone"]);
    assert!(
        error.starts_with("0000:00:03.0 (no driver) is in use: it holds the root file system;"),
        "{error}"
    );
    assert!(error.ends_with("say --yes") && exit == Exit::Environment, "{error}");
    // Its registers by their addresses are no way around.
    assert_eq!(refused(&["--range", "0xfedc0008+4", "* gone"]).1, Exit::Environment);
    assert_eq!(refused(&["--device", "00:02.0", "--device", "00:03.0", "* gone"]).1, Exit::Environment);
    source(&["--device", "00:03.0", "* gone", "--yes"]);
    source(&["--range", "0xfebc0008+4", "* gone"]);
}

#[test]
fn a_rule_that_never_applies_since_another_decides_is_refused() {
    let (error, exit) = refused(&[&CARD[..], &["STATUS ones", "* = 0", "read STATUS xor 1"]].concat());
    assert!(
        error.starts_with("rule 3 `read STATUS xor 1` can never apply: rule 1 `STATUS ones` decides")
            && exit == Exit::Usage,
        "{error}"
    );
    source(&[&CARD[..], &["STATUS ones", "* = 0"]].concat());
}

#[test]
fn what_is_not_there_is_told_as_a_mistake_of_the_command_line() {
    for (words, word) in [
        (&["STATUS one"][..], "expected what to do"),
        (&["STATSU ones"], "did you mean one of: STATUS?"),
        (&["STATUS ones pid 8"], "there is no process 8"),
        (&["STATUS ones cpu 4"], "there is no CPU 4: this machine has 0-3"),
        (&["STATUS = 0x100000000"], "room for 32 bits"),
    ] {
        let (error, exit) = refused(&[&CARD[..], words].concat());
        assert!(error.contains(word) && exit == Exit::Usage, "{error}");
    }
    source(&[&CARD[..], &["STATUS ones pid 7 cpu 3"]].concat());
    let many = vec!["* delay 1us"; MAX_RULES + 1];
    assert!(refused(&[&CARD[..], &many].concat()).0.contains("these are 129 rules"));
    let many = vec!["STATUS delay 1us"; MAX_RULES / 2 + 1];
    let both = ["--device", "00:04.0"];
    assert!(refused(&[&CARD[..], &both, &many].concat()).0.contains("these are 130 rules"));
}

#[test]
fn rules_of_files_come_after_those_of_the_command_line_and_are_told_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let one = file("one.toml", "seed = 5\nrules = ['CTRL drop', 'EERD withhold']\n");
    let two = file("two.toml", "rules = ['MDIC ones']\n");
    let files = ["--rules", &one, "--rules", &two];
    let told = injected(source(&[&CARD[..], &files, &["STATUS ones"]].concat()).as_ref());
    assert_eq!(told.rules, ["STATUS ones", "CTRL drop", "EERD withhold", "MDIC ones"]);
    assert_eq!(told.seed, 5);
    assert_eq!(injected(source(&[&CARD[..], &files, &["--seed", "6"]].concat()).as_ref()).seed, 6);

    let other = file("other.toml", "seed = 6\nrules = ['MDIC ones']\n");
    let both = ["--rules", &one, "--rules", &other];
    let (error, exit) = refused(&[&CARD[..], &both].concat());
    assert!(error.ends_with("other.toml says seed 6, a file before it 5: say which by --seed"), "{error}");
    assert_eq!(exit, Exit::Usage);
    source(&[&CARD[..], &both, &["--seed", "1"]].concat());

    let wrong = file("wrong.toml", "rules = ['CTRL drop', 'CTRL drip']\n");
    let (error, exit) = refused(&[&CARD[..], &["--rules", &wrong]].concat());
    assert!(error.contains("wrong.toml, rule 2: this is not expected here"), "{error}");
    assert_eq!(exit, Exit::Usage);
    let unknown = file("unknown.toml", "rules = ['CTRL drop', 'CTLR drop']\n");
    let (error, _) = refused(&[&CARD[..], &["--rules", &unknown]].concat());
    assert!(error.contains("unknown.toml, rule 2: there is no register `CTLR`"), "{error}");
    assert_eq!(refused(&[&CARD[..], &["--rules", "no-such-file"]].concat()).1, Exit::File);
    let none = file("none.toml", "seed = 1\n");
    assert_eq!(refused(&[&CARD[..], &["--rules", &none]].concat()).1, Exit::File);
}
