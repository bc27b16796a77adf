//! Which functions only pass an access to configuration space on.

use crate::kinds::caller::Passing;

/// `pci_read_config_word()`, `pci_bus_write_config_dword()`, `pci_user_read_config_byte()`,
/// `pcie_capability_clear_and_set_word_locked()`, and what they call. Not `pci_read_config()`,
/// which is who reads for a program (drivers/pci/pci-sysfs.c).
pub(super) const PASSING: Passing = Passing {
    names: &[
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
    ],
    families: &[
        "pci_read_config_",
        "pci_write_config_",
        "pci_bus_read_config_",
        "pci_bus_write_config_",
        "pci_user_read_config_",
        "pci_user_write_config_",
        "__pci_bus_read_config_",
        "pcie_capability_",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::caller::tests::{Called, asked};

    #[test]
    fn who_asked_is_whoever_does_more_than_pass_it_on_and_for_which_module_is_told() {
        let asked = |functions: &[Called]| asked(&PASSING, functions);
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
    }
}
