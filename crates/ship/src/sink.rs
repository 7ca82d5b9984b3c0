// SPDX-License-Identifier: Apache-2.0
//! What every sink must do, and the words in which it says how that went.

use crate::batch::Batch;
use crate::cursor::Place;
use std::fmt::Debug;
use std::time::Duration;

/// A receiver of documents. One thread uses it; it may block for about a second at most.
pub trait Sink: Debug + Send {
    /// Where to go on. `place` is what the cursor says; only a sink that keeps the cursor together
    /// with its documents knows better. Asked before the first batch and after each rewind.
    ///
    /// # Errors
    /// As [`Sink::send`]; it is asked again.
    fn resume(&mut self, place: &Place) -> Result<Place, SendError> {
        Ok(place.clone())
    }

    /// Delivers `batch`: comes back with `Ok` when each document is safe or will never be taken.
    /// After an error it is called again with the same batch, and sends only what is not safe yet.
    ///
    /// # Errors
    /// Why not everything is safe, and what that means for the next try.
    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError>;

    /// Called now and then while there is nothing to send.
    fn idle(&mut self) {}

    /// Says step by step whether `canary` can be delivered, without touching what [`Sink::send`]
    /// has under way. The first step that fails ends it.
    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step));
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Documents to set aside.
    pub poison: Vec<Poison>,
    /// Documents that the receiver refused for good without saying which.
    pub rejected: Option<Rejected>,
    /// Kept with the cursor and given back by [`Sink::resume`]; at most
    /// [`crate::MAX_MARK_BYTES`].
    pub mark: Vec<u8>,
}

/// Documents that were refused for good, and nobody knows which of the batch they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// How many.
    pub count: u64,
    /// What the receiver said.
    pub reason: String,
}

/// A document the receiver will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Its index in the batch.
    pub index: usize,
    /// Why not.
    pub reason: String,
}

/// Why a batch is not safe yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is on its way and not acknowledged yet, perhaps because of this trouble: call again at once.
    #[error("{}", .0.as_ref().map_or("waiting for the acknowledgement", |trouble| &trouble.reason))]
    Waiting(Option<Trouble>),
    /// It may go better in a moment.
    #[error("{0}")]
    Transient(String),
    /// It may go better after this time, which the receiver asks for.
    #[error("{0}")]
    Later(String, Duration),
    /// It will not go better before somebody changes something; tried again slowly all the same.
    #[error("{0}")]
    Refused(String),
    /// The sink's own record says that the line goes on elsewhere.
    #[error("the receiver goes on at event {}", .0.next)]
    Moved(Place),
}

/// What holds a batch up that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub reason: String,
    /// Whether somebody has to change something.
    pub refused: bool,
}

/// One step of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done, such as "resolve kafka1.example".
    pub name: String,
    /// What was found, or what is wrong and what to do about it.
    pub outcome: Result<String, String>,
}

impl Step {
    /// A step that went well.
    pub fn done(name: impl Into<String>, found: impl Into<String>) -> Step {
        Step { name: name.into(), outcome: Ok(found.into()) }
    }

    /// The step at which it ends.
    pub fn failed(name: impl Into<String>, why: impl Into<String>) -> Step {
        Step { name: name.into(), outcome: Err(why.into()) }
    }
}
