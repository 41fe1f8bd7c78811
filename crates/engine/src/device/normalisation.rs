//! BatchNorm: from statistics to scale and shift.

use super::Device;
use super::checks::{rows, vector};
use crate::ops::{NormConstants, norm};
use crate::{Result, Tensor};

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
        const OP: &str = "normalise_train";
        rows(OP, norm_rows, norm::ROWS, weight.len())?;
        for t in [weight, bias, running.0, running.1] {
            vector(OP, t, weight.len())?;
        }
        self.0.backend.normalise_train(norm_rows, weight, bias, running, count, constants);
        Ok(())
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
        const OP: &str = "normalise_eval";
        rows(OP, norm_rows, norm::ROWS, weight.len())?;
        for t in [weight, bias, running.0, running.1] {
            vector(OP, t, weight.len())?;
        }
        self.0.backend.normalise_eval(norm_rows, weight, bias, running, constants);
        Ok(())
    }
}
