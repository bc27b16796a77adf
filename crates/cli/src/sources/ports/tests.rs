use trapline_abi::PortCounts;

use super::*;
use crate::args::Targets;
use crate::device::fake::Module;
use crate::system::tests::Machine;
use crate::trace::tests::quietly;

const KALLSYMS: &str = "ffffffff81000000 T _text\n\
                        ffffffff81001000 T ioread8\nffffffff81001040 T iowrite8\nffffffff81001070 T memcpy_fromio\n\
                        ffffffff82000000 D jiffies\n\
                        ffffffffc0400000 t i801_access\t[i2c_i801]\nffffffffc0402010 t i801_exit\t[i2c_i801]\n";
const MODULES: &str = "i2c_i801 20480 0 - Live 0xffffffffc0400000\n";

/// An SMBus controller with a driver, a card without one, and a device without ports; what
/// `/proc/kallsyms` tells.
fn machine(kallsyms: &str) -> Machine {
    let mut machine = Machine::new(&[
        ("proc/kallsyms", kallsyms),
        ("proc/modules", MODULES),
        ("lib/modules/6.1.0-test/modules.alias", "alias pci:v00008086* e1000e\n"),
    ]);
    for (address, resource) in [
        ("0000:00:01.0", "0xfebc0000 0xfebdffff 0x40200\n0xc000 0xc01f 0x40101\n0xc040 0xc04f 0x40101\n"),
        ("0000:00:02.0", "0xfeba0000 0xfebaffff 0x40200\n"),
        ("0000:00:1f.3", "0xefa0 0xefbf 0x40101\n0x10000 0x1001f 0x40101\n0x0 0x1f 0x40101\n"),
    ] {
        for (name, text) in [
            ("vendor", "0x8086\n"),
            ("device", "0x10d3\n"),
            ("class", "0x020000\n"),
            ("irq", "0\n"),
            ("modalias", "pci:v00008086d000010D3\n"),
            ("resource", resource),
        ] {
            machine = machine.file(&format!("sys/bus/pci/devices/{address}/{name}"), text);
        }
    }
    let driver = machine.system.path("sys/bus/pci/drivers/i801_smbus");
    std::fs::create_dir_all(&driver).unwrap();
    machine.link("sys/bus/pci/devices/0000:00:1f.3/driver", &driver);
    machine.link("sys/bus/pci/drivers/i801_smbus/module", &machine.system.path("sys/module/i2c_i801"));
    machine
}

fn try_ports(machine: &Machine, names: &[&str], is_enough: bool) -> Result<Option<Ports>, PortsError> {
    let devices = names.iter().map(|name| name.parse().unwrap()).collect();
    let targets = Targets { devices, ..Targets::default() };
    let wanted = Beside { ports: true, is_enough, ..Beside::of(targets) };
    Ports::new(&machine.system, &wanted, false)
}

fn ports(machine: &Machine, names: &[&str]) -> Ports {
    try_ports(machine, names, false).unwrap().unwrap()
}

/// What a module is asked for: whose code, or where it begins and how long it is.
fn asked(module: &Module) -> Vec<(String, u64, u64)> {
    let name = |code: &PortCode| {
        let length = code.module.iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(code.module[..length].to_vec()).unwrap()
    };
    module.port_code.borrow().iter().map(|code| (name(code), code.start, code.length)).collect()
}

