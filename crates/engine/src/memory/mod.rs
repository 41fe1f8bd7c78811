//! Memory is planned, not discovered: every byte of a device comes from one [`Pool`].
//!
//! The pool hands out [`Block`]s of one address range, laid out by [`Arena`]; a dry pool runs the same
//! layout without any memory behind it, so that what it says is what a real run uses, to the byte.

mod arena;
mod arenas;
mod pool;

pub(crate) use arena::ALIGN;
pub use arenas::share_arenas;
pub(crate) use pool::Memory;
pub use pool::{Block, Pool, Purpose, Usage};
