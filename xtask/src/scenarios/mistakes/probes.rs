//! Mistakes with code probes.

use super::cases::SOMEBODY;
use crate::scenarios::rows::{NOTHING, Row};

pub(super) const MADE: &[Row] = &[
    Row {
        name: "a function that does not exist, though one is called much like it",
        command: "trapline probe vfs_raed",
        status: 2,
        says: &["the kernel has no function `vfs_raed`", "did you mean one of: vfs_read", "inlined"],
        ..NOTHING
    },
    Row {
        name: "a system call by the name that programs know",
        command: "trapline probe openat",
        status: 2,
        says: &["no function `openat`", "__x64_sys_openat"],
        ..NOTHING
    },
    Row {
        name: "a name that several functions have",
        command: "trapline probe $(sed -n 's/^[0-9a-f]* t \\([a-z_]*\\)$/\\1/p' /proc/kallsyms | sort | uniq -d | head -n 1)",
        status: 2,
        says: &[
            "is the name of several functions:\n  0xffffffff",
            " in the kernel\n",
            "or one of the addresses",
        ],
        ..NOTHING
    },
    Row {
        name: "a function that the kernel allows no probe in",
        command: "trapline probe exc_page_fault",
        status: 2,
        says: &["the kernel allows no probe in `exc_page_fault`"],
        ..NOTHING
    },
    Row {
        name: "an address that is no code",
        command: "trapline probe 0xffff888000001000",
        status: 2,
        says: &["can't probe 0xffff888000001000", "the kernel allows no probe there"],
        ..NOTHING
    },
    Row {
        name: "data",
        command: "trapline probe jiffies",
        status: 2,
        says: &["`jiffies` is data at 0xffffffff"],
        ..NOTHING
    },
    Row {
        name: "an offset past the end of a function",
        command: "trapline probe vfs_read+0x100000",
        status: 2,
        says: &["bytes of code: +0x100000 is past its end"],
        ..NOTHING
    },
    Row {
        name: "an offset inside of an instruction",
        command: "trapline probe vfs_read+1",
        status: 2,
        says: &[
            "can't probe vfs_read+1 (0xffffffff",
            "inside of an instruction; instructions begin at vfs_read+0x0 and vfs_read+0x",
        ],
        ..NOTHING
    },
    Row {
        name: "a probe in Trapline itself",
        command: "trapline probe trapline_ioctl",
        status: 2,
        says: &["`trapline_ioctl` is in Trapline's own module"],
        ..NOTHING
    },
    Row {
        name: "a module that is not loaded",
        command: "trapline probe virtio_pcy:vp_notify",
        status: 2,
        says: &["no module `virtio_pcy` is loaded; did you mean virtio_pci?"],
        ..NOTHING
    },
    Row {
        name: "something to fetch that does not parse",
        command: "trapline probe vfs_read '+8(%si'",
        status: 2,
        says: &["this ( is not closed\n  +8(%si\n    ^"],
        ..NOTHING
    },
    Row {
        name: "a type that does not fit",
        command: "trapline probe vfs_read 'name=%si:string'",
        status: 2,
        says: &["write +0(%si):string\n  name=%si:string\n           ^^^^^^"],
        ..NOTHING
    },
    Row {
        name: "a parameter that the function does not have",
        command: "trapline probe vfs_read cuont",
        status: 2,
        says: &["the function has no parameter `cuont`; it has: x64 file, string buf, u64 count, x64 pos"],
        ..NOTHING
    },
    Row {
        name: "what a function returns, at its beginning; its parameters, at its return; the return of an instruction",
        command: "trapline probe vfs_read '$retval'; test $? = 2 || exit 99
            trapline probe vfs_read count --return; test $? = 2 || exit 98
            trapline probe vfs_read+5 --return",
        status: 2,
        says: &["add --return\n  $retval\n  ^^^^^^^", "add --pre", "--return needs the function itself"],
        ..NOTHING
    },
    Row {
        name: "hits in the format of mmiotrace",
        command: "trapline probe vfs_read --format mmiotrace",
        status: 2,
        says: &["knows accesses to device registers only"],
        ..NOTHING
    },
    Row {
        name: "a process and a CPU that there are not",
        command: "trapline probe vfs_read --cpu 99; test $? = 2 || exit 99
            trapline probe vfs_read --pid 4000000",
        status: 2,
        says: &["there is no CPU 99: this machine has 0-3", "there is no process 4000000"],
        ..NOTHING
    },
    Row {
        name: "no root, and a probe wanted",
        before: SOMEBODY,
        command: "su somebody -c 'trapline probe vfs_read count'",
        status: 3,
        says: &["can't find the kernel's functions as user 1000", "run: sudo trapline probe vfs_read count"],
        ..NOTHING
    },
    Row {
        name: "a probe whose ring is too small for what comes",
        command: "trapline probe ksys_read --buffer 4K --quiet --output /dev/null --format json -- dd if=/dev/zero of=/dev/null bs=1 count=50000",
        status: 1,
        says: &["records were dropped: the trace is not complete", "use a larger --buffer"],
        ..NOTHING
    },
    Row {
        name: "no memory for a probe, whichever piece of it",
        before: "modprobe trapline_target",
        command: "for granted in $(seq 0 100); do
                (exec 3>/sys/kernel/debug/trapline_target/refuse; echo $granted >&3
                    exec trapline probe trapline_target:trapline_target_hot value=%di:u64 --quiet --format json --output /dev/null -- true) >said 2>&1
                status=$?
                trapline list | grep -q 'nothing is probed' || exit 99
                test $status = 0 && exit
                cat said
                test $status = 1 && test $(wc -l <said) = 1 || exit 98
            done
            exit 97",
        status: 0,
        says: &[
            "trapline: can't start a trace with",
            "a smaller --buffer needs less memory",
            "trapline: can't probe trapline_target:trapline_target_hot",
            "there is not enough kernel memory for another probe",
        ],
        after: "rmmod trapline_target",
        ..NOTHING
    },
    Row {
        name: "what recovery hangs on",
        command: "trapline probe fixup_exception; test $? = 2 || exit 99
            trapline probe page_fault_oops",
        status: 2,
        says: &["can't probe fixup_exception", "can't probe page_fault_oops", "it runs while a probe is served"],
        ..NOTHING
    },
    Row {
        name: "a module that goes away while it is probed",
        before: "modprobe dummy",
        command: "trapline probe dummy:dummy_setup >/dev/null 2>told & tracer=$!
            until trapline list | grep -q dummy_setup; do sleep 0.1; done
            modprobe -r dummy
            trapline list
            until grep -q 'is gone' told; do sleep 0.1; done
            kill -INT $tracer; wait $tracer; status=$?
            cat told
            exit $status",
        status: 1,
        says: &[
            "its module is gone",
            "trapline: the module dummy, in which dummy:dummy_setup is probed, is gone: the trace is not complete",
            "nothing is recorded of it any more, also if it is loaded again",
            "\n0 hits",
            "THIS TRACE IS NOT COMPLETE: the module of 1 probe went away",
        ],
        ..NOTHING
    },
    Row {
        name: "a pattern that matches nothing; one of a module that is not loaded",
        command: "trapline probe 'vfs_raed*'; test $? = 2 || exit 99
            trapline probe 'virtio_pcy:vp_*'",
        status: 2,
        says: &[
            "`vfs_raed*` matches no function: did you mean one of: vfs_read",
            "no module `virtio_pcy` is loaded; did you mean virtio_pci?",
        ],
        ..NOTHING
    },
    Row {
        name: "a pattern of more functions than the limit",
        command: "trapline probe '*'; test $? = 2 || exit 99
            trapline probe 'vfs_*' --at-most 3",
        status: 2,
        says: &[
            "`*` would be ",
            "and 500 are probed at most: narrow the pattern, to a module as in MODULE:PATTERN\n",
            "`vfs_*` would be ",
            "and 3 are probed at most: narrow the pattern, to a module as in MODULE:PATTERN, or allow so many: --at-most ",
        ],
        ..NOTHING
    },
    Row {
        name: "patterns of nothing that can be probed",
        command: "trapline probe 'trapline:*'; test $? = 2 || exit 99
            trapline probe 'exc_page_*'",
        status: 2,
        says: &[
            "nothing that `trapline:*` matches can be probed:",
            "they are in Trapline's own module: trapline:",
            "nothing that `exc_page_*` matches can be probed:",
        ],
        ..NOTHING
    },
    Row {
        name: "what one of two functions does not have; a second one that is misspelt",
        command: "trapline probe vfs_read vfs_open count; test $? = 2 || exit 99
            trapline probe vfs_read vfs_wriet",
        status: 2,
        says: &[
            "in `vfs_open`: the function has no parameter `count`; it has: x64 path, x64 file",
            "leave this one out, or fetch what all have",
            "no parameter `vfs_wriet`",
            "nor is there a function of that name, to be probed too: did you mean one of: vfs_write",
        ],
        ..NOTHING
    },
    Row {
        name: "a tracepoint, an event and a program in one word",
        command: "trapline probe t:sched/sched_switch; test $? = 2 || exit 99
            trapline probe e:syscalls/sys_enter_openat; test $? = 2 || exit 98
            trapline probe u:/bin/sh:0x10",
        status: 2,
        says: &[
            "give the line `t:sched_switch sched_switch` to the kernel's dynamic_events\n  t:sched/sched_switch\n  ^",
            "the line `e:sys_enter_openat syscalls/sys_enter_openat`",
            "Trapline probes the kernel, not programs: give the line `p /bin/sh:0x10` to the kernel's uprobe_events",
        ],
        ..NOTHING
    },
    Row {
        name: "Ctrl-C while functions are being probed",
        command: "trapline probe 'acpi_*' 'pci_*' --at-most 4096 2>told & tracer=$!
            until trapline list | grep -q ' code '; do sleep 0.1; done
            kill -INT $tracer; wait $tracer; status=$?
            cat told
            exit $status",
        status: 1,
        says: &["ended by a signal when ", "functions were probed: nothing is recorded, and nothing stays probed"],
        ..NOTHING
    },
];
