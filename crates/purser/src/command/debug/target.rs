// SPDX-License-Identifier: Apache-2.0
//! From what the user called a target to a process, without asking any daemon.

use super::still::Still;
use crate::command::Usage;
use crate::table::harmless;
use anyhow::{Context, bail};
use container::{Recorded, Runtime, Sources};
use debug::{Capabilities, Target};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The most candidates listed.
const CANDIDATES_LIMIT: usize = 20;

/// What the user means, and a name for people.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) subject: Subject,
    pub(super) name: String,
    /// The container it is in, if it is in one; of an image, what the record has in its place.
    pub(super) container: Option<Recorded>,
}

/// What is entered.
#[derive(Debug)]
pub(super) enum Subject {
    /// A process, held.
    Running(Target),
    /// Files, for which a process is made.
    Still(Box<Still>),
}

impl Found {
    fn still((still, container): (Still, Recorded)) -> Found {
        Found {
            name: still.name.clone(),
            subject: Subject::Still(Box::new(still)),
            container: Some(container),
        }
    }

    /// Whether it is an image or an archive, which are no containers.
    pub(super) fn is_image(&self) -> bool {
        matches!(&self.subject, Subject::Still(still) if still.is_image)
    }

    /// What its process may.
    pub(super) fn capabilities(&self) -> Capabilities {
        match &self.subject {
            Subject::Running(target) => target.capabilities(),
            Subject::Still(_) => Capabilities::of_containers(),
        }
    }

    pub(super) fn is_root(&self) -> bool {
        match &self.subject {
            Subject::Running(target) => target.is_root(),
            Subject::Still(_) => true,
        }
    }

    /// Whether there is a program of this name among the target's.
    pub(super) fn has_program(&self, name: &OsStr) -> bool {
        match &self.subject {
            Subject::Running(target) => target.has_program(name),
            Subject::Still(_) => false,
        }
    }

    /// The program that runs there, or would.
    pub(super) fn program(&self) -> &str {
        match &self.subject {
            Subject::Running(target) => target.command(),
            Subject::Still(still) => still.program(),
        }
    }

    /// A process to enter; `room` bytes are for what a session changes where none runs.
    pub(super) fn enter(self, room: u64) -> anyhow::Result<Target> {
        match self.subject {
            Subject::Running(target) => Ok(target),
            Subject::Still(still) => still.stand(room),
        }
    }
}

/// Which containers somebody may know of; all without a policy.
#[derive(Clone, Copy)]
pub(super) struct Knows<'a>(pub(super) Option<&'a dyn Fn(&Recorded) -> bool>);

impl Knows<'_> {
    pub(super) fn of(self, one: &Recorded) -> bool {
        self.0.is_none_or(|knows| knows(one))
    }

    /// An image is known by its first name, as the policy knows it.
    pub(super) fn of_image(self, image: &image::Image) -> bool {
        self.0.is_none() || self.of(&super::still::of_image(image))
    }
}

/// What a word asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Pid(i32),
    /// A name, an id, or the start of one, of any or one runtime.
    Container(Option<Vec<Runtime>>, String),
    /// Namespace, pod, and perhaps the container.
    Pod(String, String, Option<String>),
    /// A state directory of runc or crun, and the id in it.
    State(PathBuf, String),
    /// An image of this host.
    Image(String),
    /// An image or a tree in a file or a directory.
    Archive(String),
}

/// Whether `word` says where to look, so that who wrote it chooses what is found.
pub(super) fn is_by_place(word: &str) -> bool {
    matches!(parse(word), Ok(Wanted::State(..)))
}

/// What `word` means. What is not in the places of `sources` is looked for at the daemons that run.
/// Somebody who may not know of a container never hears of it, unless it is the one that is meant: whoever asks then
/// has that refused and recorded.
pub(super) fn resolve(word: &str, sources: &Sources, knows: Knows<'_>) -> anyhow::Result<Found> {
    resolve_as(word, sources, knows, false)
}

/// The files of what `word` means, even when it runs.
pub(super) fn copy(word: &str, sources: &Sources, knows: Knows<'_>) -> anyhow::Result<Found> {
    resolve_as(word, sources, knows, true)
}

