// SPDX-License-Identifier: Apache-2.0
//! One event as one line: time, container, command, user, result.

use super::ending::{Ending, Mood};
use super::quote::{command, harmless};
use super::span::duration;
use super::{Identity, Recent, Row};
use event::{
    Body, Exec, ExecFailed, Exit, Gap, GapCause, Process, Screen, Session, SessionAction, flags, names,
};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::borrow::Cow;

/// Characters of a command on a line; the whole of it is in `-o json` and `-o raw`.
const COMMAND_LIMIT: usize = 2_000;
/// Characters of the command on the line that tells its end later.
const ENDED_LIMIT: usize = 60;
/// Width of the command column, when nothing is longer.
const COMMAND_WIDTH: usize = 32;
/// The narrowest and the widest column of container names.
const NAME_WIDTH: (usize, usize) = (6, 24);
/// Printed processes remembered, to put children below them.
const PARENTS_LIMIT: usize = 8_192;
/// Deepest indentation.
const DEPTH_LIMIT: u8 = 10;

/// How lines look; found out by the caller.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// The zone of printed times.
    pub(crate) zone: TimeZone,
    /// Today there: only other days' times are printed with their date.
    pub(crate) today: Date,
    /// Whether to colour.
    pub(crate) colour: bool,
}

/// Makes lines, remembering what was printed.
#[derive(Debug)]
pub(crate) struct Painter {
    look: Look,
    name_width: usize,
    depths: Recent<Identity, u8>,
    /// Execs printed without a result: their name column, indentation and command.
    open: Recent<Identity, String>,
}

/// The parts of a line.
struct Parts<'a> {
    time_ns: u64,
    name: Cow<'a, str>,
    command: String,
    user: String,
    result: String,
    mood: Mood,
}

impl Painter {
    pub(crate) fn new(look: Look) -> Painter {
        Painter {
            look,
            name_width: NAME_WIDTH.0,
            depths: Recent::new(PARENTS_LIMIT),
            open: Recent::new(PARENTS_LIMIT),
        }
    }

    /// The line of a row, with its line end.
    pub(crate) fn line(&mut self, row: &Row, ending: &Ending) -> String {
        match &row.event.body {
            Body::Exec(exec) | Body::Running(exec) => self.exec(row, exec, ending),
            Body::ExecFailed(failed) => self.failed(row, failed),
            Body::Exit(exit) => self.exit(row, exit),
            Body::Gap(gap) => self.loud(row, &gap_text(gap)),
            Body::Agent(agent) => {
                let text = format!("purser {}: {}", agent.action, agent.message);
                self.plain(row, harmless(&text).into_owned())
            }
            Body::Line(line) => self.plain(row, line_text(line)),
            Body::Session(session) => self.session(row, session),
            Body::Tty(screen) => self.plain(row, screen_text(screen)),
        }
    }

    /// Whether some printed exec still has no result.
    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Gives up waiting for ends.
    pub(crate) fn close_all(&mut self) {
        self.open.clear();
    }

    /// The line that tells the end of an exec printed before without one.
    pub(crate) fn ended(&mut self, row: &Row, exit: &Exit) -> Option<String> {
        let command = self.open.remove(&row.identity()?)?;
        let ending = Ending::of(exit);
        let result = match ending.duration_ns() {
            Some(ns) => format!("ended {} after {}", ending.word(), duration(ns)),
            None => format!("ended {}", ending.word()),
        };
        let parts = Parts {
            time_ns: row.event.time_ns,
            name: name(row),
            command: format!("… {command}"),
            user: String::new(),
            result,
            mood: ending.mood(),
        };
        Some(self.paint(&parts))
    }

    fn exec(&mut self, row: &Row, exec: &Exec, ending: &Ending) -> String {
        let identity = (row.event.boot_id, exec.process.key);
        let depth = self.depth(&identity, &exec.process);
        self.depths.insert(identity, depth);
        let mut text = indent(depth);
        let words = exec_text(exec, COMMAND_LIMIT);
        text.push_str(&words);
        text.push_str(&marks(exec));
        if *ending == Ending::Open {
            let short = words.chars().take(ENDED_LIMIT).collect();
            self.open.insert(identity, short);
        }
        let result = match (&row.event.body, ending) {
            (Body::Running(_), Ending::Open | Ending::Running) => "already running".to_string(),
            _ => ending.text(),
        };
        let user = user(&exec.process);
        self.paint(&Parts {
            time_ns: row.event.time_ns,
            name: name(row),
            command: text,
            user,
            result,
            mood: ending.mood(),
        })
    }

