//! Work in fixed pieces, so that results do not depend on the number of threads.
//!
//! The number of pieces and what each holds follow from shapes alone. Every sum is kept per piece and
//! added up in the order of the pieces.

use crate::memory::ALIGN;
use rayon::prelude::*;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

/// Pieces that an operation is cut into, at most: enough to keep many cores busy, few enough that the
/// partial sums stay small.
pub(crate) const PIECES: usize = 64;

/// How many pieces `units` of work make.
pub(crate) fn pieces(units: usize, most: usize) -> usize {
    units.min(most).max(1)
}

/// The units of piece `i` of `pieces`.
pub(crate) fn piece(units: usize, pieces: usize, i: usize) -> Range<usize> {
    i * units / pieces..(i + 1) * units / pieces
}

thread_local! {
    /// Whether a piece runs on this thread.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// A piece that runs on this thread.
struct Running;

impl Running {
    fn start() -> Self {
        assert!(!BUSY.replace(true), "a piece of work was cut into pieces itself");
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

/// Runs `f(i)` for every piece, in any order, on the current thread pool.
///
/// # Panics
/// Where a piece calls it: a thread that waits for pieces runs others meanwhile, and these would find the scratch of
/// their thread in use ([`slot`]).
pub(crate) fn for_each(pieces: usize, f: impl Fn(usize) + Sync + Send) {
    let f = |i| {
        let _running = Running::start();
        f(i);
    };
    if pieces == 1 {
        f(0);
    } else {
        (0..pieces).into_par_iter().with_max_len(1).for_each(f);
    }
}

/// Which thread of the pool this is: the index of its part of an operation's scratch. The part is the piece's that asks,
/// to its end: a thread runs one piece at a time ([`for_each`] sees to it), and every operation has scratch of its own.
///
/// # Panics
/// Outside of a piece.
pub(crate) fn slot() -> usize {
    assert!(BUSY.get(), "scratch of a thread that runs no piece");
    // One piece alone may run outside of a pool.
    rayon::current_thread_index().unwrap_or(0)
}

/// A slice of which pieces write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: parts handed out are disjoint (the callers' duty, see `part`).
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// # Panics
    /// Where they are not all there.
    ///
    /// # Safety
    /// No two parts alive at the same time may overlap.
    #[allow(clippy::mut_from_ref)] // Disjointness is the caller's duty.
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        let Range { start, end } = range;
        assert!(start <= end && end <= self.len, "{start}..{end} of {} values", self.len);
        // SAFETY: inside the slice; exclusive by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), end - start) }
    }
}

/// Bytes of scratch for `n` values of `T`, as [`Carver`] takes them.
pub(crate) fn scratch_of<T>(n: usize) -> usize {
    (n * size_of::<T>()).next_multiple_of(ALIGN)
}

/// Cuts an operation's scratch into typed pieces.
pub(crate) struct Carver<'a>(&'a mut [u8]);

impl<'a> Carver<'a> {
    pub(crate) fn new(scratch: &'a mut [u8]) -> Self {
        Carver(scratch)
    }

    /// The next `n` values; their content is whatever lay there.
    ///
    /// # Panics
    /// Where the scratch is too small: kernels go by sizes, and would write behind it.
    pub(crate) fn take<T: bytemuck::Pod>(&mut self, n: usize) -> &'a mut [T] {
        let (head, tail) = std::mem::take(&mut self.0).split_at_mut(scratch_of::<T>(n));
        self.0 = tail;
        // Aligned, as the scratch is and all parts of it are multiples of `ALIGN`.
        let values = bytemuck::cast_slice_mut(head);
        &mut values[..n]
    }
}

/// Per-channel sums of the pieces of an operation: `[pieces][sums][channels]`, 64-bit.
pub(crate) struct ChannelSums<'a> {
    values: &'a mut [f64],
    width: usize,
}

impl<'a> ChannelSums<'a> {
    /// Bytes that [`ChannelSums::new`] takes.
    pub(crate) fn scratch(pieces: usize, sums: usize, channels: usize) -> usize {
        scratch_of::<f64>(pieces * sums * channels)
    }

    /// Zeroed sums.
    pub(crate) fn new(carver: &mut Carver<'a>, pieces: usize, sums: usize, channels: usize) -> Self {
        let width = sums * channels;
        let values = carver.take(pieces * width);
        values.fill(0.0);
        ChannelSums { values, width }
    }

    /// For the pieces to write, each its own row.
    pub(crate) fn rows(&mut self) -> SumRows<'_> {
        SumRows { values: Shared::new(self.values), width: self.width }
    }

    /// Adds the rows up in order and returns `[sums][channels]`.
    pub(crate) fn total(self) -> &'a [f64] {
        let (total, rest) = self.values.split_at_mut(self.width);
        for row in rest.chunks_exact(self.width.max(1)) {
            for (t, x) in total.iter_mut().zip(row) {
                *t += x;
            }
        }
        total
    }
}

/// See [`ChannelSums::rows`].
pub(crate) struct SumRows<'a> {
    values: Shared<'a, f64>,
    width: usize,
}

impl<'a> SumRows<'a> {
    /// The row of one piece.
    ///
    /// # Safety
    /// One user per piece at a time.
    pub(crate) unsafe fn row(&self, piece: usize) -> &'a mut [f64] {
        // SAFETY: rows are disjoint.
        unsafe { self.values.part(piece * self.width..(piece + 1) * self.width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn panics(f: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(f)).is_err()
    }

    #[test]
    fn scratch_that_is_too_small_is_refused() {
        let mut values = [[0f64; 8]; 3];
        let bytes = bytemuck::cast_slice_mut(values.as_flattened_mut());
        let mut carver = Carver::new(bytes);
        assert_eq!((carver.take::<f32>(5).len(), carver.take::<f64>(16).len()), (5, 16));
        assert_eq!(carver.take::<f32>(0).len(), 0);
        assert!(panics(|| carver.take::<f32>(1).fill(0.0)));
    }

    #[test]
    fn a_thread_runs_one_piece_at_a_time() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for pieces in [1, 2, 50] {
            assert!(pool.install(|| panics(|| for_each(pieces, |_| for_each(pieces, |_| ())))));
            let users = [const { AtomicUsize::new(0) }; 3];
            pool.install(|| {
                for_each(pieces, |_| {
                    let user = &users[slot()];
                    assert_eq!(user.fetch_add(1, Ordering::AcqRel), 0);
                    std::thread::yield_now();
                    user.fetch_sub(1, Ordering::AcqRel);
                });
            });
            assert!(pool.install(|| panics(|| assert!(slot() < 3))), "the piece is over");
        }
    }

    #[test]
    fn parts_lie_inside() {
        let mut values = [0; 5];
        let shared = Shared::new(&mut values);
        // SAFETY: one part at a time.
        let part = |range| panics(|| unsafe { shared.part(range).fill(1) });
        assert!(!part(2..5) && !part(5..5));
        assert!(part(4..6) && part(6..6) && part(0..usize::MAX));
        assert_eq!(values, [0, 0, 1, 1, 1]);
    }
}
