// SPDX-License-Identifier: Apache-2.0
//! Lines of JSON to fields.

use serde_json::{Map, Value};

/// What becomes of a line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Json {
    /// The fields stand beside those of the document, else below `json`.
    pub keys_under_root: bool,
    /// There they replace fields of the document.
    pub overwrite_keys: bool,
    /// A line that is no JSON says so.
    pub add_error_key: bool,
    /// The key whose text is the message, the one that multi-line patterns look at.
    pub message_key: String,
}

/// A decoded line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The message; `None` when the line stays what it was.
    pub(crate) text: Option<Vec<u8>>,
    /// The object, written anew, or empty.
    pub(crate) fields: String,
    pub(crate) error: String,
}

/// Longest error text.
const ERROR_LIMIT: usize = 200;

pub(crate) fn decode(settings: &Json, line: &[u8]) -> Decoded {
    let failed = |error: String| Decoded {
        text: None,
        fields: String::new(),
        error: if settings.add_error_key { error.chars().take(ERROR_LIMIT).collect() } else { String::new() },
    };
    let object: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return failed("the line is JSON, and no object".to_string()),
        Err(error) => return failed(format!("the line is no JSON: {error}")),
    };
    let mut error = String::new();
    let mut text = Vec::new();
    if !settings.message_key.is_empty() {
        match object.get(&settings.message_key) {
            Some(Value::String(message)) => text = message.clone().into_bytes(),
            Some(_) => error = format!("the key {:?} holds no text", settings.message_key),
            None => error = format!("there is no key {:?}", settings.message_key),
        }
    }
    let fields = serde_json::to_string(&object).unwrap_or_default();
    Decoded { text: Some(text), fields, error: failed(error).error }
}

#[cfg(test)]
mod tests {
    use super::{Json, decode};

    #[test]
    fn takes_the_message_and_tells_what_is_wrong() {
        let mut json = Json { add_error_key: true, message_key: "log".to_string(), ..Json::default() };
        let good = decode(&json, br#"{"log":"hello","n":1}"#);
        assert_eq!(good.text.as_deref(), Some(b"hello".as_slice()));
        assert_eq!((good.fields.as_str(), good.error.as_str()), (r#"{"log":"hello","n":1}"#, ""));
        let number = decode(&json, br#"{"log":7}"#);
        assert_eq!(number.error, "the key \"log\" holds no text");
        assert_eq!(number.text.as_deref(), Some(b"".as_slice()));
        for (line, start) in [("plain", "the line is no JSON: "), ("[1]", "the line is JSON, and no object")]
        {
            let bad = decode(&json, line.as_bytes());
            assert!(bad.error.starts_with(start), "{}", bad.error);
            assert_eq!(bad.text, None);
        }
        json.add_error_key = false;
        assert_eq!(decode(&json, b"plain").error, "");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(decode(&Json::default(), deep.as_bytes()).text, None);
    }
}
