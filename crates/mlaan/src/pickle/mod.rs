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

pub use array::{Array, Scalar};
pub use item::Item;
pub(crate) use item::shown;
pub use tensor::{Element, Storage, TensorRef};

use std::borrow::Cow;

/// Why an input is no pickle that is understood, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the pickle: {message}")]
pub struct Fault {
    /// Bytes before the instruction that failed.
    pub offset: usize,
    /// What was found.
    pub message: String,
}

/// What a pickle may take at the most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instructions.
    pub steps: usize,
    /// Values, of some 80 bytes each.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps: 1 << 22, nodes: 1 << 20 }
    }
}

/// The index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of 64 bits.
    Integer(i64),
    /// An integer that 64 bits do not hold; its value is not kept.
    Huge,
    /// A float.
    Float(f64),
    /// A `str`.
    Text(Cow<'a, str>),
    /// `bytes`, a `bytearray`, or Python 2's `str`.
    Bytes(Cow<'a, [u8]>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A set or frozen set.
    Set(Vec<Id>),
    /// A dictionary's entries as they were added: of equal keys the last one holds.
    Dict(Vec<(Id, Id)>),
    /// A class or function, named and no more.
    Global {
        /// The module, as `collections`.
        module: Cow<'a, str>,
        /// The name in it.
        name: Cow<'a, str>,
    },
    /// Something that lies outside of the pickle; what it is called there.
    Persistent(Id),
    /// What a call would give.
    Object(Object),
}

/// A call that was not made, and what the pickle then does to its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The class or function.
    pub callable: Id,
    /// Its arguments, a tuple.
    pub arguments: Id,
    /// Set by `BUILD`.
    pub state: Option<Id>,
    /// Entries added as to a dictionary.
    pub entries: Vec<(Id, Id)>,
    /// Elements added as to a list or set.
    pub elements: Vec<Id>,
}

/// A pickle's values.
#[derive(Clone, Debug)]
pub struct Pickle<'a> {
    nodes: Vec<Value<'a>>,
    root: Id,
    /// Bytes up to and with the end of the pickle; others may follow.
    length: usize,
}

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
