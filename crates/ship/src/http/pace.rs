// SPDX-License-Identifier: Apache-2.0
//! Keeps a receiver that says little at a time, again and again, from keeping us busy.

use std::time::Duration;

/// Reads that brought little and are followed by another at once. A usual answer takes a handful.
const CREDIT: u32 = 64;
/// Bytes that are worth a read. The small TLS records that some servers begin with are longer.
const WORTH: usize = 1024;
/// Wait before the next read, in which more gathers.
const PAUSE: Duration = Duration::from_millis(20);

/// How many small reads are left.
#[derive(Debug)]
pub(crate) struct Pace(u32);

impl Default for Pace {
    fn default() -> Pace {
        Pace(CREDIT)
    }
}

impl Pace {
    /// A read that is not the last brought `count` bytes and `useful` of them are what is wanted: waits
    /// when too many brought little, or much around little.
    pub(crate) fn after(&mut self, count: usize, useful: usize) {
        if useful >= WORTH.max(count / 2) {
            self.0 = (self.0 + 1).min(CREDIT);
        } else if self.0 > 0 {
            self.0 -= 1;
        } else {
            std::thread::sleep(PAUSE);
        }
    }
}
