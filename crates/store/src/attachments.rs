// SPDX-License-Identifier: Apache-2.0
//! The latest description of each subject, bounded: the oldest are forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::limits::{MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_ATTACHMENTS_BYTES};

/// Descriptions by subject.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    values: HashMap<Arc<[u8]>, Arc<[u8]>>,
    order: VecDeque<Arc<[u8]>>,
    bytes: usize,
    refused: u64,
}

impl Attachments {
    pub(crate) fn get(&self, subject: &[u8]) -> Option<&Arc<[u8]>> {
        self.values.get(subject)
    }

    /// How many were too long to keep.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// True when this changed what is known.
    pub(crate) fn set(&mut self, subject: &[u8], bytes: &[u8]) -> bool {
        if bytes.len() > MAX_ATTACHMENT_BYTES || subject.len() > crate::limits::MAX_SUBJECT_BYTES {
            self.refused += 1;
            return false;
        }
        if let Some(known) = self.values.get_mut(subject) {
            if **known == *bytes {
                return false;
            }
            self.bytes = self.bytes - known.len() + bytes.len();
            *known = Arc::from(bytes);
        } else {
            let subject: Arc<[u8]> = Arc::from(subject);
            self.bytes += subject.len() + bytes.len();
            self.order.push_back(Arc::clone(&subject));
            self.values.insert(subject, Arc::from(bytes));
        }
        self.forget_oldest();
        true
    }

    fn forget_oldest(&mut self) {
        while self.values.len() > MAX_ATTACHMENTS || self.bytes > MAX_ATTACHMENTS_BYTES {
            let Some(subject) = self.order.pop_front() else { return };
            if let Some(bytes) = self.values.remove(&subject) {
                self.bytes -= subject.len() + bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_latest_and_stays_bounded() {
        let mut attachments = Attachments::default();
        assert!(attachments.set(b"a", b"one"));
        assert!(!attachments.set(b"a", b"one"));
        assert!(attachments.set(b"a", b"two"));
        assert_eq!(attachments.get(b"a").map(|bytes| bytes.to_vec()), Some(b"two".to_vec()));
        assert!(!attachments.set(b"b", &[0; MAX_ATTACHMENT_BYTES + 1]));
        assert_eq!(attachments.refused(), 1);
        for number in 0..MAX_ATTACHMENTS {
            attachments.set(format!("s{number}").as_bytes(), b"x");
        }
        assert!(attachments.get(b"a").is_none());
        assert_eq!(attachments.values.len(), MAX_ATTACHMENTS);
    }
}
