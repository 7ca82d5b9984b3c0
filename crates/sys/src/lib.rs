// SPDX-License-Identifier: Apache-2.0
//! What rustix has no safe form of: mapping the two sides of a BPF ring buffer, running a BPF program
//! once, setting OpenSSL up, giving back free memory, taking descriptors that were handed over, copies of this
//! process, attributes of mounts, and owners of namespaces.
//!
//! A room with unsafe code. It knows addresses and lengths, never what a record means.

mod heap;
mod inherited;
pub mod mounts;
pub mod namespaces;
mod openssl;
pub mod process;
mod program;
mod ring;

pub use heap::give_back_free_memory;
pub use inherited::take_inherited;
pub use openssl::openssl_without_configuration;
pub use program::run_program;
pub use ring::{Ring, RingError, Slot};
