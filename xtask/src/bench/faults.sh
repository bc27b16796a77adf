# What `cargo xtask bench` runs in the guest for page faults. Each line of output is one figure.
set -e
tracing=/sys/kernel/tracing
events=$tracing/events
echo 65536 >$tracing/buffer_size_kb
modprobe trapline

# Raises page faults on one CPU and says how long that took.
cat >/tmp/measure <<'END'
#!/bin/sh -e
name=$1
shift
echo "faults $name $(taskset -c 1 /trapline-touch "$@")" >>/tmp/measured
END
chmod +x /tmp/measure

# The same, while the command that reads the rings is stopped: every record is kept, and read
# afterwards.
cat >/tmp/unread <<'END'
#!/bin/sh
kill -STOP $PPID
/tmp/measure "$@"
status=$?
kill -CONT $PPID
exit $status
END
chmod +x /tmp/unread

count=100000
for round in 1 2 3; do
    /tmp/measure nothing $count
    for gate in hook idt; do
        trapline faults --gate $gate --count -- /tmp/measure count-$gate $count >/tmp/counts
        # Seen by whoever says so.
        test $(awk '/in user mode/ { print $1 }' /tmp/counts) -ge $count
        trapline faults --gate $gate --quiet --buffer 64MiB --output /tmp/trace -- /tmp/unread record-$gate $count
    done
    /tmp/measure perf --sampled $count

    echo 1 >$events/exceptions/enable
    /tmp/measure tracepoints $count
    echo 0 >$events/exceptions/enable
    if grep -q '^overrun: [1-9]' $tracing/per_cpu/cpu*/stats; then echo "the kernel's tracer lost events" >&2; exit 1; fi
    echo >$tracing/trace

    echo 'hist:keys=error_code' >$events/exceptions/page_fault_user/trigger
    /tmp/measure histogram $count
    test $(awk '/Hits:/ { print $2 }' $events/exceptions/page_fault_user/hist) -ge $count
    echo '!hist:keys=error_code' >$events/exceptions/page_fault_user/trigger

    echo 'p:bench/fault handle_mm_fault' >$tracing/kprobe_events
    echo 'hist:keys=common_pid' >$events/bench/fault/trigger
    /tmp/measure kprobe $count
    test $(awk '/Hits:/ { print $2 }' $events/bench/fault/hist) -ge $count
    echo '!hist:keys=common_pid' >$events/bench/fault/trigger
    echo >$tracing/kprobe_events
done

# How much earlier the gate sees a fault than the tracepoint does: by the same clock, of which
# ftrace tells whole microseconds, rounded down.
echo perf >$tracing/trace_clock
echo 1 >$events/exceptions/enable
trapline faults --gate idt --user --comm trapline-touch --quiet --output /tmp/trace -- taskset -c 1 /trapline-touch 4096 >/dev/null
echo 0 >$events/exceptions/enable
trapline convert /tmp/trace --to json | sed -n 's/.*"time_ns":\([0-9]*\).*"address":"\(0x[0-9a-f]*\)".*/\2 \1/p' >/tmp/ours
sed -n 's/.*trapline-touch-.* \([0-9]*\)\.\([0-9]*\): page_fault_user: address=\(0x[0-9a-f]*\) .*/\3 \1\2/p' $tracing/trace >/tmp/theirs
# The same address faults once in each round.
awk 'NR == FNR { ours[$1, times[$1]++] = $2; next }
    { at = $1 SUBSEP seen[$1]++; if (at in ours) { sum += $2 * 1000 + 500 - ours[at]; count++ } }
    END { print "faults earlier count", count + 0, "nanoseconds", sum }' /tmp/ours /tmp/theirs >>/tmp/measured
cat /tmp/measured
