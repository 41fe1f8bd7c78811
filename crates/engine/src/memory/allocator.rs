//! The one source of a device's memory, and its accountant.

use super::arena::{ALIGN, Arena};
use crate::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a pool's address ranges come from.
pub(crate) trait Memory: Debug + Send + Sync {
    /// The start of `bytes` new bytes, all zero, aligned to a cache line; nothing where there is no room.
    fn allocate(&self, bytes: usize) -> Option<*mut u8>;

    /// Gives back what `allocate` returned.
    fn free(&self, address: *mut u8, bytes: usize);

    /// Whether the processor may read and write it.
    fn on_host(&self) -> bool;
}

/// The process's own memory.
#[derive(Debug)]
struct HostMemory;

impl Memory for HostMemory {
    fn allocate(&self, bytes: usize) -> Option<*mut u8> {
        let layout = Layout::from_size_align(bytes, ALIGN).ok().filter(|l| l.size() > 0)?;
        // SAFETY: the size is not zero.
        let address = unsafe { alloc_zeroed(layout) };
        (!address.is_null()).then_some(address)
    }

    fn free(&self, address: *mut u8, bytes: usize) {
        if let Ok(layout) = Layout::from_size_align(bytes, ALIGN) {
            // SAFETY: allocated above with this layout.
            unsafe { dealloc(address, layout) };
        }
    }

    fn on_host(&self) -> bool {
        true
    }
}

/// What memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryCategory {
    /// Weights, biases, running statistics, shadows.
    Parameters,
    /// Momentum.
    Optimiser,
    /// What the forward pass keeps for the backward pass.
    Activations,
    /// Gradients of activations and of parameters.
    Gradients,
    /// Scratch of one operation.
    Workspace,
    /// Images, labels, losses.
    Data,
}

impl MemoryCategory {
    /// Every category, in the order of tables.
    pub const ALL: [MemoryCategory; 6] = [
        MemoryCategory::Parameters,
        MemoryCategory::Optimiser,
        MemoryCategory::Activations,
        MemoryCategory::Gradients,
        MemoryCategory::Workspace,
        MemoryCategory::Data,
    ];

    /// A lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            MemoryCategory::Parameters => "parameters",
            MemoryCategory::Optimiser => "optimiser",
            MemoryCategory::Activations => "activations",
            MemoryCategory::Gradients => "gradients",
            MemoryCategory::Workspace => "workspace",
            MemoryCategory::Data => "data",
        }
    }
}

/// Bytes in use, as the accountant sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In use now.
    pub current: usize,
    /// The most that was ever in use at one moment.
    pub peak: usize,
    /// What the pool's address ranges had to hold: blocks and what lay unusable between them.
    pub held: usize,
    /// The part of `held` that is the range of small blocks.
    pub held_small: usize,
    /// `held` plus what was counted outside of the pool: the memory that a run needs.
    pub footprint: usize,
    /// In use now, in the order of [`MemoryCategory::ALL`].
    pub by_category: [usize; 6],
    /// At the moment of `peak`, in the order of [`MemoryCategory::ALL`].
    pub peak_by_category: [usize; 6],
    /// Pinned host memory that tensors of a device with memory of its own are kept in, beside all of the above.
    pub host: usize,
}

#[derive(Debug)]
struct State {
    /// One of each class when a plan was reserved; more when a run asks for what nobody planned.
    segments: Vec<Segment>,
    usage: Usage,
    /// Bytes counted but not held here, and the most of them since the last reset.
    outside: usize,
    outside_peak: usize,
}

/// One piece of memory and its layout.
#[derive(Debug)]
struct Segment {
    class: Class,
    arena: Arena,
    bytes: usize,
    /// Null in a virtual pool.
    address: *mut u8,
}

/// Small and large blocks have ranges of their own: a small block that outlives large ones around it would keep them
/// from becoming one hole, in which the next large one finds its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Small,
    Large,
}

/// Blocks below this are small: weights and their gradients, not activations.
const SMALL: usize = 256 << 10;

impl Class {
    fn of(bytes: usize) -> Self {
        if bytes < SMALL { Class::Small } else { Class::Large }
    }
}

