//! What of a network learns, where parts of it are frozen, and so what is trained at all.
//!
//! A module is trained by its independent loss and by the cascades whose windows it lies in. A loss that reaches nothing that
//! learns is not taken, but the classifier's, which tells how the network does.

use super::{Branch, Method, Partition, TaskLoss};
use crate::backbone::Backbone;
use crate::nn::optim::Objective;
use crate::nn::{Builder, Layer, Optimizer, Param, Sequence};
use crate::text::nearest;
use crate::{Error, Result};
use mlaan_engine::{Device, DeviceKind};
use std::collections::BTreeSet;

/// What names the layers before the first block.
const STEM: &str = "stem";
const KEY: &str = "train.freeze";

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Learning {
    /// Parameters that keep their values.
    frozen: BTreeSet<String>,
    /// Of every module whether anything in it learns.
    modules: Vec<bool>,
    /// The same of the classifier.
    pub classifier: bool,
    /// Modules of a cascade's window.
    span: usize,
}

impl Learning {
    /// # Errors
    /// Names that the network does not have; nothing left that learns.
    pub fn new(
        backbone: &dyn Backbone,
        method: &Method,
        partition: &Partition,
        classes: usize,
    ) -> Result<Self> {
        let (modules, span) = (vec![true; partition.len()], method.span());
        let mut learning = Learning { frozen: BTreeSet::new(), modules, classifier: true, span };
        if backbone.frozen().is_empty() {
            return Ok(learning);
        }
        let names = Names::of(backbone, classes)?;
        learning.frozen = names.matched(backbone.frozen())?;
        let learns = |names: &[String]| names.iter().any(|name| !learning.frozen.contains(name));
        let of = |j: usize| {
            let stem = if j == 0 { &names.stem[..] } else { &[] };
            learns(stem) || names.blocks[partition.blocks(j)].iter().any(|block| learns(block))
        };
        (learning.modules, learning.classifier) =
            ((0..partition.len()).map(of).collect(), learns(&names.classifier));
        if !learning.classifier && !learning.modules.contains(&true) {
            let message =
                "everything is frozen, so nothing would learn; leave something out, as the classifier";
            return Err(Error::recipe(KEY, message));
        }
        Ok(learning)
    }

    /// Refuses changes to cross-entropies where none trains anything.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self, objective: Objective, method: &Method) -> Result<()> {
        let last = self.modules.len() - 1;
        let branches = [Branch::Independent, Branch::Cascaded];
        let trained = |j: usize| branches.iter().any(|&branch| self.trained(j, branch));
        let local = method.loss == TaskLoss::CrossEntropy && (0..last).any(trained);
        let changes = [
            ("label_smoothing", objective.label_smoothing > 0.0),
            ("class_weights", objective.class_weights),
        ];
        match changes.iter().find(|(_, there)| *there) {
            Some((key, _)) if !(self.classifier || trained(last) || local) => {
                let message = "changes cross-entropies, and there is none here: local.loss is \"contrastive\", and all that the \
                               classifier trains is frozen; remove this key";
                Err(Error::recipe(format!("train.{key}"), message))
            }
            _ => Ok(()),
        }
    }

    /// Whether anything in module `m` learns.
    pub fn module(&self, m: usize) -> bool {
        self.modules.get(m).copied().unwrap_or(false)
    }

    /// Whether the loss of a branch behind module `j` reaches a module that learns.
    pub fn trained(&self, j: usize, branch: Branch) -> bool {
        match branch {
            Branch::Independent => self.module(j),
            Branch::Cascaded => self.span > 1 && (self.module(j) || self.below(j, j)),
        }
    }

    /// Whether anything learns in the window of cascade `j` below module `m`.
    pub fn below(&self, j: usize, m: usize) -> bool {
        ((j + 1).saturating_sub(self.span)..m).any(|i| self.module(i))
    }

    /// Layers made by `make`, of which what is frozen has no state of an optimiser.
    pub fn build(
        &self,
        b: &Builder<'_>,
        make: impl FnOnce(&Builder<'_>) -> Result<Sequence>,
    ) -> Result<Sequence> {
        let Some(optimizer) = b.optimizer.filter(|_| !self.frozen.is_empty()) else { return make(b) };
        let mut layers = make(&Builder { optimizer: None, ..*b })?;
        let mut learn = |p: Param<'_>| self.learn(p, b.device, &optimizer);
        layers.iter_mut().try_for_each(|layer| layer.visit(&mut learn))?;
        Ok(layers)
    }

    fn learn(&self, p: Param<'_>, device: &Device, optimizer: &Optimizer) -> Result<()> {
        let name = p.name();
        if let Some(learned) = p.learned.filter(|_| !self.frozen.contains(&name)) {
            *learned.state = Some(optimizer.state(device, p.value)?);
        }
        Ok(())
    }

    /// How many of the first `layers` of module `m` no gradient goes back through: nothing learns in them or, in a window that
    /// it lies in, below.
    pub fn floor(&self, m: usize, layers: &mut [Box<dyn Layer>]) -> Result<usize> {
        if self.frozen.is_empty() || self.below(m, m) {
            return Ok(0);
        }
        for (i, layer) in layers.iter_mut().enumerate() {
            let mut learns = false;
            layer.visit(&mut |p| {
                learns |= !p.is_buffer() && !self.frozen.contains(&p.name());
                Ok(())
            })?;
            if learns {
                return Ok(i);
            }
        }
        Ok(layers.len())
    }
}

