//! `[model]`: the backbone.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The network being trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Name of the backbone: `resnet` and its depth.
    pub backbone: Backbone,
    /// Which ResNets the depth is of. Default: ImageNet's for 18, 34, 50, 101 and 152, else CIFAR's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Channels of the first stage; every later stage has twice its predecessor's. Default: 16 (CIFAR) or 64 (ImageNet).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Where the first values come from: a checkpoint (a run's folder or a manifest), or a file of weights. Default: random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Which network of a file of weights is taken, where it has several: a key of a nested dictionary, or what stands in
    /// front of its names. Default: the weights themselves, before an average of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_key: Option<String>,
}

/// The two families of residual networks of He et al. 2016.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Three stages of n basic blocks behind a 3x3 stem, depth 6n+2; for small images.
    Cifar,
    /// Four stages behind a 7x7 stem and a max pool; depths 18, 34, 50, 101, 152.
    Imagenet,
}

/// A backbone's name, `resnet` followed by a depth that one of the families has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Backbone {
    depth: usize,
}

/// The depths of the ImageNet family.
const IMAGENET: [usize; 5] = [18, 34, 50, 101, 152];

/// Depths beyond this are typing mistakes: He et al.'s deepest is 1202.
const DEEPEST: usize = 10_000;

impl Default for Backbone {
    fn default() -> Self {
        Backbone { depth: 32 }
    }
}

impl Backbone {
    /// Number of weighted layers, the number in the name.
    pub fn depth(self) -> usize {
        self.depth
    }

    fn is_of(self, family: Family) -> bool {
        match family {
            Family::Cifar => self.depth >= 8 && self.depth % 6 == 2,
            Family::Imagenet => IMAGENET.contains(&self.depth),
        }
    }
}

impl TryFrom<String> for Backbone {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        let digits = name.strip_prefix("resnet").unwrap_or("");
        let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        let depth: Option<usize> = digits.parse().ok().filter(|d| plain && *d <= DEEPEST);
        let Some(depth) = depth else {
            return Err(format!(
                "backbone `{name}` is unknown; write resnet and a depth: 6n+2 (resnet20, resnet32, resnet110, ...) for small images, or 18, 34, 50, 101, 152 (ImageNet)"
            ));
        };
        let backbone = Backbone { depth };
        if backbone.is_of(Family::Cifar) || backbone.is_of(Family::Imagenet) {
            return Ok(backbone);
        }
        let below = (depth.max(8) - 2) / 6 * 6 + 2;
        Err(format!(
            "there is no ResNet of depth {depth}: it must be 6n+2 (the nearest are resnet{below} and resnet{}), or 18, 34, 50, 101, 152 (ImageNet)",
            below + 6
        ))
    }
}

impl From<Backbone> for String {
    fn from(b: Backbone) -> String {
        format!("resnet{}", b.depth)
    }
}

impl std::fmt::Display for Backbone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "resnet{}", self.depth)
    }
}

impl Model {
    /// The family, told by the depth unless the recipe names it.
    pub fn family(&self) -> Family {
        self.family.unwrap_or(if self.backbone.is_of(Family::Imagenet) {
            Family::Imagenet
        } else {
            Family::Cifar
        })
    }

    /// Channels of the first stage.
    pub fn width(&self) -> usize {
        self.width.unwrap_or(match self.family() {
            Family::Cifar => 16,
            Family::Imagenet => 64,
        })
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.backbone.is_of(self.family()) {
            return Ok(());
        }
        let allowed = match self.family() {
            Family::Cifar => "depth 6n+2 (8, 14, 20, 32, 44, 56, 110, ...)",
            Family::Imagenet => "depth 18, 34, 50, 101 or 152",
        };
        Err(Error::recipe(
            "model.family",
            format!(
                "{} is not of this family, whose networks have {allowed}; change model.backbone, or remove model.family",
                self.backbone
            ),
        ))
    }
}
