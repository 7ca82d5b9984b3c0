// SPDX-License-Identifier: Apache-2.0
//! From what the user called a target to a process, without asking any daemon.

use crate::command::Usage;
use anyhow::bail;
use container::{Recorded, Runtime, Sources};
use debug::Target;
use std::fmt::Write as _;

/// The most candidates listed.
const CANDIDATES_LIMIT: usize = 20;

/// A process, held, and a name for people.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) target: Target,
    pub(super) name: String,
    /// The container it is in, if it is in one.
    pub(super) container: Option<Recorded>,
}

/// What a word asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Pid(i32),
    /// A name, an id, or the start of one, of any or one runtime.
    Container(Option<Vec<Runtime>>, String),
    /// Namespace, pod, and perhaps the container.
    Pod(String, String, Option<String>),
}

/// The process that `word` means.
pub(super) fn resolve(word: &str) -> anyhow::Result<Found> {
    let wanted = parse(word)?;
    if let Wanted::Pid(pid) = wanted {
        let target = Target::open(pid)?;
        let Some(identity) = container::identity(pid) else {
            return Ok(Found { target, name: word.to_owned(), container: None });
        };
        let known = container::recorded(&Sources::default()).into_iter().find(|one| one.id == identity.id);
        let container = known.unwrap_or_else(|| Recorded {
            id: identity.id.clone(),
            runtime: identity.runtime,
            name: String::new(),
            image: String::new(),
            pod: None,
            pid: Some(pid),
        });
        return Ok(Found { target, name: short(&identity.id).to_owned(), container: Some(container) });
    }
    let recorded = container::recorded(&Sources::default());
    let mut fitting = fitting(&recorded, &wanted);
    let mut scanned = None;
    if fitting.is_empty() {
        let all = scanned.get_or_insert_with(container::found);
        fitting = self::fitting(all, &wanted);
    }
    let [one] = fitting.as_slice() else {
        let all = if fitting.is_empty() { everything(&recorded) } else { fitting };
        bail!(unclear(word, &all));
    };
    let pid = match one.pid.filter(|pid| is_of(*pid, &one.id)) {
        Some(pid) => Some(pid),
        None => scanned
            .unwrap_or_else(container::found)
            .into_iter()
            .find(|found| found.id == one.id)
            .and_then(|found| found.pid),
    };
    let Some(pid) = pid else {
        bail!("{word} does not run; start it first (stopped containers cannot be entered yet)");
    };
    Ok(Found { target: held(pid, &one.id, word)?, name: one.name.clone(), container: Some(one.clone()) })
}

/// The containers that run, each with a process.
pub(super) fn running() -> Vec<Recorded> {
    let is_live = |one: &Recorded| one.pid.is_some_and(|pid| is_of(pid, &one.id));
    everything(&container::recorded(&Sources::default())).into_iter().filter(is_live).collect()
}

/// What to call a container so that it and no other is meant.
pub(super) fn word(one: &Recorded) -> String {
    let means = |word: &String| {
        let found = resolve(word).ok().and_then(|found| found.container);
        found.is_some_and(|found| found.id == one.id)
    };
    Some(one.name.clone()).filter(|name| !name.is_empty() && means(name)).unwrap_or_else(|| one.id.clone())
}

/// Held first, looked at again after: a number may have come to mean another process in between.
fn held(pid: i32, id: &str, word: &str) -> anyhow::Result<Target> {
    let target = Target::open(pid)?;
    if is_of(pid, id) && !target.is_over() {
        return Ok(target);
    }
    bail!("{word} ended just now")
}

fn is_of(pid: i32, id: &str) -> bool {
    // runc alone has no cgroup layout of its own; its state is root's word.
    match container::identity(pid) {
        Some(identity) => identity.id == id || !is_hex_id(id),
        None => !is_hex_id(id) && std::path::Path::new(&format!("/proc/{pid}")).exists(),
    }
}

fn is_hex_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn parse(word: &str) -> Result<Wanted, Usage> {
    let (kind, rest) = word.split_once(':').unwrap_or(("", word));
    let of = |runtimes: &[Runtime]| Wanted::Container(Some(runtimes.to_vec()), rest.to_owned());
    if rest.is_empty() {
        return Err(Usage(format!("{word:?} names no target")));
    }
    Ok(match kind {
        "pid" => Wanted::Pid(
            rest.parse()
                .ok()
                .filter(|pid| *pid > 0)
                .ok_or_else(|| Usage(format!("{rest:?} is no process number")))?,
        ),
        "" => Wanted::Container(None, rest.to_owned()),
        "docker" => of(&[Runtime::Docker, Runtime::Unknown]),
        "podman" => of(&[Runtime::Podman, Runtime::Unknown]),
        "containerd" => of(&[Runtime::Containerd]),
        "runc" | "crun" => of(&[Runtime::Runc]),
        "lxc" => of(&[Runtime::Lxc]),
        "nspawn" => of(&[Runtime::Nspawn]),
        "k8s" => match *rest.split('/').collect::<Vec<_>>() {
            [namespace, pod] => Wanted::Pod(namespace.into(), pod.into(), None),
            [namespace, pod, container] => Wanted::Pod(namespace.into(), pod.into(), Some(container.into())),
            _ => return Err(Usage(format!("{word:?}: write k8s:NAMESPACE/POD/CONTAINER"))),
        },
        "image" | "archive" => {
            return Err(Usage(format!("{kind}: targets that do not run cannot be entered yet")));
        }
        _ => Wanted::Container(None, word.to_owned()),
    })
}

