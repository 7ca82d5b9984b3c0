// SPDX-License-Identifier: Apache-2.0
//! Finds the value that belongs to a telling name: `NAME=VALUE`, `--name VALUE`, `"name": "VALUE"`,
//! `Name: VALUE`. Works on one argument and never looks at the command it belongs to.

use crate::name::{Class, Name, is_choice, is_path, is_switch, whole};
use crate::rule::{Builtin, Enabled};
use crate::script::{Quotes, word_end};
use crate::secret::{is_secret, marker_len};
use crate::shape::{account_password, proxy_password};
use std::cell::Cell;
use std::ops::Range;

/// What an argument is, which decides where a value in it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One word without white space, already freed of quotes by the caller's shell.
    Word,
    /// Holds white space, but nothing says that a shell will read it.
    Text,
    /// A script a shell will read.
    Script,
    /// A line that a program wrote for people: words follow a value that have nothing to do with it.
    Line,
}

impl Kind {
    /// Whether a shell may still replace `$NAME` in it.
    pub(crate) fn expands(self) -> bool {
        matches!(self, Self::Text | Self::Script)
    }
}

/// What stands at a telling name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to hide.
    Nothing,
    /// An option whose value is the next word of the command.
    Awaits,
    /// The bytes to hide.
    Value(Range<usize>),
    /// The text makes the search so costly that it must be hidden whole.
    Exhausted,
}

/// Bytes that may be looked at for values, per byte of the text, before it is given up and hidden.
/// Ordinary text stays below 2; only text built to be costly comes here.
const WORK_LIMIT: usize = 16;

/// Words that tell how something stands, as in `password: ok`.
const STATES: &[&[u8]] = &[
    b"ok",
    b"valid",
    b"invalid",
    b"expired",
    b"missing",
    b"required",
    b"incorrect",
    b"wrong",
    b"unknown",
    b"empty",
    b"set",
    b"unset",
    b"changed",
    b"accepted",
    b"rejected",
    b"denied",
    b"failed",
    b"failure",
    b"success",
    b"updated",
    b"reset",
    b"mismatch",
];

/// Bytes before a name in which the quote that opens a prompt is looked for.
const PROMPT_LIMIT: usize = 64;

/// Authorization schemes that stay readable before the secret.
const SCHEMES: &[&[u8]] =
    &[b"bearer", b"basic", b"token", b"digest", b"negotiate", b"apikey", b"key", b"splunk", b"pveapitoken"];

/// Names without a leading `x-` that are HTTP headers even without a blank after the colon.
const HEADERS: &[&[u8]] = &[b"private-token", b"api-key", b"apikey", b"deploy-token", b"job-token"];

/// One argument under search.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) enabled: Enabled,
    quotes: Quotes<'a>,
    work: Cell<usize>,
}

impl<'a> Field<'a> {
    pub(crate) fn new(text: &'a [u8], kind: Kind, enabled: Enabled) -> Self {
        Self { text, kind, enabled, quotes: Quotes::new(text), work: Cell::new(0) }
    }

    /// Judges the name whose ending was found at `hit`. Hits must come in ascending order.
    pub(crate) fn judge(&mut self, hit: Range<usize>, name: &Name) -> Outcome {
        let Some(name_at) = whole(self.text, hit, name) else { return Outcome::Nothing };
        let option = self.bytes(name_at.clone()).starts_with(b"-");
        if option && is_switch(self.bytes(name_at.clone())) {
            return Outcome::Nothing;
        }
        let (after, closed) = self.skip_closing(name_at.end);
        if self.work.get() / WORK_LIMIT > self.text.len() + 256 {
            return Outcome::Exhausted;
        }
        // `tcpdump -pw file`: letters in one word. `plink -pw` is in the table of commands.
        let letters = name.ending == "pw" && !self.bytes(name_at.clone()).starts_with(b"--");
        let awaits = option && !letters && !matches!(name.class, Class::Proxy | Class::Account);
        let found = match self.text.get(after) {
            None if awaits => return Outcome::Awaits,
            Some(blank) if awaits && !closed && blank.is_ascii_whitespace() => return Outcome::Awaits,
            Some(b'=') if self.text.get(after + 1) == Some(&b'>') => self.arrow(name, after + 2),
            Some(b'>') if !closed => self.element(name, &name_at),
            Some(b'=') => self.assigned(name, &name_at, after + 1, closed, option),
            Some(b':') => self.after_colon(name, &name_at, after + 1, closed),
            Some(b' ') => self.spaced(name, &name_at, after, closed),
            _ => None,
        };
        found.map_or(Outcome::Nothing, Outcome::Value)
    }

