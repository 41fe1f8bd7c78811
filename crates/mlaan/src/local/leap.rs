//! Leap chains: mirrors of later blocks in front of an auxiliary classifier (METHOD §6).

use super::features::Features;
use super::shadow::Shadow;
use super::sources::Blocks;
use super::versions::Versions;
use super::{Leap, LeapInit, Partition, Tie};
use crate::backbone::Backbone;
use crate::nn::optim::halves;
use crate::nn::{
    Activation, Builder, Chain, Grad, ImageShape, Layer, Mode, Optimizer, Origin, Param, Pass, Through, zip,
};
use crate::{Error, Result};
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};

/// The blocks that module `j` mirrors.
///
/// # Errors
/// When the recipe's own list does not fit.
pub fn sources(leap: &Leap, partition: &Partition, backbone: &dyn Backbone, j: usize) -> Result<Vec<usize>> {
    match &leap.sources {
        None => Ok(by_rule(leap.depth, backbone, partition.blocks(j).end)),
        Some(all) => {
            let wrong = |message: String| Err(Error::recipe("local.leap.sources", message));
            if all.len() != partition.len() - 1 {
                return wrong(format!(
                    "{} lists for {} modules; each but the last needs one",
                    all.len(),
                    partition.len()
                ));
            }
            let blocks = backbone.blocks().len();
            // Later blocks make sense, but the authors' lists have others, too.
            match all[j].iter().find(|&&s| s >= blocks) {
                Some(s) => wrong(format!(
                    "module {j} is to have an EMA copy of block {s}; there are blocks 0 to {}",
                    blocks - 1
                )),
                None if all[j].is_empty() => {
                    wrong(format!("module {j} has no EMA copy of a block; name at least one"))
                }
                None => Ok(all[j].clone()),
            }
        }
    }
}

/// The first block of every later stage, which brings the shape down; then blocks of the last stage spread
/// evenly, the last block always among them, at most `depth` in all (more where the shapes need them). In the
/// last stage up to three later blocks.
fn by_rule(depth: usize, backbone: &dyn Backbone, next: usize) -> Vec<usize> {
    let blocks = backbone.blocks();
    let Some(last) = blocks.len().checked_sub(1) else { return Vec::new() };
    let mut chain: Vec<usize> = (next..=last).filter(|&b| blocks[b].reshapes).collect();
    let (from, room) = match chain.last() {
        Some(&b) => (b + 1, depth.saturating_sub(chain.len())),
        None => (next, depth.min(3)),
    };
    let candidates = (last + 1).saturating_sub(from);
    let count = room.max(1).min(candidates);
    chain.extend((1..=count).map(|i| from + i * candidates / count - 1));
    chain
}

impl Leap {
    /// Whether mirrors may have the width that is asked for.
    ///
    /// # Errors
    /// A width other than their sources' where they follow these, or begin with their values.
    pub(crate) fn check_width(&self) -> Result<()> {
        let width = self.width;
        if width == 1.0 {
            return Ok(());
        }
        if self.tie != Tie::Untied {
            let message = format!(
                "found {width}, and copies of another width cannot follow their sources; set local.leap.tie to \"untied\" and \
                 local.leap.init to \"random\", or write 1"
            );
            return Err(Error::recipe("local.leap.width", message));
        }
        if self.init != LeapInit::Random {
            let message = format!(
                "found \"sources\", and copies with {width} times the channels cannot begin with their values; write \"random\""
            );
            return Err(Error::recipe("local.leap.init", message));
        }
        Ok(())
    }
}

/// See the module.
pub struct LeapChain {
    leap: Leap,
    sources: Vec<usize>,
    first: Box<dyn Layer>,
    rest: Chain,
    /// Beside the first mirror, without gradients of its own.
    shadow: Option<Shadow>,
    first_act: Option<Activation>,
    shadow_act: Option<Activation>,
    sum: Option<Activation>,
}

