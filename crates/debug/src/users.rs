// SPDX-License-Identifier: Apache-2.0
//! `USER[:GROUP]` to numbers, by the target's own files. They are the target's word: only regular files are
//! read, only so much of them, and a name that is in none is an error.

use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::Read;

/// The most of a file that is read.
const FILE_LIMIT: u64 = 1 << 20;

/// Whom the program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// The numbers behind what the user wrote; root when that is nothing.
pub(crate) fn identity(wanted: Option<&str>) -> Result<Identity, String> {
    let Some(wanted) = wanted else { return Ok(Identity { user: 0, group: 0 }) };
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    parse(user, group, || content("/etc/passwd"), || content("/etc/group"))
}

fn parse(
    user: &str,
    group: Option<&str>,
    users: impl Fn() -> String,
    groups: impl Fn() -> String,
) -> Result<Identity, String> {
    let passwd = users();
    let by_number = user.parse::<u32>().ok();
    let row = row(&passwd, |name, number| name == user || by_number.is_some_and(|wanted| wanted == number));
    let known = row.map(|columns| (columns.0, columns.1));
    let (user, own) = match (known, by_number) {
        (_, Some(number)) => (number, known.map_or(0, |(_, group)| group)),
        (Some(known), None) => known,
        (None, None) => return Err(format!("the target's /etc/passwd has no user {user:?}; give a number")),
    };
    let group = match group {
        None => own,
        Some(group) => match group.parse() {
            Ok(number) => number,
            Err(_) => {
                let groups = groups();
                let found = self::row(&groups, |name, _| name == group).map(|columns| columns.0);
                found
                    .ok_or_else(|| format!("the target's /etc/group has no group {group:?}; give a number"))?
            }
        },
    };
    // To the kernel it means that nothing changes: the program would stay root.
    if user == u32::MAX || group == u32::MAX {
        return Err(format!("{} is the number of no user and no group; give another", u32::MAX));
    }
    Ok(Identity { user, group })
}

/// The third and the fourth column of the first row that fits; a group has no fourth number.
fn row(text: &str, fits: impl Fn(&str, u32) -> bool) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next()?;
        let number = columns.nth(1)?.parse().ok()?;
        let next = columns.next().and_then(|column| column.parse().ok()).unwrap_or(0);
        fits(name, number).then_some((number, next))
    })
}

fn content(path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = open(path, flags, Mode::empty()).map(File::from) else { return String::new() };
    let mut bytes = Vec::new();
    if file.metadata().is_ok_and(|meta| meta.is_file()) {
        // What could be read of it will do.
        file.take(FILE_LIMIT).read_to_end(&mut bytes).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Identity, parse};

    fn ask(user: &str, group: Option<&str>) -> Result<(u32, u32), String> {
        let users =
            || "root:x:0:0::/:/bin/sh\nodd\n:::\napp:x:1000:100:a:/:\nbig:x:99999999999:1::/:\n".to_owned();
        let groups = || "root:x:0:\nstaff:x:50:app\n".to_owned();
        parse(user, group, users, groups).map(|Identity { user, group }| (user, group))
    }

    #[test]
    fn users_and_groups() {
        assert_eq!(ask("app", None), Ok((1000, 100)));
        assert_eq!(ask("1000", None), Ok((1000, 100)));
        assert_eq!(ask("app", Some("staff")), Ok((1000, 50)));
        assert_eq!(ask("app", Some("7")), Ok((1000, 7)));
        assert_eq!(ask("4711", None), Ok((4711, 0)));
        assert_eq!(ask("4711", Some("50")), Ok((4711, 50)));
        assert!(ask("nobody", None).unwrap_err().contains("nobody"));
        assert!(ask("app", Some("wheel")).unwrap_err().contains("wheel"));
        assert!(ask("big", None).is_err());
        assert!(ask("", None).is_err());
        // No change, to the kernel.
        assert!(ask("4294967295", None).is_err() && ask("app", Some("4294967295")).is_err());
    }
}
