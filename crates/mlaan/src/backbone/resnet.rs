//! Residual networks (He et al. 2016), the CIFAR and the ImageNet family, with torchvision's parameter names.

use super::{Backbone, BlockInfo};
use crate::nn::{
    ActivationFunction, AveragePool, Builder, ConvBnAct, ConvSpec, Layer, MaxPool, Rectify, Residual,
    Sequence,
};
use crate::{Error, Result};
use mlaan_engine::ops::Conv2dParams;

/// What blocks are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (with the stride) and 1x1 convolutions; four times as many channels come out.
    Bottleneck,
}

/// What comes before the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 3x3 convolution.
    Cifar,
    /// 7x7 convolution with stride 2, 3x3 maximum with stride 2.
    Imagenet,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ResNet {
    name: String,
    kind: BlockKind,
    stem: Stem,
    widths: Vec<usize>,
    blocks: Vec<BlockInfo>,
    /// Index of the stage and of the block within it.
    places: Vec<(usize, usize)>,
}

impl BlockKind {
    fn expansion(self) -> usize {
        match self {
            BlockKind::Basic => 1,
            BlockKind::Bottleneck => 4,
        }
    }
}

impl ResNet {
    /// A network of `depths[i]` blocks of width `widths[i]` in stage i.
    ///
    /// # Errors
    /// When a stage is empty or has no width.
    pub fn new(
        name: impl Into<String>,
        kind: BlockKind,
        stem: Stem,
        depths: &[usize],
        widths: &[usize],
    ) -> Result<Self> {
        if depths.is_empty() || depths.len() != widths.len() || depths.contains(&0) || widths.contains(&0) {
            let message = format!(
                "stages of {depths:?} blocks and widths {widths:?}: each stage needs both, at least 1"
            );
            return Err(Error::recipe("model", message));
        }
        let (mut blocks, mut places, mut channels) = (Vec::new(), Vec::new(), widths[0]);
        for (stage, (&depth, &width)) in depths.iter().zip(widths).enumerate() {
            for i in 0..depth {
                let out = width * kind.expansion();
                blocks.push(BlockInfo {
                    name: format!("layer{}.{i}", stage + 1),
                    stage: stage + 1,
                    channels: out,
                    reshapes: channels != out || (i == 0 && stage > 0),
                });
                places.push((stage, i));
                channels = out;
            }
        }
        Ok(ResNet { name: name.into(), kind, stem, widths: widths.to_vec(), blocks, places })
    }

    /// The CIFAR family: depth 6n + 2, `width` channels in the first of three stages, doubling.
    ///
    /// # Errors
    /// For another depth.
    pub fn cifar(depth: usize, width: usize) -> Result<Self> {
        if depth < 8 || !(depth - 2).is_multiple_of(6) {
            let near = ((depth.max(8) - 2) / 6 * 6 + 2, (depth.max(8) - 2) / 6 * 6 + 8);
            let message = format!("depth {depth} is not 6n + 2; the nearest are {} and {}", near.0, near.1);
            return Err(Error::recipe("model.backbone", message));
        }
        let n = (depth - 2) / 6;
        Self::new(
            format!("resnet{depth}"),
            BlockKind::Basic,
            Stem::Cifar,
            &[n; 3],
            &[width, 2 * width, 4 * width],
        )
    }

    /// The ImageNet family: 18, 34, 50, 101 or 152 layers, `width` channels in the first of four stages, doubling.
    ///
    /// # Errors
    /// For another depth.
    pub fn imagenet(depth: usize, width: usize) -> Result<Self> {
        let (kind, depths) = match depth {
            18 => (BlockKind::Basic, [2, 2, 2, 2]),
            34 => (BlockKind::Basic, [3, 4, 6, 3]),
            50 => (BlockKind::Bottleneck, [3, 4, 6, 3]),
            101 => (BlockKind::Bottleneck, [3, 4, 23, 3]),
            152 => (BlockKind::Bottleneck, [3, 8, 36, 3]),
            _ => {
                let message =
                    format!("no ImageNet network of depth {depth}; there are 18, 34, 50, 101 and 152");
                return Err(Error::recipe("model.backbone", message));
            }
        };
        let widths = [width, 2 * width, 4 * width, 8 * width];
        Self::new(format!("resnet{depth}"), kind, Stem::Imagenet, &depths, &widths)
    }
}

impl ResNet {
    /// What comes before its blocks.
    pub fn stem_kind(&self) -> Stem {
        self.stem
    }

    /// The convolution of its stem.
    pub fn stem_conv(&self) -> ConvSpec {
        let window = match self.stem {
            Stem::Cifar => Conv2dParams::same(3, 1),
            Stem::Imagenet => Conv2dParams::same(7, 2),
        };
        ConvSpec::convolution("conv1", "bn1", 3, self.widths[0], window)
    }