/// The memory of one device.
#[derive(Debug)]
pub struct Allocator {
    name: String,
    /// None in a virtual pool.
    memory: Option<Box<dyn Memory>>,
    state: Mutex<State>,
}

// SAFETY: segments are plain memory; who may touch which part is decided by ownership of blocks.
unsafe impl Send for Allocator {}
// SAFETY: all changes go through the mutex.
unsafe impl Sync for Allocator {}

/// Memory that was not planned grows by at least this much.
const SEGMENT: usize = 4 << 20;

impl Allocator {
    /// A pool of host memory.
    pub(crate) fn host(name: &str) -> Arc<Self> {
        Self::over(name, HostMemory)
    }

    /// A pool of any kind of memory.
    pub(crate) fn over(name: &str, memory: impl Memory + 'static) -> Arc<Self> {
        Self::new(name, Some(Box::new(memory)))
    }

    /// A pool that counts and lays out but has nothing behind it.
    pub(crate) fn virtual_memory(name: &str) -> Arc<Self> {
        Self::new(name, None)
    }

    fn new(name: &str, memory: Option<Box<dyn Memory>>) -> Arc<Self> {
        let mut segments = Vec::new();
        if memory.is_none() {
            let bytes = isize::MAX as usize / ALIGN * ALIGN;
            let part =
                |class| Segment { class, arena: Arena::new(bytes), bytes, address: std::ptr::null_mut() };
            segments.extend([part(Class::Small), part(Class::Large)]);
        }
        let state = State { segments, usage: Usage::default(), outside: 0, outside_peak: 0 };
        Arc::new(Allocator { name: name.to_string(), memory, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the layout half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a planned use, before anything is allocated.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the system refuses.
    pub fn reserve(&self, plan: &Usage) -> Result<()> {
        let mut state = self.state();
        if self.memory.is_some() && state.segments.is_empty() {
            for (class, bytes) in
                [(Class::Small, plan.held_small), (Class::Large, plan.held.saturating_sub(plan.held_small))]
            {
                if bytes > 0 {
                    self.grow(&mut state, class, bytes.next_multiple_of(ALIGN))?;
                }
            }
        }
        Ok(())
    }

    /// Bytes in use.
    pub fn usage(&self) -> Usage {
        let state = self.state();
        let held_by = |class| -> usize {
            state.segments.iter().filter(|s| s.class == class).map(|s| s.arena.extent()).sum()
        };
        let held_small = held_by(Class::Small);
        let held = held_small + held_by(Class::Large);
        Usage { held, held_small, footprint: held + state.outside_peak, ..state.usage }
    }

    /// Lets peak and footprint count from now on.
    pub fn reset_peak(&self) {
        let mut state = self.state();
        state.usage.peak = state.usage.current;
        state.usage.peak_by_category = state.usage.by_category;
        state.outside_peak = state.outside;
        state.segments.iter_mut().for_each(|s| s.arena.reset_extent());
    }

    /// Counts bytes that live outside of the pool (a data set in host memory); negative to forget them.
    pub fn count(&self, category: MemoryCategory, bytes: isize) {
        let mut state = self.state();
        state.usage.change([(category, bytes)]);
        state.outside = state.outside.saturating_add_signed(bytes);
        state.outside_peak = state.outside_peak.max(state.outside);
    }

    /// Counts pinned host memory that tensors are kept in; negative when it is given back.
    pub(crate) fn count_host(&self, bytes: isize) {
        let usage = &mut self.state().usage;
        usage.host = usage.host.saturating_add_signed(bytes);
    }

    /// Takes a block of at least `bytes`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn take(self: &Arc<Self>, bytes: usize, category: MemoryCategory) -> Result<Block> {
        self.take_for(bytes, category, (category, 0))
    }

    /// As [`Allocator::take`], for values of two kinds: so many of the bytes are counted as `part`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn take_for(
        self: &Arc<Self>,
        bytes: usize,
        category: MemoryCategory,
        part: (MemoryCategory, usize),
    ) -> Result<Block> {
        let bytes = bytes.max(1).next_multiple_of(ALIGN);
        let mut state = self.state();
        let (segment, offset) = match state.place(bytes) {
            Some(found) => found,
            None => {
                self.grow(&mut state, Class::of(bytes), bytes.max(SEGMENT))?;
                state.place(bytes).ok_or_else(|| self.refused(&state, bytes))?
            }
        };
        let base = state.segments[segment].address;
        let address = if base.is_null() { base } else { base.wrapping_add(offset) };
        let counted = [(category, bytes - part.1.min(bytes)), (part.0, part.1.min(bytes))];
        state.usage.change(counted.map(|(category, bytes)| (category, bytes as isize)));
        let place = Place::Own { segment, offset, counted };
        Ok(Block { pool: Arc::clone(self), place, bytes, category, address })
    }

    fn refused(&self, state: &State, bytes: usize) -> Error {
        Error::OutOfMemory { device: self.name.clone(), requested: bytes, in_use: state.usage.current }
    }

    fn grow(&self, state: &mut State, class: Class, bytes: usize) -> Result<()> {
        let address = self.memory.as_ref().and_then(|m| m.allocate(bytes));
        let address = address.ok_or_else(|| self.refused(state, bytes))?;
        state.segments.push(Segment { class, arena: Arena::new(bytes), bytes, address });
        Ok(())
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        let Some(memory) = &self.memory else { return };
        // No block outlives its pool.
        for s in self.state().segments.drain(..) {
            memory.free(s.address, s.bytes);
        }
    }
}

impl State {
    fn place(&mut self, bytes: usize) -> Option<(usize, usize)> {
        let class = Class::of(bytes);
        let mut fitting = self.segments.iter_mut().enumerate().filter(|(_, s)| s.class == class);
        fitting.find_map(|(i, s)| Some((i, s.arena.take(bytes)?)))
    }
}

impl Usage {
    fn change<const N: usize>(&mut self, by: [(MemoryCategory, isize); N]) {
        for (category, bytes) in by {
            let i = category as usize;
            self.by_category[i] = self.by_category[i].saturating_add_signed(bytes);
            self.current = self.current.saturating_add_signed(bytes);
        }
        if self.current > self.peak {
            self.peak = self.current;
            self.peak_by_category = self.by_category;
        }
    }
}

/// A range of a pool's memory, given back when dropped.
#[derive(Debug)]
pub struct Block {
    pool: Arc<Allocator>,
    place: Place,
    bytes: usize,
    category: MemoryCategory,
    address: *mut u8,
}

/// Whose a block's range is.
#[derive(Debug)]
enum Place {
    /// The block's own, with what its bytes are counted as.
    Own { segment: usize, offset: usize, counted: [(MemoryCategory, usize); 2] },
    /// A part of another block's, which is kept.
    Part { _of: Arc<Block> },
    /// There is none for now: what it held is kept elsewhere, from this offset on.
    Away { keeper: Arc<dyn Keeper>, offset: usize },
}

/// Host memory in which values are kept while they are not on their device: they can be read and written there, and not be
/// computed with.
pub(crate) trait Keeper: Debug + Send + Sync {
    /// Copies the values from `offset` on into `bytes`.
    fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()>;

