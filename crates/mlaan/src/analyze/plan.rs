//! What an analysis needs, before it runs: the same passes on a device that computes nothing, and what is solved beside.

use super::cka::Gram;
use super::separability::{self, feature_bytes, groups};
use super::{Subject, logistic};
use crate::Result;
use crate::data::BatchSource;
use crate::plan::{Needs, Process, TensorSizes};
use crate::train::Trained;
use mlaan_engine::ops::Operand;
use mlaan_engine::{Device, DeviceKind, MemoryCategory, Tensor};

/// What is asked of every network.
#[derive(Clone, Copy, Debug)]
pub struct Studies {
    /// Auxiliary classifiers.
    pub heads: bool,
    /// Linear separability.
    pub separability: Option<separability::Options>,
    /// CKA with another network, over minibatches of so many images.
    pub cka: Option<usize>,
    /// Feature maps of so many images at so many places.
    pub features: Option<(usize, usize)>,
    /// Images at a time in all others, at the most.
    pub batch: usize,
}

/// The images.
#[derive(Clone, Copy, Debug)]
pub struct Images {
    /// Training and test images.
    pub count: [usize; 2],
    /// Bytes of host memory that they and their batches take.
    pub data_bytes: usize,
}

/// Plans studies of `subjects`, all of them open at once, and of the network `other` that CKA compares them with.
///
/// # Errors
/// As [`Subject::of`].
pub fn plan(
    (subjects, other): (&[Trained], Option<&Trained>),
    images: Images,
    studies: Studies,
    kind: DeviceKind,
) -> Result<Needs> {
    let device = Device::dry(kind)?;
    device.pool().count(MemoryCategory::Data, isize::try_from(images.data_bytes).unwrap_or(isize::MAX));
    let of = |t: &Trained, heads| Subject::of("", t, &device, heads);
    let mut all = subjects.iter().map(|t| of(t, studies.heads)).collect::<Result<Vec<_>>>()?;
    let mut other = other.filter(|_| studies.cka.is_some()).map(|t| of(t, false)).transpose()?;
    let (mut process, mut beside) = (0, 0);
    for subject in all.iter_mut().chain(&mut other) {
        process = process.max(TensorSizes::of(&mut subject.learner)?.process(kind, Process::Inference));
    }
    for subject in &mut all {
        beside = beside.max(one(subject, other.as_mut(), images, studies)?);
    }
    let own = if kind.has_own_memory() { 0 } else { beside };
    Ok(Needs { usage: device.usage(), process: process + own, messages: 0 })
}

/// Bytes that the studies of one network take beside the device.
fn one(
    subject: &mut Subject,
    other: Option<&mut Subject>,
    images: Images,
    studies: Studies,
) -> Result<usize> {
    let batch = studies.batch.min(subject.recipe.train.batch);
    let mut most = 0;
    if studies.heads && subject.with_heads {
        for n in sizes(batch, images.count[1]) {
            let x = images_of(subject, n)?;
            subject.learner.infer_heads(x, &mut |_, _, _| {})?;
        }
    }
    if let (Some(minibatch), Some(other)) = (studies.cka, other) {
        let n = minibatch.min(images.count[1]).max(1);
        let values = grams(subject, n)?.max(grams(other, n)?);
        let places = subject.places.len() + other.places.len();
        most = most.max(values + Gram::bytes(n, places));
    }
    if let Some(options) = studies.separability {
        let [train, test] = images.count;
        for n in sizes(batch, train).into_iter().chain(sizes(batch, test)) {
            pooled(subject, n, options.grid)?;
        }
        let wanted = if options.ends_only { subject.ends() } else { subject.places.clone() };
        let bytes = |p: &_| feature_bytes(p, options.grid, train + test);
        let features = groups(&wanted, bytes).iter().map(|g| g.iter().map(bytes).sum::<usize>()).max();
        // The device's accountant counts features, too; here they are what the process holds.
        subject.learner.device().pool().count(MemoryCategory::Data, features.unwrap_or(0) as isize);
        subject.learner.device().pool().count(MemoryCategory::Data, -(features.unwrap_or(0) as isize));
        let classes = subject.manifest.classes.len();
        let width = |p: &super::Place| p.channels * options.grid * options.grid;
        let solver = wanted.iter().map(|p| logistic::bytes(width(p), classes)).max().unwrap_or(0);
        most = most.max(solver);
    }
    if let Some((count, places)) = studies.features {
        let x = images_of(subject, 1)?;
        let (mut values, mut kept) = (0, Vec::new());
        subject.learner.infer_seen(x, &mut |_, x| {
            let [_, h, w, c] = x.nhwc();
            values = values.max(h * w * c);
            kept.push(h * w);
            Ok(())
        })?;
        kept.sort_unstable_by(|a, b| b.cmp(a));
        let maps: usize = kept.iter().take(places).sum();
        let floats = values + count * maps * (1 + super::features::STRONGEST);
        most = most.max(floats * size_of::<f32>());
    }
    Ok(most)
}

/// The sizes of the batches that so many images make.
fn sizes(batch: usize, images: usize) -> Vec<usize> {
    let batch = batch.min(images).max(1);
    [batch, images % batch].into_iter().filter(|&n| n > 0).collect()
}

fn images_of(subject: &Subject, n: usize) -> Result<Tensor> {
    let (size, pixels) = (subject.manifest.size, subject.learner.task().pixels);
    Ok(BatchSource::Host.to_device(subject.learner.device(), None, n, size, pixels)?.images)
}

/// Averages at every place, as separability takes them.
fn pooled(subject: &mut Subject, n: usize, grid: usize) -> Result<()> {
    let (x, device) = (images_of(subject, n)?, subject.learner.device().clone());
    subject.learner.infer_seen(x, &mut |_, x| {
        device.average_pool(&Operand::plain(x), grid, grid)?;
        Ok(())
    })?;
    Ok(())
}

/// The products of `n` images at every place; bytes of the largest place's values on the host.
fn grams(subject: &mut Subject, n: usize) -> Result<usize> {
    let (x, device, mut most) = (images_of(subject, n)?, subject.learner.device().clone(), 0);
    subject.learner.infer_seen(x, &mut |_, x| {
        Gram::plan(&device, x)?;
        most = most.max(x.len() * size_of::<f32>());
        Ok(())
    })?;
    Ok(most)
}
