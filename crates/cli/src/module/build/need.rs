//! What a build needs and is not there, and how each family of distributions installs it.

use std::fmt;
use std::path::PathBuf;

use super::compiler::Compiler;
use crate::system::System;

/// Something that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The kernel's headers.
    Headers {
        /// Where kbuild looks for them.
        folder: PathBuf,
    },
    /// `make`.
    Make,
    /// The C compiler that the kernel was built with.
    C(Compiler),
    /// Rust.
    Rust {
        /// The oldest that will do.
        oldest: (u32, u32),
    },
    /// Rust that is newer than what is there.
    NewerRust {
        /// What is there.
        rustc: PathBuf,
        /// Its version.
        version: String,
        /// The oldest that will do.
        oldest: (u32, u32),
    },
    /// The source of Rust's library.
    RustSource {
        /// The compiler that lacks it.
        rustc: PathBuf,
        /// Its version.
        version: String,
    },
    /// Cargo.
    Cargo {
        /// The compiler that has none beside it.
        rustc: PathBuf,
        /// Its version.
        version: String,
    },
}

impl Need {
    /// Whether it is to be had of rustup, which brought the compiler.
    fn is_rustups(&self) -> bool {
        let (Self::NewerRust { rustc, .. } | Self::RustSource { rustc, .. } | Self::Cargo { rustc, .. }) =
            self
        else {
            return false;
        };
        rustc.components().any(|part| part.as_os_str() == ".rustup")
    }

    fn is_rusts(&self) -> bool {
        !matches!(self, Self::Headers { .. } | Self::Make | Self::C(_))
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headers { folder } => write!(f, "no kernel headers at {}", folder.display()),
            Self::Make => f.write_str("no make"),
            Self::C(compiler) => {
                write!(f, "no {compiler}, which the kernel was built with (`{}`)", compiler.said)
            }
            Self::Rust { oldest: (major, minor) } => {
                write!(f, "no Rust, of which {major}.{minor} or newer is needed")
            }
            Self::NewerRust { rustc, version, oldest: (major, minor) } => {
                write!(
                    f,
                    "{} is Rust {version}, of which {major}.{minor} or newer is needed",
                    rustc.display()
                )
            }
            Self::RustSource { rustc, version } => {
                write!(f, "{} (Rust {version}) lacks its library's source", rustc.display())
            }
            Self::Cargo { rustc, version } => write!(f, "{} (Rust {version}) has no cargo", rustc.display()),
        }
    }
}

/// Distributions that install alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Debian; before 14 its newest Rust has a name of its own.
    Debian {
        has_rust_web: bool,
    },
    Fedora,
    Arch,
    OpenSuse,
}

impl Family {
    /// That of a machine, by os-release(5): of a distribution that is none of them, what it is
    /// like.
    fn of(system: &System) -> Option<Self> {
        let text = system.read("etc/os-release").or_else(|_| system.read("usr/lib/os-release")).ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(line.trim_matches(['"', '\'']).to_owned())
        };
        let id = field("ID")?;
        let like = field("ID_LIKE").unwrap_or_default();
        [id.as_str()].into_iter().chain(like.split(' ')).find_map(|name| match name {
            "debian" => {
                let version = field("VERSION_ID").and_then(|version| version.parse::<u32>().ok());
                let has_rust_web = id == "debian" && version.is_some_and(|version| version < 14);
                Some(Self::Debian { has_rust_web })
            }
            "fedora" | "rhel" => Some(Self::Fedora),
            "arch" => Some(Self::Arch),
            "suse" | "opensuse" => Some(Self::OpenSuse),
            _ => None,
        })
    }

    fn installs(self) -> &'static str {
        match self {
            Self::Debian { .. } => "apt install",
            Self::Fedora => "dnf install",
            Self::Arch => "pacman -S",
            Self::OpenSuse => "zypper install",
        }
    }

    /// The packages that have it.
    fn packages(self, need: &Need, system: &System, target: Target<'_>) -> Vec<String> {
        let packages = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        match need {
            Need::Headers { .. } => vec![self.headers(system, target.release)],
            Need::Make => packages(&["make"]),
            Need::C(compiler) => match self {
                Self::Debian { .. } => compiler.versioned(),
                Self::OpenSuse => compiler.versioned().iter().map(|name| name.replace('-', "")).collect(),
                Self::Fedora | Self::Arch => compiler.unversioned(),
            },
            // All of Rust, since its parts must be of one version.
            _ => match self {
                Self::Debian { has_rust_web: true } => packages(&["rustc-web", "rust-web-src", "cargo-web"]),
                Self::Debian { has_rust_web: false } => packages(&["rustc", "rust-src", "cargo"]),
                Self::Fedora => packages(&["rust", "rust-src", "cargo"]),
                Self::Arch => packages(&["rust", "rust-src"]),
                // Several versions may be installed, each under a name of its own.
                Self::OpenSuse => {
                    let (major, minor) = target.oldest_rust;
                    ["rust#", "rust#-src", "cargo#"]
                        .map(|name| name.replace('#', &format!("{major}.{minor}")))
                        .into()
                }
            },
        }
    }

    fn headers(self, system: &System, release: &str) -> String {
        match self {
            Self::Debian { .. } => format!("linux-headers-{release}"),
            Self::Fedora => format!("kernel-devel-{release}"),
            // Arch's kernels name the package that they are of.
            Self::Arch => {
                let base = system.read(format!("lib/modules/{release}/pkgbase"));
                format!("{}-headers", base.as_deref().unwrap_or("linux"))
            }
            Self::OpenSuse => {
                let flavour = release.rsplit_once('-').map_or("default", |(_, flavour)| flavour);
                format!("kernel-{flavour}-devel")
            }
        }
    }
}

