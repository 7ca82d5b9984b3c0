// SPDX-License-Identifier: Apache-2.0
//! Sends what librdkafka gathers. The only unsafe code of this room.

use super::Producer;
use rdkafka::bindings::rd_kafka_flush;
use rdkafka::producer::Producer as _;

/// For how long librdkafka is told not to gather: its thread needs that time to hear of it.
const MILLIS: i32 = 1;

/// Has requests made of everything handed over, and waits a moment for that.
pub(super) fn send_now(producer: &Producer) {
    // The safe crate's call is over before librdkafka's thread has seen that it began.
    // SAFETY: the pointer is that of a living client, which the reference keeps alive; the call may be made at
    // any time and from any thread.
    #[expect(unsafe_code, reason = "the safe crate takes no time for it")]
    let outcome = unsafe { rd_kafka_flush(producer.client().native_ptr(), MILLIS) };
    // It says only whether everything was reported within that time.
    let _ = outcome;
}
