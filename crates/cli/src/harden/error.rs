//! Why there is no campaign, or not all of it.

use std::io;
use std::time::Duration;

use trapline_trace::FileError;

use super::binding::BindingError;
use super::state::StateError;
use crate::module::ModuleError;
use crate::output::OutputError;
use crate::sources::{InjectError, NoDevice};

/// Why there is no campaign, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HardenError {
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// There are several.
    #[error("{name} is {count} devices: {addresses}; name one of them")]
    Several {
        /// What was asked for.
        name: String,
        /// How many there are.
        count: usize,
        /// Which.
        addresses: String,
    },
    /// The machine needs the device.
    #[error(transparent)]
    Inject(#[from] InjectError),
    /// Its driver can't be bound anew.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// There is no module to work with.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// What is kept can't be.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel is not what it was.
    #[error(
        "this kernel has oopsed since it was started, and what is found now may come of that; start the machine anew, or say --go-on"
    )]
    Oopsed,
    /// It fails without any lie.
    #[error(
        "{what} although nothing was injected, and a campaign needs a COMMAND that works; it said:\n{said}"
    )]
    Command {
        /// What went wrong.
        what: String,
        /// What it said.
        said: String,
    },
    /// There is nothing to lie about.
    #[error(
        "{driver} read nothing of {device} that can be traced while it was bound and COMMAND ran: there is nothing to lie about"
    )]
    Reads {
        /// The driver.
        driver: String,
        /// The device.
        device: String,
    },
    /// There is no time.
    #[error("a budget of {} is too small for one experiment: the driver and COMMAND took {} without lies; give --budget {} or more", humantime::format_duration(*.budget), humantime::format_duration(*.took), humantime::format_duration(Duration::from_secs(took.as_secs() * 10 + 10)))]
    Budget {
        /// What there is.
        budget: Duration,
        /// What one run took.
        took: Duration,
    },
    /// The first run's trace can't be read.
    #[error(transparent)]
    Trace(#[from] FileError),
    /// An experiment could not be made.
    #[error("the experiment `{rules}` could not be made; trapline inject said:\n{said}")]
    Experiment {
        /// Its rules.
        rules: String,
        /// What was said.
        said: String,
        /// Whether the rules are wrong.
        is_mistake: bool,
    },
    /// Something of the system that all needs.
    #[error("can't {what}: {source}")]
    Own {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The machine is worn.
    #[error("{why}: start the machine anew, then the same command goes on{}", if *.may_go_on { "; or say --go-on" } else { "" })]
    Restart {
        /// What is wrong.
        why: String,
        /// Whether it can go on all the same.
        may_go_on: bool,
    },
    /// Ctrl-C, before anything was injected.
    #[error("interrupted")]
    Interrupted,
    /// It can't be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl HardenError {
    pub(super) fn own(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Own { what, source }
    }
}
