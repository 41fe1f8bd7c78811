//! Batches, made ahead of the training step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use mlaan_engine::ops::draw;

use super::fill::{LoaderOptions, fill, numbered};
use super::sampler::{Order, samples};
use super::{Batch, Dataset, Deliver, Frame};
use crate::{Error, Result};

/// Largest side of the images delivered, so that a mistyped size is an error and not all of memory.
const MAX_SIZE: usize = 8_192;

/// Threads and buffers that the loaders of a run share, one epoch after another.
#[derive(Clone)]
pub struct LoaderPool {
    threads: Arc<rayon::ThreadPool>,
    free: Arc<Mutex<Vec<Batch>>>,
    ahead: usize,
}

impl LoaderPool {
    /// Batches that lie ready or are being made while the step runs, unless told otherwise.
    pub const AHEAD: usize = 2;

    /// `workers` threads (at least one) that keep up to `ahead` (at least one) batches ahead.
    ///
    /// # Errors
    /// When the system starts no threads.
    pub fn new(workers: usize, ahead: usize) -> Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(workers.max(1))
            .thread_name(|i| format!("mlaan-data-{i}"))
            .build()
            .map_err(|e| no_thread(&e))?;
        Ok(LoaderPool { threads: Arc::new(threads), free: Arc::default(), ahead: ahead.max(1) })
    }

    /// Bytes of the buffers once a loader with these options runs: the batches ahead and the one the
    /// step holds.
    pub fn buffer_bytes(&self, options: &LoaderOptions) -> usize {
        match options.deliver {
            Deliver::Images => {
                Self::bytes(self.ahead, options.batch, options.frame.size, options.extras.mixes())
            }
            Deliver::Draws => Self::draw_bytes(self.ahead, options.batch),
        }
    }

    /// As [`LoaderPool::buffer_bytes`], for a pool that is not there yet; `mixed` images have two labels.
    pub fn bytes(ahead: usize, batch: usize, size: usize, mixed: bool) -> usize {
        let second = if mixed { size_of::<u32>() + size_of::<f32>() } else { 0 };
        let image = size.saturating_mul(size).saturating_mul(3);
        Self::buffers(image.saturating_add(second), batch, ahead)
    }

    /// As [`LoaderPool::bytes`], for batches of draws.
    pub fn draw_bytes(ahead: usize, batch: usize) -> usize {
        Self::buffers(draw::COLUMNS * size_of::<u32>(), batch, ahead)
    }

    fn buffers(image: usize, batch: usize, ahead: usize) -> usize {
        let item = image.saturating_add(size_of::<u32>() + size_of::<usize>());
        item.saturating_mul(batch).saturating_mul(ahead + 1)
    }

    fn take(&self) -> Batch {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().unwrap_or_default()
    }

    fn put(&self, batch: Batch) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() <= self.ahead {
            free.push(batch);
        }
    }
}

fn no_thread(reason: &dyn std::fmt::Display) -> Error {
    Error::data("data loader", format!("no thread could be started ({reason}): use fewer workers"))
}

/// One epoch over a split. Batches are made by a thread of its own, ahead of [`Loader::next`]; what they
/// hold depends only on the options and the set, never on threads.
pub struct Loader {
    pool: LoaderPool,
    ready: Option<Receiver<Result<Batch>>>,
    maker: Option<JoinHandle<()>>,
    remaining: usize,
    buffer_bytes: usize,
}

