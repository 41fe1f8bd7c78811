//! Between types of stored values, and moving averages in half-size floats.

use crate::ops::{Convert, EmaRounded};
use crate::{Bf16, DType, Device, Result, Tensor};

impl Device {
    /// target = source, of whichever types of floats they are; rounded to the nearest where that is narrower.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn convert(&self, target: &mut Tensor, source: &Tensor) -> Result<()> {
        match target.dtype() == source.dtype() {
            true => self.copy(target, source),
            false => self.run(Convert { target, source }),
        }
    }

    /// target = m · target + (1 - m) · source for a target of bfloat16, rounded stochastically: to one of the two values
    /// beside the result, to each with the probability of its nearness, so that the expected value is the result. (Rounded
    /// to the nearest, a target stops where (1 - m) · (source - target) is below half the distance to the next value, which
    /// for m = 0.995 it is until they differ by two fifths of the target or more.) With m = 0 the target becomes the source.
    ///
    /// Stochastic rounding in training: Gupta et al. 2015 (<https://arxiv.org/abs/1502.02551>); of weights in bfloat16:
    /// Zamirai et al. 2020 (<https://arxiv.org/abs/2010.06192>). The random bits depend on `key` and the element's place
    /// alone: on every device, by any number of threads, the same.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn ema_rounded(&self, target: &mut Tensor, source: &Tensor, m: f32, key: u64) -> Result<()> {
        self.run(EmaRounded { target, source, m, key })
    }

    /// Copies host values into a tensor of floats, of whichever type it is; rounded to the nearest where that is narrower.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn upload_floats(&self, tensor: &mut Tensor, values: &[f32]) -> Result<()> {
        if tensor.dtype() != DType::Bf16 {
            return self.upload(tensor, values);
        }
        let halves: Vec<Bf16> = values.iter().copied().map(Bf16::from_f32).collect();
        self.upload(tensor, &halves)
    }
}
