//! A network cut into modules, with everything that teaches it.

use super::branch::Auxiliary;
use super::losses::Losses;
use super::{Branch, Method, Partition, segments};
use crate::backbone::Backbone;
use crate::nn::{Act, Builder, Chain, Extent, Grad, Layer, Optimizer, Param, Sequence};
use crate::{Error, Result};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{Device, Purpose, Tensor};

/// One gradient-isolated module.
pub(super) struct Module {
    /// The stem (module 0) and the blocks.
    pub chain: Chain,
    /// Layers before the first block.
    pub stem: usize,
    /// Its output in the current step.
    pub output: Option<Act>,
    /// Sum of the gradients that reached its output so far.
    pub total: Option<Tensor>,
    /// Extent of its output.
    pub extent: Extent,
    /// Name of its first and last block.
    pub blocks: (String, usize),
}

/// What an image set looks like to a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Extent of an image, 3 channels.
    pub image: Extent,
    /// Number of classes.
    pub classes: usize,
    /// From normalised values back to pixels.
    pub pixels: PixelScale,
}

/// A network cut into modules, with heads, leap chains and optimiser state, on a device.
pub struct Learner {
    pub(super) device: Device,
    pub(super) method: Method,
    pub(super) partition: Partition,
    pub(super) task: Task,
    /// None of a network for inference.
    pub(super) optimizer: Option<Optimizer>,
    pub(super) modules: Vec<Module>,
    /// Independent and cascaded auxiliary network of every module but the last.
    pub(super) branches: Vec<[Option<Auxiliary>; 2]>,
    pub(super) classifier: Chain,
    pub(super) losses: Losses,
    /// Per module, while a plan is made.
    pub(super) meters: Option<Vec<super::Meter>>,
}

/// A module, for tables.
#[derive(Clone, Debug)]
pub struct ModuleSummary {
    /// Name of the first block, or `stem`.
    pub first: String,
    /// Number of blocks.
    pub blocks: usize,
    /// Parameters of the backbone part (the last module's with the classifier).
    pub parameters: usize,
    /// Parameters of the auxiliary networks.
    pub auxiliary_parameters: usize,
    /// Extent of the output.
    pub output: Extent,
    /// Blocks that the leap chain mirrors.
    pub sources: Vec<usize>,
    /// λ1 and λ2; none at the last module.
    pub lambdas: Option<(f32, f32)>,
}

impl Learner {
    /// Builds the network with initial values from `seed`, to be taught by `optimizer`.
    ///
    /// # Errors
    /// A method that does not fit the backbone, an image too small for it, or out of memory.
    pub fn new(
        device: &Device,
        backbone: &dyn Backbone,
        method: &Method,
        task: Task,
        seed: u64,
        optimizer: Optimizer,
    ) -> Result<Self> {
        Self::build(&Builder { device, seed, optimizer: Some(optimizer) }, backbone, method, task)
    }

    /// As [`Learner::new`] without state of an optimiser, for values that come from a checkpoint and stay as they are; `seed` is that of
    /// values which do not come.
    ///
    /// # Errors
    /// As [`Learner::new`].
    pub fn for_inference(
        device: &Device,
        backbone: &dyn Backbone,
        method: &Method,
        task: Task,
        seed: u64,
    ) -> Result<Self> {
        Self::build(&Builder { device, seed, optimizer: None }, backbone, method, task)
    }

    fn build(b: &Builder<'_>, backbone: &dyn Backbone, method: &Method, task: Task) -> Result<Self> {
        let device = b.device;
        if task.classes < 2 {
            let message = format!("{} classes; a classifier needs at least 2", task.classes);
            return Err(Error::data("data set", message));
        }
        let partition = Partition::new(method, backbone)?;
        let mut modules = modules(&partition, backbone, task.image, b)?;
        let stems: Vec<usize> = modules.iter().map(|m| m.stem).collect();
        if let Some(ends) = segments::ends(method, &partition, &stems)? {
            let last = modules.len() - 1;
            for (j, (m, ends)) in modules.iter_mut().zip(ends).enumerate() {
                // The way back over the last module begins at once.
                m.chain.recompute(ends, j == last);
            }
        }
        let mut branches = Vec::new();
        for (j, module) in modules[..modules.len() - 1].iter().enumerate() {
            let auxiliary = |branch| {
                let goal = (task.image, task.classes);
                Auxiliary::new(method, &partition, backbone, branch, j, module.extent, goal, b)
            };
            let cascaded = if method.span() > 1 { Some(auxiliary(Branch::Cascaded)?) } else { None };
            branches.push([Some(auxiliary(Branch::Independent)?), cascaded]);
        }
        let classifier = Chain::new(backbone.classifier(task.classes, b)?);
        let losses = Losses::new(device, modules.len(), b.optimizer.is_some())?;
        let mut learner = Learner {
            device: device.clone(),
            method: method.clone(),
            partition,
            task,
            optimizer: b.optimizer,
            modules,
            branches,
            classifier,
            losses,
            meters: None,
        };
        learner.mirror()?;
        Ok(learner)
    }

