//! What a pickle holds, and what it may take.

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
pub struct Id(pub(super) u32);

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
    pub(super) nodes: Vec<Value<'a>>,
    pub(super) root: Id,
    /// Bytes up to and with the end of the pickle; others may follow.
    pub(super) length: usize,
}
