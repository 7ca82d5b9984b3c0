// SPDX-License-Identifier: Apache-2.0
//! Saved objects for OpenSearch Dashboards and Kibana: what to look at first. They are plain searches
//! and counts by one field, which both products have read for years.

use serde_json::{Value, json};

/// Something shown on the dashboard.
struct Panel {
    /// Part of its id.
    name: &'static str,
    title: &'static str,
    /// In Lucene's language.
    query: &'static str,
    shown: Shown,
}

enum Shown {
    /// The documents themselves, with these columns.
    Documents(&'static [&'static str]),
    /// How many documents each of the most frequent values of a field has.
    Count(&'static str),
}

/// Shells by the last part of their path, also BusyBox's.
const SHELLS: &str = "event.action:exec AND _exists_:container.id AND process.name:(sh OR bash OR dash OR ash OR zsh OR ksh OR fish OR busybox)";

const PANELS: [Panel; 6] = [
    Panel {
        name: "commands",
        title: "Commands by container",
        query: "event.action:exec",
        shown: Shown::Count("container.name"),
    },
    Panel {
        name: "failed",
        title: "Failed starts by reason",
        query: "event.action:exec_failed",
        shown: Shown::Count("error.code"),
    },
    Panel {
        name: "shells",
        title: "Shells in containers",
        query: SHELLS,
        shown: Shown::Documents(&["container.name", "user.id", "process.args", "process.working_directory"]),
    },
    Panel {
        name: "failures",
        title: "Failed starts",
        query: "event.action:exec_failed",
        shown: Shown::Documents(&["container.name", "error.code", "process.executable", "process.args"]),
    },
    Panel {
        name: "gaps",
        title: "Gaps: what is not in the record",
        query: "event.action:gap",
        shown: Shown::Documents(&["host.name", "purser.gap.cause", "purser.gap.count", "purser.gap.detail"]),
    },
    Panel {
        name: "agents",
        title: "Agents and sinks",
        query: "agent.type:purser AND NOT event.action:canary",
        shown: Shown::Documents(&["host.name", "event.action", "message"]),
    },
];

/// The objects for `stream`, one a line as they are imported: a data view, the panels and a dashboard.
/// Importing them again replaces them.
pub fn dashboards(stream: &str) -> Vec<Value> {
    let view = format!("purser-{stream}");
    let mut objects = vec![json!({
        "type": "index-pattern",
        "id": view,
        "attributes": { "title": stream, "timeFieldName": "@timestamp" },
        "references": [],
    })];
    objects.extend(PANELS.iter().map(|panel| panel.object(&view)));
    objects.push(dashboard(&view));
    objects
}

impl Panel {
    fn id(&self, view: &str) -> String {
        format!("{view}-{}", self.name)
    }

    fn kind(&self) -> &'static str {
        match self.shown {
            Shown::Documents(_) => "search",
            Shown::Count(_) => "visualization",
        }
    }

    fn object(&self, view: &str) -> Value {
        let reference = "kibanaSavedObjectMeta.searchSourceJSON.index";
        let source = json!({
            "query": { "query": self.query, "language": "lucene" },
            "filter": [],
            "indexRefName": reference,
        });
        let mut attributes = json!({
            "title": format!("purser: {}", self.title),
            "kibanaSavedObjectMeta": { "searchSourceJSON": source.to_string() },
        });
        let own = match self.shown {
            Shown::Documents(columns) => json!({ "columns": columns, "sort": [["@timestamp", "desc"]] }),
            Shown::Count(field) => {
                json!({ "visState": table(self.title, field).to_string(), "uiStateJSON": "{}" })
            }
        };
        if let (Some(attributes), Value::Object(own)) = (attributes.as_object_mut(), own) {
            attributes.extend(own);
        }
        json!({
            "type": self.kind(),
            "id": self.id(view),
            "attributes": attributes,
            "references": [{ "name": reference, "type": "index-pattern", "id": view }],
        })
    }
}

/// A table of the fifty most frequent values of `field`.
fn table(title: &str, field: &str) -> Value {
    json!({
        "title": format!("purser: {title}"),
        "type": "table",
        "params": { "perPage": 10, "showPartialRows": false, "showTotal": false },
        "aggs": [
            { "id": "1", "enabled": true, "type": "count", "schema": "metric", "params": {} },
            { "id": "2", "enabled": true, "type": "terms", "schema": "bucket", "params": {
                "field": field, "orderBy": "1", "order": "desc", "size": 50,
                "otherBucket": false, "missingBucket": false,
            } },
        ],
    })
}

/// Two panels in a row of forty-eight columns.
fn dashboard(view: &str) -> Value {
    let place = |index: usize| json!({ "x": index % 2 * 24, "y": index / 2 * 15, "w": 24, "h": 15, "i": index.to_string() });
    let panels: Vec<Value> = (0..PANELS.len())
        .map(|index| {
            json!({
                "panelIndex": index.to_string(),
                "gridData": place(index),
                "embeddableConfig": {},
                "panelRefName": format!("panel_{index}"),
            })
        })
        .collect();
    let references: Vec<Value> = PANELS
        .iter()
        .enumerate()
        .map(|(index, panel)| {
            json!({ "name": format!("panel_{index}"), "type": panel.kind(), "id": panel.id(view) })
        })
        .collect();
    let source = json!({ "query": { "query": "", "language": "lucene" }, "filter": [] });
    json!({
        "type": "dashboard",
        "id": format!("{view}-overview"),
        "attributes": {
            "title": "purser: what ran",
            "panelsJSON": Value::Array(panels).to_string(),
            "optionsJSON": "{}",
            "timeRestore": false,
            "kibanaSavedObjectMeta": { "searchSourceJSON": source.to_string() },
        },
        "references": references,
    })
}

#[cfg(test)]
mod tests {
    use super::{PANELS, dashboards};
    use serde_json::Value;

    #[test]
    fn every_reference_leads_to_an_object_and_every_text_is_json() {
        let objects = dashboards("logs-x");
        assert_eq!(objects.len(), PANELS.len() + 2);
        let is_there = |reference: &Value| {
            objects
                .iter()
                .any(|object| object["id"] == reference["id"] && object["type"] == reference["type"])
        };
        for object in &objects {
            let references = object["references"].as_array().unwrap();
            assert!(references.iter().all(is_there), "{object}");
            let attributes = object["attributes"].as_object().unwrap();
            for (name, value) in attributes.iter().filter(|(name, _)| name.ends_with("JSON")) {
                assert!(serde_json::from_str::<Value>(value.as_str().unwrap()).is_ok(), "{name} of {object}");
            }
        }
    }
}
