// SPDX-License-Identifier: Apache-2.0
//! The store from outside: what goes in comes out, whatever happens between.

mod crash;
mod disk_full;
mod follow;
mod hostile;
mod roundtrip;
mod tamper;
mod world;
