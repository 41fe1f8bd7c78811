//! Clipping of gradients by their norm; sums of squares and what is multiplied wait to be asked for together.

use super::Cuda;
use super::args::extent;
use super::geometry::Geometry;
use super::loss::number;
use super::program::{Program, entry};
use super::table::{self, Entry, THREADS, Table};
use crate::backend::Scratch;
use crate::ops::{self, ClipCoefficient, Kernel, Scale, SumSquares};

pub(super) static CLIPPING: Program = Program {
    name: "clipping.cu",
    source: include_str!("kernels/clipping.cu"),
    defines: &[],
    entries: &[
        entry::<Table<Squares>>("squares_many"),
        entry::<Args>("clip_coefficient"),
        entry::<Table<Scaled>>("scale_many"),
    ],
    shared: 0,
};

const _: () = assert!(table::PIECE == ops::PIECE, "a block has a sum");

/// `struct SquaresEntry` of `kernels/clipping.cu`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Squares {
    values: u64,
    sums: u64,
    length: u64,
}

/// `struct ScaleEntry` of `kernels/clipping.cu`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Scaled {
    values: u64,
    factor: u64,
    length: u64,
}

/// `struct Coefficient` of `kernels/clipping.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    sums: u64,
    coefficient: u64,
    count: u32,
    max_norm: f32,
}

impl Entry for Squares {
    /// None; as many bytes as kernels have for some.
    type Options = [u32; 2];

    const KERNEL: (&'static Program, &'static str) = (&CLIPPING, "squares_many");

    fn changed(&self) -> [u64; 3] {
        [self.sums; 3]
    }

    fn read(&self) -> u64 {
        self.values
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}

impl Entry for Scaled {
    /// As of [`Squares`].
    type Options = [u32; 2];

    const KERNEL: (&'static Program, &'static str) = (&CLIPPING, "scale_many");

    fn changed(&self) -> [u64; 3] {
        [self.values; 3]
    }

    fn read(&self) -> u64 {
        self.factor
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}

impl Kernel<SumSquares<'_>> for Cuda {
    fn launch(&self, op: SumSquares<'_>, (): &mut (), _: Scratch<'_>) {
        let SumSquares { values, sums, first } = op;
        let sums = number(sums.device_address(), first);
        let entry = Squares { values: values.device_address(), sums, length: values.len() as u64 };
        self.updates.add(&self.driver, entry, [0; 2]);
    }
}

impl Kernel<ClipCoefficient<'_>> for Cuda {
    fn launch(&self, op: ClipCoefficient<'_>, (): &mut (), _: Scratch<'_>) {
        let args = Args {
            sums: op.sums.device_address(),
            coefficient: op.coefficient.device_address(),
            count: extent(op.sums.len()),
            max_norm: op.max_norm,
        };
        let geometry = Geometry { grid: [1; 3], threads: THREADS, shared: 0 };
        self.driver().launch(&CLIPPING, "clip_coefficient", geometry, &args);
    }
}

impl Kernel<Scale<'_>> for Cuda {
    fn launch(&self, op: Scale<'_>, (): &mut (), _: Scratch<'_>) {
        let Scale { values, factor } = op;
        let length = values.len() as u64;
        let entry = Scaled { values: values.device_address(), factor: factor.device_address(), length };
        self.updates.add(&self.driver, entry, [0; 2]);
    }
}
