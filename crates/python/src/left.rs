//! Calls that nobody waits for any more: they end by themselves, or with the interpreter.

use crate::ending::Ending;
use crate::interpreter;
use mlaan_cli::Failure;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread of a call.
pub type Work = JoinHandle<Result<String, Failure>>;

/// A call that was begun.
pub struct Left {
    /// Asks it to stop, and ends its images.
    pub ending: Ending,
    /// What does it.
    pub work: Work,
    /// Whether there is something to save.
    pub saves: bool,
}

static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());
/// Whether this is a forked process that cannot know of any.
static FORGOTTEN: AtomicBool = AtomicBool::new(false);
/// Time for which the interpreter's end waits for images of Python, so that a step can be saved.
const SAVING: Duration = Duration::from_secs(10);
/// Time between two looks at whether they have ended.
const AWAKE: Duration = Duration::from_millis(20);

/// Waits for a call no longer. What has nothing to save gets no more images.
pub fn leave(call: Left) {
    call.ending.left.store(!call.saves, Ordering::SeqCst);
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|call| !call.work.is_finished());
    left.push(call);
}

/// To be called in a process that was forked: the calls are its parent's, and so are their threads.
pub fn after_fork() {
    // Locked for good, where the fork was in the midst of its use: then `finish` is not to meet it either.
    match LEFT.try_lock() {
        Ok(mut left) => std::mem::forget(std::mem::take(&mut *left)),
        Err(_) => FORGOTTEN.store(true, Ordering::SeqCst),
    }
}

/// To be called before the interpreter ends: stops calls that were left, and waits for those that save, and for those that
/// are within an item of Python.
#[pyfunction]
pub fn finish(py: Python<'_>) -> PyResult<()> {
    if FORGOTTEN.load(Ordering::SeqCst) {
        return Ok(());
    }
    let left = std::mem::take(&mut *LEFT.lock().unwrap_or_else(PoisonError::into_inner));
    left.iter().for_each(|call| call.ending.stop.store(true, Ordering::SeqCst));
    let saving = || left.iter().any(|call| call.saves && !call.work.is_finished());
    let begun = Instant::now();
    while saving() && begun.elapsed() < SAVING {
        py.detach(|| std::thread::sleep(AWAKE));
        py.check_signals()?;
    }
    interpreter::end();
    while saving() || interpreter::are_fetched() {
        py.detach(|| std::thread::sleep(AWAKE));
        py.check_signals()?;
    }
    Ok(())
}
