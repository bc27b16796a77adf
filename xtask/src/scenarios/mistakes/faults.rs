//! The mistakes that a person makes with page faults.

use super::cases::SOMEBODY;
use crate::scenarios::rows::{NOTHING, Row};

pub(super) const MADE: &[Row] = &[
    Row {
        name: "no root, and page faults wanted",
        before: SOMEBODY,
        command: "su somebody -c 'trapline faults --count'",
        status: 3,
        says: &["can't load the trapline module as user 1000", "run: sudo trapline faults --count"],
        ..NOTHING
    },
    Row {
        name: "a cause that there is not",
        command: "trapline faults --why copy-on-write",
        status: 2,
        says: &["`copy-on-write` is no cause of a page fault", "not-present, not-writable"],
        ..NOTHING
    },
    Row {
        name: "a range that ends before it begins, and one that wraps",
        command: "trapline faults --address 0x2000-0x1000; test $? = 2 || exit 99
            trapline faults --address 0xfffffffffffff000+8K",
        status: 2,
        says: &["ends before it begins", "is empty or wraps around"],
        ..NOTHING
    },
    Row {
        name: "a process that there is not",
        command: "trapline faults --pid 4000000",
        status: 2,
        says: &["there is no process 4000000"],
        ..NOTHING
    },
    Row {
        name: "a process that ends meanwhile",
        command: "sh -c 'until trapline status | grep -q \"^page-fault watch .*(trapline)\"; do sleep 0.1; done' &
            trapline faults --pid $! --format human; echo ended with $?",
        says: &["has ended\n", "0 dropped\nended with 0"],
        ..NOTHING
    },
    Row {
        name: "two watches at once, and two gates",
        before: "trapline faults --gate idt --count --duration 20s > /dev/null & first=$!
            for try in $(seq 100); do if trapline status | grep -q '^page-fault watch .*(trapline)'; then break; fi; sleep 0.1; done",
        command: "trapline faults --gate idt --count; test $? = 3 || exit 99
            trapline faults --count",
        status: 3,
        says: &["page faults are watched already, by process", "(trapline)", "end that one, or wait"],
        after: "kill -INT $first; wait $first",
        ..NOTHING
    },
    Row {
        name: "an error code that is none, and one that cannot be",
        command: "trapline explain 1f; test $? = 2 || exit 99
            trapline explain 0x2000000",
        says: &["`1f` is no error code", "0x2000000"],
        ..NOTHING
    },
    Row {
        name: "an oops that is cut off in the middle",
        command: "printf '[  1.0] BUG: kernel NULL pointer dereference, address: 0000000000000018\\n[  1.0] #PF: supervisor read acc' | trapline explain",
        status: 4,
        says: &["18"],
        ..NOTHING
    },
    Row {
        name: "a picture of a trace without page faults",
        before: "trapline probe vfs_read --quiet --output hits -- cat /etc/passwd",
        command: "trapline report hits --svg picture.svg",
        status: 2,
        says: &["hits has no page faults to draw"],
        ..NOTHING
    },
];

/// Where page-table isolation is on.
pub(super) const ISOLATED: &[Row] = &[Row {
    name: "a gate where it cannot work",
    command: "trapline faults --gate idt --count",
    status: 3,
    says: &["page-table isolation is on", "use --gate hook"],
    ..NOTHING
}];
