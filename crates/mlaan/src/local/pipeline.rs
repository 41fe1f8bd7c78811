//! Several stages at work: a thread each, with batches flowing through them.
//!
//! A stage takes the next batch as soon as its part of the one before allows ([`StageSchedule`]); what it waits for comes
//! over its link. The stages are the threads' own while they work and come back when they are [ended](Pipeline::end).
//! However one ends (its work is done, an error, a panic), its end of the links and queues goes with it, and every wait for
//! it ends: so all end, and the first cause is what is told.

use super::batch::Batch;
use super::link::{Channels, Link};
use super::losses::ModuleLosses;
use super::method::Method;
use super::options::StepOptions;
use super::relay::{End, Relay, Tell, Told, listen};
use super::schedule::{Schedule, StageSchedule, Verb};
use super::shards::Shard;
use super::stage::Stage;
use super::targets::Targets;
use super::to_device::{StageInput, ToDevice};
use crate::nn::Activation;
use crate::ranks::World;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// A batch for a stage.
struct Job {
    number: u64,
    feed: Arc<dyn ToDevice>,
    /// None: gradients only.
    options: Option<StepOptions>,
    /// Parts that it is cut into.
    shards: usize,
}

/// What a stage is told to do.
enum Order {
    Batch(Job),
    /// To end what it has begun, as no batch follows for now.
    Flush,
}

/// Tells that a stage has ended when it is dropped: also by a panic.
struct LastWord {
    stage: usize,
    tell: Tell,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        self.tell.tell(Told::Ended { stage: self.stage });
    }
}

struct Worker {
    orders: Option<Sender<Order>>,
    thread: JoinHandle<(Stage, End)>,
}

