//! What this machine has that changes how Trapline works on it: the CPU's protections, the kind of
//! kernel, what it runs under, Secure Boot. README.md has the same as a table.

use super::Finding;
use crate::module;
use crate::system::System;

/// Page tables: how many levels, and whether user mode has tables of its own.
pub(super) fn page_tables(system: &System) -> Finding {
    const WHAT: &str = "page tables";
    let levels = if has(system, "la57") { "five levels" } else { "four levels" };
    match has(system, "pti") {
        true => Finding::ok(
            WHAT,
            format!("{levels}, isolated from user mode (pti): all works but `trapline faults --gate idt`"),
        ),
        false => Finding::ok(WHAT, levels),
    }
}

/// How the CPU delivers exceptions.
pub(super) fn exceptions(system: &System) -> Finding {
    const WHAT: &str = "exceptions";
    match has(system, "fred") {
        true => Finding::ok(WHAT, "delivered by FRED: all works but `trapline faults --gate idt`"),
        false => Finding::ok(WHAT, "delivered through the interrupt table"),
    }
}

/// What the CPU or the kernel checks at each indirect call and return.
pub(super) fn control_flow(system: &System) -> Finding {
    const WHAT: &str = "control flow";
    let is_on = |names: [&str; 2]| {
        let text = system.config().map(|(_, text)| text).unwrap_or_default();
        names.iter().any(|name| text.lines().any(|line| line.strip_prefix(name) == Some("=y")))
    };
    let mut checks = Vec::new();
    if has(system, "ibt") && is_on(["CONFIG_X86_KERNEL_IBT"; 2]) {
        checks.push("targets of indirect jumps (IBT)");
    }
    if has(system, "user_shstk") {
        checks.push("return addresses of programs (shadow stacks)");
    }
    // Its name until 6.17, and since.
    let checks_calls = is_on(["CONFIG_CFI_CLANG", "CONFIG_CFI"]);
    if checks_calls {
        checks.push("types of called functions (kCFI)");
    }
    match checks.as_slice() {
        [] => Finding::ok(WHAT, "nothing is checked"),
        checks => Finding::ok(WHAT, format!("checked: {}", checks.join(", "))),
    }
}

/// Whether the kernel is one for real time.
pub(super) fn preemption(system: &System) -> Finding {
    const WHAT: &str = "preemption";
    match system.read("sys/kernel/realtime").as_deref() {
        Ok("1") => Finding::warning(
            WHAT,
            "a real-time kernel (PREEMPT_RT), on which Trapline was not tried: a traced access keeps its CPU for some microseconds",
            "trace where a late deadline does no harm",
        ),
        _ => Finding::ok(WHAT, "not a real-time kernel"),
    }
}

/// What the kernel runs under.
pub(super) fn hypervisor(system: &System) -> Finding {
    const WHAT: &str = "hypervisor";
    let xen = system.read("sys/hypervisor/type").is_ok_and(|kind| kind == "xen");
    let guest = system.read("sys/hypervisor/guest_type").unwrap_or_default();
    match (xen, guest.as_str(), has(system, "hypervisor")) {
        (true, "PV", _) => Finding::problem(
            WHAT,
            "a Xen PV guest: its page tables are Xen's to change, so no page can be armed",
            "run the guest as PVH or HVM (type = \"pvh\" in its configuration)",
        ),
        (true, guest, _) => Finding::ok(WHAT, format!("a Xen guest ({guest}), with page tables of its own")),
        (false, _, true) => Finding::ok(WHAT, "a virtual machine: its devices are traced as real ones are"),
        (false, _, false) => Finding::ok(WHAT, "none"),
    }
}

/// Whether Secure Boot is on, and if so, whether a key of the machine's owner counts.
pub(super) fn secure_boot(system: &System) -> Finding {
    const WHAT: &str = "secure boot";
    // Four bytes of attributes, then one that is 1 if it is on (UEFI specification, 3.3).
    let variable = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    match system.read(variable) {
        Err(_) => return Finding::ok(WHAT, "off, or this machine has none"),
        Ok(value) if !value.ends_with('\u{1}') => return Finding::ok(WHAT, "off"),
        Ok(_) => {}
    }
    let advice = "sign trapline.ko with a key of your own, and enrol that: sudo mokutil --import KEY.der (docs/install.md)";
    match owner_keys(system) {
        _ if module::is_loaded(system) => Finding::ok(WHAT, "on, and the module was accepted"),
        Some(0) => Finding::warning(WHAT, "on, and no key of the machine's owner (MOK) counts", advice),
        Some(1) => Finding::ok(WHAT, "on; a module signed with the machine owner's key (MOK) may be loaded"),
        Some(keys) => Finding::ok(
            WHAT,
            format!("on; a module signed with one of {keys} keys of the machine's owner (MOK) may be loaded"),
        ),
        None => Finding::warning(
            WHAT,
            "on; which keys count can't be seen: this kernel shows no keyring .machine in /proc/keys",
            advice,
        ),
    }
}

