// SPDX-License-Identifier: Apache-2.0
//! How debugging sessions are told to the agent, which puts them into the record.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A session began, ended or was refused: [`event::Session`] without what only the agent adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionTold {
    /// [`event::SessionAction`]'s word.
    pub action: Action,
    /// The container's id; empty for other targets.
    pub container: String,
    /// The session's name.
    pub id: String,
    /// Who.
    pub uid: u32,
    /// Who, by name.
    pub user: String,
    /// From where.
    pub from: String,
    /// The target as it was named.
    pub target: String,
    /// `NAME@DIGEST` of each kit.
    pub kits: Vec<String>,
    /// One bit for each capability.
    pub capabilities: u64,
    /// The program and its arguments.
    pub command: Vec<Text>,
    /// Why.
    pub reason: String,
    /// How it ended, or why it was refused.
    pub detail: String,
    /// The exit code.
    pub code: u8,
    /// Nanoseconds from start to end.
    pub duration_ns: u64,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Action {
    #[default]
    Start,
    End,
    Refused,
}

/// What a session's terminal showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScreenTold {
    /// The container's id; empty for other targets.
    pub container: String,
    /// The session's name.
    pub session: String,
    /// Nanoseconds since the session began.
    pub elapsed_ns: u64,
    /// The bytes.
    pub bytes: Text,
    /// The terminal's width.
    pub columns: u32,
    /// Its height.
    pub rows: u32,
    /// Bytes before these that were too many.
    pub dropped: u64,
}

/// Any bytes, as a string with one character for each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|&byte| char::from(byte)).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
        bytes.map(Text).map_err(|_| de::Error::custom("a character that stands for no byte"))
    }
}

impl SessionTold {
    /// The event, and the container it is about.
    pub(crate) fn into_event(self) -> (String, event::Session) {
        let session = event::Session {
            action: match self.action {
                Action::Start => event::SessionAction::Start,
                Action::End => event::SessionAction::End,
                Action::Refused => event::SessionAction::Refused,
            },
            id: self.id,
            uid: self.uid,
            user: self.user,
            from: self.from,
            target: self.target,
            kits: self.kits,
            capabilities: self.capabilities,
            command: self.command.into_iter().map(|word| word.0).collect(),
            reason: self.reason,
            detail: self.detail,
            code: self.code,
            duration_ns: self.duration_ns,
        };
        (self.container, session)
    }
}

impl ScreenTold {
    /// The event, and the container it is about.
    pub(crate) fn into_event(self) -> (String, event::Screen) {
        let screen = event::Screen {
            session: self.session,
            elapsed_ns: self.elapsed_ns,
            bytes: self.bytes.0,
            columns: self.columns,
            rows: self.rows,
            dropped: self.dropped,
            redacted: 0,
        };
        (self.container, screen)
    }
}

#[cfg(test)]
mod tests {
    use super::{ScreenTold, Text};

    #[test]
    fn every_byte_passes() {
        let told = ScreenTold { bytes: Text((0..=255).collect()), ..ScreenTold::default() };
        let line = serde_json::to_string(&told).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<ScreenTold>(&line).unwrap(), told);
        assert!(serde_json::from_str::<ScreenTold>("{\"bytes\":\"\u{142}\"}").is_err());
    }
}
