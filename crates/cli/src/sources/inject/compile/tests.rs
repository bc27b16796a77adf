//! Rules for a device whose registers are known: what the module is given, and what is refused.

use std::path::Path;

use trapline_abi::{InjectAction, WATCH_READS};
use trapline_registers::RegisterFile;
use trapline_trace::{Bar, Device, Registers};

use super::*;
use crate::sources::accesses::Target;
use crate::sources::inject::syntax::parse;
use crate::system::tests::with;
use crate::units::PhysicalRange;

const REGISTERS: &str = r#"
name = "test"
[[match]]
vendor = 0x8086
[[register]]
offset = 0
name = "CTRL"
fields = [{ bits = "26", name = "RST" }, { bits = "23:8", name = "MIDDLE" }, { bits = "9:8", name = "SPEED" }]
[[register]]
offset = 0x8
name = "STATUS"
[[register]]
offset = 0x10
name = "WIDE"
width = 8
bar = 1
[[register]]
offset = 0x20
name = "HUGE"
width = 16
fields = [{ bits = "63:32", name = "HIGH" }]
[[register]]
offset = 0x40
name = "RAL"
count = 2
[[register]]
offset = 0x100000
name = "OUTSIDE"
"#;

const BASE: u64 = 0xfebc_0000;

fn device(address: &str, start: u64) -> Device {
    let mut device = Device { address: address.into(), vendor: 0x8086, ..Device::default() };
    device.bars[0] = Bar { start, length: 0x2_0000, flags: 0x200 };
    device.bars[1] = Bar { start: start + 0x10_0000, length: 0x18, flags: 0x200 };
    device
}

fn targets(devices: &[Device]) -> Vec<Target> {
    let of = |device: &Device| {
        let bars: Vec<_> = device.memory_bars().map(|(index, bar)| (index, *bar)).collect();
        bars.into_iter()
            .map(|(index, bar)| Target {
                range: PhysicalRange { physical: bar.start, length: bar.length },
                bar: Some((device.clone(), index)),
            })
            .collect::<Vec<_>>()
    };
    devices.iter().flat_map(of).collect()
}

fn registers() -> Registers {
    let mut registers = Registers::none();
    registers.add(RegisterFile::parse("test", REGISTERS).unwrap());
    registers
}

fn try_all(devices: &[Device], text: &str) -> Result<Vec<Compiled>, Mistake> {
    let (targets, registers) = (targets(devices), registers());
    compile(&parse(text).unwrap(), &Map::new(&targets, &registers), None)
}

fn try_one(text: &str) -> Result<InjectRule, Mistake> {
    try_all(&[device("0000:00:02.0", BASE)], text).map(|all| {
        assert_eq!(all.len(), 1, "{text}");
        all[0].rule
    })
}

/// Where, how long, bytes of a value, and, or, xor.
fn changed(text: &str) -> (u64, u64, u32, [u64; 3]) {
    let rule = try_one(text).unwrap_or_else(|mistake| panic!("{mistake}"));
    assert_eq!(rule.action, InjectAction::Change as u32, "{text}");
    (rule.physical, rule.length, rule.size, [rule.and, rule.or, rule.xor])
}

const ALL: u64 = u64::MAX;

#[test]
fn a_change_has_the_masks_of_the_register_or_of_the_field() {
    let field = 0x300;
    for (text, place, masks) in [
        ("STATUS = 5", (8, 4, 4), [!0xffff_ffff, 5, 0]),
        ("STATUS ones", (8, 4, 4), [ALL, 0xffff_ffff, 0]),
        ("STATUS and 0xf0", (8, 4, 4), [!0xffff_ffff | 0xf0, 0, 0]),
        ("STATUS or 0xf0", (8, 4, 4), [ALL, 0xf0, 0]),
        ("STATUS xor 0xffffffff", (8, 4, 4), [ALL, 0, 0xffff_ffff]),
        ("CTRL.SPEED = 2", (0, 4, 4), [!field, 2 << 8, 0]),
        ("CTRL.SPEED ones", (0, 4, 4), [ALL, field, 0]),
        ("CTRL.SPEED and 1", (0, 4, 4), [!field | 1 << 8, 0, 0]),
        ("CTRL.SPEED or 1", (0, 4, 4), [ALL, 1 << 8, 0]),
        ("CTRL.RST xor 1", (0, 4, 4), [ALL, 0, 1 << 26]),
        ("WIDE = 0xffffffffffffffff", (0x10_0010, 8, 8), [0, ALL, 0]),
        ("HUGE ones", (0x20, 16, 8), [ALL, ALL, 0]),
        ("HUGE.HIGH = 1", (0x20, 8, 8), [0xffff_ffff, 1 << 32, 0]),
        ("RAL[1] = 0", (0x44, 4, 4), [!0xffff_ffff, 0, 0]),
        ("BAR0+0x102:2 = 7", (0x102, 2, 2), [!0xffff, 7, 0]),
        ("BAR0+0x100-0x1ff = 7", (0x100, 0x100, 4), [!0xffff_ffff, 7, 0]),
        ("0xfebc0100+0x10:8 = 7", (0x100, 0x10, 8), [0, 7, 0]),
    ] {
        let (offset, length, size) = place;
        assert_eq!(changed(text), (BASE + offset, length, size, masks), "{text}");
    }
    assert_eq!(changed("* = 7"), (0, u64::MAX, 4, [!0xffff_ffff, 7, 0]));
}

