// SPDX-License-Identifier: Apache-2.0
//! Who may begin which debugging session, by `[[debug.allow]]`. Decides only; the record is somebody else's
//! business, and so is who asks.

use crate::config::{Allow, Debug, Forwarding, WRITABLE};
use debug::{Bind, Forward, Source};
use std::time::Duration;

/// With one of these a session can do what the host's root can: change its mounts, load a module, read its memory, open
/// any of its files.
const AS_GOOD_AS_ROOT: [&str; 4] = ["SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH"];

/// A session that somebody wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// Who, by name, or by number where there is no name.
    pub(crate) user: &'a str,
    /// The groups of that user.
    pub(crate) groups: &'a [String],
    /// The target as it was typed.
    pub(crate) target: &'a str,
    /// The container's name; empty for other targets.
    pub(crate) container: &'a str,
    /// The container's image; empty when it is not known.
    pub(crate) image: &'a str,
    /// Names of kits.
    pub(crate) kits: &'a [String],
    /// Capabilities beyond those of the target's process.
    pub(crate) capabilities: &'a [String],
    /// Whether all capabilities are asked for.
    pub(crate) privileged: bool,
    /// Files and directories that it is to see beside the target's.
    pub(crate) volumes: &'a [Bind],
    /// Ports of the target that are to be ports of this host.
    pub(crate) forwards: &'a [Forward],
    /// Why; empty when that is not told.
    pub(crate) reason: &'a str,
}

/// It may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The entry that allows it; without entries everything is allowed.
    pub(crate) by: Option<String>,
    /// How long it may last.
    pub(crate) max_time: Option<Duration>,
}

/// Whether `wanted` may be: the first entry that fits decides for how long. The error says what each entry
/// lacks that is meant for this user and target.
pub(crate) fn decide(debug: &Debug, wanted: &Wanted<'_>) -> Result<Granted, String> {
    if debug.allow.is_empty() {
        return Ok(Granted::default());
    }
    let mut near = Vec::new();
    for allow in &debug.allow {
        if !is_meant(allow, wanted) {
            continue;
        }
        match lack(allow, wanted) {
            None => {
                let secs = allow.max_time.and_then(|age| age.secs());
                return Ok(Granted { by: Some(allow.name.clone()), max_time: secs.map(Duration::from_secs) });
            }
            Some(lack) => near.push(format!("{}: {lack}", allow.name)),
        }
    }
    let why = match near.is_empty() {
        true => "no entry is for this user and target".to_string(),
        false => near.join("; "),
    };
    Err(format!("[[debug.allow]] does not let {} work in {}: {why}", wanted.user, wanted.target))
}

/// Whether an entry is about this user and target.
fn is_meant(allow: &Allow, wanted: &Wanted<'_>) -> bool {
    let is_user = |word: &String| match word.strip_prefix('%') {
        Some(group) => wanted.groups.iter().any(|known| known == group),
        None => word == wanted.user,
    };
    // A container counts by its name only: who types the beginning of an id chooses those letters.
    let name = if wanted.container.is_empty() { wanted.target } else { wanted.container };
    let is_target = allow.targets.iter().any(|glob| glob.matches(name));
    (allow.users.is_empty() || allow.users.iter().any(is_user))
        && (allow.targets.is_empty() || is_target)
        && (allow.images.is_empty() || allow.images.iter().any(|glob| glob.matches(wanted.image)))
}

/// What an entry that is meant does not allow.
fn lack(allow: &Allow, wanted: &Wanted<'_>) -> Option<String> {
    let missing = |allowed: &Option<Vec<String>>, asked: &[String]| {
        let allowed = allowed.as_ref()?;
        asked.iter().find(|word| !allowed.iter().any(|known| known.eq_ignore_ascii_case(word))).cloned()
    };
    if wanted.privileged && !allow.privileged {
        return Some("not with --privileged".to_string());
    }
    if let Some(kit) = missing(&allow.kits, wanted.kits) {
        return Some(format!("not with kit {kit}"));
    }
    if !wanted.privileged
        && let Some(capability) = missing(&allow.capabilities, wanted.capabilities)
    {
        return Some(format!("not with capability {capability}"));
    }
    // An entry that says nothing of capabilities does not give the host away.
    let is_root = |word: &&String| AS_GOOD_AS_ROOT.iter().any(|known| word.eq_ignore_ascii_case(known));
    if allow.capabilities.is_none()
        && !allow.privileged
        && let Some(capability) = wanted.capabilities.iter().find(is_root)
    {
        return Some(format!("not with capability {capability}, which has to be among its capabilities"));
    }
    if let Some(bind) = wanted.volumes.iter().find(|bind| !may_see(allow, bind))
        && let Source::Host(path) = &bind.source
    {
        let how = if bind.read_only { "read" } else { "written" };
        return Some(format!("not with {} of the host to be {how}", path.display()));
    }
    if let Some(forward) = wanted.forwards.iter().find(|forward| !may_open(allow, forward)) {
        return Some(format!("not with -L {forward}"));
    }
    if allow.require_reason && wanted.reason.trim().is_empty() {
        return Some("not without --reason".to_string());
    }
    None
}

