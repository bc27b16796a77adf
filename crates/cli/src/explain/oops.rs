//! An oops as text: what the kernel printed about a fault that it could not resolve, picked out of whatever log it stands in.
//!
//! What counts is recognised wherever it stands in a line, so that every prefix will do: dmesg's times, journald's hosts, a serial console's. Only the first oops of a
//! text is read: what follows it is often its consequence. Formats: arch/x86/mm/fault.c (show_fault_oops), arch/x86/kernel/dumpstack.c and process_64.c (__show_regs) of
//! Linux 6.1 and 6.12, and as they were in 3.10 and 4.19 (`at ADDRESS`, `IP: [<ADDRESS>]`); `segfault at` lines: show_signal_msg; mm/kasan/report.c.

/// What an oops tells; each part is missing if the text lacks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oops {
    /// The line that names what happened, without its prefix.
    pub headline: Option<String>,
    /// Further lines that name a suspicion: "kernel tried to execute NX-protected page …".
    pub hints: Vec<String>,
    /// The exception, if it is not a page fault.
    pub other: Option<String>,
    /// The faulting address, from the headline or the last CR2 line.
    pub address: Option<u64>,
    /// The error code.
    pub error_code: Option<u64>,
    /// Whether it is one of a program that was ended by a signal, not of the kernel.
    pub segfault: bool,
    /// The instruction: `use+0x5/0x20 [oops]`, or an address.
    pub instruction: Option<String>,
    /// Name and process id.
    pub task: Option<(String, u32)>,
    /// The CPU.
    pub cpu: Option<u32>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The letters of the taint flags.
    pub taint: Option<String>,
    /// General registers in kernel mode, and CR2 as it was when the registers were printed.
    pub registers: Vec<(String, u64)>,
    /// Functions on the stack that called one another, the innermost first; those that the unwinder is unsure of are left out.
    pub calls: Vec<String>,
    /// Those that it is unsure of. After a jump to nowhere that is all of them.
    pub maybe_calls: Vec<String>,
    /// Loaded modules with their taint flags, as in `oops(OE)`.
    pub modules: Vec<String>,
    /// Whether the line of the end was there.
    pub ended: bool,
    /// How many more oopses the text holds.
    pub more: usize,
}

/// Where in an oops the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    /// After RIP in kernel mode: the registers of the fault.
    Registers,
    /// In the call trace.
    Calls,
    /// After RIP in user mode: the registers of the system call.
    User,
}

/// The first oops of `text`; `None` if there is no sign of one.
pub(crate) fn parse(text: &str) -> Option<Oops> {
    let mut oops = Oops::default();
    let mut part = Part::Head;
    let mut begun = false;
    // Whether it is known to be one: registers are printed with warnings too, which may come before.
    let mut certain = false;
    for line in text.lines() {
        if begun && !certain && is_headline(line) {
            (oops, part) = (Oops::default(), Part::Head);
        }
        certain |= is_headline(line) || line.contains("#PF: ") || is_die(line);
        if oops.ended || oops.segfault {
            oops.more += usize::from(is_headline(line));
            continue;
        }
        if !begun {
            begun = certain || line.contains("RIP: 00");
            if !begun {
                continue;
            }
        }
        oops.take(line, &mut part);
    }
    begun.then_some(oops)
}

/// Whether an oops begins with this line.
fn is_headline(line: &str) -> bool {
    line.contains("BUG: kernel NULL pointer dereference")
        || line.contains("BUG: unable to handle")
        || line.contains("general protection fault")
        || line.contains(": segfault at ")
}

/// Whether it is `die()`'s line, which has the error code: "Oops: 0002 [#1] …".
fn is_die(line: &str) -> bool {
    line.contains("Oops: ") || line.contains(" [#")
}

/// What stands behind `mark` in `line`.
fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.find(mark).and_then(|at| line.get(at + mark.len()..))
}

/// The hexadecimal number that `text` begins with.
fn hex(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    u64::from_str_radix(text.get(..end)?, 16).ok()
}