    /// Copies `bytes` to where the values from `offset` on are.
    fn write(&self, offset: usize, bytes: &[u8]) -> Result<()>;

    /// Is told that the device was asked to compute with them.
    fn misused(&self);
}

// SAFETY: a block is the only owner of its range.
unsafe impl Send for Block {}
// SAFETY: shared access is read-only; writing needs `&mut`.
unsafe impl Sync for Block {}

impl Block {
    /// Where the block lies in host memory; null in another kind of pool.
    pub(crate) fn host_address(&self) -> *mut u8 {
        match &self.pool.memory {
            Some(memory) if memory.on_host() => self.address,
            _ => std::ptr::null_mut(),
        }
    }

    /// Where the block lies in the memory of its pool, whatever kind that is; 0 in a virtual pool, and of a block that is kept
    /// elsewhere, with a failure of its device.
    pub(crate) fn device_address(&self) -> u64 {
        if let Place::Away { keeper, .. } = &self.place {
            keeper.misused();
        }
        self.address as u64
    }

    /// The `bytes` bytes from `offset` on; who may touch them is the caller's to decide.
    pub(crate) fn part(self: &Arc<Self>, offset: usize, bytes: usize, category: MemoryCategory) -> Block {
        debug_assert!(offset + bytes <= self.bytes);
        let address = if self.address.is_null() { self.address } else { self.address.wrapping_add(offset) };
        let place = Place::Part { _of: Arc::clone(self) };
        Block { pool: Arc::clone(&self.pool), place, bytes, category, address }
    }

