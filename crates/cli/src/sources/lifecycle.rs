//! What the kernel does with devices as a whole: binding, resets, power states, firmware.

use trapline_abi::{LIFECYCLE_FUNCTIONS, LifecycleOp, LifecycleWatch};
use trapline_trace::{Header, Lived};

use super::devices::{Followed, NoDevice, Words};
use crate::args::Beside;
use crate::device::Control;
use crate::refusal::Refusal;
use crate::system::System;
use crate::trace::{Arming, Counted, Source};

/// What is done by the functions of [`LIFECYCLE_FUNCTIONS`], in words. Those of an image of memory
/// are left out, which many kernels are built without.
const NEEDED: [(&str, LifecycleOp); 18] = [
    ("drivers that bind", LifecycleOp::Bind),
    ("drivers that are taken away", LifecycleOp::Unbind),
    ("what is done as the machine goes down", LifecycleOp::Shutdown),
    ("resets", LifecycleOp::Reset),
    ("power states", LifecycleOp::Power),
    ("switching on", LifecycleOp::PowerUp),
    ("sleep with the system", LifecycleOp::Suspend),
    ("waking with the system", LifecycleOp::Resume),
    ("the beginning of a sleep of the system", LifecycleOp::Prepare),
    ("the end of a sleep of the system", LifecycleOp::Complete),
    ("late steps of sleep", LifecycleOp::SuspendLate),
    ("the last step of sleep", LifecycleOp::SuspendNoirq),
    ("the first step of waking", LifecycleOp::ResumeNoirq),
    ("early steps of waking", LifecycleOp::ResumeEarly),
    ("whether the device may sleep alone", LifecycleOp::RuntimeIdle),
    ("sleep of the device alone", LifecycleOp::RuntimeSuspend),
    ("waking of the device alone", LifecycleOp::RuntimeResume),
    ("firmware", LifecycleOp::Firmware),
];

/// What does the work of other functions, some of which are not followed, and what is missing
/// where the compiler has left none of this name.
const INNER: [(&str, &str); 2] = [
    ("_request_firmware", "firmware that is asked for to be loaded later"),
    ("__pci_set_power_state", "power states that the PCI core asks for itself"),
];

/// Lifecycles of devices.
pub(crate) struct Lifecycle(Followed);

const WORDS: Words = Words {
    of: "of lifecycles",
    recording: |name| format!("when {name} is bound, reset, put to sleep, woken, given firmware"),
    refusal: |device, source| Refusal::Lifecycle { device, source },
};

impl Lifecycle {
    /// That of the devices that are asked for.
    pub(crate) fn new(system: &System, wanted: &Beside) -> Result<Self, NoDevice> {
        Followed::new(system, wanted).map(Self)
    }

    /// Tells whether nothing else is traced: then what is left out must not be all.
    pub(crate) fn alone(self, is_alone: bool) -> Self {
        Self(self.0.alone(is_alone))
    }
}

impl Source for Lifecycle {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        self.0.arm(arming.quiet, &WORDS, |device| {
            let mut watch = LifecycleWatch { device: device.into(), ..LifecycleWatch::default() };
            control.lifecycle(&mut watch).map(|()| not_followed(&watch))
        })
    }

    fn describe(&self, header: &mut Header) {
        if let Some((devices, not_followed)) = self.0.describe(header) {
            header.sources.push(trapline_trace::Source::Lifecycle(Lived { devices, not_followed }));
        }
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        let counts = control.lifecycle_counts().unwrap_or_default();
        Counted { lifecycle_missed: counts.missed, ..Counted::default() }
    }
}

