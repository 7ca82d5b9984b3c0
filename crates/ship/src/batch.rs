// SPDX-License-Identifier: Apache-2.0
//! The documents that go to a sink together: one buffer of text and what else is known of each.

use crate::render::{Renderer, Schema};
use event::document::Context;
use event::{Container, Event, Kind, codec};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// How much goes into one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Documents.
    pub events: usize,
    /// Bytes of their text; one document may exceed it.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { events: 4096, bytes: 1 << 20 }
    }
}

/// What an agent does when it records an event only to measure its way.
pub const CANARY: &str = "canary";

/// An event that cannot become a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) sequence: u64,
    pub(crate) reason: String,
}

#[derive(Debug)]
struct Item {
    entry: store::Entry,
    container_id: String,
    container: Option<Arc<Container>>,
    text: Range<usize>,
}

/// Documents in the order of their sequence.
#[derive(Debug)]
pub struct Batch {
    number: u64,
    context: Arc<Context>,
    schema: Schema,
    items: Vec<Item>,
    text: Vec<u8>,
    unreadable: Vec<Unreadable>,
    place: crate::cursor::Place,
}

/// One document.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Its number in the store.
    pub sequence: u64,
    /// Wall clock of the event, ns since 1970.
    pub time_ns: u64,
    /// The container's id, empty for the host.
    pub container_id: &'a str,
    /// What is known of the container.
    pub container: Option<&'a Container>,
    /// One line of JSON without a line end.
    pub json: &'a [u8],
    /// Host and store.
    pub context: &'a Context,
    entry: &'a store::Entry,
}

impl Document<'_> {
    /// The typed event, decoded anew; `None` never happens for a document that has text.
    pub fn event(&self) -> Option<Event> {
        codec::decode(&self.entry.event).ok()
    }

    /// `event.action` of the document.
    pub fn action<'b>(&self) -> Cow<'b, str> {
        match self.event() {
            Some(Event { body: event::Body::Agent(agent), .. }) => Cow::Owned(agent.action),
            Some(event) => Cow::Borrowed(event.kind().word()),
            None => Cow::Borrowed(""),
        }
    }

    /// Whether it is only there to see how long the way takes.
    pub(crate) fn is_canary(&self) -> bool {
        self.entry.kind == Kind::Agent as u8 && self.action() == CANARY
    }

    /// `event.id` of the document.
    pub fn id(&self) -> String {
        document_id(self.context, self.sequence)
    }

    /// The kind of the event, `None` for one this version does not know.
    pub fn kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == self.entry.kind)
    }
}

fn document_id(context: &Context, sequence: u64) -> String {
    let [a, b, c, d, ..] = context.store_id;
    format!("{a:02x}{b:02x}{c:02x}{d:02x}-{sequence}")
}

impl Batch {
    /// An empty batch that takes documents rendered by `renderer`.
    pub fn new(renderer: &Renderer) -> Batch {
        Batch {
            number: 1,
            context: Arc::clone(renderer.context()),
            schema: renderer.schema(),
            items: Vec::new(),
            text: Vec::new(),
            unreadable: Vec::new(),
            place: crate::cursor::Place::default(),
        }
    }

    /// A batch with one event that is in no store: its sequence is 0.
    pub fn of_event(renderer: &mut Renderer, event: &Event) -> Batch {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes);
        let entry = store::Entry {
            sequence: 0,
            time_ns: event.time_ns,
            kind: event.kind() as u8,
            user: 0,
            subject: Arc::default(),
            executable: Arc::default(),
            event: bytes,
            attachment: None,
        };
        let mut batch = Batch::new(renderer);
        batch.push(renderer, entry);
        batch
    }

    /// Empties it for the next documents; `place` is the cursor's when nothing of it is sent.
    pub(crate) fn restart(&mut self, place: crate::cursor::Place) {
        self.number += 1;
        self.items.clear();
        self.text.clear();
        self.unreadable.clear();
        self.place = place;
    }

    /// Appends an event.
    pub fn push(&mut self, renderer: &mut Renderer, entry: store::Entry) {
        let start = self.text.len();
        match renderer.render(&entry, &mut self.text) {
            Ok(rendered) => self.items.push(Item {
                container_id: rendered.container_id,
                container: rendered.container,
                text: start..self.text.len(),
                entry,
            }),
            Err(reason) => self.unreadable.push(Unreadable { sequence: entry.sequence, reason }),
        }
        let next = self.place.next.max(entry_end(&self.items, &self.unreadable));
        self.place.next = next;
    }

    /// Changes with each batch of a line; the same batch keeps it however often it is sent. Never 0, which
    /// is what sinks begin with that have seen none.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Documents in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all documents' text.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The names its documents use.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// Host and store.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Where the cursor will stand behind it; the mark is the one before.
    pub fn place(&self) -> &crate::cursor::Place {
        &self.place
    }

    /// The document at `index`.
    pub fn document(&self, index: usize) -> Option<Document<'_>> {
        self.items.get(index).map(|item| self.of(item))
    }

    /// All documents.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = Document<'_>> {
        self.items.iter().map(|item| self.of(item))
    }

    fn of<'a>(&'a self, item: &'a Item) -> Document<'a> {
        Document {
            sequence: item.entry.sequence,
            time_ns: item.entry.time_ns,
            container_id: &item.container_id,
            container: item.container.as_deref(),
            json: self.text.get(item.text.clone()).unwrap_or_default(),
            context: &self.context,
            entry: &item.entry,
        }
    }

    pub(crate) fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Whether it has used up what `limits` allow.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.items.len() + self.unreadable.len() >= limits.events || self.text.len() >= limits.bytes
    }

    /// Whether the line has nothing to settle with it.
    pub(crate) fn is_void(&self) -> bool {
        self.items.is_empty() && self.unreadable.is_empty()
    }
}

