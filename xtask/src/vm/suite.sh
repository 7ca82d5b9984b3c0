# What every kernel must show, run in the guest; the first failure ends it.
set -e
echo "kernel $(uname -r), BTF of $(wc -c </sys/kernel/btf/vmlinux) bytes"
test -s /sys/kernel/btf/vmlinux
grep -q '^bpf /sys/fs/bpf ' /proc/mounts
grep -q '^cgroup2 /sys/fs/cgroup ' /proc/mounts
purser --version
# 1 is degraded, which a guest without runtimes is; 2 cannot run.
purser doctor || test $? -eq 1
