// SPDX-License-Identifier: Apache-2.0
//! Which events `log`, `tree` and `export` are asked for: what was typed, checked into a
//! filter, which narrows the store's query and has the last word on every row.

use super::debug::targets;
use super::rows::{Archive, Part};
use super::{Usage, when};
use crate::config::Glob;
use crate::table::Row;
use clap_complete::ArgValueCandidates;
use event::{Body, Container, Exec, Kind};
use jiff::Zoned;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Candidates listed for an ambiguous id.
const CANDIDATES_SHOWN: usize = 10;

/// Which events.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Only this container: a name, a glob of names, an id or the start of one.
    #[arg(long, value_name = "CONTAINER", add = ArgValueCandidates::new(targets))]
    pub(crate) container: Option<String>,
    /// Only from this time on: 10m, 2h, 3d, today, 07:02, "2026-01-31 07:02" or RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only commands with this text in their arguments (joined by spaces) or their path.
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Only of this effective user id, as the host counts.
    #[arg(long, value_name = "UID", value_parser = uid)]
    pub(crate) user: Option<u32>,
    /// Only this executable: an absolute path or a base name.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) exe: Option<String>,
    /// Only the process with this pid, as the host counts.
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Only events of these kinds: exec, exec_failed, exit, process_running, gap, agent, line.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    pub(crate) kind: Vec<Kind>,
}

fn uid(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no user id; a user's is printed by: id -u NAME"))
}

fn kind(word: &str) -> Result<Kind, String> {
    let words = || Kind::ALL.map(Kind::word).join(", ");
    Kind::from_word(word).ok_or_else(|| format!("{word:?} is no kind; there are {}", words()))
}

/// A container as it was asked for.
#[derive(Clone, Debug)]
struct Wanted {
    text: String,
    glob: Option<Glob>,
    /// The ids it stands for in the record so far.
    ids: BTreeSet<String>,
    /// Whether containers that come later can also be meant.
    open: bool,
}

/// A checked filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    wanted: Option<Arc<Wanted>>,
    pub(crate) since_ns: Option<u64>,
    pub(crate) until_ns: Option<u64>,
    grep: Option<Vec<u8>>,
    user: Option<u32>,
    exe: Option<Vec<u8>>,
    pid: Option<u32>,
    pub(crate) kinds: Vec<Kind>,
    /// Let exits pass that only the container and the time speak for.
    exits_too: bool,
    /// Leave out what terminals showed, unless that kind is asked for.
    no_screens: bool,
}

impl Args {
    /// Checks what was typed. `following` lets a container be one that does not exist yet.
    pub(crate) fn check(&self, archive: &Archive, now: &Zoned, following: bool) -> anyhow::Result<Filter> {
        let moment = |option: &str, text: &Option<String>| -> Result<Option<u64>, Usage> {
            let Some(text) = text else { return Ok(None) };
            when::parse(text, now).map(Some).map_err(|wrong| Usage(format!("{option}: {wrong}")))
        };
        let since_ns = moment("--since", &self.since)?;
        let until_ns = moment("--until", &self.until)?;
        if since_ns.zip(until_ns).is_some_and(|(since, until)| since >= until) {
            return Err(Usage("--since is not before --until".to_string()).into());
        }
        let wanted = match &self.container {
            Some(text) => Some(Arc::new(resolve(text, archive, following)?)),
            None => None,
        };
        let bytes = |text: &Option<String>| {
            text.as_ref().filter(|text| !text.is_empty()).map(|text| text.clone().into_bytes())
        };
        Ok(Filter {
            wanted,
            since_ns,
            until_ns,
            grep: bytes(&self.grep),
            user: self.user,
            exe: bytes(&self.exe),
            pid: self.pid,
            kinds: self.kind.clone(),
            exits_too: false,
            no_screens: false,
        })
    }
}