fn resolve_as(word: &str, sources: &Sources, knows: Knows<'_>, is_copy: bool) -> anyhow::Result<Found> {
    let wanted = parse(word)?;
    match &wanted {
        Wanted::Image(word) => return Ok(Found::still(Still::image(word, knows)?)),
        Wanted::Archive(word) => return Ok(Found::still(Still::archive(word)?)),
        _ => {}
    }
    let recorded = container::recorded(sources);
    if let Wanted::Pid(pid) = wanted {
        return process(pid, recorded, is_copy);
    }
    if let Wanted::State(root, id) = &wanted {
        return in_state(root, id);
    }
    let mut fitting = fitting(&recorded, &wanted);
    let mut others = None;
    if fitting.is_empty() {
        fitting = self::fitting(others.get_or_insert_with(|| unrecorded(sources)), &wanted);
    }
    if fitting.is_empty() {
        fitting = newest(self::fitting(&kept(), &wanted));
    }
    let fitting = meant(fitting, knows);
    let [one] = fitting.as_slice() else {
        if !fitting.is_empty() {
            bail!(unclear(Unclear::Several, word, &fitting));
        }
        // As above, of an engine that a user has.
        if let Wanted::Container(_, id) = &wanted
            && let Ok(found) = files_of(id, "a stopped container")
        {
            return Ok(found);
        }
        let why = match &wanted {
            Wanted::Container(Some(runtimes), _) if runtimes.contains(&Runtime::Runc) => {
                Unclear::UnknownToRunc
            }
            _ => Unclear::Unknown,
        };
        let mut all = everything(recorded, others.unwrap_or_default());
        all.retain(|one| knows.of(one));
        bail!(unclear(if knows.0.is_some() { Unclear::NotKnown } else { why }, word, &all));
    };
    if is_copy {
        return files_of(&one.id, "a copy of a container");
    }
    // What was noted may be old; the container's cgroup, or its monitor, knows better.
    let at = |one: &Recorded| one.pid.filter(|pid| one.is_at(*pid));
    let others = if at(one).is_some() { Vec::new() } else { others.unwrap_or_else(|| unrecorded(sources)) };
    let Some((pid, says)) = [one]
        .into_iter()
        // A user's word counts for what is that user's.
        .chain(others.iter().filter(|other| other.id == one.id && [None, one.owner].contains(&other.owner)))
        .find_map(|says| Some((at(says)?, says)))
    else {
        let files = files_of(&one.id, "a stopped container");
        if files.is_err() && !knows.of(one) {
            bail!(unknown(word, sources, knows));
        }
        return files.with_context(|| format!("{word} does not run, and its files cannot be opened"));
    };
    let target = held(pid, says, word)?;
    // Of one that only its process tells, the process is all there is.
    let is_recorded = one.owner.is_none() && one.name != one.id;
    if is_recorded && target.has_user_namespace() && target.user_namespace_owner()? != 0 {
        bail!("a user has process {pid} look like {word}; pid:{pid} enters it all the same");
    }
    Ok(Found { subject: Subject::Running(target), name: one.name.clone(), container: Some(one.clone()) })
}

/// Containers of containerd that do not run: it keeps no state of them, only files.
fn kept() -> Vec<Recorded> {
    let all = image::kept(&super::still::stores()).into_iter();
    all.map(|one| Recorded::noted(Runtime::Containerd, one.id, one.image, one.labels)).collect()
}

/// Of a pod's container that was started again and again the last one, which is the first here.
fn newest(mut fitting: Vec<Recorded>) -> Vec<Recorded> {
    let mut seen = BTreeSet::new();
    fitting.retain(|one| {
        let of_pod = one.pod.as_ref().map(|pod| (pod.namespace.clone(), pod.name.clone(), one.name.clone()));
        of_pod.is_none_or(|key| seen.insert(key))
    });
    fitting
}

/// Of all that fit those that can be meant.
fn meant(mut fitting: Vec<Recorded>, knows: Knows<'_>) -> Vec<Recorded> {
    if fitting.iter().any(|one| knows.of(one)) {
        fitting.retain(|one| knows.of(one));
    } else {
        fitting.truncate(1);
    }
    // What users call theirs does not stand in the way of what the host has.
    if fitting.iter().any(|one| one.owner.is_none()) {
        fitting.retain(|one| one.owner.is_none());
    }
    // Nor what has ended in that of what runs: a pod keeps containers that have done their work.
    let runs = |one: &Recorded| one.pid.is_some_and(|pid| one.is_at(pid));
    if fitting.len() > 1 && fitting.iter().any(runs) {
        fitting.retain(runs);
    }
    fitting
}