/// What is built for, and by what.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The kernel's release.
    pub release: &'a str,
    /// The oldest Rust that will do: major and minor.
    pub oldest_rust: (u32, u32),
}

/// The one line that installs all of `needs` on this machine.
pub(super) fn remedy(system: &System, target: Target<'_>, needs: &[Need]) -> String {
    let (rustups, others): (Vec<&Need>, Vec<&Need>) = needs.iter().partition(|need| need.is_rustups());
    let mut commands = Vec::new();
    if let Some(family) = Family::of(system) {
        let mut packages: Vec<String> =
            others.iter().flat_map(|need| family.packages(need, system, target)).collect();
        packages.dedup();
        if !packages.is_empty() {
            commands.push(format!("{} {}", family.installs(), packages.join(" ")));
        }
    } else if !others.is_empty() {
        let rust =
            if others.iter().any(|need| need.is_rusts()) { ", Rust with its library's source" } else { "" };
        return format!("install the headers of kernel {}, its C compiler, make{rust}", target.release);
    }
    commands.extend(rustups.iter().map(|need| match need {
        Need::RustSource { .. } => "rustup component add rust-src".to_owned(),
        _ => "rustup update && rustup component add rust-src".to_owned(),
    }));
    format!("run: {}", commands.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::super::compiler::Kind;
    use super::*;
    use crate::system::tests::with;

    const TARGET: Target<'_> = Target { release: "6.1.0-1-x", oldest_rust: (1, 95) };

    fn needs() -> Vec<Need> {
        let gcc = Compiler { kind: Kind::Gcc, major: 12, said: "gcc-12 (Debian 12.2.0-14) 12.2.0".into() };
        let headers = Need::Headers { folder: "/lib/modules/R/build".into() };
        vec![headers, Need::Make, Need::C(gcc), Need::Rust { oldest: (1, 95) }]
    }

    #[test]
    fn each_family_of_distributions_is_told_its_own_line() {
        for (os_release, expected) in [
            (
                "ID=debian\nVERSION_ID=\"13\"",
                "run: apt install linux-headers-6.1.0-1-x make gcc-12 rustc-web rust-web-src cargo-web",
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"13\"",
                "run: apt install linux-headers-6.1.0-1-x make gcc-12 rustc rust-src cargo",
            ),
            (
                "ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"",
                "run: dnf install kernel-devel-6.1.0-1-x make gcc rust rust-src cargo",
            ),
            ("ID=arch", "run: pacman -S linux-lts-headers make gcc rust rust-src"),
            (
                "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"",
                "run: zypper install kernel-x-devel make gcc12 rust1.95 rust1.95-src cargo1.95",
            ),
            (
                "ID=other",
                "install the headers of kernel 6.1.0-1-x, its C compiler, make, Rust with its library's source",
            ),
        ] {
            let pkgbase = ("lib/modules/6.1.0-1-x/pkgbase", "linux-lts\n");
            let (_root, system) = with(&[("etc/os-release", os_release), pkgbase]);
            assert_eq!(remedy(&system, TARGET, &needs()), expected);
        }
    }

    #[test]
    fn what_rustups_compiler_lacks_is_had_of_rustup() {
        let rustc = PathBuf::from("/home/u/.rustup/toolchains/stable/bin/rustc");
        let source = Need::RustSource { rustc, version: "1.99.0".into() };
        let (_root, system) = with(&[("etc/os-release", "ID=debian")]);
        let line = remedy(&system, TARGET, &[Need::Make, source]);
        assert_eq!(line, "run: apt install make && rustup component add rust-src");
    }
}
