//! Connections in one message: how many there are, then of each how long its record is and how many descriptors it has, then the
//! records, in the order of the descriptors.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

use proxy_core::backend::Moving;
use proxy_core::carry::{Anchor, CONNECTION_BYTES_MAX};
use proxy_core::{DESCRIPTORS_MAX as OF_A_CONNECTION, Descriptor, Detached};

use super::channel::DESCRIPTORS_MAX;

/// Connections in a batch, at most: those of it are held up together.
const CONNECTIONS_MAX: usize = 64;

/// Bytes of records after which a batch is full. The last one may be as long as a record is at most.
const BYTES_MAX: usize = 512 << 10;

/// Bytes before the records: of their number, and of each one's length and descriptors.
const COUNT_BYTES: usize = 2;
const EACH_BYTES: usize = 5;

/// Connections that go together.
#[derive(Debug)]
pub(super) struct Batch {
    connections: Vec<Moving>,
    bytes: Vec<u8>,
}

impl Batch {
    /// As many of those that wait as fit, one at least where there are any.
    pub(super) fn take(waiting: &mut VecDeque<Moving>, anchor: Anchor) -> Self {
        let mut connections: Vec<Moving> = Vec::new();
        let (mut heads, mut records, mut descriptors) = (Vec::new(), Vec::new(), 0);
        while connections.len() < CONNECTIONS_MAX
            && records.len() < BYTES_MAX
            && descriptors + OF_A_CONNECTION <= DESCRIPTORS_MAX
            && let Some(moving) = waiting.pop_front()
        {
            let before = records.len();
            let detached = moving.detached();
            detached.encode(anchor, &mut records);
            let count = detached.descriptors().len();
            descriptors += count;
            heads.extend_from_slice(&((records.len() - before) as u32).to_le_bytes());
            heads.push(count as u8);
            connections.push(moving);
        }
        let mut bytes = (connections.len() as u16).to_le_bytes().to_vec();
        bytes.append(&mut heads);
        bytes.append(&mut records);
        Self { connections, bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let all = self.connections.iter().map(Moving::detached);
        all.flat_map(Detached::<Descriptor>::descriptors).collect()
    }

    pub(super) fn into_iter(self) -> std::vec::IntoIter<Moving> {
        self.connections.into_iter()
    }
}

/// The records of a message with the descriptors of each; none where it is no such message. `lacking` descriptors have not come,
/// the last ones.
pub(super) fn split(
    bytes: &[u8],
    descriptors: Vec<OwnedFd>,
    lacking: usize,
) -> Option<Vec<(&[u8], Vec<OwnedFd>)>> {
    let (count, rest) = bytes.split_first_chunk::<COUNT_BYTES>()?;
    let count = u16::from_le_bytes(*count) as usize;
    let (heads, mut records) = rest.split_at_checked(count.checked_mul(EACH_BYTES)?)?;
    if count > CONNECTIONS_MAX {
        return None;
    }
    let (got, mut wanted) = (descriptors.len(), 0);
    let mut descriptors = descriptors.into_iter();
    let mut all = Vec::with_capacity(count);
    for head in heads.chunks_exact(EACH_BYTES) {
        let (length, own) = head.split_first_chunk::<4>()?;
        let (length, own) = (u32::from_le_bytes(*length) as usize, usize::from(own[0]));
        if length > CONNECTION_BYTES_MAX || own > OF_A_CONNECTION {
            return None;
        }
        let (record, others) = records.split_at_checked(length)?;
        records = others;
        wanted += own;
        all.push((record, descriptors.by_ref().take(own).collect()));
    }
    (records.is_empty() && wanted == got + lacking).then_some(all)
}

/// What is answered to a batch: of each connection whether it is taken.
pub(super) fn answer(taken: &[bool]) -> Vec<u8> {
    taken.iter().map(|&taken| taken.into()).collect()
}

/// What an answer to a batch of so many connections says.
pub(super) fn answers(bytes: &[u8], count: usize) -> Option<Vec<bool>> {
    let is_one = bytes.len() == count && bytes.iter().all(|&byte| byte <= 1);
    is_one.then(|| bytes.iter().map(|&byte| byte == 1).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pipes(count: usize) -> Vec<OwnedFd> {
        let pipes = (0..count).map(|_| std::io::pipe().unwrap().0.into());
        pipes.collect()
    }

    fn message(records: &[(&[u8], u8)]) -> Vec<u8> {
        let mut bytes = (records.len() as u16).to_le_bytes().to_vec();
        for (record, descriptors) in records {
            bytes.extend((record.len() as u32).to_le_bytes());
            bytes.push(*descriptors);
        }
        records.iter().for_each(|(record, _)| bytes.extend(*record));
        bytes
    }

    #[test]
    fn each_record_has_its_own_descriptors() {
        let bytes = message(&[(b"one", 2), (b"", 0), (b"three", 4)]);
        let all = split(&bytes, pipes(6), 0).unwrap();
        let all: Vec<_> = all
            .iter()
            .map(|(record, own)| (*record, own.len()))
            .collect();
        assert_eq!(all, [(&b"one"[..], 2), (b"", 0), (b"three", 4)]);
        // Those of the last one have no room here.
        let all = split(&bytes, pipes(3), 3).unwrap();
        assert_eq!(all[2].1.len(), 1);
        assert!(split(&bytes, pipes(5), 0).is_none());
        assert!(split(&bytes[..bytes.len() - 1], pipes(6), 0).is_none());
        assert!(split(&message(&[(b"one", 7)]), pipes(7), 0).is_none());
    }

    #[test]
    fn an_answer_has_a_word_for_each() {
        assert_eq!(answers(&answer(&[true, false]), 2), Some(vec![true, false]));
        assert_eq!(answers(&answer(&[true]), 2), None);
        assert_eq!(answers(&[2], 1), None);
    }

    proptest! {
        /// Whatever comes is refused, or makes sense.
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), lacking in 0..8_usize) {
            if let Some(all) = split(&bytes, Vec::new(), lacking) {
                prop_assert!(all.len() <= CONNECTIONS_MAX);
            }
        }
    }
}
