//! A golden file, as the oracle writes it.

use mlaan::backbone::{BlockKind, Frozen, ResNet, Stem};
use mlaan::data::Classes;
use mlaan::local::{
    Branch, Cascade, Head, Leap, LeapInit, LeapShare, Learner, Method, StepOptions, Task, TaskLoss, Tie,
};
use mlaan::nn::optim::{AdamW, Lars, Objective, Optimizer, Rule, Sgd};
use mlaan::nn::{ImageShape, Role, Roles};
use mlaan::recipe::OptimizerKind;
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::path::Path;

fn one() -> usize {
    1
}

fn whole() -> f64 {
    1.0
}

/// The oracle's `Case`.
#[derive(Deserialize)]
pub struct Case {
    pub block: String,
    pub depths: Vec<usize>,
    pub widths: Vec<usize>,
    pub stem: String,
    pub classes: usize,
    pub batch: usize,
    pub size: usize,
    pub cuts: Vec<usize>,
    pub head: String,
    pub hidden: usize,
    pub loss: String,
    pub reconstruct: [f64; 2],
    pub task: [f64; 2],
    pub span: usize,
    pub weights: [f64; 2],
    pub leap: String,
    pub leap_on: String,
    pub leap_sources: Vec<Vec<usize>>,
    pub ema: f64,
    #[serde(default)]
    pub leap_lag: usize,
    #[serde(default)]
    pub leap_share: bool,
    #[serde(default = "one")]
    pub leap_every: usize,
    #[serde(default = "whole")]
    pub leap_width: f64,
    pub lr: f32,
    pub momentum: f32,
    pub weight_decay: f32,
    pub steps: usize,
    #[serde(default)]
    pub optimizer: OptimizerKind,
    #[serde(default)]
    pub trust: f32,
    #[serde(default)]
    pub no_decay: bool,
    #[serde(default)]
    pub label_smoothing: f32,
    #[serde(default)]
    pub class_weights: Vec<f32>,
    /// Whether images are mixtures of two classes.
    #[serde(default)]
    pub mixed: bool,
    /// 0: none.
    #[serde(default)]
    pub clip: f32,
    #[serde(default)]
    pub freeze: Vec<String>,
    #[serde(default)]
    pub shards: usize,
}

/// What the oracle found when it moved a case's parameters a little, in eight runs: how far they strayed, at the most.
#[derive(Deserialize)]
pub struct WellConditioned {
    pub perturbation: f32,
    pub runs: usize,
    pub after: f32,
    pub logits: f32,
    pub grad: f32,
}

pub struct Golden {
    pub case: Case,
    pub well: Option<WellConditioned>,
    pub bytes: Vec<u8>,
}

