// SPDX-License-Identifier: Apache-2.0
//! What `/proc` says about cgroups: which line of `/proc/PID/cgroup` counts, and which hierarchies
//! are mounted. The parsers are pure; only [`cgroup_mode`] reads a file.

use crate::LookupError;

/// The v1 controllers asked, in this order, for the place of a task. The kernel side asks the same.
const CONTROLLERS: [&[u8]; 5] = [b"pids", b"memory", b"devices", b"cpu", b"freezer"];

/// Which cgroup hierarchies the host has mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupMode {
    /// v1 only.
    V1,
    /// v1 controllers, and a v2 tree beside them.
    Hybrid,
    /// v2 only.
    V2,
}

impl CgroupMode {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            CgroupMode::V1 => "v1",
            CgroupMode::Hybrid => "hybrid",
            CgroupMode::V2 => "v2",
        }
    }
}

/// The path that counts in the text of a `/proc/PID/cgroup`: that of the first of pids, memory,
/// devices, cpu and freezer which is not the root, else that of v2. `None` when no line has any of them.
pub fn parse_proc_cgroup(text: &[u8]) -> Option<&[u8]> {
    let mut by_controller: [Option<&[u8]>; CONTROLLERS.len()] = [None; CONTROLLERS.len()];
    let mut unified = None;
    for line in text.split(|&byte| byte == b'\n') {
        let Some((hierarchy, controllers, path)) = fields(line) else { continue };
        if hierarchy == b"0" && controllers.is_empty() {
            unified = unified.or(Some(path));
        }
        for name in controllers.split(|&byte| byte == b',') {
            for (slot, wanted) in by_controller.iter_mut().zip(CONTROLLERS) {
                if name == wanted {
                    *slot = slot.or(Some(path));
                }
            }
        }
    }
    let mut candidates = by_controller.into_iter().flatten().chain(unified);
    let first = candidates.clone().next();
    candidates.find(|path| *path != b"/").or(first)
}

/// `8:pids:/docker/…` as its three fields. The kernel marks a removed v2 cgroup behind its path.
fn fields(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut fields = line.splitn(3, |&byte| byte == b':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    path.starts_with(b"/").then_some((hierarchy, controllers, path))
}

/// The hierarchies in the text of a `/proc/PID/mountinfo`; `None` when no cgroup tree is mounted.
pub fn parse_mountinfo(text: &[u8]) -> Option<CgroupMode> {
    let (mut old, mut unified) = (false, false);
    for line in text.split(|&byte| byte == b'\n') {
        // Optional fields end with a lone dash; the file system's type follows.
        let mut words = line.split(|&byte| byte == b' ').skip_while(|word| *word != b"-").skip(1);
        match words.next() {
            Some(b"cgroup") => old = true,
            Some(b"cgroup2") => unified = true,
            _ => {}
        }
    }
    match (old, unified) {
        (true, true) => Some(CgroupMode::Hybrid),
        (true, false) => Some(CgroupMode::V1),
        (false, true) => Some(CgroupMode::V2),
        (false, false) => None,
    }
}

/// The hierarchies mounted here, from `/proc/self/mountinfo`; `None` when no cgroup tree is mounted.
pub fn cgroup_mode() -> Result<Option<CgroupMode>, LookupError> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path).map_err(|source| LookupError::Read { path: path.into(), source })?;
    Ok(parse_mountinfo(&text))
}

#[cfg(test)]
mod tests {
    use super::{CgroupMode, cgroup_mode, parse_mountinfo, parse_proc_cgroup};

    #[test]
    fn pids_first_on_v1() {
        let text = b"9:name=systemd:/x\n8:pids:/docker/a\n4:memory:/docker/b\n0::/\n";
        assert_eq!(parse_proc_cgroup(text).unwrap(), b"/docker/a");
    }

    #[test]
    fn a_root_line_gives_way() {
        let text = b"8:pids:/\n5:devices:/\n4:memory:/agent\n1:cpu,cpuacct:/y\n0::/z\n";
        assert_eq!(parse_proc_cgroup(text).unwrap(), b"/agent");
        assert_eq!(parse_proc_cgroup(b"8:pids:/\n1:cpu,cpuacct:/y\n0::/z\n").unwrap(), b"/y");
        assert_eq!(parse_proc_cgroup(b"8:pids:/\n0::/z\n").unwrap(), b"/z");
        assert_eq!(parse_proc_cgroup(b"8:pids:/\n0::/\n").unwrap(), b"/");
    }

    #[test]
    fn v2_and_odd_lines() {
        assert_eq!(
            parse_proc_cgroup(b"0::/system.slice/a:b.service (deleted)\n").unwrap(),
            b"/system.slice/a:b.service"
        );
        assert_eq!(parse_proc_cgroup(b"9:name=systemd:/only\n"), None);
        for text in [b"".as_slice(), b"\n\n", b"::", b"0:", b"0::", b"0::x", b"\xff:\xff:\xff"] {
            assert_eq!(parse_proc_cgroup(text), None);
        }
    }

    #[test]
    fn modes() {
        let old = b"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n";
        let new = b"41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(parse_mountinfo(old), Some(CgroupMode::V1));
        assert_eq!(parse_mountinfo(new), Some(CgroupMode::V2));
        assert_eq!(parse_mountinfo(&[old.as_slice(), new].concat()), Some(CgroupMode::Hybrid));
        assert_eq!(parse_mountinfo(b"1 2 0:3 / / rw - ext4 cgroup2 rw\n"), None);
        assert_eq!(parse_mountinfo(b"- - -\n-"), None);
    }

    #[test]
    fn this_host_can_be_read() {
        cgroup_mode().unwrap();
    }
}
