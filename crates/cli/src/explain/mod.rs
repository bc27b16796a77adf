//! `trapline explain`: what an error code, or what a kernel reported, says. Needs no kernel module.

mod foreign;
mod symbols;
pub(crate) mod words;

use std::io::{self, IsTerminal, Read, Write};

use symbols::{Symbols, SymbolsError};
use trapline_explain::{Report, Reports, grouped};
use trapline_trace::write_json_line;

use crate::args::{CodeOrDash, Explain, ExplainFormat};
use crate::output::{self, OutputError};
use crate::say::say;

/// Why nothing, or not all, was explained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// Standard input can't be read.
    #[error("can't read standard input: {source}")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// There was nothing to explain.
    #[error(
        "standard input holds no oops and no other report of the kernel: no line as `BUG: …`, `Oops: …`, `general protection fault …`, `WARNING: …` or `segfault at …` was found; \
         give an error code instead: trapline explain CODE [ADDRESS]"
    )]
    NoOops,
    /// It is no text of the kernel's.
    #[error("standard input is {format}")]
    Foreign {
        /// What it is, and what reads it.
        format: String,
    },
    /// An option that is for text only.
    #[error("{option} is for a log on standard input; an error code is explained without it")]
    Unused {
        /// Its name.
        option: &'static str,
    },
    /// A file with symbols can't be read.
    #[error(transparent)]
    Symbols(#[from] SymbolsError),
    /// It lacked something.
    #[error("the oops is cut off or incomplete: it lacks {missing}; what there is was explained")]
    Cut {
        /// What.
        missing: String,
    },
    /// It can't be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Explains the error code that was given, or what is on standard input.
pub(crate) fn run(args: &Explain) -> Result<(), ExplainError> {
    match args.code {
        Some(CodeOrDash::Code(_)) if let Some(option) = unused(args) => Err(ExplainError::Unused { option }),
        Some(CodeOrDash::Code(code)) => Ok(output::print(|out| words::code(out, code, args.address))?),
        Some(CodeOrDash::Dash) | None => explain_text(args),
    }
}

/// An option that an error code has no use for.
fn unused(args: &Explain) -> Option<&'static str> {
    let given = [
        ("--vmlinux", args.vmlinux.is_some()),
        ("--module", !args.module.is_empty()),
        ("--all", args.all),
        ("--format json", args.format == ExplainFormat::Json),
    ];
    given.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
}

fn explain_text(args: &Explain) -> Result<(), ExplainError> {
    let symbols = Symbols::read(args.vmlinux.as_deref(), &args.module)?;
    if io::stdin().is_terminal() {
        say!("reading a kernel's log from standard input; Ctrl-D ends it");
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|source| ExplainError::Read { source })?;
    // First: the kernel's image and its modules hold the words of reports too.
    if let Some(format) = foreign::format_of(&bytes) {
        return Err(ExplainError::Foreign { format });
    }
    let reports = trapline_explain::read(&String::from_utf8_lossy(&bytes));
    if reports.is_empty() {
        return Err(ExplainError::NoOops);
    }
    output::print(|out| print(out, &reports, args, &symbols))?;
    let explained = reports.first().and_then(|at| reports.kernel.get(at));
    let missing = explained.map(Report::missing).unwrap_or_default();
    if missing.is_empty() { Ok(()) } else { Err(ExplainError::Cut { missing: missing.join(", ") }) }
}

/// Explains the report that matters most, or each.
fn print(out: &mut impl Write, reports: &Reports, args: &Explain, symbols: &Symbols) -> io::Result<()> {
    let first = reports.first();
    let kernel: Vec<&Report> = match (args.all, first) {
        (true, _) => reports.kernel.iter().collect(),
        (false, first) => first.and_then(|at| reports.kernel.get(at)).into_iter().collect(),
    };
    let programs = match (args.all, first) {
        (true, _) => grouped(&reports.programs),
        (false, Some(_)) => Vec::new(),
        (false, None) => grouped(&reports.programs).into_iter().take(1).collect(),
    };
    match args.format {
        ExplainFormat::Json => {
            let objects = kernel.iter().map(|report| report.to_json(symbols));
            objects
                .chain(programs.iter().map(|(trap, count)| trap.to_json(*count)))
                .try_for_each(|object| write_json_line(&mut *out, &object))
        }
        ExplainFormat::Human => {
            let told = kernel.iter().map(|report| report.explain(symbols));
            let told = told.chain(programs.iter().map(|(trap, count)| trap.explain(*count)));
            for (at, told) in told.enumerate() {
                if at > 0 {
                    writeln!(out)?;
                }
                words::report(out, &told)?;
            }
            if args.all { Ok(()) } else { words::others(out, reports, first) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_abi::ErrorCode;

    use super::*;
    use crate::args::Code;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_code_and_address_is_explained(code in any::<u32>(), decimal in any::<bool>(), address in any::<Option<u64>>()) {
            words::code(&mut io::sink(), Code { value: ErrorCode(code), decimal }, address).unwrap();
        }
    }
}