#[test]
fn other_actions_have_what_they_need_and_a_field_of_whole_bytes_is_those_bytes() {
    let place = |text: &str| {
        let rule = try_one(text).unwrap_or_else(|mistake| panic!("{mistake}"));
        (
            InjectAction::from_code(rule.action).unwrap(),
            rule.physical - BASE,
            rule.length,
            rule.and,
            rule.delay,
        )
    };
    assert_eq!(place("STATUS stale 3"), (InjectAction::Stale, 8, 4, 3, 0));
    assert_eq!(place("STATUS withhold"), (InjectAction::Withhold, 8, 4, ALL, 0));
    assert_eq!(place("CTRL.MIDDLE random"), (InjectAction::Random, 1, 2, ALL, 0));
    assert_eq!(place("HUGE random"), (InjectAction::Random, 0x20, 16, ALL, 0));
    assert_eq!(place("CTRL drop"), (InjectAction::Drop, 0, 4, ALL, 0));
    assert_eq!(place("CTRL twice"), (InjectAction::Twice, 0, 4, ALL, 0));
    assert_eq!(place("CTRL gone"), (InjectAction::Gone, 0, 4, ALL, 0));
    assert_eq!(place("CTRL delay 50us"), (InjectAction::Delay, 0, 4, ALL, 50));
}

#[test]
fn a_rule_says_to_whose_accesses_and_when() {
    let rule = try_one("STATUS ones").unwrap();
    let any = InjectRule { first: 1, count: ALL, chance: ALWAYS, cpu: u32::MAX, thread: u32::MAX, ..rule };
    assert_eq!((any, rule.flags, rule.ip_first, rule.ip_last), (rule, WATCH_READS, 0, ALL));
    assert_eq!((rule.begin, rule.end, rule.after), (InjectTrigger::default(), InjectTrigger::default(), 0));
    let text = "STATUS ones from 3 times 2 chance 50% after 1us after CTRL.RST=1 until WIDE=9 pid 7 cpu 2";
    let rule = try_one(text).unwrap();
    let base = (rule.first, rule.count, rule.chance, rule.after, rule.thread, rule.cpu);
    assert_eq!(base, (3, 2, (1 << 31) - 1, 1000, 7, 2));
    assert_eq!(rule.begin, InjectTrigger { physical: BASE + 3, mask: 1 << 2, bits: 1 << 2 });
    assert_eq!(rule.end, InjectTrigger { physical: BASE + 0x10_0010, mask: ALL, bits: 9 });
}

#[test]
fn a_register_of_several_devices_is_a_rule_for_each_with_its_own_triggers() {
    let devices = [device("0000:00:02.0", BASE), device("0000:00:03.0", BASE + 0x100_0000)];
    let all = try_all(&devices, "STATUS ones after CTRL.RST=1").unwrap();
    let told: Vec<_> = all.iter().map(|one| (one.rule.physical, one.rule.begin.physical)).collect();
    assert_eq!(told, [(BASE + 8, BASE + 3), (BASE + 0x100_0008, BASE + 0x100_0003)]);
    let by_address = format!("STATUS ones after {BASE:#x}+4=1");
    assert_eq!(try_all(&devices, &by_address).unwrap().len(), 2);
    assert_eq!(all[1].place, "0000:00:03.0 BAR 0+0x8, 4 bytes");
    // Everything is one rule.
    assert_eq!(try_all(&devices, "* gone").unwrap().len(), 1);
    let mistake = try_all(&devices, "* gone after CTRL.RST=1").unwrap_err();
    assert!(mistake.why.contains("several devices have this"), "{mistake}");
}

