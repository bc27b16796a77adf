use super::*;

const KERNEL: &str = "ffffffff81000000 T _text\nffffffff81000000 T startup_64\nffffffff81001000 T memcpy_fromio\n\
                      ffffffff82000000 D jiffies\n";
const E1000E: &str =
    "ffffffffc0400100 t e1000_probe\t[e1000e]\nffffffffc0400000 t e1000e_read_phy\t[e1000e]\n";
const NVME: &str = "ffffffffc0400080 t nvme_reset_work\t[nvme]\n";

struct Proc(tempfile::TempDir);

impl Proc {
    fn new(kallsyms: &str, modules: &str) -> Self {
        let proc = Self(tempfile::tempdir().unwrap());
        proc.set(kallsyms, modules);
        proc
    }

    fn set(&self, kallsyms: &str, modules: &str) {
        fs::write(self.0.path().join("kallsyms"), kallsyms).unwrap();
        fs::write(self.0.path().join("modules"), modules).unwrap();
    }
}

fn name(symbols: &Symbols, ip: u64) -> Option<String> {
    let site = symbols.resolve(ip)?;
    Some(format!("{}+{:#x} {}", site.function, site.offset, site.module.unwrap_or("-")))
}

#[test]
fn an_address_is_named_by_the_function_before_it_and_its_module() {
    let proc = Proc::new(&format!("{KERNEL}{E1000E}"), "e1000e 20480 0 - Live 0xffffffffc0400000\n");
    let symbols = Symbols::load(proc.0.path()).unwrap();
    assert_eq!(name(&symbols, 0xffff_ffff_8100_1010).unwrap(), "memcpy_fromio+0x10 -");
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0123).unwrap(), "e1000_probe+0x23 e1000e");
    assert_eq!(name(&symbols, 0xffff_ffff_c040_00ff).unwrap(), "e1000e_read_phy+0xff e1000e");
    assert_eq!(name(&symbols, 0xffff_ffff_c040_5000), None, "behind the end of the module");
}

#[test]
fn a_module_that_is_not_known_yet_is_not_named_by_what_lies_before_it() {
    // A trampoline of ftrace's, which is in no list of modules; and a module that is gone.
    let made = "ffffffffc03f0000 t ftrace_trampoline\t[__builtin__ftrace]\n";
    let modules = "e1000e 20480 0 - Live 0xffffffffc0400000\n";
    let proc = Proc::new(&format!("{KERNEL}{made}{E1000E}"), modules);
    let mut symbols = Symbols::load(proc.0.path()).unwrap();
    proc.set(&format!("{KERNEL}{made}"), "");
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c03f_0020).unwrap(), "ftrace_trampoline+0x20 __builtin__ftrace");
    assert_eq!(name(&symbols, 0xffff_ffff_c03f_8000), None);
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0123).unwrap(), "e1000_probe+0x23 e1000e");
    assert_eq!(name(&symbols, 0xffff_ffff_c040_5000), None, "behind the end of what is gone");
    // What the kernel made and freed is in kallsyms no more, and not kept.
    proc.set(KERNEL, modules);
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c03f_0020), None);
}

#[test]
fn of_several_names_for_one_address_the_first_is_taken() {
    let symbols = Symbols::load(Proc::new(KERNEL, "").0.path()).unwrap();
    assert_eq!(name(&symbols, 0xffff_ffff_8100_0004).unwrap(), "_text+0x4 -");
}

