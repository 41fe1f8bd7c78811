//! What a learner does that shares its network with other ranks: rank 0 asks, the others obey.

use super::command::Command;
use super::learner::Learner;
use super::link::{Values, broken};
use super::options::StepOptions;
use super::pipeline::Pipeline;
use super::stage::Stage;
use super::to_device::{DatasetBatch, ToDevice};
use crate::data::BatchSource;
use crate::nn::Activation;
use crate::ranks::{Lane, World};
use crate::{Error, Result};
use mlaan_engine::{MemoryCategory, Tensor};
use std::sync::Arc;

/// Logits of a batch: here, or on their way from the last rank.
pub(crate) enum Logits {
    /// On the device of the last stage.
    Here(Tensor),
    /// To be received: of the batch of this number.
    There(u64),
}

impl Learner {
    /// The ranks that share the network, where there are several.
    pub(crate) fn world(&self) -> Option<&Arc<World>> {
        self.ranked.as_ref().map(|r| &r.world)
    }

    /// Asks another rank.
    ///
    /// # Errors
    /// The end of the job; what went wrong in a step that is not through.
    pub(crate) fn ask_rank(&mut self, rank: usize, command: &Command) -> Result<()> {
        self.idle()?;
        match &self.ranked {
            Some(ranked) => ranked.world.send(rank, Lane::Command, command.write(&[])),
            None => Ok(()),
        }
    }

    /// Lets other ranks end.
    ///
    /// # Errors
    /// The end of the job; what went wrong in a step that is not through.
    pub(crate) fn dismiss(&mut self) -> Result<()> {
        self.idle()?;
        self.ranked.as_ref().map_or(Ok(()), |ranked| ranked.ask(&Command::End))
    }

    /// What is only done by one process.
    ///
    /// # Errors
    /// In a job of several ranks.
    pub(super) fn alone(&self, what: &str) -> Result<()> {
        match &self.ranked {
            None => Ok(()),
            Some(_) => Err(Error::ranks(format!("{what} needs one process, not several ranks"))),
        }
    }

    /// Gives a batch to the other ranks.
    pub(super) fn give_others(
        &self,
        feed: &dyn ToDevice,
        number: u64,
        options: Option<&StepOptions>,
    ) -> Result<()> {
        let Some(ranked) = &self.ranked else { return Ok(()) };
        let Some(&options) = options else { return self.alone("a pass that leaves gradients") };
        let command = Command::Step { number, options };
        let mut labels = None;
        for rank in ranked.world.others() {
            let packed = || Error::recipe("data", "this batch cannot be sent to other ranks");
            let batch = match self.plan.needs_images(rank == 0) {
                true => feed.pack(true).ok_or_else(packed)?,
                false => match &labels {
                    Some(labels) => Vec::clone(labels),
                    None => labels.insert(feed.pack(false).ok_or_else(packed)?).clone(),
                },
            };
            ranked.world.send(rank, Lane::Command, command.write(&batch))?;
        }
        Ok(())
    }

    /// Does what rank 0 asks of a network at work.
    ///
    /// # Errors
    /// From the device; the end of the job.
    pub(crate) fn obey(&mut self, command: &Command, batch: &[u8]) -> Result<()> {
        let Some(ranked) = &self.ranked else { return Ok(()) };
        let world = Arc::clone(&ranked.world);
        match *command {
            Command::Step { number, options } => {
                let (images, task) = (self.plan.needs_images(false), self.task);
                let (batch, mixed) = DatasetBatch::unpack(batch)?;
                let source = |_| if mixed { BatchSource::Mixed } else { BatchSource::Host };
                let feed = DatasetBatch {
                    sources: Arc::new((0..world.ranks()).map(source).collect()),
                    images: batch.labels.len(),
                    batch: Some(Arc::new(batch)),
                    size: task.image.height,
                    scale: task.pixels,
                };
                if images && feed.batch.as_ref().is_some_and(|b| b.bytes.is_empty()) {
                    return Err(broken(format!("batch {number} came without its images")));
                }
                let feed: Arc<dyn ToDevice> = Arc::new(feed);
                let cut = (number, self.shards);
                self.pipeline()?.give(cut, &feed, Some(&options))?;
            }
            Command::Flush => self.pipeline.iter_mut().for_each(Pipeline::flush),
            Command::Idle => {
                self.idle()?;
                world.tells_status();
                world.send(0, Lane::Answer, Vec::new())?;
            }
            Command::Infer { number } => self.infer_part(number)?,
            Command::RestartAverage => self.restart_average()?,
            Command::ExchangeAverage => self.exchange_average()?,
            Command::Show { .. } | Command::Restore { .. } | Command::Begin | Command::End => {
                return Err(broken(format!("{command:?} is not for a network at work")));
            }
        }
        Ok(())
    }

    /// Takes a batch's features of an evaluation from the rank below and sends what comes of them on.
    fn infer_part(&mut self, number: u64) -> Result<()> {
        self.idle()?;
        let Some(ranked) = &self.ranked else { return Ok(()) };
        let below = ranked.world.rank() - 1;
        let values = ranked.take_inference(below, "features to classify", number)?;
        ranked.world.send(below, Lane::InferenceCredit, Vec::new())?;
        let device = self.devices[0].clone();
        let x = Activation::plain(values.on(&device, MemoryCategory::Activations)?);
        drop(values);
        let done =
            device.scope(|| self.through(x)).unwrap_or_else(|| Err(broken("nothing to infer".into())))?;
        self.send_on(number, done)
    }

    /// The modules of this rank, and the classifier where it is here.
    fn through(&mut self, mut x: Activation) -> Result<Activation> {
        for Stage { device, modules, classifier, .. } in &mut self.stages {
            for module in modules {
                x = module.chain.infer(device, x)?;
            }
            if let Some(classifier) = classifier {
                x = classifier.infer(device, x)?;
            }
        }
        Ok(x)
    }

    fn send_on(&self, number: u64, x: Activation) -> Result<()> {
        let Some(ranked) = &self.ranked else { return Ok(()) };
        ranked.send_inference(number, &Values::of(&self.devices[0], &x.tensor)?)
    }

    /// Asks for the logits of normalised images; [`Learner::read_logits`] waits for them, in the same order.
    ///
    /// # Errors
    /// From the device; the end of the job.
    pub(crate) fn ask_logits(&mut self, images: Tensor) -> Result<Logits> {
        if self.ranked.is_none() {
            return Ok(Logits::Here(self.logits(images)?));
        }
        self.idle()?;
        let mut number = 0;
        if let Some(ranked) = &mut self.ranked {
            number = ranked.inferred;
            ranked.inferred += 1;
            ranked.ask(&Command::Infer { number })?;
        }
        let x = self.through(Activation::plain(images))?;
        self.send_on(number, x)?;
        Ok(Logits::There(number))
    }

    /// Logits `[n, classes]` that were asked for.
    ///
    /// # Errors
    /// From the device; the end of the job.
    pub(crate) fn read_logits(&self, logits: Logits) -> Result<Vec<f32>> {
        match (logits, &self.ranked) {
            (Logits::Here(tensor), _) => Ok(self.output_device().download(&tensor)?),
            (Logits::There(number), Some(ranked)) => {
                Ok(ranked.take_inference(ranked.world.ranks() - 1, "logits", number)?.floats())
            }
            (Logits::There(_), None) => Ok(Vec::new()),
        }
    }
}