fn resolve(text: &str, archive: &Archive, following: bool) -> anyhow::Result<Wanted> {
    let glob = Glob::new(text).map_err(|wrong| Usage(format!("--container: {wrong}")))?;
    let known = archive.containers()?;
    let named: BTreeSet<String> = known
        .iter()
        .filter(|(_, container)| glob.matches(&container.name))
        .map(|(id, _)| id.clone())
        .collect();
    let mut wanted = Wanted { text: text.to_string(), glob: Some(glob), ids: named, open: following };
    if !wanted.ids.is_empty() {
        return Ok(wanted);
    }
    let starting: Vec<(&String, &Container)> = known.iter().filter(|(id, _)| id.starts_with(text)).collect();
    match starting.as_slice() {
        [] if following => Ok(wanted),
        [] => Err(Usage(nobody(text, &known)).into()),
        [(id, _)] => {
            wanted.glob = None;
            wanted.ids.insert((*id).clone());
            wanted.open = false;
            Ok(wanted)
        }
        several => Err(Usage(ambiguous(text, several)).into()),
    }
}

fn nobody(text: &str, known: &std::collections::BTreeMap<String, Container>) -> String {
    let nearest = known
        .values()
        .filter(|container| !container.name.is_empty())
        .map(|container| (strsim::damerau_levenshtein(&container.name, text), &container.name))
        .min();
    match nearest {
        Some((distance, name)) if distance <= name.len() / 2 => {
            format!("no container {text:?} in the record; did you mean {name:?}?")
        }
        _ => format!("no container {text:?} in the record, which knows {}", known.len()),
    }
}

fn ambiguous(text: &str, candidates: &[(&String, &Container)]) -> String {
    let mut message = format!("{text:?} is the start of {} container ids:", candidates.len());
    for (id, container) in candidates.iter().take(CANDIDATES_SHOWN) {
        message.push_str(&format!("\n  {id}  {}", container.name));
    }
    if candidates.len() > CANDIDATES_SHOWN {
        message.push_str(&format!("\n  and {} more", candidates.len() - CANDIDATES_SHOWN));
    }
    message
}

impl Wanted {
    fn matches(&self, id: &str, name: impl FnOnce() -> String) -> bool {
        if self.ids.contains(id) {
            return true;
        }
        if !self.open || id.is_empty() {
            return false;
        }
        id.starts_with(&self.text) || self.glob.as_ref().is_some_and(|glob| glob.matches(&name()))
    }
}

impl Filter {
    /// The store's query: never narrower than the filter.
    pub(crate) fn query(&self, part: &Part) -> store::Query {
        let kinds = part.kinds.as_ref().or(if self.kinds.is_empty() { None } else { Some(&self.kinds) });
        let subject = self.wanted.clone().map(|wanted| -> store::SubjectTest {
            Arc::new(move |id: &[u8], attachment: &[u8]| {
                let name = || event::codec::decode_container(attachment).unwrap_or_default().name;
                std::str::from_utf8(id).is_ok_and(|id| wanted.matches(id, name))
            })
        });
        store::Query {
            since_ns: self.since_ns,
            until_ns: self.until_ns,
            from_sequence: part.from_sequence,
            kinds: kinds.map_or(0, |kinds| kinds.iter().fold(0, |bits, &kind| bits | 1 << (kind as u8))),
            subject,
            user: self.user,
            executable: self.exe.clone().filter(|exe| exe.starts_with(b"/") && !self.wants_failed()),
            text: self.piece(),
            newest_first: part.newest_first,
            ..store::Query::default()
        }
    }

    /// The same without what an exit does not carry: for finding the ends of execs.
    pub(crate) fn for_exits(&self) -> Filter {
        Filter { grep: None, user: None, exe: None, until_ns: None, kinds: vec![Kind::Exit], ..self.clone() }
    }

    /// The same without what terminals showed, unless that kind is asked for.
    pub(crate) fn without_screens(self) -> Filter {
        Filter { no_screens: true, ..self }
    }

    /// The same, also for exits of any process of the containers asked for.
    pub(crate) fn with_exits(&self) -> Filter {
        Filter { exits_too: true, ..self.clone() }
    }

