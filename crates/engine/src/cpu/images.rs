//! Images from bytes, normalised.

use super::Cpu;
use super::parallel::Shared;
use super::update::ranges;
use crate::backend::Scratch;
use crate::ops::{Border, ImagesFromBytes, ImagesFromSet, Kernel, Padding, PixelScale, draw};

impl Kernel<ImagesFromBytes<'_>> for Cpu {
    fn launch(&self, op: ImagesFromBytes<'_>, (): &mut (), _: Scratch<'_>) {
        let (bytes, images) = (op.bytes.host(), op.images.host_mut());
        self.run(|| from_bytes(bytes, op.scale, images));
    }
}

impl Kernel<ImagesFromSet<'_>> for Cpu {
    fn launch(&self, op: ImagesFromSet<'_>, (): &mut (), _: Scratch<'_>) {
        let ([_, h, w, _], set, draws) = (op.images.nhwc(), op.set.host(), op.draws.host());
        let images = op.images.host_mut();
        self.run(|| from_set(set, draws, (h, w), op.padding, op.scale, images));
    }
}

/// What makes a value of a byte, per channel.
struct Levels {
    factor: [f32; 3],
    offset: [f32; 3],
}

impl Levels {
    fn new(scale: PixelScale) -> Self {
        let (factor, offset) = scale.of_bytes();
        Levels { factor, offset }
    }

    fn write(&self, out: &mut [f32], rgb: &[u8]) {
        for c in 0..3 {
            out[c] = f32::from(rgb[c]) * self.factor[c] + self.offset[c];
        }
    }
}

fn from_bytes(bytes: &[u8], scale: PixelScale, images: &mut [f32]) {
    let (levels, shared) = (Levels::new(scale), Shared::new(images));
    ranges(bytes.len(), 3, |r| {
        // SAFETY: ranges are disjoint.
        let images = unsafe { shared.part(r.clone()) };
        for (out, rgb) in images.chunks_exact_mut(3).zip(bytes[r].chunks_exact(3)) {
            levels.write(out, rgb);
        }
    });
}

/// Parts of padded images of `set` `[.., h, w, 3]`, as `draws` `[.., 4]` say.
fn from_set(
    set: &[u8],
    draws: &[u32],
    (h, w): (usize, usize),
    padding: Padding,
    scale: PixelScale,
    images: &mut [f32],
) {
    let (levels, row, last) = (Levels::new(scale), w * 3, (set.len() / (h * w * 3)).saturating_sub(1));
    let (len, shared) = (images.len(), Shared::new(images));
    ranges(len, row, |r| {
        // SAFETY: ranges are disjoint.
        let images = unsafe { shared.part(r.clone()) };
        for (line, out) in (r.start / row..).zip(images.chunks_exact_mut(row)) {
            let own = &draws[line / h * draw::COLUMNS..][..draw::COLUMNS];
            let [index, top, left] = [draw::INDEX, draw::TOP, draw::LEFT].map(|k| own[k] as usize);
            let y = inside(line % h + top.min(2 * padding.pixels), h, padding);
            // Numbers from outside lead nowhere but into the set.
            let source = y.map(|y| &set[(index.min(last) * h + y) * row..][..row]);
            for (x, out) in out.chunks_exact_mut(3).enumerate() {
                let x = if own[draw::FLIP] == 0 { x } else { w - 1 - x };
                let x = inside(x + left.min(2 * padding.pixels), w, padding);
                let rgb = source.zip(x).map_or(&[0; 3][..], |(line, x)| &line[3 * x..3 * x + 3]);
                levels.write(out, rgb);
            }
        }
    });
}

/// What position `at` of a padded size shows, if anything.
fn inside(at: usize, extent: usize, Padding { pixels, border }: Padding) -> Option<usize> {
    match at.checked_sub(pixels) {
        Some(at) if at < extent => Some(at),
        _ if border == Border::Zero => None,
        None => Some((pixels - at).min(extent - 1)),
        Some(at) => Some((2 * (extent - 1)).saturating_sub(at)),
    }
}
