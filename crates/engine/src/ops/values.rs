//! Values in and out of tensors, copies and sums.

use super::checks::{ensure, floats, same_shape};
use super::traffic::size;
use super::{Label, Operation};
use crate::{DType, Element, Error, Result, Tensor};

/// See [`Device::upload`](crate::Device::upload).
pub(crate) struct Upload<'a, T> {
    pub(crate) tensor: &'a mut Tensor,
    pub(crate) values: &'a [T],
}

impl<T: Element> Operation for Upload<'_, T> {
    const NAME: &'static str = "upload";

    type Made = ();

    fn check(&self) -> Result<()> {
        let (len, dtype, shape) = (self.values.len(), self.tensor.dtype(), self.tensor.shape());
        ensure(shape.elements() == len && dtype == T::DTYPE, Self::NAME, || {
            format!("{len} values of {:?} for {dtype:?} {:?}", T::DTYPE, shape.dims())
        })?;
        if T::DTYPE == DType::F64 {
            return Err(Error::Shape { operation: Self::NAME, message: "64-bit sums stay inside".into() });
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        2 * size(self.tensor)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.tensor.shape())
    }
}

/// See [`Device::download_into`](crate::Device::download_into).
pub(crate) struct Download<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) values: &'a mut [f32],
}

impl Operation for Download<'_> {
    const NAME: &'static str = "download";

    type Made = ();

    fn check(&self) -> Result<()> {
        floats(Self::NAME, self.tensor)?;
        ensure(self.tensor.len() == self.values.len(), Self::NAME, || {
            format!("{} places for {:?}", self.values.len(), self.tensor.shape().dims())
        })
    }

    fn bytes(&self) -> usize {
        2 * size(self.tensor)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.tensor.shape())
    }
}

/// See [`Device::upload_bytes`](crate::Device::upload_bytes).
pub(crate) struct UploadBytes<'a> {
    pub(crate) tensor: &'a mut Tensor,
    pub(crate) bytes: &'a [u8],
}

impl Operation for UploadBytes<'_> {
    const NAME: &'static str = "upload_bytes";

    type Made = ();

    fn check(&self) -> Result<()> {
        as_many(Self::NAME, self.tensor, self.bytes.len())
    }

    fn bytes(&self) -> usize {
        2 * size(self.tensor)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.tensor.shape())
    }
}

/// See [`Device::download_bytes`](crate::Device::download_bytes).
pub(crate) struct DownloadBytes<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) bytes: &'a mut [u8],
}

impl Operation for DownloadBytes<'_> {
    const NAME: &'static str = "download_bytes";

    type Made = ();

    fn check(&self) -> Result<()> {
        as_many(Self::NAME, self.tensor, self.bytes.len())
    }

    fn bytes(&self) -> usize {
        2 * size(self.tensor)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.tensor.shape())
    }
}

fn as_many(operation: &'static str, tensor: &Tensor, bytes: usize) -> Result<()> {
    ensure(tensor.len() * tensor.dtype().bytes() == bytes, operation, || {
        format!("{bytes} bytes for {:?} {:?}", tensor.dtype(), tensor.shape().dims())
    })
}

/// See [`Device::fill`](crate::Device::fill).
pub(crate) struct Fill<'a> {
    pub(crate) tensor: &'a mut Tensor,
    pub(crate) value: f32,
}

impl Operation for Fill<'_> {
    const NAME: &'static str = "fill";

    type Made = ();

    fn check(&self) -> Result<()> {
        floats(Self::NAME, self.tensor)
    }

    fn bytes(&self) -> usize {
        size(self.tensor)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.tensor.shape())
    }
}

/// See [`Device::copy`](crate::Device::copy).
pub(crate) struct CopyTensor<'a> {
    pub(crate) target: &'a mut Tensor,
    pub(crate) source: &'a Tensor,
}

impl Operation for CopyTensor<'_> {
    const NAME: &'static str = "copy";

    type Made = ();

    fn check(&self) -> Result<()> {
        same_shape(Self::NAME, self.target, self.source)?;
        floats(Self::NAME, self.source)
    }

    fn bytes(&self) -> usize {
        size(self.target) + size(self.source)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.source.shape())
    }
}

/// See [`Device::add`](crate::Device::add).
pub(crate) struct AddAssign<'a> {
    pub(crate) target: &'a mut Tensor,
    pub(crate) source: &'a Tensor,
}

impl Operation for AddAssign<'_> {
    const NAME: &'static str = "add_assign";

    type Made = ();

    fn check(&self) -> Result<()> {
        same_shape(Self::NAME, self.target, self.source)?;
        floats(Self::NAME, self.source)
    }

    fn bytes(&self) -> usize {
        2 * size(self.target) + size(self.source)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.source.shape())
    }
}
