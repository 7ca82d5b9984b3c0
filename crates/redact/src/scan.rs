// SPDX-License-Identifier: Apache-2.0
//! Runs the built-in rules over the arguments of one command line: the search table first, and only
//! what it asks for after that. Collects spans and changes nothing.

use crate::Error;
use crate::command::{Commands, search};
use crate::field::{Field, Kind, Outcome, secret_part};
use crate::name::{Class, NAMES, is_choice, is_path, whole};
use crate::rule::{Builtin, Enabled};
use crate::script::{Commands as Script, Word};
use crate::secret::{Span, is_secret};
use crate::shape::{SHAPES, url_password};
use crate::trigger::{Meaning, Triggers};
use regex::bytes::{Regex, RegexBuilder};
use std::cell::LazyCell;
use std::ops::Range;

/// Scripts within scripts that are followed.
const DEPTH_LIMIT: usize = 4;

/// Commands that search for or print text: what stands in their arguments is no command line.
const PROSE: &[&[u8]] =
    &[b"git", b"grep", b"egrep", b"fgrep", b"rg", b"ag", b"logger", b"wall", b"notify-send"];

const SHELLS: &[&[u8]] =
    &[b"sh", b"bash", b"dash", b"ash", b"zsh", b"ksh", b"busybox", b"su", b"runuser", b"fish"];

/// The built-in rules, compiled.
#[derive(Debug)]
pub(crate) struct Scanner {
    enabled: Enabled,
    triggers: Triggers,
    commands: Commands,
    /// In the order of [`SHAPES`].
    shapes: Vec<Regex>,
}

/// What the search table asks for in one argument.
#[derive(Debug, Default)]
struct Asked {
    /// One bit per shape.
    shapes: u64,
    /// The text is worth cutting into commands.
    commands: bool,
    /// The argument is an option whose value is the next one.
    awaits: bool,
}

impl Scanner {
    pub(crate) fn new(enabled: Enabled) -> Result<Self, Error> {
        let compile = |pattern: &str| RegexBuilder::new(pattern).unicode(false).build();
        let shapes = SHAPES.iter().map(|shape| {
            compile(shape.pattern).map_err(|source| Error::Pattern {
                name: format!("built-in {:?}", shape.rule),
                source: Box::new(source),
            })
        });
        Ok(Self {
            enabled,
            triggers: Triggers::new(enabled)?,
            commands: Commands::new(),
            shapes: shapes.collect::<Result<_, _>>()?,
        })
    }

    /// Adds the secrets of a command line.
    pub(crate) fn args(&self, executable: &[u8], args: &[Vec<u8>], spans: &mut Vec<Span>) {
        let line = self.commands.line(|at| args.get(at).map(Vec::as_slice), executable);
        for (index, text) in args.iter().enumerate() {
            let asked = self.triggered(text, || kind(executable, args, index), index, spans);
            if !(asked.awaits || asked.commands) || PROSE.contains(&head(executable, args)) {
                continue;
            }
            if let (true, Some(next)) = (asked.awaits, args.get(index + 1)) {
                self.next_value(text, !line.is_plain(text), index + 1, next, spans);
            }
            if asked.commands {
                let kind = kind(executable, args, index);
                if kind != Kind::Word {
                    self.script(index, 0, text, kind, DEPTH_LIMIT, spans);
                }
            }
        }
        if !line.is_empty() {
            let word = |(arg, bytes)| Word { arg, at: 0, bytes, literal: false };
            let words: Vec<Word<'_>> = args.iter().map(Vec::as_slice).enumerate().map(word).collect();
            search(&line, &words, Kind::Word, self.enabled, spans);
        }
    }

    /// Adds the secrets of one environment variable, whose value is argument 0.
    pub(crate) fn env(&self, name: &[u8], value: &[u8], spans: &mut Vec<Span>) {
        let kind = if value.iter().any(u8::is_ascii_whitespace) { Kind::Text } else { Kind::Word };
        if let Some(at) = self.announced(name, value, Builtin::Assignment) {
            spans.push(Span { arg: 0, at });
            return;
        }
        let asked = self.triggered(value, || kind, 0, spans);
        if asked.commands && kind != Kind::Word {
            self.script(0, 0, value, kind, DEPTH_LIMIT, spans);
        }
    }

