//! MNIST's files, and those of sets in its form: big-endian sizes, then bytes.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;

use super::super::decode::fetched;
use super::super::stored::{Images, Stored};
use super::records::{Blob, Form, Part, Pixels, Records};
use super::{Format, Parts};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "MNIST idx",
    layout: "a folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same of `t10k-`, also `.gz`, also in `MNIST/raw/`",
    open,
};

/// Most bytes of a file once inflated: a million images of 28x28 pixels.
const MOST_BYTES: u64 = 1 << 30;
/// Most images of a split.
const MOST_RECORDS: usize = 10_000_000;
/// Longest side of an image.
const MOST_SIDE: usize = 4096;
/// Most classes, as labels are bytes.
const MOST_CLASSES: usize = 256;

fn open(path: &Path) -> Result<Option<Parts>> {
    let inside = ["", "raw", "MNIST/raw", "FashionMNIST/raw"].map(|name| path.join(name));
    for folder in inside {
        let all = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
        let found = all.map(|name| find(&folder, name));
        match found {
            [None, None, None, None] => continue,
            [Some(train), Some(train_labels), Some(test), Some(test_labels)] => {
                let classes = classes(&labels(&train_labels)?);
                return Ok(Some(Parts::new(
                    split(&train, &train_labels, &classes)?,
                    split(&test, &test_labels, &classes)?,
                    None,
                )));
            }
            some => {
                let missing = all.iter().zip(&some).find(|(_, f)| f.is_none()).map_or("", |(name, _)| name);
                let message =
                    format!("`{missing}-ubyte` is missing: images and labels of both splits are needed");
                return Err(Error::data(folder.display().to_string(), message));
            }
        }
    }
    Ok(None)
}

/// The file of this name, compressed or not, as its host or as torchvision calls it.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replace("-idx", ".idx");
    let names = [format!("{name}-ubyte"), format!("{name}-ubyte.gz"), format!("{dotted}-ubyte")];
    names.map(|name| folder.join(name)).into_iter().find(|path| path.is_file())
}

/// Extents and bytes of a file of `N` sizes.
struct Idx<const N: usize> {
    place: String,
    extents: [usize; N],
    /// The whole file; the values begin behind the sizes.
    bytes: Vec<u8>,
}

impl<const N: usize> Idx<N> {
    const HEADER: usize = 4 + 4 * N;

    fn read(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let bytes = contents(path)?;
        let header = bytes.get(..Self::HEADER).ok_or_else(|| {
            Error::data(&place, format!("{} bytes are too few for a header; fetch it again", bytes.len()))
        })?;
        if header[..4] != [0, 0, 8, N as u8] {
            let message = format!(
                "begins with {:02x?}, where idx files of bytes with {N} sizes begin with 00 00 08 {N:02x}; fetch it again",
                &header[..4]
            );
            return Err(Error::data(place, message));
        }
        let extents: [usize; N] = std::array::from_fn(|i| {
            header[4 + 4 * i..8 + 4 * i].iter().fold(0, |n, byte| n << 8 | usize::from(*byte))
        });
        let wanted = extents.iter().try_fold(1_usize, |n, e| n.checked_mul(*e));
        let found = bytes.len() - Self::HEADER;
        if wanted != Some(found) {
            let message =
                format!("sizes {extents:?} do not fit the {found} bytes behind them; fetch it again");
            return Err(Error::data(place, message));
        }
        Ok(Idx { place, extents, bytes })
    }
}

fn contents(path: &Path) -> Result<Vec<u8>> {
    fetched(path)?;
    let file = BufReader::new(crate::files::open(path).map_err(Error::io(path))?);
    let mut bytes = Vec::new();
    let read = match path.extension().is_some_and(|e| e == "gz") {
        true => GzDecoder::new(file).take(MOST_BYTES + 1).read_to_end(&mut bytes),
        false => file.take(MOST_BYTES + 1).read_to_end(&mut bytes),
    };
    let place = || path.display().to_string();
    read.map_err(|e| {
        Error::data(place(), format!("cannot be read ({e}); if it is damaged, fetch it again"))
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Error::data(
            place(),
            format!("more than {} MiB, which is no such set", MOST_BYTES >> 20),
        ));
    }
    Ok(bytes)
}

fn labels(path: &Path) -> Result<Vec<u8>> {
    Ok(Idx::<1>::read(path)?.bytes.split_off(Idx::<1>::HEADER))
}

/// Numbers up to the largest training label.
fn classes(labels: &[u8]) -> Vec<String> {
    let count = labels.iter().max().map_or(0, |l| usize::from(*l) + 1).min(MOST_CLASSES);
    (0..count).map(|class| class.to_string()).collect()
}

fn split(images: &Path, label_file: &Path, classes: &[String]) -> Result<Stored> {
    let (file, labels) = (Idx::<3>::read(images)?, labels(label_file)?);
    let [records, height, width] = file.extents;
    if records > MOST_RECORDS {
        return Err(Error::data(file.place, format!("{records} images, where {MOST_RECORDS} are the most")));
    }
    if records != labels.len() || records == 0 {
        let message = format!("{records} images, but {} labels in {}", labels.len(), label_file.display());
        return Err(Error::data(file.place, message));
    }
    if height.max(width) > MOST_SIDE || height.min(width) == 0 {
        return Err(Error::data(file.place, format!("images of {width}x{height} pixels: fetch it again")));
    }
    let form = Form { header: 0, height, width, pixels: Pixels::Grey };
    let offset = Idx::<3>::HEADER as u64;
    let place = file.place.clone();
    let part = Part { place: file.place, blob: Blob::Memory(file.bytes), offset, records };
    let images = Images::Random(Arc::new(Records::new(form, vec![part])));
    Stored::new(place, classes.to_vec(), labels.into_iter().map(i64::from), images)
}
