// SPDX-License-Identifier: Apache-2.0
//! Secrets in lines of logs to markers, on the thread of their source: the main line only sees the rest.

use redact::Redactor;
use serde_json::Value;
use source::Edit;
use std::sync::{Arc, Mutex, PoisonError};

/// The rules in force, for all sources.
pub(super) type Rules = Arc<Mutex<Arc<Redactor>>>;

/// What a source does with its lines before it hands them over.
pub(super) fn editor(rules: &Rules, on: bool) -> Edit {
    let rules = Arc::clone(rules);
    Box::new(move |entries| {
        if on {
            let rules = Arc::clone(&rules.lock().unwrap_or_else(PoisonError::into_inner));
            entries.iter_mut().for_each(|entry| hide(&rules, &mut entry.line));
        }
    })
}

fn hide(rules: &Redactor, line: &mut event::Line) {
    line.redacted = rules.line(&mut line.message);
    // Value by value: a marker in the text would make it something else than JSON.
    if !line.json.is_empty()
        && let Ok(mut fields) = serde_json::from_str::<Value>(&line.json)
    {
        let found = hide_value(rules, "", &mut fields);
        if found > 0 {
            line.json = fields.to_string();
            line.redacted = line.redacted.saturating_add(found);
        }
    }
}

/// `name`: that of the field, or of the list it is in. JSON that was read is not deep.
fn hide_value(rules: &Redactor, name: &str, value: &mut Value) -> u32 {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => {
            let mut text = number.to_string().into_bytes();
            let found = rules.field(name.as_bytes(), &mut text);
            if found > 0 {
                *value = Value::String(String::from_utf8_lossy(&text).into_owned());
            }
            found
        }
        Value::String(text) => {
            let mut bytes = std::mem::take(text).into_bytes();
            let found = rules.field(name.as_bytes(), &mut bytes);
            // Without a marker they are the bytes of the text; a marker may part a character.
            *text = String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            found
        }
        Value::Array(items) => items.iter_mut().map(|item| hide_value(rules, name, item)).sum(),
        Value::Object(fields) => fields.iter_mut().map(|(name, field)| hide_value(rules, name, field)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::hide;
    use redact::{Redactor, Rules};

    fn hidden(message: &str, json: &str) -> (String, String, u32) {
        let rules = Redactor::new(&Rules::default()).unwrap();
        let (message, json) = (message.as_bytes().to_vec(), json.to_string());
        let mut line = event::Line { message, json, ..event::Line::default() };
        hide(&rules, &mut line);
        (String::from_utf8(line.message).unwrap(), line.json, line.redacted)
    }

    #[test]
    fn messages_and_fields_lose_their_secrets_and_stay_what_they_are() {
        assert_eq!(hidden("login password=hunter2 ok", "").0, "login password=[redacted:7] ok");
        let json = r#"{"db":{"password":"a\"b","port":5432},"msg":"token=abc ok","pin":{"secret":1234},"tokens":17,"url":["https://a:bc@h/"]}"#;
        let (_, json, count) = hidden("", json);
        assert_eq!(
            json,
            r#"{"db":{"password":"[redacted:3]","port":5432},"msg":"token=[redacted:3] ok","pin":{"secret":"[redacted:4]"},"tokens":17,"url":["https://a:[redacted:2]@h/"]}"#
        );
        assert_eq!(count, 4);
        let same = r#"{"level":"info","n":[1,2.5,null,true],"text":"caf\u00e9 \u0001"}"#;
        assert_eq!(hidden("served", same), ("served".to_string(), same.to_string(), 0));
    }
}