/// What the module does not follow: what there is no function for, and functions that it may not
/// probe.
fn not_followed(watch: &LifecycleWatch) -> Vec<String> {
    let known = || LIFECYCLE_FUNCTIONS.iter().zip(0..);
    let refused = known().filter(|(_, place)| watch.refused >> place & 1 != 0);
    let mut missing: Vec<String> = refused.map(|((name, _), _)| format!("{name}()")).collect();
    let told = watch.followed | watch.refused;
    for (what, op) in NEEDED {
        let mut functions = known().filter(|((_, of), _)| *of == op);
        if !functions.any(|(_, place)| told >> place & 1 != 0) {
            missing.push(what.into());
        }
    }
    for (function, what) in INNER {
        let mut found = known().filter(|((name, _), _)| *name == function);
        if found.any(|(_, place)| watch.followed >> place & 1 == 0) {
            missing.push(what.into());
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::args::Targets;
    use crate::device::fake::Module;
    use crate::system::tests::{with, with_devices};
    use crate::trace::tests::quietly;

    fn lifecycle(names: &[&str], is_enough: bool) -> Lifecycle {
        let (_root, system) = with_devices(&["0000:00:01.0", "0000:00:02.0"]);
        let devices = names.iter().map(|name| name.parse().unwrap()).collect();
        let targets = Targets { devices, ..Targets::default() };
        let beside = Beside { lifecycle: true, is_enough, ..Beside::of(targets) };
        Lifecycle::new(&system, &beside).unwrap()
    }

    #[test]
    fn each_device_is_asked_for_once_and_the_header_has_them() {
        let mut lifecycle = lifecycle(&["00:01.0", "00:02.0", "00:01.0"], false);
        let (module, mut header) = (Module::default(), Header::default());
        lifecycle.arm(&module, &quietly(false)).unwrap();
        let asked: Vec<_> = module.lifecycle.borrow().iter().map(|watch| watch.device.0).collect();
        assert_eq!(asked, [1 << 3, 2 << 3]);
        lifecycle.describe(&mut header);
        let [trapline_trace::Source::Lifecycle(lived)] = &header.sources[..] else { panic!("{header:?}") };
        assert_eq!((lived.devices.len(), header.devices.len()), (2, 2));
        assert!(lived.not_followed.is_empty(), "{lived:?}");
        assert_eq!(lifecycle.counted(&module).lifecycle_missed, 6);
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let (_root, system) = with(&[]);
        std::fs::create_dir_all(system.path("sys/bus/pci/devices")).unwrap();
        let targets = Targets { devices: vec!["00:09.0".parse().unwrap()], ..Targets::default() };
        assert!(Lifecycle::new(&system, &Beside::of(targets)).is_err());
    }

    #[test]
    fn what_no_function_is_followed_for_is_told() {
        let bit = |name| 1 << LIFECYCLE_FUNCTIONS.iter().position(|(known, _)| *known == name).unwrap();
        let all = (1 << LIFECYCLE_FUNCTIONS.len()) - 1;
        let told = |followed, refused| {
            not_followed(&LifecycleWatch { followed, refused, ..LifecycleWatch::default() })
        };
        assert_eq!(told(all, 0), [""; 0]);
        let reset = bit("__pci_reset_function_locked");
        assert_eq!(told(all & !reset, 0), ["resets"]);
        assert_eq!(told(all & !reset, reset), ["__pci_reset_function_locked()"]);
        // Those of an image of memory are not missed; of others another one will not do quite.
        assert_eq!(told(all & !bit("pci_pm_freeze"), 0), [""; 0]);
        let later = "firmware that is asked for to be loaded later";
        assert_eq!(told(all & !bit("_request_firmware"), 0), [later]);
        assert_eq!(told(all & !bit("pci_pm_complete"), 0), ["the end of a sleep of the system"]);
    }

    #[test]
    fn a_kernel_without_the_functions_is_an_error_or_left_out_where_the_rest_is_enough() {
        let module = Module { no_lifecycle: Some(Errno::NOSYS), ..Module::default() };
        let error = lifecycle(&["00:01.0"], false).arm(&module, &quietly(false)).unwrap_err().to_string();
        assert!(error.contains("0000:00:01.0 (no driver)") && error.contains("pci_device_probe"), "{error}");
        let (mut some, mut header) = (lifecycle(&["00:01.0"], true), Header::default());
        some.arm(&module, &quietly(false)).unwrap();
        some.describe(&mut header);
        assert!(header.sources.is_empty());
        let alone = lifecycle(&["00:01.0"], true).alone(true).arm(&module, &quietly(false));
        assert!(alone.is_err(), "an empty trace");
        for (errno, words) in [(Errno::NOENT, "unplugged"), (Errno::TOOBIG, "64 devices")] {
            let module = Module { no_lifecycle: Some(errno), ..Module::default() };
            let error = lifecycle(&["00:01.0"], true).arm(&module, &quietly(false)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
