//! Convolutions of networks that no longer learn: their normalisation is taken into the weights, and those are kept in
//! the order in which a device reads them.

use super::{Act, ConvBnAct, Parameter};
use crate::Result;
use mlaan_engine::ops::{Arranged, NormConstants, Weights};
use mlaan_engine::{DType, Device, Purpose, Tensor};

/// What a convolution that no longer learns keeps.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    /// Height and width of the last input, and the weights arranged for images of that size; none where the device
    /// would gain nothing by it.
    arranged: Option<([usize; 2], Option<Arranged>)>,
}

impl ConvBnAct {
    /// Takes the normalisation by running statistics into weights and bias: the same function for inference, with
    /// nothing left to normalise. From now on weights are arranged once for each size of images, not for each batch.
    /// It cannot learn any more.
    pub(super) fn take_norm_in(&mut self, device: &Device) -> Result<()> {
        self.fixed = Some(Fixed::default());
        let Some(n) = self.norm.take() else { return Ok(()) };
        let values = |t: &Tensor| device.download(t);
        let (scale, shift) = (values(&n.weight.value)?, values(&n.bias.value)?);
        let (mean, variance) = (values(&n.mean)?, values(&n.variance)?);
        let old = match &self.bias {
            Some(b) => values(&b.value)?,
            None => vec![0.0; self.spec.output],
        };
        let mut weight = values(&self.weight.value)?;
        let mut bias = vec![0.0; self.spec.output];
        let eps = f64::from(NormConstants::default().eps);
        let fan_in = weight.len() / self.spec.output.max(1);
        for (o, row) in weight.chunks_exact_mut(fan_in.max(1)).enumerate() {
            let factor = f64::from(scale[o]) / (f64::from(variance[o]) + eps).sqrt();
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
            bias[o] = (f64::from(shift[o]) + (f64::from(old[o]) - f64::from(mean[o])) * factor) as f32;
        }
        device.upload(&mut self.weight.value, &weight)?;
        let mut value = device.alloc([self.spec.output], DType::F32, Purpose::Parameters)?;
        device.upload(&mut value, &bias)?;
        self.bias = Some(Parameter { value, grad: None, state: None });
        (self.weight.state, self.spec.norm, self.spec.bias) = (None, None, true);
        Ok(())
    }

    /// Arranges the weights of a convolution that no longer learns for images like `x`, unless they are.
    pub(super) fn arrange(&mut self, device: &Device, x: &Act) -> Result<()> {
        let Some(fixed) = &mut self.fixed else { return Ok(()) };
        let [_, height, width, _] = x.tensor.nhwc();
        let size = [height, width];
        if fixed.arranged.as_ref().is_none_or(|(of, _)| *of != size) {
            fixed.arranged = None;
            let arranged = device.arrange(self.spec.window, &x.operand(), &self.weight.value)?;
            fixed.arranged = Some((size, arranged));
        }
        Ok(())
    }

    /// The weights for a convolution.
    pub(super) fn weights(&self) -> Weights<'_> {
        let arranged = self.fixed.as_ref().and_then(|f| f.arranged.as_ref()).and_then(|(_, a)| a.as_ref());
        arranged.map_or(Weights::Plain(&self.weight.value), Weights::Arranged)
    }

    /// Weights may change: forgets how they were arranged.
    pub(super) fn changed(&mut self) {
        if let Some(fixed) = &mut self.fixed {
            fixed.arranged = None;
        }
    }
}