    /// Gives mirrors the values of their sources.
    pub(crate) fn mirror(&mut self) -> Result<()> {
        let Learner { device, partition, modules, branches, .. } = self;
        for leap in branches.iter_mut().flatten().flatten().filter_map(Auxiliary::leap_mut) {
            leap.copy_sources(device, &mut Blocks { modules, partition })?;
        }
        Ok(())
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What it learns.
    pub fn task(&self) -> Task {
        self.task
    }

    /// Number of modules.
    pub fn modules(&self) -> usize {
        self.modules.len()
    }

    /// A line per module.
    ///
    /// # Errors
    /// None in practice; visiting tensors is fallible.
    pub fn summary(&mut self) -> Result<Vec<ModuleSummary>> {
        let last = self.modules.len() - 1;
        let mut rows = Vec::new();
        for (j, module) in self.modules.iter_mut().enumerate() {
            let mut row = ModuleSummary {
                first: module.blocks.0.clone(),
                blocks: module.blocks.1,
                parameters: count(|f| module.chain.visit(f))?,
                auxiliary_parameters: 0,
                output: module.extent,
                sources: Vec::new(),
                lambdas: None,
            };
            if j == last {
                row.parameters += count(|f| self.classifier.visit(f))?;
            } else {
                for a in self.branches[j].iter_mut().flatten() {
                    row.auxiliary_parameters += count(|f| a.visit(f))?;
                    row.sources.extend(a.sources());
                    row.lambdas = Some(a.lambdas());
                }
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Calls `f` with every parameter and buffer of the backbone (torchvision's names), then of the auxiliary
    /// networks (`aux.…`).
    ///
    /// # Errors
    /// What `f` returns.
    pub fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        for module in &mut self.modules {
            module.chain.visit(f)?;
        }
        self.classifier.visit(f)?;
        self.branches.iter_mut().flatten().flatten().try_for_each(|a| a.visit(f))
    }

    /// Takes every BatchNorm into its convolution (see [`Layer::fuse`]), for inference only.
    ///
    /// # Errors
    /// From the device.
    pub fn fuse(&mut self) -> Result<()> {
        let Learner { device, modules, classifier, branches, .. } = self;
        for module in modules {
            module.chain.fuse(device)?;
        }
        classifier.fuse(device)?;
        branches.iter_mut().flatten().flatten().try_for_each(|a| a.fuse(device))
    }

    /// Logits `[n, classes]` of normalised images, with running statistics.
    ///
    /// # Errors
    /// From the device.
    pub fn infer(&mut self, images: Tensor) -> Result<Vec<f32>> {
        self.infer_seen(images, &mut |_, _| Ok(()))
    }

    /// As [`Learner::infer`], leaving the logits on the device.
    ///
    /// # Errors
    /// From the device.
    pub fn logits(&mut self, images: Tensor) -> Result<Tensor> {
        self.logits_seen(images, &mut |_, _| Ok(()))
    }

    /// As [`Learner::infer`]; `see` is shown the output `[n, h, w, c]` of the stem (place 0, where there is one) and of
    /// every block (place 1 and after).
    ///
    /// # Errors
    /// From the device; what `see` returns.
    pub fn infer_seen(
        &mut self,
        images: Tensor,
        see: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let logits = self.logits_seen(images, see)?;
        Ok(self.device.download(&logits)?)
    }

    fn logits_seen(
        &mut self,
        images: Tensor,
        see: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let Learner { device, modules, classifier, .. } = self;
        let mut x = Act::plain(images);
        let mut place = usize::from(modules.first().is_some_and(|m| m.stem == 0));
        for Module { chain, stem, .. } in modules {
            x = chain.infer_seen(device, x, &mut |layer, y| {
                // Layers of the stem before its last are no place.
                if layer + 1 >= *stem {
                    see(place, &y.tensor)?;
                    place += 1;
                }
                Ok(())
            })?;
        }
        Ok(classifier.infer(device, x)?.tensor)
    }

    /// Logits `[n, classes]` of each auxiliary classifier and, under the last module, of the network's own, with running
    /// statistics; `see` is told the module and the branch. Heads of a contrastive loss do not classify and are
    /// left out.
    ///
    /// # Errors
    /// From the device.
    pub fn infer_heads(&mut self, images: Tensor, see: &mut dyn FnMut(usize, Branch, &[f32])) -> Result<()> {
        let Learner { device, modules, branches, classifier, .. } = self;
        let mut x = Act::plain(images);
        for (j, module) in modules.iter_mut().enumerate() {
            x = module.chain.infer(device, x)?;
            let pair = branches.get_mut(j).into_iter().flatten();
            for (branch, a) in [Branch::Independent, Branch::Cascaded].into_iter().zip(pair) {
                if let Some(a) = a.as_mut().filter(|a| a.classifies()) {
                    let logits = a.infer(device, &x)?;
                    see(j, branch, &device.download(&logits)?);
                }
            }
        }
        let logits = classifier.infer(device, x)?;
        see(modules.len() - 1, Branch::Independent, &device.download(&logits.tensor)?);
        Ok(())
    }

    /// Forgets what a step that stopped half-way left.
    pub fn release(&mut self) {
        for m in &mut self.modules {
            m.chain.release();
            (m.output, m.total) = (None, None);
        }
        self.branches.iter_mut().flatten().flatten().for_each(Auxiliary::release);
        self.classifier.release();
    }
}

/// Number of values that are no buffers.
fn count(visit: impl FnOnce(&mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()>) -> Result<usize> {
    let mut n = 0;
    visit(&mut |p| {
        n += if p.is_buffer() { 0 } else { p.value.len() };
        Ok(())
    })?;
    Ok(n)
}

fn modules(
    partition: &Partition,
    backbone: &dyn Backbone,
    image: Extent,
    b: &Builder<'_>,
) -> Result<Vec<Module>> {
    let mut extent = image;
    (0..partition.len())
        .map(|j| {
            let mut layers: Sequence = if j == 0 { backbone.stem(b)? } else { Vec::new() };
            let stem = layers.len();
            let range = partition.blocks(j);
            for i in range.clone() {
                layers.push(backbone.block(i, &backbone.blocks()[i].name, b)?);
            }
            let chain = Chain::new(layers);
            extent = chain.extent(extent)?;
            let first = if j == 0 { "stem".into() } else { backbone.blocks()[range.start].name.clone() };
            Ok(Module { chain, stem, output: None, total: None, extent, blocks: (first, range.len()) })
        })
        .collect()
}

/// The backbone's blocks, wherever they are.
pub(super) struct Blocks<'a> {
    pub modules: &'a mut [Module],
    pub partition: &'a Partition,
}

impl Blocks<'_> {
    /// Block `b` of the backbone.
    pub fn get(&mut self, b: usize) -> Option<&mut dyn Layer> {
        let j = self.partition.module_of(b)?;
        let at = self.modules[j].stem + b - self.partition.blocks(j).start;
        self.modules[j].chain.layers_mut().get_mut(at).map(|l| l.as_mut() as &mut dyn Layer)
    }
}

impl Module {
    /// Adds a gradient that reached the output; takes it over when it is the first.
    pub(super) fn add_total(&mut self, device: &Device, grad: Tensor) -> Result<()> {
        match &mut self.total {
            Some(t) => Ok(device.add(t, &grad)?),
            None => {
                self.total = Some(grad);
                Ok(())
            }
        }
    }

    /// As [`Module::add_total`], keeping the gradient.
    pub(super) fn add_copy(&mut self, device: &Device, grad: &Grad) -> Result<()> {
        if let Some(t) = &mut self.total {
            return Ok(device.add(t, &grad.tensor)?);
        }
        let mut copy = device.alloc(grad.tensor.shape(), grad.tensor.dtype(), Purpose::Gradients)?;
        device.copy(&mut copy, &grad.tensor)?;
        self.total = Some(copy);
        Ok(())
    }
}
