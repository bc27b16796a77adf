//! The bits of an error code, by the manuals' names: Intel SDM volume 3, 4.7 and AMD APM volume 2,
//! 8.4.2.

use trapline_abi::ErrorCode;

/// One bit of an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    /// Its number.
    pub number: u32,
    /// What the manuals call it.
    pub name: &'static str,
    /// Whether it is set.
    pub set: bool,
    /// What that says.
    pub meaning: &'static str,
}

/// Name, meaning if set, meaning if clear.
const MEANINGS: [(u32, &str, &str, &str); 10] = [
    (ErrorCode::PRESENT, "P", "the page was present: a rule forbade the access", "no present translation"),
    (ErrorCode::WRITE, "W/R", "a write", "a read, or a fetch"),
    (ErrorCode::USER, "U/S", "in user mode", "in kernel mode (or by the CPU itself, as for a descriptor)"),
    (ErrorCode::RESERVED, "RSVD", "a paging-structure entry has a reserved bit set", "no reserved bit set"),
    (ErrorCode::FETCH, "I/D", "an instruction fetch", "data (or a fetch, where neither NX nor SMEP is on)"),
    (ErrorCode::PROTECTION_KEY, "PK", "a protection key forbade it", "no protection key in the way"),
    (ErrorCode::SHADOW_STACK, "SS", "a shadow-stack access", "no shadow-stack access"),
    (ErrorCode::HLAT, "HLAT", "during hypervisor-managed paging", "during ordinary paging"),
    (ErrorCode::SGX, "SGX", "an enclave's access rules forbade it", "nothing to do with enclaves"),
    (ErrorCode::RMP, "RMP", "SEV-SNP's reverse map forbade it", "no violation of the reverse map"),
];

/// Every bit that has a meaning, from the lowest on.
pub fn bits(code: ErrorCode) -> impl Iterator<Item = Bit> {
    MEANINGS.into_iter().map(move |(bit, name, if_set, if_clear)| {
        let set = code.has(bit);
        Bit { number: bit.trailing_zeros(), name, set, meaning: if set { if_set } else { if_clear } }
    })
}

/// What the access was: "write to", "read of", "fetch from".
pub fn access(code: ErrorCode) -> &'static str {
    if code.has(ErrorCode::FETCH) {
        "instruction fetch from"
    } else if code.has(ErrorCode::WRITE) {
        "write to"
    } else {
        "read of"
    }
}

/// What is surprising or impossible about an error code; empty for one that a CPU can push.
pub fn oddities(code: ErrorCode) -> Vec<String> {
    let has = |bit| code.has(bit);
    let mut odd = Vec::new();
    let mut say = |is: bool, text: &str| {
        if is {
            odd.push(text.to_owned());
        }
    };
    let present = has(ErrorCode::PRESENT);
    say(
        has(ErrorCode::FETCH) && has(ErrorCode::WRITE),
        "impossible: an instruction fetch never writes (I/D and W/R are both set)",
    );
    say(
        has(ErrorCode::RESERVED) && !present,
        "impossible: reserved bits are looked at in present entries only, so RSVD comes with P",
    );
    say(
        has(ErrorCode::PROTECTION_KEY) && !present,
        "impossible: a page that is not present has no protection key, so PK comes with P",
    );
    say(
        has(ErrorCode::PROTECTION_KEY) && has(ErrorCode::FETCH),
        "impossible: protection keys govern data, not instruction fetches",
    );
    say(
        has(ErrorCode::SHADOW_STACK) && has(ErrorCode::FETCH),
        "impossible: an instruction fetch is no shadow-stack access",
    );
    say(
        has(ErrorCode::HLAT) && present && !has(ErrorCode::RESERVED),
        "impossible: HLAT comes with P clear or RSVD set, never with a violation of access rights",
    );
    say(
        has(ErrorCode::SGX) && (!present || has(ErrorCode::RESERVED) || has(ErrorCode::PROTECTION_KEY)),
        "impossible: SGX is set only where paging allows the access: P set, RSVD and PK clear",
    );
    say(
        has(ErrorCode::SGX) && has(ErrorCode::RMP),
        "impossible: SGX is Intel's and RMP is AMD's; no CPU has both",
    );
    say(
        has(ErrorCode::RESERVED) && present,
        "surprising: a reserved bit in a paging-structure entry means that page tables are corrupt, or that a hypervisor provokes the fault on purpose",
    );
    let unknown = code.0 & !ErrorCode::KNOWN;
    if unknown != 0 {
        let numbers: Vec<String> =
            (0..32).filter(|bit| unknown >> bit & 1 != 0).map(|bit| bit.to_string()).collect();
        let (bits, are) = if numbers.len() == 1 { ("bit", "is") } else { ("bits", "are") };
        odd.push(format!(
            "surprising: {bits} {} {are} set, to which no manual gives a meaning: is this a page fault's error code?",
            numbers.join(", ")
        ));
    }
    odd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_named_and_numbered_as_in_the_manuals() {
        let set = |code| {
            bits(ErrorCode(code)).filter(|bit| bit.set).map(|b| (b.number, b.name)).collect::<Vec<_>>()
        };
        assert_eq!(set(0), []);
        assert_eq!(set(0x7), [(0, "P"), (1, "W/R"), (2, "U/S")]);
        let all = [
            (0, "P"),
            (1, "W/R"),
            (2, "U/S"),
            (3, "RSVD"),
            (4, "I/D"),
            (5, "PK"),
            (6, "SS"),
            (7, "HLAT"),
            (15, "SGX"),
            (31, "RMP"),
        ];
        assert_eq!(set(u32::MAX), all);
    }

    #[test]
    fn what_a_cpu_can_push_is_not_odd() {
        for code in
            [0, 2, 4, 6, 7, 5, 3, 1, 0x14, 0x15, 0x11, 0x25, 0x27, 0x84, 0x8007, 0x8000_0003, 0x47, 0x46]
        {
            assert_eq!(oddities(ErrorCode(code)), Vec::<String>::new(), "{code:#x}");
        }
    }

    #[test]
    fn what_no_cpu_can_push_is_told() {
        for (code, word) in [
            (0x12, "never writes"),
            (0x8, "RSVD comes with P"),
            (0x20, "PK comes with P"),
            (0x35, "protection keys govern data"),
            (0x51, "no shadow-stack access"),
            (0x85, "HLAT comes with"),
            (0x8004, "SGX is set only"),
            (0x8000_8007, "no CPU has both"),
            (0xd, "corrupt"),
            (0x100, "bit 8 is set"),
            (0x7ff00, "bits 8, 9, 10, 11, 12, 13, 14, 16, 17, 18 are set"),
        ] {
            let odd = oddities(ErrorCode(code));
            assert!(odd.iter().any(|text| text.contains(word)), "{code:#x}: {odd:?}");
        }
    }
}
