//! Lines that a mail program broke.

use crate::scan::is_hex;

/// Whether `line` is the rest of `last`, which a mail program broke.
pub(super) fn is_wrapped(last: &str, line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or("");
    let last = last.trim();
    let byte = |word: &str| is_hex(word.trim_start_matches(['<', '(']).trim_end_matches(['>', ')']), 2);
    if last.starts_with("Code: ") {
        return !first.is_empty() && line.split_whitespace().all(byte);
    }
    if is_headline_open(last, first) || last.ends_with("---[ end trace") || first == "]---" {
        return true;
    }
    let number = first.trim_start_matches("0x");
    let ends_open = ["address:", "request at", "dereference at", "virtual address", "non-canonical address"];
    if ends_open.iter().any(|end| last.ends_with(end)) {
        return number.len() >= 8 && number.trim_end_matches(':').bytes().all(|b| b.is_ascii_hexdigit())
            || first == "(null)";
    }
    if last.starts_with("CPU: ") {
        let open = !last.contains("Comm:") || !last.contains("ainted");
        return open && ["PID:", "Comm:", "Tainted:", "Not"].contains(&first);
    }
    // `RIP: 0010:[<…>]` and its function; `RAX: … RBX:` and the last one's value.
    let is_place = (last.starts_with("RIP:") || last.starts_with("IP:")) && !last.contains('+');
    let register = last.rsplit(' ').next().unwrap_or("");
    let is_register = register.len() <= 7
        && register.strip_suffix(':').is_some_and(|name| {
            name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        })
        && (is_hex(first, 16) || is_hex(first, 8));
    // `FS:  00007f9a41d0b8c0(0000)` and its `GS:`.
    let is_base = last.starts_with("FS: ") && first.starts_with("GS:") && !last.contains("GS:");
    let is_code = |word: &str| word.split_once(':').is_some_and(|(selector, _)| is_hex(selector, 4));
    is_place && (first.starts_with("[<") || is_code(first) || first.contains("+0x")) || is_register || is_base
}

/// Whether `last` is the beginning of a line that begins a report, and `first` its next word.
fn is_headline_open(last: &str, first: &str) -> bool {
    const HEADLINES: [&str; 6] = [
        "BUG: unable to handle kernel paging request at",
        "BUG: unable to handle kernel NULL pointer dereference at",
        "BUG: unable to handle page fault for address:",
        "BUG: kernel NULL pointer dereference, address:",
        "general protection fault, probably for non-canonical address",
        "Unable to handle kernel paging request at virtual address",
    ];
    HEADLINES.iter().any(|whole| {
        let rest = whole.strip_prefix(last).or_else(|| whole.strip_prefix(last.trim_start_matches("Oops: ")));
        rest.is_some_and(|rest| rest.starts_with(' ') && rest.trim_start().split(' ').next() == Some(first))
    })
}
