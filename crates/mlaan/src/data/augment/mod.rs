//! How an image of the set becomes an image of the batch: crops, flips, resizing.

use serde::{Deserialize, Serialize};

use mlaan_engine::ops::{Border, Padding, draw};

use super::resize::{Region, Workspace, resize_mirrored};
use super::{Frame, ImageView};
use crate::rng::{RandomStream, Rng};
use crate::{Error, Result};

/// What padding puts around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// The mirrored image, without repeating the edge (PyTorch's `reflect`).
    Reflect,
    /// Byte 0, before normalisation.
    Zero,
}

impl From<PadMode> for Border {
    fn from(mode: PadMode) -> Self {
        match mode {
            PadMode::Reflect => Border::Reflect,
            PadMode::Zero => Border::Zero,
        }
    }
}

/// Random changes of a training image. The output is always `size x size`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Augment {
    /// None: what evaluation sees.
    None,
    /// Pad every side, then crop at a random place. Images of another size are first fitted as for
    /// evaluation.
    PadCrop {
        /// Pixels added to every side, below the image size.
        pad: usize,
        /// What is added.
        mode: PadMode,
        /// Whether half of the images are mirrored left to right.
        flip: bool,
    },
    /// A random part of the image, resized (torchvision's `RandomResizedCrop`, bilinear, averaging
    /// when it shrinks).
    RandomResizedCrop {
        /// Smallest and largest share of the image's area.
        scale: [f64; 2],
        /// Smallest and largest width over height.
        ratio: [f64; 2],
        /// Whether half of the images are mirrored left to right.
        flip: bool,
    },
}

/// Which part of a padded image is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// Rows above it in the padded image, and columns left of it.
    corner: [usize; 2],
    /// Whether it is mirrored left to right.
    flip: bool,
}

impl Part {
    fn draw(pad: usize, flip: bool, rng: &mut Rng) -> Self {
        let corner = [0; 2].map(|_| rng.below(2 * pad + 1));
        Part { corner, flip: flip && rng.uniform() < 0.5 }
    }
}

/// Work space of [`Augment::apply`], reused between images.
#[derive(Debug, Default)]
pub struct Scratch {
    fitted: Vec<u8>,
    resized: Vec<u8>,
    resize: Workspace,
}

impl Augment {
    /// Names that [`Augment::preset`] knows.
    pub const PRESETS: [&str; 5] = ["cifar", "svhn", "stl10", "imagenet", "none"];

    /// The augmentation the MLAAN experiments use for a data set.
    pub fn preset(name: &str) -> Option<Self> {
        let pad_crop = |pad, mode, flip| Some(Augment::PadCrop { pad, mode, flip });
        match name {
            "cifar" => pad_crop(4, PadMode::Reflect, true),
            "svhn" => pad_crop(2, PadMode::Zero, false),
            "stl10" => pad_crop(4, PadMode::Zero, true),
            "imagenet" => Some(Augment::RandomResizedCrop {
                scale: [0.08, 1.0],
                ratio: [3.0 / 4.0, 4.0 / 3.0],
                flip: true,
            }),
            "none" => Some(Augment::None),
            _ => None,
        }
    }

    /// Checks the parameters for images of `size x size`.
    ///
    /// # Errors
    /// A [`Error::Recipe`] under the key `data.augment` that says which value is impossible.
    pub fn validate(&self, size: usize) -> Result<()> {
        let refuse = |message: String| Err(Error::recipe("data.augment", message));
        let ordered = |[low, high]: [f64; 2]| low > 0.0 && low <= high && high.is_finite();
        match *self {
            _ if size == 0 => refuse("images need at least one pixel, found size 0".into()),
            Augment::PadCrop { pad, .. } if pad >= size => {
                refuse(format!("pad is {pad}, but must be below the image size {size}"))
            }
            Augment::RandomResizedCrop { scale, .. } if !ordered(scale) || scale[1] > 1.0 => {
                refuse(format!("scale is {scale:?}, but must be two ascending shares in (0, 1]"))
            }
            Augment::RandomResizedCrop { ratio, .. } if !ordered(ratio) => {
                refuse(format!("ratio is {ratio:?}, but must be two ascending positive numbers"))
            }
            _ => Ok(()),
        }
    }

    /// The border of an augmentation that shows parts of padded images and does nothing else; none for others.
    pub fn padding(&self) -> Option<Padding> {
        match *self {
            Augment::None => Some(Padding::NONE),
            Augment::PadCrop { pad, mode, .. } => Some(Padding { pixels: pad, border: mode.into() }),
            Augment::RandomResizedCrop { .. } => None,
        }
    }

    /// The part of the padded image ([`Augment::padding`]) that [`Augment::apply`] shows for the same draw, as a device
    /// that has the set takes it: columns of [`draw`]. Indices fit into 32 bits.
    pub fn draw(&self, (seed, epoch, index): (u64, usize, usize)) -> [u32; draw::COLUMNS] {
        let part = match *self {
            Augment::PadCrop { pad, flip, .. } => Part::draw(pad, flip, &mut rng(seed, epoch, index)),
            _ => Part { corner: [0; 2], flip: false },
        };
        let mut row = [0; draw::COLUMNS];
        row[draw::INDEX] = index as u32;
        (row[draw::TOP], row[draw::LEFT]) = (part.corner[0] as u32, part.corner[1] as u32);
        row[draw::FLIP] = part.flip.into();
        row
    }

