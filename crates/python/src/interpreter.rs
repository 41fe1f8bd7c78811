//! The end of the interpreter, as threads that it does not know of have to heed it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether no function of Python is to be called any more.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Functions of Python that give an image at the moment.
static FETCHING: AtomicUsize = AtomicUsize::new(0);

/// A call of such a function.
pub struct Fetching;

impl Drop for Fetching {
    fn drop(&mut self) {
        // A process that was forked within one has none.
        let _ = FETCHING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    }
}

/// A call of such a function, as long as it is held; none where the interpreter ends.
pub fn fetching() -> Option<Fetching> {
    // Counted first: either this sees that it ends, or the end waits for this.
    FETCHING.fetch_add(1, Ordering::SeqCst);
    let fetching = Fetching;
    (!is_ending()).then_some(fetching)
}

/// Lets all images that are still asked for fail: the interpreter is about to end.
pub fn end() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Whether the interpreter is about to end.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Whether a function of Python gives an image just now: a thread in it must not meet the end of the interpreter.
pub fn are_fetched() -> bool {
    FETCHING.load(Ordering::SeqCst) > 0
}

/// To be called in a process that was forked, which has none of the threads that were fetching.
pub fn after_fork() {
    FETCHING.store(0, Ordering::SeqCst);
}
