// SPDX-License-Identifier: Apache-2.0
//! A map that remembers a limited number of keys and forgets the oldest.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// At most `limit` entries.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    limit: usize,
    turn: u64,
    entries: HashMap<K, (u64, V)>,
    /// In the order of insertion; an entry whose turn is not the map's was removed or renewed.
    order: VecDeque<(u64, K)>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(limit: usize) -> Recent<K, V> {
        Recent { limit, turn: 0, entries: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.turn += 1;
        self.entries.insert(key.clone(), (self.turn, value));
        self.order.push_back((self.turn, key));
        while self.entries.len() > self.limit || self.order.len() > 2 * self.limit {
            let Some((turn, key)) = self.order.pop_front() else { return };
            if self.entries.get(&key).is_some_and(|entry| entry.0 == turn) {
                self.entries.remove(&key);
            }
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.1)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|entry| entry.1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn forgets_the_oldest_and_stays_bounded() {
        let mut recent = Recent::new(2);
        recent.insert(1, 'a');
        recent.insert(2, 'b');
        recent.insert(3, 'c');
        assert_eq!((recent.get(&1), recent.get(&2), recent.get(&3)), (None, Some(&'b'), Some(&'c')));
        for _ in 0..100 {
            recent.insert(7, 'd');
            assert_eq!(recent.remove(&7), Some('d'));
        }
        assert!(recent.order.len() <= 4 && recent.entries.len() <= 2);
    }
}
