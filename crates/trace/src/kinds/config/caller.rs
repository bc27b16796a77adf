//! Who asked for an access: the first on the stack that does more than pass accesses on.

use super::Frame;

/// Functions that only pass an access on, or are a part of one that does.
const PASSING: [&str; 10] = [
    "raw_pci_read",
    "raw_pci_write",
    "pci_read",
    "pci_write",
    "pci_generic_config_read",
    "pci_generic_config_write",
    "pci_generic_config_read32",
    "pci_generic_config_write32",
    "pci_clear_and_set_config_dword",
    "pcie_read_cap_pointer",
];

/// What the names of others begin with: `pci_read_config_word()`, `pci_bus_write_config_dword()`,
/// `pci_user_read_config_byte()`, `pcie_capability_clear_and_set_word_locked()`. Not
/// `pci_read_config()`, which is who reads for a program (drivers/pci/pci-sysfs.c).
const FAMILIES: [&str; 8] = [
    "pci_read_config_",
    "pci_write_config_",
    "pci_bus_read_config_",
    "pci_bus_write_config_",
    "pci_user_read_config_",
    "pci_user_write_config_",
    "__pci_bus_read_config_",
    "pcie_capability_",
];

/// Whether a function only passes an access on.
fn passes_on(function: &str) -> bool {
    // What the compiler has made of one: `pci_read.part.0`, `pci_write.isra.0`.
    let name = function.split('.').next().unwrap_or(function);
    PASSING.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Who asked for it; whoever is innermost if no function is known.
pub(super) fn of<'s, 'a>(stack: &'s [Frame<'a>]) -> Option<&'s Frame<'a>> {
    let asks = |frame: &&Frame<'_>| frame.site.is_none_or(|site| !passes_on(site.function));
    stack.iter().find(asks).or(stack.last())
}

/// Whose module that was for, if who asked is of the kernel itself.
pub(super) fn for_whom<'s, 'a>(stack: &'s [Frame<'a>]) -> Option<&'s Frame<'a>> {
    let asked = of(stack)?;
    if asked.site?.module.is_some() {
        return None;
    }
    let outside = stack.iter().skip_while(|frame| !std::ptr::eq(*frame, asked));
    outside.into_iter().find(|frame| frame.site.is_some_and(|site| site.module.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Site;

    fn stack(functions: &[(&'static str, Option<&'static str>)]) -> Vec<Frame<'static>> {
        let frame = |(number, (function, module)): (usize, &(&'static str, Option<&'static str>))| {
            let site = (!function.is_empty()).then_some(Site { function, offset: 1, module: *module });
            Frame { ip: number as u64 + 1, site }
        };
        functions.iter().enumerate().map(frame).collect()
    }

    fn asked(functions: &[(&'static str, Option<&'static str>)]) -> (u64, Option<u64>) {
        let stack = stack(functions);
        (of(&stack).unwrap().ip, for_whom(&stack).map(|frame| frame.ip))
    }

    #[test]
    fn who_asked_is_whoever_does_more_than_pass_it_on_and_for_which_module_is_told() {
        let driver = [
            ("pci_read", None),
            ("pci_bus_read_config_word", None),
            ("pci_read_config_word", None),
            ("e1000_probe", Some("e1000e")),
        ];
        assert_eq!(asked(&driver), (4, None));
        let core = [
            ("pci_bus_write_config_word.isra.0", None),
            ("__pci_set_master", None),
            ("pci_set_master", None),
            ("e1000_probe", Some("e1000e")),
        ];
        assert_eq!(asked(&core), (2, Some(4)));
        let program = [("pci_user_read_config_dword", None), ("pci_read_config", None), ("vfs_read", None)];
        assert_eq!(asked(&program), (2, None));
        assert_eq!(asked(&[("pci_read", None), ("pci_bus_read_config_byte", None)]), (2, None));
        assert_eq!(asked(&[("", None), ("e1000_probe", Some("e1000e"))]), (1, None), "no name is known");
        assert!(of(&[]).is_none());
    }
}
