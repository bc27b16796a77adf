//! The command as a person uses it: each way to say what is traced and where it goes, and what is
//! seen on a terminal.

use super::Scenario;
use super::account::DEVICES;
use super::rows::{NOTHING, Row, play};
use crate::vm::Options;

pub(super) const OF_TRACES: Scenario = Scenario {
    name: "each way to trace, to stop and to look at a trace does what the help says",
    check: |series| {
        let network = ["-netdev", "user,id=net,restrict=on", "-device", "e1000e,netdev=net,addr=5"];
        play(
            TRACES,
            Options {
                qemu: DEVICES.iter().chain(&network).map(Into::into).collect(),
                modules: vec!["e1000e".into()],
                program: vec!["script".into()],
                ..Options::in_turn(series, "")
            },
        )
    },
};

pub(super) const OF_PROBES: Scenario = Scenario {
    name: "each way to probe code does what the help says, and is listed as what it is",
    check: |series| play(PROBES, Options::in_turn(series, "")),
};

const PROBES: &[Row] = &[
    Row {
        name: "as many calls under way as a return probe is told to follow",
        before: "mkfifo fifo
            cat > waiting <<'WAITING'
cat fifo & cat fifo & cat fifo &
# Until all three wait in open() or openat().
for try in $(seq 200); do
  test $(grep -lE '^(2|257) ' /proc/[0-9]*/syscall 2>/dev/null | wc -l) = 3 && break
  sleep 0.1
done
echo > fifo
wait
WAITING",
        command: "trapline probe fifo_open --return --active 8 --output many -- sh waiting || exit 99
            trapline probe fifo_open --return --active 1 --output few -- sh waiting",
        status: 1,
        says: &["4 hits in", "0 missed", "1 hit in", "3 missed", "--active follows more"],
        after: "rm fifo",
        ..NOTHING
    },
    Row {
        name: "a parameter by its name, before the function and at its return",
        command: "trapline probe ksys_read fd 'got=$retval:s64' --pre --return -- head -n 1 /etc/passwd",
        says: &["ksys_read", "fd=3", " <- ksys_read", "got="],
        ..NOTHING
    },
    Row {
        name: "all parameters by their names, with the stack, so many hits and no more",
        command: "trapline probe ksys_read --args --stack --max 1 -- head -n 1 /etc/passwd",
        says: &["fd=3 buf=\"", "count=4096", "\n                        ", "+0x", "1 hit in"],
        ..NOTHING
    },
    Row {
        name: "after the instruction",
        command: "trapline probe ksys_read --post --max 1 -- head -n 1 /etc/passwd",
        says: &["probing ksys_read (0xffffffff", ": after", " (after)\n", "1 hit in"],
        ..NOTHING
    },
    Row {
        name: "an address, on one CPU",
        command: "address=0x$(sed -n 's/^\\([0-9a-f]*\\) T ksys_read$/\\1/p' /proc/kallsyms)
            trapline probe $address --cpu 1 --format json -- sh -c 'for cpu in 0 1 2 3; do taskset -c $cpu head -n 1 /etc/passwd; done' > json
            test $(grep -c '\"comm\":.*\"kind\":\"hit\"' json) -gt 0 || exit 99
            grep '\"comm\":.*\"kind\":\"hit\"' json | grep -vc '\"cpu\":1,'",
        status: 1,
        says: &["\n0\n"],
        ..NOTHING
    },
    Row {
        name: "a process alone, and no longer than it lives",
        command: "sh -c 'for time in $(seq 20); do read line < /etc/passwd; sleep 0.3; done' & process=$!
            trapline probe ksys_read --pid $process --format json > json || exit 99
            test $(grep -c '\"comm\":.*\"kind\":\"hit\"' json) -gt 0 || exit 98
            grep '\"comm\":.*\"kind\":\"hit\"' json | grep -vc \"\\\"tgid\\\":$process,\"",
        status: 1,
        says: &["has ended", "\n0\n"],
        ..NOTHING
    },
    Row {
        name: "the list of what is probed, by a jump and with the stack",
        before: "modprobe trapline_target
            set -- $(cat /sys/kernel/debug/trapline_target/places)",
        command: "set -- $(cat /sys/kernel/debug/trapline_target/places)
            trapline probe trapline_target:trapline_target_hot+$(($2 - $1)) --stack --output /dev/null --quiet & tracer=$!
            for try in $(seq 100); do if trapline list | grep -q jump-optimised; then break; fi; sleep 0.1; done
            echo 10 > /sys/kernel/debug/trapline_target/run
            trapline list
            kill -INT $tracer; wait $tracer",
        says: &["trapline_target_hot", "jump-optimised", "with stack", "  10 "],
        after: "rmmod trapline_target",
        ..NOTHING
    },
];