/// What follows a "RIP: 0010:" without the addresses in brackets that kernels before 4.11 put there.
fn place_of(text: &str) -> Option<String> {
    let place = text.rsplit_once(">] ").map_or(text, |(_, place)| place).trim();
    Some(place.to_owned()).filter(|place| !place.is_empty())
}

impl Oops {
    fn take(&mut self, line: &str, part: &mut Part) {
        if is_headline(line) && self.headline.is_none() {
            self.take_headline(line);
        } else if let Some(rest) = after(line, "error_code(0x") {
            self.error_code = self.error_code.or_else(|| hex(rest));
        } else if line.contains("kernel tried to execute")
            || line.contains("unable to execute userspace code")
            || line.contains("KASAN: ")
        {
            let marks = ["kernel tried", "unable to execute", "KASAN: "];
            let from = marks.iter().find_map(|mark| line.find(mark)).unwrap_or(0);
            self.hints.push(line.get(from..).unwrap_or(line).trim_end().to_owned());
        } else if is_die(line) {
            self.take_die(line);
        } else if let Some(rest) = after(line, "CPU: ").filter(|_| self.task.is_none()) {
            self.take_task(rest);
        } else if let Some(rest) = after(line, "RIP: ") {
            let kernel = !rest.starts_with("0033:");
            *part = if kernel { Part::Registers } else { Part::User };
            if kernel && self.instruction.is_none() {
                self.instruction = place_of(rest.split_once(':').map_or(rest, |(_, place)| place));
            }
        } else if let Some(rest) = after(line, " IP: ").filter(|_| self.instruction.is_none()) {
            self.instruction = place_of(rest);
        } else if line.contains("---[ end trace") {
            self.ended = true;
        } else if line.contains("Call Trace:") {
            *part = Part::Calls;
        } else if let Some(rest) = after(line, "Modules linked in: ") {
            let rest = rest.split(" [last unloaded").next().unwrap_or(rest);
            self.modules = rest.split_whitespace().map(str::to_owned).collect();
        } else if *part == Part::Registers {
            self.take_registers(line);
        } else if *part == Part::Calls {
            self.take_call(line);
        }
        // Alone at the end: CR2 as it was when the fault was raised. The one among the registers is later.
        if let Some(address) = after(line, "CR2: ").filter(|_| !line.contains("CR3: ")).and_then(hex) {
            self.address = self.address.or(Some(address));
        }
    }

    fn take_headline(&mut self, line: &str) {
        let starts = ["BUG: ", "general protection fault"];
        let start = starts.iter().filter_map(|mark| line.find(mark)).min();
        if let Some(rest) = after(line, ": segfault at ") {
            self.segfault = true;
            self.address = hex(rest);
            // Since 6.2 with " likely on CPU 1 (core 1, socket 0)" at the end.
            let (place, cpu) = match rest.split_once(" likely on CPU ") {
                Some((place, cpu)) => (place, cpu.split_whitespace().next()),
                None => (rest, None),
            };
            self.cpu = cpu.and_then(|cpu| cpu.parse().ok());
            let file = after(place, " in ").map(|file| format!(" in {}", file.trim())).unwrap_or_default();
            self.instruction = after(place, " ip ").and_then(hex).map(|ip| format!("{ip:#x}{file}"));
            self.error_code = after(place, " error ").and_then(hex);
            let who = line.get(..line.find(": segfault at ").unwrap_or(0)).unwrap_or("");
            let who = who.rsplit(' ').next().unwrap_or(who);
            self.task = who
                .trim_end_matches(']')
                .rsplit_once('[')
                .and_then(|(name, id)| Some((name.to_owned(), id.parse().ok()?)));
            let name = line.find(who).and_then(|at| line.get(at..));
            self.headline = name.map(|text| text.trim_end().to_owned());
            return;
        }
        self.headline = start.and_then(|at| line.get(at..)).map(|text| text.trim_end().to_owned());
        self.address = ["address: ", "non-canonical address ", "request at ", "dereference at "]
            .iter()
            .find_map(|mark| after(line, mark))
            .and_then(|text| if text.trim() == "(null)" { Some(0) } else { hex(text) });
        if line.contains("general protection fault") {
            self.other = Some("general protection fault".to_owned());
            self.take_die(line);
        }
    }

