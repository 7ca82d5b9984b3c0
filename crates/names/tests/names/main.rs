// SPDX-License-Identifier: Apache-2.0
//! The room as a whole: against name servers of its own on this machine's loopback addresses, and in a
//! root whose glibc would end the program.
#![allow(clippy::unwrap_used, reason = "a test may stop at any error, in its own helpers as well")]

mod dns;
mod hostile;
mod server;
mod trap;
