// SPDX-License-Identifier: Apache-2.0
//! Sessions for a core: in a root that has the program and its libraries, with the core mounted read-only and gdb opened
//! on both. Nothing that runs is touched.

mod copy;
mod file;
mod roots;
mod search;

use super::arguments::{Session, terminal};
use super::target::{self, Found, Knows};
use crate::command::say;
use crate::table::harmless;
use anyhow::{Context, bail};
use container::Sources;
use cores::{BuildId, Compared, Core, Identity, Match};
use debug::{Bind, Source, Spec, Target};
use file::{CoreFile, Origin};
use roots::Root;
use std::ffi::OsString;
use std::sync::Arc;

pub(super) use file::STORE;
pub(super) use search::looked_through;

/// The kit without which there is little to do.
const KIT: &str = "gdb";
/// What it is called in a session.
const NAME: &str = "core";
/// The most objects that are told of.
const TOLD_LIMIT: usize = 20;
/// The kinds of processor whose cores the kits of this host read.
const MACHINES: &[u16] = if cfg!(target_arch = "x86_64") { &[62, 3] } else { &[183] };

/// A core, and what it takes for a session.
#[derive(Debug)]
pub(super) struct Cored {
    file: CoreFile,
    core: Arc<Core>,
    /// The target, where it had to be asked for the core.
    pub(super) found: Option<Found>,
    /// Whether the target is another one than the core was found in.
    is_elsewhere: bool,
}

/// The core that is asked for, if one is. Settles what the session's target is, with which kit and which command.
pub(super) fn wanted(
    session: &mut Session,
    sources: &Sources,
    knows: Knows<'_>,
) -> anyhow::Result<Option<Cored>> {
    let Some(word) = session.core.clone() else { return Ok(None) };
    let mut found = match session.target.is_empty() {
        true => None,
        false => Some(target::resolve(&session.target, sources, knows)?),
    };
    let file = CoreFile::find(&word, found.as_ref())?;
    let core = Arc::new(file.core.clone());
    if !MACHINES.contains(&core.machine) && session.command.is_empty() {
        let machine = cores::machine_name(core.machine);
        bail!("{} is a core of a program for {machine}; look at it on such a machine", file.name);
    }
    let is_elsewhere = session.tree.is_some();
    if let Some(tree) = session.tree.clone() {
        (session.target, found) = (tree, None);
    } else if found.is_none() {
        session.target = search::home(&file.name, &core, sources, knows)?.word;
    }
    if session.kit.is_empty() {
        session.kit.push(KIT.to_owned());
    }
    let has_terminal = terminal(session)?.is_some();
    session.command = command(std::mem::take(&mut session.command), &core, has_terminal);
    Ok(Some(Cored { file, core, found, is_elsewhere }))
}

fn root_of(target: &Target) -> anyhow::Result<Root> {
    let pid = target.pid();
    Root::of(pid).with_context(|| format!("opening the root of process {pid}"))
}

fn place() -> String {
    format!("{}/{NAME}", Bind::GIVEN)
}

/// gdb on the core, with options if there are only such; another command as it is.
fn command(given: Vec<OsString>, core: &Core, has_terminal: bool) -> Vec<OsString> {
    if given.first().is_some_and(|first| !first.as_encoded_bytes().starts_with(b"-")) {
        return given;
    }
    let mut words: Vec<OsString> = vec![KIT.into()];
    if given.is_empty() && !has_terminal {
        words.extend(["-batch", "-ex", "thread apply all backtrace"].map(OsString::from));
    }
    words.extend(given);
    words.extend(["-c".into(), place().into()]);
    words.extend(core.program().map(|program| program.path.clone().into_os_string()));
    words
}

impl Cored {
    /// Compares with what the target has, and says what differs.
    pub(super) fn check(&mut self, target: &Target, word: &str) -> anyhow::Result<()> {
        self.file.settle(self.is_elsewhere, target.has_user_namespace())?;
        let root = root_of(target)?;
        let compared = cores::compare(&self.core, &mut |path| root.open(path));
        tell(&self.file.name, &self.core, &compared, word);
        if target.is_over() {
            bail!("{word} ended just now");
        }
        Ok(())
    }

