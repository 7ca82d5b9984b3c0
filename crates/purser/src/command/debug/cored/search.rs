// SPDX-License-Identifier: Apache-2.0
//! Which container, or whether the host or which image, has the program that a core is of. Compared is by build-id, and
//! names are not believed.

use super::super::still::stores;
use super::super::target::{self, Knows};
use super::roots::Root;
use crate::command::say;
use anyhow::bail;
use container::{Recorded, Sources};
use cores::{Compared, Core, Match};
use image::{Image, View};
use std::collections::HashSet;
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
    /// Whether nothing runs there.
    is_still: bool,
}

/// Somewhere to look.
struct Place {
    what: What,
    files: Files,
}

/// What is at a place.
enum What {
    /// One that runs or not.
    Container(Box<Recorded>),
    /// By a process that is in no container.
    Host(i32),
    Image(Box<Image>),
}

impl What {
    /// What it is called as a target.
    fn word(&self, sources: &Sources) -> String {
        match self {
            What::Container(container) => target::word(container, sources),
            What::Host(pid) => format!("pid:{pid}"),
            What::Image(image) => {
                let means = |name: &&String| {
                    image::find(&stores(), name, &|_| true).is_ok_and(|tree| tree.id == image.id)
                };
                format!("image:{}", image.names.iter().find(means).unwrap_or(&image.id))
            }
        }
    }
}

type Files = Box<dyn FnMut(&Path) -> io::Result<Option<File>> + Send>;

/// The first place in which all objects are, or else the one with the most of them.
pub(in super::super) fn home(
    name: &str,
    core: &Arc<Core>,
    sources: &Sources,
    knows: Knows<'_>,
) -> anyhow::Result<Home> {
    let Some(program) = core.program() else {
        bail!("{name} does not say which file its program was; say where it is with --in TARGET");
    };
    let path = program.path.display();
    if program.identity == cores::Identity::default() {
        bail!("{name} has nothing to tell {path} by; say where it is with --in TARGET");
    }
    let (found, looked) = looked_through(core, sources, knows);
    if let Some(home) = found.as_ref().filter(|home| home.is_still) {
        say(&format!("purser: the program of {name} is in {}, which does not run", home.word));
    }
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

/// The best place, and where was looked. What somebody may not know of is not looked at.
pub(in super::super) fn looked_through(
    core: &Arc<Core>,
    sources: &Sources,
    knows: Knows<'_>,
) -> (Option<Home>, String) {
    let mut best: Option<Home> = None;
    let mut counts = [0; 3];
    let kinds: [&dyn Fn() -> Box<dyn Iterator<Item = Place>>; 4] = [
        &|| Box::new(running(core.pid, sources, knows).into_iter()),
        &|| Box::new(host().into_iter()),
        &|| Box::new(stopped(sources, knows)),
        &|| Box::new(images(knows)),
    ];
    for place in kinds.iter().flat_map(|places| places()) {
        match &place.what {
            What::Container(container) if container.pid.is_some() => counts[0] += 1,
            What::Container(_) => counts[1] += 1,
            What::Image(_) => counts[2] += 1,
            What::Host(_) => {}
        }
        let Some(home) = look(core, place, sources) else { continue };
        if home.whole {
            best = Some(home);
            break;
        }
        if best.as_ref().is_none_or(|best| best.same < home.same) {
            best = Some(home);
        }
    }
    let [running, stopped, images] = counts;
    let looked = format!(
        "{running} running containers, on this host, in {stopped} stopped containers and {images} images"
    );
    (best, looked)
}

/// Running containers; the one in which the process is, if it lives, before others.
fn running(pid: i32, sources: &Sources, knows: Knows<'_>) -> Vec<Place> {
    let own = container::identity(pid).map(|identity| identity.id);
    let mut all = target::running(sources);
    all.retain(|one| knows.of(one));
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

/// Containers that do not run, with what they have changed.
fn stopped<'a>(sources: &Sources, knows: Knows<'a>) -> impl Iterator<Item = Place> + 'a {
    let known = target::still(sources).into_iter().filter(move |one| knows.of(one));
    known.filter_map(|mut one| {
        let view = image::stopped(&stores(), &one.id).and_then(|tree| tree.view()).ok()?;
        one.pid = None;
        Some(Place { what: What::Container(Box::new(one)), files: of_view(view) })
    })
}

/// One of each id; the same image may be in the stores of two engines.
fn images(knows: Knows<'_>) -> impl Iterator<Item = Place> {
    let mut all = image::images(&stores());
    let mut known = HashSet::new();
    all.retain(|image| known.insert(image.id.clone()) && knows.of_image(image));
    all.into_iter().filter_map(|image| {
        let view = image.tree().and_then(|tree| tree.view()).ok()?;
        Some(Place { what: What::Image(Box::new(image)), files: of_view(view) })
    })
}

fn of_view(view: View) -> Files {
    Box::new(move |path| match view.open(path) {
        Ok(opened) => Ok(opened.map(|opened| opened.file)),
        Err(error) => Err(io::Error::other(error)),
    })
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
    let is_still = match &what {
        What::Container(container) => container.pid.is_none(),
        What::Host(_) => false,
        What::Image(_) => true,
    };
    compared.map(|compared| Home {
        is_still,
        word: what.word(sources),
        same: compared.same(),
        whole: compared.is_whole(),
    })
}
