// SPDX-License-Identifier: Apache-2.0
//! The memory mappings rustix has no safe form of: the two sides of a BPF ring buffer.
//!
//! A room with unsafe code. It knows addresses and lengths, never what a record means.

mod openssl;
mod ring;

pub use openssl::openssl_without_configuration;
pub use ring::{Ring, RingError, Slot};
