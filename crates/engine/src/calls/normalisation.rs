//! BatchNorm.

use crate::ops::{NormConstants, NormaliseEval, NormaliseTrain};
use crate::{Device, Result, Tensor};

impl Device {
    /// Turns mean and variance of a batch into scale and shift and moves the running statistics
    /// (unbiased variance). `count`: values per channel.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn normalise_train(
        &self,
        norm_rows: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&mut Tensor, &mut Tensor),
        count: usize,
        constants: NormConstants,
    ) -> Result<()> {
        self.run(NormaliseTrain { norm: norm_rows, weight, bias, running, count, constants })
    }

    /// Scale and shift from running statistics, for evaluation.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn normalise_eval(
        &self,
        norm_rows: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&Tensor, &Tensor),
        constants: NormConstants,
    ) -> Result<()> {
        self.run(NormaliseEval { norm: norm_rows, weight, bias, running, constants })
    }
}
