//! CIFAR-10 and CIFAR-100 as their authors publish them: binary files, or Python's pickles.

mod binary;
mod python;

pub(super) use binary::FORMAT as BINARY;
pub(super) use python::FORMAT as PYTHON;

use super::super::Known;
use super::records::{Form, Pixels};

/// Side of the images.
const SIDE: usize = 32;
/// Bytes of the pixels of an image.
const PIXELS: usize = SIDE * SIDE * 3;
/// Most images of one file: the real ones have 10,000 and 50,000.
const MOST_IMAGES: u64 = 200_000;
/// Most bytes of a list of names.
const MOST_NAMES: u64 = 1 << 20;

/// How records lie that have so many bytes before their pixels.
fn form(header: usize) -> Form {
    Form { header, height: SIDE, width: SIDE, pixels: Pixels::Planes }
}

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
}

impl Set {
    /// All its files.
    fn files(&self) -> Vec<&'static str> {
        [self.train, self.test, &[self.names]].concat()
    }
}

/// Class names where the file of names is missing: numbers.
fn numbers(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}
