//! One training step: the same for backpropagation and every local method. What it consists of is the
//! [`schedule`](super::schedule)'s; here is what goes in and comes out.

use super::batch::Batch;
use super::command::Command;
use super::link::Alone;
use super::pipeline::Pipeline;
use super::shards::Shard;
use super::stage::Stage;
use super::targets::Targets;
use super::to_device::{HostBatch, ToDevice};
use super::{Learner, StepOptions, StepReport};
use crate::nn::Activation;
use crate::{Error, Result};
use mlaan_engine::Tensor;
use mlaan_engine::ops::Labels;
use std::sync::Arc;

impl Learner {
    /// Trains on one batch: normalised images `[n, h, w, 3]` and labels `[n]`, of mixtures two each. Waits for its
    /// losses; those of deferred steps before it that nobody read are dropped.
    ///
    /// # Errors
    /// From the device; mixtures where a loss has no meaning for them; a network for inference. The parameters may then be
    /// those of a step half done.
    pub fn step<'a>(
        &mut self,
        images: Tensor,
        labels: impl Into<Labels<'a>>,
        options: &StepOptions,
    ) -> Result<&StepReport> {
        self.step_deferred(images, labels, options)?;
        self.last_report()
    }

    /// As [`Learner::step`], leaving the losses on the device: to read them is to wait for it, and a GPU then waits for
    /// the next step. [`Learner::reports`] reads those of all steps since; to be called now and then, best when
    /// [`Learner::unread`] has come to [`Learner::deferrable`].
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn step_deferred<'a>(
        &mut self,
        images: Tensor,
        labels: impl Into<Labels<'a>>,
        options: &StepOptions,
    ) -> Result<()> {
        self.learns()?;
        self.whole_pass(images, labels.into(), Some(options))
    }

    /// As [`Learner::step_deferred`], each stage bringing the batch to its device by itself; with several stages it returns
    /// before the step is done, and the next one may begin.
    ///
    /// # Errors
    /// As [`Learner::step`], of this step or, with several stages, an earlier one.
    pub fn step_from(&mut self, feed: Arc<dyn ToDevice>, options: &StepOptions) -> Result<()> {
        self.learns()?;
        if self.stages() > 1 {
            return self.give(&feed, Some(options));
        }
        let device = self.devices[0].clone();
        if self.shards > 1 {
            return device.scope(|| self.in_shards(feed.as_ref(), Some(options))).unwrap_or(Ok(()));
        }
        let step = || -> Result<()> {
            let input = feed.to_device(0, &device, true)?;
            let missing = || Error::recipe("data", "a batch without images");
            self.pass(input.images.ok_or_else(missing)?, input.targets.as_ref(), Some(options))
        };
        device.scope(step).unwrap_or(Ok(()))
    }

    /// As [`Learner::step`], against any targets, in one stage.
    ///
    /// # Errors
    /// As [`Learner::step`]; several stages.
    pub fn step_against(
        &mut self,
        images: Tensor,
        targets: &dyn Targets,
        options: &StepOptions,
    ) -> Result<&StepReport> {
        self.learns()?;
        if self.stages() > 1 {
            return Err(Error::recipe("stages", "targets of one's own need a network in one stage"));
        }
        if self.shards > 1 {
            return Err(Error::recipe("train.shards", "targets of one's own need batches in one piece"));
        }
        self.pass(images, targets, Some(options))?;
        self.last_report()
    }

    /// As [`Learner::step`] without updates: the gradients stay in the parameters.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn gradients<'a>(&mut self, images: Tensor, labels: impl Into<Labels<'a>>) -> Result<&StepReport> {
        self.whole_pass(images, labels.into(), None)?;
        self.last_report()
    }

    fn learns(&self) -> Result<()> {
        let message = "this network was built for inference and cannot learn; build it with an optimizer";
        self.plan.optimizer.map(|_| ()).ok_or_else(|| Error::recipe("train", message))
    }

    fn whole_pass(
        &mut self,
        images: Tensor,
        labels: Labels<'_>,
        options: Option<&StepOptions>,
    ) -> Result<()> {
        if self.stages() > 1 {
            let batch: Arc<dyn ToDevice> = Arc::new(HostBatch::of(&self.devices[0], &images, labels)?);
            drop(images);
            return self.give(&batch, options);
        }
        if self.shards > 1 {
            let batch = HostBatch::of(&self.devices[0], &images, labels)?;
            drop(images);
            return self.in_shards(&batch, options);
        }
        self.pass(images, &labels, options)
    }

    /// A step in one stage, over the shards of its batch: each is brought to the device when the one before is through.
    fn in_shards(&mut self, feed: &dyn ToDevice, options: Option<&StepOptions>) -> Result<()> {
        let uncut = || Error::recipe("train.shards", "this batch cannot be cut: its `ToDevice` has no parts");
        let images = feed.images().ok_or_else(uncut)?;
        self.make_room()?;
        let device = self.devices[0].clone();
        let done = Shard::all(images, self.shards).enumerate().try_for_each(|(index, shard)| {
            let input = feed.part(0, &device, true, shard.range())?;
            let missing = || Error::recipe("data", "a batch without images");
            let images = Activation::plain(input.images.ok_or_else(missing)?);
            let (number, targets): (_, &dyn Targets) = (self.batches, input.targets.as_ref());
            let batch = Batch { number, images: Some(&images), targets: Some(targets), options, shard };
            self.stages[0].losses.at_shard(index);
            let (stage, schedule) = (&mut self.stages[0], &self.schedule.stages[0]);
            schedule.all().try_for_each(|verb| stage.run(verb, batch, &mut Alone))?;
            stage.release_auxiliaries();
            Ok(())
        });
        self.batches += 1;
        match done {
            Ok(()) => self.stages[0].losses.advance_over(images),
            Err(_) => {
                self.stages[0].losses.at_shard(0);
                self.release();
            }
        }
        done
    }

    /// A step in one stage.
    fn pass(&mut self, images: Tensor, targets: &dyn Targets, options: Option<&StepOptions>) -> Result<()> {
        self.make_room()?;
        let images = Activation::plain(images);
        let (number, targets) = (self.batches, Some(targets));
        let batch = Batch { number, images: Some(&images), targets, options, shard: Shard::WHOLE };
        self.batches += 1;
        let (stage, schedule) = (&mut self.stages[0], &self.schedule.stages[0]);
        let done = schedule.all().try_for_each(|verb| stage.run(verb, batch, &mut Alone));
        match done {
            Ok(()) => {
                stage.release_auxiliaries();
                stage.losses.advance();
            }
            Err(_) => self.release(),
        }
        done
    }

    /// A step in several stages, asked for.
    fn give(&mut self, feed: &Arc<dyn ToDevice>, options: Option<&StepOptions>) -> Result<()> {
        while self.unread() - self.reports.read() >= self.deferrable() {
            self.take_losses(true)?;
        }
        let number = self.batches;
        self.give_others(feed.as_ref(), number, options)?;
        let cut = (number, self.shards);
        let given = self.pipeline()?.give(cut, feed, options);
        self.batches += 1;
        given.or_else(|e| self.idle().and(Err(e)))
    }

    /// The stages at work, set to it if need be.
    pub(super) fn pipeline(&mut self) -> Result<&mut Pipeline> {
        if self.pipeline.is_none() {
            self.idle()?;
            let stages = std::mem::take(&mut self.stages);
            self.pipeline = Some(match &self.ranked {
                Some(ranked) => ranked.start(stages, &self.schedule, &self.plan)?,
                None => Pipeline::start_all(stages, &self.schedule, &self.plan.method)?,
            });
        }
        let gone = || Error::StageEnded { stage: 0 };
        self.pipeline.as_mut().ok_or_else(gone)
    }
    /// Takes the losses of the oldest batch at work; false where they are not there, and are not waited for.
    fn take_losses(&mut self, wait: bool) -> Result<bool> {
        let Some(pipeline) = &mut self.pipeline else { return Ok(false) };
        match pipeline.losses(wait) {
            Ok(Some(losses)) => self.reports.push(&mut losses.into_iter()),
            Ok(None) => return Ok(false),
            // A stage has ended: why is known when all have.
            Err(e) => return self.idle().and(Err(e)),
        }
        Ok(true)
    }

    /// Reads the losses of all steps since the last reading, the oldest first; waits for the device.
    ///
    /// # Errors
    /// From the device; of a step that is not through.
    pub fn reports(&mut self) -> Result<&[StepReport]> {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.flush();
            if let Some(ranked) = &self.ranked {
                ranked.ask(&Command::Flush)?;
            }
        }
        while self.take_losses(true)? {}
        self.read_losses()?;
        Ok(self.reports.take())
    }

    /// As [`Learner::reports`], but with several stages only of the steps that are through.
    ///
    /// # Errors
    /// As [`Learner::reports`].
    pub fn finished(&mut self) -> Result<&[StepReport]> {
        while self.take_losses(false)? {}
        self.read_losses()?;
        Ok(self.reports.take())
    }

    /// Deferred steps whose losses [`Learner::reports`] would give.
    pub fn unread(&self) -> usize {
        let on_device =
            if self.stages() > 1 { 0 } else { self.stages.first().map_or(0, |s| s.losses.unread()) };
        self.reports.read() + on_device + self.pipeline.as_ref().map_or(0, Pipeline::in_flight)
    }

    /// Steps whose losses stay on the device: a step beyond them reads them first, and keeps them. On the processor, where
    /// to read them costs nothing, one. With several stages, the steps that are at work at the same time.
    pub fn deferrable(&self) -> usize {
        if self.stages() > 1 {
            self.stages() + 1
        } else {
            self.stages.first().map_or(1, |s| s.losses.steps())
        }
    }

    /// Room on the device for the losses of one more step.
    fn make_room(&mut self) -> Result<()> {
        let full = self.stages.first().is_some_and(|s| s.losses.unread() == s.losses.steps());
        if full { self.read_losses() } else { Ok(()) }
    }

    /// Brings what is on the device of one stage to the host, behind what was read before.
    fn read_losses(&mut self) -> Result<()> {
        let (all, Learner { stages, reports, .. }) = (self.stages(), self);
        match (stages.first_mut(), all) {
            (Some(stage), 1) => stage.read_losses(|losses| reports.push(losses)),
            _ => Ok(()),
        }
    }

    /// Reads the losses of the last step.
    fn last_report(&mut self) -> Result<&StepReport> {
        let missing = || Error::recipe("local", "a step left no losses");
        self.reports()?.last().ok_or_else(missing)
    }

    /// Forgets what a step that stopped half-way left.
    pub fn release(&mut self) {
        self.stages.iter_mut().for_each(Stage::release);
    }
}
