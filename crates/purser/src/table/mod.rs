// SPDX-License-Identifier: Apache-2.0
//! Events as lines for people. Whatever stands in an argument or a name, a terminal only ever
//! gets printable text from here. Nothing here reads a store or a clock.

mod ending;
mod line;
mod live;
mod quote;
mod recent;
mod span;
mod tree;
mod window;

pub(crate) use ending::Ending;
pub(crate) use line::{Look, Painter, cut};
pub(crate) use live::Live;
pub(crate) use quote::harmless;
pub(crate) use recent::Recent;
pub(crate) use span::{bytes, duration, grouped};
pub(crate) use tree::{Forest, Node};
pub(crate) use window::Window;

use event::{Container, Event, ProcessKey};
use std::sync::Arc;

/// An event with its place in the store and what is known of its container.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) sequence: u64,
    pub(crate) event: Event,
    pub(crate) container: Option<Arc<Container>>,
}

/// A process on any boot.
pub(crate) type Identity = ([u8; 16], ProcessKey);

impl Row {
    /// The process the event is about.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.event.process().map(|process| (self.event.boot_id, process.key))
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
