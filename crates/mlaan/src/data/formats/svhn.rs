//! SVHN's cropped digits: `train_32x32.mat` and `test_32x32.mat`, MATLAB files of version 5.
//!
//! `X` has the images, 32x32x3xN, the row fastest; `y` the labels, where 10 is the digit 0.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::super::Known;
use super::super::stored::{CHUNK, Content, Images, Raw, Scan, Stored};
use super::mat::{Mat, NumberType, Variable};
use super::{Format, Parts};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "SVHN, cropped (MATLAB)",
    layout: "a folder with SVHN's `train_32x32.mat` and `test_32x32.mat`",
    open,
};

const FILES: [&str; 2] = ["train_32x32.mat", "test_32x32.mat"];
/// Longest side; the published images have 32.
const MOST_SIDE: u64 = 512;
/// Most images of a file; the largest published one has 531,131.
const MOST_IMAGES: u64 = 10_000_000;

fn open(path: &Path) -> Result<Option<Parts>> {
    let [train, test] = FILES.map(|name| path.join(name));
    let missing = match (train.is_file(), test.is_file()) {
        (false, false) => return Ok(None),
        (true, true) => None,
        (true, false) => Some(FILES[1]),
        (false, true) => Some(FILES[0]),
    };
    if let Some(missing) = missing {
        let message = format!("`{missing}` is missing: the set is incomplete; get it too");
        return Err(Error::data(path.display().to_string(), message));
    }
    Ok(Some(Parts::new(stored(&train)?, stored(&test)?, Some(Known::Svhn))))
}

fn stored(path: &Path) -> Result<Stored> {
    let place = path.display().to_string();
    let mat = Mat::open(path)?;
    let (images, labels) = (mat.variable("X")?.clone(), mat.variable("y")?);
    let (height, width, count) = shape(&images).map_err(|message| Error::data(&place, message))?;
    if labels.len() != count {
        let message = format!("{} labels in `y`, but {count} images in `X`: get it again", labels.len());
        return Err(Error::data(&place, message));
    }
    // A label above 10 stays so, and is out of range as it should be.
    let labels = mat.whole_numbers(labels)?.into_iter().map(|label| if label == 10 { 0 } else { label });
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    let digits = Digits { place: place.clone(), mat, images, height, width };
    Stored::new(place, classes, labels, Images::Ordered(Arc::new(digits)))
}

/// Height, width and number of the images.
fn shape(images: &Variable) -> std::result::Result<(usize, usize, u64), String> {
    let is = |what: &str| format!("`X` {what}: SVHN's cropped images are whole bytes, 32x32x3xN");
    if images.kind != NumberType::Unsigned(1) {
        return Err(is("is not stored as bytes"));
    }
    // A last dimension of 1 is left out.
    let (height, width, channels, count) = match images.dims[..] {
        [h, w, c] => (h, w, c, 1),
        [h, w, c, n] => (h, w, c, n),
        _ => return Err(is(&format!("has the dimensions {:?}", images.dims))),
    };
    let sides = 1..=MOST_SIDE;
    if channels != 3 || !sides.contains(&height) || !sides.contains(&width) || count > MOST_IMAGES {
        return Err(is(&format!("has the dimensions {:?}", images.dims)));
    }
    Ok((height as usize, width as usize, count))
}

/// The images of a file.
struct Digits {
    place: String,
    mat: Mat,
    images: Variable,
    height: usize,
    width: usize,
}

impl Digits {
    /// From columns of planes to rows of RGB.
    fn rgb(&self, columns: &[u8]) -> Vec<u8> {
        let (h, w) = (self.height, self.width);
        let mut rgb = vec![0; columns.len()];
        for (at, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            let (row, column) = (at / w, at % w);
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = columns[(channel * w + column) * h + row];
            }
        }
        rgb
    }
}

impl Scan for Digits {
    fn name(&self, index: usize) -> String {
        format!("{}, image {index}", self.place)
    }

    fn scan(&self, indices: &[usize], each: &mut dyn FnMut(Vec<Raw>) -> Result<()>) -> Result<()> {
        let mut bytes = self.mat.bytes(&self.images)?;
        let (height, width) = (self.height, self.width);
        let mut columns = vec![0; height * width * 3];
        let mut next = 0;
        for chunk in indices.chunks(CHUNK) {
            let mut raws = Vec::with_capacity(chunk.len());
            for &index in chunk {
                while next <= index {
                    bytes.read_exact(&mut columns).map_err(|e| {
                        let message = format!("the file is damaged here ({e}): get it again");
                        Error::data(Scan::name(self, next), message)
                    })?;
                    next += 1;
                }
                let content = Ok(Content::Rgb { height, width });
                raws.push(Raw { index, content, bytes: self.rgb(&columns) });
            }
            each(raws)?;
        }
        Ok(())
    }
}
