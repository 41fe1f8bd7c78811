//! `[train]`: the optimiser and its schedule (METHOD §7).

use super::{ClassWeights, OptimizerKind, Schedule};
use crate::nn::Roles;
use serde::{Deserialize, Serialize};

/// How parameters are updated. Defaults are the paper's for CIFAR-10.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Shards that a step's batch is cut into (gradient accumulation). Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<usize>,
    /// Peak learning rate, η_l of the paper.
    pub lr: f64,
    /// Peak learning rate of the independent auxiliary networks, η_a. Default: `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_auxiliary: Option<f64>,
    /// Peak learning rate of the cascaded auxiliary networks, η_c. Default: `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_cascaded: Option<f64>,
    /// Batch that the learning rates are meant for: with steps of other sizes they change in proportion (Goyal et al. 2017),
    /// so that a smaller batch needs no other key. Default: none, no change. It belongs to the rates beside it: whoever
    /// sets a rate of one's own sets this, too ([`Recipe::set_lr`](super::Recipe::set_lr) drops it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_batch: Option<usize>,
    /// The rule of updates. Default: SGD, which recipes do not spell out.
    #[serde(skip_serializing_if = "OptimizerKind::is_default")]
    pub optimizer: OptimizerKind,
    /// AdamW's β1 and β2. Default: 0.9 and 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// Added to the denominator by AdamW and LARS. Default: 1e-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// LARS's trust coefficient. Default: 0.001.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_coefficient: Option<f64>,
    /// Momentum of SGD and LARS, from 0 to 1.
    pub momentum: f64,
    /// Nesterov's form of momentum, as PyTorch computes it.
    pub nesterov: bool,
    /// Weight decay of every trained parameter but those of `no_decay`: added to the gradient, by AdamW taken off the parameter.
    pub weight_decay: f64,
    /// Parameters without weight decay, by role. Default: none.
    #[serde(skip_serializing_if = "Roles::is_empty")]
    pub no_decay: Roles,
    /// Part ε of every target that is spread evenly over all classes (Szegedy et al. 2016), in the cross-entropies of the classifier
    /// and of all auxiliary classifiers: `torch.nn.CrossEntropyLoss(label_smoothing=ε)`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<f64>,
    /// By what each class counts in the same cross-entropies: PyTorch's `weight`. Default: all alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// Largest norm of a group's gradients, which are scaled down to it (`torch.nn.utils.clip_grad_norm_`): a module's own part of the
    /// network (the last one's with the classifier), and each auxiliary network. Default: none, no clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_grad_norm: Option<f64>,
    /// What does not learn: blocks and parameters of the network, or the first parts of their names (`layer1`), and `stem`. Such
    /// parameters keep their values, as with `requires_grad=False`; BatchNorm's running statistics still move, as in PyTorch's
    /// training mode. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Decay d of an EMA of the weights and running statistics, timm's model EMA: e ← d e + (1 - d) p after every step. It is
    /// what is tested, kept as the best, exported and used. Default: none is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_ema_decay: Option<f64>,
    /// The learning rate's course after the warm-up.
    pub schedule: Schedule,
    /// Epochs of linear warm-up. At most a fifth of `epochs` (rounded down) is used, so that short runs also train at their
    /// peak rate, unless `full_warmup` says otherwise.
    pub warmup: usize,
    /// Whether the warm-up is taken whole, also where it is more than a fifth of `epochs`. Recipes that set such a warm-up
    /// for their own epochs have it set by themselves. Default: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_warmup: Option<bool>,
    /// Epochs between two cuts of the rate (`step`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<usize>,
    /// What a cut leaves of the rate (`step`, `multistep`). Default: 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Epochs after which the rate is cut (`multistep`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milestones: Option<Vec<usize>>,
    /// Rate at the end (`cosine`, `linear`, `wsd`), the same for all networks and any batch. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// Fraction of the run that the rate decays over (`wsd`). Default: 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_fraction: Option<f64>,
    /// Whether the rate moves at every step instead of every epoch. Default: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_step: Option<bool>,
    /// Steps of linear warm-up instead of `warmup`, where the rate moves at every step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<usize>,
    /// Epochs without a lower validation error after which a run ends (test error, where there is no validation set); 0 never.
    /// Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// What activations and their gradients are stored in; parameters and arithmetic are of 32 bits either way.
    pub precision: Precision,
}

/// What activations are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16: half the memory, three significant digits.
    Bf16,
}

impl From<Precision> for mlaan_engine::Precision {
    fn from(p: Precision) -> Self {
        match p {
            Precision::F32 => mlaan_engine::Precision::F32,
            Precision::Bf16 => mlaan_engine::Precision::Bf16,
        }
    }
}

impl From<mlaan_engine::Precision> for Precision {
    fn from(p: mlaan_engine::Precision) -> Self {
        match p {
            mlaan_engine::Precision::F32 => Precision::F32,
            mlaan_engine::Precision::Bf16 => Precision::Bf16,
        }
    }
}

impl Train {
    /// A warm-up takes at most one in so many epochs, unless it is meant for this run.
    pub(super) const WARMUP_PART: usize = 5;

    /// Epochs without improvement after which a run ends, where it may end early.
    pub fn patience_used(&self) -> Option<usize> {
        self.patience.filter(|epochs| *epochs > 0)
    }

    /// Shards of a batch in use.
    pub fn shards_used(&self) -> usize {
        self.shards.unwrap_or(1).max(1)
    }

    /// Images that are classified at a time while testing: no more than a shard has.
    pub fn test_batch(&self) -> usize {
        self.batch.div_ceil(self.shards_used()).max(1)
    }

    /// Epochs of warm-up in use.
    pub fn warmup_used(&self) -> usize {
        let most = if self.full_warmup == Some(true) { self.epochs } else { self.epochs / Self::WARMUP_PART };
        self.warmup.min(most)
    }
}

impl Default for Train {
    fn default() -> Self {
        Train {
            epochs: 400,
            batch: 1024,
            shards: None,
            lr: 0.8,
            lr_auxiliary: None,
            lr_cascaded: None,
            lr_batch: None,
            optimizer: OptimizerKind::Sgd,
            betas: None,
            eps: None,
            trust_coefficient: None,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 1e-4,
            no_decay: Roles::default(),
            label_smoothing: None,
            class_weights: None,
            clip_grad_norm: None,
            freeze: Vec::new(),
            model_ema_decay: None,
            schedule: Schedule::Cosine,
            warmup: 10,
            full_warmup: None,
            step_size: None,
            gamma: None,
            milestones: None,
            min_lr: None,
            decay_fraction: None,
            per_step: None,
            warmup_steps: None,
            patience: None,
            precision: Precision::F32,
        }
    }
}