#[test]
fn a_symbol_is_described_as_the_kernel_prints_it_data_too() {
    let proc = Proc::new(&format!("{KERNEL}{E1000E}"), "e1000e 20480 0 - Live 0xffffffffc0400000\n");
    let symbols = Symbols::load(proc.0.path()).unwrap();
    let text = |address| symbols.describe(address);
    assert_eq!(text(0xffff_ffff_8100_0010).unwrap(), "_text+0x10/0x1000");
    assert_eq!(text(0xffff_ffff_c040_0004).unwrap(), "e1000e_read_phy+0x4/0x100 [e1000e]");
    assert_eq!(
        text(0xffff_ffff_c040_0104).unwrap(),
        "e1000_probe+0x4/0xf00 [e1000e]",
        "to the end of the page: where the module's code ends nobody tells"
    );
    assert_eq!(text(0xffff_ffff_8200_0000), None, "the last one of the kernel has no end");
    assert_eq!(text(0xffff_8880_0000_1234), None);
    let per_cpu = format!("0000000000001000 A cpu_tss_rw\n0000000000006000 A cpu_info\n{KERNEL}");
    let symbols = Symbols::load(Proc::new(&per_cpu, "").0.path()).unwrap();
    assert_eq!(symbols.describe(0x1234), None, "no address");
    let kallsyms = format!("{KERNEL}ffffffff82000008 D loops\n");
    let symbols = Symbols::load(Proc::new(&kallsyms, "").0.path()).unwrap();
    assert_eq!(symbols.describe(0xffff_ffff_8200_0004).unwrap(), "jiffies+0x4/0x8");
    assert_eq!(name(&symbols, 0xffff_ffff_8200_0004), None, "no function");
}

#[test]
fn what_lies_behind_the_kernels_code_is_data_whatever_its_type_is() {
    // Types as 7.3 has them.
    let kallsyms = "ffffffff81000000 T _text\nffffffff81001000 T memcpy_fromio\n\
        ffffffff81800000 T _etext\nffffffff82000000 T jiffies\nffffffff82000008 T loops\n\
        ffffffff83000000 T _sinittext\nffffffff83000010 t init_module_loader\n\
        ffffffff83001000 t packet_exit\nffffffff83002000 T __init_end\n\
        ffffffff83002000 T loops_too\n";
    let symbols = Symbols::load(Proc::new(kallsyms, "").0.path()).unwrap();
    let is_code = |name| symbols.named(name).next().unwrap().is_code;
    assert!(is_code("memcpy_fromio") && is_code("init_module_loader") && is_code("packet_exit"));
    assert!(!is_code("jiffies") && !is_code("loops_too"));
    assert_eq!(name(&symbols, 0xffff_ffff_8200_0004), None);
    assert_eq!(symbols.describe(0xffff_ffff_8200_0004).unwrap(), "jiffies+0x4/0x8");
}

#[test]
fn all_symbols_of_one_name_are_found_with_their_modules() {
    let proc = Proc::new(&format!("{KERNEL}{E1000E}ffffffffc0400200 t memcpy_fromio\t[e1000e]\n"), "");
    let symbols = Symbols::load(proc.0.path()).unwrap();
    let found: Vec<_> =
        symbols.named("memcpy_fromio").map(|symbol| (symbol.module, symbol.is_code)).collect();
    assert_eq!(found, [(None, true), (Some("e1000e"), true)]);
    assert!(!symbols.named("jiffies").next().unwrap().is_code);
    let function = symbols.function(0xffff_ffff_c040_0101).unwrap();
    assert_eq!((function.name, function.size), ("e1000_probe", Some(0x100)));
}

#[test]
fn an_address_far_from_every_function_has_no_name() {
    let symbols = Symbols::load(Proc::new(KERNEL, "").0.path()).unwrap();
    assert_eq!(name(&symbols, 0xffff_ffff_8200_0000), None);
    assert_eq!(name(&symbols, 0x1000), None);
}

#[test]
fn hidden_addresses_name_nothing() {
    let symbols = Symbols::load(Proc::new("0000000000000000 T _text\n", "").0.path()).unwrap();
    assert!(symbols.is_empty());
    assert_eq!(name(&symbols, 0), None);
}

#[test]
fn a_module_that_is_loaded_later_is_known_after_a_refresh() {
    let proc = Proc::new(KERNEL, "");
    let mut symbols = Symbols::load(proc.0.path()).unwrap();
    assert!(!symbols.refresh().unwrap());
    proc.set(&format!("{KERNEL}{E1000E}"), "e1000e 20480 0 - Live 0xffffffffc0400000\n");
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0101).unwrap(), "e1000_probe+0x1 e1000e");
}

