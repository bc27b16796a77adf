//! Names as `trapline list` shows them: what a module calls its probe, and the module itself.

use crate::glue;
use core::ffi::c_char;
use trapline_abi::{MODULE_LENGTH, NAME_LENGTH};

/// A text of our own.
pub(crate) fn text(bytes: &[u8]) -> [u8; NAME_LENGTH] {
    let mut name = [0; NAME_LENGTH];
    name.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    name
}

/// A module's text, as far as there is room for it; null is none.
///
/// # Safety
/// `text` is null or zero-terminated, and stays so meanwhile.
pub(crate) unsafe fn name_of(text: *const c_char) -> [u8; NAME_LENGTH] {
    let mut name = [0; NAME_LENGTH];
    if text.is_null() {
        return name;
    }
    for (at, byte) in name.iter_mut().enumerate() {
        // SAFETY: the text goes on up to here: no byte before this was its end.
        match unsafe { text.add(at).read() } {
            0 => break,
            next => *byte = next as u8,
        }
    }
    name
}

/// The name of the module that handlers are of, by the first that there is; nothing if there is
/// none.
pub(crate) fn module_of<const N: usize>(handlers: [Option<usize>; N]) -> [u8; MODULE_LENGTH] {
    let mut name = [0; MODULE_LENGTH];
    if let Some(handler) = handlers.into_iter().flatten().next() {
        // SAFETY: a place of that length.
        unsafe { glue::glue_module_of(handler as u64, &mut name) };
    }
    name
}