impl LeapChain {
    /// Mirrors of `sources` behind features of shape `input`, with parameters named below `leap_NAME` and `shadow_NAME`. Values are
    /// those of a fresh network until the learner copies the sources.
    ///
    /// # Errors
    /// Out of memory; mirrors that cannot take what comes before them, or of a width that they cannot have.
    pub fn new(
        leap: &Leap,
        sources: Vec<usize>,
        backbone: &dyn Backbone,
        (name, input): (&str, ImageShape),
        b: &Builder<'_>,
    ) -> Result<Self> {
        leap.check_width()?;
        let state_precision = leap.state.into();
        let optimizer = b.optimizer.map(|optimizer| Optimizer { state_precision, ..optimizer });
        let b = &Builder { optimizer, ..*b };
        let mut below = input;
        let mut mirror = |i: usize| -> Result<Box<dyn Layer>> {
            let name = format!("aux.leap_{name}.{i}");
            if leap.width == 1.0 {
                return backbone.block(sources[i], &name, b);
            }
            let scale = (below.channels, leap.width);
            let layer = backbone.scaled_block(sources[i], &name, scale, b)?;
            below = layer.extent(below).map_err(|e| misfit(&sources, input, &e))?;
            Ok(layer)
        };
        let first = mirror(0)?;
        let rest = (1..sources.len()).map(mirror).collect::<Result<_>>()?;
        let shadow = match leap.tie {
            Tie::Pulled | Tie::Untied => None,
            Tie::Twin => {
                let name = format!("aux.shadow_{name}");
                Some(Shadow::new(backbone, sources[0], &name, (b, state_precision))?)
            }
        };
        Ok(LeapChain {
            leap: leap.clone(),
            sources,
            first,
            rest: Chain::new(rest),
            shadow,
            first_act: None,
            shadow_act: None,
            sum: None,
        })
    }

    /// As [`Leap::updates_by`].
    pub(super) fn updates_by(&self, step: u64) -> u64 {
        self.leap.updates_by(step)
    }

    /// The mirrored blocks.
    pub fn sources(&self) -> &[usize] {
        &self.sources
    }