    /// The convolutions of block `index`, named below `name`, and of its shortcut where that is not the input itself.
    ///
    /// # Errors
    /// No such block.
    pub fn block_convs(&self, index: usize, name: &str) -> Result<(Vec<ConvSpec>, Option<ConvSpec>)> {
        let below = index.checked_sub(1).and_then(|below| self.blocks.get(below));
        self.scaled_convs(index, name, (below.map_or(self.widths[0], |b| b.channels), 1.0))
    }

    /// As [`ResNet::block_convs`], with `scale` times the channels, at least one, on `input` channels.
    fn scaled_convs(
        &self,
        index: usize,
        name: &str,
        (input, scale): (usize, f64),
    ) -> Result<(Vec<ConvSpec>, Option<ConvSpec>)> {
        let Some(&(stage, i)) = self.places.get(index) else {
            return Err(Error::recipe(
                "local",
                format!("no block {index}; {} has {}", self.name, self.blocks.len()),
            ));
        };
        let width = ((self.widths[stage] as f64 * scale).round() as usize).max(1);
        let output = width * self.kind.expansion();
        let stride = if i == 0 && stage > 0 { 2 } else { 1 };
        let conv = |n: usize, (input, output), window| {
            ConvSpec::convolution(format!("{name}.conv{n}"), format!("{name}.bn{n}"), input, output, window)
        };
        // What is behind the last is behind the sum.
        let last = |spec: ConvSpec| spec.activated(ActivationFunction::Identity);
        let convs = match self.kind {
            BlockKind::Basic => vec![
                conv(1, (input, width), Conv2dParams::same(3, stride)),
                last(conv(2, (width, output), Conv2dParams::same(3, 1))),
            ],
            BlockKind::Bottleneck => vec![
                conv(1, (input, width), Conv2dParams::same(1, 1)),
                conv(2, (width, width), Conv2dParams::same(3, stride)),
                last(conv(3, (width, output), Conv2dParams::same(1, 1))),
            ],
        };
        let shortcut = (stride != 1 || input != output).then(|| {
            let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            last(ConvSpec::convolution(conv, norm, input, output, Conv2dParams::same(1, stride)))
        });
        Ok((convs, shortcut))
    }
}

impl Backbone for ResNet {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    fn stem_channels(&self) -> usize {
        self.widths[0]
    }

    fn stem(&self, b: &Builder<'_>) -> Result<Sequence> {
        let conv = self.stem_conv().build(b)?;
        let last: Box<dyn Layer> = match self.stem {
            Stem::Cifar => Box::new(Rectify),
            Stem::Imagenet => Box::new(MaxPool { window: Conv2dParams::same(3, 2) }),
        };
        Ok(vec![conv, last])
    }

    fn block(&self, index: usize, name: &str, b: &Builder<'_>) -> Result<Box<dyn Layer>> {
        residual(self.block_convs(index, name)?, b)
    }

    fn scaled_block(
        &self,
        index: usize,
        name: &str,
        (input, width): (usize, f64),
        b: &Builder<'_>,
    ) -> Result<Box<dyn Layer>> {
        residual(self.scaled_convs(index, name, (input, width))?, b)
    }

    fn classifier(&self, classes: usize, b: &Builder<'_>) -> Result<Sequence> {
        let linear = ConvSpec::linear("fc", self.features(), classes).build(b)?;
        Ok(vec![Box::new(AveragePool { height: 1, width: 1 }), linear])
    }
}

/// A block of these convolutions and, where it has one, this shortcut.
fn residual((convs, shortcut): (Vec<ConvSpec>, Option<ConvSpec>), b: &Builder<'_>) -> Result<Box<dyn Layer>> {
    let convs = convs.into_iter().map(|spec| ConvBnAct::new(b, spec)).collect::<Result<_>>()?;
    let shortcut = shortcut.map(|spec| ConvBnAct::new(b, spec)).transpose()?;
    Ok(Box::new(Residual::new(convs, shortcut)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_layers_and_blocks() {
        for (depth, blocks) in [(8, 3), (20, 9), (32, 15), (110, 54)] {
            assert_eq!(ResNet::cifar(depth, 16).unwrap().blocks().len(), blocks);
        }
        for (depth, blocks) in [(18, 8), (34, 16), (50, 16), (101, 33), (152, 50)] {
            assert_eq!(ResNet::imagenet(depth, 64).unwrap().blocks().len(), blocks);
        }
        assert_eq!(ResNet::imagenet(50, 64).unwrap().features(), 2048);
        let err = ResNet::cifar(33, 16).unwrap_err().to_string();
        assert!(err.contains("32") && err.contains("38"), "{err}");
        assert!(ResNet::imagenet(35, 64).unwrap_err().to_string().contains("34"));
    }
}
