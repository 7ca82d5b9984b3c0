// SPDX-License-Identifier: Apache-2.0
//! What an installed service's own file says of it: comment lines at its head, `# NAME: VALUE`.

use crate::definition::{Definition, Kind};
use crate::error::ServiceError;
use crate::files;
use crate::mark::{self, Standing};
use crate::place::Place;
use std::path::PathBuf;

/// An installed service, as its file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its file.
    pub path: PathBuf,
    /// Whether somebody edited that.
    pub standing: Standing,
    /// The program.
    pub program: PathBuf,
    /// Whether it is the agent, or just any program.
    pub is_agent: bool,
    facts: Vec<(String, String)>,
}

impl Installed {
    /// Reads the file at `place`.
    ///
    /// # Errors
    /// When there is none, it is not ours, or cannot be read.
    pub fn read(place: &Place) -> Result<Installed, ServiceError> {
        let path = place.file();
        let bytes = files::read(&path)?
            .ok_or_else(|| ServiceError::NotInstalled { name: place.name.to_string(), path: path.clone() })?;
        let standing = mark::judge(&bytes);
        let facts = facts(&String::from_utf8_lossy(&bytes));
        let fact = |name: &str| facts.iter().find(|(word, _)| word == name).map(|(_, value)| value.clone());
        match (standing, fact("program")) {
            (Standing::Ours | Standing::Edited, Some(program)) => Ok(Installed {
                path,
                standing,
                program: program.into(),
                is_agent: fact("kind").as_deref() == Some("agent"),
                facts,
            }),
            _ => Err(ServiceError::Foreign { path }),
        }
    }

    /// A fact of the definition it was made from.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(word, _)| word == name).map(|(_, value)| value.as_str())
    }
}

/// The lines that [`Installed::read`] finds again.
pub(crate) fn header(definition: &Definition) -> String {
    let kind = match definition.kind {
        Kind::Program => "program",
        Kind::Agent(_) => "agent",
    };
    let mut text = format!("# program: {}\n# kind: {kind}\n", definition.program_text());
    for (name, value) in &definition.facts {
        text.push_str(&format!("# {name}: {value}\n"));
    }
    text
}

fn facts(text: &str) -> Vec<(String, String)> {
    text.lines()
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("# ")?.split_once(": "))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{facts, header};
    use crate::definition::tests::agent;

    #[test]
    fn facts_are_found_again() {
        let text = format!("{}[Unit]\n# later: x\n", header(&agent()));
        let found = facts(&text);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], ("program".to_string(), "/usr/local/bin/purser".to_string()));
        assert_eq!(found[2], ("config".to_string(), "/etc/purser/purser.toml".to_string()));
    }
}
