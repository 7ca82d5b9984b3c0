// SPDX-License-Identifier: Apache-2.0
//! A Merkle tree over block hashes in the shape of RFC 6962, built leaf by leaf
//! from the roots of its full subtrees only. It holds no leaves.

/// BLAKE3 output.
pub(crate) type Hash = [u8; 32];

/// The roots of the full subtrees, widest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    peaks: Vec<Hash>,
    leaves: u64,
}

impl Tree {
    pub(crate) fn push(&mut self, block: &Hash) {
        let mut node = *blake3::Hasher::new().update(&[0]).update(block).finalize().as_bytes();
        // One merge for every trailing one bit: those subtrees are now full.
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = join(&left, &node);
            }
        }
        self.peaks.push(node);
        self.leaves += 1;
    }

    /// Zeros for a tree without leaves.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(first) = peaks.next() else { return [0; 32] };
        peaks.fold(*first, |right, left| join(left, &right))
    }
}

fn join(left: &Hash, right: &Hash) -> Hash {
    *blake3::Hasher::new().update(&[1]).update(left).update(right).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(number: u8) -> Hash {
        *blake3::Hasher::new().update(&[0]).update(&[number; 32]).finalize().as_bytes()
    }

    #[test]
    fn has_the_shape_of_rfc_6962() {
        let mut tree = Tree::default();
        assert_eq!(tree.root(), [0; 32]);
        for number in 0..5 {
            tree.push(&[number; 32]);
        }
        let four = join(&join(&leaf(0), &leaf(1)), &join(&leaf(2), &leaf(3)));
        assert_eq!(tree.root(), join(&four, &leaf(4)));
    }
}
