//! Memory is planned, not discovered: every byte of a device comes from one [`Allocator`].
//!
//! The allocator hands out [`Block`]s of one address range, laid out by [`Arena`]; a dry allocator runs the same
//! layout without any memory behind it, so that what it says is what a real run uses, to the byte.

mod allocator;
mod arena;
mod arenas;

pub use allocator::{Allocator, Block, MemoryCategory, Usage};
pub(crate) use allocator::{Keeper, Memory};
pub(crate) use arena::ALIGN;
pub use arenas::{give_back_freed, share_arenas};
