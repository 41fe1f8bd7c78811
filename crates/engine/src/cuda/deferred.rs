//! Work that waits for its kernels: what a network needs is compiled together, on all cores.
//!
//! The first step asks for a few dozen kernels, one after the other, and each takes the better part of a second to
//! compile. So what is asked for from the first missing kernel on is kept in its order, until somebody waits for a
//! result or the step ends; then all that is missing is compiled at once.

use super::context::lock;
use super::geometry::Geometry;
use super::program::Program;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Called with how many of how many kernel programs are compiled.
type Watcher = Box<dyn Fn(usize, usize) + Send + Sync>;

static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// Has `watcher` called, from any thread, whenever one of several kernel programs that are being compiled is done: with
/// the number of those done and of all. What comes from the cache is not among them. The first watcher of a process stays.
pub fn watch(watcher: impl Fn(usize, usize) + Send + Sync + 'static) {
    let _ = WATCHER.set(Box::new(watcher));
}

/// A kernel launch, with the one value that the kernel takes.
pub(super) struct Launch {
    pub(super) program: &'static Program,
    pub(super) entry: &'static str,
    pub(super) geometry: Geometry,
    /// The value's bytes, in words so that they are aligned as it is.
    pub(super) arguments: Vec<u64>,
    /// Whether blocks go on along the grid's first axis.
    pub(super) resident: bool,
}

impl Launch {
    pub(super) fn new<T: Copy>(
        program: &'static Program,
        entry: &'static str,
        geometry: Geometry,
        resident: bool,
        value: &T,
    ) -> Self {
        let mut arguments = vec![0u64; size_of::<T>().div_ceil(8)];
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        // SAFETY: the words have room for a T and are aligned for it; a Copy type may be copied as bytes.
        unsafe {
            let from = std::ptr::from_ref(value).cast::<u8>();
            std::ptr::copy_nonoverlapping(from, arguments.as_mut_ptr().cast::<u8>(), size_of::<T>());
        }
        Launch { program, entry, geometry, arguments, resident }
    }
}

/// A copy, or what waits for one.
#[derive(Clone, Copy)]
pub(super) enum Transfer {
    /// Behind the device's work so far, which the event `free` marks; the event `filled` behind it.
    Fetch { free: usize, filled: usize, to: u64, from: usize, bytes: usize },
    /// The device's work goes on behind an event.
    Await { event: usize },
    /// Behind the device's work so far, which the event `used` marks; the event `stored` behind it.
    Store { used: usize, stored: usize, from: u64, to: usize, bytes: usize },
}

/// What a stream is asked for.
pub(super) enum Work {
    Launch(Launch),
    Copy { to: u64, from: u64, bytes: usize },
    Transfer(Transfer),
}

/// See the module.
#[derive(Default)]
pub(super) struct Deferred {
    waiting: Mutex<Vec<Work>>,
    /// Held while what waited is asked for.
    settling: Mutex<()>,
    busy: AtomicBool,
}

/// While it lives, what is asked for waits.
pub(super) struct Settling<'a> {
    of: &'a Deferred,
    _held: MutexGuard<'a, ()>,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.of.busy.store(false, Ordering::Release);
    }
}

impl Deferred {
    /// Whether something waits, so that all that follows must.
    pub(super) fn waits(&self) -> bool {
        self.busy.load(Ordering::Acquire) || !lock(&self.waiting).is_empty()
    }

    pub(super) fn push(&self, work: Work) {
        lock(&self.waiting).push(work);
    }

    /// All that waits, in its order; nothing where nothing does.
    pub(super) fn settle(&self) -> Option<(Settling<'_>, Vec<Work>)> {
        let held = lock(&self.settling);
        let mut waiting = lock(&self.waiting);
        if waiting.is_empty() {
            return None;
        }
        self.busy.store(true, Ordering::Release);
        Some((Settling { of: self, _held: held }, std::mem::take(&mut waiting)))
    }
}

/// Machine code of programs, or why there is none, by their addresses.
pub(super) type Images = BTreeMap<*const Program, Result<Vec<u8>, String>>;

/// Compiles programs for a compute capability, on all cores.
pub(super) fn compile(capability: (u32, u32), programs: &[&'static Program]) -> Images {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let made = Mutex::new(Vec::new());
    let work = || {
        while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let image = program.compile(capability);
            lock(&made).push((*program, image));
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(watcher) = WATCHER.get() {
                watcher(done, programs.len());
            }
        }
    };
    let workers = crate::cores().clamp(1, programs.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    let made = made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    made.into_iter().map(|(program, image)| (std::ptr::from_ref(program), image)).collect()
}