/// Those that are called so; when none is, those whose id begins so.
fn fitting(all: &[Recorded], wanted: &Wanted) -> Vec<Recorded> {
    let by = |fits: &dyn Fn(&Recorded) -> bool| -> Vec<Recorded> {
        let mut found: Vec<Recorded> = Vec::new();
        for one in all.iter().filter(|one| fits(one)) {
            // The same container in the files of two, such as Podman's and runc's.
            if !found.iter().any(|known| known.id == one.id) {
                found.push(one.clone());
            }
        }
        found
    };
    match wanted {
        Wanted::Pid(_) => Vec::new(),
        Wanted::Container(runtimes, word) => {
            let of =
                |one: &Recorded| runtimes.as_ref().is_none_or(|runtimes| runtimes.contains(&one.runtime));
            let exact = by(&|one| of(one) && (one.name == *word || one.id == *word));
            let running = |found: Vec<Recorded>| -> Vec<Recorded> {
                let live: Vec<Recorded> = found.iter().filter(|one| one.pid.is_some()).cloned().collect();
                if live.is_empty() { found } else { live }
            };
            match exact.is_empty() {
                false => running(exact),
                true => by(&|one| of(one) && is_hex_id(&one.id) && one.id.starts_with(word.as_str())),
            }
        }
        Wanted::Pod(namespace, pod, container) => by(&|one| {
            let is_pod = one.pod.as_ref().is_some_and(|of| of.name == *pod && of.namespace == *namespace);
            // The sandbox is called like its pod and has nothing to look at.
            is_pod && container.as_ref().map_or(one.name != *pod, |container| one.name == *container)
        }),
    }
}

fn everything(recorded: &[Recorded]) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = recorded.iter().filter(|one| one.pid.is_some()).cloned().collect();
    for found in container::found() {
        if !all.iter().any(|known| known.id == found.id) {
            all.push(found);
        }
    }
    all
}

/// An error that helps to the right word.
fn unclear(word: &str, candidates: &[Recorded]) -> String {
    let is_ambiguous =
        candidates.len() > 1 && !fitting(candidates, &Wanted::Container(None, word.to_owned())).is_empty();
    let mut text = match (is_ambiguous, candidates.is_empty()) {
        (_, true) => {
            return format!("no container is called {word:?}, and none runs here; a process is pid:NUMBER");
        }
        (true, _) => {
            format!("{word:?} may be one of several containers; write more of the id, or RUNTIME:NAME:")
        }
        (false, _) => format!("no container is called {word:?}; these run here:"),
    };
    for one in candidates.iter().take(CANDIDATES_LIMIT) {
        // A String takes everything.
        write!(text, "\n  {:<12} {} ({})", short(&one.id), one.name, one.runtime).unwrap_or_default();
    }
    if candidates.len() > CANDIDATES_LIMIT {
        write!(text, "\n  and {} more", candidates.len() - CANDIDATES_LIMIT).unwrap_or_default();
    }
    text
}

fn short(id: &str) -> &str {
    if is_hex_id(id) { id.get(..12).unwrap_or(id) } else { id }
}

#[cfg(test)]
mod tests {
    use super::{Wanted, fitting, parse, unclear};
    use container::{Pod, Recorded, Runtime};

    fn one(id: &str, name: &str, runtime: Runtime, pid: Option<i32>) -> Recorded {
        Recorded { id: id.into(), runtime, name: name.into(), image: String::new(), pod: None, pid }
    }

    fn host() -> Vec<Recorded> {
        let id = |digit: &str| format!("a{}", digit.repeat(63));
        let mut app = one("app", "app", Runtime::Containerd, Some(4));
        app.pod = Some(Pod { name: "web-7c9".into(), namespace: "prod".into(), uid: String::new() });
        vec![
            one(&id("1"), "web", Runtime::Docker, Some(1)),
            one(&id("2"), "web", Runtime::Podman, Some(2)),
            one(&id("3"), "a2", Runtime::Docker, None),
            app,
        ]
    }

    fn names(word: &str) -> Vec<Option<i32>> {
        fitting(&host(), &parse(word).unwrap()).iter().map(|one| one.pid).collect()
    }

    #[test]
    fn words() {
        assert_eq!(parse("pid:4711").unwrap(), Wanted::Pid(4711));
        for wrong in ["pid:0", "pid:x", "pid:-1", "k8s:a", "k8s:a/b/c/d", "", "docker:", "image:x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse("registry:x").unwrap(), Wanted::Container(None, "registry:x".into()));
    }

    #[test]
    fn names_go_before_starts_of_ids() {
        assert_eq!(names("docker:web"), [Some(1)]);
        assert_eq!(names("web"), [Some(1), Some(2)]);
        assert_eq!(names("a2"), [None]);
        assert_eq!(names("a1"), [Some(1)]);
        assert_eq!(names("a"), [Some(1), Some(2), None]);
        assert_eq!(names("k8s:prod/web-7c9/app"), [Some(4)]);
        assert_eq!(names("k8s:prod/web-7c9"), [Some(4)]);
        assert!(names("k8s:test/web-7c9").is_empty() && names("lxc:web").is_empty());
    }

    #[test]
    fn candidates() {
        assert!(unclear("web", &host()).contains("may be one of several"));
        assert!(unclear("nope", &host()).contains("these run here:\n  a11111111111 web (docker)"));
        assert!(unclear("nope", &[]).contains("none runs here"));
    }
}
