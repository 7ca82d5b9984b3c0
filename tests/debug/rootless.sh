#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# rootless.sh DIR NUMBER COMMAND...: runs the command as a user of its own, with a home in DIR and subordinate
# numbers, as a host has it that was set up for rootless containers. To be run by `unshare -m`: that user is in
# no file of the host, only in a copy of /etc that this namespace has.
set -eu
dir=${1:?no directory}
number=${2:?no number}
shift 2
[ "$(readlink /proc/self/ns/mnt)" != "$(readlink /proc/1/ns/mnt)" ] || {
	echo "rootless.sh: not in a mount namespace of its own" >&2
	exit 1
}
name=purser-test
mkdir -p "$dir/home" "$dir/etc"
chown "$number:$number" "$dir/home"
mount -t tmpfs etc "$dir/etc"
cp -a /etc/. "$dir/etc/"
echo "$name:x:$number:$number::$dir/home:/bin/sh" >>"$dir/etc/passwd"
echo "$name:x:$number:" >>"$dir/etc/group"
for file in subuid subgid; do
	echo "$name:$((number * 10)):65536" >"$dir/etc/$file"
done
mount --bind "$dir/etc" /etc
cd "$dir/home"
exec setpriv --reuid "$number" --regid "$number" --clear-groups \
	env "USER=$name" "HOME=$dir/home" "XDG_RUNTIME_DIR=/run/user/$number" "$@"