impl Golden {
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let about = metadata.metadata().as_ref().unwrap();
        let case = serde_json::from_str(&about["case"]).unwrap();
        let well = about.get("well_conditioned").map(|text| serde_json::from_str(text).unwrap());
        Golden { case, well, bytes }
    }

    pub fn names(&self) -> Vec<String> {
        SafeTensors::deserialize(&self.bytes).unwrap().names().into_iter().map(String::from).collect()
    }

    pub fn f32(&self, name: &str) -> Option<Vec<f32>> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).ok()?;
        Some(view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
    }

    pub fn labels(&self, name: &str) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect()
    }

    /// `[n, c, h, w]` to `[n, h, w, c]`.
    pub fn images(&self) -> Vec<f32> {
        let (n, s, x) = (self.case.batch, self.case.size, self.f32("images").unwrap());
        let mut out = vec![0.0; x.len()];
        for i in 0..n {
            for c in 0..3 {
                for p in 0..s * s {
                    out[(i * s * s + p) * 3 + c] = x[(i * 3 + c) * s * s + p];
                }
            }
        }
        out
    }

    pub fn method(&self) -> Method {
        let c = &self.case;
        let leap = match c.leap.as_str() {
            "off" => None,
            tie => Some(Leap {
                tie: match tie {
                    "twin" => Tie::Twin,
                    "untied" => Tie::Untied,
                    _ => Tie::Pulled,
                },
                share: if c.leap_share { LeapShare::Stage } else { LeapShare::None },
                every: c.leap_every,
                width: c.leap_width,
                init: if c.leap_width == 1.0 { LeapInit::Sources } else { LeapInit::Random },
                on: if c.leap_on == "cascaded" { Branch::Cascaded } else { Branch::Independent },
                depth: 4,
                ema: c.ema,
                lag: c.leap_lag,
                sources: Some(c.leap_sources.clone()),
                ..Leap::default()
            }),
        };
        let cascade = (c.span > 1).then_some(Cascade {
            span: c.span,
            independent: c.weights[0],
            cascaded: c.weights[1],
        });
        Method {
            cuts: Some(c.cuts.clone()),
            head: Head::try_from(c.head.clone()).unwrap(),
            hidden: c.hidden,
            loss: if c.loss == "contrastive" { TaskLoss::Contrastive } else { TaskLoss::CrossEntropy },
            reconstruct: c.reconstruct,
            task: c.task,
            cascade,
            leap,
            ..Method::default()
        }
    }

    /// A learner with the file's initial parameters.
    pub fn learner(&self, device: &Device) -> Learner {
        let c = &self.case;
        let kind = if c.block == "bottleneck" { BlockKind::Bottleneck } else { BlockKind::Basic };
        let stem = if c.stem == "imagenet" { Stem::Imagenet } else { Stem::Cifar };
        let net = ResNet::new("golden", kind, stem, &c.depths, &c.widths).unwrap();
        let net = Frozen::new(net, &c.freeze);
        // The oracle's images are (pixels - 0.5) / 0.25.
        let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
        let task = Task { image: ImageShape::square(c.size, 3), classes: c.classes, pixels };
        let mut learner = Learner::new(device, &net, &self.method(), task, 0, self.optimizer()).unwrap();
        learner.cut_batches(c.shards.max(1)).unwrap();
        let mut loaded = 0;
        learner
            .visit(&mut |p| {
                let name = format!("param/{}", p.name());
                let values = self.f32(&name).unwrap_or_else(|| panic!("the file has no {name}"));
                device.upload(p.value, &values)?;
                loaded += 1;
                Ok(())
            })
            .unwrap();
        let there = self.names().iter().filter(|n| n.starts_with("param/")).count();
        assert_eq!(loaded, there, "tensors of the network and of the file");
        learner.restart_versions().unwrap();
        if !c.class_weights.is_empty() {
            learner.weigh_classes(&c.class_weights).unwrap();
        }
        learner
    }

    pub fn batch(&self, device: &Device) -> (Tensor, Classes) {
        let (n, s) = (self.case.batch, self.case.size);
        let mut images = device.alloc([n, s, s, 3], DType::F32, MemoryCategory::Data).unwrap();
        device.upload(&mut images, &self.images()).unwrap();
        let labels = |name: &str| {
            let mut labels = device.alloc([n], DType::U32, MemoryCategory::Data).unwrap();
            device.upload(&mut labels, &self.labels(name)).unwrap();
            labels
        };
        let mixed = self.case.mixed.then(|| {
            let mut share = device.alloc([n], DType::F32, MemoryCategory::Data).unwrap();
            device.upload(&mut share, &self.f32("share").unwrap()).unwrap();
            (labels("other"), share)
        });
        (images, Classes { own: labels("labels"), mixed })
    }

    /// Of a step, counted from 0.
    pub fn options(&self, step: usize) -> StepOptions {
        StepOptions::uniform(self.case.lr, step as u64 + 1)
    }

    pub fn optimizer(&self) -> Optimizer {
        let c = &self.case;
        let (momentum, nesterov) = (c.momentum, true);
        let rule = match c.optimizer {
            OptimizerKind::Sgd => Rule::Sgd(Sgd { momentum, nesterov }),
            OptimizerKind::AdamW => Rule::AdamW(AdamW::default()),
            OptimizerKind::Lars => Rule::Lars(Lars { momentum, nesterov, trust: c.trust, eps: 1e-8 }),
        };
        let spared: Roles = [Role::Bias, Role::Norm].into_iter().collect();
        let no_decay = if c.no_decay { spared } else { Roles::default() };
        let objective =
            Objective { label_smoothing: c.label_smoothing, class_weights: !c.class_weights.is_empty() };
        let clip_grad_norm = (c.clip > 0.0).then_some(c.clip);
        Optimizer {
            rule,
            weight_decay: c.weight_decay,
            no_decay,
            clip_grad_norm,
            objective,
            ..Optimizer::default()
        }
    }
}
