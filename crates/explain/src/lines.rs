//! The lines of a text without what logs, consoles and mails put before them, and without their
//! wraps: done once, before anything else reads them.
//!
//! A prefix is known by its form, not by where it comes from, and several may stand one before the
//! other (`> Jun 27 13:35:45 host kernel: [ 12.345678][ T123] `). What has no known form stays.

mod order;
mod prefix;
mod vendor;
mod wrap;

use order::is_newest_first;
use prefix::without_prefixes;
use wrap::is_wrapped;

/// How long a line may become by joining; the kernel's own are shorter.
const LONGEST: usize = 4096;

/// A line as the kernel printed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The task or the CPU that printed it, `T123` or `C1`, where the prefix tells.
    pub(crate) caller: Option<String>,
    pub(crate) text: String,
}

/// How many lines back the one may be that a mail program broke, while others print.
const BACK: usize = 16;

/// The lines of `text` as the kernel printed them, as far as their forms tell.
pub fn lines(text: &str) -> Vec<String> {
    read(text).into_iter().map(|line| line.text).collect()
}

/// The same, with who printed each.
pub(crate) fn read(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut raw: Vec<&str> = text.lines().collect();
    if is_newest_first(&raw) {
        raw.reverse();
    }
    for raw in raw {
        let clean = without_colours(raw);
        let (caller, line) = without_prefixes(&clean);
        // What a mail program broke off has no prefix.
        let before = lines
            .iter_mut()
            .rev()
            .take(BACK)
            .find(|last| caller.is_none() || last.caller.as_deref() == caller);
        match before.filter(|last| last.text.len() + line.len() <= LONGEST && is_wrapped(&last.text, line)) {
            Some(last) => {
                last.text.push(' ');
                last.text.push_str(line.trim_start());
            }
            None => lines.push(Line { caller: caller.map(str::to_owned), text: line.to_owned() }),
        }
    }
    lines
}

