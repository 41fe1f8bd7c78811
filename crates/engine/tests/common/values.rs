//! Values on both sides: slices for the reference, tensors for the engine.

use super::random::Random;
use mlaan_engine::ops::{NormGrad, Operand};
use mlaan_engine::reference::{self, Extents, Normalisation};
use mlaan_engine::{Bf16, DType, Device, MemoryCategory, Precision, Shape, Tensor};

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// A tensor of these values.
pub fn tensor(device: &Device, shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    let mut t = device.alloc(shape, DType::F32, MemoryCategory::Data).unwrap();
    device.upload(&mut t, values).unwrap();
    t
}

/// Values as they are when stored.
pub fn rounded(values: &[f64], precision: Precision) -> Vec<f64> {
    let round = |v: &f64| match precision {
        Precision::F32 => *v,
        Precision::Bf16 => f64::from(Bf16::from_f32(*v as f32).to_f32()),
    };
    values.iter().map(round).collect()
}

/// An activation or its gradient, of the device's precision.
pub fn stored(device: &Device, shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    let mut t = device.alloc(shape, device.precision().dtype(), MemoryCategory::Data).unwrap();
    match device.precision() {
        Precision::F32 => device.upload(&mut t, values).unwrap(),
        Precision::Bf16 => {
            let values: Vec<Bf16> = values.iter().map(|v| Bf16::from_f32(*v)).collect();
            device.upload(&mut t, &values).unwrap();
        }
    }
    t
}

/// An activation's gradient, of the device's precision, that must be written before it is read.
pub fn stored_target(device: &Device, shape: impl Into<Shape>) -> Tensor {
    let mut t = device.alloc(shape, device.precision().dtype(), MemoryCategory::Gradients).unwrap();
    device.fill(&mut t, f32::NAN).unwrap();
    t
}

/// A tensor that must be written before it is read.
pub fn target(device: &Device, shape: impl Into<Shape>) -> Tensor {
    device.full(shape, f32::NAN, MemoryCategory::Gradients).unwrap()
}

/// Labels `[n]`.
pub fn labels(device: &Device, values: &[usize]) -> Tensor {
    let mut t = device.alloc([values.len()], DType::U32, MemoryCategory::Data).unwrap();
    let values: Vec<u32> = values.iter().map(|&v| v as u32).collect();
    device.upload(&mut t, &values).unwrap();
    t
}

/// An operand on the host.
#[derive(Clone)]
pub struct Input {
    pub extents: Extents,
    pub raw: Vec<f32>,
    /// Rows `[4, c]`.
    pub norm: Option<Vec<f32>>,
    pub relu: bool,
}

impl Input {
    /// Random values; where they are rectified none is so close to 0 that rounding decides.
    pub fn random(random: &mut Random, extents: Extents, norm: bool, relu: bool) -> Self {
        let mut raw = random.floats(extents.iter().product());
        let norm = norm.then(|| norm_rows(random, extents[3]));
        if let (Some(rows), true) = (&norm, relu) {
            for (i, v) in raw.iter_mut().enumerate() {
                let c = i % extents[3];
                if (*v * rows[c] + rows[extents[3] + c]).abs() < 1e-4 {
                    *v += 1.0 / 64.0;
                }
            }
        }
        Input { extents, raw, norm, relu }
    }

    pub fn normalisation(&self) -> Option<Normalisation> {
        self.norm.as_ref().map(|rows| Normalisation::from_rows(&wide(rows)))
    }

    /// The values as an operation sees them.
    pub fn loaded(&self) -> Vec<f64> {
        reference::load(&wide(&self.raw), self.normalisation().as_ref(), self.relu)
    }

    /// As [`Input::loaded`], in 32 bits by fused multiply-adds.
    pub fn loaded_in_32_bits(&self) -> Vec<f32> {
        let c = self.extents[3];
        let normalised = |(i, v): (usize, &f32)| {
            self.norm.as_ref().map_or(*v, |rows| v.mul_add(rows[i % c], rows[c + i % c]))
        };
        let rectified = |v: f32| if self.relu { v.max(0.0) } else { v };
        self.raw.iter().enumerate().map(normalised).map(rectified).collect()
    }

    pub fn upload(&self, device: &Device) -> Uploaded {
        Uploaded {
            tensor: stored(device, self.extents, &self.raw),
            norm: self.norm.as_ref().map(|rows| tensor(device, [4, self.extents[3]], rows)),
            relu: self.relu,
        }
    }

    pub fn pixels(&self) -> usize {
        self.extents[..3].iter().product()
    }
}

/// Rows `[4, c]` of a normalisation with scales of both signs.
pub fn norm_rows(random: &mut Random, c: usize) -> Vec<f32> {
    let scale: Vec<f32> = random.floats(c).iter().map(|v| v + 0.4 * v.signum()).collect();
    let inv_std: Vec<f32> = random.floats(c).iter().map(|v| 0.5 + v.abs()).collect();
    [scale, random.floats(c), random.floats(c), inv_std].concat()
}

/// An operand on a device.
pub struct Uploaded {
    pub tensor: Tensor,
    pub norm: Option<Tensor>,
    pub relu: bool,
}

impl Uploaded {
    pub fn operand(&self) -> Operand<'_> {
        Operand { tensor: &self.tensor, norm: self.norm.as_ref(), relu: self.relu }
    }
}

/// Places for the gradients of a normalisation.
pub struct Sums {
    pub coefficients: Tensor,
    pub weight: Tensor,
    pub bias: Tensor,
}

impl Sums {
    pub fn new(device: &Device, channels: usize) -> Self {
        Sums {
            coefficients: target(device, [3, channels]),
            weight: target(device, [channels]),
            bias: target(device, [channels]),
        }
    }

    pub fn grad(&mut self) -> NormGrad<'_> {
        NormGrad {
            coefficients: &mut self.coefficients,
            weight: Some(&mut self.weight),
            bias: Some(&mut self.bias),
        }
    }
}
