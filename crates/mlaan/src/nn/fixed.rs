//! Convolutions of networks that no longer learn: their normalisation is taken into the weights, and those are kept in
//! the order in which a device reads them.

use super::Activation;
use crate::Result;
use mlaan_engine::ops::{Conv2dParams, NormConstants, PackedWeights, Weights};
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};

/// What a convolution that no longer learns keeps.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    /// Height and width of the last input, and the weights packed for images of that size; none where the device
    /// would gain nothing by it.
    packed: Option<([usize; 2], Option<PackedWeights>)>,
}

impl Fixed {
    /// Packs the weights of a convolution for images like `x`, unless they are.
    pub fn prepack(
        &mut self,
        device: &Device,
        window: Conv2dParams,
        x: &Activation,
        weight: &Tensor,
    ) -> Result<()> {
        let [_, height, width, _] = x.tensor.nhwc();
        let size = [height, width];
        if self.packed.as_ref().is_none_or(|(of, _)| *of != size) {
            self.packed = None;
            let packed = device.prepack(window, &x.operand(), weight)?;
            self.packed = Some((size, packed));
        }
        Ok(())
    }

    /// The weights as they were packed.
    pub fn weights(&self) -> Option<Weights<'_>> {
        self.packed.as_ref().and_then(|(_, a)| a.as_ref()).map(Weights::PackedWeights)
    }

    /// Weights may change: forgets how they were packed.
    pub fn changed(&mut self) {
        self.packed = None;
    }
}

/// Takes a normalisation by running statistics into the weights before it; the bias that does the rest. `norm`: scale, offset,
/// mean and variance of every output; `bias`: what is added before it.
pub(super) fn take_norm_in(
    device: &Device,
    weights: &mut Tensor,
    bias: Option<&Tensor>,
    norm: [&Tensor; 4],
) -> Result<Tensor> {
    let values = |t: &Tensor| device.download(t);
    let [scale, shift, mean, variance] = norm;
    let outputs = scale.len();
    let (scale, shift) = (values(scale)?, values(shift)?);
    let (mean, variance) = (values(mean)?, values(variance)?);
    let old = match bias {
        Some(b) => values(b)?,
        None => vec![0.0; outputs],
    };
    let mut weight = values(weights)?;
    let mut bias = vec![0.0; outputs];
    let eps = f64::from(NormConstants::default().eps);
    let fan_in = weight.len() / outputs.max(1);
    for (o, row) in weight.chunks_exact_mut(fan_in.max(1)).enumerate() {
        let factor = f64::from(scale[o]) / (f64::from(variance[o]) + eps).sqrt();
        row.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
        bias[o] = (f64::from(shift[o]) + (f64::from(old[o]) - f64::from(mean[o])) * factor) as f32;
    }
    device.upload(weights, &weight)?;
    let mut value = device.alloc([outputs], DType::F32, MemoryCategory::Parameters)?;
    device.upload(&mut value, &bias)?;
    Ok(value)
}
