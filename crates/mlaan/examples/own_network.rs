//! A network and images of one's own, trained module by module:
//! `cargo run --release -p mlaan --example own_network`.
//!
//! The network is a plain stack of convolutions without shortcuts, with GELU for its activation; the images are coloured gradients whose
//! direction is the class. Both are implementations of a trait; methods, training and checkpoints come with them.

use mlaan::Device;
use mlaan::backbone::{Backbone, BlockInfo};
use mlaan::data::{Dataset, ImageView, Orientation, Splits};
use mlaan::engine::ops::Conv2dParams;
use mlaan::nn::{ActivationFunction, AveragePool, Builder, Chain, ConvSpec, Gelu, Layer, Sequence};
use mlaan::recipe::Recipe;
use mlaan::train::{Progress, Trainer};
use mlaan::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Convolutions of growing width; every one is a block.
struct Plain {
    widths: Vec<usize>,
    blocks: Vec<BlockInfo>,
}

impl Plain {
    fn new(widths: &[usize]) -> Self {
        let block = |(i, &channels): (usize, &usize)| BlockInfo {
            name: format!("conv{i}"),
            stage: i + 1,
            channels,
            reshapes: true,
        };
        Plain { widths: widths.to_vec(), blocks: widths[1..].iter().enumerate().map(block).collect() }
    }

    fn conv(&self, name: &str, i: usize, stride: usize, b: &Builder<'_>) -> Result<Box<dyn Layer>> {
        let input = if i == 0 { 3 } else { self.widths[i - 1] };
        let (conv, norm, window) =
            (format!("{name}.conv"), format!("{name}.bn"), Conv2dParams::same(3, stride));
        ConvSpec::convolution(conv, norm, input, self.widths[i], window)
            .activated(ActivationFunction::Identity)
            .build(b)
    }
}

impl Backbone for Plain {
    fn name(&self) -> String {
        format!("plain{}", self.widths.len())
    }

    fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    fn stem_channels(&self) -> usize {
        self.widths[0]
    }

    fn stem(&self, b: &Builder<'_>) -> Result<Sequence> {
        Ok(vec![self.conv("stem", 0, 1, b)?, Box::new(Gelu::default())])
    }

    fn block(&self, index: usize, name: &str, b: &Builder<'_>) -> Result<Box<dyn Layer>> {
        if index >= self.blocks.len() {
            return Err(Error::recipe("local", format!("no block {index}")));
        }
        Ok(Box::new(Chain::new(vec![self.conv(name, index + 1, 2, b)?, Box::new(Gelu::default())])))
    }

    fn classifier(&self, classes: usize, b: &Builder<'_>) -> Result<Sequence> {
        let linear = ConvSpec::linear("fc", self.features(), classes).build(b)?;
        Ok(vec![Box::new(AveragePool { height: 1, width: 1 }), linear])
    }
}

/// 16x16 gradients towards one of four sides.
struct Gradients {
    classes: Vec<String>,
    images: usize,
}

const SIDE: usize = 16;

impl Dataset for Gradients {
    fn len(&self) -> usize {
        self.images
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        index % self.classes.len()
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        scratch.clear();
        for y in 0..SIDE {
            for x in 0..SIDE {
                let along = [x, SIDE - 1 - x, y, SIDE - 1 - y][self.label(index)];
                let noise = (index * 7919 + x * 104_729 + y * 1_299_709) % 97;
                scratch
                    .extend([8 * along + noise, 6 * along + noise, 4 * along + index % 60].map(|v| v as u8));
            }
        }
        Ok(ImageView { height: SIDE, width: SIDE, rgb: scratch })
    }

    fn resident_bytes(&self) -> usize {
        0
    }
}

fn main() -> Result<()> {
    let mut recipe = Recipe::load("quickstart")?;
    recipe.set_all(["local.modules=4", "train.epochs=3", "data.size=16", "data.augment=none"])?;
    let classes: Vec<String> = ["left", "right", "down", "up"].map(String::from).into();
    let split = |images| Arc::new(Gradients { classes: classes.clone(), images }) as Arc<dyn Dataset>;
    let splits = Splits {
        name: "gradients".into(),
        train: split(1000),
        validation: None,
        test: split(200),
        skipped: 0,
        notes: Default::default(),
        format: "made here",
        known: None,
        orientation: Orientation::Ignore,
    };

    let device = Device::cpu(None)?;
    let mut trainer = Trainer::new(&recipe, &Plain::new(&[8, 16, 32, 64]), splits, &device)?;
    let stop = AtomicBool::new(false);
    trainer.run(Path::new("runs/own-network"), true, &stop, &mut |p| {
        if let Progress::Epoch(e) = p {
            println!(
                "epoch {}: test accuracy {:.1} %, errors per module {:?}",
                e.epoch, e.test_accuracy, e.module_errors
            );
        }
    })?;
    Ok(())
}
