// SPDX-License-Identifier: Apache-2.0
//! How long events took to be acknowledged, as a histogram of fixed size.

use std::time::Duration;

/// Steps within a doubling: a value is known to a sixteenth of itself.
const STEPS: usize = 16;
/// Doublings: up to 16 microseconds times 2 to this power, which is 19 hours.
const DOUBLINGS: usize = 32;
/// After this time the older half is forgotten.
const WINDOW: Duration = Duration::from_secs(60);

/// Two halves: the present and the one before.
#[derive(Debug)]
pub(crate) struct Latency {
    now: Histogram,
    before: Histogram,
    since: Duration,
}

#[derive(Debug, Clone)]
struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    fn new() -> Histogram {
        Histogram { counts: vec![0; STEPS * (DOUBLINGS + 1)], total: 0 }
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

impl Latency {
    pub(crate) fn new() -> Latency {
        Latency { now: Histogram::new(), before: Histogram::new(), since: Duration::ZERO }
    }

    /// Begins a new half when it is time.
    pub(crate) fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.since) >= WINDOW {
            self.since = now;
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
        }
    }

    pub(crate) fn note(&mut self, micros: u64) {
        if let Some(count) = self.now.counts.get_mut(slot(micros)) {
            *count += 1;
            self.now.total += 1;
        }
    }

    /// A value that `per_mille` of the noted ones do not exceed, in microseconds.
    pub(crate) fn quantile(&self, per_mille: u64) -> Option<u64> {
        let total = self.now.total + self.before.total;
        let wanted = (total * per_mille).div_ceil(1000);
        let mut seen = 0;
        let both = self.now.counts.iter().zip(&self.before.counts);
        both.enumerate().find_map(|(at, (now, before))| {
            seen += now + before;
            (seen >= wanted && seen > 0).then(|| end(at))
        })
    }
}

/// Values below 16 have a slot each; above, each doubling has 16.
fn slot(micros: u64) -> usize {
    let steps = STEPS as u64;
    let doubling = u64::from((micros / steps).checked_ilog2().map_or(0, |log| log + 1));
    let within = if doubling == 0 { micros } else { (micros >> (doubling - 1)) - steps };
    let last = STEPS * (DOUBLINGS + 1) - 1;
    usize::try_from(doubling * steps + within).unwrap_or(last).min(last)
}

/// The greatest value of a slot.
fn end(slot: usize) -> u64 {
    let (doubling, within) = (slot / STEPS, (slot % STEPS) as u64);
    if doubling == 0 { within } else { ((STEPS as u64 + within + 1) << (doubling - 1)) - 1 }
}

#[cfg(test)]
mod tests {
    use super::{Latency, end, slot};
    use std::time::Duration;

    #[test]
    fn slots_hold_what_they_say() {
        for micros in (0..5_000).chain([1 << 20, (1 << 30) + 7]) {
            let at = slot(micros);
            assert!(micros <= end(at), "{micros}");
            assert!(at == 0 || micros > end(at - 1), "{micros}");
        }
        assert_eq!(slot(u64::MAX), slot(u64::MAX - 1));
    }

    #[test]
    fn quantiles_of_the_last_minutes() {
        let mut latency = Latency::new();
        assert_eq!(latency.quantile(500), None);
        (1..=1000).for_each(|micros| latency.note(micros * 1000));
        let median = latency.quantile(500).unwrap();
        assert!((500_000..=532_000).contains(&median), "{median}");
        assert!(latency.quantile(990).unwrap() >= 990_000);
        latency.turn(Duration::from_secs(61));
        assert_eq!(latency.quantile(500), Some(median));
        latency.turn(Duration::from_secs(122));
        assert_eq!(latency.quantile(500), None);
    }
}