impl Worker {
    /// Gives an order; false when nobody takes it.
    fn told(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

/// See the module.
pub(super) struct Pipeline {
    workers: Vec<Worker>,
    told: Receiver<Told>,
    /// Of batches that are not through: their numbers and the losses so far, by stage.
    waiting: VecDeque<(u64, Vec<Option<Vec<ModuleLosses>>>)>,
    /// Whether a stage has ended.
    ended: Vec<bool>,
    /// Hears the stages of other ranks, in rank 0.
    listener: Option<JoinHandle<()>>,
    /// The other ranks, where there are some.
    world: Option<Arc<World>>,
    /// Whether losses are gathered here, and not in rank 0.
    gathers: bool,
}

impl Pipeline {
    /// Sets stages to work; without links of their own they are all there are.
    ///
    /// # Errors
    /// No thread to be had; the stages are lost then.
    pub fn start(
        stages: Vec<Stage>,
        schedule: &Arc<Schedule>,
        links: Vec<Box<dyn Link>>,
        relay: Option<Relay>,
    ) -> Result<Self> {
        let (tell, told) = channel();
        let gathers = relay.as_ref().is_none_or(|relay| relay.world.rank() == 0);
        let all = relay.as_ref().map_or(stages.len(), |relay| relay.stages);
        let own = match &relay {
            Some(relay) if !gathers => Tell::Leader(Arc::clone(&relay.world)),
            _ => Tell::Here(tell.clone()),
        };
        let (mut workers, mut listener) = (Vec::with_capacity(stages.len()), None);
        if let Some(relay) = relay.as_ref().filter(|_| gathers) {
            let (world, tell) = (Arc::clone(&relay.world), Tell::Here(tell));
            let hear = move || listen(&world, &|told| tell.tell(told));
            listener = Some(thread("other ranks".into(), hear)?);
        }
        let world = relay.as_ref().map(|relay| Arc::clone(&relay.world));
        let relay = relay.map(Arc::new);
        for (stage, link) in stages.into_iter().zip(links) {
            let (orders, queue) = channel();
            let (schedule, tell, relay) = (Arc::clone(schedule), own.clone(), relay.clone());
            let k = stage.index();
            let run = move || {
                // The last to go: what it tells comes behind all losses.
                let _last = LastWord { stage: k, tell: tell.clone() };
                let mut work = Work { stage, link, tell, pending: None };
                // A stage that panicked is only taken apart.
                let end = catch_unwind(AssertUnwindSafe(|| work.all(&schedule.stages[k], &queue)));
                let mut stage = work.stage;
                if !matches!(end, Ok(Ok(()))) {
                    stage.release();
                }
                let end = end.map_or_else(End::Panicked, End::Done);
                relay.iter().for_each(|relay| relay.report(&end));
                (stage, end)
            };
            workers.push(Worker { orders: Some(orders), thread: thread(format!("stage {k}"), run)? });
        }
        let (waiting, ended) = (VecDeque::new(), vec![false; all]);
        Ok(Pipeline { workers, told, waiting, ended, listener, world, gathers })
    }

    /// Sets all stages of a network to work.
    ///
    /// # Errors
    /// As [`Pipeline::start`].
    pub fn start_all(stages: Vec<Stage>, schedule: &Arc<Schedule>, method: &Method) -> Result<Self> {
        let links = Channels::among(stages.len(), method);
        let links = links.into_iter().map(|link| Box::new(link) as Box<dyn Link>).collect();
        Self::start(stages, schedule, links, None)
    }

    /// Batches that were given and whose losses were not taken.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Gives a batch to all stages, to be taken in so many shards.
    ///
    /// # Errors
    /// [`Error::StageEnded`] when one works no more: [`Pipeline::end`] says why.
    pub fn give(
        &mut self,
        (number, shards): (u64, usize),
        feed: &Arc<dyn ToDevice>,
        options: Option<&StepOptions>,
    ) -> Result<()> {
        if self.gathers {
            self.waiting.push_back((number, self.ended.iter().map(|_| None).collect()));
        }
        for (stage, worker) in self.workers.iter().enumerate() {
            let job = Job { number, feed: Arc::clone(feed), options: options.copied(), shards };
            if !worker.told(Order::Batch(job)) {
                return Err(Error::StageEnded { stage });
            }
        }
        Ok(())
    }

    /// Lets stages end what they have begun: else what comes back to one waits for the next batch.
    pub fn flush(&mut self) {
        // Whether a stage has ended is told by what is waited for next.
        for worker in &self.workers {
            let _ = worker.told(Order::Flush);
        }
    }

    /// The losses of the oldest batch that were not taken; `wait`: until they are there, else none where they are not.
    ///
    /// # Errors
    /// As [`Pipeline::give`], also where a stage ended while the others have nothing more to wait for.
    pub fn losses(&mut self, wait: bool) -> Result<Option<Vec<ModuleLosses>>> {
        loop {
            let Some((_, found)) = self.waiting.front() else { return Ok(None) };
            if found.iter().all(Option::is_some) {
                let losses = self.waiting.pop_front().into_iter().flat_map(|(_, found)| found);
                return Ok(Some(losses.flatten().flatten().collect()));
            }
            let gone = found.iter().zip(&self.ended).position(|(losses, ended)| losses.is_none() && *ended);
            if let Some(stage) = gone {
                return Err(Error::StageEnded { stage });
            }
            let told = match wait {
                true => {
                    let told = || self.told.recv().ok();
                    self.world.as_ref().map_or_else(told, |world| world.awaits(told))
                }
                false => match self.told.try_recv() {
                    Ok(told) => Some(told),
                    Err(std::sync::mpsc::TryRecvError::Empty) => return Ok(None),
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => None,
                },
            };
            match told {
                Some(Told::Losses { stage, number, losses }) => {
                    if let Some((_, found)) = self.waiting.iter_mut().find(|(n, _)| *n == number) {
                        found[stage] = Some(losses);
                    }
                }
                Some(Told::Ended { stage }) => self.ended[stage] = true,
                None => self.ended.fill(true),
            }
        }
    }

    /// Lets the stages end what they were given, and gives them back, with what went wrong: of several errors the one that
    /// is not another's consequence. `see` is shown the losses that nobody took.
    ///
    /// # Panics
    /// When a stage did.
    pub fn end(mut self, mut see: impl FnMut(Vec<ModuleLosses>)) -> (Vec<Stage>, Result<()>) {
        self.workers.iter_mut().for_each(|w| w.orders = None);
        while let Ok(Some(losses)) = self.losses(true) {
            see(losses);
        }
        let (mut stages, mut ended, mut panicked) = (Vec::new(), Ok(()), None);
        for joined in self.join() {
            match joined {
                Ok((stage, end)) => {
                    stages.push(stage);
                    match end {
                        End::Done(Err(e)) => {
                            let is_cause = !matches!(e, Error::StageEnded { .. } | Error::Rank { .. });
                            if ended.is_ok() || is_cause && matches!(ended, Err(Error::StageEnded { .. })) {
                                ended = Err(e);
                            }
                        }
                        End::Panicked(payload) => panicked = panicked.or(Some(payload)),
                        End::Done(Ok(())) => {}
                    }
                }
                Err(payload) => panicked = panicked.or(Some(payload)),
            }
        }
        if let Some(payload) = panicked {
            std::panic::resume_unwind(payload);
        }
        (stages, ended)
    }
}

impl Pipeline {
    /// Waits for all threads. The listener ends when all other ranks' stages have, or the job.
    fn join(&mut self) -> Vec<std::thread::Result<(Stage, End)>> {
        let (listener, workers) = (self.listener.take(), std::mem::take(&mut self.workers));
        let join = move || {
            // It only passes on what it hears.
            listener.into_iter().for_each(|listener| drop(listener.join()));
            workers.into_iter().map(|worker| worker.thread.join()).collect()
        };
        match &self.world {
            Some(world) => world.awaits(join),
            None => join(),
        }
    }
}

fn thread<T: Send + 'static>(
    name: String,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.clone()).spawn(run).map_err(|e| {
        let message = format!("its thread cannot be started: {e}");
        mlaan_engine::Error::Unavailable { device: name, message }.into()
    })
}