    /// Adds the secrets of a line of a log, which is argument 0. A line that is a command, as a shell
    /// prints it with `set -x`, is searched like one.
    pub(crate) fn line(&self, text: &[u8], spans: &mut Vec<Span>) {
        let asked = self.triggered(text, || Kind::Line, 0, spans);
        if asked.commands {
            self.script(0, 0, text, Kind::Line, DEPTH_LIMIT, spans);
        }
    }

    /// Adds the secrets of a field of such a line: all of it when its name announces one.
    pub(crate) fn field(&self, name: &[u8], value: &[u8], spans: &mut Vec<Span>) {
        match self.announced(name, value, Builtin::Json) {
            Some(at) => spans.push(Span { arg: 0, at }),
            None => self.line(value, spans),
        }
    }

    /// The secret in `value` when the whole of `name` ends like the name of one.
    fn announced(&self, name: &[u8], value: &[u8], rule: Builtin) -> Option<Range<usize>> {
        self.triggers.search.find_overlapping_iter(name).find_map(|hit| {
            let Some(Meaning::Name(index)) = self.triggers.meaning(hit.pattern().as_usize()) else {
                return None;
            };
            let known = NAMES.get(index)?;
            let complete = whole(name, hit.range(), known).is_some_and(|at| at == (0..name.len()));
            let rule = if known.class == Class::Proxy { Builtin::Url } else { rule };
            let path = known.class == Class::OftenPath && is_path(value);
            let at = secret_part(known.class, value)?;
            let secret = is_secret(value.get(at.clone())?, false);
            (complete && !path && secret && self.enabled.has(rule)).then_some(at)
        })
    }

    /// Goes once over the text, judges the names and URLs on the way, then runs the shapes asked for.
    fn triggered(&self, text: &[u8], kind: impl Fn() -> Kind, arg: usize, spans: &mut Vec<Span>) -> Asked {
        let mut asked = Asked::default();
        // Found out at most once: it goes over the whole argument.
        let kind = LazyCell::new(kind);
        let mut field: Option<Field<'_>> = None;
        // Up to here the text is part of a secret already found.
        let mut done = 0;
        for hit in self.triggers.search.find_overlapping_iter(text) {
            match self.triggers.meaning(hit.pattern().as_usize()) {
                Some(Meaning::Shape(index)) => asked.shapes |= 1 << index,
                Some(Meaning::Command) => asked.commands = true,
                Some(Meaning::Url) if self.enabled.has(Builtin::Url) => {
                    if let Some(at) = url_password(text, hit.end()) {
                        let value = text.get(at.clone()).unwrap_or_default();
                        if is_secret(value, kind.expands()) {
                            spans.push(Span { arg, at });
                        }
                    }
                }
                Some(Meaning::Name(index)) if hit.start() >= done => {
                    let Some(name) = NAMES.get(index) else { continue };
                    let field = field.get_or_insert_with(|| Field::new(text, *kind, self.enabled));
                    match field.judge(hit.range(), name) {
                        Outcome::Nothing => {}
                        Outcome::Awaits if hit.end() == text.len() => asked.awaits = true,
                        Outcome::Awaits => asked.commands = true,
                        Outcome::Value(at) => {
                            done = at.end;
                            spans.push(Span { arg, at });
                        }
                        Outcome::Exhausted => {
                            spans.push(Span { arg, at: 0..text.len() });
                            return asked;
                        }
                    }
                }
                _ => {}
            }
        }
        if asked.shapes != 0 {
            self.shapes(text, asked.shapes, *kind, arg, spans);
        }
        asked
    }

    fn shapes(&self, text: &[u8], wanted: u64, kind: Kind, arg: usize, spans: &mut Vec<Span>) {
        let expands = kind.expands();
        for (_, regex) in self.shapes.iter().enumerate().filter(|(index, _)| wanted & (1 << index) != 0) {
            for found in regex.captures_iter(text) {
                let group = found.iter().skip(1).flatten().next().or_else(|| found.get(0));
                let Some(group) = group.filter(|group| is_secret(group.as_bytes(), expands)) else {
                    continue;
                };
                spans.push(Span { arg, at: group.range() });
            }
        }
    }

    /// Adds the argument behind an option, unless it is an option itself or no secret.
    fn next_value(&self, option: &[u8], secret: bool, arg: usize, value: &[u8], spans: &mut Vec<Span>) {
        let word = Word { arg, at: 0, bytes: value, literal: true };
        if secret && self.enabled.has(Builtin::Option) && follows(option, word) {
            spans.push(Span { arg, at: 0..value.len() });
        }
    }

