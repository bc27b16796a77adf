# What `cargo xtask bench` runs in the guest. Each line of output is one figure; the kernel log's
# times come last.
set -e
tracing=/sys/kernel/tracing
edu=0000:00:01.0
card=0000:00:02.0

# Says what the last load of trapline_pace measured.
pace() {
    echo "pace $1 $(dmesg | sed -n 's/.*trapline_pace: //p' | tail -n 1)"
    rmmod trapline_pace
}

# Runs a command traced by Trapline, every access recorded and written to a file. A lost record is a
# failure.
traced() {
    trapline mmio --quiet --buffer 64MiB --output /tmp/trace "$@"
}

# Runs a command traced by the kernel's own tracer, which keeps the events in its buffer: nobody
# reads meanwhile.
mmiotraced() {
    echo mmiotrace >$tracing/current_tracer
    "$@"
    echo nop >$tracing/current_tracer
    grep -q '^overrun: [1-9]' $tracing/per_cpu/cpu*/stats && { echo "mmiotrace lost events" >&2; exit 1; }
    echo >$tracing/trace
}

# Loads and unloads a driver; the time is taken from the kernel log, whose clock is finer than a
# shell's.
cat >/tmp/load <<'END'
#!/bin/sh -e
echo "bench: $1 begins" >/dev/kmsg
modprobe e1000e
echo "bench: $1 ends" >/dev/kmsg
modprobe -r e1000e
END
chmod +x /tmp/load

# Measures while the command that reads the rings is stopped: every record is kept, and read
# afterwards.
cat >/tmp/unread <<'END'
#!/bin/sh -e
kill -STOP $PPID
modprobe trapline_pace "$@" || status=$?
kill -CONT $PPID
exit ${status:-0}
END
chmod +x /tmp/unread

echo 16384 >$tracing/buffer_size_kb
/tmp/load first
for round in 1 2 3; do
    modprobe trapline_pace count=1000000
    pace untraced
    modprobe trapline_pace count=200000 fault=1
    pace fault
    mmiotraced modprobe trapline_pace count=20000
    pace mmiotrace
    /tmp/load untraced
    mmiotraced /tmp/load mmiotrace

    modprobe trapline
    modprobe trapline_pace count=200000 fault=1
    pace declined
    traced --device $edu --writes -- modprobe trapline_pace count=200000
    pace unrecorded
    for threads in 1 2 4; do
        traced --device $edu -- /tmp/unread threads=$threads count=200000
        pace traced
        traced --device $edu -- modprobe trapline_pace threads=$threads count=200000
        pace read
    done
    traced --device $card -- /tmp/load traced
    echo "accesses $(trapline report /tmp/trace | head -n 1)"
    echo "idle $(trapline status | grep '^memory')"
    echo "tracing $(trapline mmio --quiet --device $edu --output /tmp/trace -- trapline status | grep '^memory')"
    rmmod trapline
done
dmesg | grep 'bench: '
