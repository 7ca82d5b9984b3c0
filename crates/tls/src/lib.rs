// SPDX-License-Identifier: Apache-2.0
//! How connections to others are encrypted: TLS 1.2 or later with the authorities that are trusted, and a certificate of
//! our own where one is asked for. It reads files, and never connects: who does has the socket and the time.

mod connector;
mod error;
mod file;
mod secret;

pub use connector::{BUNDLES, Own, authorities_of_host, connector};
pub use error::{Disagreement, TlsError, disagreement, said, told};
pub use secret::Secret;
