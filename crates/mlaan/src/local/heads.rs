//! Auxiliary networks: what turns a module's output into a loss (METHOD §3).

use super::Head;
use crate::Result;
use crate::nn::{ActivationFunction, AveragePool, Builder, ConvSpec, ImageShape, Resize, Sequence};
use mlaan_engine::ops::Conv2dParams;

/// Channels between the decoder's two convolutions.
const DECODER_CHANNELS: usize = 12;

impl Head {
    /// The classifier's layers for features of size `input`, down to `outputs`; `deepest`: channels of the
    /// backbone's last stage.
    ///
    /// # Errors
    /// Out of memory.
    pub fn build(
        self,
        input: ImageShape,
        (hidden, outputs): (usize, usize),
        deepest: usize,
        name: &str,
        b: &Builder<'_>,
    ) -> Result<Sequence> {
        match self {
            Head::Classifier { convolutions, linears } => {
                classifier(input, (convolutions, linears), (hidden, outputs), deepest, name, b)
            }
            Head::Dgl => dgl(input, outputs, name, b),
        }
    }
}

fn classifier(
    input: ImageShape,
    (convolutions, linears): (usize, usize),
    (hidden, outputs): (usize, usize),
    deepest: usize,
    name: &str,
    b: &Builder<'_>,
) -> Result<Sequence> {
    let mut layers: Sequence = Vec::new();
    let deep = input.channels == deepest;
    let wide = if deep { input.channels } else { 2 * input.channels };
    let (mut channels, mut index) = (input.channels, 0);
    for i in 0..convolutions {
        let window = Conv2dParams::same(3, if i == 0 && !deep { 2 } else { 1 });
        let (conv, norm) = (format!("{name}.net.{index}"), format!("{name}.net.{}", index + 1));
        layers.push(ConvSpec::convolution(conv, norm, channels, wide, window).build(b)?);
        (channels, index) = (wide, index + 3);
    }
    layers.push(Box::new(AveragePool { height: 1, width: 1 }));
    // Pooling and flattening count in the names.
    index += 2;
    for i in 0..linears {
        let (wide, activation) = if i + 1 == linears {
            (outputs, ActivationFunction::Identity)
        } else {
            (hidden, ActivationFunction::Relu)
        };
        let spec = ConvSpec::linear(format!("{name}.net.{index}"), channels, wide);
        layers.push(spec.activated(activation).build(b)?);
        (channels, index) = (hidden, index + 2);
    }
    Ok(layers)
}

/// The head of Belilovsky et al. 2020.
fn dgl(input: ImageShape, outputs: usize, name: &str, b: &Builder<'_>) -> Result<Sequence> {
    let c = input.channels;
    let pool = AveragePool { height: input.height.div_ceil(4), width: input.width.div_ceil(4) };
    let mut layers: Sequence = vec![Box::new(pool)];
    let names = |i: usize| (format!("{name}.net.{i}"), format!("{name}.net.{}", i + 1));
    for i in [1, 4, 7] {
        let (conv, norm) = names(i);
        layers.push(ConvSpec::convolution(conv, norm, c, c, Conv2dParams::same(1, 1)).build(b)?);
    }
    layers.push(Box::new(AveragePool { height: 2, width: 2 }));
    // A linear layer over the flattened 2x2 pixels is a convolution whose window is all of them.
    for (i, input, kernel) in [(12, c, 2), (15, 4 * c, 1)] {
        let (linear, norm) = names(i);
        let window = Conv2dParams { kernel, stride: 1, pad: 0 };
        let spec = ConvSpec::convolution(linear, norm, input, 4 * c, window);
        layers.push(ConvSpec { linear: true, wide: true, ..spec }.build(b)?);
    }
    layers.push(ConvSpec::linear(format!("{name}.net.18"), 4 * c, outputs).build(b)?);
    Ok(layers)
}

/// InfoPro's decoder: features of `channels` channels back to an image of size `image` (before the sigmoid).
///
/// # Errors
/// Out of memory.
pub fn decoder(channels: usize, image: ImageShape, name: &str, b: &Builder<'_>) -> Result<Sequence> {
    let window = Conv2dParams::same(3, 1);
    let first = ConvSpec::convolution(
        format!("{name}.net.0"),
        format!("{name}.net.1"),
        channels,
        DECODER_CHANNELS,
        window,
    );
    let first = ConvSpec { bias: true, ..first };
    let second = ConvSpec {
        norm: None,
        bias: true,
        activation: ActivationFunction::Identity,
        wide: true,
        ..ConvSpec::convolution(format!("{name}.net.3"), "", DECODER_CHANNELS, image.channels, window)
    };
    Ok(vec![Box::new(Resize { height: image.height, width: image.width }), first.build(b)?, second.build(b)?])
}
