//! Whether a text has its newest line first, as `journalctl -r` prints it.

use crate::scan::{after, is_time};

/// Whether more lines stand before an older one than before a newer one: by the kernel's time, by
/// that of day, and by lines that the kernel prints one behind the other.
pub(super) fn is_newest_first(lines: &[&str]) -> bool {
    let (mut forward, mut backward) = (0_usize, 0_usize);
    let mut last = None;
    for line in lines {
        let now = Mark::read(line);
        match (&last, &now) {
            (Some(before), Some(now)) if now.is_behind(before) => forward += 1,
            (Some(before), Some(now)) if before.is_behind(now) => backward += 1,
            _ => {}
        }
        last = now;
    }
    // One step back is another boot, or another text behind.
    backward > forward + 1
}

/// What tells where a line belongs.
struct Mark<'a> {
    /// Microseconds and more since the boot, or the time of day.
    time: Option<&'a str>,
    /// Among the lines that follow one another with the same time.
    order: Option<usize>,
}

impl<'a> Mark<'a> {
    fn read(line: &'a str) -> Option<Self> {
        const ORDER: [&str; 3] = ["FS:  ", "CS:  0010 ", "CR2: "];
        let boot = after(line, "[").and_then(|rest| rest.split_once(']')).map(|(time, _)| time.trim());
        let is_boot = |time: &&str| {
            time.split_once('.').is_some_and(|(seconds, part)| {
                seconds.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) && part.len() == 6
            })
        };
        let of_day = || line.split([' ', 'T', '[']).take(6).find(|word| is_time(word));
        let time = boot.filter(is_boot).or_else(of_day);
        let order = ORDER.iter().position(|mark| line.contains(mark));
        (time.is_some() || order.is_some()).then_some(Self { time, order })
    }

    fn is_behind(&self, before: &Self) -> bool {
        match (self.time, before.time) {
            // Numbers of more digits are larger.
            (Some(now), Some(then)) if now != then => (now.len(), now) > (then.len(), then),
            _ => matches!((self.order, before.order), (Some(now), Some(then)) if now == then + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_told_by_times_and_by_what_follows_what() {
        for (text, newest_first) in [
            ("[    9.000001] a\n[   10.000001] b", false),
            ("[   10.000001] c\n[    9.000002] b\n[    9.000001] a", true),
            ("[  300.000001] a\n[  100.000001] b", false),
            // Another boot.
            (
                "[    9.000001] a\n[   10.000001] b\n[   11.000001] b\n[    0.000000] c\n[    1.000000] d",
                false,
            ),
            (
                "Jun 27 13:35:45 host kernel: c\nJun 27 13:35:44 host kernel: b\nJun 27 13:35:43 host kernel: a",
                true,
            ),
            ("FS:  00007f61(0000)\nCS:  0010 DS: 0000\nCR2: 0 CR3: 0", false),
            ("a kernel: CR2: 0 CR3: 0\na kernel: CS:  0010 DS: 0000\na kernel: FS:  00007f61(0000)", true),
            ("Oops: 0000 [#1]\nRIP: 0010:f+0x1/0x2", false),
        ] {
            assert_eq!(is_newest_first(&text.lines().collect::<Vec<_>>()), newest_first, "{text}");
        }
    }
}