    /// Counts bytes looked at.
    fn spend(&self, bytes: usize) {
        self.work.set(self.work.get().saturating_add(bytes));
    }

    fn bytes(&self, at: Range<usize>) -> &'a [u8] {
        self.text.get(at).unwrap_or_default()
    }

    fn tail(&self, at: usize) -> &'a [u8] {
        self.text.get(at..).unwrap_or_default()
    }

    /// Steps over what may close a name: `"`, `'`, `\"`, `]`. Tells whether a quote was among it.
    fn skip_closing(&self, mut at: usize) -> (usize, bool) {
        let mut closed = false;
        if self.text.get(at) == Some(&b']') {
            at += 1;
        }
        if self.tail(at).starts_with(b"\\\"") {
            return (at + 2, true);
        }
        if matches!(self.text.get(at), Some(b'"' | b'\'')) {
            at += 1;
            closed = true;
        }
        (at, closed)
    }

    /// `name : value` and `name = 'value'`, with blanks before the separator.
    fn spaced(
        &mut self,
        name: &Name,
        name_at: &Range<usize>,
        after: usize,
        closed: bool,
    ) -> Option<Range<usize>> {
        let separator = after + self.tail(after).iter().take_while(|byte| **byte == b' ').take(8).count();
        match self.text.get(separator)? {
            b':' if closed => self.after_colon(name, name_at, separator + 1, true),
            b'=' if self.text.get(separator + 1) == Some(&b'>') => self.arrow(name, separator + 2),
            b'=' if name.class != Class::Cookie && self.text.get(separator + 1) != Some(&b'=') => {
                let value = separator + 1 + usize::from(self.text.get(separator + 1) == Some(&b' '));
                let bare = || value..(value + field_end(self.tail(value), true, true));
                let at = self.quoted(value).or_else(|| (self.kind == Kind::Line).then(bare))?;
                self.keep(name, at, self.enabled.has(Builtin::Assignment))
            }
            _ => None,
        }
    }

    /// The value after `name =>`, which in code may be a function of that name.
    fn arrow(&self, name: &Name, after: usize) -> Option<Range<usize>> {
        if matches!(name.class, Class::Cookie | Class::Authorization) {
            return None;
        }
        let value = after + self.tail(after).iter().take_while(|byte| **byte == b' ').take(8).count();
        let bare = || value..(value + field_end(self.tail(value), true, true));
        let at = self.quoted(value).or_else(|| (self.kind == Kind::Line).then(bare))?;
        self.keep(name, at, self.enabled.has(Builtin::Json))
    }

    /// The text of `<name>text</name>`.
    fn element(&self, name: &Name, name_at: &Range<usize>) -> Option<Range<usize>> {
        let opens = matches!(self.bytes(0..name_at.start), [.., b'<'] | [.., b':']);
        if !opens || !matches!(name.class, Class::Plain | Class::OftenPath) {
            return None;
        }
        let value = name_at.end + 1;
        let (value, close): (usize, &[u8]) = match self.tail(value).strip_prefix(b"<![CDATA[") {
            Some(_) => (value + 9, b"]]>"),
            None => (value, b"</"),
        };
        let rest = self.tail(value);
        let length = rest.iter().position(|byte| close.first() == Some(byte)).unwrap_or(rest.len());
        self.spend(length);
        let at = value..(value + length);
        let closed = self.tail(at.end).starts_with(close);
        closed.then_some(at).and_then(|at| self.keep(name, at, self.enabled.has(Builtin::Json)))
    }

    /// The value after `name=`.
    fn assigned(
        &mut self,
        name: &Name,
        name_at: &Range<usize>,
        value: usize,
        closed: bool,
        option: bool,
    ) -> Option<Range<usize>> {
        let rest = self.tail(value);
        if name.class == Class::Cookie || closed || self.is_harmless_start(name, name_at, rest) {
            return None;
        }
        if name.class == Class::Authorization {
            return self.authorization(name_at, value);
        }
        let rule = if option { Builtin::Option } else { Builtin::Assignment };
        let whole_rest = matches!(self.kind, Kind::Word | Kind::Text) && self.leads(name_at.start);
        let quote = self.quotes.at(name_at.start);
        let at = match self.quoted(value) {
            Some(inner) => inner,
            None if whole_rest => value..(value + field_end(rest, !option, false)),
            None if self.kind == Kind::Script && quote.is_none() => value..word_end(self.text, value),
            None => value..(value + field_end(rest, true, true)),
        };
        self.keep(name, at, self.enabled.has(rule))
    }

    /// Whether the name at `start` opens the argument, or the value of an option: `--env=NAME=VALUE`.
    fn leads(&self, start: usize) -> bool {
        start == 0
            || (self.kind == Kind::Word
                && self.text.starts_with(b"-")
                && start.checked_sub(1).and_then(|before| self.text.get(before)) == Some(&b'='))
    }

    /// Beginnings that cannot be a secret, told apart before the end of the value is looked for.
    fn is_harmless_start(&self, name: &Name, name_at: &Range<usize>, rest: &[u8]) -> bool {
        let before = name_at.start.checked_sub(1).and_then(|before| self.text.get(before));
        // `awk '/^password=/{print}'`, and a kind of token that is chosen.
        let pattern = before == Some(&b'^') || (before == Some(&b'/') && rest.starts_with(b"/{"));
        if pattern || is_choice(self.bytes(name_at.clone()), rest) {
            return true;
        }
        let mount = name.ending == "secret"
            && [&b"id="[..], b"type=", b"src=", b"source=", b"env="]
                .iter()
                .any(|start| rest.starts_with(start));
        let expands =
            self.kind.expands() && matches!(rest, [b'`', ..] | [b'$', b'(', ..] | [b'"', b'$', b'(', ..]);
        mount
            || expands
            || rest.starts_with(b"=")
            || (name.class == Class::OftenPath && is_path(path_start(rest)))
    }

    /// The value after `name:`, in JSON, in a header, or quoted in looser text.
    fn after_colon(
        &mut self,
        name: &Name,
        name_at: &Range<usize>,
        after: usize,
        closed: bool,
    ) -> Option<Range<usize>> {
        let blanks = self.tail(after).iter().take_while(|byte| byte.is_ascii_whitespace()).take(64).count();
        let value = after + blanks;
        let header = self.enabled.has(Builtin::Header);
        match name.class {
            Class::Authorization => return self.authorization(name_at, value),
            Class::Cookie => {
                let at = match self.quoted(value) {
                    Some(inner) => inner,
                    None => value..self.header_end(name_at.start, value),
                };
                return self.keep(name, at, header);
            }
            Class::Plain | Class::OftenPath | Class::Proxy | Class::Account => {}
        }
        if after == value && !closed && self.is_switch_with_colon(name, name_at.start) {
            let end = match self.kind {
                Kind::Word | Kind::Text if self.leads(name_at.start.saturating_sub(1)) => self.text.len(),
                _ => value + self.word(value),
            };
            let at = self.quoted(value).unwrap_or(value..end);
            return self.keep(name, at, self.enabled.has(Builtin::Option));
        }
        if !closed && self.closes(name_at.start, value) {
            return None;
        }
        if let Some(inner) = self.quoted(value) {
            return self.keep(name, inner, self.enabled.has(Builtin::Json));
        }
        if closed {
            let scalar =
                self.tail(value).iter().take_while(|byte| !b",}]{[\"' \t\r\n\\".contains(byte)).count();
            return self.keep(name, value..(value + scalar), self.enabled.has(Builtin::Json));
        }
        if self.is_header(name_at, blanks > 0) {
            let end = match self.kind {
                Kind::Line => value + self.word(value),
                _ => self.header_end(name_at.start, value),
            };
            return self.keep(name, value..end, header);
        }
        if self.kind == Kind::Line && matches!(name.class, Class::Plain | Class::Proxy) {
            return self.last_word(name, value);
        }
        None
    }

    /// Whether the name at `start` is an option of the form `/name:value` or `--name:value`.
    fn is_switch_with_colon(&self, name: &Name, start: usize) -> bool {
        // `/token:` may be a path.
        let password = name.ending.starts_with('p');
        let start = match start.checked_sub(1).and_then(|before| self.text.get(before)) {
            Some(b'/') if password => start - 1,
            _ if self.text.get(start) == Some(&b'-') => start,
            _ => return false,
        };
        let before = start.checked_sub(1).and_then(|before| self.text.get(before));
        before.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"'".contains(byte))
    }

    /// Whether the quote at `value` ends a prompt that holds the name, as in `expect "password:"; send …`.
    fn closes(&self, name: usize, value: usize) -> bool {
        let rest = self.tail(value);
        let rest = rest.strip_prefix(b"\\").unwrap_or(rest);
        let Some((quote @ (b'"' | b'\''), over)) = rest.split_first() else { return false };
        if over.first().is_some_and(|byte| !byte.is_ascii_whitespace() && !b";,)]}|&\\".contains(byte)) {
            return false;
        }
        let before = self.bytes(name.saturating_sub(PROMPT_LIMIT)..name);
        let Some(open) = before.iter().rposition(|byte| byte == quote) else { return false };
        let before = before.get(..open).unwrap_or_default();
        let before = before.strip_suffix(b"\\").unwrap_or(before);
        before.last().is_none_or(|byte| byte.is_ascii_whitespace() || b"({[,=".contains(byte))
    }

    /// `name: value` in a line, when the value is one word and nothing but a separator follows: most
    /// sentences with a telling name (`invalid token: end of input`) go on.
    fn last_word(&self, name: &Name, value: usize) -> Option<Range<usize>> {
        let rest = self.tail(value);
        if marker_len(rest).is_some() {
            return None;
        }
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;)]}".contains(byte);
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let over = rest.get(length..).unwrap_or_default();
        let alone = over.trim_ascii().is_empty() || !over.first().is_some_and(u8::is_ascii_whitespace);
        let word = rest.get(..length).unwrap_or_default();
        // The quote that holds the sentence.
        let quote = !word.starts_with(b"\"") && !word.starts_with(b"'") && matches!(word, [.., b'"' | b'\'']);
        let at = value..(value + length - usize::from(quote));
        let state = STATES.iter().any(|word| word.eq_ignore_ascii_case(self.bytes(at.clone())));
        if alone && !state { self.keep(name, at, self.enabled.has(Builtin::Assignment)) } else { None }
    }

    /// Bytes up to the next white space or quote.
    fn word(&self, at: usize) -> usize {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'".contains(byte);
        self.tail(at).iter().position(ends).unwrap_or(self.tail(at).len())
    }

    fn is_header(&self, name_at: &Range<usize>, blank: bool) -> bool {
        let name = self.bytes(name_at.clone());
        let name = name.strip_prefix(b"-H").unwrap_or(name);
        let before = name_at.start.checked_sub(1).and_then(|index| self.text.get(index));
        let in_line = |byte: &u8| byte.is_ascii_whitespace() || b"[{(,;".contains(byte);
        let opens = matches!(before, None | Some(b'"' | b'\'' | b'=' | b'\n'))
            || (self.kind == Kind::Line && before.is_some_and(in_line));
        let lower = name.to_ascii_lowercase();
        opens
            && (lower.starts_with(b"x-")
                || HEADERS.contains(&lower.as_slice())
                || (blank && lower.contains(&b'-')))
    }

    /// The secret of an authorization: what follows the scheme, or all of it.
    fn authorization(&mut self, name_at: &Range<usize>, value: usize) -> Option<Range<usize>> {
        let line = self.kind == Kind::Line;
        // Lists of values, as programs print the headers they hold.
        let opening = self.tail(value).iter().take_while(|byte| line && b"[(".contains(byte)).count();
        let value = value + opening.min(4);
        let quote = usize::from(matches!(self.text.get(value), Some(b'"' | b'\'')));
        let at = match self.quoted(value) {
            Some(inner) => inner,
            None => (value + quote)..self.header_end(name_at.start, value + quote),
        };
        let text = self.bytes(at.clone());
        let word = text.iter().take_while(|byte| **byte != b' ').count();
        let scheme =
            text.get(..word).is_some_and(|word| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(word)));
        let blanks = text.iter().skip(word).take_while(|byte| **byte == b' ').count();
        let digest = text.get(..word).is_some_and(|word| word.eq_ignore_ascii_case(b"digest"));
        let start = if scheme { at.start + word + blanks } else { at.start };
        // Behind a scheme stands one word, except for Digest, and behind that the rest of the line.
        let end = if line && scheme && !digest { at.end.min(start + self.word(start)) } else { at.end };
        let secret = self.bytes(start..end);
        let literal = self.enabled.has(Builtin::Header) && is_secret(secret, self.kind.expands());
        literal.then_some(start..end)
    }

    /// Where a header's value ends: at the quote that holds the header, or at the end of the line.
    fn header_end(&mut self, name: usize, value: usize) -> usize {
        let before = name.checked_sub(1).and_then(|index| self.text.get(index)).copied();
        let open = match before {
            Some(quote @ (b'"' | b'\'')) => Some(quote),
            _ => self.quotes.at(name),
        };
        let shell = self.kind == Kind::Script && open.is_none();
        let ends = |byte: u8| match open {
            Some(quote) => byte == quote,
            None => shell && b" \t\"'".contains(&byte),
        };
        let rest = self.tail(value);
        let length = rest.iter().take_while(|byte| !b"\r\n".contains(byte) && !ends(**byte)).count();
        self.spend(length);
        let trimmed = rest.get(..length).unwrap_or_default().trim_ascii_end();
        value + trimmed.strip_suffix(b"\\").unwrap_or(trimmed).len()
    }

    /// The inside of the quotes that open at `at`, when they also close.
    fn quoted(&self, at: usize) -> Option<Range<usize>> {
        // `N'…'` and `E'…'` of SQL, `b'…'` of Python, `$'…'` of a shell.
        let marked = self.kind != Kind::Word
            && matches!(self.tail(at), [mark, b'\'' | b'"', ..] if b"nebrufNEBRUF$".contains(mark));
        let escapes = marked && !matches!(self.tail(at), [b'n' | b'N', ..]);
        let at = at + usize::from(marked);
        let (open, quote): (usize, &[u8]) = match self.tail(at) {
            [b'\\', quote @ (b'"' | b'\''), ..] => (2, if *quote == b'"' { b"\\\"" } else { b"\\'" }),
            [b'"', ..] => (1, b"\""),
            [b'\'', ..] => (1, b"'"),
            _ => return None,
        };
        let inner = self.tail(at + open);
        let escapes = escapes || quote == b"\"";
        let (mut length, mut end) = (0, None);
        while let Some(rest) = inner.get(length..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with(quote) {
                // `'hun''ter2'` goes on, in SQL and in a shell, unless nothing closes it.
                end = end.or(Some(length));
                if quote != b"'" || length == 0 || rest.get(1) != Some(&b'\'') {
                    end = Some(length);
                    break;
                }
                length += 1;
            }
            length += if escapes && rest.starts_with(b"\\") { 2 } else { 1 };
        }
        self.spend(if end == Some(length) { 0 } else { length });
        end.map(|length| (at + open)..(at + open + length))
    }

    fn keep(&self, name: &Name, at: Range<usize>, on: bool) -> Option<Range<usize>> {
        let value = self.bytes(at.clone());
        self.spend(value.len());
        let (at, on) = match secret_part(name.class, value) {
            Some(part) if name.class == Class::Proxy => {
                ((at.start + part.start)..(at.start + part.end), self.enabled.has(Builtin::Url))
            }
            Some(part) => ((at.start + part.start)..(at.start + part.end), on),
            None => return None,
        };
        let value = self.bytes(at.clone());
        let literal = at.start.checked_sub(1).and_then(|before| self.text.get(before)) == Some(&b'\'');
        let path = name.class == Class::OftenPath && is_path(value);
        (on && !path && !is_key_id(value) && is_secret(value, self.kind.expands() && !literal)).then_some(at)
    }
}

