//! A network over a data set.

use crate::Result;
use crate::data::BatchSource;
use crate::data::{Dataset, Frame, Loader, LoaderOptions, LoaderPool};
use crate::evaluation::{Evaluation, KEPT_MISTAKES, Meter};
use crate::local::{Learner, Logits};
use crate::plan::read_at_once;
use crate::ranks::{Thread, Work, while_watched};
use std::sync::Arc;
use std::time::Duration;

/// For who watches.
const EVALUATION: Work = Work::Other("an evaluation", Duration::ZERO);

/// A batch whose logits were not read: with its labels, and which images they are of.
type Waiting = (Logits, Vec<u32>, Vec<usize>);

/// Counts batches: waits for the device.
fn read(meter: &mut Meter, learner: &Learner, waiting: &mut Vec<Waiting>, classes: usize) -> Result<()> {
    for (logits, labels, indices) in waiting.drain(..) {
        let logits = learner.read_logits(logits)?;
        for ((row, label), index) in logits.chunks_exact(classes).zip(labels).zip(indices) {
            meter.add(index, row, label as usize);
        }
    }
    Ok(())
}

/// Evaluates with running statistics, in batches of `batch` images, framed as a run frames its own. Keeps the
/// [`KEPT_MISTAKES`] worst mistakes.
///
/// # Errors
/// From the data set or the device.
pub fn evaluate(
    learner: &mut Learner,
    data: &Arc<dyn Dataset>,
    pool: &LoaderPool,
    sizes: (usize, Frame),
) -> Result<Evaluation> {
    evaluate_keeping(learner, data, pool, sizes, KEPT_MISTAKES)
}

/// As [`evaluate()`], with the worst `mistakes`.
///
/// # Errors
/// As [`evaluate()`].
pub fn evaluate_keeping(
    learner: &mut Learner,
    data: &Arc<dyn Dataset>,
    pool: &LoaderPool,
    sizes: (usize, Frame),
    mistakes: usize,
) -> Result<Evaluation> {
    // Each image goes up once: keeping them all would bring no fewer.
    evaluate_from(learner, (data, &BatchSource::Host), pool, sizes, mistakes)
}

/// As [`evaluate_keeping`], with the images where they are.
pub(super) fn evaluate_from(
    learner: &mut Learner,
    (data, source): (&Arc<dyn Dataset>, &BatchSource),
    pool: &LoaderPool,
    (batch, frame): (usize, Frame),
    mistakes: usize,
) -> Result<Evaluation> {
    let world = learner.world().cloned();
    let evaluate = || evaluate_whole(learner, (data, source), pool, (batch, frame), mistakes);
    while_watched(world.as_deref(), EVALUATION, evaluate)
}

fn evaluate_whole(
    learner: &mut Learner,
    (data, source): (&Arc<dyn Dataset>, &BatchSource),
    pool: &LoaderPool,
    (batch, frame): (usize, Frame),
    mistakes: usize,
) -> Result<Evaluation> {
    let options = LoaderOptions { deliver: source.deliver(), ..LoaderOptions::evaluation(batch, frame) };
    let mut loader = Loader::new(Arc::clone(data), pool, options)?;
    let (device, task) = (learner.device().clone(), learner.task());
    // Batches that other ranks work on while the next ones begin.
    let at_once = match learner.world() {
        Some(world) => world.ranks() + 1,
        None => read_at_once(learner.output_device().kind()),
    };
    let names = data.classes();
    let mut meter = Meter::new(task.classes.max(names.len()), data.len(), mistakes);
    let mut waiting = Vec::new();
    while let Some(batch) = loader.next() {
        let batch = batch?;
        // Each batch is a piece of work.
        learner.world().iter().for_each(|world| world.begin(Thread::Main, EVALUATION));
        let input = source.to_device(&device, Some(&batch), batch.len(), frame.size, task.pixels)?;
        waiting.push((learner.ask_logits(input.images)?, batch.labels.clone(), batch.indices.clone()));
        loader.recycle(batch);
        if waiting.len() == at_once {
            read(&mut meter, learner, &mut waiting, task.classes)?;
        }
    }
    read(&mut meter, learner, &mut waiting, task.classes)?;
    Ok(meter.finish(names, &|index| data.image_name(index)))
}
