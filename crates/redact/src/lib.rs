// SPDX-License-Identifier: Apache-2.0
//! Replaces secrets in command lines, environments and lines of logs by a marker, before they are stored.
//!
//! A secret becomes `[redacted:LEN]`, LEN being its length in bytes: `--password=hunter2` is kept as
//! `--password=[redacted:7]`. The number of arguments never changes, arguments without a secret keep
//! every byte, and redacting a second time changes nothing. Arguments are bytes, not text. A script
//! in one argument (`sh -c '…'`) is cut into commands and words, and the same rules work inside it.
//!
//! This room never reads files, the environment or the clock, keeps nothing it has seen, and is no
//! proof: a secret in a place nobody announces (`mytool hunter2`) cannot be told from other words.
//!
//! # Built-in rules
//! `option`, `assignment`, `json` and `header` go by the name before the value. `url`, `private-key`,
//! `jwt`, `aws`, `github`, `gitlab`, `slack`, `stripe`, `google`, `npm`, `vendor`, `sql` and `piped`
//! go by the shape of the text. `mysql`, `mongo`, `redis`, `database`, `sshpass`, `login`, `curl`,
//! `openssl`, `smb`, `ldap`, `htpasswd`, `rabbitmq`, `vault`, `archive`, `keytool`, `network`,
//! `account` and `cloud` know the short options and positions of their commands, also behind `sudo`,
//! `docker exec` and similar wrappers. [`Redactor::names`] says what each one finds.
//!
//! # What stays readable on purpose
//! - AWS access key ids (`AKIA…`, `ASIA…`): they name a key and open nothing; the secret key goes.
//! - In scripts: `$NAME`, `${NAME}`, `$(command)`: the secret is not there yet. In an argument that
//!   is no script a dollar sign is an ordinary byte, and such a value goes.
//! - Stars, `<placeholders>`, `{{ templates }}`, `true`, `yes`, `none`, `0`, `1`.
//!
//! # Bounds
//! Every byte of every argument is searched; there is no length behind which a secret slips through.
//! Instead, an argument with more than [`SPAN_LIMIT`] secrets, or one built to make the search
//! costly, is replaced as a whole. At most four commands nested in one line are followed.

mod command;
mod error;
mod field;
mod name;
mod rule;
mod scan;
mod script;
mod secret;
mod shape;
mod table;
mod trigger;

pub use error::RuleError as Error;
use regex::bytes::{Regex, RegexBuilder};
use rule::Enabled;
use scan::Scanner;
use secret::{Span, inside_marker, is_secret, replace};

/// Secrets in one argument that are replaced one by one; with more, the whole argument is replaced.
pub const SPAN_LIMIT: usize = 4096;
/// Extra rules that may be configured: each one runs on every argument.
pub const EXTRA_LIMIT: usize = 64;
/// Bytes the compiled expression of one extra rule may take.
const PATTERN_LIMIT_BYTES: usize = 1 << 20;
/// Times one command line is searched until nothing changes; after that, what still changes goes whole.
const PASS_LIMIT: usize = 4;

/// Which rules are used.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether the built-in rules are on.
    pub builtin: bool,
    /// Names of built-in rules to switch off.
    pub disable: Vec<String>,
    /// Rules of the user; at most [`EXTRA_LIMIT`].
    pub extra: Vec<Rule>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { builtin: true, disable: Vec::new(), extra: Vec::new() }
    }
}

/// A rule of the user.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// What error messages call it.
    pub name: String,
    /// A regular expression over the bytes of one argument. `\w`, `\b` and `(?i)` know ASCII only.
    /// The group named `secret`, else the first group, else the whole match is replaced.
    pub pattern: String,
    /// Base names of argv\[0\] it applies to; empty: all. Environments are searched when it is empty.
    pub commands: Vec<String>,
}

/// The compiled rules. Built once, shared by all threads.
#[derive(Debug)]
pub struct Redactor {
    scanner: Option<Scanner>,
    extra: Vec<Extra>,
}

#[derive(Debug)]
struct Extra {
    regex: Regex,
    commands: Vec<Vec<u8>>,
}

impl Redactor {
    /// Compiles the rules.
    ///
    /// # Errors
    /// An unknown name in `disable`, too many extra rules, or a pattern that cannot be used.
    pub fn new(rules: &Rules) -> Result<Self, Error> {
        let enabled = Enabled::new(rules.builtin, &rules.disable)?;
        if rules.extra.len() > EXTRA_LIMIT {
            return Err(Error::TooMany { count: rules.extra.len(), limit: EXTRA_LIMIT });
        }
        let scanner = if enabled.is_empty() { None } else { Some(Scanner::new(enabled)?) };
        let extra = rules.extra.iter().map(Extra::new).collect::<Result<_, _>>()?;
        Ok(Self { scanner, extra })
    }

    /// Replaces the secrets of a command line. `executable` is the path of the program, asked for the
    /// command's name when argv\[0\] does not say it. Returns how many markers were written.
    pub fn args(&self, executable: &[u8], args: &mut [Vec<u8>]) -> u32 {
        settle(args, |args, spans| {
            if let Some(scanner) = &self.scanner {
                scanner.args(executable, args, spans);
            }
            if !self.extra.is_empty() {
                let name = args.first().map_or(executable, Vec::as_slice);
                let name = command::base_name(name);
                for (arg, text) in args.iter().enumerate() {
                    let rules = self.extra.iter().filter(|rule| rule.serves(name));
                    rules.for_each(|rule| matches(&rule.regex, arg, text, spans));
                }
            }
        })
    }

