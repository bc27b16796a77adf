//! Which hits of an instruction to record; `trapline probe`.

use clap::{Args, Parser};
use trapline_abi::MAX_ACTIVE;

use super::taking::Taking;
use super::words;

/// Places of one probe at most. The module goes through its probes for each that it takes out, so
/// many more would take minutes; a test has half as many.
pub(crate) const MOST_PLACES: u32 = 4096;

/// Record each time that an instruction of the kernel is executed, until Ctrl-C, until --duration
/// is over, or while COMMAND runs
///
/// SPEC is SYMBOL, SYMBOL+OFFSET, MODULE:SYMBOL[+OFFSET] or an address; a pattern of functions
/// ('vfs_*', 'MODULE:*'); several of these; or a definition as the kernel's probe events take it
/// ('p:NAME SYMBOL FETCH...'). The kernel module is loaded if needed and stays loaded. A value that
/// can't be fetched reads (fault); the rest of its line stays, and the kernel goes on.
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "trapline probe [OPTIONS] <SPEC>... [FETCH]... [if <CONDITION>] [-- <COMMAND>...]",
    after_long_help = PROBE_HELP
)]
pub(crate) struct Probe {
    /// Which hits.
    #[command(flatten)]
    pub hits: Hits,
    /// How to trace.
    #[command(flatten)]
    pub taking: Taking,
}

/// Which hits to record, and what with each.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Hits {
    /// Where: SYMBOL, SYMBOL+OFFSET, MODULE:SYMBOL[+OFFSET], an address, or a pattern of functions,
    /// PATTERN or MODULE:PATTERN; %return behind it for --return. Words behind it that are places
    /// too are probed as well. Or a definition of the kernel's probe events, as it is pasted
    #[arg(value_name = "SPEC")]
    pub spec: String,
    /// What to fetch at each hit, wherever it is: a parameter's name, or [NAME=]FETCH[:TYPE] as in
    /// the kernel's probe events; and behind the word `if` a condition that hits must fulfil to be
    /// recorded
    #[arg(value_name = "FETCH")]
    pub fetch: Vec<String>,
    /// Fetch all parameters of each function, by their names and types
    #[arg(long)]
    pub args: bool,
    /// Record when the function returns
    #[arg(long = "return")]
    pub at_return: bool,
    /// With --return, follow N calls under way at once, 1 to 4096; what comes beyond is missed, and
    /// counted. The kernel chooses if not given
    #[arg(long, value_name = "N", requires = "at_return", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ACTIVE)))]
    pub active: Option<u32>,
    /// Probe at most N functions, 1 to 4096, if there is a pattern among the places
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PLACES)))]
    pub at_most: u32,
    /// Record before the instruction; so it is unless --post or --return is given
    #[arg(long)]
    pub pre: bool,
    /// Record after the instruction
    #[arg(long)]
    pub post: bool,
    /// Record the kernel's stack with each hit
    #[arg(long)]
    pub stack: bool,
    /// Only in process PID, all its threads; the trace ends with it
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Only on CPU N
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,
}

/// [`Hits`] as one text, `trace --probe 'SPEC FETCH...'`: the words that `trapline probe` takes.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Words {
    #[command(flatten)]
    hits: Hits,
}

/// Reads the words of `--probe`.
pub(super) fn parse_hits(text: &str) -> Result<Hits, String> {
    // A condition's quotes are its own.
    let (before, condition) = match words::at_condition(text) {
        Some((before, condition)) => (before, Some(format!("if {condition}"))),
        None => (text, None),
    };
    let parsed = Words::try_parse_from(words::split(before)?.into_iter().chain(condition));
    parsed.map(|words| words.hits).map_err(|error| words::mistake(&error))
}

const PROBE_HELP: &str = "\
Several functions, and patterns of * ? [a-z] [!a-z], which stand in quotes in a shell:
  vfs_read vfs_write  both; words are places up to a parameter of the first function
  'nvme:nvme_*'       all functions of the module whose names begin so, each address once
Of a pattern, what can't be probed is left out and told. What is fetched, and the condition, is of each function.

What to fetch, as in the kernel's probe events (Documentation/trace/kprobetrace.rst):
  filename            a parameter of the function, by its name; texts are read, numbers have their sign
  %di                 a register
  file->f_path.dentry a member, by the kernel's own type information; [N] for an element
  (sk_buff)%di->len   a member of what has no type; (STRUCT,FIELD)… for what a pointer to FIELD is in
  $arg1, $retval      an argument by its place; what the function returns, with --return
  $arg*               all parameters, as --args
  $stack, $stack2     the stack pointer; an entry of the stack
  $comm               the task's name
  @SYMBOL+8           memory at a symbol or an address; a name that several have is refused
  +8(FETCH)           memory 8 bytes behind what FETCH gives; +u8(FETCH) in user space; may be nested
  \\5, \\\"text\"        a number, a text
with NAME= before it and :TYPE behind it: u8 u16 u32 u64, s8 … signed, x8 … hexadecimal, char, string, ustring, symbol, symstr, \
%pd and %pD for the name of a dentry and a file, bWIDTH@OFFSET/CONTAINER for some bits; TYPE[N] for an array. One that begins with a dash needs a NAME=.
With --pre and --return together, registers, stack and parameters are fetched before, $retval at the return. \
Hits that Trapline causes itself are left out, and counted. docs/probes.md has all forms.

A condition behind the word `if` is looked at in the kernel, before anything is recorded; of a return, when it returns:
  if count > 4096     what is fetched, by its name, or FETCH[:TYPE]; comm is the task's name
  == != < <= > >=     numbers, with their sign if their type has one; == and != texts as well
  flags & 0x10        a bit in common
  comm ~ \"kworker*\"  a text and a pattern, of * ? [a-z] [!a-z]
  && || ! ( )         as in C
Hits that do not fulfil it are counted. So are those of which something could not be fetched on which it depends.

COMMAND is started once all probes are set. The trace ends when it exits, and its status is ours.

Examples:
  Which files are opened, and by whom:
    trapline probe sys_openat filename
  What dd does with files, function by function:
    trapline probe 'vfs_*' 'ksys_*' --return if 'comm == \"dd\"'
  Which reads of dd are large:
    trapline probe 'ksys_read count if count > 4096 && comm == \"dd\"'
  Which files are read, by a definition from elsewhere:
    trapline probe 'p:reads vfs_read name=file->f_path.dentry->d_name.name:string count'
  What a program's reads return:
    trapline probe ksys_read fd count 'got=$retval:s64' --pre --return -- cat /etc/passwd
  Who sends packets, by which way, and how long they are:
    trapline probe __dev_queue_xmit 'device=+0(+16($arg1)):string' --stack --max 10";
