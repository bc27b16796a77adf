//! The kernel log: its lines as they are written.

use rustix::io::Errno;
use trapline_trace::{Header, Logged};

use crate::device::Control;
use crate::refusal::Refusal;
use crate::say::say;
use crate::trace::{Arming, Counted, Source};

/// Lines of the kernel log.
pub(crate) struct Log {
    /// Whether they are recorded: known once it is armed.
    is_armed: bool,
    /// Whether what there is is enough.
    is_enough: bool,
}

impl Log {
    /// `is_enough` tells whether the rest will do where the kernel can't tell of its log.
    pub(crate) fn new(is_enough: bool) -> Self {
        Self { is_armed: false, is_enough }
    }
}

impl Source for Log {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        if let Err(source) = control.log() {
            let can_not = Errno::from_io_error(&source) == Some(Errno::NOSYS);
            let refusal = Refusal::Log { source };
            if !(self.is_enough && can_not) {
                return Err(refusal);
            }
            say!("left out: {refusal}");
            return Ok(());
        }
        self.is_armed = true;
        if !arming.quiet {
            say!("recording the lines of the kernel log");
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        if self.is_armed {
            header.sources.push(trapline_trace::Source::Log(Logged {}));
        }
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        let counts = control.log_counts().unwrap_or_default();
        Counted { log_missed: counts.missed, ..Counted::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::fake::Module;
    use crate::trace::tests::quietly;

    #[test]
    fn a_kernel_that_tells_nothing_of_its_log_is_an_error_or_left_out_where_the_rest_is_enough() {
        let sources = |module: &Module, is_enough| {
            let (mut log, mut header) = (Log::new(is_enough), Header::default());
            log.arm(module, &quietly(false)).map(|()| {
                log.describe(&mut header);
                header.sources.len()
            })
        };
        assert_eq!(sources(&Module::default(), false).unwrap(), 1);
        assert_eq!(Log::new(false).counted(&Module::default()).log_missed, 5);
        let module = Module { no_log: Some(Errno::NOSYS), ..Module::default() };
        assert_eq!(sources(&module, true).unwrap(), 0);
        let error = sources(&module, false).unwrap_err().to_string();
        assert!(error.contains("printk_sprint()"), "{error}");
        let module = Module { no_log: Some(Errno::NOMEM), ..Module::default() };
        assert!(sources(&module, true).is_err());
    }
}
