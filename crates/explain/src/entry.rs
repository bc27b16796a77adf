//! A page-table entry as the kernel prints it: `PTE 80000000046ff867`, `*pde = 00000000`.

use crate::scan::hex;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its level: `PGD` to `PTE`, or `pde`.
    pub level: String,
    /// Its digits as printed.
    pub digits: String,
    /// Its value.
    pub value: u64,
}

impl Entry {
    /// The entries of a line that tells some.
    pub(crate) fn read(line: &str) -> Vec<Self> {
        let line = line.trim().replace(" = ", " ");
        // 4.9 and before printed each level apart, so that times may stand among them.
        let is_time = |word: &&str| {
            let number = word.trim_start_matches('[').trim_end_matches(']');
            word.ends_with(']') && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        let words: Vec<&str> =
            line.split_whitespace().filter(|word| *word != "[" && !is_time(word)).collect();
        let known = |word: &str| {
            let level = word.trim_start_matches('*');
            let of_64 = ["PGD", "P4D", "PUD", "PMD", "PTE"].contains(&level);
            (of_64 || word.starts_with('*') && ["pdpt", "pde", "pte"].contains(&level))
                .then(|| level.to_owned())
        };
        if words.first().is_none_or(|first| known(first).is_none()) {
            return Vec::new();
        }
        let mut entries = Vec::new();
        for pair in words.chunks(2) {
            // `BAD` stands for what could not be read. Behind anything else the line is damaged,
            // and the number before may be, too.
            let &[name, digits] = pair else {
                return if pair == ["BAD"] { entries } else { Vec::new() };
            };
            if name == "BAD" || digits == "BAD" {
                break;
            }
            let (Some(level), true, Some(value)) =
                (known(name), digits.bytes().all(|byte| byte.is_ascii_hexdigit()), hex(digits))
            else {
                return Vec::new();
            };
            entries.push(Self { level, digits: digits.to_owned(), value });
        }
        entries
    }

    /// Whether the walk of page tables may go on from it with `next`.
    pub(crate) fn leads_to(&self, next: &Self) -> bool {
        let rank = |level: &str| ["PGD", "P4D", "PUD", "PMD", "PTE"].iter().position(|known| *known == level);
        self.has(0) && !self.is_leaf() && rank(&self.level) < rank(&next.level)
    }

    fn has(&self, bit: u32) -> bool {
        self.value >> bit & 1 != 0
    }

    /// Whether it maps a page, and not a further table.
    fn is_leaf(&self) -> bool {
        let can_be_large = matches!(self.level.as_str(), "PUD" | "PMD" | "pde");
        matches!(self.level.as_str(), "PTE" | "pte") || can_be_large && self.has(7)
    }

    /// What its bits say: Intel SDM volume 3, tables 4-14 to 4-20. Bits above the physical address'
    /// width are reserved, which width the text does not tell, so they are not judged.
    pub fn meaning(&self) -> String {
        let has = |bit| self.has(bit);
        if !has(0) {
            return "not present".into();
        }
        let mut says = vec![
            "present",
            if has(1) { "writable" } else { "read-only" },
            if has(2) { "of user mode" } else { "of the kernel" },
        ];
        let leaf = matches!(self.level.as_str(), "PTE" | "pte");
        if has(7) && matches!(self.level.as_str(), "PUD" | "PMD" | "pde") {
            says.push("maps a large page");
        }
        if leaf && has(6) {
            says.push("dirty");
        }
        if has(63) {
            says.push("not executable");
        }
        says.join(", ")
    }
}

/// What the entries of a walk allow together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// The page is not present.
    Nothing,
    /// It is present.
    Page {
        /// Whether every level allows writes.
        writable: bool,
        /// Whether every level allows user mode.
        user: bool,
    },
}

/// What the entries allow; `None` if they end before the one that decides.
pub(crate) fn granted(entries: &[Entry]) -> Option<Granted> {
    let last = entries.last()?;
    if !last.has(0) {
        return Some(Granted::Nothing);
    }
    // 32-bit kernels with PAE have no such rights in the first level.
    let all = |bit: u32| entries.iter().all(|entry| entry.has(bit) || entry.level == "pdpt");
    last.is_leaf().then(|| Granted::Page { writable: all(1), user: all(2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_each_form_are_read() {
        let line = "PGD 6afe067 P4D 6afe067 PUD 68a5067 PMD 68a4067 PTE 80000000046ff867";
        let entries = Entry::read(line);
        assert_eq!(entries.len(), 5);
        assert_eq!(entries[4].meaning(), "present, writable, of user mode, dirty, not executable");
        assert_eq!(Entry::read("PGD 0 P4D 0 ")[1].meaning(), "not present");
        let entries =
            Entry::read("*pdpt = 0000000019a5b001 *pde = 0000000019a5d063 *pte = 8000000019c14161 ");
        assert_eq!(entries[2].level, "pte");
        assert_eq!(entries[2].meaning(), "present, read-only, of the kernel, dirty, not executable");
        assert_eq!(Entry::read("PMD of the machine"), []);
        assert_eq!(Entry::read("PGD 6afe067 P4D 6afe067 PUD 68a5067 PMD BAD").len(), 3);
        // Cut in the middle, as by a console that lost characters.
        assert_eq!(Entry::read("PGD 6afe067 P4D 6afe067 PTE 8000 [#1] PREEMPT SMP"), []);
        assert_eq!(Entry::read("PGD 6afe067 P4D"), []);
        assert_eq!(Entry::read("a PTE 123"), []);
        assert_eq!(Entry::read("PGD 19b3a067 [  134.653531] PUD 19b3e067").len(), 2);
    }

    #[test]
    fn the_rights_of_a_page_are_those_that_every_level_gives() {
        let of = |line: &str| granted(&Entry::read(line));
        let page = |writable, user| Some(Granted::Page { writable, user });
        assert_eq!(
            of("PGD 6afe067 P4D 6afe067 PUD 68a5067 PMD 68a4067 PTE 80000000046ff867"),
            page(true, true)
        );
        assert_eq!(of("PGD 6afe067 PUD 68a5065 PMD 68a4067 PTE 80000000046ff867"), page(false, true));
        assert_eq!(of("PGD 4401067 P4D 4401067 PUD 4402063 PMD 80000000056001e3"), page(true, false));
        assert_eq!(of("PGD 4401067 P4D 4401067 PUD 0"), Some(Granted::Nothing));
        assert_eq!(of("PGD 4401067 P4D 4401067 PUD 4402067"), None);
    }
}
