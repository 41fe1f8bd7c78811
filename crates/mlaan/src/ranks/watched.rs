//! What is known of a rank's own work, for the thread that watches it.

use super::Patience;
use super::watch::{Course, Pulse};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes that a process holds.
pub(super) type Memory = Box<dyn Fn() -> u64 + Send + Sync>;

/// What is known of a rank's own work.
pub(super) struct Watched {
    pub threads: Mutex<[Course; 2]>,
    pub patience: Mutex<Patience>,
    /// Whether signs of life are sent.
    pub beats: AtomicBool,
    pub began: Instant,
    pub pulse: Mutex<Pulse>,
    pub memory: Mutex<Option<Memory>>,
}

impl Default for Watched {
    fn default() -> Self {
        Watched {
            threads: Mutex::new([Course::new(), Course::new()]),
            patience: Mutex::default(),
            beats: AtomicBool::new(false),
            began: Instant::now(),
            pulse: Mutex::default(),
            memory: Mutex::new(None),
        }
    }
}

/// What others cannot leave half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    pub fn set_patience(&self, patience: Patience) {
        *lock(&self.patience) = patience;
    }
}
