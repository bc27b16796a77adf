//! Whatever a person types and whatever the machine's files hold, the command has an answer: it
//! never panics, and no number is too large for it.
//!
//! Command lines are made from clap's own description of them, so that a new command or option is
//! tried as well. What they ask for is looked up in a machine made of files and armed in a module
//! in memory: all that happens before the first record.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use clap::{CommandFactory, Parser};
use proptest::prelude::*;
use proptest::sample::select;
use trapline_trace::Header;

use crate::args::{Cli, Command, Request};
use crate::device::fake::Module;
use crate::sources::Sources;
use crate::system::System;
use crate::system::tests::with;
use crate::{convert, diff, generated, harden, report, trace};

/// Numbers of every size, those at the edges often.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(1 << 63), 0..300_u64, any::<u64>()]
}

/// A number as a person, or a file, may have it.
fn digits() -> impl Strategy<Value = String> {
    prop_oneof![
        number().prop_map(|number| number.to_string()),
        number().prop_map(|number| format!("{number:#x}")),
        number().prop_map(|number| format!("{number:x}")),
        any::<u128>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[0-9]{1,30}",
    ]
}

/// Words that mean something somewhere, with numbers of any size in them; and any others.
fn word() -> impl Strategy<Value = OsString> {
    let unit = select(vec![
        "", "K", "kib", "M", "G", "GiB", "T", "b", "ns", "us", "ms", "s", "m", "h", "d", "w", "M", "y",
        "years",
    ]);
    let text = prop_oneof![
        (digits(), unit).prop_map(|(number, unit)| number + unit),
        (digits(), "[-+:@/,.]", digits()).prop_map(|(one, sign, other)| one + &sign + &other),
        "[0-9a-f]{0,5}:?[0-9a-f]{1,3}:[0-9a-f]{1,3}\\.[0-9]{1,3}",
        (select(vec!["f", "m:f", "late", "datum", "m:late", ""]), "[+:]?", digits())
            .prop_map(|(name, sign, offset)| format!("{name}{sign}{offset}")),
        fetch(),
        (select(vec!["p", "r", "f", "t", "u:e", "p:e", "p:g/", "p:g/e"]), digits(), fetch())
            .prop_map(|(head, place, fetch)| format!("{head} f+{place} {fetch}")),
        (digits(), fetch()).prop_map(|(active, fetch)| format!("r{active}:e m:f%return {fetch}")),
        rule().boxed(),
        select(vec![
            "arrow",
            "json",
            "mmiotrace",
            "human",
            "idt",
            "user",
            "not-present,hlat",
            "-",
            "bash",
            "mmio"
        ])
        .prop_map(str::to_owned),
        "[a-z$%@+(){}=:\\\\\"' -]{0,12}",
        any::<String>(),
    ];
    prop_oneof![
        8 => text.prop_map(OsString::from),
        1 => prop::collection::vec(1..=u8::MAX, 0..6).prop_map(OsString::from_vec),
    ]
}

/// A rule of injection, with numbers of any size in it.
fn rule() -> impl Strategy<Value = String> {
    let place = prop_oneof![
        select(vec!["*", "STATUS", "CTRL.RST", "read *", "write CTRL", "0xfebc0000+8", "*:8"])
            .prop_map(str::to_owned),
        (digits(), digits()).prop_map(|(one, other)| format!("{one}+{other}")),
        (digits(), digits(), digits()).prop_map(|(bar, first, last)| format!("BAR{bar}+{first}-{last}")),
    ];
    let what =
        select(vec!["=", "ones", "and", "or", "xor", "stale", "withhold", "random", "drop", "gone", "delay"]);
    let when = select(vec![
        "",
        "from",
        "at",
        "times",
        "chance",
        "after",
        "after CTRL=",
        "until STATUS=",
        "in",
        "pid",
        "cpu",
    ]);
    (place, what, prop::option::of(digits()), when, digits()).prop_map(
        |(place, what, value, when, number)| {
            format!("{place} {what} {} {when} {number}", value.unwrap_or_default())
        },
    )
}