    /// Has the session see it.
    pub(super) fn mount(&mut self, spec: &mut Spec) -> anyhow::Result<()> {
        if let Origin::Target(path) = self.file.origin() {
            spec.binds.push(Bind {
                source: Source::Target(path.clone()),
                at: place().into(),
                read_only: true,
            });
        } else {
            spec.held.push(self.file.held(NAME)?);
        }
        spec.environment.push(("CORE".into(), place().into()));
        if let Some(program) = self.core.program() {
            spec.environment.push(("CORE_PROGRAM".into(), program.path.clone().into()));
        }
        Ok(())
    }
}

/// Who died, of what; and which files are not those it consisted of.
fn tell(name: &str, core: &Core, compared: &Compared, word: &str) {
    let threads = if core.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", core.threads) };
    let signal = match core.signal {
        0 => "copied while it ran".to_owned(),
        signal => cores::signal_name(signal),
    };
    let fault = core.fault.map_or(String::new(), |at| format!(" at {at:#x}"));
    let who = harmless(&core.name);
    say(&format!("purser: {name}: {who}, pid {}, {threads}, {signal}{fault}", core.pid));
    if let Some(cut) = core.cut {
        let (has, wants) = (cut.has >> 10, cut.wants >> 10);
        say(&format!(
            "purser: the core is cut off: it has {has} of {wants} KiB, and what is behind is not there"
        ));
    }
    let (same, all) = (compared.same(), core.objects.len());
    match same == all {
        true => say(&format!("purser: {word} has all {all} files it consisted of")),
        false => say(&format!("purser: {word} has {same} of the {all} files it consisted of")),
    }
    let lines: Vec<String> =
        core.objects.iter().zip(&compared.0).filter_map(|(object, one)| difference(object, one)).collect();
    for line in lines.iter().take(TOLD_LIMIT) {
        say(&format!("purser: {line}"));
    }
    if lines.len() > TOLD_LIMIT {
        say(&format!("purser: and {} more", lines.len() - TOLD_LIMIT));
    }
}

fn difference(object: &cores::Object, one: &Match) -> Option<String> {
    let path = object.path.display().to_string();
    let path = harmless(&path);
    let wanted = mark(&object.identity);
    Some(match one {
        Match::Same => return None,
        Match::Unknown => format!("{path} cannot be compared: the core does not have its beginning"),
        Match::Missing if object.deleted => {
            format!("{path} had been replaced when it died, and is not there ({wanted})")
        }
        Match::Missing => format!("{path} is not there ({wanted})"),
        Match::Differs(found) => format!("{path}: the core has {wanted}, the file {}", mark(found)),
        Match::Unreadable(why) => format!("{path}: {why}"),
    })
}

fn mark(identity: &Identity) -> String {
    match &identity.build_id {
        Some(id @ BuildId::Gnu(_)) => format!("build-id {id}"),
        Some(id @ BuildId::Go(_)) => format!("Go's build-id {id}"),
        None => "no build-id".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{command, difference};
    use cores::{BuildId, Core, Identity, Match, Object};
    use std::ffi::OsString;

    #[test]
    fn commands() {
        let program = Object { path: "/bin/target".into(), ..Object::default() };
        let core = Core { objects: vec![program], program: Some(0), ..Core::default() };
        let of = |given: &[&str], has_terminal| {
            let words = command(given.iter().map(OsString::from).collect(), &core, has_terminal);
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let open = "-c /dev/.purser/.given/core /bin/target";
        assert_eq!(of(&[], true), format!("gdb {open}"));
        assert_eq!(of(&[], false), format!("gdb -batch -ex thread apply all backtrace {open}"));
        assert_eq!(of(&["-batch", "-ex", "bt"], true), format!("gdb -batch -ex bt {open}"));
        assert_eq!(of(&["bash", "-l"], true), "bash -l");
    }

    #[test]
    fn differences() {
        let of = |byte| Identity { build_id: Some(BuildId::Gnu(vec![byte, 7])), first_page: None };
        let object = Object { path: "/lib/a\n.so".into(), identity: of(1), deleted: false };
        assert_eq!(difference(&object, &Match::Same), None);
        assert_eq!(
            difference(&object, &Match::Missing).unwrap(),
            "/lib/a\\n.so is not there (build-id 0107)"
        );
        assert_eq!(
            difference(&object, &Match::Differs(of(255))).unwrap(),
            "/lib/a\\n.so: the core has build-id 0107, the file build-id ff07"
        );
    }
}
