//! What every rule takes for an update.

use crate::Error;
use crate::nn::Role;
use mlaan_engine::Tensor;

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Learning rate.
    pub lr: f32,
    /// Number of the step since training began, from 1.
    pub step: u64,
}

/// All that the update of one parameter takes.
pub(super) struct Update<'a> {
    pub value: &'a mut Tensor,
    pub grad: &'a Tensor,
    pub state: &'a mut [Tensor],
    pub rate: Rate,
    pub weight_decay: f32,
    pub role: Role,
}

impl Update<'_> {
    /// Why a state that another optimiser made cannot be used.
    pub fn foreign(&self, optimiser: &str) -> Error {
        let message = format!(
            "a parameter has {} tensors of state, which are not those of {optimiser}: build the network with the optimizer that updates it",
            self.state.len()
        );
        Error::recipe("train", message)
    }
}