    fn failed(&mut self, row: &Row, failed: &ExecFailed) -> String {
        let identity = (row.event.boot_id, failed.process.key);
        let mut text = indent(self.depth(&identity, &failed.process));
        // The path tried says more than the name it was to be called by.
        let rest = failed.args.iter().skip(1).map(Vec::as_slice);
        text.push_str(&command(std::iter::once(failed.filename.as_slice()).chain(rest), COMMAND_LIMIT));
        let parts = Parts {
            time_ns: row.event.time_ns,
            name: name(row),
            command: text,
            user: user(&failed.process),
            result: names::errno(failed.errno),
            mood: Mood::Bad,
        };
        self.paint(&parts)
    }

    fn exit(&mut self, row: &Row, exit: &Exit) -> String {
        let ending = Ending::of(exit);
        let program = match exit.executable.as_slice() {
            [] => format!("pid {}", exit.process.key.pid),
            path => command([path], COMMAND_LIMIT),
        };
        let parts = Parts {
            time_ns: row.event.time_ns,
            name: name(row),
            command: format!("end of {program}"),
            user: user(&exit.process),
            result: ending.text(),
            mood: ending.mood(),
        };
        self.paint(&parts)
    }

    fn session(&mut self, row: &Row, session: &Session) -> String {
        let who = if session.user.is_empty() { format!("uid {}", session.uid) } else { session.user.clone() };
        let words = match session.command.as_slice() {
            [] => "a shell".to_string(),
            words => command(words.iter().map(Vec::as_slice), COMMAND_LIMIT),
        };
        let id = if session.id.is_empty() { String::new() } else { format!(" {}", session.id) };
        let text = |verb: &str| format!("{who} {verb} session{id}: {words}");
        let because = |text: &str| if text.is_empty() { String::new() } else { format!(" ({text})") };
        let (text, result, mood) = match session.action {
            SessionAction::Start => (text("began") + &because(&session.reason), String::new(), Mood::Quiet),
            SessionAction::End => {
                let mood = if session.code == 0 { Mood::Good } else { Mood::Bad };
                let result = format!("exit {} {}", session.code, duration(session.duration_ns));
                (text("ended") + &because(&session.detail), result, mood)
            }
            SessionAction::Refused => {
                (text("was refused a") + &because(&session.detail), "refused".to_string(), Mood::Bad)
            }
        };
        let (name, command) = (name(row), harmless(&text).into_owned());
        self.paint(&Parts { time_ns: row.event.time_ns, name, command, user: String::new(), result, mood })
    }

    fn plain(&mut self, row: &Row, command: String) -> String {
        let (user, result) = (String::new(), String::new());
        self.paint(&Parts {
            time_ns: row.event.time_ns,
            name: name(row),
            command,
            user,
            result,
            mood: Mood::Quiet,
        })
    }

    fn loud(&mut self, row: &Row, text: &str) -> String {
        let painted = self.colour("1;31", text).into_owned();
        self.plain(row, painted)
    }

    fn depth(&self, identity: &Identity, process: &Process) -> u8 {
        let boot = identity.0;
        // A process that executes again stays where it was.
        if let Some(&depth) = self.depths.get(identity) {
            return depth;
        }
        let above =
            self.depths.get(&(boot, process.parent)).or_else(|| self.depths.get(&(boot, process.ancestor)));
        above.map_or(0, |depth| (depth + 1).min(DEPTH_LIMIT))
    }

    fn paint(&mut self, parts: &Parts<'_>) -> String {
        let length = parts.name.chars().count();
        self.name_width = self.name_width.max(length.min(NAME_WIDTH.1));
        let mut line = self.colour("2", &self.time(parts.time_ns)).into_owned();
        line.push_str("  ");
        line.push_str(&self.colour("36", &padded(&cut(&parts.name, NAME_WIDTH.1), self.name_width)));
        line.push_str("   ");
        if parts.user.is_empty() && parts.result.is_empty() {
            line.push_str(&parts.command);
        } else {
            line.push_str(&padded(&parts.command, COMMAND_WIDTH));
            line.push_str("  ");
            line.push_str(&padded(&parts.user, 6));
            line.push_str("  ");
            let code = match parts.mood {
                Mood::Good => "32",
                Mood::Bad => "31",
                Mood::Quiet => "2",
            };
            line.push_str(&self.colour(code, &parts.result));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    fn time(&self, time_ns: u64) -> String {
        match Timestamp::from_nanosecond(i128::from(time_ns)) {
            Ok(timestamp) => {
                let zoned = timestamp.to_zoned(self.look.zone.clone());
                let format = if zoned.date() == self.look.today { "%H:%M:%S%.3f" } else { "%F %H:%M:%S%.3f" };
                zoned.strftime(format).to_string()
            }
            Err(_) => format!("{time_ns}ns"),
        }
    }

    fn colour<'a>(&self, code: &str, text: &'a str) -> Cow<'a, str> {
        if !self.look.colour || text.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
    }
}