    /// A block without memory: what it holds is kept by `keeper`, from `offset` on.
    pub(crate) fn away(&self, keeper: Arc<dyn Keeper>, offset: usize) -> Block {
        let (pool, place) = (Arc::clone(&self.pool), Place::Away { keeper, offset });
        Block { pool, place, bytes: 0, category: self.category, address: std::ptr::null_mut() }
    }

    /// Who keeps what it holds, and from which offset on, while it has no memory.
    pub(crate) fn keeper(&self) -> Option<(&dyn Keeper, usize)> {
        match &self.place {
            Place::Away { keeper, offset } => Some((&**keeper, *offset)),
            _ => None,
        }
    }

    /// What it is used for.
    pub(crate) fn category(&self) -> MemoryCategory {
        self.category
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let Place::Own { segment, offset, counted } = self.place else { return };
        let mut state = self.pool.state();
        state.segments[segment].arena.give(offset, self.bytes);
        state.usage.change(counted.map(|(category, bytes)| (category, -(bytes as isize))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_pool_lays_out_as_a_virtual_one() {
        let run = |pool: &Arc<Allocator>| {
            let a = pool.take(1000, MemoryCategory::Parameters).unwrap();
            let b = pool.take(500_000, MemoryCategory::Activations).unwrap();
            let c = pool.take(64, MemoryCategory::Workspace).unwrap();
            drop(b);
            let d = pool.take(3000, MemoryCategory::Gradients).unwrap();
            let e = pool.take(3000, MemoryCategory::Gradients).unwrap();
            (a, c, d, e)
        };
        let dry = Allocator::virtual_memory("dry");
        drop(run(&dry));
        let plan = dry.usage();
        let host = Allocator::host("cpu");
        host.reserve(&plan).unwrap();
        let held = run(&host);
        assert_eq!(host.state().segments.len(), 2);
        assert_eq!(host.usage().footprint, plan.footprint);
        assert_eq!(host.usage().peak, plan.peak);
        assert_eq!(host.usage().by_category[MemoryCategory::Gradients as usize], 2 * 3008);
        drop(held);
        assert_eq!(host.usage().current, 0);
        assert_eq!(host.usage().peak_by_category, plan.peak_by_category);
    }

    #[test]
    fn a_block_of_two_kinds_counts_as_both() {
        let pool = Allocator::virtual_memory("dry");
        let (parameters, optimiser) = (MemoryCategory::Parameters, MemoryCategory::Optimiser);
        let block = pool.take_for(1000, parameters, (optimiser, 256)).unwrap();
        let of = |by: [usize; 6]| (by[parameters as usize], by[optimiser as usize]);
        let usage = pool.usage();
        assert_eq!((usage.current, of(usage.by_category)), (1024, (768, 256)));
        assert_eq!((usage.peak, of(usage.peak_by_category)), (1024, (768, 256)), "one moment, not two");
        drop(block);
        assert_eq!((pool.usage().current, pool.usage().by_category), (0, [0; 6]));
    }

    #[test]
    fn what_was_not_planned_still_fits() {
        let host = Allocator::host("cpu");
        host.reserve(&Usage { held: 128, held_small: 128, ..Usage::default() }).unwrap();
        let big = host.take(10 << 20, MemoryCategory::Data).unwrap();
        let small = host.take(128, MemoryCategory::Data).unwrap();
        assert!(!big.host_address().is_null() && !small.host_address().is_null());
        let err = host.take(usize::MAX / 4, MemoryCategory::Data).unwrap_err();
        assert!(err.to_string().contains("out of memory on cpu"), "{err}");
    }
}
