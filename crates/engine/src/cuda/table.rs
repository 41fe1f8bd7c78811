//! Many small tensors in one launch: a table of their addresses, handed to the kernel by value.

use super::args::extent;
use super::context::lock;
use super::driver::Driver;
use super::geometry::Geometry;
use super::program::Program;
use std::any::Any;
use std::sync::Mutex;

/// Threads of a block, and its elements.
pub(super) const THREADS: u32 = 256;
pub(super) const PIECE: usize = 8 * THREADS as usize;

/// Entries of a table: what a kernel takes is limited to 4 KiB.
const MOST: usize = 64;

/// One tensor's work.
pub(super) trait Entry: Copy + Default + Send + 'static {
    /// What entries of one launch have in common.
    type Options: Copy + Default + PartialEq + Send;

    /// The kernel, and its program.
    const KERNEL: (&'static Program, &'static str);

    /// Addresses of the tensors that it changes, some perhaps twice.
    fn changed(&self) -> [u64; 3];

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

/// Entries that share options: `struct SgdMany` of `kernels/update.cu` and the like.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Table<E: Entry> {
    entries: [E; MOST],
    /// The first block of each entry.
    first: [u32; MOST],
    count: u32,
    /// Blocks of all entries.
    blocks: u32,
    options: E::Options,
}

impl<E: Entry> Default for Table<E> {
    fn default() -> Self {
        const { assert!(size_of::<Self>() <= 4096, "more than a kernel takes") };
        let entries = [E::default(); MOST];
        Table { entries, first: [0; MOST], count: 0, blocks: 0, options: E::Options::default() }
    }
}

impl<E: Entry> Table<E> {
    fn waiting(&self) -> &[E] {
        &self.entries[..self.count as usize]
    }

    /// Whether an entry may stand beside those that are there: its work must not depend on theirs, nor theirs on it.
    fn takes(&self, entry: &E, options: E::Options) -> bool {
        let waiting = self.waiting();
        let alike = waiting.is_empty() || self.options == options;
        alike && waiting.len() < MOST && !waiting.iter().any(|e| e.conflicts(entry))
    }

    /// Adds an entry that [`Table::takes`] allows; one without elements is no work.
    fn push(&mut self, entry: E, options: E::Options) {
        let place = self.count as usize;
        if entry.length() == 0 || place >= MOST {
            return;
        }
        (self.entries[place], self.first[place], self.options) = (entry, self.blocks, options);
        self.count += 1;
        self.blocks = self.blocks.saturating_add(extent(entry.length().div_ceil(PIECE)));
    }

    /// Blocks of a launch, when there is anything to do.
    fn blocks(&self) -> Option<u32> {
        (self.count > 0).then_some(self.blocks)
    }

    fn clear(&mut self) {
        (self.count, self.blocks) = (0, 0);
    }
}

/// A table of whatever entries.
trait Waiting: Send {
    /// Asks for its work, if there is any.
    fn flush(&mut self, driver: &Driver);

    fn as_any(&mut self) -> &mut dyn Any;
}

impl<E: Entry> Waiting for Table<E> {
    fn flush(&mut self, driver: &Driver) {
        if let Some(blocks) = self.blocks() {
            let geometry = Geometry { grid: [blocks, 1, 1], threads: THREADS, shared: 0 };
            driver.launch(E::KERNEL.0, E::KERNEL.1, geometry, self);
            self.clear();
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Updates that wait to be asked for together: a network has hundreds of small parameters. A table of each kind that was
/// seen; all but one are empty.
#[derive(Default)]
pub(super) struct Pending(Mutex<Vec<Box<dyn Waiting>>>);

impl Pending {
    /// Asks for all that waits.
    pub(super) fn flush(&self, driver: &Driver) {
        lock(&self.0).iter_mut().for_each(|table| table.flush(driver));
    }

    /// Lets an entry wait, after what it cannot stand beside was asked for.
    pub(super) fn add<E: Entry>(&self, driver: &Driver, entry: E, options: E::Options) {
        let mut tables = lock(&self.0);
        let mut own = None;
        for (i, table) in tables.iter_mut().enumerate() {
            match table.as_any().downcast_mut::<Table<E>>() {
                Some(_) => own = Some(i),
                None => table.flush(driver),
            }
        }
        let own = own.unwrap_or_else(|| {
            tables.push(Box::new(Table::<E>::default()));
            tables.len() - 1
        });
        if let Some(table) = tables[own].as_any().downcast_mut::<Table<E>>() {
            if !table.takes(&entry, options) {
                table.flush(driver);
            }
            table.push(entry, options);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Default)]
    struct Fake(u64, usize);

    impl Entry for Fake {
        type Options = u32;

        const KERNEL: (&'static Program, &'static str) = (&crate::cuda::update::UPDATE, "none");

        fn changed(&self) -> [u64; 3] {
            [self.0; 3]
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
        let mut table = Table::<Fake>::default();
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
}