const TRACES: &[Row] = &[
    Row {
        name: "a machine that can trace, before the module is loaded and after",
        command: "trapline doctor && modprobe trapline && trapline doctor",
        says: &[
            "is there to be loaded",
            "loaded in kernel",
            "self-test        passed",
            "hook             fixup_exception is ours",
            "This machine can trace",
        ],
        ..NOTHING
    },
    Row {
        name: "the device of a driver, reads only, as JSON on standard output",
        before: "modprobe e1000e",
        command: "trapline mmio --driver e1000e --reads --format json -- sh -c 'ip link set eth0 up; sleep 1' > json
            grep -c '\"comm\":.*\"kind\":\"access\"' json > count
            test $(cat count) -gt 50 || exit 99
            test $(grep '\"comm\":.*\"kind\":\"access\"' json | grep -c '\"op\":\"R\"') = $(cat count) || exit 98
            grep -q '\"device\":\"0000:00:05.0\"' json && grep -q '\"register\":\"STATUS\"' json || exit 97
            tail -n 1 json",
        says: &["watching 0000:00:05.0 BAR 0", " reads, 0 writes)", "\"kind\":\"end\""],
        after: "modprobe -r e1000e",
        ..NOTHING
    },
    Row {
        name: "a device by what it is called and by its ids, of which one BAR",
        before: "modprobe e1000e",
        command: "trapline devices && trapline mmio --device eth0 --reads --quiet --format json -- ip link set eth0 up > json || exit 99
            grep -q '\"device\":\"0000:00:05.0\"' json || exit 98
            trapline mmio --device 8086:10d3 --bar 3 --duration 10ms",
        says: &[
            "0000:00:05.0  8086:10d3  e1000e ",
            "  eth0 ",
            "BAR 0 128 KiB, BAR 1 128 KiB, BAR 3 16 KiB  ",
            "watching 0000:00:05.0 BAR 3",
        ],
        after: "modprobe -r e1000e",
        ..NOTHING
    },
    Row {
        name: "writes only",
        command: "trapline mmio --device 00:05.0 --writes -- modprobe e1000e | grep -c ' R [1248] '",
        says: &["(0 reads, ", "\n0\n"],
        status: 1,
        after: "modprobe -r e1000e",
        ..NOTHING
    },
    Row {
        name: "a register file of the user, and lines as they come",
        before: "cat > mine.toml <<'END'
name = \"mine\"
[[match]]
vendor = 0x1234
devices = [0x11e8]
[[register]]
offset = 0x4
name = \"MY_OWN\"
END",
        command: "trapline mmio --device 00:01.0 --registers mine.toml -- modprobe trapline_pace count=3",
        says: &[
            "  R 4   00:01.0 0+00004 ",
            " MY_OWN ",
            "reader+0x",
            "[trapline_pace]",
            "3 accesses (3 reads, 0 writes)",
        ],
        after: "modprobe -r trapline_pace",
        ..NOTHING
    },
    Row {
        name: "what differs between two loads of a driver, of which one has another parameter",
        command: "load() {
                trapline mmio --driver e1000e --quiet --output $1 -- \
                    sh -ec \"modprobe e1000e $2; ip link set eth0 up; ip link set eth0 down; modprobe -r e1000e\"
            }
            load one && load two InterruptThrottleRate=5000 || exit 99
            trapline diff one two --ignore 'SYSTIM*' > differences; test $? = 1 || exit 98
            trapline diff one two --ignore 'SYSTIM*' --format json > json
            test $(grep -c '\"kind\":\"\\(only\\|value\\)\"' json) -lt 60 || exit 97
            cat differences",
        // The time between interrupts in units of 256 ns: of 20,000 in a second, and of 5,000.
        says: &["EITR[0]            0x000000c3 -> 0x0000030d", "EITR[2]            0x000000c3 -> 0x0000030d"],
        ..NOTHING
    },
    Row {
        name: "until Ctrl-C",
        command: "trapline mmio --device 00:01.0 > lines 2> told & tracer=$!
            until grep -q 'Ctrl-C stops' told; do sleep 0.1; done
            modprobe trapline_pace count=5
            kill -INT $tracer
            wait $tracer || exit 99
            cat told; grep -c ' R 4 ' lines",
        says: &["5 accesses (5 reads, 0 writes)", "0 dropped, 0 possibly missed"],
        after: "modprobe -r trapline_pace",
        ..NOTHING
    },
    Row {
        name: "a live counter on a terminal while the trace goes into a file, and the summary in colours",
        before: "mkdir -p /dev/pts && mount -t devpts devpts /dev/pts",
        command: "script -qec 'trapline mmio --device 00:01.0 --output file -- sh -c \"modprobe trapline_pace count=5; sleep 3\"' typed > /dev/null
            tr '\\r\\033' '\\n^' < typed
            trapline report file",
        says: &[" events, ", "/s, ", "^[32m0 dropped, 0 possibly missed^[0m", "\n0 dropped, 0 possibly missed"],
        after: "modprobe -r trapline_pace",
        ..NOTHING
    },
    Row {
        name: "lines in colours on a terminal, and none elsewhere",
        command: "script -qec 'trapline mmio --device 00:01.0 --quiet -- modprobe trapline_pace count=1' typed > /dev/null
            tr '\\033' '^' < typed; modprobe -r trapline_pace
            trapline mmio --device 00:01.0 --quiet -- modprobe trapline_pace count=1",
        says: &["^[32mR 4  ^[0m", "  R 4   00:01.0 0+00004"],
        after: "modprobe -r trapline_pace",
        ..NOTHING
    },
    Row {
        name: "a ring that is too small: loudly, and with another status",
        command: "trapline mmio --device 00:01.0 --buffer 4K --output file -- modprobe trapline_pace count=50000
            status=$?
            trapline report file
            exit $status",
        status: 1,
        says: &[
            " records were dropped: the trace is not complete",
            "use a larger --buffer",
            "THIS TRACE IS NOT COMPLETE: a ring was full",
        ],
        after: "modprobe -r trapline_pace",
        ..NOTHING
    },
    Row {
        name: "a marker, in the trace where it was set",
        command: "trapline mmio --device 00:01.0 -- sh -c 'trapline mark \"here it comes\"; modprobe trapline_pace count=1'",
        says: &["mark: here it comes", "1 access (1 read, 0 writes)"],
        after: "modprobe -r trapline_pace",
        ..NOTHING
    },
];
