//! Splits whose images end when somebody wants it: what goes through them then ends, too.

use super::{Dataset, DatasetWrapper, ImageView, Splits};
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

impl DatasetWrapper for Stoppable {
    fn inner(&self) -> &dyn Dataset {
        self.data.as_ref()
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::data("images", "stopped, as was asked for")),
            false => self.data.image(index, scratch),
        }
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
