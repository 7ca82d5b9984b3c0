// SPDX-License-Identifier: Apache-2.0
//! What the agent's unit takes away from it. `systemd-analyze security` judges the result in a test,
//! and another test runs the real agent inside.

/// Why (empty: the line before says it), key, value.
///
/// Left out on purpose: `PrivateTmp`, `ProtectHome=yes` and `ProtectSystem=strict` would hide or lock
/// what a configuration may name (stores, log files, sockets of runtimes); `ProtectProc`, `ProcSubset`
/// and `PrivateUsers` would hide the processes that are recorded; `PrivateNetwork` the sinks.
pub(super) const KEYS: [(&str, &str, &str); 24] = [
    (
        "BPF programs and maps; files and sockets of runtimes whoever owns them; log files inside containers.",
        "CapabilityBoundingSet",
        CAPABILITIES,
    ),
    ("", "NoNewPrivileges", "yes"),
    ("", "PrivateMounts", "yes"),
    (
        "No mount point of the host is hidden; only places nobody writes to are locked.",
        "ProtectSystem",
        "full",
    ),
    ("", "ProtectHome", "read-only"),
    (
        "As ProtectKernelTunables=yes would, which locks the place of BPF's pins too and cannot be told not to.",
        "ReadOnlyPaths",
        "/sys /proc/sys -/proc/acpi -/proc/apm -/proc/asound -/proc/bus -/proc/fs -/proc/irq -/proc/latency_stats \
         -/proc/mtrr -/proc/scsi -/proc/sysrq-trigger -/proc/timer_stats",
    ),
    ("", "ProtectKernelModules", "yes"),
    ("", "ProtectKernelLogs", "yes"),
    ("", "ProtectControlGroups", "yes"),
    ("", "ProtectClock", "yes"),
    ("", "PrivateDevices", "yes"),
    ("", "DevicePolicy", "closed"),
    (
        "Local runtimes, and the network for what it sends.",
        "RestrictAddressFamilies",
        "AF_UNIX AF_INET AF_INET6",
    ),
    ("", "RestrictNamespaces", "yes"),
    ("", "RestrictRealtime", "yes"),
    ("", "RestrictSUIDSGID", "yes"),
    ("", "LockPersonality", "yes"),
    ("", "MemoryDenyWriteExecute", "yes"),
    ("", "KeyringMode", "private"),
    ("", "UMask", "0077"),
    ("", "SystemCallArchitectures", "native"),
    ("", "SystemCallFilter", "@system-service bpf perf_event_open"),
    (
        "",
        "SystemCallFilter",
        "~@clock @cpu-emulation @module @mount @obsolete @raw-io @reboot @resources @swap",
    ),
    ("", "SystemCallErrorNumber", "EPERM"),
];

const CAPABILITIES: &str = "CAP_BPF CAP_PERFMON CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_SYS_PTRACE";
