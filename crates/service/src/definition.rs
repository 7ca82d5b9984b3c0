// SPDX-License-Identifier: Apache-2.0
//! What a service is, before any init system's words for it.

use crate::error::ServiceError;
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest name, in bytes: it becomes a file name with a suffix.
const NAME_LIMIT: usize = 200;
/// Longest description, in bytes.
const DESCRIPTION_LIMIT: usize = 500;

/// A service's name: letters, digits, `_`, `-` and `.`, as every init system takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Checks `text`; a `.service` at its end is left out.
    ///
    /// # Errors
    /// When some init system could not use that name for a file.
    pub fn new(text: &str) -> Result<Name, ServiceError> {
        let text = text.strip_suffix(".service").unwrap_or(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= NAME_LIMIT
            && text.chars().all(allowed);
        if good { Ok(Name(text.to_string())) } else { Err(ServiceError::Name { name: text.to_string() }) }
    }

    /// The name without a suffix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to run as a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: Name,
    /// One line for people.
    pub description: String,
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments, without the program.
    pub arguments: Vec<String>,
    /// The account it runs as; the init system's own when `None`.
    pub user: Option<String>,
    /// Where it starts, absolute; `/` when `None`.
    pub working_directory: Option<PathBuf>,
    /// Whether it is a service of the calling user's own systemd.
    pub user_service: bool,
    /// What is known of the program.
    pub kind: Kind,
    /// Facts the caller wants back from [`Installed`](crate::Installed): words and values of one line.
    pub facts: Vec<(String, String)>,
}

/// What is known of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Program,
    /// It tells when it is ready, feeds a watchdog, and works in a sandbox.
    Agent(Agent),
}

/// The program's own words for what happens to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// A directory that must be mounted and writable, absolute.
    pub store: PathBuf,
    /// Arguments that have it read its configuration again, and fail when that is wrong.
    pub reload: Vec<String>,
    /// Arguments that wait before a start, when those before it failed.
    pub starting: Vec<String>,
    /// Arguments that prepare it for its end.
    pub stopping: Vec<String>,
    /// Arguments that clean up after its end.
    pub stopped: Vec<String>,
    /// What is added to `stopping` and `stopped` where the script knows that it is a stop, and not
    /// one half of a restart.
    pub for_good: String,
}

impl Definition {
    /// Refuses what no init system's file can hold.
    ///
    /// # Errors
    /// Names what cannot be written, and why.
    pub fn check(&self) -> Result<(), ServiceError> {
        let bad = |what: &str, why: &'static str| ServiceError::Unwritable { what: what.to_string(), why };
        let program = one_line_path("the program", &self.program)?;
        if program.contains(['"', '\'', '\\']) {
            return Err(bad(program, "the program's path must be without quotes and backslashes"));
        }
        if let Some(directory) = &self.working_directory {
            one_line_path("the working directory", directory)?;
        }
        if let Kind::Agent(agent) = &self.kind {
            one_line_path("the store", &agent.store)?;
        }
        if self.description.len() > DESCRIPTION_LIMIT || self.description.chars().any(char::is_control) {
            return Err(bad(&self.description, "a description is one line of at most 500 bytes"));
        }
        if self.description.ends_with('\\') {
            return Err(bad(&self.description, "a description cannot end with a backslash"));
        }
        if let Some(argument) = self.arguments.iter().find(|argument| argument.contains('\0')) {
            return Err(bad(argument, "an argument cannot hold a zero byte"));
        }
        if let Some(user) = &self.user {
            check_user(user)?;
        }
        match self.facts.iter().find(|(_, value)| value.chars().any(char::is_control)) {
            Some((name, value)) => Err(bad(&format!("{name} {value}"), "it must be one line")),
            None => Ok(()),
        }
    }

    /// Program and arguments.
    pub(crate) fn words(&self) -> Vec<&str> {
        std::iter::once(self.program_text()).chain(self.arguments.iter().map(String::as_str)).collect()
    }

