//! Where the instructions of a function begin: for whoever named an address inside of one.
//!
//! The kernel's own text is read from `/proc/kcore`, as it is now: where somebody has a breakpoint
//! or a jump, that is what is seen. So it serves to explain a refusal, and never decides one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use trapline_insn::{MAX_LENGTH, decode};

/// Bytes of code that are read at most: more than any function has, so that a symbol with no end is
/// not taken for one of that size.
const MOST_CODE: usize = 1 << 20;

/// Program headers that are looked at: more than the kernel writes.
const MOST_HEADERS: u16 = 1024;

/// The last instruction that begins before `address` and the first after it, in the function that
/// begins at `start`; `None` if they can't be told.
pub(super) fn around(kcore: &Path, start: u64, address: u64) -> Option<(u64, u64)> {
    let length = usize::try_from(address.checked_sub(start)?).ok()?.checked_add(MAX_LENGTH)?;
    if length > MOST_CODE {
        return None;
    }
    let code = read(&File::open(kcore).ok()?, start, length)?;
    let mut at = start;
    loop {
        let rest = code.get((at - start) as usize..)?;
        let next = at.checked_add(decode(rest).ok()?.length().into())?;
        if next > address {
            return Some((at, next));
        }
        at = next;
    }
}

/// `length` bytes from `address` on, through the program headers of an ELF image (System V ABI,
/// chapter 5).
fn read(image: &File, address: u64, length: usize) -> Option<Vec<u8>> {
    /// `PT_LOAD`.
    const LOAD: u64 = 1;
    let number = |at: u64, width: usize| {
        let mut bytes = [0; 8];
        image.read_exact_at(&mut bytes[..width], at).ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count.min(MOST_HEADERS.into()) {
        let header = table.checked_add(index * size)?;
        let field = |at: u64, width| number(header.checked_add(at)?, width);
        let (kind, offset, first) = (field(0, 4)?, field(8, 8)?, field(16, 8)?);
        let bytes = field(32, 8)?;
        if let Some(inside) = address.checked_sub(first)
            && kind == LOAD
            && inside.checked_add(length as u64)? <= bytes
        {
            let mut code = vec![0; length];
            image.read_exact_at(&mut code, offset.checked_add(inside)?).ok()?;
            return Some(code);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_inside_an_instruction_is_told_with_those_around_it() {
        // push %rbp; mov %rsp,%rbp; movl $1,0x8(%rdi); ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0xc7, 0x47, 0x08, 1, 0, 0, 0, 0xc3];
        let start = 0xffff_ffff_8100_0000_u64;
        let mut image = vec![0; 64 + 56];
        image[32..40].copy_from_slice(&64_u64.to_le_bytes());
        image[54..56].copy_from_slice(&56_u16.to_le_bytes());
        image[56..58].copy_from_slice(&1_u16.to_le_bytes());
        image[64] = 1;
        image[72..80].copy_from_slice(&120_u64.to_le_bytes());
        image[80..88].copy_from_slice(&start.to_le_bytes());
        image[96..104].copy_from_slice(&64_u64.to_le_bytes());
        image.extend(code);
        image.resize(120 + 64, 0x90);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &image).unwrap();
        assert_eq!(around(file.path(), start, start + 2), Some((start + 1, start + 4)));
        assert_eq!(around(file.path(), start, start + 9), Some((start + 4, start + 11)));
        assert_eq!(around(file.path(), start - 1, start), None, "what is not in the image can't be told");
        assert_eq!(around(Path::new("/nonexistent"), start, start), None);
    }
}
