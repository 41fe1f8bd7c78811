//! Images from bytes.

use super::Cuda;
use super::args::{extent, flag};
use super::geometry::Geometry;
use super::program::{Program, entry};
use crate::backend::Scratch;
use crate::ops::{Border, ImagesFromBytes, ImagesFromSet, Kernel, PixelScale};

pub(super) static IMAGES: Program = Program {
    name: "images.cu",
    source: include_str!("kernels/images.cu"),
    defines: &[],
    entries: &[entry::<FromBytes>("images_from_bytes"), entry::<FromSet>("images_from_set")],
    shared: 0,
};

const THREADS: u32 = 256;

/// Pixels of a thread, or values.
const EACH: usize = 4;

/// `struct Levels` of `kernels/images.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Levels {
    factor: [f32; 3],
    offset: [f32; 3],
}

impl From<PixelScale> for Levels {
    fn from(scale: PixelScale) -> Self {
        let (factor, offset) = scale.of_bytes();
        Levels { factor, offset }
    }
}

/// `struct FromBytes` of `kernels/images.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct FromBytes {
    bytes: u64,
    images: u64,
    pixels: u64,
    levels: Levels,
}

/// `struct FromSet` of `kernels/images.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct FromSet {
    set: u64,
    draws: u64,
    images: u64,
    count: u64,
    height: u32,
    width: u32,
    pad: u32,
    reflect: u32,
    blocks: u32,
    unused: u32,
    levels: Levels,
}

fn blocks(work: usize) -> usize {
    work.div_ceil(EACH * THREADS as usize)
}

fn geometry(blocks: usize) -> Geometry {
    Geometry { grid: [extent(blocks), 1, 1], threads: THREADS, shared: 0 }
}

impl Kernel<ImagesFromBytes<'_>> for Cuda {
    fn launch(&self, op: ImagesFromBytes<'_>, (): &mut (), _: Scratch<'_>) {
        let (ImagesFromBytes { bytes, scale, images }, driver) = (op, self.driver());
        let pixels = bytes.len() / 3;
        let args = FromBytes {
            bytes: bytes.device_address(),
            images: images.device_address(),
            pixels: pixels as u64,
            levels: scale.into(),
        };
        driver.launch(&IMAGES, "images_from_bytes", geometry(blocks(pixels)), &args);
    }
}

impl Kernel<ImagesFromSet<'_>> for Cuda {
    fn launch(&self, op: ImagesFromSet<'_>, (): &mut (), _: Scratch<'_>) {
        let (ImagesFromSet { set, draws, padding, scale, images }, driver) = (op, self.driver());
        let ([n, height, width, _], each) = (images.nhwc(), blocks(images.len() / images.nhwc()[0].max(1)));
        let args = FromSet {
            set: set.device_address(),
            draws: draws.device_address(),
            images: images.device_address(),
            count: set.nhwc()[0] as u64,
            height: extent(height),
            width: extent(width),
            pad: extent(padding.pixels),
            reflect: flag(padding.border == Border::Reflect),
            blocks: extent(each),
            unused: 0,
            levels: scale.into(),
        };
        driver.launch(&IMAGES, "images_from_set", geometry(n * each), &args);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_images() {
        assert_eq!([1, 1024, 1025, 3072].map(blocks), [1, 1, 2, 3]);
        assert_eq!(geometry(1 << 20).grid, [1 << 20, 1, 1]);
    }
}