    /// The output's size.
    ///
    /// # Errors
    /// When a mirror cannot take what comes before it.
    pub fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        let extent = self.first.extent(input).and_then(|e| self.rest.extent(e));
        extent.map_err(|e| misfit(&self.sources, input, &e))
    }

    /// Runs the chain and keeps what backward needs; nobody needs its input until [`LeapChain::backward`].
    ///
    /// # Errors
    /// From a layer.
    pub(super) fn forward(&mut self, device: &Device, features: &mut Features<'_>) -> Result<()> {
        let x = features.get()?;
        let mut first = self.first.forward(device, x, Mode::Train)?;
        let Some(shadow) = &mut self.shadow else {
            features.forget();
            self.rest.forward(device, &first)?;
            self.first_act = Some(first);
            return Ok(());
        };
        let beside = shadow.with(device, |shadow| shadow.forward(device, x, Mode::Train))?;
        // Only the sum is read on: on the way back the two are made again, one after the other.
        let again = self.first.repeats_output() && shadow.layer().repeats_output();
        let sum = match again && first.is_plain() && beside.is_plain() {
            true => {
                device.add_assign(&mut first.tensor, &beside.tensor)?;
                drop(beside);
                first
            }
            false => {
                let sum = Activation::plain(device.add(&first.operand(), Some(&beside.operand()), false)?);
                self.first_act = (!self.first.repeats_output()).then_some(first);
                self.shadow_act = (!shadow.layer().repeats_output()).then_some(beside);
                sum
            }
        };
        features.forget();
        self.rest.forward(device, &sum)?;
        self.sum = Some(sum);
        Ok(())
    }

    /// The chain's output with running statistics; nothing is kept.
    ///
    /// # Errors
    /// From a layer.
    pub fn infer(&mut self, device: &Device, x: &Activation) -> Result<Activation> {
        let mut y = self.first.forward(device, x, Mode::Infer)?;
        if let Some(shadow) = &mut self.shadow {
            let beside = shadow.with(device, |shadow| shadow.forward(device, x, Mode::Infer))?;
            y = Activation::plain(device.add(&y.operand(), Some(&beside.operand()), false)?);
        }
        self.rest.infer(device, y)
    }

    /// The output of the last forward.
    pub fn output(&self) -> Option<&Activation> {
        let below = self.sum.as_ref().or(self.first_act.as_ref())?;
        Some(self.rest.output(below))
    }

    /// Goes back over the last forward, once, and forgets it; returns the gradient of the chain's input. Calls `through` with every mirror
    /// that has its gradients, of weights too unless mirrors do not learn in step `step` ([`Leap::every`]).
    ///
    /// # Errors
    /// From a layer.
    pub(super) fn backward(
        &mut self,
        device: &Device,
        features: &mut Features<'_>,
        (grad, step): (Grad, u64),
        through: Through<'_>,
    ) -> Result<Option<Grad>> {
        let learns = self.leap.learns_in(step);
        if !learns {
            self.forget_gradients()?;
        }
        let pass = Pass { weights: learns, input: true };
        let Some(below) = self.sum.as_ref().or(self.first_act.as_ref()) else { return Ok(None) };
        let Some(grad) = self.rest.backward_last_each(device, below, grad, pass, &mut *through)? else {
            return Ok(None);
        };
        self.sum = None;
        features.remember(device)?;
        let x = features.get()?;
        let beside = self.shadow_backward(device, x, &grad)?;
        let first_act = match self.first_act.take() {
            Some(act) => Some(act),
            None => self.first.output_again(device, x)?,
        };
        let Some(first_act) = first_act else { return Ok(None) };
        let mut dx = self.first.backward_last(device, x, first_act, grad, pass)?;
        through(self.first.as_mut())?;
        if let (Some(dx), Some(beside)) = (&mut dx, beside) {
            device.add_assign(&mut dx.tensor, &beside.tensor)?;
        }
        self.release();
        Ok(dx)
    }

    /// Drops gradients that nobody applied: those of a pass that was only to give them, or that failed.
    fn forget_gradients(&mut self) -> Result<()> {
        self.visit(&mut |p| {
            if let Some(learned) = p.learned {
                *learned.grad = None;
            }
            Ok(())
        })
    }

    /// The gradient at the sum back through the shadow, which is then forgotten.
    fn shadow_backward(&mut self, device: &Device, x: &Activation, grad: &Grad) -> Result<Option<Grad>> {
        let Some(shadow) = &mut self.shadow else { return Ok(None) };
        let act = match self.shadow_act.take() {
            Some(act) => Some(act),
            None => shadow.layer().output_again(device, x)?,
        };
        let Some(act) = act else { return Ok(None) };
        let mut copy = device.alloc(grad.tensor.shape(), grad.tensor.dtype(), MemoryCategory::Gradients)?;
        device.copy(&mut copy, &grad.tensor)?;
        let still = Pass { weights: false, input: true };
        let grad = Grad::plain(copy);
        shadow.with(device, |shadow| shadow.backward_last(device, x, act, grad, still))
    }

    /// Forgets the last forward.
    pub fn release(&mut self) {
        self.first.release();
        self.rest.release();
        if let Some(s) = &mut self.shadow {
            s.layer().release();
        }
        (self.first_act, self.shadow_act, self.sum) = (None, None, None);
    }

    /// Calls `f` with every parameter and buffer of the mirrors, then of the shadow.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        let mut mirror = |p: Param<'_>| f(Param { origin: Origin::Mirror, ..p });
        self.first.visit(&mut mirror)?;
        self.rest.visit(&mut mirror)?;
        let mut shadow = |p: Param<'_>| f(Param { origin: Origin::Shadow, ..p });
        self.shadow.as_mut().map_or(Ok(()), |s| s.layer().visit(&mut shadow))
    }

    /// As [`Layer::fuse`].
    ///
    /// # Errors
    /// From the device.
    pub fn fuse(&mut self, device: &Device) -> Result<()> {
        self.first.fuse(device)?;
        self.rest.fuse(device)?;
        self.shadow.as_mut().map_or(Ok(()), |s| s.layer().fuse(device))
    }

    /// Takes over all values of the sources, those that mirrors begin with and a shadow's.
    pub(super) fn copy_sources(&mut self, device: &Device, blocks: &mut Blocks<'_>) -> Result<()> {
        let mirrors = self.leap.init == LeapInit::Sources;
        self.each_tied(blocks, mirrors, |copy, source| Ok(device.convert(copy.value, source.value)?))
    }

    /// Pulls mirrors (or the shadow) towards their sources, after the optimiser's step `step` (METHOD §6); buffers stay.
    pub(super) fn follow(&mut self, device: &Device, blocks: &mut Blocks<'_>, step: u64) -> Result<()> {
        let m = self.leap.ema as f32;
        let mirrors = self.leap.tie == Tie::Pulled;
        self.each_tied(blocks, mirrors, |copy, source| pull(device, m, copy, source.value, step))
    }

    /// As [`LeapChain::follow`], towards what the sources were `lag` steps before.
    pub(super) fn follow_late(&mut self, device: &Device, versions: &Versions, step: u64) -> Result<()> {
        let (m, tie) = (self.leap.ema as f32, self.leap.tie);
        let mirrors = std::iter::once(&mut self.first).chain(self.rest.layers_mut());
        let mirrors = mirrors.map(|mirror| mirror.as_mut() as &mut dyn Layer);
        let pulled = mirrors.zip(&self.sources).filter(|_| tie == Tie::Pulled);
        let shadow = self.shadow.as_mut().map(Shadow::layer).zip(self.sources.first());
        for (copy, &block) in pulled.chain(shadow) {
            let version = versions.oldest(block).ok_or_else(|| {
                Error::recipe("local.leap.lag", format!("no earlier values of block {block} are kept"))
            })?;
            let mut version = version.iter();
            copy.visit(&mut |p| match p.is_buffer() {
                true => Ok(()),
                false => version.next().map_or(Ok(()), |source| pull(device, m, p, source, step)),
            })?;
        }
        Ok(())
    }

    /// Calls `f` with the tensors of copies and of their sources: of the shadow, and of `mirrors` if these are wanted.
    fn each_tied(
        &mut self,
        blocks: &mut Blocks<'_>,
        mirrors: bool,
        f: impl Fn(Param<'_>, Param<'_>) -> Result<()>,
    ) -> Result<()> {
        if mirrors {
            let mirrors = std::iter::once(&mut self.first).chain(self.rest.layers_mut());
            for (mirror, &b) in mirrors.zip(&self.sources) {
                if let Some(source) = blocks.get(b) {
                    zip(mirror.as_mut(), source, &f)?;
                }
            }
        }
        match (&mut self.shadow, blocks.get(self.sources[0])) {
            (Some(shadow), Some(source)) => zip(shadow.layer(), source, &f),
            _ => Ok(()),
        }
    }
}

