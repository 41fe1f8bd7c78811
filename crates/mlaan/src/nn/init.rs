//! Initial values, derived from the seed and the parameter's name.

use super::Parameter;
use super::optim::Optimizer;
use crate::Result;
use crate::rng::{RandomStream as Random, Rng, hash};
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};

/// Makes parameters on a device. A parameter's values depend on the seed and its name only, so that adding a
/// head or changing a cut leaves all others as they were.
#[derive(Clone, Copy, Debug)]
pub struct Builder<'a> {
    /// Where parameters live.
    pub device: &'a Device,
    /// The run's seed.
    pub seed: u64,
    /// The optimiser that parameters get state for. None: they do not learn, as in inference and in shadows.
    pub optimizer: Option<Optimizer>,
}

impl Builder<'_> {
    fn fill<const N: usize>(
        &self,
        name: &str,
        shape: [usize; N],
        mut f: impl FnMut(&mut Rng) -> f64,
    ) -> Result<Tensor> {
        let mut t = self.device.alloc(shape, DType::F32, MemoryCategory::Parameters)?;
        if self.device.computes() {
            let mut rng = Rng::new(self.seed, Random::Initialise, hash(name.bytes()), 0);
            let values: Vec<f32> = (0..t.len()).map(|_| f(&mut rng) as f32).collect();
            self.device.upload(&mut t, &values)?;
        }
        Ok(t)
    }

    /// N(0, sqrt(2 / (k · k · out))), He et al. 2015 in the fan-out form.
    ///
    /// # Errors
    /// Out of memory.
    pub fn normal(&self, name: &str, shape: [usize; 4]) -> Result<Tensor> {
        let std = (2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt();
        self.fill(name, shape, |r| std * r.normal())
    }

    /// Uniform in ±1/sqrt(inputs).
    ///
    /// # Errors
    /// Out of memory.
    pub fn uniform<const N: usize>(&self, name: &str, shape: [usize; N], inputs: usize) -> Result<Tensor> {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        self.fill(name, shape, |r| r.range(-bound, bound))
    }

    /// All `value`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn constant(&self, channels: usize, value: f32) -> Result<Tensor> {
        Ok(self.device.full([channels], value, MemoryCategory::Parameters)?)
    }

    /// A parameter with these values, and with what the optimiser keeps of it.
    ///
    /// # Errors
    /// Out of memory.
    pub fn parameter(&self, value: Tensor) -> Result<Parameter> {
        let state = self.optimizer.map(|o| o.state(self.device, &value)).transpose()?;
        Ok(Parameter { value, grad: None, state })
    }
}
