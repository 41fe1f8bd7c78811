//! Images that end with the call that they were given to.

use mlaan::data::{Dataset, DatasetWrapper, ImageView};
use mlaan::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of a call's end.
#[derive(Clone, Default)]
pub struct Ending {
    /// It was asked to stop; a run saves first.
    pub stop: Arc<AtomicBool>,
    /// Nobody waits for it any more.
    pub left: Arc<AtomicBool>,
    /// A run evaluates: what an epoch has learnt is saved behind that, so it goes on.
    pub evaluates: Arc<AtomicBool>,
}

impl Ending {
    /// Images that are given no more where they would be for nothing: a step that is not taken any more need not be waited for.
    pub fn images(&self, data: Arc<dyn Dataset>) -> Arc<dyn Dataset> {
        Arc::new(Ended { data, ending: self.clone(), asking: Mutex::default() })
    }

    fn is_over(&self) -> bool {
        let asked = self.stop.load(Ordering::SeqCst) && !self.evaluates.load(Ordering::SeqCst);
        asked || self.left.load(Ordering::SeqCst)
    }
}

/// See [`Ending::images`].
struct Ended {
    data: Arc<dyn Dataset>,
    ending: Ending,
    /// Held by the thread that asks for an item.
    asking: Mutex<()>,
}

impl DatasetWrapper for Ended {
    fn inner(&self) -> &dyn Dataset {
        self.data.as_ref()
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        // A data set of Python is asked by one thread at a time, as PyTorch does within a process: files that it reads at a position, or
        // counters, would be met by two where it gives up the interpreter's lock. Held before that lock, never behind it.
        let _one = self.data.streams().then(|| self.asking.lock().unwrap_or_else(PoisonError::into_inner));
        match self.ending.is_over() {
            true => Err(Error::data("images", "stopped, as was asked for")),
            false => self.data.image(index, scratch),
        }
    }
}