/// What was executed, at most `limit` characters of it.
pub(super) fn exec_text(exec: &Exec, limit: usize) -> String {
    if exec.args.is_empty() {
        // Called without any argument, not even a name.
        return format!("({})", command([exec.executable.as_slice()], limit));
    }
    command(exec.args.iter().map(Vec::as_slice), limit)
}

/// Marks worth a look. Arguments cannot forge them: brackets in arguments are quoted.
pub(super) fn marks(exec: &Exec) -> String {
    let told = flags::MEMFD
        | flags::DELETED
        | flags::RAISED
        | flags::ARGS_CUT
        | flags::RUNTIME_INIT
        | flags::PATH_CUT;
    let words: Vec<&str> =
        flags::WORDS.iter().filter(|(bit, _)| exec.flags & told & bit != 0).map(|(_, word)| *word).collect();
    if words.is_empty() { String::new() } else { format!(" [{}]", words.join(" ")) }
}

/// The line behind the name of its file, both of them made harmless.
fn line_text(line: &event::Line) -> String {
    // The file of a container's output is named after its id; the stream says more.
    let place = match line.stream() {
        Some(stream) => stream.as_bytes(),
        None => line.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default(),
    };
    let text = if line.message.is_empty() {
        Cow::Borrowed(line.json.as_str())
    } else {
        Cow::Owned(event::document::text(&line.message))
    };
    let short: String = text.chars().take(COMMAND_LIMIT).collect();
    format!("{}: {}", harmless(&event::document::text(place)), harmless(&short))
}

/// The beginning of what a terminal showed, made harmless.
fn screen_text(screen: &Screen) -> String {
    let text = event::document::text(&screen.bytes);
    let short: String = text.chars().take(COMMAND_LIMIT).collect();
    format!("screen of {}: {}", harmless(&screen.session), harmless(&short))
}

fn gap_text(gap: &Gap) -> String {
    let count = match gap.count {
        0 => "an unknown number of events".to_string(),
        1 => "1 event".to_string(),
        count => format!("{} events", super::grouped(count)),
    };
    let what = match gap.cause {
        GapCause::BulkFull => format!("arguments of {count} cut"),
        _ => format!("{count} lost"),
    };
    let place = if gap.cpu == u32::MAX { String::new() } else { format!(" on cpu {}", gap.cpu) };
    let detail = if gap.detail.is_empty() { String::new() } else { format!(" ({})", harmless(&gap.detail)) };
    format!("GAP {what}: {}{place}{detail}", gap.cause.word().replace('_', " "))
}

fn indent(depth: u8) -> String {
    match depth {
        0 => String::new(),
        depth => "  ".repeat(usize::from(depth) - 1) + "└ ",
    }
}

/// The container's name, or the start of its id; `-` on the host.
fn name(row: &Row) -> Cow<'_, str> {
    let known = row.container.as_deref().map_or("", |container| container.name.as_str());
    if !known.is_empty() {
        return harmless(known);
    }
    if row.event.container.is_empty() {
        return Cow::Borrowed("-");
    }
    harmless(row.event.container.get(..12).unwrap_or(&row.event.container))
}

fn user(process: &Process) -> String {
    if process.euid == process.uid {
        format!("uid {}", process.uid)
    } else {
        format!("uid {} as {}", process.uid, process.euid)
    }
}

/// `text` in at most `width` characters, with a mark where it is cut.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(width.saturating_sub(1)).chain(['…']).collect())
}

fn padded(text: &str, width: usize) -> String {
    let mut padded = text.to_string();
    padded.extend(std::iter::repeat_n(' ', width.saturating_sub(text.chars().count())));
    padded
}