fn entry_end(items: &[Item], unreadable: &[Unreadable]) -> u64 {
    let last = items.last().map_or(0, |item| item.entry.sequence);
    last.max(unreadable.last().map_or(0, |event| event.sequence)) + 1
}

#[cfg(test)]
pub(crate) mod sample {
    use super::Batch;
    use crate::render::{Renderer, Schema};
    use event::document::Context;
    use event::{Body, Container, Event, Exec, codec};
    use std::sync::Arc;

    pub(crate) fn renderer() -> Renderer {
        Renderer::new(Context { store_id: [0xab; 16], host_name: "host-1".to_string() }, Schema::Ecs)
    }

    pub(crate) fn event(number: u64) -> Event {
        let exec = Exec { args: vec![format!("number-{number}").into_bytes()], ..Exec::default() };
        Event {
            boot_id: [3; 16],
            time_ns: number * 1_000,
            boot_ns: number * 1_000,
            container: "c1".to_string(),
            body: Body::Exec(Box::new(exec)),
        }
    }

    pub(crate) fn entry(number: u64) -> store::Entry {
        let event = event(number);
        let mut bytes = Vec::new();
        codec::encode(&event, &mut bytes);
        let container = Container {
            name: "web".to_string(),
            image: "registry/web:1".to_string(),
            labels: vec![("tier".to_string(), "front".to_string())],
            ..Container::default()
        };
        store::Entry {
            sequence: number,
            time_ns: event.time_ns,
            kind: event.kind() as u8,
            user: 0,
            subject: Arc::from(event.container.as_bytes()),
            executable: Arc::default(),
            event: bytes,
            attachment: Some(Arc::from(codec::encode_container(&container))),
        }
    }

    /// Events 1 to `count`.
    pub(crate) fn batch(count: u64) -> Batch {
        let mut renderer = renderer();
        let mut batch = Batch::new(&renderer);
        batch.restart(crate::cursor::Place { next: 1, ..crate::cursor::Place::default() });
        (1..=count).for_each(|number| batch.push(&mut renderer, entry(number)));
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, sample};

    #[test]
    fn holds_documents_in_order_and_ends_behind_the_last() {
        let mut batch = sample::batch(3);
        assert_eq!((batch.len(), batch.place().next), (3, 4));
        let sequences: Vec<u64> = batch.documents().map(|document| document.sequence).collect();
        assert_eq!(sequences, [1, 2, 3]);
        let json: serde_json::Value = serde_json::from_slice(batch.document(1).unwrap().json).unwrap();
        assert_eq!(json["event"]["id"], batch.document(1).unwrap().id());
        assert_eq!(json["process"]["args"][0], "number-2");
        assert!(batch.is_full(&Limits { events: 3, bytes: usize::MAX }));
        assert!(batch.is_full(&Limits { events: 9, bytes: 10 }));
        let number = batch.number();
        batch.restart(batch.place().clone());
        assert!(batch.is_empty() && batch.number() == number + 1);
    }

    #[test]
    fn an_event_nobody_can_read_is_kept_apart_and_passed_over() {
        let mut batch = sample::batch(1);
        let entry = store::Entry { event: vec![0xff; 4], ..sample::entry(2) };
        batch.push(&mut sample::renderer(), entry);
        assert_eq!((batch.len(), batch.unreadable().len(), batch.place().next), (1, 1, 3));
    }
}
