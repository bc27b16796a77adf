#!/bin/busybox sh
# The guest's first process: makes the system a Debian program expects, runs COMMAND, hands back
# what it left. Ports to the host are found by name, since a user's own virtio devices may come
# before ours.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mkdir /dev/shm
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
hostname trapline
ip link set lo up

modprobe -a virtio_pci virtio_console

port() {
    for attempt in $(seq 500); do
        for candidate in /sys/class/virtio-ports/*; do
            if read -r name <"$candidate/name" && [ "$name" = "trapline.$1" ]; then
                echo "/dev/${candidate##*/}"
                return
            fi
        done 2>/dev/null
        sleep 0.01
    done
    echo "init: the port trapline.$1 did not appear" >/dev/console
}

exec 3<>"$(port status)"

# QEMU now and then starts a CPU whose timer never fires, and nothing that waits there ever goes on.
# Such a CPU has seen next to no ticks so far, and sees none while it is busy. The host then starts
# another machine: nothing of Trapline has run in this one.
ticks() {
    awk -v field=$(($1 + 2)) '$1 == "LOC:" { print $field }' /proc/interrupts
}
for cpu in $(seq 0 $(($(nproc) - 1))); do
    before=$(ticks "$cpu")
    if [ "$before" -lt 20 ]; then
        taskset -c "$cpu" sh -c 'for i in $(seq 20000); do :; done'
        if [ "$(ticks "$cpu")" = "$before" ]; then
            echo "dead $cpu" >&3
            poweroff -f
        fi
    fi
done
echo booted >&3

# Sends standard input through a port, and tells how much it was: a write is done when the kernel
# has it, not when the host does.
send() {
    tee "$(port "$1")" 3>&- | echo "sent $1 $(wc -c 3>&-)" >&3
}

# Through pipes, not the ports themselves, which only one process may open: a COMMAND may open
# /dev/stdout.
mkfifo /run/stdout /run/stderr /run/stdout.sent /run/stderr.sent
send stdout </run/stdout.sent &
senders=$!
send stderr </run/stderr.sent &
senders="$senders $!"
cat /run/stdout >/run/stdout.sent 3>&- &
stdout=$!
cat /run/stderr >/run/stderr.sent 3>&- &
stderr=$!
sh /etc/trapline/command >/run/stdout 2>/run/stderr </dev/null 3>&-
status=$?

# What COMMAND left in the background keeps its pipes open; do not wait for that.
{ sleep 2; kill $stdout $stderr; } >/dev/null 2>&1 3>&- &
wait $stdout $stderr

echo "exited $status" >&3
[ -e /etc/trapline/copy-out ] && tar -c -C /out . | send out
dmesg -r | send log
wait $senders
echo done >&3
# Until the host says that it has all of it.
read -r -t 120 answer <&3
# A task that died of an oops may hold a lock that the kernel takes as it powers off: then it is
# started anew, which takes none.
{ sleep 5; echo b >/proc/sysrq-trigger; } >/dev/null 2>&1 3>&- &
poweroff -f