/// Whether a port may be opened. Who is let near some ports only is not to let others near them.
fn may_open(allow: &Allow, forward: &Forward) -> bool {
    match &allow.forward {
        Forwarding::Any(all) => *all,
        Forwarding::Ports(ports) => forward.here.ip().is_loopback() && ports.contains(&forward.there),
    }
}

/// Whether any entry is about this user and container, so that the user may know of it. Without entries root knows all.
pub(crate) fn may_know(
    debug: &Debug,
    (user, groups): (&str, &[String]),
    container: &str,
    image: Option<&str>,
) -> bool {
    let wanted = Wanted { user, groups, target: container, container, ..Wanted::default() };
    let is_for = |allow: &Allow| match image {
        Some(image) => is_meant(allow, &Wanted { image, ..wanted.clone() }),
        // Which image it was has been asked before.
        None => is_meant(&Allow { images: Vec::new(), ..allow.clone() }, &wanted),
    };
    debug.allow.is_empty() || debug.allow.iter().any(is_for)
}

/// Whether a volume is allowed: the target's own files are there without one.
fn may_see(allow: &Allow, bind: &Bind) -> bool {
    let Source::Host(path) = &bind.source else { return true };
    allow.volumes.iter().any(|volume| match volume.strip_suffix(WRITABLE) {
        Some(writable) => path.starts_with(writable),
        None => bind.read_only && path.starts_with(volume),
    })
}

#[cfg(test)]
mod tests {
    use super::{Granted, Wanted, decide, may_know};
    use crate::config::{Debug, parse};
    use debug::{Bind, Source};
    use std::time::Duration;

    const POLICY: &str = r#"
[[debug.allow]]
name = "oncall"
users = ["ann", "%sre"]
targets = ["web-*", "pid:*"]
kits = ["base", "net"]
capabilities = ["NET_RAW"]
volumes = ["/srv/read", "/srv/write:rw"]
forward = [80]
require_reason = true
max_time = "1h"
[[debug.allow]]
name = "root"
users = ["root"]
images = ["registry.example/*"]
privileged = true
forward = true
"#;

    fn policy() -> Debug {
        parse(POLICY, "policy").unwrap().debug
    }

    #[test]
    fn volumes_of_the_host_are_named() {
        let oncall = |source: Source, read_only: bool| {
            let volumes = [Bind { source, at: "/mnt".into(), read_only }];
            let wanted = Wanted {
                user: "ann",
                container: "web-1",
                reason: "x",
                volumes: &volumes,
                ..Wanted::default()
            };
            decide(&policy(), &wanted).map(|granted| granted.by.unwrap_or_default())
        };
        let host = |path: &str| Source::Host(path.into());
        assert!(oncall(host("/srv/read/below"), true).is_ok());
        assert!(oncall(host("/srv/write"), true).is_ok() && oncall(host("/srv/write"), false).is_ok());
        assert!(oncall(Source::Target("/etc".into()), false).is_ok());
        let refused = oncall(host("/srv/read"), false).unwrap_err();
        assert!(refused.ends_with("oncall: not with /srv/read of the host to be written"), "{refused}");
        assert!(oncall(host("/srv/readable"), true).is_err() && oncall(host("/srv"), true).is_err());
    }

