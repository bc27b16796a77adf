//! Values that the kernel writes on purpose, so that whoever uses them as pointers is caught:
//! include/linux/poison.h, magic.h, err.h.

/// How far from a poison value an access through it may be: a field of a structure.
const REACH: u64 = 0x1000;

/// What a whole word of one byte means.
const FILLED: [(u8, &str); 7] = [
    (0x6b, "slab memory that was freed (POISON_FREE): use after free"),
    (0x5a, "slab memory that was never written (POISON_INUSE): use before initialisation"),
    (0xa5, "the end of a slab object (POISON_END)"),
    (0xbb, "a slab red zone: read past the end of an object"),
    (0xcc, "the red zone of an object in use or freed init memory (0xcc): past the end, or after boot"),
    (0xaa, "a page that was freed (PAGE_POISON): use after free"),
    (0xa7, "memory of a DMA pool that was freed (POOL_POISON_FREED): use after free"),
];

/// What words near these mean.
const NEAR: [(u64, &str); 6] = [
    (
        0xdead_0000_0000_0100,
        "LIST_POISON1, the `next` of an entry that was taken off its list: used after list_del()",
    ),
    (
        0xdead_0000_0000_0122,
        "LIST_POISON2, the `prev` of an entry that was taken off its list: used after list_del()",
    ),
    (0xdead_0000_0000_0300, "TIMER_ENTRY_STATIC, the entry of a static timer that is not on a list"),
    (0xdead_0000_0000_0400, "TAIL_MAPPING, the `mapping` of a page that is the tail of a larger one"),
    (0xdead_0000_0000_0500, "MUTEX_POISON_WW_CTX, the context of a ww_mutex that was given back"),
    (
        0x0000_0000_57ac_6e9d,
        "STACK_END_MAGIC, the last word of a stack: the stack overflowed or was read past its end",
    ),
];

/// What a value says of itself that is used as a pointer, with a small offset or without: poison, a
/// stack's end, an error number. `None` for any other.
pub fn pattern(value: u64) -> Option<String> {
    if value >= 4096u64.wrapping_neg() {
        let number = value.wrapping_neg();
        let name = ERRORS.get(number as usize).copied().unwrap_or("");
        return Some(match name {
            "" => format!("-{number}: an error number or a negative index, used as a pointer"),
            name => format!(
                "-{number}, as ERR_PTR(-{name}): an error that was used as a pointer without IS_ERR()"
            ),
        });
    }
    let offset = |from: u64| match value.wrapping_sub(from) as i64 {
        0 => String::new(),
        off if off < 0 => format!(" - {:#x}", off.unsigned_abs()),
        off => format!(" + {off:#x}"),
    };
    // The nearest first: the two list poisons are 0x22 apart.
    let near = NEAR.iter().filter(|(at, _)| *at >> 32 != 0 && value.abs_diff(*at) < 0x100);
    if let Some((at, meaning)) = near.min_by_key(|(at, _)| value.abs_diff(*at)) {
        return Some(format!("{at:#x}{}: {meaning}", offset(*at)));
    }
    if let Some((at, meaning)) = NEAR.iter().find(|(at, _)| *at == value) {
        return Some(format!("{at:#x}: {meaning}"));
    }
    FILLED.iter().find_map(|&(byte, meaning)| {
        let word = u64::from_le_bytes([byte; 8]);
        (value.abs_diff(word) < REACH).then(|| format!("{word:#x}{}: {meaning}", offset(word)))
    })
}

/// Names of the error numbers that the kernel's functions give most
/// (include/uapi/asm-generic/errno-base.h, errno.h), by number.
const ERRORS: [&str; 40] = [
    "",
    "EPERM",
    "ENOENT",
    "ESRCH",
    "EINTR",
    "EIO",
    "ENXIO",
    "E2BIG",
    "ENOEXEC",
    "EBADF",
    "ECHILD",
    "EAGAIN",
    "ENOMEM",
    "EACCES",
    "EFAULT",
    "ENOTBLK",
    "EBUSY",
    "EEXIST",
    "EXDEV",
    "ENODEV",
    "ENOTDIR",
    "EISDIR",
    "EINVAL",
    "ENFILE",
    "EMFILE",
    "ENOTTY",
    "ETXTBSY",
    "EFBIG",
    "ENOSPC",
    "ESPIPE",
    "EROFS",
    "EMLINK",
    "EPIPE",
    "EDOM",
    "ERANGE",
    "EDEADLK",
    "ENAMETOOLONG",
    "ENOLCK",
    "ENOSYS",
    "ENOTEMPTY",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_is_known_with_the_offset_of_a_field() {
        for (value, start, word) in [
            (0x6b6b_6b6b_6b6b_6b6b, "0x6b6b6b6b6b6b6b6b:", "use after free"),
            (0x6b6b_6b6b_6b6b_6b83, "0x6b6b6b6b6b6b6b6b + 0x18:", "use after free"),
            (0xdead_0000_0000_0100, "0xdead000000000100:", "list_del"),
            (0xdead_0000_0000_0108, "0xdead000000000100 + 0x8:", "LIST_POISON1"),
            (0xdead_0000_0000_0122, "0xdead000000000122:", "LIST_POISON2"),
            (0x57ac_6e9d, "0x57ac6e9d:", "stack"),
            (0xffff_ffff_ffff_fff4, "-12,", "ENOMEM"),
            (0xffff_ffff_ffff_f123, "-3805:", "error number"),
        ] {
            let text = pattern(value).unwrap_or_default();
            assert!(text.starts_with(start) && text.contains(word), "{value:#x}: {text}");
        }
    }

    #[test]
    fn an_ordinary_pointer_is_no_pattern() {
        for value in [0, 0x18, 0x7fff_1234_5678, 0xffff_8880_0a0b_0c0d, 0xffff_ffff_8100_0000, 0x57ac_6e9e] {
            assert_eq!(pattern(value), None, "{value:#x}");
        }
    }
}