    /// `WHAT: CODE [#NUMBER] …`; WHAT is "Oops" for a page fault.
    fn take_die(&mut self, line: &str) {
        let Some(before) = line.find(" [#").and_then(|at| line.get(..at)) else { return };
        let Some((what, code)) = before.rsplit_once(": ") else { return };
        let what = what.trim_end_matches(": Oops");
        let what = what.rsplit(['>', ']']).next().unwrap_or(what).trim();
        let what = what.strip_prefix("Oops: ").unwrap_or(what);
        if !what.ends_with("Oops") && self.other.is_none() && self.headline.is_none() {
            self.other = Some(what.to_owned());
            self.headline = Some(format!("{what}: {code}"));
        }
        self.error_code = self.error_code.or_else(|| hex(code));
    }

    /// `3 PID: 187 Comm: sh Tainted: G  OE  6.1.0-56-amd64 #1 Debian …`, since 6.11 with `UID: 0` before PID.
    fn take_task(&mut self, rest: &str) {
        self.cpu = rest.split_whitespace().next().and_then(|cpu| cpu.parse().ok());
        let process = after(rest, "PID: ").and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let Some(name) = after(rest, "Comm: ") else { return };
        let marks = [" Tainted: ", " Not tainted "];
        let end = marks.iter().filter_map(|mark| name.find(mark)).min().unwrap_or(name.len());
        if let (Some(process), Some(comm)) = (process, name.get(..end)) {
            self.task = Some((comm.trim_end().to_owned(), process));
        }
        let words: Vec<&str> = name.get(end..).unwrap_or("").split_whitespace().collect();
        let release = words.iter().position(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        self.kernel = release.map(|at| words[at].to_owned());
        if words.first() == Some(&"Tainted:") {
            let flags: String = words.get(1..release.unwrap_or(words.len())).unwrap_or(&[]).concat();
            // Red Hat's kernels end the flags with a line of dashes.
            let flags = flags.replace('-', "");
            self.taint = Some(flags).filter(|flags| !flags.is_empty());
        }
    }

    /// `RAX: 0000000000000000 RBX: …`, of which only whole ones count: the last of a text that is cut off may be short.
    fn take_registers(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let [name, value] = pair else { continue };
            let Some(name) = name.strip_suffix(':') else { continue };
            let general = name.len() <= 3 && name.starts_with('R') && name != "RIP";
            if !(general || name == "CR2") || self.registers.iter().any(|(known, _)| known == name) {
                continue;
            }
            let value = value.split_once(':').map_or(*value, |(_, offset)| offset);
            if let Some(value) = hex(value).filter(|_| value.len() == 16) {
                self.registers.push((name.to_owned(), value));
            }
        }
    }

    fn take_call(&mut self, line: &str) {
        let text = line.rsplit_once("] ").filter(|(before, _)| before.trim_start().starts_with(['[', '<']));
        let text = text.map_or(line, |(_, text)| text).trim();
        // A function of a module ends with the module's name in brackets, which is no prefix.
        let text = if text.contains("+0x") { text } else { line.trim() };
        let at = text.find("+0x").unwrap_or(0);
        let start = text.get(..at).and_then(|before| before.rfind(' ')).map_or(0, |space| space + 1);
        let sure = !text.get(..start).unwrap_or("").ends_with("? ");
        if at > 0
            && let Some(function) = text.get(start..)
        {
            let calls = if sure { &mut self.calls } else { &mut self.maybe_calls };
            calls.push(function.to_owned());
        }
    }