/// A process by its number, and the container it is in.
fn process(pid: i32, recorded: Vec<Recorded>, is_copy: bool) -> anyhow::Result<Found> {
    let target = Target::open(pid)?;
    // The host's own are in no container, whatever cgroup somebody has put them into.
    let Some(identity) = container::identity(pid).filter(|_| !target.is_of_host()) else {
        return Ok(Found { subject: Subject::Running(target), name: format!("pid:{pid}"), container: None });
    };
    let known = recorded.into_iter().find(|one| one.id == identity.id);
    let name = known.as_ref().map(|one| one.name.as_str()).filter(|name| !name.is_empty());
    let name = name.unwrap_or(short(&identity.id)).to_owned();
    let container = known.unwrap_or_else(|| Recorded::by_cgroup(identity, pid));
    if is_copy {
        return files_of(&container.id, "a copy of a container");
    }
    Ok(Found { subject: Subject::Running(target), name, container: Some(container) })
}

fn files_of(id: &str, what: &'static str) -> anyhow::Result<Found> {
    Ok(Found::still(Still::container(id, what)?))
}

/// What somebody hears who names a container that is not there, or that is not to be known of.
pub(super) fn unknown(word: &str, sources: &Sources, knows: Knows<'_>) -> String {
    let mut all = everything(container::recorded(sources), unrecorded(sources));
    all.retain(|one| knows.of(one));
    unclear(Unclear::NotKnown, word, &all)
}

/// A container of runc or crun by its state, whose directory nobody need know of.
fn in_state(root: &Path, id: &str) -> anyhow::Result<Found> {
    let known = container::in_state(root);
    let one = known.into_iter().find(|one| one.id == id);
    let one =
        one.with_context(|| format!("no container of runc or crun is called {id:?} in {}", root.display()))?;
    let Some(pid) = one.pid.filter(|pid| one.is_at(*pid)) else { bail!("{id} does not run") };
    let subject = Subject::Running(held(pid, &one, id)?);
    Ok(Found { subject, name: one.name.clone(), container: Some(one) })
}

/// Containers that are in no state file of the places that are known.
fn unrecorded(sources: &Sources) -> Vec<Recorded> {
    let mut all = container::elsewhere(sources);
    for found in container::found() {
        if !all.iter().any(|known| known.id == found.id) {
            all.push(found);
        }
    }
    all
}

/// The containers that run, each with a process.
pub(super) fn running(sources: &Sources) -> Vec<Recorded> {
    let all = everything(container::recorded(sources), unrecorded(sources));
    all.into_iter().filter(|one| one.pid.is_some_and(|pid| one.is_at(pid))).collect()
}

/// The containers that do not run.
pub(super) fn still(sources: &Sources) -> Vec<Recorded> {
    let is_still = |one: &Recorded| one.pid.is_none_or(|pid| !one.is_at(pid));
    let all = container::recorded(sources).into_iter().chain(container::elsewhere(sources)).chain(kept());
    let mut seen = BTreeSet::new();
    all.filter(is_still).filter(|one| seen.insert(one.id.clone())).collect()
}

/// What to call a container so that it and no other is meant.
pub(super) fn word(one: &Recorded, sources: &Sources) -> String {
    let means = |word: &String| {
        let found = resolve(word, sources, Knows(None)).ok().and_then(|found| found.container);
        found.is_some_and(|found| found.id == one.id)
    };
    Some(one.name.clone()).filter(|name| !name.is_empty() && means(name)).unwrap_or_else(|| one.id.clone())
}

