#!/bin/busybox sh
# The guest's first process: mounts what a host has, runs /command, tells its exit code, ends the machine.
# ttyS0 belongs to the kernel, ttyS1 to the command.
/bin/busybox mkdir -p /bin /sbin /dev /etc /proc /root /run /sys /tmp /var/lib
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root

mount -t devtmpfs dev /dev
exec 3>/dev/ttyS1
stty -F /dev/ttyS1 raw

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd
ip link set lo up
insmod /lib/modules/overlay.ko
echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
hostname guest

cd /root
setsid sh /command </dev/null >&3 2>&3 3>&-
echo "purser-vm-exit $?" >&3
exec 3>&-
sync
poweroff -f
