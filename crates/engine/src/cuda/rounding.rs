//! Between types of stored values, and moving averages in half-size floats.

use super::Cuda;
use super::args::{extent, kind};
use super::geometry::Geometry;
use super::program::{Program, entry};
use crate::backend::Scratch;
use crate::ops::{self, Kernel};

pub(super) static ROUNDING: Program = Program {
    name: "rounding.cu",
    source: include_str!("kernels/rounding.cu"),
    defines: &[],
    entries: &[entry::<Convert>("convert"), entry::<EmaRounded>("ema_rounded")],
    shared: 0,
};

/// Of `kernels/rounding.cu`.
const THREADS: u32 = 256;

/// `struct Convert` of `kernels/rounding.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Convert {
    target: u64,
    source: u64,
    length: u64,
    to: u32,
    from: u32,
}

/// `struct EmaRounded` of `kernels/rounding.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct EmaRounded {
    target: u64,
    source: u64,
    length: u64,
    keys: [u32; 2],
    kept: f32,
    added: f32,
}

/// Eight elements a thread.
fn flat(length: usize) -> Geometry {
    Geometry { grid: [extent(length.div_ceil(8 * THREADS as usize)), 1, 1], threads: THREADS, shared: 0 }
}

impl Kernel<ops::Convert<'_>> for Cuda {
    fn launch(&self, ops::Convert { target, source }: ops::Convert<'_>, (): &mut (), _: Scratch<'_>) {
        let args = Convert {
            target: target.device_address(),
            source: source.device_address(),
            length: source.len() as u64,
            to: kind(target.dtype()),
            from: kind(source.dtype()),
        };
        self.driver().launch(&ROUNDING, "convert", flat(source.len()), &args);
    }
}

impl Kernel<ops::EmaRounded<'_>> for Cuda {
    fn launch(&self, op: ops::EmaRounded<'_>, (): &mut (), _: Scratch<'_>) {
        let args = EmaRounded {
            target: op.target.device_address(),
            source: op.source.device_address(),
            length: op.source.len() as u64,
            keys: op.keys(),
            kept: op.m,
            added: 1.0 - op.m,
        };
        self.driver().launch(&ROUNDING, "ema_rounded", flat(op.source.len()), &args);
    }
}
