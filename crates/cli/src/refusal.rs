//! Why the module refused to begin a trace or to take a source into it, and what to do about it.

use std::io;

use rustix::io::Errno;
use trapline_abi::{
    GateError, MAX_CONFIG_DEVICES, MAX_DMA_DEVICES, MAX_INTERRUPT_DEVICES, MAX_LIFECYCLE_DEVICES,
    MAX_PORT_RANGES, ProbeError, WatchError,
};

/// What the module refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Another session has this source, which only one can have.
    #[error("{what} already, by process {owner}{}; one trace can do so at a time: end that one, or wait for it", .name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())]
    Busy {
        /// What is done already: "page faults are watched".
        what: &'static str,
        /// Its thread group id.
        owner: u32,
        /// Its command name.
        name: Option<String>,
    },
    /// `START` failed.
    #[error(
        "can't start a trace with {buffer} of buffer on each CPU: {source}; a smaller --buffer needs less memory"
    )]
    Start {
        /// The size asked for.
        buffer: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `WATCH` was refused.
    #[error("can't watch {target}: {}", watch_text(*.reason, *.failed_at, .source))]
    Watch {
        /// The range and what it is.
        target: String,
        /// Why, if the module told.
        reason: Option<WatchError>,
        /// Where.
        failed_at: u64,
        /// What the ioctl returned.
        source: io::Error,
    },
    /// `INJECT` was refused.
    #[error("{}", inject_text(.rule.as_deref(), .source))]
    Inject {
        /// The rule at fault, if one is.
        rule: Option<String>,
        /// What the kernel said.
        source: io::Error,
    },
    /// `PROBE` was refused.
    #[error("can't probe {name} ({address:#x}): {}", probe_text(*.reason, .nearby, .source))]
    Probe {
        /// The place.
        name: String,
        /// Its address.
        address: u64,
        /// Why, if the module told.
        reason: Option<ProbeError>,
        /// Where instructions begin near it, if that is known.
        nearby: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A signal came before all was armed.
    #[error(
        "ended by a signal when {done} of {all} functions were probed: nothing is recorded, and nothing stays probed"
    )]
    Interrupted {
        /// Functions that were probed by then.
        done: usize,
        /// Functions that were to be.
        all: usize,
    },
    /// The page-fault gate can't be had.
    #[error("can't put in a page-fault gate: {}", gate_text(*reason))]
    Gate {
        /// Why.
        reason: GateError,
    },
    /// `FAULTS` was refused.
    #[error(
        "can't watch page faults: {source}; `dmesg` tells why: does this kernel have the tracepoints exceptions:page_fault_user and page_fault_kernel?"
    )]
    Faults {
        /// What the kernel said.
        source: io::Error,
    },
    /// `INTERRUPTS` was refused.
    #[error("can't record the interrupts of {device}: {}", interrupts_text(.source))]
    Interrupts {
        /// Its address.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `CONFIG` was refused.
    #[error("can't record the configuration space of {device}: {}", config_text(.source))]
    Config {
        /// Its address.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `DMA` was refused.
    #[error("can't record the memory that {device} is given (DMA): {}", dma_text(.source))]
    Dma {
        /// Its address.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `LIFECYCLE` was refused.
    #[error("can't record the lifecycle of {device}: {}", lifecycle_text(.source))]
    Lifecycle {
        /// Its address.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `LOG` was refused.
    #[error("can't record the kernel log: {}", log_text(.source))]
    Log {
        /// What the kernel said.
        source: io::Error,
    },
    /// `PORTS` was refused.
    #[error("can't record accesses to the I/O ports {ports}: {}", ports_text(.source))]
    Ports {
        /// Which, and whose.
        ports: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `PORT_CODE` was refused.
    #[error("can't follow the instructions of {code} that access I/O ports: {source}")]
    PortCode {
        /// Whose.
        code: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Where code that accesses I/O ports lies can't be seen even by root.
    #[error(
        "can't record accesses to I/O ports: the kernel hides the addresses of its functions (/proc/kallsyms); show them: sysctl kernel.kptr_restrict=1"
    )]
    PortsHidden,
    /// What was armed can't be told of.
    #[error("the trapline module refused to {what}: {source}")]
    Told {
        /// What was asked.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a range can't be watched: the module's reason at `failed_at`, or only what the system call
/// gave.
fn watch_text(reason: Option<WatchError>, failed_at: u64, source: &io::Error) -> String {
    match reason {
        Some(WatchError::BadRange) => {
            "the range has length 0 or wraps around the end of the address space".into()
        }
        Some(WatchError::Ram) => format!(
            "there is system memory at {failed_at:#x}; only device memory can be watched (`/proc/iomem` tells which is which)"
        ),
        Some(WatchError::HugePage) => format!(
            "a mapping of it uses a page larger than 2 MiB at {failed_at:#x}; watch a range outside that page, \
             or boot with `nohugeiomap`"
        ),
        Some(WatchError::NoMemory) => {
            "there is not enough kernel memory for its tables; watch a smaller range".into()
        }
        Some(WatchError::SelfTest) => {
            "the module failed its self-test at load; see `dmesg` and `trapline doctor`".into()
        }
        Some(WatchError::TooLong) => {
            "it is longer than 1 GiB; watch the part that holds the registers: --range PHYS+LEN".into()
        }
        Some(WatchError::Alias) => format!(
            "no second mapping with the same cache attributes could be made at {failed_at:#x}; see `dmesg`, and watch less of it"
        ),
        Some(WatchError::Taken) | None => format!("{source}"),
    }
}

/// Why the interrupts of a device can't be recorded.
fn interrupts_text(source: &io::Error) -> String {
    match Errno::from_io_error(source) {
        Some(Errno::NOENT) => {
            "the device is gone; was it unplugged? `trapline devices` lists what is there".into()
        }
        Some(Errno::TOOBIG) => format!(
            "one trace can be of the interrupts of {MAX_INTERRUPT_DEVICES} devices: name fewer of them"
        ),
        Some(Errno::OPNOTSUPP) => {
            "this kernel has no tracepoints irq:irq_handler_entry and irq_handler_exit (CONFIG_TRACEPOINTS)"
                .into()
        }
        _ => source.to_string(),
    }
}

/// Why accesses to the configuration space of a device can't be recorded.
fn config_text(source: &io::Error) -> String {
    match Errno::from_io_error(source) {
        Some(Errno::NOENT) => UNPLUGGED.into(),
        Some(Errno::TOOBIG) => format!(
            "one trace can be of the configuration space of {MAX_CONFIG_DEVICES} devices: name fewer of them"
        ),
        Some(Errno::OPNOTSUPP) => {
            "the kernel reaches it by other functions than those that are followed, as those of Intel's VMD and of Hyper-V".into()
        }
        Some(Errno::NOSYS) => {
            "this kernel has none of the functions that can be followed: pci_conf1_read() and its like".into()
        }
        _ => source.to_string(),
    }
}

/// What is wrong where a device is not there any more.
const UNPLUGGED: &str = "the device is gone; was it unplugged? `trapline devices` lists what is there";

/// Why DMA can't be recorded.
fn dma_text(source: &io::Error) -> String {
    match Errno::from_io_error(source) {
        Some(Errno::NOENT) => UNPLUGGED.into(),
        Some(Errno::TOOBIG) => {
            format!("one trace can be of the DMA of {MAX_DMA_DEVICES} devices: name fewer of them")
        }
        Some(Errno::NOSYS) => {
            "this kernel has none of the functions that can be followed: dma_map_page_attrs() and its like"
                .into()
        }
        _ => source.to_string(),
    }
}

/// Why lifecycles can't be recorded.
fn lifecycle_text(source: &io::Error) -> String {
    match Errno::from_io_error(source) {
        Some(Errno::NOENT) => UNPLUGGED.into(),
        Some(Errno::TOOBIG) => {
            format!(
                "one trace can be of the lifecycles of {MAX_LIFECYCLE_DEVICES} devices: name fewer of them"
            )
        }
        Some(Errno::NOSYS) => {
            "this kernel has none of the functions that can be followed: pci_device_probe() and its like"
                .into()
        }
        _ => source.to_string(),
    }
}

/// Why the kernel log can't be recorded.
fn log_text(source: &io::Error) -> String {
    match Errno::from_io_error(source) {
        Some(Errno::NOSYS) => {
            "this kernel has no function printk_sprint() that can be followed; `dmesg --follow` shows it beside the trace"
                .into()
        }
        _ => source.to_string(),
    }
}

/// Why accesses to ports can't be recorded.
fn ports_text(source: &io::Error) -> String {
    match Errno::from_io_error(source) {
        Some(Errno::TOOBIG) => {
            format!("one trace can be of {MAX_PORT_RANGES} ranges of ports: name fewer devices")
        }
        _ => source.to_string(),
    }
}

/// Which rule the module does not take, if one is at fault.
fn inject_text(rule: Option<&str>, source: &io::Error) -> String {
    match rule {
        Some(rule) => {
            format!("the module refused the rule `{rule}`: {source}; are it and this command of one version?")
        }
        None => format!("the module refused the rules: {source}"),
    }
}

/// Why an instruction can't be probed: the module's reason, with `nearby` instructions, or only
/// what the system call gave.
fn probe_text(reason: Option<ProbeError>, nearby: &str, source: &io::Error) -> String {
    match reason {
        Some(ProbeError::NotProbeable) => "the kernel allows no probe there: it is no code, or code that the handling of probes itself needs (probe a caller of it), \
             or a place that the kernel patches itself: a jump label, a static call, an alternative (probe an instruction beside it)"
            .into(),
        Some(ProbeError::InsideInstruction) => format!("it is inside of an instruction{nearby}; or a debugger has a breakpoint in the function before it"),
        Some(ProbeError::Own) => "it runs while a probe is served: it is in Trapline's own module, or is what that hooks \
             (fixup_exception, page_fault_oops)"
            .into(),
        Some(ProbeError::Taken) => {
            "somebody else has it in a way that can't be shared: a live patch, or a tracer that redirects it; end that first".into()
        }
        Some(ProbeError::NoMemory) => "there is not enough kernel memory for another probe".into(),
        Some(ProbeError::NotAFunction) => "--return needs the first instruction of a function, of one whose returns the kernel allows to be followed".into(),
        Some(ProbeError::Program | ProbeError::Flags) => {
            format!("the module did not take what this command made of the arguments ({source}): are they of one version?")
        }
        Some(ProbeError::Other) | None => format!("{source}"),
    }
}

/// Why this machine can have no page-fault gate of ours, and what to use instead.
fn gate_text(reason: GateError) -> &'static str {
    match reason {
        GateError::PageTableIsolation => {
            "page-table isolation is on, so a table of interrupts of our own is not mapped in user mode; use --gate hook, or boot with pti=off if the machine may go without"
        }
        GateError::Fred => {
            "this CPU delivers exceptions by FRED, without a table of interrupts; use --gate hook, or boot with fred=off"
        }
        GateError::Entry => {
            "this CPU's entry into the kernel needs what ours does not do: it guards against predictions of returns (retbleed, SRSO), or has no WRGSBASE; use --gate hook"
        }
        GateError::ForeignTable => {
            "a CPU has a table of interrupts that is not the kernel's: somebody else has put it in (`dmesg` tells where it is); remove that, or use --gate hook"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_watch_names_the_range_the_reason_and_a_way_out() {
        let error = Refusal::Watch {
            target: "0x1000+0x1000".into(),
            reason: Some(WatchError::Ram),
            failed_at: 0x1000,
            source: Errno::PERM.into(),
        };
        assert_eq!(
            error.to_string(),
            "can't watch 0x1000+0x1000: there is system memory at 0x1000; only device memory can be watched \
             (`/proc/iomem` tells which is which)"
        );
    }

    #[test]
    fn a_device_whose_interrupts_can_t_be_recorded_is_named_with_what_to_do() {
        let told = |errno: Errno| {
            Refusal::Interrupts { device: "0000:00:03.0".into(), source: errno.into() }.to_string()
        };
        assert!(
            told(Errno::NOENT).starts_with("can't record the interrupts of 0000:00:03.0: the device is gone")
        );
        assert!(told(Errno::TOOBIG).contains("of 64 devices: name fewer"));
        assert!(told(Errno::OPNOTSUPP).contains("irq_handler_exit"));
    }

    #[test]
    fn a_second_trace_is_told_who_has_the_first() {
        let what = "page faults are watched";
        let error = Refusal::Busy { what, owner: 812, name: Some("trapline".into()) };
        assert!(
            error.to_string().starts_with("page faults are watched already, by process 812 (trapline);"),
            "{error}"
        );
    }
}
