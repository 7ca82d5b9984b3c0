// SPDX-License-Identifier: Apache-2.0
//! The containers heard of lately, so that one which lived 20 ms still has a name when its events
//! arrive. Bounded in number and bytes; the one used longest ago goes first.

use std::collections::{BTreeMap, HashMap};

use crate::Info;

/// The most containers remembered per runtime.
const COUNT_LIMIT: usize = 4096;
/// The most bytes remembered per runtime, about.
const BYTES_LIMIT: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct Entry {
    info: Info,
    /// Whether the runtime told everything (a full description) or only an event.
    complete: bool,
    used: u64,
}

/// What is remembered of one runtime.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    by_id: HashMap<String, Entry>,
    by_use: BTreeMap<u64, String>,
    clock: u64,
    bytes: usize,
}

impl Recent {
    /// What is known, and whether that is all the runtime could tell.
    pub(crate) fn get(&mut self, id: &str) -> Option<(Info, bool)> {
        let entry = self.by_id.get_mut(id)?;
        self.by_use.remove(&entry.used);
        self.clock += 1;
        entry.used = self.clock;
        self.by_use.insert(self.clock, id.to_owned());
        Some((entry.info.clone(), entry.complete))
    }

    /// Remembers. An event never replaces a full description of the same name.
    pub(crate) fn put(&mut self, info: Info, complete: bool) {
        if let Some(known) = self.by_id.get(&info.id)
            && known.complete
            && !complete
            && known.info.name == info.name
        {
            return;
        }
        self.remove(&info.id.clone());
        self.clock += 1;
        self.bytes += info.size();
        self.by_use.insert(self.clock, info.id.clone());
        self.by_id.insert(info.id.clone(), Entry { info, complete, used: self.clock });
        while self.by_id.len() > COUNT_LIMIT || self.bytes > BYTES_LIMIT {
            let Some((_, oldest)) = self.by_use.first_key_value() else { return };
            self.remove(&oldest.clone());
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(entry) = self.by_id.remove(id) {
            self.by_use.remove(&entry.used);
            self.bytes = self.bytes.saturating_sub(entry.info.size());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_LIMIT, COUNT_LIMIT, Recent};
    use crate::Runtime;
    use crate::info::{Info, Raw};

    fn info(id: &str, name: &str) -> Info {
        let (id, name) = (id.to_owned(), Some(name.to_owned()));
        Info::from_raw(Raw {
            id,
            runtime: Runtime::Docker,
            name,
            image: None,
            image_id: None,
            labels: [].into(),
        })
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut recent = Recent::default();
        for n in 0..COUNT_LIMIT {
            recent.put(info(&n.to_string(), "x"), true);
        }
        assert!(recent.get("0").is_some());
        recent.put(info("new", "x"), true);
        assert_eq!(recent.by_id.len(), COUNT_LIMIT);
        assert!(recent.get("0").is_some() && recent.get("new").is_some());
        assert!(recent.get("1").is_none());
    }

    #[test]
    fn bytes_are_bounded() {
        let mut recent = Recent::default();
        for n in 0..COUNT_LIMIT {
            let mut fat = info(&n.to_string(), "x");
            fat.labels = vec![("k".into(), "v".repeat(8000))];
            recent.put(fat, true);
        }
        assert!(recent.bytes <= BYTES_LIMIT && recent.by_id.len() > 100);
        assert_eq!(recent.by_use.len(), recent.by_id.len());
    }

    #[test]
    fn events_do_not_replace_descriptions_but_renames_do() {
        let mut recent = Recent::default();
        recent.put(info("a", "one"), true);
        recent.put(info("a", "one"), false);
        assert!(recent.get("a").unwrap().1);
        recent.put(info("a", "two"), false);
        assert_eq!(recent.get("a").unwrap().0.name, "two");
    }
}