/// Which bytes of the value of a telling name are the secret.
pub(crate) fn secret_part(class: Class, value: &[u8]) -> Option<Range<usize>> {
    match class {
        Class::Proxy => proxy_password(value),
        Class::Account if is_path(value) => None,
        Class::Account => account_password(value),
        _ => Some(0..value.len()),
    }
}

/// The first bytes of a value, enough to see whether it starts like a path.
fn path_start(rest: &[u8]) -> &[u8] {
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    rest.get(..rest.len().min(8)).unwrap_or_default()
}

/// An AWS access key id: a name, no secret.
fn is_key_id(value: &[u8]) -> bool {
    value.len() == 20
        && (value.starts_with(b"AKIA") || value.starts_with(b"ASIA"))
        && value.iter().all(u8::is_ascii_alphanumeric)
}

/// The length of a value at the start of `rest`. With `cut`, it ends where `&`, `;`, `,` or white
/// space leads to the next `name=`. With `inside`, also at white space, quotes and a last separator.
fn field_end(rest: &[u8], cut: bool, inside: bool) -> usize {
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        let after = rest.get(at + 1..).unwrap_or_default();
        let blank = byte.is_ascii_whitespace();
        if inside && (blank || b"\"'`<>|)".contains(byte) || (*byte == b'\\' && after.starts_with(b"\""))) {
            break;
        }
        let separator = blank || b"&;,".contains(byte);
        if separator && ((cut && opens_field(after)) || (inside && *byte != b',' && ends_field(after))) {
            break;
        }
        at += 1;
    }
    at
}

/// Whether a separator before `after` was the last byte of its text.
fn ends_field(after: &[u8]) -> bool {
    after.first().is_none_or(|byte| byte.is_ascii_whitespace() || b"\"'".contains(byte))
}

/// Whether `name=` follows. Names longer than 64 bytes are not looked for.
fn opens_field(after: &[u8]) -> bool {
    let blanks = after.iter().take_while(|byte| **byte == b' ').take(8).count();
    let name = after.iter().skip(blanks).take(64);
    let length = name.take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.[] ".contains(byte)).count();
    length > 0 && after.get(blanks + length) == Some(&b'=')
}
