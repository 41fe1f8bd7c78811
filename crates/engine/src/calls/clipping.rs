//! Gradients clipped by their norm.

use crate::ops::{ClipCoefficient, Scale, SumSquares};
use crate::{Device, Result, Tensor};

impl Device {
    /// Writes the sums of the squares of `values` to `sums`, [`square_sums`](crate::ops::square_sums) of them, from number `first` on.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn sum_squares(&self, values: &Tensor, sums: &mut Tensor, first: usize) -> Result<()> {
        self.run(SumSquares { values, sums, first })
    }

    /// `coefficient[0]` = min(1, `max_norm` / (norm + 1e-6)), where the norm is the root of all `sums`
    /// (`torch.nn.utils.clip_grad_norm_`); not a number where the norm is none.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn clip_coefficient(&self, sums: &Tensor, max_norm: f32, coefficient: &mut Tensor) -> Result<()> {
        self.run(ClipCoefficient { sums, max_norm, coefficient })
    }

    /// values = values · factor\[0\], a factor that is on the device.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn scale(&self, values: &mut Tensor, factor: &Tensor) -> Result<()> {
        self.run(Scale { values, factor })
    }
}
