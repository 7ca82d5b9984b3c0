// SPDX-License-Identifier: Apache-2.0
//! From what the store holds to a line of JSON in the schema that a sink wants.

use event::document::{self, Context};
use event::{Container, codec};
use std::collections::HashMap;
use std::sync::Arc;

/// Decoded containers kept, so that each is decoded once.
const CONTAINERS_LIMIT: usize = 1_024;

/// The names that documents use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Schema {
    /// Elastic Common Schema, as docs/events.md describes it.
    #[default]
    Ecs,
    /// OpenTelemetry's semantic conventions.
    Otel,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Schema {
    /// The word for it in configurations and headers.
    pub fn word(self) -> &'static str {
        match self {
            Schema::Ecs => "ecs",
            Schema::Otel => "otel",
            Schema::Ocsf => "ocsf",
        }
    }
}

/// Renders events; keeps containers it has seen.
#[derive(Debug)]
pub struct Renderer {
    context: Arc<Context>,
    schema: Schema,
    containers: HashMap<Vec<u8>, Arc<Container>>,
}

/// What a rendered event is besides its text.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) container_id: String,
    pub(crate) container: Option<Arc<Container>>,
}

impl Renderer {
    /// Renders events of the host and store in `context`.
    pub fn new(context: Context, schema: Schema) -> Renderer {
        Renderer { context: Arc::new(context), schema, containers: HashMap::new() }
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn schema(&self) -> Schema {
        self.schema
    }

    /// Appends the document of `entry` to `out`; the error says why it cannot be read.
    pub(crate) fn render(&mut self, entry: &store::Entry, out: &mut Vec<u8>) -> Result<Rendered, String> {
        let event = codec::decode(&entry.event).map_err(|error| error.to_string())?;
        let container = entry.attachment.as_deref().and_then(|bytes| self.container(bytes));
        let known = container.as_deref();
        let write = match self.schema {
            Schema::Ecs => document::write,
            Schema::Otel => document::write_otel,
            Schema::Ocsf => document::write_ocsf,
        };
        write(&self.context, entry.sequence, &event, known, out);
        Ok(Rendered { container_id: event.container, container })
    }

    fn container(&mut self, attachment: &[u8]) -> Option<Arc<Container>> {
        if attachment.is_empty() {
            return None;
        }
        if let Some(known) = self.containers.get(attachment) {
            return Some(Arc::clone(known));
        }
        let container = Arc::new(codec::decode_container(attachment).ok()?);
        if self.containers.len() >= CONTAINERS_LIMIT {
            self.containers.clear();
        }
        self.containers.insert(attachment.to_vec(), Arc::clone(&container));
        Some(container)
    }
}
