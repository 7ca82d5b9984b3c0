// SPDX-License-Identifier: Apache-2.0
//! Sinks against the real receivers, and against bad ones, started by the tests on loopback. A test whose receiver cannot
//! be had says SKIP with the reason, and fails when PURSER_REQUIRE_ALL=1.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop at any error, and says SKIP")]

mod faults;
mod harness;
mod inbox;
mod logstash;
mod opensearch;
mod otlp;
mod proxy;
mod rsyslog;
mod webhook;
