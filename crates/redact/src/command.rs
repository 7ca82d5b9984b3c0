// SPDX-License-Identifier: Apache-2.0
//! Commands whose short options or positions carry a secret, as a table, and the search through the
//! words of one command. Sees words only; whether they come from argv or a script is the same here.

use crate::field::Kind;
use crate::rule::{Builtin, Enabled};
use crate::script::{Word, unquote};
use crate::secret::{Span, is_secret, marker_len};
use crate::shape::proxy_password;
use crate::table::{BEHIND, COMMANDS, VALUE_FLAGS, WRAPPERS};
use std::collections::HashMap;
use std::ops::Range;

/// A command, or several that take the same options.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) rule: Builtin,
    pub(crate) names: &'static [&'static str],
    pub(crate) options: &'static [Flag],
    pub(crate) positions: &'static [Position],
    /// Options that look as if a secret followed and are switches or say where the secret is.
    pub(crate) plain: &'static [&'static str],
    /// Options with a value in the next word, which is none of the `positions`.
    pub(crate) valued: &'static [&'static str],
    /// Short options without a value, which may stand before another in one word: `-sSu` for `-u`.
    pub(crate) switches: &'static str,
    /// Its own options end where the command it runs begins.
    pub(crate) leading: bool,
}

impl Command {
    /// Whether `word` is `flag`, or switches and then `flag`.
    fn ends_in(&self, word: &[u8], flag: &str) -> bool {
        let joined = || match (flag.as_bytes(), word) {
            ([b'-', letter], [b'-', switches @ .., last]) => {
                last == letter && switches.iter().all(|byte| self.switches.as_bytes().contains(byte))
            }
            _ => false,
        };
        flag.as_bytes() == word || joined()
    }
}

/// One option or keyword with a secret.
#[derive(Debug)]
pub(crate) struct Flag {
    /// `-p`, `--user`, or a word without dashes whose next word is the secret.
    pub(crate) flag: &'static str,
    pub(crate) take: Take,
    pub(crate) part: Part,
    /// A word that must stand before it: `login` for `docker login -p`. Empty: none.
    pub(crate) after: &'static str,
}

/// Where the value of a short option stands. Long options always take both forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    Attached,
    Next,
    Both,
}

/// Which part of the value is the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// Behind the first of this byte; without it there is no secret.
    Behind(u8),
    /// Behind the first colon of a certificate's file; the address of a key on a card holds no secret.
    Certificate,
    /// The password in the address of a proxy.
    Proxy,
    /// Behind `pass:`; other sources (`file:`, `env:`) hold no secret.
    PassSource,
    /// Behind the first `/` and before the last `@`.
    Slashed,
    /// The whole value if it has a `=`; else it is the name of a cookie file.
    Cookies,
}

/// A secret known by its place among the words that are no options.
#[derive(Debug)]
pub(crate) struct Position {
    /// The word the counting starts behind; empty: the command itself.
    pub(crate) after: &'static str,
    /// 1 is the first word behind it.
    pub(crate) nth: usize,
    pub(crate) part: Part,
    /// Short option letters that must be there: the `b` of `htpasswd -b`.
    pub(crate) letters: &'static str,
}

