// SPDX-License-Identifier: Apache-2.0
//! Any bytes in JSON: a string with one character for each of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Any bytes.
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

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn every_byte_passes() {
        let text = Text((0..=255).collect());
        let line = serde_json::to_string(&text).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Text>(&line).unwrap(), text);
        assert!(serde_json::from_str::<Text>("\"\u{142}\"").is_err());
    }
}
