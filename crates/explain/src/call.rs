//! One line of a call trace.

use std::borrow::Cow;

use crate::scan::{after, is_hex};

/// A function on the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function, with offset, size and module as printed: `wr+0x53/0xda0 [oops]`.
    pub text: String,
    /// Whether the unwinder is sure of it: no `?` before it.
    pub sure: bool,
}

impl Call {
    /// The call that `line` tells: ` ? [<ffffffff81234567>] f+0x1/0x2 [m]`, a decoded trace's
    /// `f (file.c:12)` or `f file.c:12 [inline]`, ARM's `[<c01>] (f) from [<c02>] (g+0x3/0x4)`.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut text = line.trim();
        if let Some((callee, caller)) = text.split_once(" from ") {
            // The second is the caller; the first was told by the line before, or is the place of
            // the fault.
            let caller = after(caller, "(").map_or(caller, |caller| caller.trim_end_matches(')'));
            return is_function(caller)
                .then(|| Self { text: caller.trim().to_owned(), sure: !callee.contains('?') });
        }
        let mut sure = true;
        loop {
            let before = text;
            if let Some((address, rest)) = text.strip_prefix("[<").and_then(|rest| rest.split_once(">]")) {
                text = if address.len() <= 16 { rest.trim_start() } else { text };
            }
            // PowerPC's frame pointer and address.
            if let Some((address, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                text = if is_hex(address, 16) { rest.trim_start() } else { text };
            }
            if let Some(rest) = text.strip_prefix("? ") {
                (text, sure) = (rest.trim_start(), false);
            }
            if text == before {
                break;
            }
        }
        let text = with_module_behind(text);
        is_function(&text).then(|| Self { text: text.into_owned(), sure })
    }

    /// Name, offset and size of the function, where they are printed.
    pub fn parts(&self) -> Option<(&str, u64, u64)> {
        parts(&self.text)
    }
}

/// `:box:box_free+0xa/0x90` of x86-64 before 2.6.24 as newer kernels print it:
/// `box_free+0xa/0x90 [box]`.
pub(crate) fn with_module_behind(text: &str) -> Cow<'_, str> {
    let parts = text.strip_prefix(':').and_then(|rest| rest.split_once(':'));
    match parts.filter(|(module, _)| !module.is_empty() && !module.contains(' ')) {
        Some((module, function)) => format!("{function} [{module}]").into(),
        None => text.into(),
    }
}

/// Name, offset and size of a function that is printed as `name+0x1/0x2`.
pub(crate) fn parts(text: &str) -> Option<(&str, u64, u64)> {
    let (name, rest) = text.split_once("+0x")?;
    let (offset, size) = rest.split_once("/0x")?;
    Some((name, crate::scan::hex(offset)?, crate::scan::hex(size)?))
}

/// Whether a text is a function with what may stand behind it, and no prose.
pub(crate) fn is_function(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let Some(first) = words.next() else { return false };
    let name = first.split_once("+0x").map_or(first, |(name, _)| name);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'));
    let offset = first.contains("+0x");
    // A module, a place in a file, a mark: `[zfs]`, `(fs/read_write.c:593 (discriminator 2))`.
    let mut behind = words.peekable();
    let alone = behind.peek().is_none();
    let count = text.split_whitespace().count();
    let behind_offset = |word: &str| {
        count == 2
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    };
    let known = behind.all(|word| {
        word.starts_with(['[', '('])
            || word.ends_with([']', ')'])
            || word.contains(".c:")
            || word.contains(".h:")
            || word.contains(".S:")
            || word.contains(".rs:")
            // The module, as scripts/decode_stacktrace.sh prints it.
            || offset && behind_offset(word)
    });
    is_name
        && known
        && (offset
            || !alone
            || name.contains('_')
            || name.len() > 3 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_call_is_read() {
        for (line, text, sure) in [
            (" wr+0x53/0xda0 [oops]", "wr+0x53/0xda0 [oops]", true),
            (" ? handle_mm_fault+0xdb/0x2d0", "handle_mm_fault+0xdb/0x2d0", false),
            (" [<ffffffff816514e2>] xfrm_output2+0xe/0x10", "xfrm_output2+0xe/0x10", true),
            (" [<c1573746>] ? _raw_spin_unlock_bh+0x16/0x20", "_raw_spin_unlock_bh+0x16/0x20", false),
            (" vfs_write (fs/read_write.c:593)", "vfs_write (fs/read_write.c:593)", true),
            (" __dump_stack lib/dump_stack.c:88 [inline]", "__dump_stack lib/dump_stack.c:88 [inline]", true),
            (
                " dump_stack_lvl+0x241/0x360 lib/dump_stack.c:116",
                "dump_stack_lvl+0x241/0x360 lib/dump_stack.c:116",
                true,
            ),
            (
                "[<c01f3218>] (seq_vprintf) from [<c01f32a0>] (seq_printf+0x3c/0x5c)",
                "seq_printf+0x3c/0x5c",
                true,
            ),
            (" schedule from schedule_timeout+0x88/0xf0", "schedule_timeout+0x88/0xf0", true),
            (
                "[c000003fdc18bd40] [c000000000150aec] wake_up_new_task+0x13c/0x310",
                "wake_up_new_task+0x13c/0x310",
                true,
            ),
            (" do_syscall_64", "do_syscall_64", true),
            (" box_fault+0x15e/0x1e0 box", "box_fault+0x15e/0x1e0 box", true),
            (" [<ffffffff88341e91>] :box:box_work+0x51/0x80", "box_work+0x51/0x80 [box]", true),
        ] {
            assert_eq!(Call::read(line), Some(Call { text: text.into(), sure }), "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_calls() {
        for line in [
            "",
            " <TASK>",
            "RIP: 0033:0x47b7a0",
            "RAX: ffffffffffffffda RBX: 0000000000000001",
            "Code: 48 8b",
            "this is prose of a mail",
            "ffff880868379180 ffff8808683791",
            "PKRU: 55555554",
        ] {
            assert_eq!(Call::read(line), None, "{line}");
        }
    }
}
