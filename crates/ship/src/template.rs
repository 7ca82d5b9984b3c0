// SPDX-License-Identifier: Apache-2.0
//! Names with fields of the document in braces, such as `audit-{host.name}`.

use crate::batch::Document;
use std::fmt;

/// The fields that may stand in braces; a label is `container.labels.NAME`.
pub const FIELDS: [&str; 11] = [
    "container.id",
    "container.image.name",
    "container.name",
    "container.runtime",
    "event.action",
    "host.boot.id",
    "host.name",
    "orchestrator.namespace",
    "orchestrator.resource.name",
    "container.labels.NAME",
    "purser.store",
];
const LABEL: &str = "container.labels.";
/// Longest template, in bytes.
const TEMPLATE_LIMIT: usize = 256;
/// What stands for a field that the document does not have.
const NOTHING: &str = "none";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in words for the one who wrote it.
    pub fn new(source: &str) -> Result<Template, String> {
        if source.is_empty() || source.len() > TEMPLATE_LIMIT {
            return Err(format!("a name has 1 to {TEMPLATE_LIMIT} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some((text, after)) = rest.split_once('{') {
            let Some((field, tail)) = after.split_once('}') else {
                return Err(format!("{source:?} has a {{ without a }}"));
            };
            let label = field.strip_prefix(LABEL).is_some_and(|name| !name.is_empty());
            if !label && (!FIELDS.contains(&field) || field.ends_with("NAME")) {
                return Err(format!("{{{field}}} is no field of a document; known: {}", FIELDS.join(", ")));
            }
            parts.extend((!text.is_empty()).then(|| Part::Text(text.to_string())));
            parts.push(Part::Field(field.to_string()));
            rest = tail;
        }
        if rest.contains('}') {
            return Err(format!("{source:?} has a }} without a {{"));
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_string())));
        Ok(Template { source: source.to_string(), parts })
    }

    /// Whether it is the same for every document.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether it is the same for every document of one host.
    pub fn is_constant_on_host(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Text(_) => true,
            Part::Field(field) => field.starts_with("host.name") || field == "purser.store",
        })
    }

    /// Whether those who are watched have a say in it.
    pub(crate) fn is_chosen(&self) -> bool {
        let chosen = |field: &str| field.starts_with("container.") || field.starts_with("orchestrator.");
        self.parts.iter().any(|part| matches!(part, Part::Field(field) if chosen(field)))
    }

    /// The first character outside braces that is not allowed.
    pub fn wrong_character(&self, allowed: fn(char) -> bool) -> Option<char> {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Field(_) => None,
        });
        texts.flat_map(str::chars).find(|c| !allowed(*c))
    }

    /// Appends the name for `document` to `out`. Every character of a field that `allowed` refuses
    /// becomes `_`, because fields may be chosen by those who are watched.
    pub fn render(&self, document: &Document<'_>, allowed: fn(char) -> bool, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(field) => {
                    let value = value(document, field);
                    let value = if value.is_empty() { NOTHING } else { value.as_ref() };
                    out.extend(value.chars().map(|c| if allowed(c) { c } else { '_' }));
                }
            }
        }
    }
}

fn value<'a>(document: &Document<'a>, field: &str) -> std::borrow::Cow<'a, str> {
    let known = document.container;
    let of = |text: fn(&event::Container) -> &String| known.map_or("", |known| text(known).as_str()).into();
    match field {
        "host.name" => document.context.host_name.as_str().into(),
        "host.boot.id" => {
            document.event().map_or(String::new(), |event| event::document::uuid(&event.boot_id)).into()
        }
        "purser.store" => crate::cursor::hex(&document.context.store_id).into(),
        "event.action" => document.action(),
        "container.id" => document.container_id.into(),
        "container.name" => of(|known| &known.name),
        "container.runtime" => of(|known| &known.runtime),
        "container.image.name" => of(|known| &known.image),
        "orchestrator.namespace" => of(|known| &known.pod_namespace),
        "orchestrator.resource.name" => of(|known| &known.pod_name),
        _ => {
            let name = field.strip_prefix(LABEL).unwrap_or_default();
            let label = known.and_then(|known| known.labels.iter().find(|(key, _)| key == name));
            label.map_or("", |(_, value)| value.as_str()).into()
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::Template;
    use crate::batch::sample;

    #[test]
    fn fields_come_from_the_document_and_are_made_harmless() {
        let batch = sample::batch(1);
        let document = batch.documents().next().unwrap();
        let name = |source: &str| {
            let mut out = String::new();
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            Template::new(source).unwrap().render(&document, allowed, &mut out);
            out
        };
        assert_eq!(name("audit"), "audit");
        assert_eq!(name("audit-{host.name}"), "audit-host-1");
        assert_eq!(name("{container.image.name}.{event.action}"), "registry_web_1.exec");
        assert_eq!(name("{container.labels.tier}-{container.labels.none}"), "front-none");
        assert_eq!(name("{purser.store}"), "ab".repeat(16));
        assert!(Template::new("audit-{host.name}").unwrap().is_constant_on_host());
        assert!(!Template::new("{container.name}").unwrap().is_constant_on_host());
    }

    #[test]
    fn wrong_templates_say_what_is_wrong() {
        let wrong = |source: &str| Template::new(source).unwrap_err();
        assert!(wrong("").contains("1 to 256 bytes"));
        assert!(wrong("a{host.name").contains("without a }"));
        assert!(wrong("a}").contains("without a {"));
        assert!(wrong("{host.nam}").contains("known: container.id, "));
        assert!(wrong("{container.labels.}").contains("is no field"));
    }
}