#[test]
fn what_can_t_be_carried_out_is_told_with_its_place() {
    for (text, marked, word) in [
        ("status = 1", "status", "there is no register `status`: did you mean one of: STATUS?"),
        ("STATSU.LU = 1", "STATSU.LU", "there is no register `STATSU`: did you mean one of: STATUS?"),
        ("RAL = 1", "RAL", "RAL[0], RAL[1]"),
        ("XYZZY = 1", "XYZZY", "name it by BAR0+OFFSET"),
        ("CTRL.SPED = 1", "CTRL.SPED", "CTRL has no field `SPED`: did you mean one of: SPEED?"),
        ("CTRL.XYZ = 1", "CTRL.XYZ", "it has RST, MIDDLE, SPEED"),
        ("STATUS.LU = 1", "STATUS.LU", "STATUS has no field `LU`: it has none"),
        (
            "STATUS = 0x100000000",
            "= 0x100000000",
            "0x100000000 has 33 bits: 0000:00:02.0 BAR 0+0x8, 4 bytes has room for 32 bits",
        ),
        ("CTRL.RST = 2", "= 2", "0x2 has 2 bits: 0000:00:02.0 BAR 0+0x0 bit 26 has room for 1 bit"),
        ("BAR0+8:1 xor 0x100", "xor 0x100", "room for 8 bits"),
        ("* = 0x100000000", "= 0x100000000", "room for 32 bits"),
        ("HUGE = 1", "HUGE", "this register has 16 bytes, a value 8 at most"),
        ("OUTSIDE ones", "OUTSIDE", "BAR 0 of 0000:00:02.0 has 0x20000 bytes"),
        ("BAR0+0x1fffd ones", "BAR0+0x1fffd", "BAR 0 of 0000:00:02.0 has 0x20000 bytes"),
        ("BAR0+0xffffffffffffffff ones", "BAR0+0xffffffffffffffff", "has 0x20000 bytes"),
        ("BAR2+0 ones", "BAR2+0", "0000:00:02.0 has no memory in BAR 2"),
        ("0x1000+4 ones", "0x1000+4", "is not in what is traced: 0000:00:02.0 BAR 0"),
        ("CTRL.RST random", "CTRL.RST", "`random` is of whole bytes, and this field has bits 26:26"),
        ("CTRL.SPEED withhold", "CTRL.SPEED", "`withhold` is of whole bytes"),
        ("CTRL.RST drop", "CTRL.RST", "`drop` is of a whole access"),
        ("CTRL.RST delay 5us", "CTRL.RST", "`delay` is of a whole access"),
        ("STATUS ones after CTRL.RST=2", "2", "0x2 has 2 bits"),
        ("STATUS ones until CTLR=2", "CTLR", "did you mean one of: CTRL?"),
        ("STATUS ones after HUGE=2", "HUGE", "16 bytes are more than can be compared"),
        ("STATUS ones after BAR0+0-15=2", "BAR0+0-15", "16 bytes are more than can be compared"),
        ("STATUS ones in f", "f", "the kernel's functions are not known"),
    ] {
        let mistake = try_one(text).unwrap_err();
        assert_eq!(mistake.text.get(mistake.at.clone()), Some(marked), "{text}: {mistake}");
        assert!(mistake.why.contains(word), "{text}: {mistake}");
    }
}

#[test]
fn without_a_device_or_a_register_file_it_is_said_how_to_name_a_place() {
    let range = PhysicalRange { physical: BASE, length: 0x1000 };
    let rule = parse("STATUS ones").unwrap();
    let mistake = compile(&rule, &Map::new(&[Target { range, bar: None }], &registers()), None).unwrap_err();
    assert!(mistake.why.contains("where a device is traced"), "{mistake}");
    let targets = targets(&[device("0000:00:02.0", BASE)]);
    let mistake = compile(&rule, &Map::new(&targets, &Registers::none()), None).unwrap_err();
    assert!(
        mistake.why.contains("no register file describes 0000:00:02.0: name it by BAR0+OFFSET"),
        "{mistake}"
    );
}

#[test]
fn a_function_is_from_its_first_to_its_last_byte() {
    let (_root, system) = with(&[
        (
            "proc/kallsyms",
            "ffffffff81000000 T first\nffffffff81000080 t twin\nffffffff81000100 t last\n\
             ffffffff82000000 D datum\nffffffffc0400000 t twin\t[e1000e]\nffffffffc0400010 t e1000_reset\t[e1000e]\n",
        ),
        ("proc/modules", "e1000e 4096 0 - Live 0xffffffffc0400000\n"),
    ]);
    let symbols = Symbols::load(&system.path(Path::new("proc"))).unwrap();
    let (targets, registers) = (targets(&[device("0000:00:02.0", BASE)]), registers());
    let compile = |function: &str| {
        let rule = parse(&format!("STATUS ones in {function}")).unwrap();
        compile(&rule, &Map::new(&targets, &registers), Some(&symbols))
            .map(|all| (all[0].rule.ip_first, all[0].rule.ip_last))
    };
    assert_eq!(compile("first").unwrap(), (0xffff_ffff_8100_0000, 0xffff_ffff_8100_007f));
    assert_eq!(compile("e1000e:twin").unwrap(), (0xffff_ffff_c040_0000, 0xffff_ffff_c040_000f));
    let (first, last) = compile("e1000_reset").unwrap();
    assert!(first == 0xffff_ffff_c040_0010 && last > first && last <= 0xffff_ffff_c040_0fff, "{last:#x}");
    for (function, word) in [
        ("twin", "is the name of 2 functions"),
        ("frist", "did you mean one of: first?"),
        ("datum", "no function `datum`"),
        ("igb:first", "no function `igb:first`"),
    ] {
        let mistake = compile(function).unwrap_err();
        assert!(mistake.why.contains(word), "{mistake}");
    }
}
