//! Errors of a network over a data set.

use crate::Result;
use crate::data::Source;
use crate::data::{Dataset, Frame, Loader, LoaderOptions, LoaderPool};
use crate::local::Learner;
use crate::plan::read_at_once;
use mlaan_engine::{Device, Tensor};
use serde::Serialize;
use std::sync::Arc;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images.
    pub images: usize,
    /// Wrong first guesses, percent.
    pub error: f64,
    /// Images whose label is not among the five best guesses, percent; only with more than five classes.
    pub top5_error: Option<f64>,
    /// Images for which the network gives no number: counted as wrong.
    pub undefined: usize,
    /// Per class: name, images, error in percent (none without images).
    pub classes: Vec<ClassError>,
}

/// See [`Evaluation::classes`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassError {
    /// The class.
    pub name: String,
    /// Its images.
    pub images: usize,
    /// Wrong first guesses among them, percent.
    pub error: Option<f64>,
}

/// Guesses counted per class.
struct Counts {
    images: Vec<usize>,
    wrong: Vec<usize>,
    beyond_five: usize,
    undefined: usize,
}

impl Counts {
    fn new(classes: usize) -> Self {
        Counts { images: vec![0; classes], wrong: vec![0; classes], beyond_five: 0, undefined: 0 }
    }

    /// Counts batches with their labels: waits for the device.
    fn read(&mut self, device: &Device, waiting: &mut Vec<(Tensor, Vec<u32>)>, classes: usize) -> Result<()> {
        for (logits, labels) in waiting.drain(..) {
            let logits = device.download(&logits)?;
            for (row, &label) in logits.chunks_exact(classes).zip(&labels) {
                self.add(row, label as usize);
            }
        }
        Ok(())
    }

    fn add(&mut self, logits: &[f32], label: usize) {
        let rank = rank(logits, label);
        if let (Some(n), Some(w)) = (self.images.get_mut(label), self.wrong.get_mut(label)) {
            *n += 1;
            *w += usize::from(rank > 0);
        }
        self.beyond_five += usize::from(rank >= 5);
        self.undefined += usize::from(logits.iter().any(|x| x.is_nan()));
    }
}

/// The rank of the label among the logits, 0 the best; the first of equals wins, and a network whose logits are not
/// numbers is always wrong.
pub(crate) fn rank(logits: &[f32], label: usize) -> usize {
    let own = logits.get(label).copied().unwrap_or(f32::NAN);
    let better = |(k, &x): (usize, &f32)| x > own || (x == own && k < label) || x.is_nan();
    if own.is_nan() { logits.len() } else { logits.iter().enumerate().filter(|&p| better(p)).count() }
}

/// Evaluates with running statistics, in batches of `batch` images, framed as a run frames its own.
///
/// # Errors
/// From the data set or the device.
pub fn evaluate(
    learner: &mut Learner,
    data: &Arc<dyn Dataset>,
    pool: &LoaderPool,
    sizes: (usize, Frame),
) -> Result<Evaluation> {
    // Each image goes up once: keeping them all would bring no fewer.
    evaluate_from(learner, (data, &Source::Host), pool, sizes)
}

/// As [`evaluate()`], with the images where they are.
pub(super) fn evaluate_from(
    learner: &mut Learner,
    (data, source): (&Arc<dyn Dataset>, &Source),
    pool: &LoaderPool,
    (batch, frame): (usize, Frame),
) -> Result<Evaluation> {
    let options = LoaderOptions { deliver: source.deliver(), ..LoaderOptions::evaluation(batch, frame) };
    let mut loader = Loader::new(Arc::clone(data), pool, options)?;
    let (device, task) = (learner.device().clone(), learner.task());
    let output = learner.output_device().clone();
    let names = data.classes();
    let mut counts = Counts::new(names.len());
    // Batches whose logits were not read, with their labels.
    let (mut waiting, at_once) = (Vec::new(), read_at_once(output.kind()));
    while let Some(batch) = loader.next() {
        let batch = batch?;
        let fed = source.feed(&device, Some(&batch), batch.len(), frame.size, task.pixels)?;
        waiting.push((learner.logits(fed.images)?, batch.labels.clone()));
        loader.recycle(batch);
        if waiting.len() == at_once {
            counts.read(&output, &mut waiting, task.classes)?;
        }
    }
    counts.read(&output, &mut waiting, task.classes)?;
    let images: usize = counts.images.iter().sum();
    let percent = |wrong: usize, of: usize| 100.0 * wrong as f64 / of.max(1) as f64;
    let class = |(i, name): (usize, &String)| ClassError {
        name: name.clone(),
        images: counts.images[i],
        error: (counts.images[i] > 0).then(|| percent(counts.wrong[i], counts.images[i])),
    };
    Ok(Evaluation {
        images,
        error: percent(counts.wrong.iter().sum(), images),
        top5_error: (task.classes > 5).then(|| percent(counts.beyond_five, images)),
        undefined: counts.undefined,
        classes: names.iter().enumerate().map(class).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_the_first_of_equals_and_distrust_nan() {
        let mut c = Counts::new(7);
        c.add(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 6);
        c.add(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
        c.add(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 1);
        assert_eq!((c.wrong.clone(), c.beyond_five), (vec![0, 1, 1, 0, 0, 0, 0], 1));
        c.add(&[1.0; 7], 0);
        c.add(&[1.0; 7], 3);
        assert_eq!((c.wrong[0], c.wrong[3]), (0, 1));
        c.add(&[f32::NAN; 7], 0);
        assert_eq!((c.wrong[0], c.beyond_five, c.undefined), (1, 2, 1));
    }
}