#[test]
fn a_module_that_was_unloaded_stays_known_until_another_takes_its_place() {
    let proc = Proc::new(&format!("{KERNEL}{E1000E}"), "e1000e 20480 0 - Live 0xffffffffc0400000\n");
    let mut symbols = Symbols::load(proc.0.path()).unwrap();
    proc.set(KERNEL, "");
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0101).unwrap(), "e1000_probe+0x1 e1000e");
    proc.set(&format!("{KERNEL}{NVME}"), "nvme 20480 0 - Live 0xffffffffc0400000\n");
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0101).unwrap(), "nvme_reset_work+0x81 nvme");
}

#[test]
fn a_module_that_has_begun_is_looked_at_again() {
    let proc = Proc::new(KERNEL, "e1000e 20480 1 - Loading 0xffffffffc0400000\n");
    let mut symbols = Symbols::load(proc.0.path()).unwrap();
    proc.set(&format!("{KERNEL}{E1000E}"), "e1000e 20480 0 - Live 0xffffffffc0400000\n");
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0101).unwrap(), "e1000_probe+0x1 e1000e");
    proc.set(KERNEL, "e1000e 20480 3 - Live 0xffffffffc0400000\n");
    assert!(!symbols.refresh().unwrap(), "how often it is used is no change");
}

#[test]
fn names_of_freed_code_are_not_told_of_the_module_that_lies_there_now() {
    // ftrace keeps the names of what a module began with.
    let freed = "ffffffffc0400180 T xhci_hcd_init\t[xhci_hcd]\n";
    let xhci = "ffffffffc0800000 t xhci_irq\t[xhci_hcd]\n";
    let xhci_module = "xhci_hcd 20480 0 - Live 0xffffffffc0800000\n";
    let proc = Proc::new(&format!("{KERNEL}{xhci}{freed}"), xhci_module);
    let mut symbols = Symbols::load(proc.0.path()).unwrap();
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0190).unwrap(), "xhci_hcd_init+0x10 xhci_hcd", "nobody else");
    let nvme_module = "nvme 20480 0 - Live 0xffffffffc0400000\n";
    proc.set(&format!("{KERNEL}{NVME}{xhci}{freed}"), &format!("{nvme_module}{xhci_module}"));
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0190).unwrap(), "nvme_reset_work+0x110 nvme");
    proc.set(&format!("{KERNEL}{xhci}{freed}"), xhci_module);
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0190).unwrap(), "nvme_reset_work+0x110 nvme", "gone");
}

#[test]
fn a_module_has_what_follows_its_code_only_until_another_lies_there() {
    // From 6.13 on (execmem's cache) code of modules lies side by side, and /proc/modules gives the
    // size of all parts of one, its data among them, which lie elsewhere.
    let trapline = "ffffffffc03ff000 t trap\t[trapline]\n";
    let (own, driver) =
        ("trapline 65536 0 - Live 0xffffffffc03ff000\n", "e1000e 65536 0 - Live 0xffffffffc0400000\n");
    let proc = Proc::new(&format!("{KERNEL}{trapline}{E1000E}"), &format!("{driver}{own}"));
    let mut symbols = Symbols::load(proc.0.path()).unwrap();
    assert_eq!(name(&symbols, 0xffff_ffff_c03f_f123).unwrap(), "trap+0x123 trapline");
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0123).unwrap(), "e1000_probe+0x23 e1000e");
    proc.set(&format!("{KERNEL}{trapline}"), own);
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0123).unwrap(), "e1000_probe+0x23 e1000e", "gone");
    // What another began with lay there before, and one that lies before it does not reach so far.
    let freed = "ffffffffc0400120 t trap_init\t[trapline]\n";
    let other = "ffffffffc03f0000 t other\t[other]\n";
    proc.set(
        &format!("{KERNEL}{other}{trapline}{freed}"),
        &format!("other 131072 0 - Live 0xffffffffc03f0000\n{own}"),
    );
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0123).unwrap(), "e1000_probe+0x23 e1000e", "still");
    // One that is loaded there takes its place, as far as its functions reach.
    proc.set(&format!("{KERNEL}{trapline}{NVME}"), &format!("nvme 65536 0 - Live 0xffffffffc0400000\n{own}"));
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0123).unwrap(), "nvme_reset_work+0xa3 nvme");
}