    /// What should be there and is not.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        let mut lacks = |is: bool, what| {
            if is {
                missing.push(what);
            }
        };
        lacks(self.headline.is_none(), "the BUG line");
        lacks(self.error_code.is_none(), "the error code");
        lacks(self.address.is_none() && self.other.is_none(), "the address");
        lacks(self.instruction.is_none(), "RIP");
        lacks(self.task.is_none(), "the task");
        if !self.segfault {
            lacks(self.registers.len() < 16, "registers");
            lacks(self.calls.is_empty() && self.maybe_calls.is_empty(), "the call trace");
            lacks(!self.ended, "the line of its end");
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: &str = include_str!("../../tests/oops/null.txt");

    #[test]
    fn every_part_of_a_whole_oops_is_found() {
        let oops = parse(NULL).unwrap();
        assert_eq!(
            oops.headline.as_deref(),
            Some("BUG: kernel NULL pointer dereference, address: 0000000000000028")
        );
        assert_eq!((oops.address, oops.error_code), (Some(0x28), Some(2)));
        assert_eq!(oops.instruction.as_deref(), Some("use+0x5/0x20 [oops]"));
        assert_eq!((oops.task, oops.cpu), (Some(("sh".into(), 187)), Some(3)));
        assert_eq!(oops.kernel.as_deref(), Some("6.12.95+deb12-amd64"));
        assert_eq!(oops.taint.as_deref(), Some("GOE"));
        assert_eq!(oops.registers.len(), 17);
        assert_eq!(oops.registers[1], ("RAX".into(), 0));
        assert_eq!(
            oops.calls[..3],
            ["wr+0x53/0xda0 [oops]", "proc_reg_write+0x5a/0xa0", "vfs_write+0xfb/0x450"]
        );
        assert_eq!(oops.modules, ["oops(OE)"]);
        assert!(oops.ended && oops.more == 0);
    }

    #[test]
    fn the_address_is_that_of_the_fault_and_not_the_one_cr2_had_when_it_was_printed() {
        let without_headline: String =
            NULL.lines().filter(|line| !line.contains("BUG: ")).map(|line| format!("{line}\n")).collect();
        let oops = parse(&without_headline).unwrap();
        assert_eq!(oops.address, Some(0x28));
        assert!(oops.registers.contains(&("CR2".into(), 0xffff_ffff_c020_0feb)));
    }

    #[test]
    fn an_oops_cut_off_anywhere_is_read_as_far_as_it_goes_and_says_what_it_lacks() {
        let end = NULL.find("---[ end trace").unwrap();
        let start = NULL.find("BUG: kernel NULL").unwrap() + 40;
        for cut in start..end {
            let oops = parse(&NULL[..cut]).unwrap_or_default();
            assert!(oops.missing().contains(&"the line of its end"), "{cut}");
            assert!(oops.address.is_none_or(|address| address == 0x28 || cut < start + 32), "{cut}");
            assert!(oops.registers.iter().all(|(_, value)| NULL.contains(&format!("{value:016x}"))), "{cut}");
        }
        assert_eq!(parse(NULL).unwrap().missing(), Vec::<&str>::new());
    }

    #[test]
    fn a_warning_before_it_is_not_taken_for_the_oops() {
        let warning = "\
[    3.000001] WARNING: CPU: 1 PID: 99 at kernel/other.c:7 elsewhere+0x5/0x20
[    3.000002] CPU: 1 PID: 99 Comm: other Not tainted 6.1.0-56-amd64 #1
[    3.000003] RIP: 0010:elsewhere+0x5/0x20
[    3.000004] RSP: 0018:ffffc90000111c00 EFLAGS: 00000246
[    3.000005] RAX: 0000000000000077 RBX: 0000000000000088 RCX: 0000000000000099
[    3.000006] CR2: 0000000000000bad CR3: 00000000051ba000 CR4: 0000000000750ef0
[    3.000007] ---[ end trace 0000000000000000 ]---
";
        assert_eq!(parse(&format!("{warning}{NULL}")), parse(NULL));
        // One that begins before it and is cut by it, as on two CPUs.
        assert_eq!(parse(&format!("{}{NULL}", &warning[..250])), parse(NULL));
    }

    #[test]
    fn prefixes_of_other_logs_do_not_matter() {
        let bare = parse(NULL).unwrap();
        for prefix in ["", "Nov 20 19:36:01 host kernel: ", "<4>[   14.0][  T187] "] {
            let text: String = NULL.lines().map(|line| format!("{prefix}{}\n", &line[15..])).collect();
            let oops = parse(&text).unwrap();
            assert_eq!(Oops { headline: None, ..oops }, Oops { headline: None, ..bare.clone() }, "{prefix}");
        }
    }

    #[test]
    fn a_program_that_was_ended_by_a_page_fault_is_read_too() {
        let line = "[  7.1] a.out[123]: segfault at 0 ip 0000000000401136 sp 00007ffd0ff0 error 6 in a.out[401000+1000] likely on CPU 1";
        let oops = parse(line).unwrap();
        assert!(oops.segfault);
        assert_eq!(
            (oops.address, oops.error_code, oops.task.clone()),
            (Some(0), Some(6), Some(("a.out".into(), 123)))
        );
        assert_eq!(oops.instruction.as_deref(), Some("0x401136 in a.out[401000+1000]"));
        assert_eq!(oops.cpu, Some(1));
        assert_eq!(oops.missing(), Vec::<&str>::new());
    }

    #[test]
    fn the_lines_of_older_kernels_are_read() {
        let of_3_10 = "[ 5797.598826] BUG: unable to handle kernel NULL pointer dereference at 000000000000000a\n\
            [ 5797.607974] IP: [<ffffffffc0841d99>] push+0x19/0x240 [tracer]\n\
            [ 5797.619308] Oops: 0000 [#1] SMP \n\
            [ 5797.730719] CPU: 67 PID: 0 Comm: swapper/67 Tainted: G           OE  ------------   3.10.0-862.el7.x86_64 #1\n";
        let oops = parse(of_3_10).unwrap();
        assert_eq!((oops.address, oops.error_code), (Some(0xa), Some(0)));
        assert_eq!(oops.instruction.as_deref(), Some("push+0x19/0x240 [tracer]"));
        assert_eq!(oops.taint.as_deref(), Some("GOE"));
        assert_eq!(oops.kernel.as_deref(), Some("3.10.0-862.el7.x86_64"));
        let null = of_3_10.replace("000000000000000a", "          (null)");
        assert_eq!(parse(&null).unwrap().address, Some(0));
        let rip_only = of_3_10
            .replace(" IP: [<ffffffffc0841d99>]", " RIP: 0010:[<ffffffffc0841d99>]  [<ffffffffc0841d99>]");
        assert_eq!(parse(&rip_only).unwrap().instruction.as_deref(), Some("push+0x19/0x240 [tracer]"));
        let of_4_19 = "BUG: unable to handle kernel paging request at ffffe0f000020000\n[13968.479005] Oops: 0002 [#1] SMP NOPTI\n";
        let oops = parse(of_4_19).unwrap();
        assert_eq!((oops.address, oops.error_code), (Some(0xffff_e0f0_0002_0000), Some(2)));
    }

    #[test]
    fn what_kasan_makes_of_its_own_fault_is_kept() {
        let text = "general protection fault, probably for non-canonical address 0xdffffc0000000003: 0000 [#1] PREEMPT SMP KASAN\n\
            KASAN: null-ptr-deref in range [0x0000000000000018-0x000000000000001f]\n";
        let oops = parse(text).unwrap();
        assert_eq!(oops.address, Some(0xdfff_fc00_0000_0003));
        assert_eq!(oops.hints, ["KASAN: null-ptr-deref in range [0x0000000000000018-0x000000000000001f]"]);
    }

    #[test]
    fn a_log_without_an_oops_has_none() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("[    0.0] Linux version 6.1\n[    1.0] random: crng init done\n"), None);
    }
}
