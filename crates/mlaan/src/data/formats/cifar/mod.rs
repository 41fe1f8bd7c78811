//! CIFAR-10 and CIFAR-100 as their authors publish them: binary files, or Python's pickles.

mod binary;
mod python;

pub(super) use binary::FORMAT as BINARY;
pub(super) use python::FORMAT as PYTHON;

use std::sync::Arc;

use super::super::Known;
use super::super::stored::{Images, Stored};
use super::Parts;
use super::members::{Member, Place};
use super::records::{Form, Part, Pixels, Records};
use crate::{Error, Result};

/// Side of the images.
const SIDE: usize = 32;
/// Bytes of the pixels of an image.
const PIXELS: usize = SIDE * SIDE * 3;
/// Most images of one file: all that the sets have.
const MOST_IMAGES: usize = 60_000;
/// Most bytes of a list of names.
const MOST_NAMES: u64 = 1 << 16;

/// The images of a file, and their labels.
type Batch = (Part, Vec<i64>);

/// One of the two sets, as it is packed.
struct Set {
    known: Known,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// File of the classes' names.
    names: &'static str,
    /// Number of classes.
    classes: usize,
    /// In which folder or archive it comes.
    folder: &'static str,
    /// Bytes before the pixels of an image.
    header: usize,
    /// Bytes of an image in a file, at the most.
    most: usize,
    /// Reads the file of names.
    read_names: fn(Member) -> Result<Vec<String>>,
    /// Reads a file of images: where they lie, and their labels.
    read_batch: fn(Member, usize) -> Result<Batch>,
}

impl Set {
    /// All its files.
    fn files(&self) -> Vec<&'static str> {
        [self.train, self.test, &[self.names]].concat()
    }

    /// Reads it.
    fn read(&self, place: &Place) -> Result<Parts> {
        let most = (MOST_IMAGES * self.most) as u64;
        let limit = |name: &'static str| (name, if name == self.names { MOST_NAMES } else { most });
        let wanted: Vec<_> = self.files().into_iter().map(limit).collect();
        let mut files = place.files(&wanted, &self.files())?;
        let classes = match files.remove(self.names) {
            Some(file) => self.named(file)?,
            // Without their names: numbers.
            None => (0..self.classes).map(|class| class.to_string()).collect(),
        };
        let mut split = |names: &[&str]| -> Result<Stored> {
            let (mut parts, mut labels) = (Vec::new(), Vec::new());
            for name in names {
                let file = files.remove(*name).ok_or_else(|| {
                    let message = format!("`{name}` is missing: the set is incomplete; fetch it again");
                    Error::data(place.path().display().to_string(), message)
                })?;
                let (part, own) = (self.read_batch)(file, self.header)?;
                parts.push(part);
                labels.extend(own);
            }
            let form = Form { header: self.header, height: SIDE, width: SIDE, pixels: Pixels::Planes };
            let images = Images::Random(Arc::new(Records::new(form, parts)));
            Stored::new(place.path().display().to_string(), classes.clone(), labels, images)
        };
        Ok(Parts::new(split(self.train)?, split(self.test)?, Some(self.known)))
    }

    fn named(&self, file: Member) -> Result<Vec<String>> {
        let place = file.place.clone();
        let names = (self.read_names)(file)?;
        if names.len() == self.classes {
            return Ok(names);
        }
        let message = format!("{} class names, where there must be {}", names.len(), self.classes);
        Err(Error::data(place, message))
    }
}