    /// Whether exits may fail this filter although their execs pass it.
    pub(crate) fn parts_exits(&self) -> bool {
        self.grep.is_some() || self.user.is_some() || self.exe.is_some() || self.until_ns.is_some()
    }

    /// A failed exec has no executable, only the path that was tried.
    fn wants_failed(&self) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&Kind::ExecFailed)
    }

    /// The text is looked for in all arguments joined; the store keeps them apart. A piece
    /// without a space stands in one argument, so the longest of them narrows best.
    fn piece(&self) -> Option<Vec<u8>> {
        let piece = self.grep.as_ref()?.split(|&byte| byte == b' ').max_by_key(|piece| piece.len())?;
        (!piece.is_empty()).then(|| piece.to_vec())
    }

    /// Whether a row is asked for. The kind is left to the query and the caller.
    pub(crate) fn matches(&self, row: &Row) -> bool {
        let event = &row.event;
        if self.exits_too && event.kind() == Kind::Exit {
            return self.matches_container(row);
        }
        if !self.kinds.is_empty() && !self.kinds.contains(&event.kind()) {
            return false;
        }
        if self.no_screens && self.kinds.is_empty() && event.kind() == Kind::Tty {
            return false;
        }
        self.since_ns.is_none_or(|since| event.time_ns >= since)
            && self.until_ns.is_none_or(|until| event.time_ns < until)
            && self.matches_container(row)
            && self.user.is_none_or(|user| event.process().is_some_and(|process| process.euid == user))
            && self.pid.is_none_or(|pid| event.process().is_some_and(|process| process.key.pid == pid))
            && self.exe.as_ref().is_none_or(|exe| has_program(&event.body, exe))
            && self.grep.as_ref().is_none_or(|text| has_text(&event.body, text))
    }

    fn matches_container(&self, row: &Row) -> bool {
        let name = || row.container.as_deref().map_or(String::new(), |container| container.name.clone());
        self.wanted.as_ref().is_none_or(|wanted| wanted.matches(&row.event.container, name))
    }
}

fn has_program(body: &Body, wanted: &[u8]) -> bool {
    let path = match body {
        Body::Exec(exec) | Body::Running(exec) => &exec.executable,
        Body::ExecFailed(failed) => &failed.filename,
        Body::Exit(exit) => &exit.executable,
        Body::Gap(_) | Body::Agent(_) | Body::Line(_) | Body::Session(_) | Body::Tty(_) => return false,
    };
    if wanted.starts_with(b"/") {
        return path == wanted;
    }
    path.rsplit(|&byte| byte == b'/').next() == Some(wanted)
}

fn has_text(body: &Body, text: &[u8]) -> bool {
    match body {
        Body::Exec(exec) | Body::Running(exec) => exec_has(exec, text),
        Body::ExecFailed(failed) => {
            contains(&failed.args.join(&b' '), text) || contains(&failed.filename, text)
        }
        Body::Exit(exit) => contains(&exit.executable, text),
        Body::Gap(gap) => contains(gap.detail.as_bytes(), text),
        Body::Agent(agent) => contains(agent.message.as_bytes(), text),
        Body::Line(line) => {
            let parts: [&[u8]; 3] = [&line.message, line.json.as_bytes(), &line.path];
            parts.iter().any(|part| contains(part, text))
        }
        Body::Session(session) => {
            let words = session.command.join(&b' ');
            let parts = [&session.id, &session.target, &session.user, &session.reason, &session.detail];
            contains(&words, text) || parts.iter().any(|part| contains(part.as_bytes(), text))
        }
        Body::Tty(screen) => contains(&screen.bytes, text) || contains(screen.session.as_bytes(), text),
    }
}

fn exec_has(exec: &Exec, text: &[u8]) -> bool {
    contains(&exec.executable, text)
        || contains(&exec.filename, text)
        || if text.contains(&b' ') {
            contains(&exec.args.join(&b' '), text)
        } else {
            exec.args.iter().any(|argument| contains(argument, text))
        }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || memchr::memmem::find(bytes, text).is_some()
}
