# SPDX-License-Identifier: Apache-2.0
# Run in a guest by busybox: sessions of purser debug with cgroup v2 alone and no runtime. Prints what it found out,
# each as a line `NAME RESULT` after `purser-vm: `. It judges nothing.
tree=/sys/fs/cgroup
kit=/kits/base

tell() { echo "purser-vm: $*"; }

# The kit: what is in /kits already, and busybox.
cp /bin/busybox $kit/root/bin/busybox
for applet in sh cat sleep id stat dd; do ln -s busybox $kit/root/bin/$applet; done
cat >$kit/kit.toml <<KIT
name = "base"
version = "1"
arch = "x86_64"
summary = "busybox"
path = ["bin"]
KIT

# within SECONDS COMMAND...: until it succeeds.
within() {
	tries=$((10 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# The target: one static program in namespaces, a root and a cgroup of its own, as a runtime makes it.
cat >/target.sh <<'TARGET'
mount -t tmpfs root /c && cd /c && mkdir bin proc dev etc && cp /bin/busybox bin/sleep || exit
mount -t proc proc proc && mount -t tmpfs dev dev && mknod -m 666 dev/null c 1 3 && mount -o remount,ro /c || exit
# The first file system of a kernel cannot be left by pivot_root.
mount --move . / && exec chroot . /bin/sleep 100001
TARGET
group=$tree/web
mkdir /c $group
echo '+memory +pids' >$tree/cgroup.subtree_control
echo 64M >$group/memory.max
sh -c 'echo $$ >$0/cgroup.procs && exec unshare -m -p -f -n -i -u sh /target.sh' $group </dev/null &
outer=$!
is_target() {
	# The list has a space at its end and no newline.
	set -- $(cat /proc/$outer/task/$outer/children)
	pid=$1
	[ "$(cat /proc/$pid/comm)" = sleep ]
}
within 30 is_target || { tell target none; exit 1; }
# Words, and not a function: that would be a process of its own when it runs in the background.
session="purser debug pid:$pid --kits /kits"
# As many as there are: a session counts for none of them.
cat $group/pids.current >$group/pids.max
alone=$(cat $group/cgroup.procs)

# Exit codes, users, and the cgroup that the program is in.
home=$(stat -L -c %d:%i /proc/$pid/root)
inside=$($session -- sh -c 'cat /proc/self/cgroup; stat -c %d:%i /; exit 41' </dev/null)
tell code $?
set -- $inside
tell cgroup $1
[ "$2" = "$home" ] && tell root the-same || tell root $2 instead of $home
# Whoever is the last one out takes the parent along.
gone() { [ ! -e $tree/purser-debug ]; }
within 10 gone && tell leaf gone || tell leaf left
$session --root new -- sh -c 'exit 42' </dev/null
tell new-root $?
tell user $($session --user 65532:65533 -- sh -c 'id -u; id -g' </dev/null)
$session -- sh -c 'kill -9 $$' </dev/null
tell signal $?

dd if=/dev/urandom of=/tmp/blob bs=64k count=64 2>/dev/null
tell pipe $($session -- cat </tmp/blob | cmp - /tmp/blob && echo the-same)

# Limits hold, and they are the session's.
$session --memory-mib 24 -- sh -c 'dd if=/dev/zero of=$HOME/big bs=1M count=60 2>/dev/null' </dev/null
tell memory $?
$session --processes 6 -- sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done; echo all' </dev/null
tell processes $?

# busy: there are more processes in sessions than those that make it.
in_sessions() { cat $tree/purser-debug/*/cgroup.procs 2>/dev/null; }
busy() { [ $(in_sessions | wc -l) -ge 5 ]; }
stats() { for member in $watched; do [ ! -e /proc/$member ] || echo /proc/$member/stat; done; }
ended() { [ -z "$(stats)" ]; }
attached() { grep -q '^State:.t' /proc/$pid/status && grep -q attached /tmp/attached; }
runs() { grep -q '^State:.S' /proc/$pid/status && grep -q '^TracerPid:.0$' /proc/$pid/status; }

# strike VICTIM: SIGKILL while a session has processes in the background. Tells how many it had, and what is left of
# them, of the keeper and of the cgroup.
strike() {
	$session -- sh -c 'sleep 100 & (setsid sleep 100 &); sleep 100 & wait' </dev/null >/dev/null &
	client=$!
	within 20 busy
	members=$(in_sessions)
	keeper=$(cat /proc/$client/task/$client/children)
	kill -9 $(eval echo \$$1)
	wait $client
	within 10 gone && tell $1-cgroup gone || tell $1-cgroup left
	watched="$members $keeper"
	within 10 ended && left=none || left=$(cut -d ' ' -f 1-4 $(stats) | tr '\n' ' ')
	tell $1-killed $(echo "$members" | wc -l) left $left
}
strike client
strike keeper

# A debugger has stopped the target, and its session dies.
$session --cap-add SYS_PTRACE -- attach 1 </dev/null >/tmp/attached &
client=$!
within 20 attached && tell attached yes || tell attached $(grep State /proc/$pid/status; cat /tmp/attached)
kill -9 $client
wait $client
within 10 runs && tell target-runs yes || tell target-runs $(grep -E 'State|Tracer' /proc/$pid/status)
within 10 gone && tell last-leaf gone || tell last-leaf left

[ "$(cat $group/cgroup.procs)" = "$alone" ] && tell processes-of-target the-same || tell processes-of-target $(cat $group/cgroup.procs)
tell refused-forks $(cat $group/pids.events)
tell out-of-memory $(grep -c 'oom_kill [1-9]' $group/memory.events)

# The module goes when nothing of it is mounted or open. Without it there is no session in a target with SYS_ADMIN.
within 10 rmmod overlay && tell overlay gone || tell overlay left
said=$($session -- sh -c : </dev/null 2>&1)
tell without-code $?
tell without-said $said
