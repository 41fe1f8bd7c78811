//! Splits whose images end when somebody wants it: what goes through them then ends, too.

use super::{Dataset, ImageView, Splits};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A split that gives no image once it is told to stop.
pub struct Stoppable {
    data: Arc<dyn Dataset>,
    stop: Arc<AtomicBool>,
}

impl Stoppable {
    /// All splits, stopped together.
    pub fn all(splits: Splits, stop: &Arc<AtomicBool>) -> Splits {
        let one = |data: Arc<dyn Dataset>| -> Arc<dyn Dataset> {
            Arc::new(Stoppable { data, stop: Arc::clone(stop) })
        };
        Splits {
            train: one(splits.train),
            validation: splits.validation.map(one),
            test: one(splits.test),
            ..splits
        }
    }
}

impl Dataset for Stoppable {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn classes(&self) -> &[String] {
        self.data.classes()
    }

    fn label(&self, index: usize) -> usize {
        self.data.label(index)
    }

    fn image_name(&self, index: usize) -> Option<String> {
        self.data.image_name(index)
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::data("images", "stopped, as was asked for")),
            false => self.data.image(index, scratch),
        }
    }

    fn whole(&self) -> Option<(usize, &[u8])> {
        self.data.whole()
    }

    fn streams(&self) -> bool {
        self.data.streams()
    }

    fn replaced(&self) -> usize {
        self.data.replaced()
    }

    fn resident_bytes(&self) -> usize {
        self.data.resident_bytes()
    }

    fn loading_bytes(&self) -> usize {
        self.data.loading_bytes()
    }

    fn work_bytes(&self) -> usize {
        self.data.work_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_end_when_it_stops() {
        let stop = Arc::new(AtomicBool::new(false));
        let splits = Stoppable::all(crate::data::synthetic::splits(0, 10, 10).unwrap(), &stop);
        let mut scratch = Vec::new();
        assert!(splits.train.image(0, &mut scratch).is_ok() && splits.train.whole().is_some());
        stop.store(true, Ordering::Relaxed);
        assert!(splits.all().all(|data| data.image(0, &mut Vec::new()).is_err()));
    }
}