/// Something to fetch, nested up to deeper than is possible.
fn fetch() -> impl Strategy<Value = String> {
    let leaf = (
        select(vec![
            "%di", "$arg", "$arg*", "$stack", "$retval", "$comm", "@", "@datum+", "\\", "\\\"t\"", "x",
            "(s)%di", "(s,a.b)x",
        ]),
        digits(),
        any::<bool>(),
    )
        .prop_map(
            |(leaf, number, numbered)| if numbered { format!("{leaf}{number}") } else { leaf.to_owned() },
        );
    let level = ("[-+]", "u?", digits()).prop_map(|(sign, user, offset)| sign + &user + &offset + "(");
    let member = prop_oneof![
        select(vec!["->a", ".b", "->", "[", "-"]).prop_map(str::to_owned),
        digits().prop_map(|number| format!("[{number}]")),
    ];
    let leaf =
        (leaf, prop::collection::vec(member, 0..3)).prop_map(|(leaf, members)| leaf + &members.concat());
    let nested = (prop::collection::vec(level, 0..20), leaf)
        .prop_map(|(levels, leaf)| levels.concat() + &leaf + &")".repeat(levels.len()));
    let form = prop_oneof![
        select(vec!["", ":u8", ":s64", ":x32", ":char", ":string", ":symbol", ":%pd", ":%pD", ":b3@4/32"])
            .prop_map(str::to_owned),
        digits().prop_map(|count| format!(":x8[{count}]")),
        (digits(), digits(), digits())
            .prop_map(|(width, at, container)| format!(":b{width}@{at}/{container}")),
    ];
    (prop::option::of("[a-z0-9]{0,4}="), nested, form)
        .prop_map(|(name, fetch, form)| name.unwrap_or_default() + &fetch + &form)
}

/// Command lines: of each command its own options, with values or without, among other words.
fn line() -> impl Strategy<Value = Vec<OsString>> {
    let mut all = Cli::command();
    all.build();
    let commands: Vec<(String, Vec<(String, bool)>)> = all
        .get_subcommands()
        .map(|command| {
            let options = command.get_arguments().filter_map(|argument| {
                let takes_value = argument.get_action().takes_values();
                Some((format!("--{}", argument.get_long()?), takes_value))
            });
            (command.get_name().to_owned(), options.collect())
        })
        .collect();
    select(commands).prop_flat_map(|(name, options)| {
        let options = if options.is_empty() { vec![("--color".to_owned(), true)] } else { options };
        let option = (select(options), word(), 0..10_u8).prop_map(|((option, takes_value), value, odd)| {
            // Now and then a value too many, or none.
            match takes_value == (odd > 0) {
                true => {
                    let mut joined = OsString::from(option + "=");
                    joined.push(value);
                    vec![joined]
                }
                false => vec![option.into()],
            }
        });
        let words = word().prop_map(|word| vec![word]);
        prop::collection::vec(prop_oneof![3 => option, 2 => words], 0..6).prop_map(move |words| {
            ["trapline".into(), name.clone().into()].into_iter().chain(words.into_iter().flatten()).collect()
        })
    })
}

/// A machine with a device, some symbols, and a process that faults are asked of.
fn machine() -> (tempfile::TempDir, System) {
    with(&[
        ("sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n"),
        ("sys/bus/pci/devices/0000:00:02.0/device", "0x10d3\n"),
        ("sys/bus/pci/devices/0000:00:02.0/class", "0x020000\n"),
        ("sys/bus/pci/devices/0000:00:02.0/irq", "11\n"),
        (
            "sys/bus/pci/devices/0000:00:02.0/resource",
            "0x00000000febc0000 0x00000000febdffff 0x0000000000040200\n",
        ),
        ("sys/devices/system/cpu/possible", "0-3\n"),
        ("sys/module/m/refcnt", "0\n"),
        ("proc/1/status", "Tgid:\t1\n"),
        ("proc/modules", "m 4096 0 - Live 0xffffffffc0400000\n"),
        (
            "proc/kallsyms",
            "ffffffff81000000 T f\nffffffff81000100 T g\nffffffff82000000 D datum\n\
             ffffffffc0400000 t f\t[m]\nfffffffffffff000 T late\n",
        ),
    ])
}

