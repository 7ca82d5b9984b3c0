// SPDX-License-Identifier: Apache-2.0
//! What the kernel offers: version, BTF, file systems, cgroups, clocks, and each BPF program.

use super::{Line, State};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Oldest kernel with everything the programs use (bpf_loop).
const OLDEST: (u32, u32) = (5, 17);
/// 2024-01-01: a clock before it was never set.
const CLOCK_FLOOR: Duration = Duration::from_secs(1_704_067_200);

pub(super) fn check() -> Vec<Line> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    vec![
        version(&release),
        btf(Path::new("/sys/kernel/btf/vmlinux")),
        file_system(
            &mounts,
            "bpf",
            "bpffs",
            "records of the time without an agent are lost",
            "mount -t bpf bpf /sys/fs/bpf",
        ),
        file_system(
            &mounts,
            "tracefs",
            "tracefs",
            "refused execs are not recorded",
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
        cgroups(),
        clock(SystemTime::now()),
    ]
}

/// Each BPF program, loaded for a try.
pub(super) fn programs() -> Vec<Line> {
    let state = |state: probe::State| match state {
        probe::State::Ok => State::Ok,
        probe::State::Degraded => State::Degraded,
        probe::State::Missing => State::Missing,
    };
    let line = |support: probe::Support| Line {
        name: support.name,
        state: state(support.state),
        detail: support.detail,
        consequence: support.consequence,
        advice: support.advice,
    };
    probe::support().into_iter().map(line).collect()
}

/// Loads everything for a try, unpinned, and exchanges its rules as the agent does.
pub(super) fn rule_swap() -> Line {
    const RING_BYTES: u32 = 1 << 20;
    let sizes = probe::Sizes { records: RING_BYTES, bulk: RING_BYTES };
    let rule = probe::Rule {
        cgroups: None,
        // Of nobody, so that it sorts nothing out.
        uid: Some(u32::MAX),
        executable: None,
        argv0: None,
        parent: None,
        action: probe::Action::Record,
    };
    let swapped = probe::Probe::load(sizes, &probe::Settings::default())
        .and_then(|mut probe| probe.set_rules(&[rule]).and(probe.set_rules(&[])));
    match swapped {
        Ok(_) => Line::ok("rule swap", "works"),
        Err(error) => Line::bad(
            "rule swap",
            State::Missing,
            error.to_string(),
            "the agent cannot start, with rules or without",
            "see the lines on programs; run it as root",
        ),
    }
}

fn version(release: &str) -> Line {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    let enough = next().zip(next()).is_some_and(|version| version >= OLDEST);
    if enough {
        return Line::ok("kernel", format!("Linux {release}"));
    }
    let detail = format!("Linux {release}");
    Line::bad("kernel", State::Missing, detail, "the programs need Linux 5.17", "use a newer kernel")
}

fn btf(path: &Path) -> Line {
    match std::fs::File::open(path) {
        Ok(_) => Line::ok("BTF", path.display().to_string()),
        Err(error) => Line::bad(
            "BTF",
            State::Missing,
            format!("{}: {error}", path.display()),
            "no program can be fitted to this kernel",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

fn file_system(mounts: &str, kind: &str, name: &str, consequence: &str, advice: &str) -> Line {
    let place = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (place, found) = (fields.nth(1)?, fields.next()?);
        (found == kind).then_some(place)
    });
    match place {
        Some(place) => Line::ok(name, place),
        None => Line::bad(name, State::Degraded, "not mounted", consequence, advice),
    }
}

fn cgroups() -> Line {
    let missing = |detail: String| {
        let consequence = "processes cannot be told apart by container";
        Line::bad("cgroups", State::Missing, detail, consequence, "mount /sys/fs/cgroup")
    };
    match container::cgroup_mode() {
        Ok(Some(mode)) => Line::ok("cgroups", mode.as_str()),
        Ok(None) => missing("not mounted".to_string()),
        Err(error) => missing(error.to_string()),
    }
}

fn clock(now: SystemTime) -> Line {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since_1970 < CLOCK_FLOOR {
        let detail = format!("{} s after 1970", since_1970.as_secs());
        return Line::bad(
            "clock",
            State::Degraded,
            detail,
            "events carry wrong times",
            "set the clock; run an NTP client",
        );
    }
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match std::fs::read_to_string(source) {
        Ok(name) => Line::ok("clock", name.trim()),
        Err(_) => Line::ok("clock", "set"),
    }
}

#[cfg(test)]
mod tests {
    use super::{btf, clock, file_system, version};
    use crate::command::doctor::State;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    #[test]
    fn versions() {
        assert_eq!(version("6.18.0-rc1").state, State::Ok);
        assert_eq!(version("5.17.0").state, State::Ok);
        assert_eq!(version("5.16.20-generic").state, State::Missing);
        assert_eq!(version("4.19").state, State::Missing);
        assert_eq!(version("strange").state, State::Missing);
    }

    #[test]
    fn mounts_files_and_clocks() {
        let mounts = "bpf /sys/fs/bpf bpf rw 0 0\nproc /proc proc rw 0 0\n";
        let line = file_system(mounts, "bpf", "bpffs", "a", "b");
        assert_eq!((line.state, line.detail.as_str()), (State::Ok, "/sys/fs/bpf"));
        assert_eq!(file_system(mounts, "tracefs", "tracefs", "a", "b").state, State::Degraded);
        assert_eq!(btf(Path::new("/no/such/btf")).state, State::Missing);
        assert_eq!(clock(SystemTime::UNIX_EPOCH).state, State::Degraded);
        assert_eq!(clock(SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_842_931)).state, State::Ok);
    }
}