    /// Cuts a text into commands and searches each; texts in quotes are searched the same way.
    fn script(&self, arg: usize, base: usize, text: &[u8], kind: Kind, depth: usize, spans: &mut Vec<Span>) {
        let mut commands = Script::new(arg, base, text);
        while let Some(words) = commands.advance() {
            let line = self.commands.line(|at| words.get(at).map(|word| word.bytes), b"");
            search(&line, words, kind, self.enabled, spans);
            for (index, word) in words.iter().enumerate() {
                self.option(words, index, line.is_plain(word.bytes), spans);
                if depth > 0
                    && word.bytes.len() < text.len()
                    && word.bytes.iter().any(u8::is_ascii_whitespace)
                {
                    self.script(arg, word.at, word.bytes, kind, depth - 1, spans);
                }
            }
        }
    }

    /// An option with its value in the next word of a script.
    fn option(&self, words: &[Word<'_>], index: usize, plain: bool, spans: &mut Vec<Span>) {
        let (Some(option), Some(value)) = (words.get(index), words.get(index + 1)) else { return };
        if plain || !option.bytes.starts_with(b"-") || !self.enabled.has(Builtin::Option) {
            return;
        }
        let names = self.triggers.search.find_overlapping_iter(option.bytes).any(|hit| {
            let Some(Meaning::Name(known)) = self.triggers.meaning(hit.pattern().as_usize()) else {
                return false;
            };
            let name = NAMES.get(known).filter(|_| hit.end() == option.bytes.len());
            name.is_some_and(|name| {
                let mut field = Field::new(option.bytes, Kind::Word, self.enabled);
                field.judge(hit.range(), name) == Outcome::Awaits
            })
        });
        if names && follows(option.bytes, *value) {
            let at = value.at..(value.at + value.bytes.len());
            spans.push(Span { arg: value.arg, at });
        }
    }
}

/// Whether `value` behind `option` is a secret: no further option, no path where paths are usual, no
/// description of a mounted secret.
fn follows(option: &[u8], value: Word<'_>) -> bool {
    let often_path =
        [&b"credentials"[..], b"private-key", b"key-file", b"pw"].iter().any(|end| option.ends_with(end));
    let mount = [&b"id="[..], b"type=", b"src=", b"source=", b"env="]
        .iter()
        .any(|start| value.bytes.starts_with(start));
    let cookie = option.ends_with(b"cookie") || option.ends_with(b"authorization");
    !(value.bytes.starts_with(b"-")
        || (often_path && is_path(value.bytes))
        || mount
        || cookie
        || is_choice(option, value.bytes))
        && is_secret(value.bytes, !value.literal)
}

/// The base name of the command: argv\[0\], or the executable when there is none.
fn head<'a>(executable: &'a [u8], args: &'a [Vec<u8>]) -> &'a [u8] {
    crate::command::base_name(args.first().map_or(executable, Vec::as_slice))
}

/// What argument `index` is.
fn kind(executable: &[u8], args: &[Vec<u8>], index: usize) -> Kind {
    let shell = |at: usize| args.get(at).is_some_and(|arg| SHELLS.contains(&crate::command::base_name(arg)));
    let before = |back: usize| index.checked_sub(back);
    let option =
        |back: usize| before(back).and_then(|at| args.get(at)).is_some_and(|arg| is_command_option(arg));
    let after_shell = |from: usize| (from..from + 4).any(|back| before(back).is_some_and(shell));
    let head = head(executable, args);
    let shell_head = SHELLS.contains(&head) || SHELLS.contains(&crate::command::base_name(executable));
    if (option(1) && (shell_head || after_shell(2))) || (option(2) && after_shell(3)) {
        return Kind::Script;
    }
    let blank = args.get(index).is_some_and(|arg| arg.iter().any(u8::is_ascii_whitespace));
    match blank {
        true if head == b"ssh" || head == b"watch" => Kind::Script,
        true => Kind::Text,
        false => Kind::Word,
    }
}

/// `-c`, `-lc`, `-exc`: the next argument is a script.
fn is_command_option(arg: &[u8]) -> bool {
    match arg {
        [b'-', letters @ ..] => {
            letters.len() <= 6 && letters.contains(&b'c') && letters.iter().all(u8::is_ascii_alphabetic)
        }
        _ => false,
    }
}
