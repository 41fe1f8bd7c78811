//! A local learning method as a value.
//!
//! BP, DGL, InfoPro, MLM, LAM, MLAAN and their combinations are values of [`Method`]; one
//! [`step`](crate::local) runs them all.

use mlaan_engine::Precision;
use serde::{Deserialize, Serialize};

/// How a network is cut and trained. The default is plain backpropagation (one module).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Method {
    /// Number of local modules; blocks are spread as evenly as their number allows. 1 is backpropagation.
    pub modules: usize,
    /// Whether the stem is a module of its own. Default: when `modules` is the number of blocks + 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem_alone: Option<bool>,
    /// Explicit cuts: the number of blocks below each cut, ascending; 0 cuts after the stem. Overrides `modules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuts: Option<Vec<usize>>,
    /// Cut such that the greatest memory of a module is least, instead of evenly. [`crate::plan::balanced`] turns it
    /// into `cuts` before a network is built.
    pub balance: bool,
    /// What is computed again on the way back instead of being stored; results are the same to the bit.
    pub recompute: Recompute,
    /// Parts that each module is cut into for `recompute`, evenly by blocks (a module of fewer blocks into so many); only
    /// their inputs are stored. Default: the square root of a module's blocks, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<usize>,
    /// What is kept in host memory and comes to the device by turns; results are the same to the bit.
    pub offload: Offload,
    /// Auxiliary classifier: `AcBf` (A convolutions, B linear layers) or `dgl`.
    pub head: Head,
    /// Width of the hidden linear layers of a head, and of the contrastive loss's output.
    pub hidden: usize,
    /// Task loss of the auxiliary classifiers.
    pub loss: TaskLoss,
    /// Temperature of the contrastive loss.
    pub temperature: f64,
    /// λ1 of InfoPro, reconstruction: at the first and at the last local loss, linear in between. Both 0: no decoder.
    pub reconstruct: [f64; 2],
    /// λ2 of InfoPro, task: likewise.
    pub task: [f64; 2],
    /// Multilaminar local modules (MLM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
    /// Leap augmented modules (LAM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leap: Option<Leap>,
}

impl Default for Method {
    fn default() -> Self {
        Method {
            modules: 1,
            stem_alone: None,
            cuts: None,
            balance: false,
            recompute: Recompute::None,
            segments: None,
            offload: Offload::None,
            head: Head::Classifier { convolutions: 1, linears: 2 },
            hidden: 128,
            loss: TaskLoss::CrossEntropy,
            temperature: 0.07,
            reconstruct: [0.0, 0.0],
            task: [1.0, 1.0],
            cascade: None,
            leap: None,
        }
    }
}

/// See [`Method::recompute`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing.
    #[default]
    None,
    /// The inside of every module, or of its segments: each pass back over it runs it forward first.
    Module,
}

/// See [`Method::offload`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offload {
    /// Nothing.
    #[default]
    None,
    /// The auxiliary networks, with what the optimiser keeps of them: for a device with memory of its own.
    Auxiliary,
}

impl Offload {
    /// Whether everything stays on the device.
    pub fn is_none(&self) -> bool {
        *self == Offload::None
    }
}

/// The auxiliary classifier's shape, written `0c1f`, `1c2f`, … or `dgl` (METHOD §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Head {
    /// `AcBf`: A 3x3 convolutions, global average pool, B linear layers.
    Classifier {
        /// A.
        convolutions: usize,
        /// B, at least 1.
        linears: usize,
    },
    /// The head of the DGL paper: pool, three 1x1 convolutions, pool to 2x2, three linear layers.
    Dgl,
}

impl TryFrom<String> for Head {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "head `{s}` is unknown; write `AcBf` with A from 0 to 9 and B from 1 to 9 (as `0c1f`, `1c2f`), or `dgl`"
            )
        };
        match *s.as_bytes() {
            [b'd', b'g', b'l'] => Ok(Head::Dgl),
            [a @ b'0'..=b'9', b'c', b @ b'1'..=b'9', b'f'] => {
                Ok(Head::Classifier { convolutions: usize::from(a - b'0'), linears: usize::from(b - b'0') })
            }
            _ => Err(wrong()),
        }
    }
}

impl From<Head> for String {
    fn from(h: Head) -> String {
        match h {
            Head::Classifier { convolutions, linears } => format!("{convolutions}c{linears}f"),
            Head::Dgl => "dgl".into(),
        }
    }
}

/// The loss of an auxiliary classifier; the last module always uses cross-entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskLoss {
    /// Softmax cross-entropy.
    CrossEntropy,
    /// Supervised contrastive loss (Khosla et al. 2020) on normalised features.
    Contrastive,
}

/// MLM: windows of `span` modules trained by one loss (METHOD §5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cascade {
    /// Modules in a window, at least 2.
    pub span: usize,
    /// Weight of the independent loss, w_ind.
    pub independent: f64,
    /// Weight of the cascaded loss, w_cas.
    pub cascaded: f64,
}

/// Span and weights of the authors' code.
impl Default for Cascade {
    fn default() -> Self {
        Cascade { span: 2, independent: 0.001, cascaded: 0.999 }
    }
}

