// SPDX-License-Identifier: Apache-2.0
//! Answers of HTTP/1.1, taken in pieces as they come: the head, and a body by length, in chunks or to the end of the
//! connection. [`Heads`] takes bytes until the head is there, and its [`Body`] those behind it.
//!
//! Each byte is looked at once, however small the pieces are, and what is kept has a limit. It never touches a
//! connection: who asks decides what is sent, how long is waited, and how much of a body is wanted. Its errors are
//! fixed words, so nothing that the other side said gets into a message.

mod body;
mod error;
mod escaped;
mod head;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use error::HttpError;
pub use escaped::escaped;
pub use head::{Head, Heads};