/// A learner that is dropped at work waits for its threads: what they work with may be taken apart next. Those of other ranks
/// may wait for more of it, and these for them: so the job ends first.
impl Drop for Pipeline {
    fn drop(&mut self) {
        self.workers.iter_mut().for_each(|w| w.orders = None);
        if self.workers.is_empty() && self.listener.is_none() {
            return;
        }
        // Unless the cause is known.
        self.world.iter().for_each(|world| world.fail("it ended within a step"));
        // Whatever it was: nobody is there to be told.
        drop(self.join());
    }
}

/// A stage at work.
struct Work {
    stage: Stage,
    link: Box<dyn Link>,
    tell: Tell,
    /// A batch, or a shard of one, whose gradients from above are to come.
    pending: Option<(u64, Option<StepOptions>, Shard)>,
}

impl Work {
    /// All batches, until there are no more.
    fn all(&mut self, schedule: &StageSchedule, orders: &Receiver<Order>) -> Result<()> {
        let device = self.stage.device.clone();
        loop {
            // What comes back waits for the next batch, so that a stage's memory does not depend on who is faster.
            let order = orders.recv().ok();
            let is_last = order.is_none();
            let job = order.and_then(|order| if let Order::Batch(job) = order { Some(job) } else { None });
            if job.is_some() || self.pending.is_some() {
                let done = device.scope(|| self.turn(schedule, job)).unwrap_or(Ok(()));
                self.link.ends();
                done?;
            }
            if is_last {
                let Work { stage, link, .. } = self;
                // A stage that was given a batch which this one was not would wait for it, and this one for that stage.
                link.finish();
                return device.scope(|| stage.versions.drain(&stage.device, link.as_mut())).unwrap_or(Ok(()));
            }
        }
    }

    /// The next batch as far as it goes, and in between what is left of the one before.
    fn turn(&mut self, schedule: &StageSchedule, job: Option<Job>) -> Result<()> {
        self.link.begins();
        let Some(Job { number, feed, options, shards }) = job else { return self.return_pending(schedule) };
        let device = self.stage.device.clone();
        let (at, wants) = (self.stage.index(), self.stage.needs_images());
        if shards > 1 {
            let uncut =
                || Error::recipe("train.shards", "this batch cannot be cut: its `ToDevice` has no parts");
            let images = feed.images().ok_or_else(uncut)?;
            // To the next stage each is as a batch of its own.
            for (index, shard) in Shard::all(images, shards).enumerate() {
                let input = feed.part(at, &device, wants, shard.range())?;
                self.stage.losses.at_shard(index);
                self.through(schedule, input, (number, options, shard))?;
            }
            self.stage.losses.advance_over(images);
        } else {
            let input = feed.to_device(at, &device, wants)?;
            self.through(schedule, input, (number, options, Shard::WHOLE))?;
            self.stage.losses.advance();
        }
        // Whoever made it has it back by when the losses are told.
        drop(feed);
        let mut losses = Vec::new();
        self.stage.read_losses(|step| losses.extend(step))?;
        self.tell.tell(Told::Losses { stage: at, number, losses });
        Ok(())
    }

    /// A batch or a shard as far as it goes, and in between what is left of the one before. A module's own pieces of work are
    /// done in the same order as in one stage: what it gathers over shards does not depend on the stages.
    fn through(
        &mut self,
        schedule: &StageSchedule,
        input: StageInput,
        (number, options, shard): (u64, Option<StepOptions>, Shard),
    ) -> Result<()> {
        let images = input.images.map(Activation::plain);
        let targets: &dyn Targets = input.targets.as_ref();
        let (images, targets) = (images.as_ref(), Some(targets));
        let batch = Batch { number, images, targets, options: options.as_ref(), shard };
        self.run(&schedule.ahead, batch)?;
        self.return_pending(schedule)?;
        self.run(&schedule.rest, batch)?;
        self.stage.release_auxiliaries();
        if schedule.overlaps() {
            self.pending = Some((number, options, shard));
        }
        Ok(())
    }

    fn return_pending(&mut self, schedule: &StageSchedule) -> Result<()> {
        let Some((number, options, shard)) = self.pending.take() else { return Ok(()) };
        let batch = Batch { number, images: None, targets: None, options: options.as_ref(), shard };
        self.run(&schedule.returning, batch)
    }

    fn run(&mut self, verbs: &[Verb], batch: Batch<'_>) -> Result<()> {
        verbs.iter().try_for_each(|&verb| {
            self.link.begins();
            self.stage.run(verb, batch, self.link.as_mut())
        })
    }
}
