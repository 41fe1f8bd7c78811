//! What a network says of images: features go up through the stages, one after the other.

use super::link::Values;
use super::module::Module;
use super::stage::Stage;
use super::{Branch, Learner, LossOf};
use crate::Result;
use crate::nn::Activation;
use mlaan_engine::{Device, MemoryCategory, Tensor};

impl Learner {
    /// Logits `[n, classes]` of normalised images, with running statistics.
    ///
    /// # Errors
    /// From the device.
    pub fn infer(&mut self, images: Tensor) -> Result<Vec<f32>> {
        self.infer_seen(images, &mut |_, _| Ok(()))
    }

    /// As [`Learner::infer`], leaving the logits on the device of the last stage ([`Learner::output_device`]).
    ///
    /// # Errors
    /// From the device.
    pub fn logits(&mut self, images: Tensor) -> Result<Tensor> {
        self.logits_seen(images, &mut |_, _| Ok(()))
    }

    /// Where logits are.
    pub fn output_device(&self) -> &Device {
        &self.devices[self.devices.len() - 1]
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
        Ok(self.output_device().download(&logits)?)
    }

    fn logits_seen(
        &mut self,
        images: Tensor,
        see: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        self.idle()?;
        self.alone("looking into the network")?;
        let stem = self.stages[0].modules.first().map_or(0, |m| m.stem);
        let (mut x, mut place) = (Activation::plain(images), usize::from(stem == 0));
        let mut below: Option<Device> = None;
        for Stage { device, modules, classifier, .. } in &mut self.stages {
            x = brought(below.as_ref(), device, x)?;
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
            if let Some(classifier) = classifier {
                x = classifier.infer(device, x)?;
            }
            below = Some(device.clone());
        }
        Ok(x.tensor)
    }

    /// Logits `[n, classes]` of each auxiliary classifier and, under the last module, of the network's own, with running
    /// statistics; `see` is told the module and the branch. Heads of a contrastive loss do not classify and are
    /// left out.
    ///
    /// # Errors
    /// From the device.
    pub fn infer_heads(&mut self, images: Tensor, see: &mut dyn FnMut(usize, Branch, &[f32])) -> Result<()> {
        self.idle()?;
        self.alone("looking into the network")?;
        let mut x = Activation::plain(images);
        let mut below: Option<Device> = None;
        for stage in &mut self.stages {
            let device = stage.device.clone();
            x = brought(below.as_ref(), &device, x)?;
            for at in 0..stage.modules.len() {
                x = stage.modules[at].chain.infer(&device, x)?;
                stage.fetch_auxiliaries(at)?;
                let seen = stage.infer_pair(at, &x, see);
                // Also after an error, or the networks would lie where the next step does not look for them.
                let stored = stage.store_auxiliaries(at);
                stage.release_auxiliaries();
                seen.and(stored)?;
            }
            if let Some(classifier) = &mut stage.classifier {
                x = classifier.infer(&device, x)?;
                see(stage.range.end - 1, Branch::Independent, &device.download(&x.tensor)?);
            }
            below = Some(device);
        }
        Ok(())
    }
}

/// Features on `device`, wherever they were made.
fn brought(below: Option<&Device>, device: &Device, x: Activation) -> Result<Activation> {
    match below {
        // A module's output is neither normalised nor rectified any more.
        Some(below) => {
            Ok(Activation::plain(Values::of(below, &x.tensor)?.on(device, MemoryCategory::Activations)?))
        }
        None => Ok(x),
    }
}

impl Stage {
    /// What the classifiers behind a module answer to its output `x`.
    fn infer_pair(
        &mut self,
        at: usize,
        x: &Activation,
        see: &mut dyn FnMut(usize, Branch, &[f32]),
    ) -> Result<()> {
        let module = self.range.start + at;
        Branch::BOTH.into_iter().try_for_each(|branch| {
            self.with_chain(LossOf { module, branch }, |stage, _| {
                let Stage { device, branches, .. } = stage;
                let auxiliary = branches.get_mut(at).and_then(|pair| pair[branch as usize].as_mut());
                let Some(a) = auxiliary.filter(|a| a.classifies()) else { return Ok(()) };
                let logits = a.infer(device, x)?;
                see(module, branch, &device.download(&logits)?);
                Ok(())
            })
        })
    }
}
