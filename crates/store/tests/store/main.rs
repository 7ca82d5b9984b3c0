// SPDX-License-Identifier: Apache-2.0
//! The store from outside: what goes in comes out, whatever happens between.

#![allow(clippy::unwrap_used, reason = "a test may stop at any error, in its own helpers as well")]

mod crash;
mod disk_full;
mod follow;
mod hostile;
mod roundtrip;
mod tamper;
mod world;