/// How many keys the keyring `.machine` holds, into which the kernel puts those of the machine's
/// owner, if modules may be signed with them.
fn owner_keys(system: &System) -> Option<u32> {
    // `1b98e20b I------     1 perm 1f0b0000     0     0 keyring   .machine: 2`, or `: empty`
    // (security/keys/proc.c, keyring_describe()).
    let keys = system.read("proc/keys").ok()?;
    let count = keys.lines().find_map(|line| line.split_once(" .machine: "))?.1.trim();
    if count == "empty" { Some(0) } else { count.parse().ok() }
}

/// Whether the kernel lists `flag` among those of its CPUs: it leaves out what it does not use.
fn has(system: &System, flag: &str) -> bool {
    let text = system.read("proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.is_some_and(|(_, flags)| flags.split_whitespace().any(|one| one == flag))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::system::tests::with;

    const SECURE: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    const ON: &str = "\u{6}\0\0\0\u{1}";

    #[test]
    fn what_the_cpu_has_is_told_with_what_does_not_work_then() {
        let flags = ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu la57 pti fred ibt user_shstk\n");
        let config = ("boot/config-6.1.0-test", "CONFIG_X86_KERNEL_IBT=y\nCONFIG_CFI_CLANG=y\n");
        let (_root, system) = with(&[flags, config]);
        let found = [page_tables, exceptions, control_flow].map(|check| check(&system).found);
        assert_eq!(
            found,
            [
                "five levels, isolated from user mode (pti): all works but `trapline faults --gate idt`",
                "delivered by FRED: all works but `trapline faults --gate idt`",
                "checked: targets of indirect jumps (IBT), return addresses of programs (shadow stacks), types of called functions (kCFI)",
            ]
        );
    }

    #[test]
    fn a_flag_is_a_whole_word_and_a_cpu_without_any_is_told_so() {
        let (_root, system) = with(&[("proc/cpuinfo", "flags\t\t: fpu ptilike nola57 ibt\n")]);
        let found = [page_tables, exceptions, control_flow, hypervisor].map(|check| check(&system).found);
        let plain = ["four levels", "delivered through the interrupt table", "nothing is checked", "none"];
        assert_eq!(found, plain);
    }

    #[test]
    fn a_guest_of_xen_is_refused_only_if_its_page_tables_are_xens() {
        let of = |guest: &str| {
            let files = [("sys/hypervisor/type", "xen\n"), ("sys/hypervisor/guest_type", guest)];
            let (_root, system) = with(&files);
            hypervisor(&system).level
        };
        assert_eq!((of("PV\n"), of("PVH\n"), of("HVM\n")), (Level::Problem, Level::Ok, Level::Ok));
    }

    #[test]
    fn a_real_time_kernel_is_warned_of() {
        let (_root, system) = with(&[("sys/kernel/realtime", "1\n")]);
        assert_eq!(preemption(&system).level, Level::Warning);
    }

    #[test]
    fn with_secure_boot_it_is_told_whether_an_owners_key_counts() {
        let of = |keys: &str| {
            let (_root, system) = with(&[(SECURE, ON), ("proc/keys", keys)]);
            let Finding { level, found, .. } = secure_boot(&system);
            (level, found)
        };
        let line =
            |count| format!("1b98e20b I------     1 perm 1f0b0000     0     0 keyring   .machine: {count}\n");
        let (level, found) = of(&line("2"));
        assert!(level == Level::Ok && found.contains("one of 2 keys"), "{found}");
        assert_eq!(of(&line("empty")).0, Level::Warning);
        let (level, found) = of("1b98e20b I------ 1 perm 1f0b0000 0 0 keyring   .builtin_trusted_keys: 1\n");
        assert!(level == Level::Warning && found.contains("no keyring .machine"), "{found}");
    }

    #[test]
    fn secure_boot_that_is_off_or_not_there_is_no_finding() {
        let (_root, off) = with(&[(SECURE, "\u{6}\0\0\0\0")]);
        let (_root, none) = with(&[("proc/cpuinfo", "")]);
        for system in [off, none] {
            assert_eq!(secure_boot(&system).level, Level::Ok);
        }
    }
}
