// SPDX-License-Identifier: Apache-2.0
//! ClickHouse over HTTP: `INSERT … FORMAT JSONEachRow`, answered when the rows are stored. The same
//! rows have the same deduplication token, so that a repetition is none in the table.

use crate::batch::Batch;
use crate::cursor::hex;
use event::document::rfc3339;
use serde_json::json;
use std::ops::Range;

pub(super) fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 200 || !name.chars().all(good) {
        return Err(format!("{name:?} is no database or table: write letters, digits and _"));
    }
    Ok(())
}

/// Path and query of an insert.
pub(super) fn path(database: &str, table: &str, token: &str) -> String {
    // Names are letters, digits and _; %20 is a space and %60 a backtick.
    let query = format!("INSERT%20INTO%20%60{database}%60.%60{table}%60%20FORMAT%20JSONEachRow");
    // An insert that is only queued, or an answer before the end, would be an acknowledgement of nothing.
    format!(
        "/?query={query}&async_insert=0&wait_end_of_query=1&date_time_input_format=best_effort\
         &insert_deduplication_token={token}"
    )
}

/// One row a line; docs/webhook.md has the table.
pub(super) fn body(batch: &Batch, range: Range<usize>) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.bytes() + batch.len() * 256);
    let store = hex(&batch.context().store_id);
    for document in range.filter_map(|index| batch.document(index)) {
        let row = json!({
            "store": store,
            "sequence": document.sequence,
            "time": rfc3339(document.time_ns),
            "action": document.action(),
            "host": document.context.host_name,
            "container_id": document.container_id,
            "container_name": document.container.map_or("", |known| known.name.as_str()),
        });
        let row = row.to_string();
        body.extend_from_slice(row.strip_suffix('}').unwrap_or(&row).as_bytes());
        body.extend_from_slice(b",\"document\":");
        body.extend_from_slice(document.json);
        body.push(b'}');
        body.push(b'\n');
    }
    body
}
