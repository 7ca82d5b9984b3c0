// SPDX-License-Identifier: Apache-2.0
//! The keys that leave a session running: written as docker writes them, found in what is typed.

use std::str::FromStr;

/// The longest sequence.
const KEYS_LIMIT: usize = 16;

/// A sequence of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// A text that names no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no keys; a key is one character, DEL, or ctrl- and one of a-z @ [ \\ ] ^ _, and commas stand between keys, \
     as in ctrl-p,ctrl-q; nothing at all turns them off"
)]
pub struct NoKeys(pub String);

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys(vec![b'p' & 0x1f, b'q' & 0x1f])
    }
}

impl DetachKeys {
    /// No keys at all.
    pub fn none() -> DetachKeys {
        DetachKeys(Vec::new())
    }
}

impl FromStr for DetachKeys {
    type Err = NoKeys;

    fn from_str(text: &str) -> Result<DetachKeys, NoKeys> {
        let key = |word: &str| match *word.as_bytes() {
            [letter] => Some(letter),
            [b'D', b'E', b'L'] => Some(0x7f),
            [b'c', b't', b'r', b'l', b'-', letter] => match letter {
                b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_' => Some(letter & 0x1f),
                _ => None,
            },
            _ => None,
        };
        if text.is_empty() {
            return Ok(DetachKeys::none());
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        match keys {
            Some(keys) if keys.len() <= KEYS_LIMIT => Ok(DetachKeys(keys)),
            _ => Err(NoKeys(text.to_owned())),
        }
    }
}

/// How far into the sequence the typed bytes are.
#[derive(Debug)]
pub(crate) struct Watch {
    keys: Vec<u8>,
    seen: usize,
}

impl Watch {
    pub(crate) fn new(keys: &DetachKeys) -> Watch {
        Watch { keys: keys.0.clone(), seen: 0 }
    }

    /// What of `typed` goes on to the program, and whether the sequence is complete. Keys that may begin it
    /// wait for the next one.
    pub(crate) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len() + self.seen);
        for &byte in typed {
            // Of what waits only the end may still begin the sequence.
            let waits = [self.keys.get(..self.seen).unwrap_or_default(), &[byte]].concat();
            let gone =
                (0..waits.len()).find(|&at| waits.get(at..).is_some_and(|end| self.keys.starts_with(end)));
            let gone = gone.unwrap_or(waits.len());
            out.extend_from_slice(waits.get(..gone).unwrap_or_default());
            self.seen = waits.len() - gone;
            if self.seen > 0 && self.seen == self.keys.len() {
                self.seen = 0;
                return (out, true);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::{DetachKeys, Watch};

    #[test]
    fn words() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        assert_eq!("a,ctrl-@".parse(), Ok(DetachKeys(vec![b'a', 0])));
        assert_eq!("ctrl-[,DEL, ,ctrl-_".parse(), Ok(DetachKeys(vec![27, 127, b' ', 31])));
        assert_eq!("".parse(), Ok(DetachKeys::none()));
        for wrong in ["ctrl-", "del", "ctrl-1", "ü", ",", "ctrl-p,", "ctrl-P", "ab", "a,,b", "ctrl-p;ctrl-q"]
        {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn found_among_what_is_typed() {
        let mut watch = Watch::new(&DetachKeys::default());
        assert_eq!(watch.pass(b"ls\r"), (b"ls\r".to_vec(), false));
        assert_eq!(watch.pass(b"\x10"), (b"".to_vec(), false));
        assert_eq!(watch.pass(b"x"), (b"\x10x".to_vec(), false));
        assert_eq!(watch.pass(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(watch.pass(b"\x11rest"), (b"".to_vec(), true));
        let mut watch = Watch::new(&"a,a,b".parse().unwrap());
        assert_eq!(watch.pass(b"aaab"), (b"a".to_vec(), true));
        let mut watch = Watch::new(&"x".parse().unwrap());
        assert_eq!(watch.pass(b"ax"), (b"a".to_vec(), true));
        assert_eq!(Watch::new(&DetachKeys::none()).pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
