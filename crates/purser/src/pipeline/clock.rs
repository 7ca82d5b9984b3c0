// SPDX-License-Identifier: Apache-2.0
//! The kernel's boot clock against the wall clock. Events keep both: the one never steps, the
//! other is what people read.

use event::{Body, Event};
use rustix::time::{ClockId, clock_gettime};

/// A change of the wall clock below this is its usual steering and is not followed at once:
/// neighbouring events then share the same difference, which costs the store nothing.
const STEERING_NS: u64 = 1_000_000;

/// The two clocks of this boot.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) boot_id: [u8; 16],
    /// Wall clock minus boot clock, nanoseconds.
    offset: u64,
}

impl Clock {
    pub(crate) fn now() -> Clock {
        Clock { boot_id: crate::command::boot_id(), offset: offset() }
    }

    /// Follows the wall clock.
    pub(crate) fn refresh(&mut self) {
        let now = offset();
        if now.abs_diff(self.offset) > STEERING_NS {
            self.offset = now;
        }
    }

    /// The wall clock, nanoseconds since 1970, at a time of the boot clock.
    pub(crate) fn wall(&self, boot_ns: u64) -> u64 {
        boot_ns.wrapping_add(self.offset)
    }

    /// Nanoseconds since 1970, now.
    pub(crate) fn wall_now(&self) -> u64 {
        Clock::wall_clock()
    }

    /// The same for threads without a clock of their own.
    pub(crate) fn wall_clock() -> u64 {
        nanos(ClockId::Realtime)
    }

    /// Nanoseconds since boot, now.
    pub(crate) fn boot_now() -> u64 {
        nanos(ClockId::Boottime)
    }

    /// An event of now that belongs to no container.
    pub(crate) fn event(&self, body: Body) -> Event {
        let boot_ns = Clock::boot_now();
        Event { boot_id: self.boot_id, time_ns: self.wall(boot_ns), boot_ns, container: String::new(), body }
    }
}

fn offset() -> u64 {
    nanos(ClockId::Realtime).wrapping_sub(nanos(ClockId::Boottime))
}

/// Clocks before 1970 count as 0.
fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