/// What a base name is.
#[derive(Debug, Clone, Copy)]
enum Entry {
    Known(&'static Command),
    Wrapper,
}

/// Commands within commands (`sudo docker exec c sh`) followed in one line.
const NEST_LIMIT: usize = 4;

/// The table by base name.
#[derive(Debug)]
pub(crate) struct Commands {
    by_name: HashMap<&'static [u8], (Entry, bool)>,
}

/// The commands of one line that have rules, with the index of their word.
#[derive(Debug, Default)]
pub(crate) struct Line {
    found: [Option<(usize, &'static Command)>; NEST_LIMIT],
    /// A word `;` ends the command, as that of `find -exec` does.
    terminated: bool,
}

impl Line {
    /// Whether `option` is no carrier of a secret for a command of this line.
    pub(crate) fn is_plain(&self, option: &[u8]) -> bool {
        self.found
            .iter()
            .flatten()
            .any(|(_, command)| command.plain.iter().any(|flag| flag.as_bytes() == option))
    }

    /// Whether any command with rules was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.found[0].is_none()
    }
}

impl Commands {
    pub(crate) fn new() -> Self {
        let mut by_name = HashMap::new();
        for name in WRAPPERS {
            by_name.insert(name.as_bytes(), (Entry::Wrapper, true));
        }
        for command in COMMANDS {
            for name in command.names {
                let wraps = WRAPPERS.contains(name);
                by_name.insert(name.as_bytes(), (Entry::Known(command), wraps));
            }
        }
        Self { by_name }
    }

    /// What the path of a program is, also with a version behind its name: `mysql-8.0`.
    fn named(&self, path: &[u8]) -> Option<(Entry, bool)> {
        let name = base_name(path);
        self.by_name.get(name).or_else(|| self.by_name.get(without_version(name)?)).copied()
    }

    /// Finds the commands of a line. `words` gives the word at an index; `fallback` is the executable,
    /// asked when the first word says nothing.
    pub(crate) fn line<'w>(&self, words: impl Fn(usize) -> Option<&'w [u8]>, fallback: &[u8]) -> Line {
        let mut line = Line::default();
        let mut slots = line.found.iter_mut();
        let mut terminated = false;
        let mut at = 0;
        while words(at).is_some_and(is_prelude) {
            at += 1;
        }
        let first = words(at).and_then(|word| self.named(word));
        let Some((entry, mut wraps)) = first.or_else(|| self.named(fallback)) else { return line };
        if let Entry::Known(command) = entry
            && let Some(slot) = slots.next()
        {
            *slot = Some((at, command));
        }
        let mut start = |at: usize| match words(at).and_then(behind) {
            Some(options) => {
                terminated = true;
                (at + 1..)
                    .map_while(|at| Some((at, words(at)?)))
                    .find(|(_, word)| options.contains(word))
                    .map(|row| row.0)
            }
            None => Some(at),
        };
        match start(at) {
            Some(from) => at = from,
            None => wraps = false,
        }
        while wraps {
            at += 1;
            let Some(word) = words(at) else { break };
            let Some((entry, inner)) = self.named(word) else { continue };
            // A text with blanks is a script, even when it ends like the path of a command.
            if word.contains(&b' ') {
                continue;
            }
            if at.checked_sub(1).and_then(&words).is_some_and(|before| VALUE_FLAGS.contains(&before)) {
                continue;
            }
            wraps = inner;
            match start(at) {
                Some(from) => at = from,
                None => break,
            }
            if let Entry::Known(command) = entry {
                // A slot already holds the wrapper itself when it has rules of its own.
                match slots.next() {
                    Some(slot) => *slot = Some((at, command)),
                    None => break,
                }
            }
        }
        line.terminated = terminated;
        line
    }
}

/// Assignments and shell words that stand before a command.
fn is_prelude(word: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"then", b"do", b"else", b"if", b"elif", b"while", b"until", b"!", b"{", b"exec", b"command",
        b"eval", // What shells print before a command with `set -x`.
        b"+", b"++", b"+++",
    ];
    let name = word.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    WORDS.contains(&word) || (name > 0 && word.get(name) == Some(&b'='))
}

/// The last part of a path, without the dash of a login shell.
pub(crate) fn base_name(path: &[u8]) -> &[u8] {
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    base.strip_prefix(b"-").unwrap_or(base)
}

fn without_version(name: &[u8]) -> Option<&[u8]> {
    name.last().filter(|byte| byte.is_ascii_digit())?;
    let version = name.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let name = name.get(..name.len() - version)?;
    Some(name.strip_suffix(b"-").unwrap_or(name))
}

