# SPDX-License-Identifier: Apache-2.0
# Run in a guest by busybox: records every exec mode with cgroup v2 alone and prints all that was
# found out as one archive between two markers. It judges nothing.
set -e
results=/tmp/results
mkdir -p $results /etc/purser
# The kernel starts its own helpers in the root cgroup.
cat >/etc/purser/purser.toml <<EOF
[scope]
cgroups = ["/purser-test*", "/"]
EOF
chmod 600 /etc/purser/purser.toml

# status NAME COMMAND...: the output and the exit code, each in a file.
status() {
	name=$1
	shift
	code=0
	"$@" >$results/$name.out 2>$results/$name.err || code=$?
	echo $code >$results/$name.code
}

# in_cgroup DIRECTORY COMMAND...: the command as a process of that cgroup, from its first program on.
in_cgroup() {
	group=/sys/fs/cgroup$1
	shift
	mkdir -p $group
	sh -c 'echo $$ >$0/cgroup.procs && exec "$@"' $group "$@"
}

status doctor purser doctor -o json

: >$results/run.out >$results/run.err
purser run --store /tmp/store >$results/run.out 2>&1 &
agent=$!
# A guest under emulation is slow; an agent that ended is not waited for.
until grep -q recording $results/run.out || ! kill -0 $agent; do sleep 0.1; done

export EXECMODES_HOST_CHANGES=1
status modes in_cgroup /purser-test execmodes all vm
status outside in_cgroup /elsewhere echo out-of-scope
container=$(printf '%064d' 7)
status container in_cgroup /system.slice/docker-$container.scope unshare -p -f echo of-a-container

status stop purser stop --store /tmp/store
code=0
wait $agent || code=$?
echo $code >$results/run.code
status log purser log --store /tmp/store -o json
status verify purser verify --store /tmp/store

echo purser-vm-results-begin
tar -c -z -C $results . | base64
echo purser-vm-results-end
