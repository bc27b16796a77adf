//! The mistakes, in the order in which they are made: the module is loaded from the first trace on,
//! until it is taken away.

use crate::scenarios::rows::{NOTHING, Row};
use crate::setup::Series;

/// Becomes somebody who is not root.
pub(super) const SOMEBODY: &str = "echo somebody:x:1000:1000::/tmp:/bin/sh >> /etc/passwd";

pub(super) const MADE: &[Row] = &[
    Row {
        name: "no root, and the module is not loaded",
        before: SOMEBODY,
        command: "su somebody -c 'trapline mmio --device 00:01.0'",
        status: 3,
        says: &["can't load the trapline module as user 1000", "run: sudo trapline mmio --device 00:01.0"],
        ..NOTHING
    },
    Row {
        name: "ftrace is off",
        before: "echo 0 > /proc/sys/kernel/ftrace_enabled",
        command: "trapline mmio --device 00:01.0",
        status: 3,
        says: &["kernel.ftrace_enabled is 0", "sysctl kernel.ftrace_enabled=1"],
        after: "echo 1 > /proc/sys/kernel/ftrace_enabled",
        // Later kernels refuse to switch it off (seen on 7.3; which was the first is not known).
        until: Some(Series::V6_12OfTrixie),
    },
    Row {
        name: "ftrace is turned off while the module hooks by it: the kernel refuses",
        before: "modprobe trapline",
        command: "echo 0 > /proc/sys/kernel/ftrace_enabled",
        status: 1,
        says: &["busy"],
        // On again, should the kernel not have refused: the module can't go otherwise.
        after: "echo 1 > /proc/sys/kernel/ftrace_enabled\nrmmod trapline",
        // Later kernels don't let it be switched off at all.
        until: Some(Series::V6_12OfTrixie),
    },
    Row {
        name: "a file that is no module",
        command: "TRAPLINE_MODULE=/etc/passwd trapline mmio --device 00:01.0",
        status: 3,
        says: &["/etc/passwd", "another kernel"],
        ..NOTHING
    },
    Row {
        name: "a device that is not mapped, and has no driver",
        command: "trapline mmio --device 00:01.0 --duration 100ms",
        says: &["0000:00:01.0 BAR 0", "not mapped yet; waiting for a driver to map it", "0 dropped, 0 possibly missed"],
        ..NOTHING
    },
    Row {
        name: "no root, and the module is loaded",
        command: "su somebody -c 'trapline mmio --device 00:01.0'",
        status: 3,
        says: &["can't open /dev/trapline as user 1000", "run: sudo trapline mmio --device 00:01.0"],
        ..NOTHING
    },
    Row {
        name: "a device that nothing is called, and one that is no PCI device",
        command: "trapline mmio --device eth7; test $? = 2 || exit 99; trapline mmio --device lo",
        status: 2,
        says: &["there is no device `eth7`", "`trapline devices`", "`lo` is behind no PCI device", "/virtual/net/lo"],
        ..NOTHING
    },
    Row {
        name: "a device that does not exist",
        command: "trapline mmio --device 00:09.0",
        status: 2,
        says: &["there is no PCI device 0000:00:09.0", "0000:00:01.0 (no driver)", "0000:00:1e.0 (virtio-pci)"],
        ..NOTHING
    },
    Row {
        name: "a device without a memory BAR",
        command: "trapline mmio --device 00:1f.0",
        status: 2,
        says: &["0000:00:1f.0 (no driver) has no memory BAR"],
        ..NOTHING
    },
    Row {
        name: "a driver that does not exist",
        command: "trapline mmio --driver virtio-pcy",
        status: 2,
        says: &["there is no PCI driver `virtio-pcy`", "did you mean one of: virtio-pci"],
        ..NOTHING
    },
    Row {
        name: "a driver without a device",
        command: "trapline mmio --driver shpchp",
        status: 2,
        says: &["driver shpchp is bound to no PCI device", "0000:00:01.0 (no driver)"],
        ..NOTHING
    },
    Row {
        name: "a range of length 0",
        command: "trapline mmio --range 0xfea00000+0",
        status: 2,
        says: &["the range 0xfea00000+0 has length 0"],
        ..NOTHING
    },
    Row {
        name: "a range that wraps",
        command: "trapline mmio --range 0xfffffffffffff000+8K",
        status: 2,
        says: &["0xfffffffffffff000+8K wraps around the end of the address space"],
        ..NOTHING
    },
    Row {
        name: "text and data of the kernel and every other memory: stacks, page tables, those of Trapline lie in it",
        before: "sed -n 's/^ *0*\\([0-9a-f]*\\)-.* : \\(System RAM\\|Kernel .*\\)$/0x\\1/p' /proc/iomem > ram",
        command: "cat ram >&2
            test $(wc -l < ram) -ge 5 || exit 99
            for start in $(cat ram); do
                said=$(trapline mmio --range $start+16 --duration 100ms 2>&1)
                test $? = 2 || exit 98
                echo $said
                case $said in *\"there is system memory at $start\"*) ;; *) exit 97;; esac
            done",
        says: &["only device memory can be watched", "/proc/iomem"],
        ..NOTHING
    },
    Row {
        name: "a range that ends in memory",
        command: "trapline mmio --range 0+8K --duration 100ms",
        status: 2,
        says: &["can't watch 0x0+0x2000: there is system memory"],
        ..NOTHING
    },
    Row {
        name: "a range that is too long",
        command: "trapline mmio --range 0xc0000000+1025M --duration 100ms",
        status: 2,
        says: &["longer than 1 GiB", "--range PHYS+LEN"],
        ..NOTHING
    },
    Row {
        name: "a BAR mapped by a page of 1 GiB",
        before: "modprobe trapline_map device=0000:00:04.0 bar=2",
        command: "trapline mmio --device 00:04.0 --duration 100ms",
        status: 1,
        says: &["can't watch 0000:00:04.0 BAR 2", "page larger than 2 MiB", "nohugeiomap"],
        after: "modprobe -r trapline_map",
        ..NOTHING
    },
    Row {
        name: "a BAR that comes to be mapped by a page of 1 GiB during the trace",
        command: "trapline mmio --device 00:04.0 -- modprobe trapline_map device=0000:00:04.0 bar=2",
        status: 1,
        says: &["NOT WATCHED", "1 new mapping of what is traced could not be watched", "not complete", "nohugeiomap"],
        after: "modprobe -r trapline_map",
        ..NOTHING
    },
    Row {
        name: "a marker that says that something was not watched, which it was",
        command: "trapline mmio --device 00:01.0 -- sh -ec \
            \"modprobe trapline_pace count=5; trapline mark 'trapline: NOT WATCHED, accesses are missing: new mapping of 0x00000000fea00000'\"",
        says: &["mark: trapline: NOT WATCHED", "\n5 accesses (5 reads, 0 writes)", "\n0 dropped, 0 possibly missed"],
        after: "modprobe -r trapline_pace",
        ..NOTHING
    },
    Row {
        name: "a range that is probed already: twice on the command line, and beside the probes of a module",
        command: "trapline mmio --device 00:01.0 --range 0xfea00004+4 --range 0xfea00000+8 \
            -- sh -ec 'modprobe trapline_example_probe; modprobe trapline_pace count=5'",
        says: &["\n5 accesses (5 reads, 0 writes)", "0 dropped, 0 possibly missed"],
        after: "modprobe -r trapline_pace; modprobe -r trapline_example_probe",
        ..NOTHING
    },
    Row {
        name: "a malformed register file",
        before: "echo 'name = 3' > bad.toml",
        command: "trapline mmio --device 00:01.0 --registers bad.toml",
        status: 4,
        says: &["register file bad.toml is malformed", "line 1, column 8", "expected a string"],
        ..NOTHING
    },
    Row {
        name: "a register file that is not there",
        command: "trapline mmio --device 00:01.0 --registers nothing.toml",
        status: 4,
        says: &["can't read nothing.toml: No such file"],
        ..NOTHING
    },
    Row {
        name: "an output folder that is not there",
        command: "trapline mmio --device 00:01.0 --output nowhere/trace",
        status: 4,
        says: &["can't create nowhere/trace: No such file"],
        ..NOTHING
    },
    Row {
        name: "a trace that is cut off",
        before: "trapline mmio --device 00:01.0 --quiet --output whole -- sh -ec \
            'modprobe trapline_pace count=100; sleep 3; modprobe -r trapline_pace; modprobe trapline_pace count=100'
            modprobe -r trapline_pace
            head -c $(($(stat -c %s whole) - 5000)) whole > cut",
        command: "trapline report cut",
        status: 4,
        says: &["accesses (", "cut: the trace is cut off after", "all before that was read"],
        ..NOTHING
    },
    Row {
        name: "a file that is no trace",
        command: "trapline report /etc/passwd",
        status: 4,
        says: &["/etc/passwd is no trace", "made with `trapline mmio --output`"],
        ..NOTHING
    },
    Row {
        name: "a marker without a trace",
        command: "trapline mark here",
        status: 3,
        says: &["no trace is running", "trapline mmio"],
        ..NOTHING
    },
    Row {
        name: "a command that is not there; the output file that is to be replaced is kept",
        before: "echo precious > old",
        command: "trapline mmio --device 00:01.0 --output old -- no-such-command; status=$?; cat old; exit $status",
        status: 127,
        says: &["can't run no-such-command: No such file", "precious"],
        after: "rm old",
        ..NOTHING
    },
    Row {
        name: "probes of a module on what the kernel, its stacks and Trapline itself need, and on nothing",
        before: "echo 1 > /proc/sys/kernel/kptr_restrict
            trapline mmio --device 00:01.0 --quiet --output /dev/null & first=$!
            until trapline status | grep -q '^access watch .*(trapline)'; do sleep 0.1; done
            own() { sed -n \"s/^\\(0x[0-9a-f]*\\)-.*\\[trapline\\].* $1.*/\\1/p\" /proc/vmallocinfo | head -n 1; }
            echo \"rings=$(own user) slots=$(own vmap)\" > own",
        command: ". ./own
            refused() {
                dmesg -c > /dev/null
                said=$(modprobe trapline_misplaced $1 2>&1) && exit 98
                echo \"$1: $said\"
                case $said in *\"$2\"*) ;; *) exit 97;; esac
                [ -z \"$3\" ] || dmesg | grep -F \"$3\" || { dmesg; exit 96; }
            }
            refused where=nothing 'Invalid argument'
            refused where=around 'Invalid argument'
            refused where=unmapped 'Bad address' 'nothing is mapped there'
            refused where=twice 'Invalid argument'
            for where in text module direct-map page-table gdt idt entry-area; do
                refused where=$where 'Bad address' 'neither from ioremap() nor from vmalloc()'
            done
            refused where=task-stack 'Operation not permitted' \"a task's stack\"
            refused where=idle-stack 'Operation not permitted' \"a task's stack\"
            refused where=interrupt-stack 'Operation not permitted' 'since boot'
            refused where=gdt-again 'Operation not permitted' 'since boot'
            refused where=percpu 'Operation not permitted' 'per-CPU memory'
            refused address=$rings 'Operation not permitted' \"Trapline's own\"
            refused address=$slots 'Operation not permitted' \"Trapline's own\"
            refused symbol=no_such_function 'unknown symbol'
            refused symbol=fixup_exception 'Operation not permitted'
            refused symbol=page_fault_oops 'Operation not permitted'
            refused symbol=trapline:trapline_hit 'Operation not permitted'
            refused symbol=exc_int3 'Invalid argument'",
        says: &["where=interrupt-stack: ", "address=0xffff"],
        after: "kill $first; wait $first; echo 0 > /proc/sys/kernel/kptr_restrict",
        ..NOTHING
    },
    Row {
        name: "two Traplines at once",
        before: "trapline mmio --device 00:01.0 --quiet --output /dev/null & first=$!
            until trapline status | grep -q '^access watch .*(trapline)'; do sleep 0.1; done",
        command: "trapline mmio --device 00:02.0 --duration 100ms",
        status: 3,
        says: &["accesses are traced already, by process", "(trapline)", "end that one, or wait"],
        after: "kill $first; wait $first",
        ..NOTHING
    },
    Row {
        name: "mmiotrace is running",
        before: "echo mmiotrace > /sys/kernel/tracing/current_tracer",
        command: "trapline mmio --device 00:01.0 --duration 100ms",
        status: 3,
        says: &["the kernel's own mmiotrace is running", "echo nop > /sys/kernel/tracing/current_tracer"],
        after: "echo nop > /sys/kernel/tracing/current_tracer",
        ..NOTHING
    },
    Row {
        name: "a full disk",
        before: "mkdir full && mount -t tmpfs -o size=64k tmpfs full",
        command: "trapline mmio --device 00:01.0 --output full/trace -- modprobe trapline_pace count=20000",
        status: 1,
        says: &["can't write full/trace: No space left on device", "tracing was stopped there", "are good"],
        after: "modprobe -r trapline_pace; rm full/trace",
        ..NOTHING
    },
    Row {
        name: "a self-test that fails, since somebody else resolves the faults on armed pages",
        before: "rmmod trapline
            modprobe trapline_deaf",
        command: "trapline mmio --device 00:01.0 --duration 100ms",
        status: 3,
        says: &["failed its self-test at load", "a fault on its own page did not reach it", "so nothing may be traced"],
        ..NOTHING
    },
    Row {
        name: "the status and the doctor of a module whose self-test failed",
        command: "trapline status; trapline doctor",
        status: 3,
        says: &["self-test             a fault on its own page did not reach it", "This machine can't trace as it is"],
        ..NOTHING
    },
    Row {
        name: "an access probe of another module where the self-test failed",
        command: "modprobe trapline_example_probe",
        status: 1,
        says: &["Operation not permitted"],
        after: "rmmod trapline
            modprobe -r trapline_deaf
            modprobe trapline",
        ..NOTHING
    },
    Row {
        name: "no module for this kernel",
        before: "rmmod trapline
            rm /lib/modules/$(uname -r)/extra/trapline.ko && depmod",
        command: "trapline mmio --device 00:01.0",
        status: 3,
        says: &["kernel module is not loaded and kernel ", "run: sudo trapline module build", "TRAPLINE_MODULE=PATH"],
        ..NOTHING
    },
];

pub(super) const LOCKED: &[Row] = &[
    Row {
        name: "lockdown",
        before: "mount -t securityfs securityfs /sys/kernel/security",
        command: "trapline mmio --device 00:01.0",
        status: 3,
        says: &["the kernel refused the module", "locked down", "sign the module"],
        ..NOTHING
    },
    Row {
        name: "the doctor of a kernel that is locked down",
        command: "trapline doctor",
        status: 3,
        says: &["the kernel is locked down (integrity)", "This machine can't trace as it is"],
        ..NOTHING
    },
];
