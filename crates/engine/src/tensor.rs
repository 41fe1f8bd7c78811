//! Dense arrays in a device's memory.

use crate::Bf16;
use crate::memory::{Block, Keeper, MemoryCategory};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// 32-bit float: parameters, activations, gradients.
    F32,
    /// The upper half of a 32-bit float: activations and their gradients in half the memory.
    Bf16,
    /// 64-bit float: partial sums.
    F64,
    /// 32-bit unsigned: labels.
    U32,
    /// Byte: images.
    U8,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F64 => 8,
            DType::Bf16 => 2,
            DType::U8 => 1,
        }
    }

    /// Whether activations and their gradients may be of this type.
    pub fn holds_activations(self) -> bool {
        matches!(self, DType::F32 | DType::Bf16)
    }
}

/// What convolutions store their results in. All arithmetic is in 32 bits either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16, rounded to the nearest.
    Bf16,
}

impl Precision {
    /// The type of the elements.
    pub fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
        }
    }
}

/// Up to four sizes. Activations are `[batch, height, width, channels]` (channels last), convolution
/// weights `[out, in, height, width]` and linear weights `[out, in]` as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; 4],
    rank: u8,
}

impl Shape {
    /// The sizes.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..usize::from(self.rank)]
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// The sizes as batch, height, width and channels; missing ones are 1, in between.
    pub fn nhwc(&self) -> [usize; 4] {
        let d = self.dims;
        match self.rank {
            0 => [1, 1, 1, 1],
            1 => [1, 1, 1, d[0]],
            2 => [d[0], 1, 1, d[1]],
            3 => [1, d[0], d[1], d[2]],
            _ => d,
        }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        const { assert!(N <= 4) };
        let mut d = [1; 4];
        d[..N].copy_from_slice(&dims);
        Shape { dims: d, rank: N as u8 }
    }
}

/// A dense array. It owns its memory, which returns to the device when the tensor is dropped.
#[derive(Debug)]
pub struct Tensor {
    shape: Shape,
    dtype: DType,
    block: Block,
}

impl Tensor {
    pub(crate) fn new(shape: Shape, dtype: DType, block: Block) -> Self {
        Tensor { shape, dtype, block }
    }

    /// The sizes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.elements()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sizes as batch, height, width and channels.
    pub fn nhwc(&self) -> [usize; 4] {
        self.shape.nhwc()
    }

    /// Bytes of its elements.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * self.dtype.bytes()
    }

    /// What it is used for.
    pub(crate) fn category(&self) -> MemoryCategory {
        self.block.category()
    }

    /// Who keeps its elements, and from which offset on, while they are not on the device.
    pub(crate) fn keeper(&self) -> Option<(&dyn Keeper, usize)> {
        self.block.keeper()
    }

    /// Lets its elements be kept by `keeper`, from `offset` on.
    pub(crate) fn lie_with(&mut self, keeper: std::sync::Arc<dyn Keeper>, offset: usize) {
        self.block = self.block.away(keeper, offset);
    }

    /// Lets its elements lie elsewhere; they are what lies there.
    pub(crate) fn lie_in(&mut self, block: Block) {
        self.block = block;
    }

    /// Where the elements lie in the device's memory, for the operation that is asked for; 0 for a dry tensor. Of one whose elements
    /// are not there the device fails, so that nothing reads or writes at 0.
    pub(crate) fn device_address(&self) -> u64 {
        self.block.device_address()
    }

    /// Elements of host memory; empty where there is none (a tensor that is dry or on another device) or for another type.
    pub(crate) fn host<T: Element>(&self) -> &[T] {
        if self.block.host_address().is_null() || self.dtype != T::DTYPE {
            return &[];
        }
        // SAFETY: the block holds `len` elements of this type, initialised (zeroed at birth), aligned to
        // 64 bytes, and this tensor is their only owner.
        unsafe { std::slice::from_raw_parts(self.block.host_address().cast::<T>(), self.len()) }
    }

    /// What lies in host memory, as bytes; empty where there is none.
    pub(crate) fn host_bytes(&self) -> &[u8] {
        if self.block.host_address().is_null() {
            return &[];
        }
        // SAFETY: as in `host`; any initialised memory is bytes.
        unsafe { std::slice::from_raw_parts(self.block.host_address(), self.len() * self.dtype.bytes()) }
    }

    /// What lies in host memory, to write: every pattern of bits is a value of every element type.
    pub(crate) fn host_bytes_mut(&mut self) -> &mut [u8] {
        if self.block.host_address().is_null() {
            return &mut [];
        }
        // SAFETY: as in `host_bytes`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.block.host_address(), self.len() * self.dtype.bytes()) }
    }

    /// Elements of host memory, to write.
    pub(crate) fn host_mut<T: Element>(&mut self) -> &mut [T] {
        if self.block.host_address().is_null() || self.dtype != T::DTYPE {
            return &mut [];
        }
        // SAFETY: as in `host`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.block.host_address().cast::<T>(), self.len()) }
    }
}

mod sealed {
    pub trait Sealed: bytemuck::NoUninit {}
    impl Sealed for f32 {}
    impl Sealed for crate::Bf16 {}
    impl Sealed for f64 {}
    impl Sealed for u32 {}
    impl Sealed for u8 {}
}

/// A Rust type that tensors can hold.
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    /// Its name as a tensor's type.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for Bf16 {
    const DTYPE: DType = DType::Bf16;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}
impl Element for u8 {
    const DTYPE: DType = DType::U8;
}
