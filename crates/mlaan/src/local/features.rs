//! The output of a module, which its auxiliary networks read, and those of the modules below that are open. What nobody reads for a
//! while is dropped where it can be had again, while the losses are taken: that is when a step needs the most memory.

use super::batch::Batch;
use super::link::broken;
use super::module::Module;
use crate::nn::Activation;
use crate::{Error, Result};
use mlaan_engine::Device;
use std::ops::Range;

/// See the module.
pub(super) struct Features<'a> {
    pub modules: &'a mut [Module],
    /// The module's place in the stage.
    pub at: usize,
    /// The places of the open modules below it.
    pub open: Range<usize>,
    /// Whether memory counts more than making an output once more: where auxiliary networks are offloaded.
    pub saves: bool,
    pub batch: Batch<'a>,
}

impl Features<'_> {
    /// The module's output.
    pub fn get(&self) -> Result<&Activation> {
        let output = self.modules.get(self.at).and_then(|m| m.output.as_ref());
        output.ok_or_else(|| broken("a module has no output".into()))
    }

    /// Drops it, if that is worth it and it can be had again.
    pub fn forget(&mut self) {
        let at = self.at;
        if self.saves {
            self.drop_of(at..at + 1);
        }
    }

    /// Undoes [`Features::forget`].
    ///
    /// # Errors
    /// From the device.
    pub fn remember(&mut self, device: &Device) -> Result<()> {
        if self.modules.get(self.at).is_none_or(|m| m.output.is_some()) {
            return Ok(());
        }
        // It may be made of theirs.
        self.restore(device)?;
        let at = self.at;
        self.restore_of(device, at..at + 1)?;
        self.drop();
        Ok(())
    }

    /// Drops the outputs of the open modules below that can be had again.
    pub fn drop(&mut self) {
        let open = self.open.clone();
        self.drop_of(open);
    }

    /// Undoes [`Features::drop`].
    ///
    /// # Errors
    /// From the device.
    pub fn restore(&mut self, device: &Device) -> Result<()> {
        let open = self.open.clone();
        self.restore_of(device, open)
    }

    fn drop_of(&mut self, places: Range<usize>) {
        let modules = self.modules.get_mut(places).into_iter().flatten();
        modules.filter(|m| m.chain.repeats_output()).for_each(|m| m.output = None);
    }

    fn restore_of(&mut self, device: &Device, places: Range<usize>) -> Result<()> {
        for m in places {
            let (below, rest) = self.modules.split_at_mut(m);
            let Some(module) = rest.first_mut().filter(|m| m.output.is_none()) else { continue };
            let again = module.chain.output_again(device, input(&module.input, below, self.batch)?)?;
            let lost = || Error::recipe("model.backbone", "a block that repeats its output did not");
            module.output = Some(again.ok_or_else(lost)?);
        }
        Ok(())
    }
}

/// What a module reads: its own input, or the output of the module below it, or the images.
pub(super) fn input<'a>(
    own: &'a Option<Activation>,
    below: &'a [Module],
    batch: Batch<'a>,
) -> Result<&'a Activation> {
    let x = own.as_ref().or_else(|| below.last()?.output.as_ref()).or(batch.images);
    x.ok_or_else(|| broken("a module has no input".into()))
}