#[test]
fn what_a_module_left_does_not_name_the_end_of_the_last_function_of_the_one_that_took_its_place() {
    // The last function of NVMe's begins in the first page and ends in the second; data follow it.
    let long = "ffffffffc0400f00 t nvme_ioctl\t[nvme]\nffffffffc0403000 d nvme_driver\t[nvme]\n";
    let before = "ffffffffc0400000 t first\t[before]\nffffffffc0401000 t second\t[before]\n";
    let proc = Proc::new(&format!("{KERNEL}{before}"), "before 20480 0 - Live 0xffffffffc0400000\n");
    let mut symbols = Symbols::load(proc.0.path()).unwrap();
    assert_eq!(name(&symbols, 0xffff_ffff_c040_1080).unwrap(), "second+0x80 before");
    proc.set(&format!("{KERNEL}{NVME}{long}"), "nvme 20480 0 - Live 0xffffffffc0400000\n");
    assert!(symbols.refresh().unwrap());
    assert_eq!(name(&symbols, 0xffff_ffff_c040_1080).unwrap(), "nvme_ioctl+0x180 nvme");
}

#[test]
fn what_lies_behind_the_code_of_a_module_whose_data_lie_elsewhere_is_not_named_by_it() {
    // Seen on 7.3: i2c_i801 came and went behind i2c_dev, between two looks at the list.
    let i2c_dev = "ffffffffc0400000 t i2cdev_ioctl\t[i2c_dev]\nffffffffc0400f80 t i2cdev_exit\t[i2c_dev]\n\
                   ffffffffc0a00000 d i2cdev_fops\t[i2c_dev]\n";
    let proc = Proc::new(&format!("{KERNEL}{i2c_dev}"), "i2c_dev 28672 0 - Live 0xffffffffc0400000\n");
    let symbols = Symbols::load(proc.0.path()).unwrap();
    assert_eq!(name(&symbols, 0xffff_ffff_c040_0ff0).unwrap(), "i2cdev_exit+0x70 i2c_dev");
    assert_eq!(name(&symbols, 0xffff_ffff_c040_1010), None, "whose it is nobody knows");
    assert_eq!(symbols.code_of("i2c_dev"), Some(0xffff_ffff_c040_0000..0xffff_ffff_c040_1000));
}

#[test]
fn the_table_is_read_again_if_modules_came_while_it_was_read() {
    let states = ["", "nvme 20480 0 - Loading 0xffffffffc0400000", "nvme 20480 0 - Live 0xffffffffc0400000"];
    let at = |state: usize| Listed::from_line(states[state]).into_iter().collect::<Vec<_>>();
    let reads = std::cell::Cell::new(0);
    // Each reading takes until the next state, as long as there is one.
    let read = || {
        reads.set(reads.get() + 1);
        Ok(format!("reading {}", reads.get()))
    };
    let settled = read_at_rest(at(0), read, || Ok(at(reads.get().min(2)))).unwrap();
    assert_eq!(settled, (at(2), "reading 3".into()));
    // One that never comes to rest is read so often and no more, and is known to have changed.
    reads.set(0);
    let never = || {
        let size = reads.get() as u64;
        Ok(vec![Listed { name: "x".into(), size, base: 0, is_live: true }])
    };
    let (modules, text) = read_at_rest(at(0), read, never).unwrap();
    assert_eq!(text, format!("reading {TRIES}"));
    assert_ne!(modules, never().unwrap());
}

#[test]
fn the_code_of_a_module_reaches_from_its_first_function_to_the_end_of_a_page() {
    let begun = "ffffffffc0900000 t e1000_init_module\t[e1000e]\n";
    let kallsyms = format!("{KERNEL}{E1000E}{begun}ffffffffc0402ff0 t e1000_exit_module\t[e1000e]\n");
    let proc = Proc::new(
        &kallsyms,
        "e1000e 20480 0 - Live 0xffffffffc0400000\nempty 4096 0 - Live 0xffffffffc0500000\n",
    );
    let symbols = Symbols::load(proc.0.path()).unwrap();
    assert_eq!(symbols.code_of("e1000e"), Some(0xffff_ffff_c040_0000..0xffff_ffff_c040_3000));
    assert_eq!((symbols.code_of("empty"), symbols.code_of("nvme")), (None, None));
}
