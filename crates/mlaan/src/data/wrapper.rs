//! Sets made of other sets.

use super::{Dataset, ImageView};
use crate::Result;

/// A set that changes something of another one: what it does not say itself is as there.
pub trait DatasetWrapper: Send + Sync {
    /// The set behind it.
    fn inner(&self) -> &dyn Dataset;

    /// As [`Dataset::classes`].
    fn classes(&self) -> &[String] {
        self.inner().classes()
    }

    /// As [`Dataset::label`].
    fn label(&self, index: usize) -> usize {
        self.inner().label(index)
    }

    /// As [`Dataset::image`].
    ///
    /// # Errors
    /// As there.
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        self.inner().image(index, scratch)
    }
}

impl<T: DatasetWrapper> Dataset for T {
    fn len(&self) -> usize {
        self.inner().len()
    }

    fn classes(&self) -> &[String] {
        DatasetWrapper::classes(self)
    }

    fn label(&self, index: usize) -> usize {
        DatasetWrapper::label(self, index)
    }

    fn image_name(&self, index: usize) -> Option<String> {
        self.inner().image_name(index)
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        DatasetWrapper::image(self, index, scratch)
    }

    fn whole(&self) -> Option<(usize, &[u8])> {
        self.inner().whole()
    }

    fn streams(&self) -> bool {
        self.inner().streams()
    }

    fn varies(&self) -> bool {
        self.inner().varies()
    }

    fn replaced(&self) -> usize {
        self.inner().replaced()
    }

    fn resident_bytes(&self) -> usize {
        self.inner().resident_bytes()
    }

    fn loading_bytes(&self) -> usize {
        self.inner().loading_bytes()
    }

    fn work_bytes(&self) -> usize {
        self.inner().work_bytes()
    }
}
