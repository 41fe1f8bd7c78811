//! Python pickles, read without Python: CIFAR's batches and PyTorch's checkpoints are written so.
//!
//! A pickle is a program for a stack machine that may call anything. This machine runs only the part that builds
//! values: a class, a function and a call of it become inert nodes ([`Value::Global`], [`Value::Object`]), and a few
//! known calls are understood by their names: numpy's arrays ([`Item::array`]) and PyTorch's tensors
//! ([`Item::tensor`]). Nothing is executed or imported.
//!
//! Protocols 0 to 5. Nodes lie in one list and refer to each other by index, so depth and cycles cost no stack.
//! Strings and bytes are borrowed from the input; steps and nodes are limited ([`Limits`]). So memory is bounded
//! by the input's size and the limits, whatever the input says.
//!
//! A machine of its own, since `serde-pickle` drops classes and calls, in which arrays and tensors lie, and others are
//! parts of frameworks or no longer kept.

mod array;
mod item;
mod machine;
mod names;
mod reader;
mod tensor;
#[cfg(test)]
mod tests;
mod value;

pub use array::{Array, Scalar};
pub use item::Item;
pub(crate) use item::shown;
pub use tensor::{Element, Storage, TensorRef};
pub use value::{Fault, Id, Limits, Object, Pickle, Value};

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `input`.
    ///
    /// # Errors
    /// What is damaged or not understood, and where.
    pub fn parse(input: &'a [u8], limits: Limits) -> Result<Self, Fault> {
        machine::run(input, limits)
    }

    /// The value that was pickled.
    pub fn root(&self) -> Item<'_, 'a> {
        Item::new(self, self.root)
    }

    /// Everything that the pickle says of PyTorch's storages, once for every tensor.
    pub(crate) fn storages(&self) -> impl Iterator<Item = Storage> {
        let ids = (0..self.nodes.len()).filter_map(|at| u32::try_from(at).ok());
        let persistent = ids.map(|at| Item::new(self, Id(at))).filter(|item| item.persistent().is_some());
        persistent.filter_map(|item| item.storage().ok())
    }

    /// Bytes that the pickle takes of the input.
    pub fn length(&self) -> usize {
        self.length
    }
}
