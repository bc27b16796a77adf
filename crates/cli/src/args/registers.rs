//! `trapline registers`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use glob::Pattern;
use trapline_registers::Match;

/// Make register files of what others have written, list them, look into them
///
/// A register file names what lies at the offsets of a device. Those in
/// `~/.config/trapline/registers` and `/usr/share/trapline/registers` are found by the device; see
/// docs/registers.md.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Registers {
    /// What to do
    #[command(subcommand)]
    pub command: RegistersCommand,
}

/// What to do with register files.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistersCommand {
    Import(Import),
    /// List the register files that name registers, the first that describes a device before others
    List,
    Show(Show),
}

/// Make a register file of CMSIS-SVD files, C headers or rnndb's XML
///
/// What is not understood is left out, and counted by reason; `--left-out` lists it with file and
/// line. The file is written in a form that a person can correct.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  trapline registers import STM32F103.svd --peripheral SPI1 --to spi.toml
  trapline registers import soc.svd --peripheral UART0 --peripheral DMA --base 0x40000000 \\
      --device 1234:11e8 --to ~/.config/trapline/registers/soc.toml
  trapline registers import e1000_regs.h --fields e1000_defines.h --device driver=e1000e \\
      --to e1000e.toml
  trapline registers import a6xx.xml --variant A6XX --device driver=msm --to adreno.toml
  trapline registers import driver.h --only 'FOO_REG_*' --to foo.toml")]
pub(crate) struct Import {
    /// Files to import, all into one
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The register file to write
    #[arg(long, value_name = "NAME.toml")]
    pub to: PathBuf,
    /// Replace the register file if it is there
    #[arg(long)]
    pub force: bool,
    /// Of what format the files are, if that is not to be told by what they hold
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub from: Option<ImportFrom>,
    /// For which devices: VENDOR:DEVICE[,DEVICE...] as `lspci -n` prints it, class=0x010802 or
    /// driver=NAME (may be repeated)
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<Match>,
    /// What the file describes; the first file's own name for it if not given
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The BAR that the registers lie in
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=5))]
    pub bar: u8,
    /// The address or offset at which the BAR begins, where it is not that of the registers chosen
    #[arg(long, value_name = "ADDRESS", value_parser = crate::units::parse_size)]
    pub base: Option<u64>,
    /// Take the registers of this peripheral, or of all with `*` (may be repeated; names of several
    /// begin with the peripheral's)
    #[arg(long, value_name = "NAME")]
    pub peripheral: Vec<String>,
    /// Take the registers of this domain of rnndb's XML, or of all with `*` (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub domain: Vec<String>,
    /// Leave out what rnndb's XML has for other variants (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub variant: Vec<String>,
    /// Take only registers of these names, with `*` for anything (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub only: Vec<Pattern>,
    /// A C header of which nothing is a register: it gives fields and macros (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub fields: Vec<PathBuf>,
    /// Elements of a C macro's array where the header does not tell how many; fewer if others
    /// follow
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub elements: u32,
    /// List everything that was left out, not only how much of which kind
    #[arg(long)]
    pub left_out: bool,
}

/// Formats that are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFrom {
    /// CMSIS-SVD
    Svd,
    /// C of a driver: #define, enum, BIT(), GENMASK(), _SHIFT and _MASK, REG_FIELD()
    Header,
    /// XML of envytools, Mesa and drm/msm
    Rnndb,
}

/// Show what a register file says, or what it says of one register
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A register file, or the name of one that `trapline registers list` has
    #[arg(value_name = "FILE|NAME")]
    pub file: PathBuf,
    /// Only registers of this name, with `*` for anything, or at this offset: STATUS, `CTRL*`, 0x14
    #[arg(value_name = "REGISTER")]
    pub register: Option<String>,
}
