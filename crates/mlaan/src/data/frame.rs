//! The square that a network sees of an image when nothing is random.

use super::ImageView;
use super::decode::sides;
use super::resize::{Region, Workspace, resize};

/// How an image of any size becomes one of `size x size`: an image that has this size is taken as it is, of others the
/// shorter side is resized to `short_side` and the centre is cut out (torchvision's `Resize` and `CenterCrop`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Height and width of the result.
    pub size: usize,
    /// The shorter side before the centre is cut out; at least `size`, less counts as `size`.
    pub short_side: usize,
}

impl Frame {
    /// With the short side that is usual: 256 pixels for images of 224.
    pub fn usual(size: usize) -> Self {
        Frame { size, short_side: size.saturating_mul(256) / 224 }
    }

    /// With a short side of one's own, or the usual one.
    pub fn new(size: usize, short_side: Option<usize>) -> Self {
        short_side.map_or(Self::usual(size), |short_side| Frame { size, short_side })
    }

    /// Bytes of the result.
    pub(super) fn bytes(&self) -> usize {
        self.size * self.size * 3
    }

    /// Whether an image is taken as it is.
    pub(super) fn is_shape_of(&self, image: ImageView<'_>) -> bool {
        (image.height, image.width) == (self.size, self.size)
    }

    /// Writes what is seen of an image that has pixels into `out`, which holds [`Frame::bytes`]; `resized` and `work` are
    /// work space.
    pub(super) fn cut(
        &self,
        image: ImageView<'_>,
        out: &mut [u8],
        resized: &mut Vec<u8>,
        work: &mut Workspace,
    ) {
        if self.is_shape_of(image) {
            out.copy_from_slice(image.rgb);
            return;
        }
        let size = self.size;
        let (height, width) = sides(image.height, image.width, self.short_side.max(size));
        resized.resize(height * width * 3, 0);
        resize(image, Region::all(image), (height, width), resized, work);
        // Half-way cases go to the even pixel, as torchvision's `CenterCrop` (Python's `round`) has it.
        let middle = |side: usize| ((side - size) as f64 / 2.0).round_ties_even() as usize;
        let (top, left) = (middle(height), middle(width));
        let lines = resized.chunks_exact(width * 3).skip(top);
        for (line, row) in lines.zip(out.chunks_exact_mut(size * 3)) {
            row.copy_from_slice(&line[left * 3..(left + size) * 3]);
        }
    }

    /// What is seen of an image, as `size x size` RGB bytes; black where the image has no pixels.
    pub fn of(&self, image: ImageView<'_>) -> Vec<u8> {
        let mut out = vec![0; self.bytes()];
        if !image.rgb.is_empty() && !out.is_empty() {
            self.cut(image, &mut out, &mut Vec::new(), &mut Workspace::default());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a over the bytes.
    fn sum(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |f, b| (f ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
    }

    #[test]
    fn any_short_side_is_torchvision_s_resize_and_center_crop() {
        // T.Compose([T.Resize(short_side), T.CenterCrop(size)]) of the same images, torchvision 0.29 on Pillow: smaller and
        // larger than the image, wide and tall, half-way offsets, no resizing at all.
        for ((height, width), size, short_side, expected) in [
            ((23, 31), 8, 8, 0x266c_0b73_433a_b38a),
            ((23, 31), 8, 15, 0x51ee_063d_8003_97ad),
            ((31, 23), 8, 20, 0x8615_4999_2b7f_f2af),
            ((12, 17), 8, 25, 0xf5c1_e150_2117_b39e),
            ((9, 8), 8, 11, 0xa893_572e_dd04_4b26),
        ] {
            let value = |i: usize| {
                let (y, x, k) = (i / (width * 3), i / 3 % width, i % 3);
                ((x * 37 + y * 91 + k * 53 + x * y * 7) % 256) as u8
            };
            let rgb: Vec<u8> = (0..height * width * 3).map(value).collect();
            let seen = Frame::new(size, Some(short_side)).of(ImageView { height, width, rgb: &rgb });
            assert_eq!(sum(&seen), expected, "{width}x{height}: {size} of {short_side}");
        }
    }

    #[test]
    fn the_usual_short_side_is_used_unless_one_is_set() {
        assert_eq!(Frame::new(224, None), Frame { size: 224, short_side: 256 });
        assert_eq!(Frame::new(224, Some(224)), Frame { size: 224, short_side: 224 });
        // Too short a side is no reason to fail here.
        let (low, least) = (Frame { size: 4, short_side: 1 }, Frame { size: 4, short_side: 4 });
        let image = ImageView { height: 6, width: 9, rgb: &[7; 162] };
        assert_eq!(low.of(image), least.of(image));
        assert!(Frame::usual(3).of(ImageView { height: 0, width: 0, rgb: &[] }).iter().all(|b| *b == 0));
    }
}
