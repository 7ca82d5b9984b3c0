// SPDX-License-Identifier: Apache-2.0
//! How long to wait before the next try: longer each time up to a limit, and never the same for
//! many agents at once.

use std::time::Duration;

/// Random numbers, handed in so that tests can say which.
pub trait Random: Send {
    /// Evenly distributed over all 64 bits.
    fn next(&mut self) -> u64;
}

impl<F: FnMut() -> u64 + Send> Random for F {
    fn next(&mut self) -> u64 {
        self()
    }
}

/// Doubling waits between `first` and `most`; each is drawn from the upper half of its range.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first` and never exceeds `most`.
    pub fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { first, most, next: first }
    }

    /// The wait before the next try.
    pub fn wait(&mut self, random: &mut dyn Random) -> Duration {
        let full = self.next.min(self.most);
        self.next = full.saturating_mul(2).min(self.most);
        let half = full / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(random.next() % spread)
    }

    /// Something went well: the next failure waits shortly again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn doubles_up_to_the_limit_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut least = || 0u64;
        let waits: Vec<u128> = (0..6).map(|_| backoff.wait(&mut least).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 500, 500]);
        backoff.reset();
        assert_eq!(backoff.wait(&mut least).as_millis(), 50);
        let mut most = || u64::MAX;
        for _ in 0..100 {
            let wait = backoff.wait(&mut most);
            assert!(wait <= Duration::from_secs(1) && wait >= Duration::from_millis(50), "{wait:?}");
        }
    }
}