/// Held first, looked at again after: a number may have come to mean another process in between.
fn held(pid: i32, one: &Recorded, word: &str) -> anyhow::Result<Target> {
    let target = Target::open(pid)?;
    if !one.is_at(pid) || target.is_over() {
        bail!("{word} ended just now");
    }
    // Who can make cgroups or write state files of their own can have root's processes named there.
    if target.is_of_host() {
        bail!("{word} should be process {pid}, which is in no container; pid:{pid} enters it all the same");
    }
    if let Some(owner) = one.owner
        && (!target.has_user_namespace() || target.user_namespace_owner()? != owner)
    {
        bail!(
            "user {owner} says that {word} is process {pid}, which is not that user's; pid:{pid} enters it all the same"
        );
    }
    Ok(target)
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
        "runc" | "crun" if rest.starts_with('/') => match rest.rsplit_once('/') {
            Some((root, id)) if !root.is_empty() && !id.is_empty() => {
                Wanted::State(root.into(), id.to_owned())
            }
            _ => return Err(Usage(format!("{word:?}: write {kind}:/DIRECTORY/ID"))),
        },
        "runc" | "crun" => of(&[Runtime::Runc]),
        "lxc" => of(&[Runtime::Lxc]),
        "nspawn" => of(&[Runtime::Nspawn]),
        "k8s" => match *rest.split('/').collect::<Vec<_>>() {
            [namespace, pod] => Wanted::Pod(namespace.into(), pod.into(), None),
            [namespace, pod, container] => Wanted::Pod(namespace.into(), pod.into(), Some(container.into())),
            _ => return Err(Usage(format!("{word:?}: write k8s:NAMESPACE/POD/CONTAINER"))),
        },
        "image" => Wanted::Image(rest.to_owned()),
        "archive" => Wanted::Archive(rest.to_owned()),
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
        Wanted::Pid(_) | Wanted::State(..) | Wanted::Image(_) | Wanted::Archive(_) => Vec::new(),
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

/// All that run, the recorded ones first.
fn everything(recorded: Vec<Recorded>, others: Vec<Recorded>) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    let runs = |one: &Recorded| one.pid.is_some_and(|pid| one.is_at(pid));
    for one in recorded.into_iter().chain(others).filter(runs) {
        match all.iter_mut().find(|known| known.id == one.id) {
            None => all.push(one),
            // runc below an engine knows of no names.
            Some(known) if known.name == known.id && known.owner == one.owner => *known = one,
            Some(_) => {}
        }
    }
    // What holds sessions of other hosts is nobody's target.
    all.retain(|one| !one.name.starts_with(super::remote::OUTPOST_NAME));
    all
}

/// Why a word is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unclear {
    Several,
    Unknown,
    /// It may be in a directory that nobody knows of.
    UnknownToRunc,
    /// There is none, or the one who asks may not know of it.
    NotKnown,
}

/// An error that helps to the right word.
fn unclear(why: Unclear, word: &str, candidates: &[Recorded]) -> String {
    let mut text = match why {
        Unclear::Several => {
            format!("{word:?} may be one of several containers; write more of the id, or RUNTIME:NAME:")
        }
        Unclear::NotKnown => format!("no container that you may debug is called {word:?}"),
        _ => format!("no container is called {word:?}"),
    };
    if why == Unclear::UnknownToRunc {
        text.push_str(" in the usual directories (runc:/DIRECTORY/ID names another)");
    }
    match (why, candidates.is_empty()) {
        (Unclear::Several, _) => {}
        (Unclear::NotKnown, true) => text.push_str(", and none such runs here; [[debug.allow]] says which"),
        (_, true) => text.push_str(", and none runs here; a process is pid:NUMBER"),
        (Unclear::NotKnown, false) => text.push_str("; these are:"),
        (_, false) => text.push_str("; these run here:"),
    }
    for one in candidates.iter().take(CANDIDATES_LIMIT) {
        let pod = one.pod.as_ref().filter(|_| one.pid.is_some());
        let pod =
            pod.map_or(String::new(), |pod| format!(", k8s:{}/{}/{}", pod.namespace, pod.name, one.name));
        let owner = one.owner.map_or(String::new(), |owner| format!(", of user {owner}"));
        let line = format!("{:<12} {} ({}{owner}{pod})", short(&one.id), one.name, one.runtime);
        // A String takes everything.
        write!(text, "\n  {}", harmless(&line)).unwrap_or_default();
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
    use super::{Unclear, Wanted, fitting, parse, unclear};
    use container::{Pod, Recorded, Runtime};

    fn one(id: &str, name: &str, runtime: Runtime, pid: Option<i32>) -> Recorded {
        Recorded {
            id: id.into(),
            runtime,
            name: name.into(),
            image: String::new(),
            pod: None,
            pid,
            started: None,
            owner: None,
        }
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
        assert_eq!(parse("runc:/run/x/web").unwrap(), Wanted::State("/run/x".into(), "web".into()));
        for wrong in [
            "pid:0",
            "pid:x",
            "pid:-1",
            "k8s:a",
            "k8s:a/b/c/d",
            "",
            "docker:",
            "image:",
            "runc:/",
            "crun:/x",
            "runc:/x/",
        ] {
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
        assert!(unclear(Unclear::Several, "web", &host()).contains("may be one of several"));
        let said = unclear(Unclear::Unknown, "nope", &host());
        assert!(said.contains("these run here:\n  a11111111111 web (docker)"), "{said}");
        assert!(said.contains("app (containerd, k8s:prod/web-7c9/app)"), "{said}");
        assert!(unclear(Unclear::Unknown, "nope", &[]).contains("none runs here"));
        assert!(unclear(Unclear::UnknownToRunc, "runc:x", &host()).contains("runc:/DIRECTORY/ID"));
    }
}