    #[test]
    fn ports_are_named() {
        let wanted = |user, word: &str| {
            let forwards = [word.parse().unwrap()];
            let wanted = Wanted {
                user,
                container: "web-1",
                image: "registry.example/web",
                reason: "x",
                forwards: &forwards,
                ..Wanted::default()
            };
            decide(&policy(), &wanted).map(|granted| granted.by.unwrap_or_default())
        };
        assert!(wanted("ann", "8080:80").is_ok() && wanted("ann", "[::1]:8080:80").is_ok());
        assert!(wanted("ann", "81").unwrap_err().ends_with("oncall: not with -L 127.0.0.1:81 to 81"));
        assert!(wanted("ann", "0.0.0.0:80:80").is_err());
        assert!(wanted("root", "0.0.0.0:1:1").is_ok());
    }

    #[test]
    fn who_may_not_work_somewhere_does_not_know_of_it() {
        let sre = ["sre".to_string()];
        let knows = |user, groups: &[String], name, image| may_know(&policy(), (user, groups), name, image);
        assert!(knows("ann", &[], "web-1", Some("x")) && knows("bob", &sre, "web-1", None));
        assert!(!knows("ann", &[], "db", Some("x")) && !knows("bob", &[], "web-1", Some("x")));
        assert!(knows("root", &[], "db", None) && !knows("root", &[], "db", Some("x")));
        assert!(may_know(&Debug::default(), ("ann", &[]), "db", None));
    }

    #[test]
    fn capabilities_of_root_are_named() {
        let decided = |more: &str, word: &str| {
            let text = format!("[[debug.allow]]\nname = \"all\"\n{more}\n");
            let capabilities = ["NET_RAW".to_string(), word.to_string()];
            let wanted = Wanted { user: "ann", capabilities: &capabilities, ..Wanted::default() };
            decide(&parse(&text, "policy").unwrap().debug, &wanted)
        };
        for word in super::AS_GOOD_AS_ROOT {
            let refused = decided("", word).unwrap_err();
            assert!(refused.contains(&format!("not with capability {word}")), "{refused}");
            assert!(decided("privileged = true", word).is_ok());
            assert!(decided(&format!("capabilities = [\"net_raw\", \"{word}\"]"), word).is_ok());
        }
        assert!(decided("", "SYS_PTRACE").is_ok());
    }

    #[test]
    fn without_a_policy_root_may_do_everything() {
        let wanted = Wanted { user: "root", target: "web", privileged: true, ..Wanted::default() };
        assert_eq!(decide(&Debug::default(), &wanted), Ok(Granted::default()));
    }

    #[test]
    fn what_is_allowed_is_allowed_and_nothing_else() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (base, gdb, raw, sre) = (words(&["base"]), words(&["gdb"]), words(&["net_raw"]), words(&["sre"]));
        let good = Wanted {
            user: "ann",
            target: "5b22af62c829",
            container: "web-1",
            kits: &base,
            capabilities: &raw,
            reason: "case 7",
            ..Wanted::default()
        };
        let hour = Granted { by: Some("oncall".to_string()), max_time: Some(Duration::from_secs(3600)) };
        assert_eq!(decide(&policy(), &good), Ok(hour.clone()));
        assert_eq!(decide(&policy(), &Wanted { user: "bob", groups: &sre, ..good.clone() }), Ok(hour));
        let why = |wanted: Wanted<'_>| decide(&policy(), &wanted).unwrap_err();
        assert_eq!(
            why(Wanted { reason: " ", ..good.clone() }),
            "[[debug.allow]] does not let ann work in 5b22af62c829: oncall: not without --reason"
        );
        assert!(why(Wanted { kits: &gdb, ..good.clone() }).ends_with("oncall: not with kit gdb"));
        assert!(why(Wanted { privileged: true, ..good.clone() }).ends_with("not with --privileged"));
        let trace = words(&["SYS_PTRACE"]);
        assert!(why(Wanted { capabilities: &trace, ..good.clone() }).ends_with("capability SYS_PTRACE"));
        for wanted in [
            Wanted { user: "bob", ..good.clone() },
            Wanted { target: "web-0", container: "db", ..good.clone() },
            Wanted { container: "db", ..good.clone() },
            Wanted { user: "root", image: "elsewhere/web", container: "db", ..good.clone() },
        ] {
            assert!(why(wanted).ends_with("no entry is for this user and target"));
        }
        let root = Wanted {
            user: "root",
            container: "db",
            image: "registry.example/db:1",
            privileged: true,
            ..good
        };
        assert_eq!(decide(&policy(), &root), Ok(Granted { by: Some("root".to_string()), max_time: None }));
    }
}