    /// The program with other arguments.
    pub(crate) fn words_for<'a>(&'a self, arguments: &'a [String]) -> Vec<&'a str> {
        std::iter::once(self.program_text()).chain(arguments.iter().map(String::as_str)).collect()
    }

    /// The program as text, which [`Definition::check`] has seen to.
    pub(crate) fn program_text(&self) -> &str {
        self.program.to_str().unwrap_or_default()
    }
}

fn check_user(user: &str) -> Result<(), ServiceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    let first = user.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if first && user.len() <= 64 && user.chars().all(allowed) {
        return Ok(());
    }
    Err(ServiceError::Unwritable { what: user.to_string(), why: "that is no name of an account" })
}

/// An absolute path that can stand at the end of a line in every kind of file we write.
fn one_line_path<'a>(what: &str, path: &'a Path) -> Result<&'a str, ServiceError> {
    let bad = |why| ServiceError::Unwritable { what: format!("{what} {}", path.display()), why };
    let text = path.to_str().ok_or_else(|| bad("the path is not UTF-8, which unit files must be"))?;
    if !path.is_absolute() {
        return Err(bad("the path must be absolute"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad("the path must be without control characters"));
    }
    if text.ends_with(['\\', ' ']) {
        return Err(bad("the path cannot end with a backslash or a space"));
    }
    Ok(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Agent, Definition, Kind, Name};

    /// The agent as its own installer defines it.
    pub(crate) fn agent() -> Definition {
        let words = |line: &str| line.split(' ').map(str::to_string).collect::<Vec<_>>();
        Definition {
            name: Name::new("purser").unwrap(),
            description: "Records every program that containers run".to_string(),
            program: "/usr/local/bin/purser".into(),
            arguments: words("run --service purser --config /etc/purser/purser.toml"),
            user: None,
            working_directory: None,
            user_service: false,
            kind: Kind::Agent(Agent {
                store: "/var/lib/purser".into(),
                reload: words("reload --config /etc/purser/purser.toml"),
                starting: words("init-hook starting --service purser"),
                stopping: words("init-hook stopping --service purser"),
                stopped: words("init-hook stopped --service purser"),
                for_good: "--for-good".to_string(),
            }),
            facts: vec![("config".to_string(), "/etc/purser/purser.toml".to_string())],
        }
    }

    /// Somebody else's program, with everything that needs quoting.
    pub(crate) fn program() -> Definition {
        Definition {
            name: Name::new("backup-1.service").unwrap(),
            description: "Backs 100% up".to_string(),
            program: "/opt/back up/run".into(),
            arguments: ["--to", "a b", "100%", "$HOME", "it's", "\"x\"", "C:\\y", ""]
                .map(str::to_string)
                .to_vec(),
            user: Some("backup".to_string()),
            working_directory: Some("/srv/back up".into()),
            user_service: false,
            kind: Kind::Program,
            facts: Vec::new(),
        }
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(Name::new("a.service").unwrap().as_str(), "a");
        for bad in ["", "../x", "a/b", "a b", "-a", ".a", "a@b", "\u{e9}", &"a".repeat(201)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        assert!(agent().check().is_ok() && program().check().is_ok());
        let refused = |change: fn(&mut Definition)| {
            let mut definition = program();
            change(&mut definition);
            definition.check().unwrap_err().to_string()
        };
        assert!(refused(|d| d.program = "run".into()).contains("must be absolute"));
        assert!(refused(|d| d.program = "/a\"b".into()).contains("without quotes"));
        assert!(refused(|d| d.working_directory = Some("/a\nb".into())).contains("control"));
        assert!(refused(|d| d.working_directory = Some("/a\\".into())).contains("backslash"));
        assert!(refused(|d| d.description = "a\nb".into()).contains("one line"));
        assert!(refused(|d| d.arguments.push("a\0".into())).contains("zero byte"));
        assert!(refused(|d| d.user = Some("a b".into())).contains("account"));
    }
}