    /// Replaces the secrets in the value of an environment variable: all of it when the name announces
    /// one, else what the rules find in it. Returns how many markers were written.
    pub fn env(&self, name: &[u8], value: &mut Vec<u8>) -> u32 {
        settle(std::slice::from_mut(value), |args, spans| {
            let text = args.first().map(Vec::as_slice).unwrap_or_default();
            if let Some(scanner) = &self.scanner {
                scanner.env(name, text, spans);
            }
            let rules = self.extra.iter().filter(|rule| rule.commands.is_empty());
            rules.for_each(|rule| matches(&rule.regex, 0, text, spans));
        })
    }

    /// Replaces the secrets in a line of a log, or in several lines that belong together: tokens by their
    /// shape, passwords in URLs, headers, `name=value`, `"name": "value"`, and commands as shells print
    /// them. Returns how many markers were written.
    pub fn line(&self, text: &mut Vec<u8>) -> u32 {
        self.settle_line(text, |scanner, text, spans| scanner.line(text, spans))
    }

    /// The same in a field of such a line, all of which goes when its name announces a secret.
    pub fn field(&self, name: &[u8], value: &mut Vec<u8>) -> u32 {
        self.settle_line(value, |scanner, text, spans| scanner.field(name, text, spans))
    }

    fn settle_line(&self, text: &mut Vec<u8>, scan: impl Fn(&Scanner, &[u8], &mut Vec<Span>)) -> u32 {
        settle(std::slice::from_mut(text), |args, spans| {
            let text = args.first().map(Vec::as_slice).unwrap_or_default();
            if let Some(scanner) = &self.scanner {
                scan(scanner, text, spans);
            }
            let rules = self.extra.iter().filter(|rule| rule.commands.is_empty());
            rules.for_each(|rule| matches(&rule.regex, 0, text, spans));
        })
    }

    /// The built-in rules: name, and what it finds.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        rule::TABLE.iter().map(|row| (row.1, row.2))
    }
}

impl Extra {
    fn new(rule: &Rule) -> Result<Self, Error> {
        let regex = RegexBuilder::new(&rule.pattern)
            .unicode(false)
            .size_limit(PATTERN_LIMIT_BYTES)
            .build()
            .map_err(|source| Error::Pattern { name: rule.name.clone(), source: Box::new(source) })?;
        if regex.is_match(b"") {
            return Err(Error::MatchesNothing { name: rule.name.clone() });
        }
        let commands = rule.commands.iter().map(|command| command.clone().into_bytes()).collect();
        Ok(Self { regex, commands })
    }

    fn serves(&self, name: &[u8]) -> bool {
        self.commands.is_empty() || self.commands.iter().any(|command| command == name)
    }
}

/// Adds what `regex` finds in argument `arg`; from the [`SPAN_LIMIT`]th match on, all the rest.
fn matches(regex: &Regex, arg: usize, text: &[u8], spans: &mut Vec<Span>) {
    for (count, found) in regex.captures_iter(text).enumerate() {
        let group = found.name("secret").or_else(|| found.get(1)).or_else(|| found.get(0));
        let Some(group) = group else { continue };
        if count >= SPAN_LIMIT {
            spans.push(Span { arg, at: group.start()..text.len() });
            break;
        }
        if is_secret(group.as_bytes(), false) {
            spans.push(Span { arg, at: group.range() });
        }
    }
}

/// Searches and replaces until nothing changes, so that a second run finds nothing either.
fn settle(args: &mut [Vec<u8>], mut find: impl FnMut(&[Vec<u8>], &mut Vec<Span>)) -> u32 {
    let mut total = 0_u32;
    let mut spans = Vec::new();
    // Every argument can become one whole marker at most once, which ends the loop.
    for pass in 0..PASS_LIMIT.saturating_add(args.len()) {
        find(args, &mut spans);
        spans.retain(|span| args.get(span.arg).is_some_and(|arg| !inside_marker(arg, &span.at)));
        if spans.is_empty() {
            break;
        }
        total = total.saturating_add(write(args, &mut spans, pass + 1 >= PASS_LIMIT));
        spans.clear();
    }
    total
}

/// Writes the markers of one pass; with `whole`, over the whole of every argument concerned.
fn write(args: &mut [Vec<u8>], spans: &mut [Span], whole: bool) -> u32 {
    let mut total = 0_u32;
    spans.sort_by_key(|span| span.arg);
    for group in spans.chunk_by_mut(|left, right| left.arg == right.arg) {
        let Some(arg) = group.first().and_then(|span| args.get_mut(span.arg)) else { continue };
        let count = if whole || group.len() > SPAN_LIMIT {
            let at = 0..arg.len();
            replace(arg, &mut [Span { arg: 0, at }])
        } else {
            replace(arg, group)
        };
        total = total.saturating_add(count);
    }
    total
}
