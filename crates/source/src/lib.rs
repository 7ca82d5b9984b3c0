// SPDX-License-Identifier: Apache-2.0
//! Log files to lines, each with the place it was read from.
//!
//! [`Reader`] finds files by patterns, on the host and inside containers, follows them through
//! rotation and truncation, and hands out their lines in batches. It reads nothing twice and leaves
//! nothing out, as long as whoever takes the lines says what is committed: [`Positions`] are learned
//! from committed events alone. [`Runner`] is the thread around it.
//!
//! This room prints nothing, reads no configuration and asks no wall clock.

mod copies;
mod error;
mod format;
mod glob;
mod json;
mod lines;
mod multiline;
mod open;
mod positions;
mod reader;
mod runner;
mod settings;
mod status;
mod tail;

pub use error::Error;
pub use format::{Format, Wrapped};
pub use glob::{FILES_LIMIT, PathGlob};
pub use json::Json;
pub use lines::{Encoding, LineDecoder, RawLine};
pub use multiline::{Multiline, Side, pattern};
pub use open::root_of;
pub use positions::{FINGERPRINT_BYTES, POSITIONS_LIMIT, Position, Positions};
pub use reader::{BATCH_BYTES, Batch, Containers, Log, Reader, Root, Roots};
pub use runner::{Edit, Runner, Start, Stopping};
pub use settings::{From, Settings};
pub use status::{FileState, Status, Unread};
pub use tail::Entry;
