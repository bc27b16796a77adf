//! The releases of Debian that kernels come from.

/// A release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Debian 12, which the host runs: what it builds with is installed there.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// What will be a release: the newest of everything.
    Sid,
}

/// Where a suite is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Archive {
    /// The one with the releases and their backports.
    Main,
    /// The one with what is urgent.
    Security,
}

impl Release {
    /// Its name, as apt and mmdebstrap take it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// The suites that its packages come from.
    pub(super) fn suites(self) -> &'static [(Archive, &'static str)] {
        use Archive::{Main, Security};
        match self {
            Self::Bookworm => {
                &[(Main, "bookworm"), (Main, "bookworm-backports"), (Security, "bookworm-security")]
            }
            Self::Trixie => &[(Main, "trixie"), (Main, "trixie-backports"), (Security, "trixie-security")],
            Self::Sid => &[(Main, "sid")],
        }
    }
}
