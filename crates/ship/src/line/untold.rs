// SPDX-License-Identifier: Apache-2.0
//! Refused documents that the record does not tell of yet. What is told is itself an event for the receiver that
//! refused, so it is told once and then once a minute at most, as a sum.

use super::Notice;
use std::time::Duration;

/// Time between notices of a kind.
const PAUSE: Duration = Duration::from_secs(60);

/// What is to be told, and when something was told last.
#[derive(Debug, Default)]
pub(super) struct Untold {
    dead: Slot,
    rejected: Slot,
}

#[derive(Debug, Default)]
struct Slot {
    notice: Option<Notice>,
    told: Option<Duration>,
}

impl Untold {
    pub(super) fn dead(&mut self, count: u64, first: u64, reason: String) {
        match &mut self.dead.notice {
            Some(Notice::Dead { count: sum, .. }) => *sum += count,
            none => *none = Some(Notice::Dead { count, first, reason }),
        }
    }

    pub(super) fn rejected(&mut self, count: u64, first: u64, last: u64, reason: String) {
        match &mut self.rejected.notice {
            Some(Notice::Rejected { count: sum, last: end, .. }) => (*sum, *end) = (*sum + count, last),
            none => *none = Some(Notice::Rejected { count, first, last, reason }),
        }
    }

    /// Tells what is due; false when it cannot be told now.
    pub(super) fn tell(&mut self, now: Duration, tell: &mut dyn FnMut(Notice) -> bool) -> bool {
        [&mut self.dead, &mut self.rejected].into_iter().all(|slot| slot.tell(now, tell))
    }

    /// The end: what waits for its minute is told now.
    pub(super) fn tell_all(&mut self, tell: &mut dyn FnMut(Notice) -> bool) {
        for slot in [&mut self.dead, &mut self.rejected] {
            if let Some(notice) = slot.notice.take() {
                // When nobody listens any more, the store still has the documents, and the sink's files say why.
                tell(notice);
            }
        }
    }
}

impl Slot {
    fn tell(&mut self, now: Duration, tell: &mut dyn FnMut(Notice) -> bool) -> bool {
        let Some(notice) = &self.notice else { return true };
        if self.told.is_some_and(|told| now.saturating_sub(told) < PAUSE) {
            return true;
        }
        if !tell(notice.clone()) {
            return false;
        }
        (self.notice, self.told) = (None, Some(now));
        true
    }
}
