// SPDX-License-Identifier: Apache-2.0
//! The store from outside: what goes in comes out, whatever happens between.

mod roundtrip;
mod world;
