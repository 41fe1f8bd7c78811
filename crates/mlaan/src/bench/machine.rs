//! What a device can do at the most, measured as it trains: a processor with the threads that do.

use crate::{Device, Result};
use mlaan_engine::ops::{Conv2dParams, Operand};
use mlaan_engine::{DType, MemoryCategory, Tensor};
use std::time::Instant;

/// Side of the matrices that are multiplied.
const SIDE: usize = 2048;
/// Floats of a buffer that streams through memory: two of them, 128 MiB each, far beyond any cache.
const STREAM: usize = 32 << 20;
/// Repetitions; the fastest counts.
const REPETITIONS: usize = 3;
/// A measurement of arithmetic lasts about this long, in seconds.
const WHILE: f64 = 0.1;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Floating-point operations a second of multiply-adds that stay in registers, on a GPU of products in bfloat16 by
    /// tensor cores: the arithmetic's own limit. None on a device that does not offer them (see
    /// [`Device::multiply_adds`]).
    pub flops: Option<f64>,
    /// The same of a product of two matrices 2048x2048, as this engine computes it: a 1x1 convolution of 2048 pixels
    /// with 2048 channels on both sides.
    pub sgemm: f64,
    /// Bytes a second of `a = m·a + (1-m)·b` over arrays far larger than the caches, two reads and one write each.
    pub bandwidth: f64,
}

impl Machine {
    /// Measures, in about a second.
    ///
    /// # Errors
    /// Out of memory; a device that fails.
    pub fn measure(device: &Device) -> Result<Self> {
        Ok(Machine { flops: arithmetic(device)?, sgemm: sgemm(device)?, bandwidth: stream(device)? })
    }
}

/// The highest rate of `f`, which returns what it asked `device` to do. (The slowest has kernels compiled, where they are.)
fn best(device: &Device, mut f: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..REPETITIONS {
        device.synchronize()?;
        let begin = Instant::now();
        let done = f()?;
        device.synchronize()?;
        best = best.max(done / begin.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn arithmetic(device: &Device) -> Result<Option<f64>> {
    let rate = |rounds: usize| -> Result<(f64, f64)> {
        let begin = Instant::now();
        let done = device.multiply_adds(rounds) as f64;
        device.synchronize()?;
        let seconds = begin.elapsed().as_secs_f64();
        Ok((done / seconds, seconds))
    };
    let mut rounds = 1 << 16;
    if rate(rounds)?.0 == 0.0 {
        return Ok(None);
    }
    // A sleeping processor is woken up by the way.
    while rounds < 1 << 34 && rate(rounds)?.1 < WHILE {
        rounds *= 2;
    }
    let mut best: f64 = 0.0;
    for _ in 0..REPETITIONS {
        best = best.max(rate(rounds)?.0);
    }
    Ok(Some(best))
}

fn sgemm(device: &Device) -> Result<f64> {
    let tensor = |extents: [usize; 4]| filled(device, extents);
    let (x, w) = (tensor([1, SIDE, 1, SIDE])?, tensor([SIDE, SIDE, 1, 1])?);
    best(device, || {
        device.convolve(Conv2dParams::same(1, 1), &Operand::plain(&x), &w, None, None)?;
        Ok(2.0 * (SIDE as f64).powi(3))
    })
}

fn stream(device: &Device) -> Result<f64> {
    let (mut a, b) = (filled(device, [1, 1, 1, STREAM])?, filled(device, [1, 1, 1, STREAM])?);
    best(device, || {
        device.ema(&mut a, &b, 0.5)?;
        Ok(3.0 * 4.0 * STREAM as f64)
    })
}

/// Ones: what they are does not matter, but numbers near the smallest would be slow.
fn filled(device: &Device, extents: [usize; 4]) -> Result<Tensor> {
    let mut t = device.alloc(extents, DType::F32, MemoryCategory::Workspace)?;
    device.fill(&mut t, 1.0)?;
    Ok(t)
}
