//! Layers without parameters.

use super::{Activation, ActivationFunction, Grad, ImageShape, Layer, Mode, Pass};
use crate::{Error, Result};
use mlaan_engine::Device;
use mlaan_engine::ops::{Conv2dParams, Operand};

/// Adaptive average pooling.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool {
    /// Output rows.
    pub height: usize,
    /// Output columns.
    pub width: usize,
}

impl Layer for AveragePool {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        Ok(ImageShape { height: self.height, width: self.width, ..input })
    }

    fn forward(&mut self, device: &Device, x: &Activation, _: Mode) -> Result<Activation> {
        Ok(Activation::plain(device.average_pool(&x.operand(), self.height, self.width)?))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        _: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        if !pass.input {
            return Ok(None);
        }
        let mut dx = Grad::of(device, x, pass.weights)?;
        device.average_pool_backward(&x.operand(), &grad.tensor, dx.outgoing(false))?;
        Ok(Some(dx))
    }
}

/// Maximum over windows.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// The window.
    pub window: Conv2dParams,
}

impl Layer for MaxPool {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        let (height, width) = (self.window.output(input.height), self.window.output(input.width));
        if height == 0 || width == 0 {
            return Err(Error::recipe(
                "data.size",
                format!("a pooling window does not fit into {input}; use larger images"),
            ));
        }
        Ok(ImageShape { height, width, ..input })
    }

    fn forward(&mut self, device: &Device, x: &Activation, _: Mode) -> Result<Activation> {
        Ok(Activation::plain(device.max_pool(self.window, &x.operand())?))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        _: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        if !pass.input && !pass.weights {
            return Ok(None);
        }
        let mut dx = Grad::of(device, x, pass.weights)?;
        device.max_pool_backward(self.window, &x.operand(), &grad.tensor, dx.outgoing(false))?;
        Ok(Some(dx))
    }
}

/// Bilinear resizing with aligned corners.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    /// Output rows.
    pub height: usize,
    /// Output columns.
    pub width: usize,
}

impl Layer for Resize {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        Ok(ImageShape { height: self.height, width: self.width, ..input })
    }

    fn forward(&mut self, device: &Device, x: &Activation, _: Mode) -> Result<Activation> {
        Ok(Activation::plain(device.resize(&x.operand(), self.height, self.width)?))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        _: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        if !pass.input {
            return Ok(None);
        }
        let mut dx = Grad::of(device, x, pass.weights)?;
        device.resize_backward(&x.operand(), &grad.tensor, dx.outgoing(false))?;
        Ok(Some(dx))
    }
}

/// Stores a normalised, rectified value as it is, for values that several others load.
#[derive(Clone, Copy, Debug)]
pub struct Rectify;

impl Layer for Rectify {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        Ok(input)
    }

    fn forward(&mut self, device: &Device, x: &Activation, _: Mode) -> Result<Activation> {
        Ok(Activation::plain(device.add(&x.operand(), None, false)?))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        y: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        let mut dx = Grad::over(device, grad.tensor, x, pass.weights)?;
        let (operand, rectified) =
            (Operand { relu: false, ..x.operand() }, x.activation == ActivationFunction::Relu);
        let part = dx.norm.as_mut().map(|n| (&operand, n.sink()));
        device.add_backward(&mut dx.tensor, rectified.then_some(&y.tensor), [part, None])?;
        Ok(Some(dx))
    }
}
