//! Where blocks lie in an address range: best fit among the holes, else at the frontier.
//!
//! Only offsets are handled here, so the same sequence of requests gives the same layout whether or
//! not there is memory behind them. After the first steps of a run the hole list no longer grows.

/// Alignment of every block, in bytes: one cache line, and the widest vector.
pub(crate) const ALIGN: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    offset: usize,
    bytes: usize,
}

/// The layout of one address range.
#[derive(Debug)]
pub(super) struct Arena {
    capacity: usize,
    /// Free ranges below the frontier, ascending, never adjacent to each other or to the frontier.
    holes: Vec<Hole>,
    frontier: usize,
    highest: usize,
}

impl Arena {
    /// An empty range of `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Arena { capacity, holes: Vec::with_capacity(64), frontier: 0, highest: 0 }
    }

    /// Takes `bytes` (a multiple of [`ALIGN`]) and returns the offset, or nothing when they do not fit.
    pub(super) fn take(&mut self, bytes: usize) -> Option<usize> {
        let best = self
            .holes
            .iter()
            .enumerate()
            .filter(|(_, h)| h.bytes >= bytes)
            .min_by_key(|(_, h)| h.bytes)
            .map(|(i, _)| i);
        if let Some(i) = best {
            let hole = &mut self.holes[i];
            let offset = hole.offset;
            hole.offset += bytes;
            hole.bytes -= bytes;
            if hole.bytes == 0 {
                self.holes.remove(i);
            }
            return Some(offset);
        }
        let offset = self.frontier;
        if bytes > self.capacity - offset {
            return None;
        }
        self.frontier += bytes;
        self.highest = self.highest.max(self.frontier);
        Some(offset)
    }

    /// Gives back what [`Arena::take`] returned.
    pub(super) fn give(&mut self, offset: usize, bytes: usize) {
        let i = self.holes.partition_point(|h| h.offset < offset);
        let joins_left = i > 0 && self.holes[i - 1].offset + self.holes[i - 1].bytes == offset;
        let joins_right = i < self.holes.len() && offset + bytes == self.holes[i].offset;
        match (joins_left, joins_right) {
            (true, true) => {
                self.holes[i - 1].bytes += bytes + self.holes[i].bytes;
                self.holes.remove(i);
            }
            (true, false) => self.holes[i - 1].bytes += bytes,
            (false, true) => {
                self.holes[i].offset = offset;
                self.holes[i].bytes += bytes;
            }
            (false, false) => self.holes.insert(i, Hole { offset, bytes }),
        }
        if let Some(&last) = self.holes.last()
            && last.offset + last.bytes == self.frontier
        {
            self.frontier = last.offset;
            self.holes.pop();
        }
    }

    /// The end of the highest block ever taken: what the range must hold.
    pub(super) fn extent(&self) -> usize {
        self.highest
    }

    /// Forgets the high-water mark: the size counts from what is in use now.
    pub(super) fn reset_extent(&mut self) {
        self.highest = self.frontier;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_never_overlap_and_holes_merge_back_to_nothing() {
        let mut arena = Arena::new(1 << 30);
        let mut live: Vec<(usize, usize)> = vec![];
        let mut state = 12345u64;
        for _ in 0..5000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let r = (state >> 33) as usize;
            if r.is_multiple_of(3) && !live.is_empty() {
                let (o, b) = live.swap_remove(r / 3 % live.len());
                arena.give(o, b);
            } else if live.len() < 60 {
                let bytes = ALIGN * (1 + r / 7 % 40);
                let o = arena.take(bytes).unwrap();
                assert!(live.iter().all(|&(p, b)| o + bytes <= p || p + b <= o));
                assert!(o + bytes <= arena.extent());
                live.push((o, bytes));
            }
        }
        for (o, b) in live.drain(..) {
            arena.give(o, b);
        }
        assert_eq!(arena.frontier, 0);
        assert!(arena.holes.is_empty());
    }

    #[test]
    fn the_smallest_hole_that_fits_is_used() {
        let mut arena = Arena::new(1 << 30);
        let o: Vec<usize> = [4, 1, 2, 1, 3, 1].iter().map(|n| arena.take(n * ALIGN).unwrap()).collect();
        for i in [0, 2, 4] {
            arena.give(o[i], [4, 1, 2, 1, 3, 1][i] * ALIGN);
        }
        assert_eq!(arena.take(2 * ALIGN), Some(o[2]));
        assert_eq!(arena.take(3 * ALIGN), Some(o[4]));
        assert_eq!(arena.extent(), 12 * ALIGN);
        let mut small = Arena::new(2 * ALIGN);
        assert_eq!(small.take(3 * ALIGN), None);
        assert_eq!(small.take(2 * ALIGN), Some(0));
    }
}
