// SPDX-License-Identifier: Apache-2.0
//! Losses as events: every counter the kernel side keeps of them becomes a gap when it moves.

use event::{Gap, GapCause};
use probe::{Lane, Missing};
use std::collections::BTreeMap;

/// Numbers that are missing from a CPU's sequence: records the full ring did not take.
pub(crate) fn between(missing: Missing) -> Gap {
    Gap {
        cause: GapCause::RingFull,
        count: missing.last - missing.first + 1,
        cpu: missing.cpu.into(),
        first: missing.first,
        last: missing.last,
        detail: String::new(),
    }
}

/// What of the counters has been told. Kept in the store with the read position, so that a
/// restart tells nothing twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Events whose arguments are not whole.
    pub(crate) bulk: u64,
    /// Events that found no program.
    pub(crate) missed: u64,
    /// Runs the kernel refused inside another run.
    pub(crate) recursion: u64,
    /// Processes and cgroups the kernel had no memory to remember.
    pub(crate) no_state: u64,
}

impl Told {
    /// The gaps that have opened since they were last asked for.
    pub(crate) fn new_gaps(&mut self, lanes: &[Lane], misses: &BTreeMap<&'static str, u64>) -> Vec<Gap> {
        let bulk: u64 = lanes.iter().map(|lane| lane.bulk_lost).sum();
        let missed: u64 = lanes.iter().map(|lane| lane.missed).sum();
        let no_state: u64 = lanes.iter().map(|lane| lane.no_state).sum();
        let recursion: u64 = misses.values().sum();
        let mut gaps = Vec::new();
        let mut tell = |told: &mut u64, now: u64, cause, detail: &str| {
            // Counters that went back are those of other programs: start again from them.
            if now > *told {
                let detail = detail.to_string();
                gaps.push(Gap { cause, count: now - *told, cpu: u32::MAX, detail, ..Gap::default() });
            }
            *told = now;
        };
        tell(&mut self.bulk, bulk, GapCause::BulkFull, "arguments cut");
        tell(&mut self.missed, missed, GapCause::NotRecording, "no program in its slot");
        tell(&mut self.recursion, recursion, GapCause::Recursion, &names(misses));
        let detail = "no memory to remember a process or cgroup: its exit or container is not known";
        tell(&mut self.no_state, no_state, GapCause::NotRecording, detail);
        gaps
    }
}

fn names(misses: &BTreeMap<&'static str, u64>) -> String {
    let hit: Vec<&str> = misses.iter().filter(|(_, count)| **count > 0).map(|(name, _)| *name).collect();
    hit.join(" ")
}

#[cfg(test)]
mod tests {
    use super::Told;
    use event::GapCause;
    use probe::Lane;
    use std::collections::BTreeMap;

    #[test]
    fn each_loss_is_told_once() {
        let mut told = Told::default();
        let lanes =
            [Lane { bulk_lost: 2, ..Lane::default() }, Lane { bulk_lost: 1, missed: 4, ..Lane::default() }];
        let misses = BTreeMap::from([("on_exec", 5), ("on_fork", 0)]);
        let gaps = told.new_gaps(&lanes, &misses);
        let told_of: Vec<_> = gaps.iter().map(|gap| (gap.cause, gap.count)).collect();
        assert_eq!(told_of, [(GapCause::BulkFull, 3), (GapCause::NotRecording, 4), (GapCause::Recursion, 5)]);
        assert_eq!(gaps[2].detail, "on_exec");
        assert_eq!(told.new_gaps(&lanes, &misses), []);
    }
}
