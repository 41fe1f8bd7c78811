//! What an optimiser keeps of parameters.

use mlaan_engine::Tensor;

/// What an optimiser keeps of one parameter: tensors of the parameter's sizes, which begin with 0.
#[derive(Debug)]
pub struct State {
    pub(super) names: &'static [&'static str],
    pub(super) tensors: Vec<Tensor>,
}

impl State {
    /// Its tensors with their names, which stand in front of the parameter's in checkpoints.
    pub fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.names.iter().copied().zip(&self.tensors)
    }

    /// The same, to be filled.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Tensor)> {
        self.names.iter().copied().zip(&mut self.tensors)
    }
}