    /// Writes `image` as RGB bytes of the frame's size into `out`, changed by what `(seed, epoch, index)` draws.
    /// `out` holds `size * size * 3` bytes and `image` has at least one pixel, else nothing is written.
    pub fn apply(
        &self,
        image: ImageView<'_>,
        frame: Frame,
        (seed, epoch, index): (u64, usize, usize),
        out: &mut [u8],
        scratch: &mut Scratch,
    ) {
        if image.rgb.is_empty() || out.is_empty() || out.len() != frame.bytes() {
            return;
        }
        let size = frame.size;
        let mut rng = rng(seed, epoch, index);
        let flip = match *self {
            Augment::None => {
                frame.cut(image, out, &mut scratch.resized, &mut scratch.resize);
                false
            }
            Augment::PadCrop { pad, mode, flip } => {
                let part = Part::draw(pad, flip, &mut rng);
                let shift = part.corner.map(|at| at as isize - pad as isize);
                pad_crop(image, frame, shift, mode, out, scratch);
                part.flip
            }
            Augment::RandomResizedCrop { scale, ratio, flip } => {
                let region = random_region(image, scale, ratio, &mut rng);
                let flip = flip && rng.uniform() < 0.5;
                resize_mirrored(image, region, (size, size), flip, out, &mut scratch.resize);
                false
            }
        };
        if flip {
            mirror(out, size);
        }
    }
}

fn rng(seed: u64, epoch: usize, index: usize) -> Rng {
    Rng::new(seed, RandomStream::Augment, epoch as u64, index as u64)
}

/// The image moved by `shift` (rows, columns), with what `mode` puts beyond its edges: the same as
/// padding and then cropping.
fn pad_crop(
    image: ImageView<'_>,
    frame: Frame,
    [down, across]: [isize; 2],
    mode: PadMode,
    out: &mut [u8],
    scratch: &mut Scratch,
) {
    let Scratch { fitted, resized, resize } = scratch;
    let size = frame.size;
    let source = if frame.is_shape_of(image) {
        image.rgb
    } else {
        fitted.resize(frame.bytes(), 0);
        frame.cut(image, fitted, resized, resize);
        fitted
    };
    for (y, row) in out.chunks_exact_mut(size * 3).enumerate() {
        let Some(line) = beyond(y as isize + down, size, mode) else {
            row.fill(0);
            continue;
        };
        let line = &source[line * size * 3..(line + 1) * size * 3];
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            match beyond(x as isize + across, size, mode) {
                Some(x) => pixel.copy_from_slice(&line[x * 3..x * 3 + 3]),
                None => pixel.fill(0),
            }
        }
    }
}

/// The pixel that position `at` shows, if any: positions from `-(size - 1)` to `2 * (size - 1)` mirror.
fn beyond(at: isize, size: usize, mode: PadMode) -> Option<usize> {
    let last = size as isize - 1;
    match mode {
        _ if (0..=last).contains(&at) => Some(at as usize),
        PadMode::Zero => None,
        PadMode::Reflect if at < 0 => Some((-at).min(last) as usize),
        PadMode::Reflect => Some((2 * last - at).max(0) as usize),
    }
}

/// torchvision's `RandomResizedCrop.get_params`: ten tries for an area and an aspect that fit, then the
/// largest central part within the aspects.
fn random_region(image: ImageView<'_>, scale: [f64; 2], ratio: [f64; 2], rng: &mut Rng) -> Region {
    let (height, width) = (image.height, image.width);
    for _ in 0..10 {
        let area = (height * width) as f64 * rng.range(scale[0], scale[1]);
        let aspect = rng.range(ratio[0].ln(), ratio[1].ln()).exp();
        let w = (area * aspect).sqrt().round_ties_even() as usize;
        let h = (area / aspect).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            return Region {
                top: rng.below(height - h + 1),
                left: rng.below(width - w + 1),
                height: h,
                width: w,
            };
        }
    }
    let aspect = width as f64 / height as f64;
    let round = |v: f64, most: usize| (v.round_ties_even() as usize).clamp(1, most);
    let (h, w) = if aspect < ratio[0] {
        (round(width as f64 / ratio[0], height), width)
    } else if aspect > ratio[1] {
        (height, round(height as f64 * ratio[1], width))
    } else {
        (height, width)
    };
    Region { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
}

/// Left to right.
fn mirror(rgb: &mut [u8], size: usize) {
    for row in rgb.chunks_exact_mut(size * 3) {
        for x in 0..size / 2 {
            let (left, right) = row.split_at_mut((size - 1 - x) * 3);
            left[x * 3..x * 3 + 3].swap_with_slice(&mut right[..3]);
        }
    }
}

#[cfg(test)]
mod tests;
