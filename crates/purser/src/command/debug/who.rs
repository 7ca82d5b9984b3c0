// SPDX-License-Identifier: Apache-2.0
//! Who asks for a session, and from where. Who logged in counts, also behind `sudo` and `su`.

use crate::config::Debug;
use crate::policy;
use container::Recorded;
use std::fs;
use std::path::Path;

/// What the kernel says when nobody logged in.
pub(super) const NOBODY: u32 = u32::MAX;
/// Longest user or group file that is read.
const FILE_LIMIT: usize = 4 << 20;
/// Longest text from the environment.
const TEXT_LIMIT: usize = 256;

/// A person, as far as the host knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) uid: u32,
    /// The number where there is no name.
    pub(super) name: String,
    pub(super) groups: Vec<String>,
    /// The terminal, and the other end of an SSH connection.
    pub(super) from: String,
}

impl Who {
    /// The one who started this process.
    pub(super) fn asks() -> Who {
        let number = |text: String| text.trim().parse::<u32>().ok().filter(|uid| *uid != NOBODY);
        let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(number);
        let sudo = || std::env::var("SUDO_UID").ok().and_then(number);
        let uid = login.or_else(sudo).unwrap_or_else(|| rustix::process::getuid().as_raw());
        let users = read(Path::new("/etc/passwd"));
        let (name, group) = user(&users, uid).unwrap_or_else(|| (uid.to_string(), None));
        let groups = groups(&read(Path::new("/etc/group")), &name, group);
        Who { uid, groups, name, from: from() }
    }
}

impl Who {
    /// Whether the policy lets this person know of a container.
    pub(super) fn may_know(&self, debug: &Debug, one: &Recorded) -> bool {
        let name = if one.name.is_empty() { &one.id } else { &one.name };
        policy::may_know(debug, (&self.name, &self.groups), name, Some(&one.image))
    }
}

/// Whether another user than root has come by sudo, doas or pkexec. Each of them sets its variable itself.
pub(in crate::command) fn comes_by_sudo() -> bool {
    [("SUDO_UID", "0"), ("PKEXEC_UID", "0"), ("DOAS_USER", "root")]
        .iter()
        .any(|(name, root)| std::env::var_os(name).is_some_and(|who| who != *root))
}

fn read(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(text.get(..text.len().min(FILE_LIMIT)).unwrap_or_default()).into_owned()
}

/// The name of a user, and the number of its group, in the text of a file of users.
fn user(users: &str, uid: u32) -> Option<(String, Option<u32>)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number, group) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| (name.to_string(), group.parse().ok()))
    })
}

/// The groups that a user is in, in the text of a file of groups.
fn groups(groups: &str, user: &str, own: Option<u32>) -> Vec<String> {
    let is_in = |line: &&str| {
        let mut fields = line.split(':').skip(2);
        let number = fields.next().and_then(|number| number.parse::<u32>().ok());
        let mut members = fields.next().unwrap_or_default().split(',');
        (number.is_some() && number == own) || members.any(|member| member.trim() == user)
    };
    groups.lines().filter(is_in).filter_map(|line| line.split(':').next()).map(str::to_string).collect()
}

fn from() -> String {
    let terminal = rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new()).ok();
    let terminal = terminal.map(|name| name.to_string_lossy().trim_start_matches("/dev/").to_string());
    // Kept over sudo only where the host lets it; nothing hangs on it.
    let remote = std::env::var("SSH_CONNECTION").ok();
    let remote = remote.and_then(|text| Some(format!("ssh {}", text.split(' ').next()?)));
    let text: Vec<String> = terminal.into_iter().chain(remote).collect();
    text.join(" ").chars().filter(|c| !c.is_control()).take(TEXT_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::{groups, user};

    #[test]
    fn names_and_groups_are_read_from_files() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000:Ann,,,:/home/ann:/bin/bash\n";
        assert_eq!(user(users, 1000), Some(("ann".to_string(), Some(1000))));
        assert_eq!(user(users, 7), None);
        let file = "root:x:0:\nsre:x:50:bob,ann\nann:x:1000:\nnone:x::\n";
        assert_eq!(groups(file, "ann", Some(1000)), ["sre", "ann"]);
        assert_eq!(groups(file, "eve", None), Vec::<String>::new());
    }
}
