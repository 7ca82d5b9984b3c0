// SPDX-License-Identifier: Apache-2.0
//! A rule: which execs it is about, and what becomes of them. Shared by the configuration and
//! the control socket; compiled for the kernel elsewhere.

use super::glob::Glob;
use serde::{Deserialize, Serialize};

/// Most rules at a time, from the configuration and from run time together.
pub const RULES_LIMIT: usize = 64;
/// Longest rule name, in bytes.
pub const NAME_LIMIT: usize = 64;
/// Longest `executable` and `parent`, in bytes.
pub const PATH_LIMIT: usize = 240;
/// Longest `argv0`, in bytes.
pub const ARGV0_LIMIT: usize = 120;

/// What becomes of the execs a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Recorded, whatever later rules say.
    Record,
    /// Not recorded; counted in the kernel, for the rule and for the container.
    Count,
    /// Not recorded; counted in the kernel for the rule only.
    Ignore,
}

impl Action {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Action::Record => "record",
            Action::Count => "count",
            Action::Ignore => "ignore",
        }
    }
}

/// One rule. All conditions given must hold; the first rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names the rule in counters and commands.
    pub name: String,
    /// The container's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Glob>,
    /// The container's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Glob>,
    /// The effective user id, in the host's user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The executable's absolute path, inside the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// The name the program is called by: its first argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv0: Option<String>,
    /// The absolute path of what the parent process runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What becomes of the exec.
    pub action: Action,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The key concerned, such as `executable`.
    pub key: &'static str,
    /// What is wrong with its value.
    pub message: String,
}

impl Rule {
    /// Checks what the types cannot hold.
    ///
    /// # Errors
    /// The first wrong key and why.
    pub fn check(&self) -> Result<(), RuleError> {
        let wrong = |key, message: String| Err(RuleError { key, message });
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.name.is_empty() || self.name.len() > NAME_LIMIT || !self.name.bytes().all(plain) {
            return wrong(
                "name",
                format!(
                    "a rule's name is 1 to {NAME_LIMIT} letters, digits, '-', '_' or '.', not {:?}",
                    self.name
                ),
            );
        }
        for (key, value) in [("executable", &self.executable), ("parent", &self.parent)] {
            let Some(path) = value else { continue };
            if !path.starts_with('/') || path.contains('\0') {
                return wrong(key, format!("{path:?} is not an absolute path"));
            }
            if path.len() > PATH_LIMIT {
                return wrong(
                    key,
                    format!("the path has {} bytes; at most {PATH_LIMIT} can be compared", path.len()),
                );
            }
        }
        if let Some(argv0) = &self.argv0 {
            if argv0.len() > ARGV0_LIMIT {
                return wrong(
                    "argv0",
                    format!("{} bytes; at most {ARGV0_LIMIT} can be compared", argv0.len()),
                );
            }
            if argv0.contains('\0') {
                return wrong("argv0", "an argument cannot hold a zero byte".to_string());
            }
        }
        if !self.has_condition() {
            return wrong(
                "name",
                format!(
                    "rule {:?} has no condition; give container, image, uid, executable, argv0 or parent",
                    self.name
                ),
            );
        }
        Ok(())
    }

    fn has_condition(&self) -> bool {
        self.container.is_some()
            || self.image.is_some()
            || self.uid.is_some()
            || self.executable.is_some()
            || self.argv0.is_some()
            || self.parent.is_some()
    }

    /// The conditions as a person would write them, `key=value` with spaces between.
    pub fn conditions(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                parts.push(format!("{key}={value}"));
            }
        };
        part("container", self.container.as_ref().map(|glob| glob.as_str().to_string()));
        part("image", self.image.as_ref().map(|glob| glob.as_str().to_string()));
        part("uid", self.uid.map(|uid| uid.to_string()));
        part("executable", self.executable.clone());
        part("argv0", self.argv0.clone());
        part("parent", self.parent.clone());
        parts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Rule};

    fn rule() -> Rule {
        Rule {
            name: "quiet".to_string(),
            container: None,
            image: None,
            uid: Some(0),
            executable: Some("/usr/bin/curl".to_string()),
            argv0: None,
            parent: None,
            action: Action::Ignore,
        }
    }

    #[test]
    fn a_good_rule_passes_and_is_told() {
        assert_eq!(rule().check(), Ok(()));
        assert_eq!(rule().conditions(), "uid=0 executable=/usr/bin/curl");
    }

    #[test]
    fn each_wrong_key_is_named() {
        let key = |change: fn(&mut Rule)| {
            let mut rule = rule();
            change(&mut rule);
            rule.check().unwrap_err().key
        };
        assert_eq!(key(|rule| rule.name = String::new()), "name");
        assert_eq!(key(|rule| rule.name = "two words".to_string()), "name");
        assert_eq!(key(|rule| rule.executable = Some("curl".to_string())), "executable");
        assert_eq!(key(|rule| rule.parent = Some(format!("/{}", "x".repeat(240)))), "parent");
        assert_eq!(key(|rule| rule.argv0 = Some("x".repeat(121))), "argv0");
        assert_eq!(key(|rule| (rule.uid, rule.executable) = (None, None)), "name");
    }
}