fn misfit(sources: &[usize], input: ImageShape, why: &Error) -> Error {
    let message = format!("copies of blocks {sources:?} do not fit behind {input}: {why}");
    Error::recipe("local.leap.sources", message)
}

/// p <- m p + (1 - m) source, behind the optimiser's step `step`; buffers stay.
fn pull(device: &Device, m: f32, copy: Param<'_>, source: &Tensor, step: u64) -> Result<()> {
    match copy.value.dtype() {
        _ if copy.is_buffer() => Ok(()),
        DType::Bf16 => {
            let key = halves::key(copy.owner, copy.leaf, step);
            Ok(device.ema_rounded(copy.value, source, m, key)?)
        }
        _ => Ok(device.ema(copy.value, source, m)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{BlockKind, ResNet, Stem};

    #[test]
    fn the_rule_brings_the_shape_down_and_ends_with_the_last_block() {
        let small = ResNet::new("small", BlockKind::Basic, Stem::Cifar, &[2, 2, 2], &[4, 8, 16]).unwrap();
        let chains: Vec<_> = [0, 1, 2, 3, 4, 5].map(|next| by_rule(3, &small, next)).into();
        assert_eq!(chains, [vec![2, 4, 5], vec![2, 4, 5], vec![2, 4, 5], vec![4, 5], vec![4, 5], vec![5]]);

        let r32 = ResNet::cifar(32, 16).unwrap();
        assert_eq!(by_rule(4, &r32, 0), [5, 10, 12, 14]);
        assert_eq!(by_rule(4, &r32, 7), [10, 11, 12, 14]);
        assert_eq!(by_rule(4, &r32, 11), [11, 12, 14]);
        assert_eq!(by_rule(4, &r32, 14), [14]);

        let bottleneck =
            ResNet::new("b", BlockKind::Bottleneck, Stem::Imagenet, &[1, 2, 1, 1], &[4, 8, 8, 16]).unwrap();
        assert_eq!(by_rule(4, &bottleneck, 0), [0, 1, 3, 4]);
        assert_eq!(by_rule(4, &bottleneck, 2), [3, 4]);
        let r50 = ResNet::imagenet(50, 64).unwrap();
        assert_eq!(by_rule(4, &r50, 0), [0, 3, 7, 13, 15]);
    }
}
