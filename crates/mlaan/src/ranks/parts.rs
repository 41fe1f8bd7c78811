//! Messages in parts, so that none keeps others waiting for long: for a [`Post`](super::Post) that carries them.

use super::Lane;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a part at the most: on a slow network it takes well under the time in which a rank must be heard of.
pub const PART: usize = 1 << 20;

/// Part of a message: its lane, the message, which of its bytes, and whether more follow.
pub type Part = (Lane, Arc<Vec<u8>>, Range<usize>, bool);

/// What is to be sent to a rank.
#[derive(Debug, Default)]
pub struct Queue {
    /// Signs of life overtake.
    urgent: VecDeque<(Lane, Arc<Vec<u8>>)>,
    messages: VecDeque<(Lane, Arc<Vec<u8>>)>,
    /// Bytes of the first message that are sent.
    sent: usize,
}

impl Queue {
    /// One more message.
    pub fn push(&mut self, lane: Lane, bytes: Vec<u8>) {
        let queue = if lane == Lane::Life { &mut self.urgent } else { &mut self.messages };
        queue.push_back((lane, Arc::new(bytes)));
    }

    /// The next part; where the way is `full`, of what is urgent alone.
    pub fn next(&mut self, full: bool) -> Option<Part> {
        if let Some((lane, bytes)) = self.urgent.pop_front() {
            let all = 0..bytes.len();
            return Some((lane, bytes, all, false));
        }
        let (lane, bytes) = self.messages.front().filter(|_| !full)?;
        let part = self.sent..bytes.len().min(self.sent + PART);
        let (more, found) = (part.end < bytes.len(), (*lane, Arc::clone(bytes)));
        self.sent = if more { part.end } else { 0 };
        if !more {
            self.messages.pop_front();
        }
        Some((found.0, found.1, part, more))
    }
}

/// Takes out of `coming` what `done` says is done, and hands back what is not. Of one key things are taken in the order in which they
/// stand: what stands behind one that is not done is not asked. Whether something was taken.
pub fn take_in_order<T, K: PartialEq>(
    coming: &mut Vec<T>,
    key: impl Fn(&T) -> K,
    mut done: impl FnMut(T) -> Option<T>,
) -> bool {
    let (before, mut behind) = (coming.len(), Vec::new());
    for one in std::mem::take(coming) {
        let key = key(&one);
        let left = if behind.contains(&key) { Some(one) } else { done(one) };
        if let Some(one) = left {
            behind.push(key);
            coming.push(one);
        }
    }
    coming.len() < before
}

/// Messages of which parts have come.
#[derive(Debug, Default)]
pub struct Assembly(HashMap<(usize, Lane), Vec<u8>>);

impl Assembly {
    /// The next part of a message, and whether more follow; the message, where it is whole.
    pub fn add(&mut self, from: (usize, Lane), bytes: Vec<u8>, more: bool) -> Option<Vec<u8>> {
        match (self.0.remove(&from), more) {
            (None, false) => Some(bytes),
            (before, more) => {
                let mut all = before.unwrap_or_default();
                all.reserve_exact(bytes.len());
                all.extend(bytes);
                if more {
                    self.0.insert(from, all);
                    return None;
                }
                Some(all)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_taken_in_order_of_its_key_alone() {
        let mut coming = vec![('a', 1), ('b', 1), ('a', 2), ('c', 1), ('b', 2)];
        let (mut taken, mut asked) = (Vec::new(), 0);
        // The first of `a` is not done, and what stands behind it is not asked.
        let moved = take_in_order(
            &mut coming,
            |one| one.0,
            |one| {
                asked += 1;
                if one.0 == 'a' {
                    return Some(one);
                }
                taken.push(one);
                None
            },
        );
        assert!(moved && asked == 4, "{asked}");
        assert_eq!(
            (coming.as_slice(), taken.as_slice()),
            (&[('a', 1), ('a', 2)][..], &[('b', 1), ('c', 1), ('b', 2)][..])
        );
        assert!(!take_in_order(&mut coming, |one| one.0, Some));
        assert_eq!(coming, [('a', 1), ('a', 2)]);
    }

    #[test]
    fn messages_in_parts_come_as_they_were_sent_and_signs_of_life_overtake() {
        let large: Vec<u8> = (0..2 * PART + 7).map(|i| (i % 251) as u8).collect();
        let mut queue = Queue::default();
        queue.push(Lane::Features, large.clone());
        queue.push(Lane::Command, Vec::new());
        let mut coming = Assembly::default();
        let mut arrived = Vec::new();
        let mut urgent = Some(vec![1, 2]);
        while let Some((lane, bytes, part, more)) = queue.next(false) {
            assert!(part.len() <= PART);
            if let Some(message) = coming.add((3, lane), bytes[part].to_vec(), more) {
                arrived.push((lane, message));
            }
            urgent.take().into_iter().for_each(|sign| queue.push(Lane::Life, sign));
        }
        let expected = [(Lane::Life, vec![1, 2]), (Lane::Features, large), (Lane::Command, Vec::new())];
        assert!(arrived == expected, "{:?}", arrived.iter().map(|(l, b)| (l, b.len())).collect::<Vec<_>>());
        queue.push(Lane::Features, vec![1]);
        assert!(queue.next(true).is_none());
        queue.push(Lane::Life, vec![2]);
        assert_eq!(queue.next(true).map(|(lane, ..)| lane), Some(Lane::Life));
    }

    #[test]
    fn parts_of_different_ranks_and_lanes_do_not_mix() {
        let mut coming = Assembly::default();
        assert_eq!(coming.add((1, Lane::Features), vec![1], true), None);
        assert_eq!(coming.add((2, Lane::Features), vec![2], true), None);
        assert_eq!(coming.add((1, Lane::Gradient), vec![3], false), Some(vec![3]));
        assert_eq!(coming.add((1, Lane::Features), vec![4], false), Some(vec![1, 4]));
        assert_eq!(coming.add((2, Lane::Features), vec![5], false), Some(vec![2, 5]));
    }
}
