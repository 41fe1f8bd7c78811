//! Values in and out of tensors, copies and sums.

use super::Cuda;
use super::args::{extent, kind};
use super::geometry::Geometry;
use super::table::{PIECE, THREADS};
use super::update::{Flat, UPDATE};
use crate::backend::Scratch;
use crate::ops::{AddAssign, CopyTensor, Download, DownloadBytes, Fill, Kernel, Upload, UploadBytes};
use crate::{Bf16, DType, Element};

fn flat(length: usize) -> Geometry {
    Geometry { grid: [extent(length.div_ceil(PIECE)), 1, 1], threads: THREADS, shared: 0 }
}

impl Kernel<AddAssign<'_>> for Cuda {
    fn launch(&self, AddAssign { target, source }: AddAssign<'_>, (): &mut (), _: Scratch<'_>) {
        let args = Flat {
            target: target.device_address(),
            source: source.device_address(),
            length: source.len() as u64,
            kind: kind(source.dtype()),
            value: 0.0,
        };
        self.driver().launch(&UPDATE, "add", flat(source.len()), &args);
    }
}

impl Kernel<Fill<'_>> for Cuda {
    fn launch(&self, Fill { tensor, value }: Fill<'_>, (): &mut (), _: Scratch<'_>) {
        let (target, length) = (tensor.device_address(), tensor.len());
        let args = Flat { target, source: 0, length: length as u64, kind: kind(tensor.dtype()), value };
        self.driver().launch(&UPDATE, "fill", flat(length), &args);
    }
}

impl Kernel<CopyTensor<'_>> for Cuda {
    fn launch(&self, CopyTensor { target, source }: CopyTensor<'_>, (): &mut (), _: Scratch<'_>) {
        let bytes = source.len() * source.dtype().bytes();
        self.driver().copy(target.device_address(), source.device_address(), bytes);
    }
}

impl<T: Element> Kernel<Upload<'_, T>> for Cuda {
    fn launch(&self, Upload { tensor, values }: Upload<'_, T>, (): &mut (), _: Scratch<'_>) {
        self.driver().upload(tensor.device_address(), bytemuck::cast_slice(values));
    }
}

impl Kernel<UploadBytes<'_>> for Cuda {
    fn launch(&self, UploadBytes { tensor, bytes }: UploadBytes<'_>, (): &mut (), _: Scratch<'_>) {
        self.driver().upload(tensor.device_address(), bytes);
    }
}

impl Kernel<DownloadBytes<'_>> for Cuda {
    fn launch(&self, DownloadBytes { tensor, bytes }: DownloadBytes<'_>, (): &mut (), _: Scratch<'_>) {
        self.driver().download(tensor.device_address(), bytes);
    }
}

impl Kernel<Download<'_>> for Cuda {
    fn launch(&self, Download { tensor, values }: Download<'_>, (): &mut (), _: Scratch<'_>) {
        let (driver, address) = (self.driver(), tensor.device_address());
        if tensor.dtype() == DType::F32 {
            return driver.download(address, bytemuck::cast_slice_mut(values));
        }
        let mut halves = vec![Bf16::default(); values.len()];
        driver.download(address, bytemuck::cast_slice_mut(&mut halves));
        for (v, h) in values.iter_mut().zip(halves) {
            *v = h.to_f32();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_what_is_flat() {
        let grid = |n| flat(n).grid[0];
        assert_eq!([0, 1, PIECE, PIECE + 1].map(grid), [0, 1, 1, 2]);
        // More elements than 32 bits count.
        assert_eq!(grid(1 << 33), 1 << 22);
    }
}