/// The options behind which this wrapper names its command, when it does not at once.
fn behind(path: &[u8]) -> Option<&'static [&'static [u8]]> {
    let name = base_name(path);
    BEHIND.iter().find(|row| row.0 == name).map(|row| row.1)
}

/// Adds the secrets that the commands of `line` carry in `words`.
pub(crate) fn search(line: &Line, words: &[Word<'_>], kind: Kind, enabled: Enabled, spans: &mut Vec<Span>) {
    for (index, slot) in line.found.iter().enumerate() {
        let Some((start, command)) = slot else { break };
        if !enabled.has(command.rule) {
            continue;
        }
        let next = line.found.get(index + 1).and_then(Option::as_ref).map_or(words.len(), |next| next.0);
        let own = words.get(start + 1..next).unwrap_or_default();
        let ends = |word: &Word<'_>| line.terminated && matches!(word.bytes, b";" | b"\\;");
        let end = own.iter().position(ends);
        let own = own.get(..end.unwrap_or(own.len())).unwrap_or_default();
        Search { command, words: own, kind, nested: index > 0, spans: &mut *spans }.run();
    }
}

/// The search through the words of one command.
struct Search<'s, 'w> {
    command: &'static Command,
    words: &'s [Word<'w>],
    kind: Kind,
    nested: bool,
    spans: &'s mut Vec<Span>,
}

impl Search<'_, '_> {
    fn run(mut self) {
        for flag in self.command.options {
            self.flag(flag);
        }
        for position in self.command.positions {
            self.position(position);
        }
    }

    fn flag(&mut self, flag: &'static Flag) {
        let mut armed = flag.after.is_empty();
        let mut skip = false;
        for (index, word) in self.words.iter().enumerate() {
            if std::mem::take(&mut skip) {
                continue;
            }
            if !armed {
                armed = word.bytes == flag.after.as_bytes();
                continue;
            }
            match flag.value(word.bytes, self.command) {
                Value::Rest(from) => self.hide(*word, from, flag.part, flag.take != Take::Next),
                Value::Next => {
                    skip = true;
                    if let Some(next) = self.words.get(index + 1) {
                        self.hide(*next, 0, flag.part, false);
                    }
                }
                Value::No if self.command.leading && !word.bytes.starts_with(b"-") => break,
                Value::No => {}
            }
        }
    }

    fn position(&mut self, position: &Position) {
        let given = |wanted: u8| {
            let short = |word: &&Word<'_>| matches!(word.bytes, [b'-', second, ..] if *second != b'-');
            self.words.iter().filter(short).any(|word| word.bytes.contains(&wanted))
        };
        if !position.letters.bytes().all(given) {
            return;
        }
        let from = if position.after.is_empty() {
            0
        } else {
            let after = |word: &Word<'_>| word.bytes.eq_ignore_ascii_case(position.after.as_bytes());
            match self.words.iter().position(after) {
                Some(at) => at + 1,
                None => return,
            }
        };
        let rest = self.words.get(from..).unwrap_or_default();
        let valued =
            |word: &Word<'_>| self.command.valued.iter().any(|flag| self.command.ends_in(word.bytes, flag));
        let mut value = false;
        let mut bare = rest.iter().filter(|word| {
            let own = std::mem::replace(&mut value, valued(word));
            !own && !word.bytes.starts_with(b"-")
        });
        if let Some(word) = bare.nth(position.nth - 1).copied() {
            // `name=value` after `vault login` is judged by its name.
            if position.part != Part::Whole || !names_field(word.bytes) {
                self.hide(word, 0, position.part, false);
            }
        }
    }

