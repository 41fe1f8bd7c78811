//! Many small tensors in one launch: a table of their addresses, handed to the kernel by value.

use super::args::extent;

/// Threads of a block, and its elements.
pub(super) const THREADS: u32 = 256;
pub(super) const PIECE: usize = 8 * THREADS as usize;

/// Entries of a table: what a kernel takes is limited to 4 KiB.
const MOST: usize = 64;

/// One tensor's work.
pub(super) trait Entry: Copy + Default {
    /// Addresses of the tensors that it reads and writes.
    fn changed(&self) -> [u64; 2];

    /// The tensor that it only reads.
    fn read(&self) -> u64;

    /// Elements of each.
    fn length(&self) -> usize;

    /// Whether one of the two changes what the other reads or changes. Live tensors overlap only where they are the
    /// same; memory that another tensor had before is written by another operation first, before which all is done.
    fn conflicts(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.changed(), other.changed());
        theirs.contains(&self.read()) || ours.iter().any(|t| theirs.contains(t) || *t == other.read())
    }
}

/// Entries `E` that share options `O`; `struct SgdMany` and `struct EmaMany` of `kernels/update.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Table<E, O> {
    entries: [E; MOST],
    /// The first block of each entry.
    first: [u32; MOST],
    count: u32,
    /// Blocks of all entries.
    blocks: u32,
    options: O,
}

impl<E: Entry, O: Default> Default for Table<E, O> {
    fn default() -> Self {
        let entries = [E::default(); MOST];
        Table { entries, first: [0; MOST], count: 0, blocks: 0, options: O::default() }
    }
}

impl<E: Entry, O: Copy + PartialEq> Table<E, O> {
    fn waiting(&self) -> &[E] {
        &self.entries[..self.count as usize]
    }

    /// Whether an entry may stand beside those that are there: its work must not depend on theirs, nor theirs on it.
    pub(super) fn takes(&self, entry: &E, options: O) -> bool {
        let waiting = self.waiting();
        let alike = waiting.is_empty() || self.options == options;
        alike && waiting.len() < MOST && !waiting.iter().any(|e| e.conflicts(entry))
    }

    /// Adds an entry that [`Table::takes`] allows; one without elements is no work.
    pub(super) fn push(&mut self, entry: E, options: O) {
        let place = self.count as usize;
        if entry.length() == 0 || place >= MOST {
            return;
        }
        (self.entries[place], self.first[place], self.options) = (entry, self.blocks, options);
        self.count += 1;
        self.blocks = self.blocks.saturating_add(extent(entry.length().div_ceil(PIECE)));
    }

    /// Blocks of a launch, when there is anything to do.
    pub(super) fn blocks(&self) -> Option<u32> {
        (self.count > 0).then_some(self.blocks)
    }

    pub(super) fn clear(&mut self) {
        (self.count, self.blocks) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Default)]
    struct Fake(u64, usize);

    impl Entry for Fake {
        fn changed(&self) -> [u64; 2] {
            [self.0; 2]
        }

        fn read(&self) -> u64 {
            u64::MAX
        }

        fn length(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn a_table_is_full_at_its_end_and_counts_blocks() {
        let mut table = Table::<Fake, u32>::default();
        assert_eq!(table.blocks(), None);
        for i in 0..MOST {
            let entry = Fake(i as u64, 1 + i * PIECE);
            assert!(table.takes(&entry, 7));
            table.push(entry, 7);
        }
        assert!(!table.takes(&Fake(1000, 1), 7), "full");
        assert_eq!(table.first[..4], [0, 1, 3, 6]);
        assert_eq!(table.blocks(), Some((MOST * (MOST + 1) / 2) as u32));
        table.clear();
        assert!(table.takes(&Fake(1000, 1), 8) && table.blocks().is_none());
        table.push(Fake(5, 0), 8);
        assert_eq!(table.blocks(), None, "nothing to do");
        table.push(Fake(5, 1), 8);
        assert!(!table.takes(&Fake(6, 1), 7) && table.takes(&Fake(6, 1), 8), "other options");
        assert!(!table.takes(&Fake(5, 1), 8), "the same tensor");
    }

    #[test]
    fn tables_fit_into_what_a_kernel_takes() {
        assert!(size_of::<Table<[u64; 4], [f32; 4]>>() <= 4096);
    }
}
