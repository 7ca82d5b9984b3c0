// SPDX-License-Identifier: Apache-2.0
//! From what the store holds to a line of JSON in the schema that a sink wants.

use event::document::{self, Context, Prepared};
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
    containers: HashMap<Vec<u8>, Known>,
}

/// A container and its part of each document.
#[derive(Debug, Clone)]
struct Known {
    container: Arc<Container>,
    prepared: Arc<Prepared>,
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
        let known = entry.attachment.as_deref().and_then(|bytes| self.known(bytes));
        let container = known.as_ref().map(|known| &*known.container);
        let (context, sequence) = (&*self.context, entry.sequence);
        match (self.schema, &known) {
            (Schema::Ecs, Some(Known { container, prepared })) => {
                document::write_prepared(context, sequence, &event, container, prepared, out);
            }
            (Schema::Ecs, None) => document::write(context, sequence, &event, None, out),
            (Schema::Otel, _) => document::write_otel(context, sequence, &event, container, out),
            (Schema::Ocsf, _) => document::write_ocsf(context, sequence, &event, container, out),
        }
        Ok(Rendered { container_id: event.container, container: known.map(|known| known.container) })
    }

    fn known(&mut self, attachment: &[u8]) -> Option<Known> {
        if attachment.is_empty() {
            return None;
        }
        if let Some(known) = self.containers.get(attachment) {
            return Some(known.clone());
        }
        let container = codec::decode_container(attachment).ok()?;
        let prepared = Arc::new(Prepared::new(&container));
        let known = Known { container: Arc::new(container), prepared };
        if self.containers.len() >= CONTAINERS_LIMIT {
            self.containers.clear();
        }
        self.containers.insert(attachment.to_vec(), known.clone());
        Some(known)
    }
}
