//! Some images of a set, as a set of their own: nothing is copied.

use std::sync::Arc;

use super::held_out::{Shares, draw};
use super::limit::choose;
use super::{Dataset, ImageView, OpenOptions, Splits};
use crate::{Error, Result};

/// See the module.
pub struct Subset {
    data: Arc<dyn Dataset>,
    indices: Vec<usize>,
    /// Whether the images' own memory is counted here: by one of the sets that share it.
    owns: bool,
}

impl Subset {
    /// The images `indices` of `data`, in this order. Its images' memory counts here; of the sets that share images only one
    /// may count it, so the others are made with [`Subset::sharing`].
    ///
    /// # Errors
    /// An index that is of no image.
    pub fn new(data: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        if let Some(beyond) = indices.iter().find(|index| **index >= data.len()) {
            let message = format!("the set has only {} images", data.len());
            return Err(Error::data(format!("image {beyond}"), message));
        }
        Ok(Subset { data, indices, owns: true })
    }

    /// As [`Subset::new`], where another set counts the memory of these images already.
    ///
    /// # Errors
    /// As [`Subset::new`].
    pub fn sharing(data: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        Ok(Subset { owns: false, ..Self::new(data, indices)? })
    }

    /// At most `limit` images of a set, of each class as many as of the others, as far as there are; chosen by the seed.
    ///
    /// # Errors
    /// None in practice: all images are there.
    pub fn limited(data: &Arc<dyn Dataset>, limit: usize, seed: u64) -> Result<Self> {
        Self::new(
            Arc::clone(data),
            choose(&labels(data.as_ref()), Some(limit), seed, super::held_out::split::TEST),
        )
    }
}

fn labels(data: &dyn Dataset) -> Vec<u32> {
    (0..data.len()).map(|index| data.label(index) as u32).collect()
}

impl Splits {
    /// The splits with this share of the training images, of every class, held out to validate on, as
    /// [`OpenOptions::validation`] does; drawn by the seed. For images of one's own: sets that are opened have them already.
    ///
    /// # Errors
    /// A share that is not from 0 to less than 1, or for which no class has an image to spare.
    pub fn hold_out(self, share: f64, seed: u64) -> Result<Self> {
        let options = OpenOptions { validation: Some(share), seed, ..OpenOptions::default() };
        super::roles::check(&options)?;
        let shares = Shares { validation: Some(share).filter(|share| *share > 0.0), test: None };
        let drawn = draw(&labels(self.train.as_ref()), shares, &options);
        let Some(held) = drawn.validation else { return Ok(self) };
        if held.is_empty() {
            let message = "no class has an image to spare for data.validation: each has one alone";
            return Err(Error::data(&self.name, message));
        }
        let train = Subset::new(Arc::clone(&self.train), drawn.train)?;
        let validation = Subset::sharing(Arc::clone(&self.train), held)?;
        Ok(Splits { train: Arc::new(train), validation: Some(Arc::new(validation)), ..self })
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn classes(&self) -> &[String] {
        self.data.classes()
    }

    fn label(&self, index: usize) -> usize {
        self.indices.get(index).map_or(0, |&index| self.data.label(index))
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        let Some(&index) = self.indices.get(index) else {
            let found = self.indices.len();
            return Err(Error::data(format!("image {index}"), format!("the split has only {found} images")));
        };
        self.data.image(index, scratch)
    }

    /// Where the images lie one behind the other.
    fn whole(&self) -> Option<(usize, &[u8])> {
        let (side, bytes) = self.data.whole()?;
        let (first, one) = (*self.indices.first()?, side * side * 3);
        let in_order = self.indices.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let range = first * one..(first + self.indices.len()) * one;
        bytes.get(range).filter(|_| in_order).map(|bytes| (side, bytes))
    }

    fn image_name(&self, index: usize) -> Option<String> {
        self.data.image_name(*self.indices.get(index)?)
    }

    fn streams(&self) -> bool {
        self.data.streams()
    }

    fn varies(&self) -> bool {
        self.data.varies()
    }

    fn replaced(&self) -> usize {
        if self.owns { self.data.replaced() } else { 0 }
    }

    fn resident_bytes(&self) -> usize {
        let own = self.indices.capacity() * size_of::<usize>();
        if self.owns { own + self.data.resident_bytes() } else { own }
    }

    fn loading_bytes(&self) -> usize {
        if self.owns { self.data.loading_bytes() } else { 0 }
    }

    fn work_bytes(&self) -> usize {
        self.data.work_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Memory;

    fn set(n: u8) -> Arc<dyn Dataset> {
        let mut set = Memory::new(vec!["a".into(), "b".into()]);
        for i in 0..n {
            set.push(ImageView { height: 1, width: 1, rgb: &[i; 3] }, usize::from(i % 2)).unwrap();
        }
        Arc::new(set)
    }

    fn pixels(data: &dyn Dataset) -> Vec<u8> {
        let mut scratch = Vec::new();
        (0..data.len()).map(|i| data.image(i, &mut scratch).unwrap().rgb[0]).collect()
    }

    #[test]
    fn a_subset_shows_its_images_and_those_in_a_row_as_one_run_of_bytes() {
        let all = set(6);
        let some = Subset::new(Arc::clone(&all), vec![4, 1, 5]).unwrap();
        assert_eq!((pixels(&some), some.label(1), some.len()), (vec![4, 1, 5], 1, 3));
        assert_eq!(some.whole(), None);
        assert!(some.image(3, &mut Vec::new()).is_err());
        let row = Subset::new(Arc::clone(&all), vec![2, 3]).unwrap();
        assert_eq!(row.whole(), Some((1, &[2, 2, 2, 3, 3, 3][..])));
        assert!(Subset::new(all, vec![6]).is_err());
    }

    #[test]
    fn images_that_two_sets_share_are_counted_once() {
        let all = set(40);
        let (bytes, mut splits) = (all.resident_bytes(), crate::data::synthetic::splits(0, 10, 10).unwrap());
        splits.train = all;
        let held = splits.clone().hold_out(0.25, 7).unwrap();
        let validation = held.validation.clone().unwrap();
        assert_eq!((held.train.len(), validation.len()), (30, 10));
        assert!(held.train.resident_bytes() + validation.resident_bytes() < bytes + 64 * 8);
        let mut both = [pixels(held.train.as_ref()), pixels(validation.as_ref())].concat();
        both.sort_unstable();
        assert_eq!(both, (0..40).collect::<Vec<u8>>());
        assert!(splits.clone().hold_out(1.0, 7).is_err() && splits.clone().hold_out(-0.1, 7).is_err());
        assert!(splits.hold_out(0.0, 7).unwrap().validation.is_none());
    }
}