/// Without ANSI's escape sequences and other control characters.
fn without_colours(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.peek() == Some(&'[') {
            rest.next();
            // Parameters, then one letter that ends it.
            while rest.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            rest.next();
        } else if c == '\t' {
            clean.push(' ');
        } else if !c.is_control() && !matches!(c, '␍' | '␊') {
            // Terminal programs write the ends of lines as signs.
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "BUG: unable to handle page fault for address: ffffc9000006d234";

    #[test]
    fn every_form_of_prefix_is_stripped() {
        for prefix in [
            "",
            "[    9.661747] ",
            "[  848.001] ",
            "[12345.678901][ T123] ",
            "[   12.345678][    C1] ",
            "[    T187] ",
            "[Wed May  5 16:34:25 2021] ",
            "[2021-05-05T16:34:25,123456+02:00] ",
            "[  +0.000005] ",
            "[   12.345678 <    0.000012>] ",
            "[   12.345678] host-1.example kernel: ",
            "[May 5 16:34] ",
            "<4>[    9.661747] ",
            "<1>",
            "Jun 27 13:35:45 host kernel: ",
            "jul  7 14:08:03 laptop kernel: [ 12.5] ",
            "févr. 12 14:08:03 laptop kernel: ",
            "May 17 18:48:11 kernel: [ 6141.921740] ",
            "Sep 13 14:34:10 box user.warn kernel: [43500.178937] ",
            "Apr 15 13:58:08.549417 box kernel: ",
            "2024-08-11T10:52:01.523174+02:00 host kernel: [42527.094907] ",
            "2024-08-11T10:52:01Z host kernel: ",
            "2025-04-23T04:38:59Z ",
            "2024-08-11 10:52:01,523 ",
            "kernel: ",
            "4,1234,5678901,-;",
            "6,1234,5678901,-,caller=T12;",
            "kern  :alert : [    9.661747] ",
            "host login: [    9.661747] ",
            "\u{1b}[1;31m[    9.661747] \u{1b}[0m",
            "> ",
            "> > [    9.661747] ",
            ">> ",
            ">[    9.661747] ",
            "| ",
            "17032.567735] ",
            "[    9.661747] [6:    kworker/u16:1:12345] ",
            "<4>[    9.661747]-(3)[345:kworker/3:1]",
            "<4>[169739.712633] c1 ",
            "[    0.693542] c0 1 (swapper/0) ",
            "[86735.022634,1] ",
            "[22:22:59:896] [    9.661747] ",
            "[2020-10-16 04:19:33] [    9.661747] ",
            "2048:[    9.661747] ",
            "2049-[    9.661747] ",
            "   2050  Jun 27 13:35:45 host kernel: ",
            "Oct 24 10:52:07 host1 guest@box1[15894]: [    0.413970] ",
        ] {
            assert_eq!(lines(&format!("{prefix}{BARE}")), [BARE], "{prefix:?}");
            // Carriage returns of a serial console.
            assert_eq!(lines(&format!("{prefix}{BARE}\r\n")), [BARE], "{prefix:?}");
            assert_eq!(lines(&format!("{prefix}{BARE}␍␊\n")), [BARE], "{prefix:?}");
        }
    }

    #[test]
    fn what_a_mail_program_broke_is_one_line_again() {
        for (broken, whole) in [
            (
                "> BUG: unable to handle page fault for address:\n> ffffc9000006d234",
                "BUG: unable to handle page fault for address: ffffc9000006d234",
            ),
            (
                "BUG: unable to handle kernel\npaging request at 0000000715a42801",
                "BUG: unable to handle kernel paging request at 0000000715a42801",
            ),
            ("RIP:\n0010:__kmalloc+0xc0/0x1e0", "RIP: 0010:__kmalloc+0xc0/0x1e0"),
            (
                "RIP:\n__kmalloc+0xc0/0x1e0 RSP: ffffa12904193a40",
                "RIP: __kmalloc+0xc0/0x1e0 RSP: ffffa12904193a40",
            ),
            ("CR2: 0000000715a42801 CR3:\n000000040cc13000", "CR2: 0000000715a42801 CR3: 000000040cc13000"),
            (
                "FS:  00007f9a41d0b8c0(0000)\nGS:ffff97c27ed40000(0000) knlGS:0000000000000000",
                "FS:  00007f9a41d0b8c0(0000) GS:ffff97c27ed40000(0000) knlGS:0000000000000000",
            ),
            ("RSP: 0018:ffffa12904193a40 EFLAGS:\n00010206", "RSP: 0018:ffffa12904193a40 EFLAGS: 00010206"),
            ("Stack:\n ffff8e6645cbaff0 00000020adcbf2e1", "Stack:| ffff8e6645cbaff0 00000020adcbf2e1"),
            ("---[ end trace 3d6908f5809a923c\n]---", "---[ end trace 3d6908f5809a923c ]---"),
            ("Code: 48 8b 07\n<48> 8b 31", "Code: 48 8b 07 <48> 8b 31"),
            (
                "CPU: 2 PID: 133 Comm: sh Tainted: G\nNot a line of it",
                "CPU: 2 PID: 133 Comm: sh Tainted: G|Not a line of it",
            ),
            (
                "CPU: 2 PID: 133 Comm: sh\nNot tainted 6.1.0 #1",
                "CPU: 2 PID: 133 Comm: sh Not tainted 6.1.0 #1",
            ),
            (
                "RIP: 0010:[<ffffffff81651430>]\n [<ffffffff81651430>] f+0x8f/0x125",
                "RIP: 0010:[<ffffffff81651430>] [<ffffffff81651430>] f+0x8f/0x125",
            ),
            (
                "RAX: 0000000000000000 RBX:\n0000000000000000 RCX: 0000000000000001",
                "RAX: 0000000000000000 RBX: 0000000000000000 RCX: 0000000000000001",
            ),
        ] {
            assert_eq!(lines(broken).join("|"), whole);
        }
    }

    #[test]
    fn who_printed_a_line_is_told_by_its_prefix() {
        for (line, caller) in [
            ("[   12.345678][ T123] a", Some("T123")),
            ("[   12.345678][    C1] a", Some("C1")),
            ("<4>[   12.345678] [   T1187] a", Some("T1187")),
            ("6,1234,5678901,-,caller=T12;a", Some("T12")),
            ("[   12.345678] a", None),
            ("[   12.345678] [TTM] a", None),
        ] {
            assert_eq!(read(line)[0].caller.as_deref(), caller, "{line}");
        }
    }

    #[test]
    fn what_is_no_prefix_stays() {
        for line in [
            "[<ffffffff816514e2>] xfrm_output2+0xe/0x10",
            "[0000000c] *pgd=0d3e2831, *pte=00000000",
            ">ffff8881d4332400: 00 fc fc fc",
            "<TASK>",
            "relay[7827]: segfault at 1000 ip 00007fbbeed70cba",
            "usercopy: Kernel memory exposure attempt detected from SLUB object 'kernel: x'",
            " vfs_write+0xc7/0x3f0",
            "1-...0: (1 GPs behind) idle=d3c/1/0x4000000000000000",
            "12: 00000001",
            "c0 84 c0 0f 84 ff fe",
            "Oct 24 10:52:07 host1 sshd[15894]: [preauth] closed",
        ] {
            assert_eq!(lines(line), [line]);
        }
    }
}
