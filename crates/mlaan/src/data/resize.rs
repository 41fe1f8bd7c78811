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

#[inline(always)]
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
    size: (usize, usize),
    out: &mut [u8],
    work: &mut Workspace,
) {
    resize_mirrored(image, region, size, false, out, work);
}

/// As [`resize`], mirrored left to right if `mirrored`.
pub(super) fn resize_mirrored(
    image: ImageView<'_>,
    region: Region,
    (height, width): (usize, usize),
    mirrored: bool,
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
    if mirrored {
        work.across.spans.reverse();
    }
    work.down.fill(region.top, region.height, height);
    let (top, bottom) = work.down.source();
    // A pixel is written as four bytes, of which the last belongs to the next one.
    work.rows.resize((bottom - top) * width * 3 + 1, 0);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { avx2::both_passes(image, (top, bottom), out, work) };
    }
    both_passes(image, (top, bottom), out, work, weighted);
}

/// Lines `top..bottom` of the image to the new width, then these to the new height; `weighted` makes one pixel.
#[inline(always)]
fn both_passes(
    image: ImageView<'_>,
    (top, bottom): (usize, usize),
    out: &mut [u8],
    work: &mut Workspace,
    weighted: impl Fn(&[u8], &[i32]) -> [u8; 4],
) {
    let Workspace { across, down, rows } = work;
    let (line, row) = (image.width * 3, across.spans.len() * 3);
    for y in top..bottom {
        // One byte beyond the line, where there is one.
        let source = &image.rgb[y * line..((y + 1) * line + 1).min(image.rgb.len())];
        shrink_row(source, &mut rows[(y - top) * row..(y - top + 1) * row + 1], across, &weighted);
    }
    for (out, &(first, count, weight)) in out.chunks_exact_mut(row).zip(&down.spans) {
        let rows = &rows[(first - top) * row..(first - top + count) * row];
        join_rows(rows, &down.values[weight..weight + count], out);
    }
}

/// One line to a new width: `row` has one byte more than its pixels.
#[inline(always)]
fn shrink_row(line: &[u8], row: &mut [u8], weights: &Weights, weighted: &impl Fn(&[u8], &[i32]) -> [u8; 4]) {
    for (x, &(first, count, weight)) in weights.spans.iter().enumerate() {
        let pixel = weighted(&line[first * 3..], &weights.values[weight..weight + count]);
        row[x * 3..x * 3 + 4].copy_from_slice(&pixel);
    }
}

/// The weighted sum of the pixels that `source` begins with; the fourth byte has no meaning.
#[inline(always)]
fn weighted(source: &[u8], weights: &[i32]) -> [u8; 4] {
    let mut sum = [HALF; 3];
    for (v, &w) in source.chunks_exact(3).zip(weights) {
        for k in 0..3 {
            sum[k] += w * i32::from(v[k]);
        }
    }
    [byte(sum[0]), byte(sum[1]), byte(sum[2]), 0]
}

/// The same for processors with AVX2, to the bit.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BITS, HALF, ImageView, Workspace};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub(super) fn both_passes(
        image: ImageView<'_>,
        lines: (usize, usize),
        out: &mut [u8],
        work: &mut Workspace,
    ) {
        // What is inlined into a function is compiled for what the function may use.
        super::both_passes(image, lines, out, work, |source, weights| weighted(source, weights));
    }

    /// As [`super::weighted`], all channels of a pixel at once.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn weighted(source: &[u8], weights: &[i32]) -> [u8; 4] {
        let mut sum = _mm_set1_epi32(HALF);
        for (p, &w) in weights.iter().enumerate() {
            // The last pixel of the image has no byte behind it.
            let source = &source[3 * p..];
            let four = source.first_chunk().copied().unwrap_or_else(|| [source[0], source[1], source[2], 0]);
            let pixel = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(i32::from_le_bytes(four)));
            sum = _mm_add_epi32(sum, _mm_mullo_epi32(pixel, _mm_set1_epi32(w)));
        }
        let whole = _mm_srai_epi32::<{ BITS as i32 }>(sum);
        let short = _mm_packs_epi32(whole, whole);
        _mm_cvtsi128_si32(_mm_packus_epi16(short, short)).to_le_bytes()
    }
}

/// The weighted sum of rows, as long as `out` each.
#[inline(always)]
fn join_rows(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    let length = out.len();
    let mut parts = out.chunks_exact_mut(LANES);
    let mut at = 0;
    for part in &mut parts {
        let mut sum = [HALF; LANES];
        for (row, &w) in rows.chunks_exact(length).zip(weights) {
            for (sum, &v) in sum.iter_mut().zip(&row[at..at + LANES]) {
                *sum += w * i32::from(v);
            }
        }
        part.iter_mut().zip(sum).for_each(|(v, sum)| *v = byte(sum));
        at += LANES;
    }
    for v in parts.into_remainder() {
        let weighted = rows.chunks_exact(length).zip(weights).map(|(row, &w)| w * i32::from(row[at]));
        *v = byte(HALF + weighted.sum::<i32>());
        at += 1;
    }
}

/// Values of a row that are summed at a time.
const LANES: usize = 32;

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
    fn every_processor_gives_the_same_bytes_also_mirrored() {
        let (h, w) = (41, 57);
        let rgb: Vec<u8> = (0..h * w * 3).map(|i| (i * i % 251) as u8).collect();
        let image = ImageView { height: h, width: w, rgb: &rgb };
        for (region, size) in [
            (Region { top: 3, left: 5, height: 30, width: 52 }, (64, 70)),
            (Region::all(image), (20, 19)),
            (Region { top: 40, left: 56, height: 1, width: 1 }, (9, 11)),
            (Region { top: 0, left: 0, height: 41, width: 2 }, (1, 1)),
        ] {
            let (mut work, mut out) = (Workspace::default(), vec![0; size.0 * size.1 * 3]);
            resize(image, region, size, &mut out, &mut work);
            let (mut plain, lines) = (vec![0; out.len()], work.down.source());
            both_passes(image, lines, &mut plain, &mut work, weighted);
            assert!(out == plain, "{region:?} to {size:?}");
            resize_mirrored(image, region, size, true, &mut plain, &mut work);
            for (row, mirrored) in out.chunks_exact(size.1 * 3).zip(plain.chunks_exact(size.1 * 3)) {
                assert!(row.chunks_exact(3).eq(mirrored.chunks_exact(3).rev()), "{region:?} to {size:?}");
            }
        }
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let same = resized(None, 9, 13);
        assert_eq!((same[0], same[3], same[13 * 3]), (0, 37, 91));
    }
}
