//! What makers of phones have their kernels put behind the time: CPU and task, which is the caller.

/// Who printed the line, and what stands behind that. Read behind another prefix only: alone, the
/// forms are too common.
pub(super) fn read(line: &str) -> Option<(&str, &str)> {
    in_brackets(line).or_else(|| in_parentheses(line)).or_else(|| bare(line))
}

/// `[6:    kworker/u16:1:12345] `: CPU, name, id.
fn in_brackets(line: &str) -> Option<(&str, &str)> {
    let (inside, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let (cpu, task) = inside.split_once(':')?;
    let (name, id) = task.rsplit_once(':')?;
    let id = id.trim();
    (is_number(cpu) && is_number(id) && !name.trim().is_empty()).then(|| (id, rest.trim_start_matches(' ')))
}

/// `(3)[345:kworker/3:1]` and `-(3)[345:kworker/3:1]`, with interrupts off.
fn in_parentheses(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (cpu, rest) = line.strip_prefix('-').unwrap_or(line).strip_prefix('(')?.split_once(")[")?;
    let (task, rest) = rest.split_once(']')?;
    let (id, _) = task.split_once(':')?;
    (is_number(cpu) && is_number(id)).then_some((id, rest))
}

/// `c0 ` and `c0 1 (swapper/0) `; bytes of `Code:` look like the first, but another follows.
fn bare(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (cpu, rest) = line.split_once(' ')?;
    let next = rest.split(' ').next()?;
    let is_byte = next.len() == 2 && next.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_byte || !cpu.strip_prefix('c').is_some_and(is_number) {
        return None;
    }
    let task = rest.split_once(" (").filter(|(id, _)| is_number(id));
    Some(task.and_then(|(id, rest)| Some((id, rest.split_once(") ")?.1))).unwrap_or((cpu, rest)))
}

fn is_number(text: &str) -> bool {
    (1..8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_told_by_each_form() {
        for (line, found) in [
            ("[6:    kworker/u16:1:12345] text", Some(("12345", "text"))),
            ("(3)[345:kworker/3:1]text", Some(("345", "text"))),
            ("-(3)[345:kworker/3:1]text", Some(("345", "text"))),
            ("c0 text of it", Some(("c0", "text of it"))),
            ("c0 1 (swapper/0) text", Some(("1", "text"))),
            ("c0 84 c0 0f 84 ff fe", None),
            ("[<c0063ea8>] (f+0x0/0x118) from [<c06a2b04>] (g+0x20/0x24)", None),
            ("[0000000c] *pgd=0d3e2831, *pte=00000000", None),
            ("[box:1] text", None),
        ] {
            assert_eq!(read(line), found, "{line}");
        }
    }
}