/// LAM: chains of mirrored later blocks in front of the auxiliary classifier (METHOD §6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leap {
    /// How mirrors are tied to their sources.
    pub tie: Tie,
    /// The branch that carries the chain.
    pub on: Branch,
    /// Mirrors in a chain at most, when `sources` does not say; more where the shapes need them.
    pub depth: usize,
    /// Channels of a chain's mirrors, as a part of their sources'. Below 1 they are untied and begin with random values.
    pub width: f64,
    /// Which modules train one chain between them.
    pub share: LeapShare,
    /// Mirrors learn in steps 1, 1 + every, 1 + 2·every, …: in others the gradient only goes through them.
    pub every: usize,
    /// EMA factor m of p ← m·p + (1-m)·source.
    pub ema: f64,
    /// The values that mirrors begin with.
    pub init: LeapInit,
    /// What the momentum of mirrors' weights, and shadows' weights, are stored in.
    pub state: LeapState,
    /// Steps that copies lag behind: after step t they follow their sources as of step max(t - lag, 0), 0 being the initial
    /// values. With 0 every step waits for the step before in all of the network; stages or ranks that work side by side
    /// need as many as there are borders between them.
    pub lag: usize,
    /// Per module (all but the last) the blocks it mirrors, 0-based in network order. Overrides the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Vec<usize>>>,
}

impl Default for Leap {
    fn default() -> Self {
        Leap {
            tie: Tie::Pulled,
            on: Branch::Independent,
            depth: 4,
            width: 1.0,
            share: LeapShare::None,
            every: 1,
            ema: 0.995,
            init: LeapInit::Sources,
            state: LeapState::F32,
            lag: 0,
            sources: None,
        }
    }
}

/// See [`Leap::share`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeapShare {
    /// None: each has its own.
    #[default]
    None,
    /// Modules whose outputs have the same shape, as those within a ResNet's stage.
    Stage,
}

/// See [`Leap::init`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeapInit {
    /// Those of their sources, running statistics among them (the paper and the authors' code).
    #[default]
    Sources,
    /// Random ones of their own, as any new layer's. A shadow has its source's in any case: it is that block's average.
    Random,
}

/// See [`Leap::state`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeapState {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16, rounded stochastically: an EMA that is rounded to the nearest stops far from its source.
    Bf16,
}

impl From<LeapState> for Precision {
    fn from(state: LeapState) -> Self {
        match state {
            LeapState::F32 => Precision::F32,
            LeapState::Bf16 => Precision::Bf16,
        }
    }
}

/// How a leap chain follows its sources, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tie {
    /// Mirrors learn and are pulled to their sources after each step (equations 9 and 10 of the paper).
    Pulled,
    /// Mirrors only learn; beside the first stands a gradient-free shadow that follows its source (the authors' code).
    Twin,
    /// Mirrors only learn, and nothing follows (an ablation).
    Untied,
}

/// One of the two local losses of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// The module's own loss; its gradient stops at the module's input.
    Independent,
    /// The loss of a window of modules.
    Cascaded,
}

/// A part of a network that has parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A module's part of the backbone.
    Module(usize),
    /// The network's own classifier.
    Classifier,
    /// The auxiliary network of a branch behind a module.
    Auxiliary(usize, Branch),
}

impl Branch {
    /// Both, in the order of their declaration.
    pub(crate) const BOTH: [Branch; 2] = [Branch::Independent, Branch::Cascaded];
}

impl Leap {
    /// Of the blocks that a chain mirrors, those that copies follow after every step: all, or for a shadow's sake the first.
    pub fn followed<'a>(&self, sources: &'a [usize]) -> &'a [usize] {
        match self.tie {
            Tie::Pulled => sources,
            Tie::Twin => &sources[..sources.len().min(1)],
            Tie::Untied => &[],
        }
    }

    /// How often mirrors have learnt when step `step`, counted from 1, is through.
    pub fn updates_by(&self, step: u64) -> u64 {
        step.saturating_sub(1) / self.every.max(1) as u64 + 1
    }

    /// Of the blocks that a chain mirrors, those whose values copies ever take over.
    pub fn read<'a>(&self, sources: &'a [usize]) -> &'a [usize] {
        match self.init {
            LeapInit::Sources => sources,
            LeapInit::Random => self.followed(sources),
        }
    }

    /// Whether mirrors learn in step `step`, counted from 1.
    pub fn learns_in(&self, step: u64) -> bool {
        step.saturating_sub(1).is_multiple_of(self.every.max(1) as u64)
    }
}

impl Method {
    /// The leap chains, where they follow their sources.
    pub fn tied(&self) -> Option<&Leap> {
        self.leap.as_ref().filter(|leap| leap.tie != Tie::Untied)
    }

    /// Steps that mirrors lag behind their sources; 0 where nothing follows.
    pub fn lag(&self) -> usize {
        self.tied().map_or(0, |leap| leap.lag)
    }

    /// Steps after which the work of a step repeats itself: 1 unless mirrors learn in some steps only.
    pub fn period(&self) -> usize {
        self.leap.as_ref().map_or(1, |leap| leap.every.max(1))
    }

    /// What a step has in the mean, of what the first of a period has and what the others have.
    pub fn mean(&self, first: u64, other: u64) -> u64 {
        let period = self.period() as u64;
        (first + (period - 1) * other) / period
    }

    /// The weight of a branch's loss: w_ind, w_cas, or 1 and 0 without cascades.
    pub fn weight(&self, branch: Branch) -> f64 {
        match (&self.cascade, branch) {
            (Some(c), Branch::Independent) => c.independent,
            (Some(c), Branch::Cascaded) => c.cascaded,
            (None, Branch::Independent) => 1.0,
            (None, Branch::Cascaded) => 0.0,
        }
    }

    /// Modules in a cascade's window; 1 without cascades.
    pub fn span(&self) -> usize {
        self.cascade.as_ref().map_or(1, |c| c.span.max(1))
    }
}