    /// Notes the secret part of `word` from byte `from` on.
    fn hide(&mut self, word: Word<'_>, from: usize, part: Part, attached: bool) {
        let value = word.bytes.get(from..).unwrap_or_default();
        let shell = self.kind.expands();
        let (at, quote) = if shell { unquote(value, 0..value.len()) } else { (0..value.len(), None) };
        let Some(within) = part.of(value.get(at.clone()).unwrap_or_default()) else { return };
        let secret = value.get(at.start + within.start..at.start + within.end).unwrap_or_default();
        let literal = word.literal || quote == Some(b'\'');
        let option = !attached && secret.len() > 1 && secret.starts_with(b"-");
        let port = attached && self.nested && is_port(secret);
        if option || port || secret == b"-" || !is_secret(secret, shell && !literal) {
            return;
        }
        let start = word.at + from + at.start + within.start;
        self.spans.push(Span { arg: word.arg, at: start..(start + secret.len()) });
    }
}

/// How one word answers a flag.
enum Value {
    No,
    /// The value is the next word.
    Next,
    /// The value is the rest of this word.
    Rest(usize),
}

impl Flag {
    fn value(&self, word: &[u8], command: &Command) -> Value {
        let flag = self.flag.as_bytes();
        if !flag.starts_with(b"-") && !flag.starts_with(b"/") {
            return if word.eq_ignore_ascii_case(flag) { Value::Next } else { Value::No };
        }
        if word.first() != flag.first() {
            return Value::No;
        }
        let Some(rest) = word.strip_prefix(flag) else {
            return self.joined(word, command.switches.as_bytes());
        };
        let long = flag.len() > 2 && flag.starts_with(b"-");
        match rest.first() {
            None if long || self.take != Take::Attached => Value::Next,
            None => Value::No,
            Some(b'=') if long => Value::Rest(flag.len() + 1),
            Some(_) if !(flag.starts_with(b"--") || self.take == Take::Next) => Value::Rest(flag.len()),
            Some(_) => Value::No,
        }
    }

    /// `-sSu` and `-sSuX` for `-u`: switches of the command, then the flag.
    fn joined(&self, word: &[u8], switches: &[u8]) -> Value {
        let (&[b'-', letter], [b'-', letters @ ..]) = (self.flag.as_bytes(), word) else { return Value::No };
        if !letters.contains(&letter) {
            return Value::No;
        }
        let before = letters.iter().take_while(|byte| switches.contains(byte)).count();
        match letters.get(before..) {
            Some([found]) if *found == letter && self.take != Take::Attached => Value::Next,
            Some([found, _, ..]) if *found == letter && self.take != Take::Next => Value::Rest(before + 2),
            _ => Value::No,
        }
    }
}

/// `3306:3306` behind `-p` belongs to the container engine that runs the command.
fn is_port(value: &[u8]) -> bool {
    value.contains(&b':') && value.iter().all(|byte| byte.is_ascii_digit() || b":./tcpud".contains(byte))
}

fn names_field(word: &[u8]) -> bool {
    let name = word.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte)).count();
    name > 0 && word.get(name) == Some(&b'=') && word.get(name + 1).is_some_and(|byte| *byte != b'=')
}

impl Part {
    fn of(self, value: &[u8]) -> Option<Range<usize>> {
        let find = |byte: u8| value.iter().position(|other| *other == byte);
        match self {
            Self::Whole => Some(0..value.len()),
            Self::Behind(byte) => {
                // The colon of a marker parts nothing.
                let marker = marker_len(value).unwrap_or(0);
                let behind = value.get(marker..)?.iter().position(|other| *other == byte)?;
                Some((marker + behind + 1)..value.len())
            }
            Self::Certificate if value.starts_with(b"pkcs11:") => None,
            Self::Certificate => Self::Behind(b':').of(value),
            Self::Proxy => proxy_password(value),
            Self::PassSource => value.starts_with(b"pass:").then_some(5..value.len()),
            Self::Slashed => {
                let start = find(b'/').filter(|slash| *slash > 0)? + 1;
                let end = value.iter().rposition(|byte| *byte == b'@').filter(|end| *end >= start);
                Some(start..end.unwrap_or(value.len()))
            }
            Self::Cookies => value.contains(&b'=').then_some(0..value.len()),
        }
    }
}