impl Loader {
    /// Starts an epoch over `data`.
    ///
    /// # Errors
    /// When an option is impossible for this set or no thread can be started.
    pub fn new(data: Arc<dyn Dataset>, pool: &LoaderPool, mut options: LoaderOptions) -> Result<Self> {
        options.augment.validate(options.frame.size)?;
        options.extras.validate(options.frame.size)?;
        if options.batch == 0 {
            return Err(Error::recipe("train.batch", "0 images per batch: use at least 1"));
        }
        if data.is_empty() {
            return Err(failed("the split has no images"));
        }
        let drawn = options.augment.padding().is_some() && options.extras.is_none() && numbered(&*data);
        if options.deliver == Deliver::Draws && !drawn {
            return Err(failed("this augmentation or set needs its images made on the host"));
        }
        options.batch = options.batch.min(data.len());
        bounded(options.frame)?;
        let remaining = data.len().div_ceil(options.batch).saturating_sub(options.first_batch);
        // One batch is being made, the others wait in the channel.
        let (sender, ready) = sync_channel(pool.ahead - 1);
        let own = pool.clone();
        let maker = std::thread::Builder::new()
            .name("mlaan-loader".into())
            .spawn(move || make_batches(&*data, &own, &options, &sender))
            .map_err(|e| no_thread(&e))?;
        Ok(Loader {
            buffer_bytes: pool.buffer_bytes(&options),
            pool: pool.clone(),
            ready: Some(ready),
            maker: Some(maker),
            remaining,
        })
    }

    /// The next batch; `None` after the last one and after an error. Hand the batch back with
    /// [`Loader::recycle`] when it is used up.
    #[allow(clippy::should_implement_trait)] // An iterator could not take batches back.
    pub fn next(&mut self) -> Option<Result<Batch>> {
        if self.remaining == 0 {
            return None;
        }
        let received = self.ready.as_ref()?.recv();
        let batch = received.unwrap_or_else(|_| Err(failed("the loading thread ended early")));
        self.remaining = if batch.is_ok() { self.remaining - 1 } else { 0 };
        Some(batch)
    }

    /// Takes a used batch back, so that its memory serves a later one.
    pub fn recycle(&mut self, batch: Batch) {
        self.pool.put(batch);
    }

    /// Batches still to come.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Bytes of the batches ahead and of the one the step holds.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Some(ready) = self.ready.take() {
            // What lies ready serves the next epoch; without a receiver the thread ends.
            ready.try_iter().flatten().for_each(|b| self.pool.put(b));
        }
        if let Some(maker) = self.maker.take() {
            // A panic there has already come out of `next`.
            let _ = maker.join();
        }
    }
}

/// Refuses sizes that no one means.
fn bounded(Frame { size, short_side }: Frame) -> Result<()> {
    if size > MAX_SIZE {
        return Err(Error::recipe("data.size", format!("{size} pixels: use at most {MAX_SIZE}")));
    }
    if !(size..=2 * MAX_SIZE).contains(&short_side) {
        let message =
            format!("{short_side} pixels: use at least data.size ({size}), at most {}", 2 * MAX_SIZE);
        return Err(Error::recipe("data.short_side", message));
    }
    Ok(())
}

fn failed(message: &str) -> Error {
    Error::data("data loader", message)
}

/// The loading thread: every batch of the epoch into `sender`, until the end, an error, or nobody
/// listens.
fn make_batches(
    data: &dyn Dataset,
    pool: &LoaderPool,
    options: &LoaderOptions,
    sender: &SyncSender<Result<Batch>>,
) {
    let LoaderOptions { shuffle, balanced, seed, epoch, .. } = *options;
    let order = samples(data, Order { shuffle, balanced, seed, epoch });
    for part in order.chunks(options.batch).skip(options.first_batch) {
        let batch = catch_unwind(AssertUnwindSafe(|| {
            let mut batch = pool.take();
            pool.threads.install(|| fill(&mut batch, data, part, options))?;
            Ok(batch)
        }));
        let batch = batch.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().map(ToString::to_string);
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            let said = said.unwrap_or_else(|| "no message".into());
            Err(failed(&format!("the data set panicked: {said}")))
        });
        let last = batch.is_err();
        if let Err(unsent) = sender.send(batch) {
            unsent.0.into_iter().for_each(|b| pool.put(b));
            return;
        }
        if last {
            return;
        }
    }
}
