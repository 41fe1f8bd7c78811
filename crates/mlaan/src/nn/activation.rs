//! Values and gradients between layers.

use crate::Result;
use mlaan_engine::ops::{NormGrad, Operand, Outgoing, norm};
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};

/// A value between layers: a stored tensor, and its normalisation and activation, which whoever loads it applies.
#[derive(Debug)]
pub struct Activation {
    /// `[n, h, w, c]`.
    pub tensor: Tensor,
    /// `[4, c]`, rows of [`norm`].
    pub norm: Option<Tensor>,
    /// What is applied after the normalisation.
    pub activation: ActivationFunction,
}

/// An activation function. What is stored is its argument; whoever loads a value applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationFunction {
    /// None.
    Identity,
    /// max(x, 0).
    Relu,
}

impl Activation {
    /// A tensor as it is.
    pub fn plain(tensor: Tensor) -> Self {
        Activation { tensor, norm: None, activation: ActivationFunction::Identity }
    }

    /// Whether it is a tensor as it is.
    pub fn is_plain(&self) -> bool {
        self.norm.is_none() && self.activation == ActivationFunction::Identity
    }

    /// For the engine.
    pub fn operand(&self) -> Operand<'_> {
        let relu = match self.activation {
            ActivationFunction::Identity => false,
            ActivationFunction::Relu => true,
        };
        Operand { tensor: &self.tensor, norm: self.norm.as_ref(), relu }
    }
}

/// What a backward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whether gradients of parameters are wanted.
    pub weights: bool,
    /// Whether the gradient of the input is wanted.
    pub input: bool,
}

/// The gradient of an [`Activation`]: with respect to its normalised value before the activation.
#[derive(Debug)]
pub struct Grad {
    /// Same sizes as the value.
    pub tensor: Tensor,
    /// When the value is normalised.
    pub norm: Option<GradNorm>,
}

/// What a value's normalisation needs for its own backward, and its parameters' gradients.
#[derive(Debug)]
pub struct GradNorm {
    /// `[3, c]`.
    pub coefficients: Tensor,
    /// `[c]`, when gradients of parameters are wanted.
    pub weight: Option<Tensor>,
    /// `[c]`, likewise.
    pub bias: Option<Tensor>,
}

impl Grad {
    /// The gradient of a value that is neither normalised nor rectified.
    pub fn plain(tensor: Tensor) -> Self {
        Grad { tensor, norm: None }
    }

    /// Room for the gradient of `x`, of the same type.
    ///
    /// # Errors
    /// Out of memory.
    pub fn of(device: &Device, x: &Activation, weights: bool) -> Result<Self> {
        let tensor = device.alloc(x.tensor.shape(), x.tensor.dtype(), MemoryCategory::Gradients)?;
        Self::over(device, tensor, x, weights)
    }

    /// As [`Grad::of`], in a tensor that is there already.
    ///
    /// # Errors
    /// Out of memory.
    pub fn over(device: &Device, tensor: Tensor, x: &Activation, weights: bool) -> Result<Self> {
        let norm = match x.norm {
            Some(_) => Some(GradNorm::new(device, x.tensor.nhwc()[3], weights)?),
            None => None,
        };
        Ok(Grad { tensor, norm })
    }

    /// For the engine, to write.
    pub fn outgoing(&mut self, accumulate: bool) -> Outgoing<'_> {
        Outgoing { grad: &mut self.tensor, accumulate, norm: self.norm.as_mut().map(GradNorm::sink) }
    }
}

impl GradNorm {
    /// Room for `channels` channels.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(device: &Device, channels: usize, weights: bool) -> Result<Self> {
        let vector = || device.alloc([channels], DType::F32, MemoryCategory::Gradients);
        Ok(GradNorm {
            coefficients: device.alloc(
                [norm::COEFFICIENTS, channels],
                DType::F32,
                MemoryCategory::Gradients,
            )?,
            weight: if weights { Some(vector()?) } else { None },
            bias: if weights { Some(vector()?) } else { None },
        })
    }

    /// For the engine, to write.
    pub fn sink(&mut self) -> NormGrad<'_> {
        NormGrad {
            coefficients: &mut self.coefficients,
            weight: self.weight.as_mut(),
            bias: self.bias.as_mut(),
        }
    }
}
