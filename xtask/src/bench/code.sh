# What `cargo xtask bench` runs in the guest for code probes. Each line of output is one figure.
set -e
tracing=/sys/kernel/tracing
target=/sys/kernel/debug/trapline_target
modprobe trapline
modprobe trapline_target
set -- $(cat $target/places)
offset=$(($2 - $1))
echo 16384 >$tracing/buffer_size_kb

# Calls the function, on one CPU, and says how long that took.
cat >/tmp/measure <<'END'
#!/bin/sh -e
taskset -c 1 sh -c "echo $3 >/sys/kernel/debug/trapline_target/time"
echo "code $1 $2 count $3 nanoseconds $(cat /sys/kernel/debug/trapline_target/time)"
END
chmod +x /tmp/measure

# The same, while the command that reads the rings is stopped: every record is kept, and read
# afterwards.
cat >/tmp/unread <<'END'
#!/bin/sh
kill -STOP $PPID
/tmp/measure "$@" >>/tmp/measured
status=$?
kill -CONT $PPID
exit $status
END
chmod +x /tmp/unread

# Waits until the kernel runs what is probed in the way that is to be measured: it replaces a
# breakpoint by a jump some time later.
ready() {
    test "$1" = jump || return 0
    for try in $(seq 100); do
        if grep -q OPTIMIZED /sys/kernel/debug/kprobes/list; then return 0; fi
        sleep 0.05
    done
    echo "the kernel uses no jump" >&2
    exit 1
}

# Measures with the probes of trapline_burden.
burdened() {
    modprobe trapline_burden kind=$2 inside=$inside
    ready $1
    /tmp/measure $1 $2 $3
    rmmod trapline_burden
}

arguments="number=%di:u64 value=+0(%si):u64 text=+0(%dx):string"
for round in 1 2 3; do
    for way in breakpoint jump entry; do
        place=trapline_target:trapline_target_hot+$offset
        inside=1
        jumps=1
        case $way in
            breakpoint) jumps=0 ;;
            entry) place=trapline_target:trapline_target_hot inside=0 ;;
        esac
        echo $jumps >/proc/sys/debug/kprobes-optimization
        /tmp/measure $way nothing 1000000
        burdened $way kprobe 200000
        burdened $way empty 200000
        burdened $way four 200000
        burdened $way faulting 20000
        echo "p:bench/hot $place $arguments" >$tracing/kprobe_events
        echo 1 >$tracing/events/bench/enable
        ready $way
        /tmp/measure $way event 100000
        echo 0 >$tracing/events/bench/enable
        echo >$tracing/kprobe_events
        echo >$tracing/trace
        # The command waits for the jump before it is stopped: its probe is there by then.
        trapline probe --quiet --buffer 64MiB --output /tmp/trace $place $arguments -- sh -ec "sleep 0.5; exec /tmp/unread $way record 100000"
    done
done
cat /tmp/measured
