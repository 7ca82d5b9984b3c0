// SPDX-License-Identifier: Apache-2.0
//! Events a second over the last ten seconds.

use std::collections::VecDeque;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_secs(1);

/// Marks of a counter, one a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    marks: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Notes that the counter stood at `count` at `now`.
    pub(crate) fn note(&mut self, now: Duration, count: u64) {
        if self.marks.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= STEP) {
            self.marks.push_back((now, count));
        }
        while self.marks.len() > 1
            && self.marks.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW)
        {
            self.marks.pop_front();
        }
    }

    /// Per second, given that the counter stands at `count` at `now`.
    pub(crate) fn per_second(&self, now: Duration, count: u64) -> u64 {
        let Some((at, then)) = self.marks.front() else { return 0 };
        let millis = u64::try_from(now.saturating_sub(*at).as_millis()).unwrap_or(u64::MAX).max(1000);
        count.saturating_sub(*then).saturating_mul(1000) / millis
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;
    use std::time::Duration;

    #[test]
    fn forgets_what_is_older_than_its_window() {
        let mut rate = Rate::default();
        let second = Duration::from_secs;
        assert_eq!(rate.per_second(second(5), 10), 0);
        (0..30).for_each(|at| rate.note(second(at), at * 100));
        assert_eq!(rate.per_second(second(29), 2900), 100);
        (30..60).for_each(|at| rate.note(second(at), 2900));
        assert_eq!(rate.per_second(second(60), 2900), 0);
    }
}