/// Names of a network's parameters, by part.
struct Names {
    stem: Vec<String>,
    blocks: Vec<Vec<String>>,
    classifier: Vec<String>,
}

impl Names {
    fn of(backbone: &dyn Backbone, classes: usize) -> Result<Self> {
        let device = Device::dry(DeviceKind::Cpu { threads: Some(1) })?;
        let b = &Builder { device: &device, seed: 0, optimizer: None };
        let block = |i: usize| parameters(vec![backbone.block(i, &backbone.blocks()[i].name, b)?]);
        Ok(Names {
            stem: parameters(backbone.stem(b)?)?,
            blocks: (0..backbone.blocks().len()).map(block).collect::<Result<_>>()?,
            classifier: parameters(backbone.classifier(classes, b)?)?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.stem.iter().chain(self.blocks.iter().flatten()).chain(&self.classifier)
    }

    /// The parameters that are meant.
    fn matched(&self, asked: &[String]) -> Result<BTreeSet<String>> {
        let mut frozen = BTreeSet::new();
        for part in asked {
            let meant = |name: &&String| {
                name.strip_prefix(part.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let found: Vec<&String> = match part.as_str() {
                STEM => self.stem.iter().collect(),
                _ => self.all().filter(meant).collect(),
            };
            if found.is_empty() {
                return Err(self.unknown(part));
            }
            frozen.extend(found.into_iter().cloned());
        }
        Ok(frozen)
    }

    fn unknown(&self, part: &str) -> Error {
        let (mut first, mut any) = (vec![STEM], vec![STEM]);
        for name in self.all() {
            for (at, _) in name.match_indices('.').chain([(name.len(), "")]) {
                let prefix = &name[..at];
                if !any.contains(&prefix) {
                    any.push(prefix);
                }
            }
            let top = name.split('.').next().unwrap_or(name);
            if !first.contains(&top) {
                first.push(top);
            }
        }
        let hint = nearest(part, any, 1).first().map_or(String::new(), |n| format!(" (did you mean `{n}`?)"));
        let message = format!(
            "the network has no `{part}`{hint}; its parts are {}, and what lies in them, as {}",
            first.join(", "),
            self.blocks.first().and_then(|b| b.first()).map_or("fc.weight", String::as_str)
        );
        Error::recipe(KEY, message)
    }
}

fn parameters(layers: Sequence) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for mut layer in layers {
        layer.visit(&mut |p| {
            if !p.is_buffer() {
                names.push(p.name());
            }
            Ok(())
        })?;
    }
    Ok(names)
}
