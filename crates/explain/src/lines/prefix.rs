//! What logs, consoles, mails and `grep` put before a line, by its form.

use super::vendor;
use crate::scan::is_time;

/// How many prefixes may stand one before the other.
const PREFIXES: usize = 16;

/// Who printed the line, and the line without its prefixes.
pub(super) fn without_prefixes(line: &str) -> (Option<&str>, &str) {
    let (mut line, mut caller) = (line, None);
    for at in 0..PREFIXES {
        caller = caller.or_else(|| caller_of(line));
        let behind = Some(line).filter(|_| at > 0);
        if let Some(rest) = one_prefix(line).or_else(|| numbered(line)) {
            line = rest;
        } else if let Some((who, rest)) = behind.and_then(vendor::read) {
            caller = caller.or(Some(who));
            line = rest;
        } else {
            break;
        }
    }
    (caller, line.trim_end())
}

/// `T123` of `[ T123] ` and of `4,1234,5678901,-,caller=T123;`.
fn caller_of(line: &str) -> Option<&str> {
    let in_brackets = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let inside = match in_brackets {
        Some((inside, _)) => inside.trim(),
        None => line.split_once(';')?.0.rsplit_once(",caller=")?.1,
    };
    let id = inside.strip_prefix(['T', 'C'])?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(inside)
}

/// `line` without one prefix, if it has one.
fn one_prefix(line: &str) -> Option<&str> {
    const FORMS: [fn(&str) -> Option<&str>; 11] =
        [quote, priority, facility, monotonic, bracket, netconsole, log, guest, iso, login, cut];
    FORMS.iter().find_map(|form| form(line))
}

/// `2048:`, `2049-` and `  2050 ` of `grep -n` and `cat -n`, before another prefix: alone, a number
/// is the kernel's.
fn numbered(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let end = line.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
    let rest = line.get(end..)?.strip_prefix([':', '-', ' '])?.trim_start();
    one_prefix(rest).map(|_| rest)
}

/// `Oct 24 10:52:07 host guest@box[159]: ` before the kernel's own time: a guest's console that a
/// service logs.
fn guest(line: &str) -> Option<&str> {
    let at = line.find("]: [")?;
    let before = line.get(..at)?;
    let known = before.split_whitespace().count() <= 6 && before.split([' ', 'T']).any(is_time);
    let rest = line.get(at + 3..)?;
    (known && bracket(rest).is_some()).then_some(rest)
}

/// `> `, `>> ` and `| ` of a mail or an editor. KASAN marks a row of its memory with `>` and an
/// address.
fn quote(line: &str) -> Option<&str> {
    line.strip_prefix("> ")
        .or_else(|| line.strip_prefix(">> "))
        .or_else(|| line.strip_prefix(">>"))
        .or_else(|| line.strip_prefix(">["))
        .map(|rest| if line.starts_with(">[") { &line[1..] } else { rest })
        .or_else(|| line.strip_prefix("| "))
        .or_else(|| (line == ">").then_some(""))
}

/// `<4>` of syslog's protocol; the byte that `Code:` marks has a blank behind it.
fn priority(line: &str) -> Option<&str> {
    let (digits, rest) = line.strip_prefix('<')?.split_once('>')?;
    let number = digits.len() <= 3 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (number && !rest.starts_with(' ')).then_some(rest)
}

/// `kern  :err   : ` of `dmesg --decode`.
fn facility(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once(':')?;
    let (level, rest) = rest.split_once(':')?;
    let level = level.trim();
    let levels = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
    (matches!(name.trim(), "kern" | "user" | "daemon") && levels.contains(&level))
        .then_some(rest.trim_start())
}

/// `[   12.345678] host kernel: ` of `journalctl -o short-monotonic`.
fn monotonic(line: &str) -> Option<&str> {
    let (host, rest) = bracket(line)?.split_once(" kernel: ")?;
    (!host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)))
        .then_some(rest)
}

/// `[   12.345678]`, `[   12.345678 <    0.000012>]`, `[ T123]`, `[ C1]`,
/// `[Wed May  5 16:34:25 2021]`, `[  +0.000005]`, `[May 5 16:34]`: what dmesg and the kernel put in
/// brackets.
fn bracket(line: &str) -> Option<&str> {
    let (inside, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // The time since the line before, of `dmesg --show-delta`.
    let absolute = inside.strip_suffix('>').and_then(|inside| inside.split_once(" <"));
    let seconds = absolute.map_or(inside, |(seconds, _)| seconds).trim_start_matches(['+', '-']);
    // `86735.022634,1` of some phones, the CPU behind the comma.
    let seconds =
        seconds.split_once(',').filter(|(_, cpu)| digits(cpu)).map_or(seconds, |(seconds, _)| seconds);
    let is_seconds = seconds
        .split_once('.')
        .is_some_and(|(whole, part)| digits(whole) && (part.is_empty() || digits(part)));
    let is_caller = inside.strip_prefix(['T', 'C']).is_some_and(digits);
    let is_date = inside.len() <= 40
        && inside.contains([' ', 'T'])
        && inside.split([' ', 'T']).any(|word| is_time(word) || is_minute(word));
    // `[22:22:59:896]` of a terminal program.
    let is_clock = inside.len() <= 15 && is_time(inside);
    (is_seconds || is_caller || is_date || is_clock).then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// `16:34`, as `dmesg --human` has it.
fn is_minute(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 5 && bytes[2] == b':' && [0, 1, 3, 4].iter().all(|&at| bytes[at].is_ascii_digit())
}

/// `4,1234,5678901,-;` of /dev/kmsg and of netconsole's extended form.
fn netconsole(line: &str) -> Option<&str> {
    let (head, rest) = line.split_once(';')?;
    let mut fields = head.split(',');
    let number = |field: Option<&str>| {
        field.is_some_and(|field| !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit()))
    };
    (number(fields.next()) && number(fields.next()) && number(fields.next()) && fields.next().is_some())
        .then_some(rest)
}

/// `Jun 27 13:35:45 host kernel: ` of syslog and journald, also `kernel: ` alone, with the facility
/// (`user.warn kernel:`), or with an ISO date.
fn log(line: &str) -> Option<&str> {
    let at = line.find("kernel:")?;
    let before = line.get(..at)?;
    let known = before.trim().is_empty()
        || before.split_whitespace().count() <= 6
            && before.ends_with(' ')
            && before.split([' ', 'T']).any(is_time);
    known.then(|| &line[at + "kernel:".len()..]).map(|rest| rest.strip_prefix(' ').unwrap_or(rest))
}

/// `2024-08-11T10:52:01.523174+02:00 ` and `2024-08-11 10:52:01,523 `, without a host.
fn iso(line: &str) -> Option<&str> {
    let bytes = line.as_bytes();
    let date = bytes.len() > 19
        && bytes[..10].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    (date && matches!(bytes[10], b'T' | b' ') && is_time(line.get(11..)?))
        .then(|| line.get(11..)?.split_once(' ').map(|(_, rest)| rest))?
}

/// `host login: ` of a serial console.
fn login(line: &str) -> Option<&str> {
    let (host, rest) = line.split_once(" login: ")?;
    (!host.contains(' ')).then_some(rest)
}

/// `17032.567735] `, of which the beginning was not copied.
fn cut(line: &str) -> Option<&str> {
    let (time, rest) = line.split_once("] ")?;
    let (seconds, part) = time.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(seconds) && digits(part)).then_some(rest)
}
