// SPDX-License-Identifier: Apache-2.0
//! The cores that systemd-coredump has kept: files in one directory, with names that say whose they are. The journal,
//! in which it also says so, is not needed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most files that are looked at.
const FILES_LIMIT: usize = 10_000;
/// What may be behind the time.
const ENDINGS: [&str; 4] = ["", "zst", "lz4", "xz"];

/// A core that was kept, by its name: `core.NAME.UID.BOOT.PID.TIME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The file.
    pub path: PathBuf,
    /// The name of the program's first thread, at most 15 bytes.
    pub name: String,
    /// The user it ran as.
    pub uid: u32,
    /// Its number on the host.
    pub pid: i32,
    /// When it died, in microseconds since 1970.
    pub time_us: u64,
}

/// All of a directory, the latest first. Nothing when there is no such directory.
pub fn stored(directory: &Path) -> Vec<Stored> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(FILES_LIMIT);
    let mut all: Vec<Stored> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| parse(directory, &entry.file_name()))
        .collect();
    all.sort_by_key(|stored| std::cmp::Reverse(stored.time_us));
    all
}

fn parse(directory: &Path, name: &OsStr) -> Option<Stored> {
    let text = std::str::from_utf8(name.as_bytes()).ok()?;
    // Dots in the program's name are written in another way.
    let fields: Vec<&str> = text.split('.').collect();
    let (fields, ending) = match *fields.as_slice() {
        ["core", name, uid, boot, pid, time] => ([name, uid, boot, pid, time], ""),
        ["core", name, uid, boot, pid, time, ending] => ([name, uid, boot, pid, time], ending),
        _ => return None,
    };
    let [name, uid, boot, pid, time] = fields;
    let is_boot = boot.len() == 32 && boot.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_boot || !ENDINGS.contains(&ending) {
        return None;
    }
    Some(Stored {
        path: directory.join(text),
        name: unescaped(name),
        uid: uid.parse().ok()?,
        pid: pid.parse().ok().filter(|pid| *pid > 0)?,
        time_us: time.parse().ok()?,
    })
}

/// `a\x2eb` is `a.b`.
fn unescaped(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, part.get(2..)) {
            (Some(byte), Some(rest)) => {
                out.push(byte);
                out.extend_from_slice(rest.as_bytes());
            }
            _ => {
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{parse, stored, unescaped};
    use std::ffi::OsStr;
    use std::path::Path;

    const BOOT: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn names_say_whose_they_are() {
        let one = |name: &str| parse(Path::new("/x"), OsStr::new(name));
        let found = one(&format!("core.my\\x2eprogram.1000.{BOOT}.4711.1700000000000000.zst")).unwrap();
        assert_eq!((found.name.as_str(), found.uid, found.pid), ("my.program", 1000, 4711));
        assert_eq!(found.time_us, 1_700_000_000_000_000);
        assert!(one(&format!("core.a.0.{BOOT}.1.2")).is_some());
        for wrong in [
            format!("core.a.0.{BOOT}.1.2.gpg"),
            format!(".#core.a.0.{BOOT}.1.2"),
            format!("core.a.0.{BOOT}.0.2"),
            "core.a.0.xyz.1.2".to_owned(),
            "core.4711".to_owned(),
        ] {
            assert_eq!(one(&wrong), None, "{wrong}");
        }
        assert_eq!(unescaped("a\\x2"), "a\\x2");
        assert_eq!(unescaped("\\x2fa\\xzz"), "/a\\xzz");
    }

    #[test]
    fn the_latest_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for time in [2, 3, 1] {
            std::fs::write(dir.path().join(format!("core.a.0.{BOOT}.{time}.{time}")), "").unwrap();
        }
        let pids: Vec<i32> = stored(dir.path()).iter().map(|one| one.pid).collect();
        assert_eq!(pids, [3, 2, 1]);
        assert_eq!(stored(Path::new("/nonexistent")), []);
    }
}
