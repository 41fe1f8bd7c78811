//! Bilinear resizing that averages when it shrinks, as Pillow and torchvision do.
//!
//! The same arithmetic as Pillow's `crop(...).resize(..., BILINEAR)`: two passes, 22-bit weights, bytes in
//! between, so that images equal those a PyTorch pipeline feeds, byte for byte.

use super::ImageView;

/// Fractional bits of a weight, as in Pillow (32 less the 8 of a byte and 2 of headroom).
const BITS: u32 = 22;

/// A rectangle within an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Rows above it.
    pub top: usize,
    /// Columns to its left.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}

impl Region {
    /// The whole image.
    pub fn all(image: ImageView<'_>) -> Self {
        Region { top: 0, left: 0, height: image.height, width: image.width }
    }
}

/// Work space of [`resize`], reused between calls.
#[derive(Debug, Default)]
pub struct Workspace {
    across: Weights,
    down: Weights,
    rows: Vec<u8>,
    sums: Vec<i32>,
}

/// Weights of the source pixels of every output pixel along one axis.
#[derive(Debug, Default)]
struct Weights {
    /// First source pixel, number of source pixels, first weight.
    spans: Vec<(usize, usize, usize)>,
    values: Vec<i32>,
    exact: Vec<f64>,
}

impl Weights {
    /// For `out` pixels from the `length` source pixels after `start`.
    fn fill(&mut self, start: usize, length: usize, out: usize) {
        self.spans.clear();
        self.values.clear();
        let scale = length as f64 / out as f64;
        let support = scale.max(1.0);
        for i in 0..out {
            let centre = (i as f64 + 0.5) * scale;
            // A cast to usize turns what is below 0 into 0.
            let first = ((centre - support + 0.5) as usize).min(length - 1);
            let last = ((centre + support + 0.5) as usize).clamp(first + 1, length);
            self.exact.clear();
            self.exact.extend((first..last).map(|p| {
                let t = (p as f64 - centre + 0.5) / support;
                (1.0 - t.abs()).max(0.0)
            }));
            let total: f64 = self.exact.iter().sum();
            self.spans.push((start + first, last - first, self.values.len()));
            let one = f64::from(1u32 << BITS) / if total > 0.0 { total } else { 1.0 };
            self.values.extend(self.exact.iter().map(|w| (w * one + 0.5) as i32));
        }
    }

    /// The source pixels used, as a half-open range.
    fn source(&self) -> (usize, usize) {
        let first = self.spans.first().map_or(0, |s| s.0);
        let last = self.spans.last().map_or(0, |s| s.0 + s.1);
        (first, last)
    }
}

/// Half a unit, so that dropping the fraction rounds.
const HALF: i32 = 1 << (BITS - 1);

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// Cuts `region` out of `image` and resizes it to `size` (height, width) into `out`
/// (`height * width * 3` bytes).
///
/// A region without pixels or not within the image, or an `out` of another length, leaves `out` as it is.
pub fn resize(
    image: ImageView<'_>,
    region: Region,
    (height, width): (usize, usize),
    out: &mut [u8],
    work: &mut Workspace,
) {
    let within = |start: usize, length: usize, all: usize| {
        length > 0 && start.checked_add(length).is_some_and(|end| end <= all)
    };
    let fits = within(region.top, region.height, image.height)
        && within(region.left, region.width, image.width)
        && image.height * image.width * 3 == image.rgb.len();
    if !fits || out.is_empty() || out.len() != height * width * 3 {
        return;
    }
    work.across.fill(region.left, region.width, width);
    work.down.fill(region.top, region.height, height);
    let (top, bottom) = work.down.source();
    work.rows.resize((bottom - top) * width * 3, 0);
    let source = image.rgb.chunks_exact(image.width * 3).skip(top);
    for (line, row) in source.zip(work.rows.chunks_exact_mut(width * 3)) {
        shrink_row(line, row, &work.across);
    }
    work.sums.resize(width * 3, 0);
    for (row, &(first, count, weight)) in out.chunks_exact_mut(width * 3).zip(&work.down.spans) {
        work.sums.fill(HALF);
        let lines = work.rows.chunks_exact(width * 3).skip(first - top);
        for (line, &w) in lines.zip(&work.down.values[weight..weight + count]) {
            for (sum, &v) in work.sums.iter_mut().zip(line) {
                *sum += w * i32::from(v);
            }
        }
        for (v, &sum) in row.iter_mut().zip(&work.sums) {
            *v = byte(sum);
        }
    }
}

fn shrink_row(line: &[u8], row: &mut [u8], weights: &Weights) {
    for (pixel, &(first, count, weight)) in row.chunks_exact_mut(3).zip(&weights.spans) {
        let source = line[first * 3..(first + count) * 3].chunks_exact(3);
        let mut sum = [HALF; 3];
        for (v, &w) in source.zip(&weights.values[weight..weight + count]) {
            for k in 0..3 {
                sum[k] += w * i32::from(v[k]);
            }
        }
        for k in 0..3 {
            pixel[k] = byte(sum[k]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(region: Option<Region>, height: usize, width: usize) -> Vec<u8> {
        let (h, w) = (9usize, 13usize);
        let value = |i: usize| {
            let (y, x, k) = (i / (w * 3), i / 3 % w, i % 3);
            ((x * 37 + y * 91 + k * 53 + x * y * 7) % 256) as u8
        };
        let rgb: Vec<u8> = (0..h * w * 3).map(value).collect();
        let image = ImageView { height: h, width: w, rgb: &rgb };
        let mut out = vec![0; height * width * 3];
        let region = region.unwrap_or(Region::all(image));
        // A work space that was used before must not change the result.
        let mut work = Workspace::default();
        resize(image, Region::all(image), (30, 30), &mut vec![0; 2700], &mut work);
        resize(image, region, (height, width), &mut out, &mut work);
        out
    }

    #[test]
    fn results_equal_pillows_byte_for_byte() {
        // PIL's image.crop(...).resize(size, BILINEAR) of the same image, Pillow 13.
        let shrunk = [
            116, 132, 141, 125, 133, 138, 121, 128, 134, 122, 138, 128, 124, 141, 123, 143, 135, 123, 130,
            133, 119, 138, 127, 132, 125, 117, 142, 130, 121, 129, 126, 126, 125, 131, 104, 144,
        ];
        assert_eq!(resized(None, 3, 4), shrunk);
        let grown = [
            130, 183, 236, 156, 209, 134, 181, 234, 31, 160, 149, 202, 155, 176, 133, 149, 202, 63, 219, 80,
            133, 152, 109, 130, 84, 137, 126, 249, 46, 99, 150, 75, 128, 51, 104, 157,
        ];
        let region = |left, top, right: usize, bottom: usize| Region {
            top,
            left,
            height: bottom - top,
            width: right - left,
        };
        assert_eq!(resized(Some(region(4, 2, 6, 4)), 4, 3), grown);
        let cut = [128, 133, 139, 131, 132, 131, 122, 130, 133, 126, 131, 124, 139, 129, 124, 132, 125, 116];
        assert_eq!(resized(Some(region(1, 0, 11, 8)), 2, 3), cut);
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let same = resized(None, 9, 13);
        assert_eq!((same[0], same[3], same[13 * 3]), (0, 37, 91));
    }
}
