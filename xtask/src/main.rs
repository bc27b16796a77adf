//! `cargo xtask`: the commands a person types. See the library for what they do.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::failure::status_of;
use xtask::{bench, breakages, demo, harden, imports, interrupt, package, pages, queries, test, vm};

/// Try, test and measure Trapline in a virtual machine.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// See two drivers of a stock kernel traced, beside what QEMU recorded of the same accesses.
    Demo(demo::Options),
    /// Boot a stock Debian kernel in QEMU and run a command in it.
    ///
    /// The exit status is COMMAND's, or 122: packages are missing and only root can install them;
    /// 123: with --strict-log, the kernel log is not clean; 124: the time ran out; 125: the machine
    /// went down; 130: Ctrl-C.
    Vm(Box<vm::Options>),
    /// Run everything that must hold, step by step; the last line is `N passed, N failed`.
    Test(test::Options),
    /// Break each defence that docs/soundness.md tells of, in a copy, and see whether a test fails.
    Break(breakages::Options),
    /// Measure what tracing costs, beside the kernel's own mmiotrace, and print tables.
    Bench(bench::Options),
    /// Find out what a driver does when its device lies, in virtual machines.
    ///
    /// A campaign of `trapline harden`, with a fresh machine whenever one dies. The exit status is
    /// 0: nothing was found; 5: something was; 130: Ctrl-C, and the same command goes on.
    Harden(harden::Options),
    /// Open the pages of `trapline report --html` in a browser, use them, and take pictures.
    Pages(pages::Options),
    /// Make packages for Debian of the command and the module, and try them in fresh systems.
    Package(package::Options),
    /// Import registers from whole files of others, which are fetched for that.
    Imports,
    /// Ask the questions of docs/queries.md by DuckDB and Polars, which must answer alike.
    Queries,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = interrupt::catch().and_then(|()| match arguments.task {
        Task::Demo(options) => demo::command(&options),
        Task::Vm(options) => vm::command(&options),
        Task::Test(options) => test::command(&options),
        Task::Break(options) => breakages::command(&options),
        Task::Bench(options) => bench::command(&options),
        Task::Harden(options) => harden::command(&options),
        Task::Pages(options) => pages::command(&options),
        Task::Package(options) => package::command(&options),
        Task::Imports => imports::command(),
        Task::Queries => queries::command(),
    });
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(status_of(&error))
        }
    }
}
