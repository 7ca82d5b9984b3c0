// SPDX-License-Identifier: Apache-2.0
//! The place to carry on from, as the bytes that are committed with the events.

use crate::pipeline::Told;
use probe::Position;

const VERSION: u8 = 1;
/// CPUs whose numbers fit the store's limit on positions.
const CPUS_LIMIT: usize = 480;

/// Which rings, how far, and what was told of their losses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) boot_id: [u8; 16],
    /// [`probe::Probe::identity`]
    pub(super) rings: u64,
    pub(super) position: Position,
    pub(super) told: Told,
}

impl Place {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.boot_id);
        let told = &self.told;
        let numbers = [
            self.rings,
            self.position.records,
            self.position.bulk,
            told.bulk,
            told.missed,
            told.recursion,
            told.no_state,
        ];
        for number in numbers.iter().chain(self.position.sequences.iter().take(CPUS_LIMIT)) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// `None` for anything this version did not write.
    pub(super) fn decode(bytes: &[u8]) -> Option<Place> {
        let (&version, rest) = bytes.split_first()?;
        let (boot_id, rest) = rest.split_first_chunk::<16>()?;
        let (words, []) = rest.as_chunks::<8>() else { return None };
        let numbers: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let ([rings, records, bulk, told_bulk, missed, recursion, no_state], sequences) =
            numbers.split_first_chunk()?;
        (version == VERSION).then(|| Place {
            boot_id: *boot_id,
            rings: *rings,
            position: Position { records: *records, bulk: *bulk, sequences: sequences.to_vec() },
            told: Told { bulk: *told_bulk, missed: *missed, recursion: *recursion, no_state: *no_state },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use crate::pipeline::Told;
    use probe::Position;

    #[test]
    fn comes_back_as_it_was_and_from_nothing_else() {
        let place = Place {
            boot_id: [7; 16],
            rings: 1,
            position: Position { records: 2, bulk: 3, sequences: vec![4, u64::MAX] },
            told: Told { bulk: 5, missed: 6, recursion: 7, no_state: 8 },
        };
        let bytes = place.encode();
        assert_eq!(Place::decode(&bytes), Some(place));
        for length in 0..bytes.len() {
            let cut = Place::decode(&bytes[..length]);
            assert!(cut.is_none() || length % 8 == 1, "{length}");
        }
        assert_eq!(Place::decode(&[]), None);
        assert_eq!(Place::decode(&[9; 73]), None);
    }
}