/// Does all that a command does before it needs the kernel.
fn answer(system: &System, command: Command) {
    let request: Request = match command {
        Command::Mmio(args) => args.into(),
        Command::Inject(args) => args.into(),
        Command::Probe(args) => args.into(),
        Command::Faults(args) => args.into(),
        Command::Trace(args) => args.into(),
        Command::Device(args) => args.into(),
        Command::Report(args) => return drop(report::run(&args).map_err(|error| error.to_string())),
        Command::Convert(args) => return drop(convert::run(&args).map_err(|error| error.to_string())),
        Command::Diff(args) => return drop(diff::run(&args).map_err(|error| error.to_string())),
        Command::Man { about, .. } => return drop(generated::man_page(&about)),
        Command::Completions { shell } => return drop(generated::completions(shell)),
        Command::Harden(args) => {
            return drop(harden::before_the_first_run(system, &args).map_err(|error| error.to_string()));
        }
        Command::Explain(_)
        | Command::Registers(_)
        | Command::Module(_)
        | Command::Devices
        | Command::List
        | Command::Status
        | Command::Doctor
        | Command::Mark { .. } => {
            return;
        }
    };
    trace::tests::before_the_first_record(&request.taking);
    match Sources::new(system, &request) {
        Ok(sources) => {
            let (module, mut header) = (Module::default(), Header::default());
            for mut source in sources.all {
                source.arm(&module, &trace::tests::quietly(false)).unwrap();
                source.describe(&mut header);
                source.look(&module);
                source.counted(&module);
                let _ = (source.process(), source.latency(), source.prepare().is_some(), source.last_words());
            }
        }
        Err(error) => drop(error.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    fn answer_any(line in line()) {
        thread_local!(static MACHINE: (tempfile::TempDir, System) = machine());
        match Cli::try_parse_from(line) {
            Ok(cli) => MACHINE.with(|(_, system)| answer(system, cli.command)),
            Err(error) => drop(error.render().to_string()),
        }
    }
}

#[test]
fn every_command_line_has_an_answer() {
    // On a stack as a main thread's, four times a test's: clap's description of all commands is
    // built there, without optimisation.
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(answer_any).unwrap();
    thread.join().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_content_of_the_machines_files_has_an_answer(
        kallsyms in prop::collection::vec((digits(), "[tTd]", "[fg]", "(\\[m\\])?"), 0..6),
        module in (digits(), digits()),
        image in prop::collection::vec(number(), 0..30),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        available in digits(),
        possible in "[0-9,-]{0,12}",
        spec in prop_oneof![Just("f".to_owned()), ("[fg]", digits()).prop_map(|(name, at)| format!("{name}+{at}")), digits()],
    ) {
        let symbols: String = kallsyms.iter().map(|(at, kind, name, module)| format!("{at} {kind} {name}\t{module}\n")).collect();
        let modules = format!("m {} 0 - Live 0x{}\n", module.0, module.1);
        let memory = format!("MemAvailable: {available} kB\n");
        let (root, system) = with(&[
            ("proc/kallsyms", &symbols), ("proc/modules", &modules), ("proc/meminfo", &memory),
            ("sys/devices/system/cpu/possible", &possible), ("sys/kernel/btf/x", ""),
            ("sys/kernel/debug/kprobes/blacklist", &format!("0x{}-0x{}\tf\n", module.0, module.1)),
        ]);
        // Where `/proc/kcore` has its table of headers, so that it is followed.
        let kcore: Vec<u8> = image.iter().flat_map(|word| word.to_le_bytes()).chain(bytes.iter().copied()).collect();
        fs::write(root.path().join("proc/kcore"), kcore).unwrap();
        let btf: Vec<u8> = [0x9f, 0xeb, 1, 0].into_iter().chain(bytes.iter().copied()).collect();
        fs::write(root.path().join("sys/kernel/btf/vmlinux"), btf).unwrap();
        let _ = system.available_memory();
        if let Ok(cli) = Cli::try_parse_from(["trapline", "probe", &spec, "--args", "--cpu", "1"]) {
            answer(&system, cli.command);
        }
    }
}