#[test]
fn the_ranges_of_each_device_are_recorded_and_the_code_of_the_kernel_and_of_drivers_is_followed() {
    let machine = machine(KALLSYMS);
    let mut ports = ports(&machine, &["00:1f.3", "00:01.0", "00:1f.3"]);
    let counts = PortCounts { missed: 3, refused: 1, ..PortCounts::default() };
    let (module, mut header) = (Module { port_counts: counts, ..Module::default() }, Header::default());
    ports.arm(&module, &quietly(false)).unwrap();
    let ranges: Vec<(u32, u32)> =
        module.ports.borrow().iter().map(|range| (range.first, range.count)).collect();
    assert_eq!(ranges, [(0xefa0, 0x20), (0xc000, 0x20), (0xc040, 0x10)], "what is there, and once");
    let code = |name: &str, start, length| (name.to_owned(), start, length);
    let expected = [
        code("", 0xffff_ffff_8100_1000, 0x40),
        code("", 0xffff_ffff_8100_1040, 0x30),
        code("i2c_i801", 0, 0),
        code("e1000e", 0, 0),
        // To the end of the page of the last function.
        code("", 0xffff_ffff_c040_0000, 0x3000),
    ];
    assert_eq!(asked(&module), expected);
    ports.describe(&mut header);
    let devices = vec!["0000:00:1f.3".into(), "0000:00:01.0".into()];
    let told = trapline_trace::Ports { devices, modules: vec!["i2c_i801".into(), "e1000e".into()] };
    assert_eq!(header.sources, [trapline_trace::Source::Port(told)]);
    let counted = ports.counted(&module);
    assert_eq!((counted.ports_missed, counted.ports_refused), (3, 1));
}

#[test]
fn a_device_without_ports_is_an_error_or_left_out_where_what_there_is_is_enough() {
    let machine = machine(KALLSYMS);
    let error = try_ports(&machine, &["00:1f.3", "00:02.0"], false).err().unwrap().to_string();
    assert_eq!(error, "0000:00:02.0 (no driver) has no I/O ports; leave out --ports");
    let some = try_ports(&machine, &["00:1f.3", "00:02.0"], true).unwrap().unwrap();
    assert_eq!((some.devices.len(), some.left_out.len()), (1, 1));
    assert!(try_ports(&machine, &["00:02.0"], true).unwrap().is_none());
}

#[test]
fn a_module_that_goes_meanwhile_is_waited_for_and_what_else_is_refused_is_told() {
    let machine = machine(KALLSYMS);
    let at = |start, errno| Module { no_code: Some((start, errno)), ..Module::default() };
    let gone = at(0xffff_ffff_c040_0000, Errno::FAULT);
    ports(&machine, &["00:1f.3"]).arm(&gone, &quietly(false)).unwrap();
    assert_eq!(asked(&gone).last().unwrap().0, "i2c_i801");
    let refused =
        |module: Module| ports(&machine, &["00:1f.3"]).arm(&module, &quietly(false)).unwrap_err().to_string();
    let error = refused(at(0xffff_ffff_8100_1000, Errno::NOMEM));
    assert!(
        error.starts_with("can't follow the instructions of ioread8() that access I/O ports: "),
        "{error}"
    );
    let error = refused(at(0xffff_ffff_c040_0000, Errno::NOMEM));
    assert!(error.contains("instructions of i2c_i801 "), "{error}");
    let error = refused(Module { no_ports: Some(Errno::TOOBIG), ..Module::default() });
    let expected = "can't record accesses to the I/O ports 0xefa0-0xefbf of 0000:00:1f.3 (i801_smbus), BAR 0: one trace can be of 64 ranges";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn where_addresses_are_hidden_they_are_an_error_or_left_out() {
    let machine = machine("0000000000000000 T _text\n");
    let module = Module::default();
    let error = ports(&machine, &["00:1f.3"]).arm(&module, &quietly(false)).unwrap_err().to_string();
    assert!(error.contains("kptr_restrict"), "{error}");
    let mut some = try_ports(&machine, &["00:1f.3"], true).unwrap().unwrap();
    some.arm(&module, &quietly(false)).unwrap();
    let mut header = Header::default();
    some.describe(&mut header);
    assert!(header.sources.is_empty() && module.ports.borrow().is_empty());
    let alone = try_ports(&machine, &["00:1f.3"], true).unwrap().unwrap().alone(true);
    assert!({ alone }.arm(&module, &quietly(false)).is_err(), "an empty trace");
}
