// SPDX-License-Identifier: Apache-2.0
//! Rules as the kernel side looks them up: for every condition, the set of rules it fulfils.

#[allow(clippy::wildcard_imports, reason = "the names of wire.h are a vocabulary of their own")]
use crate::wire::*;
use std::collections::BTreeMap;

/// What happens to an event that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is recorded, and later rules are not asked.
    Record,
    /// It is counted, not copied.
    Count,
    /// It is left out; the rule's own counter still moves.
    Ignore,
}

/// One rule: all conditions that are set must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Keys of the cgroups it is for; `None` for any.
    pub cgroups: Option<Vec<u64>>,
    /// Effective user id.
    pub uid: Option<u32>,
    /// Absolute path of the executable.
    pub executable: Option<Vec<u8>>,
    /// First argument.
    pub argv0: Option<Vec<u8>>,
    /// Absolute path of the parent's executable.
    pub parent: Option<Vec<u8>>,
    /// What to do.
    pub action: Action,
}

/// Most rules a set can hold: one bit each.
pub const RULES_LIMIT: usize = RULES;
/// Longest path or argument of a condition, bytes.
pub const TEXT_LIMIT: usize = RULE_TEXT - 2;

/// Keys and values of a set, ready to be written into a map.
pub(crate) fn compile(rules: &[Rule], base: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut masks: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let (mut any, mut count, mut ignore, mut all) = ([0u64; 5], 0u64, 0u64, 0u64);
    for (index, rule) in rules.iter().take(RULES).enumerate() {
        let bit = 1u64 << index;
        all |= bit;
        match rule.action {
            Action::Record => {}
            Action::Count => count |= bit,
            Action::Ignore => ignore |= bit,
        }
        for (place, keys) in conditions(rule).into_iter().enumerate() {
            match keys {
                None => any[place] |= bit,
                Some(keys) => keys.into_iter().for_each(|key| *masks.entry(key).or_default() |= bit),
            }
        }
    }
    let value = |mask: u64| {
        let mut value = vec![0; RULE_VALUE_SIZE];
        put(&mut value, OFF_RULE_MASK, &mask.to_ne_bytes());
        value
    };
    let mut header = value(all);
    for (place, mask) in any.iter().enumerate() {
        put(&mut header, OFF_RULE_ANY + 8 * place, &mask.to_ne_bytes());
    }
    put(&mut header, OFF_RULE_COUNT, &count.to_ne_bytes());
    put(&mut header, OFF_RULE_IGNORE, &ignore.to_ne_bytes());
    put(&mut header, OFF_RULE_BASE, &base.to_ne_bytes());
    let mut entries: BTreeMap<_, _> = masks.into_iter().map(|(key, mask)| (key, value(mask))).collect();
    entries.insert(header_key(), header);
    entries
}

/// Where a set says which half of the counters is its own, among other things.
pub(crate) fn header_key() -> Vec<u8> {
    text_key(RULE_HEADER, b"")
}

/// The entry that says which rules hold for one cgroup.
pub(crate) fn cgroup_entry(cgroup: u64, mask: u64) -> (Vec<u8>, Vec<u8>) {
    let mut value = vec![0; RULE_VALUE_SIZE];
    put(&mut value, OFF_RULE_MASK, &mask.to_ne_bytes());
    (number_key(RULE_CGROUP, cgroup), value)
}

fn number_key(field: usize, number: u64) -> Vec<u8> {
    text_key(field, &number.to_ne_bytes())
}

/// The keys of each condition, in the order of the fields; `None` where there is none.
fn conditions(rule: &Rule) -> [Option<Vec<Vec<u8>>>; 5] {
    let text = |field, text: &Option<Vec<u8>>, names: fn(&[u8]) -> Vec<u8>| {
        text.as_ref().map(|text| vec![text_key(field, &names(text))])
    };
    [
        rule.cgroups.as_ref().map(|keys| keys.iter().map(|&key| number_key(RULE_CGROUP, key)).collect()),
        rule.uid.map(|uid| vec![number_key(RULE_UID, uid.into())]),
        text(RULE_EXECUTABLE, &rule.executable, names_of),
        text(RULE_ARGV0, &rule.argv0, <[u8]>::to_vec),
        text(RULE_PARENT, &rule.parent, names_of),
    ]
}

/// A path as records have it: name by name, the last one first, each ended by NUL.
fn names_of(path: &[u8]) -> Vec<u8> {
    let mut names = Vec::with_capacity(path.len() + 1);
    for name in path.rsplit(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        names.extend_from_slice(name);
        names.push(0);
    }
    names
}

/// Text longer than a key can hold is cut: the configuration refuses it before.
fn text_key(field: usize, text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(RULE_TEXT - 1)];
    let mut key = vec![0; RULE_KEY_SIZE];
    put(&mut key, 0, &(field as u32).to_ne_bytes());
    put(&mut key, 4, &(text.len() as u32).to_ne_bytes());
    put(&mut key, 8, text);
    key
}

#[cfg(test)]
mod tests {
    use super::{Action, Rule, compile, names_of, text_key};
    use crate::wire::{RULE_ARGV0, RULE_EXECUTABLE, RULE_HEADER, u64_at};

    #[test]
    fn a_rule_is_a_bit_at_each_of_its_conditions() {
        let rule = |argv0: Option<&[u8]>, executable: Option<&[u8]>, action| Rule {
            cgroups: None,
            uid: None,
            executable: executable.map(<[u8]>::to_vec),
            argv0: argv0.map(<[u8]>::to_vec),
            parent: None,
            action,
        };
        let rules =
            [rule(Some(b"ls"), None, Action::Ignore), rule(Some(b"ls"), Some(b"/bin/ls"), Action::Count)];
        let set = compile(&rules, 64);
        let mask = |field, text: &[u8]| u64_at(&set[&text_key(field, text)], 0);
        assert_eq!(mask(RULE_ARGV0, b"ls"), Some(0b11));
        assert_eq!(mask(RULE_EXECUTABLE, b"ls\0bin\0"), Some(0b10));
        let header = &set[&text_key(RULE_HEADER, b"")];
        let words: Vec<u64> = (0..9).filter_map(|word| u64_at(header, 8 * word)).collect();
        assert_eq!(words, [0b11, 0b11, 0b11, 0b01, 0b00, 0b11, 0b10, 0b01, 64]);
    }

    #[test]
    fn paths_are_named_from_the_end() {
        assert_eq!(names_of(b"/usr/bin/env"), b"env\0bin\0usr\0");
    }
}
