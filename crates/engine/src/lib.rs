//! The engine of `mlaan`: tensors, memory, and the operations of a device.
//!
//! It knows nothing of networks or learning. A [`Device`] owns memory (every byte from one accountant,
//! [`Allocator`]) and runs about twenty coarse, fused operations; [`ops`] explains how they fit together.
//! Layout is channels last everywhere. `cpu` and `cuda` compute;
//! `dry` runs the same calls and counts what they need on either.

mod backend;
mod bf16;
mod calls;
mod conv2d_params;
mod cores;
mod cpu;
pub mod cuda;
mod device;
mod device_kind;
mod dry;
mod error;
mod memory;
mod offload;
mod operation;
pub mod ops;
mod profile;
pub mod reference;
mod tensor;

pub use bf16::Bf16;
pub use cpu::Isa;
pub use device::Device;
pub use device_kind::DeviceKind;
pub use error::{Error, Result};
pub use memory::{Allocator, Block, MemoryCategory, Usage, give_back_freed, share_arenas};
pub use offload::{Offloaded, Tensors};
pub use profile::OperationCost;
pub use tensor::{DType, Element, Precision, Shape, Tensor};

use cores::cores;
