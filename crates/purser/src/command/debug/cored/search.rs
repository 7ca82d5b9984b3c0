// SPDX-License-Identifier: Apache-2.0
//! Which container, or whether the host, has the program that a core is of. Compared is by build-id, and names are not
//! believed.

use super::super::target;
use super::roots::Root;
use anyhow::bail;
use container::{Recorded, Sources};
use cores::{Compared, Core, Match};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// How long one place may take: a file system in it may be somebody's who does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place that has the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Home {
    /// What it is called as a target.
    pub(in super::super) word: String,
    /// How many objects are known to be the same.
    same: usize,
    whole: bool,
}

/// Somewhere to look.
struct Place {
    what: What,
    files: Files,
}

/// What is at a place.
enum What {
    Container(Box<Recorded>),
    /// By a process that is in no container.
    Host(i32),
}

impl What {
    /// What it is called as a target.
    fn word(&self, sources: &Sources) -> String {
        match self {
            What::Container(container) => target::word(container, sources),
            What::Host(pid) => format!("pid:{pid}"),
        }
    }
}

type Files = Box<dyn FnMut(&Path) -> io::Result<Option<File>> + Send>;

/// The first place in which all objects are, or else the one with the most of them.
pub(in super::super) fn home(name: &str, core: &Arc<Core>, sources: &Sources) -> anyhow::Result<Home> {
    let Some(program) = core.program() else {
        bail!("{name} does not say which file its program was; say where it is with --in TARGET");
    };
    let path = program.path.display();
    if program.identity == cores::Identity::default() {
        bail!("{name} has nothing to tell {path} by; say where it is with --in TARGET");
    }
    let (found, looked) = looked_through(core, sources);
    found.ok_or_else(|| {
        let mark = match &program.identity.build_id {
            Some(id) => format!("build-id {id}"),
            None => "it has no build-id, so its first page was compared".to_owned(),
        };
        anyhow::anyhow!(
            "nobody has {path} of {name} ({mark}); looked in {looked}; say where it is with --in TARGET"
        )
    })
}

/// The best place, and how many there were.
pub(in super::super) fn looked_through(core: &Arc<Core>, sources: &Sources) -> (Option<Home>, String) {
    let mut best: Option<Home> = None;
    let running = running(core.pid, sources);
    let looked = format!("{} running containers and on this host", running.len());
    for place in running.into_iter().chain(host()) {
        let Some(home) = look(core, place, sources) else { continue };
        if home.whole {
            return (Some(home), looked);
        }
        if best.as_ref().is_none_or(|best| best.same < home.same) {
            best = Some(home);
        }
    }
    (best, looked)
}

/// Running containers; the one in which the process is, if it lives, before others.
fn running(pid: i32, sources: &Sources) -> Vec<Place> {
    let own = container::identity(pid).map(|identity| identity.id);
    let mut all = target::running(sources);
    all.sort_by_key(|one| own.as_ref() != Some(&one.id));
    let place = |one: Recorded| {
        let root = Root::of(one.pid?).ok()?;
        Some(Place { what: What::Container(Box::new(one)), files: Box::new(move |path| root.open(path)) })
    };
    all.into_iter().filter_map(place).collect()
}

/// By its first process, or where we may not look at that one, by ourselves.
fn host() -> Option<Place> {
    let own = rustix::process::getpid().as_raw_pid();
    let pid = if debug::Target::open(1).is_ok() { 1 } else { own };
    let root = Root::of(pid).ok()?;
    let files: Files = Box::new(move |path| root.open(path));
    Some(Place { what: What::Host(pid), files })
}

/// Nothing when the program is not there, or nobody answers.
fn look(core: &Arc<Core>, place: Place, sources: &Sources) -> Option<Home> {
    let Place { what, mut files } = place;
    let (answer, answered) = sync_channel(1);
    let core = Arc::clone(core);
    let work = move || {
        let has_program = core.program().is_some_and(|program| program.compare(&mut files) == Match::Same);
        // Whoever asked may have gone on.
        answer.send(has_program.then(|| cores::compare(&core, &mut files))).unwrap_or_default();
    };
    thread::Builder::new().name("look".to_owned()).spawn(work).ok()?;
    let compared: Option<Compared> = answered.recv_timeout(PATIENCE).unwrap_or_default();
    compared.map(|compared| Home {
        word: what.word(sources),
        same: compared.same(),
        whole: compared.is_whole(),
    })
}
