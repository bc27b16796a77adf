//! Which functions only pass on that something is done with a device.

use crate::kinds::caller::Passing;

/// Those of the PCI core, of the driver core and of power management that call each other, and of
/// the loader of firmware.
pub(super) const PASSING: Passing = Passing {
    names: &[
        "call_driver_probe",
        "driver_probe_device",
        "really_probe",
        "device_driver_attach",
        "driver_attach",
        "bus_for_each_dev",
        "bus_add_driver",
        "device_release_driver_internal",
        "device_driver_detach",
        "driver_detach",
        "bus_remove_driver",
        "request_firmware",
        "request_firmware_direct",
        "request_firmware_into_buf",
        "firmware_request_nowarn",
        "firmware_request_platform",
        "request_firmware_work_func",
        "process_one_work",
        "process_scheduled_works",
        "worker_thread",
        "rpm_callback",
        "__rpm_callback",
        "rpm_suspend",
        "rpm_resume",
        "rpm_idle",
        "dpm_run_callback",
    ],
    families: &[
        "__device_",
        "__driver_",
        "__pci_",
        "__pm_runtime_",
        "device_resume",
        "device_suspend",
        "pci_dev_",
        "pci_finish_",
        "pci_pm_",
        "pci_power_",
        "pci_prepare_to_",
        "pci_reset_",
        "pci_set_",
        "pci_try_reset_",
        "pm_runtime_",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::caller::tests::asked;

    #[test]
    fn who_asked_is_behind_the_cores() {
        let driver = ("nvme_suspend", Some("nvme"));
        assert_eq!(asked(&PASSING, &[("pci_set_power_state", None), driver]), (2, None));
        let firmware = [("request_firmware", None), ("iwl_request", Some("iwlwifi"))];
        assert_eq!(asked(&PASSING, &firmware), (2, None));
        let reset = [("pci_reset_function", None), ("reset_store", None)];
        assert_eq!(asked(&PASSING, &reset), (2, None));
        let bind = [("call_driver_probe", None), ("really_probe.part.0", None), ("bind_store", None)];
        assert_eq!(asked(&PASSING, &bind), (3, None));
    }
}
