//! How fast a recipe trains here, and in how much memory: training steps on made-up images, timed, beside what the
//! machine can do at the most.
//!
//! What is timed is the step of a run, from a batch on the host to new parameters, with its losses read as a run reads
//! them: on the processor each step by itself, on a GPU steps one behind the other, with one wait at the end of a round.
//! What a run does beside its steps (making batches, testing, saving) is not.
//!
//! ```no_run
//! use mlaan::{Device, bench::{Options, bench}, recipe::Recipe};
//!
//! # fn main() -> mlaan::Result<()> {
//! let report = bench(&Recipe::load("bp-resnet32")?, &Device::cpu(None)?, &Options::default())?;
//! println!("{:.3} s a step, {:.1} images/s", report.seconds(), report.images_per_second());
//! # Ok(())
//! # }
//! ```

mod loading;
mod machine;
mod profile;
mod resident;
mod rig;

pub use loading::{Loading, loading};
pub use machine::Machine;
pub use profile::Profile;

use crate::recipe::Recipe;
use crate::train::setup;
use crate::{Device, Result};
use mlaan_engine::{DeviceKind, Usage};
use rig::Rig;
use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Times that steps are timed.
    pub rounds: usize,
    /// Steps of a round; on a GPU at least as many as a run asks for until it reads losses (32, or what takes a second).
    pub steps: usize,
    /// Steps before the first round, untimed; at least one is made, on a GPU some more, until its steps are recorded.
    pub warmup: usize,
    /// Whether every operation is timed too, in steps of their own behind the rounds.
    pub profile: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { rounds: 5, steps: 3, warmup: 2, profile: false }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The backbone's name.
    pub network: String,
    /// Local modules.
    pub modules: usize,
    /// Number of classes: 10 for images of up to 96 pixels, else 1000.
    pub classes: usize,
    /// Images of a step.
    pub batch: usize,
    /// What computed, as `cpu` or `cuda:0`.
    pub device: String,
    /// Threads of the processor.
    pub threads: usize,
    /// Instruction set of the processor's kernels; none where another device computed.
    pub isa: Option<&'static str>,
    /// Steps of a round.
    pub steps: usize,
    /// Set of kernels that convolutions ran on a GPU, `proved` or `new` ([`Device::kernels`]).
    pub kernels: Option<&'static str>,
    /// Each round's median of a step, in seconds; on a GPU its mean.
    pub rounds: Vec<f64>,
    /// Floating-point operations of a step: those of convolutions and linear layers.
    pub flops: u64,
    /// Memory of the same steps on a device that only counts.
    pub planned: Usage,
    /// Memory of the steps.
    pub used: Usage,
    /// Bytes that a step copied to the device of what is kept in host memory ([`Usage::host`]), and as many back; none without
    /// `local.offload`.
    pub moved: u64,
    /// Bytes by which the process grew at the most, from before the network was built; none where the system does not
    /// say (it is asked on Linux only).
    pub resident: Option<u64>,
    /// Bytes that the steps took of the device's own memory, by its driver: with the code of kernels and all that the
    /// accountant does not see (and with what other processes took meanwhile). None where it has no memory of its own.
    pub device_bytes: Option<u64>,
    /// What the machine can do, measured behind the rounds.
    pub machine: Machine,
    /// Every operation, when asked for.
    pub profile: Option<Profile>,
}

impl Measurement {
    /// Seconds of a step: the median of the rounds.
    pub fn seconds(&self) -> f64 {
        median(&self.rounds)
    }

    /// Images a second.
    pub fn images_per_second(&self) -> f64 {
        self.batch as f64 / self.seconds()
    }

    /// Floating-point operations a second.
    pub fn flops_per_second(&self) -> f64 {
        self.flops as f64 / self.seconds()
    }

    /// Part of [`Machine::flops`] that a step reaches, where that is known.
    pub fn of_peak(&self) -> Option<f64> {
        self.machine.flops.map(|peak| self.flops_per_second() / peak)
    }
}

/// Steps that a GPU takes beside [`Options::warmup`]: two are asked for kernel by kernel, the third is recorded.
const RECORDING: usize = 3;

/// Times training steps of a recipe on `device`: a fresh one, as memory is counted from when it was opened.
///
/// # Errors
/// What is wrong with the recipe, out of memory, or a device that fails.
pub fn bench(recipe: &Recipe, device: &Device, options: &Options) -> Result<Measurement> {
    let precision = recipe.train.precision.into();
    let device = device.with_precision(precision);
    let dry = Device::dry(device.kind())?.with_precision(precision);
    let (planned, flops) = plan(&dry, recipe)?;
    let (watch, free) = (resident::Watch::begin(), device.free_memory());
    // Beforehand, as a run does.
    device.pool().reserve(&planned)?;
    let mut rig = Rig::new(&device, recipe)?;
    let recording = if device.kind() == DeviceKind::Cuda { RECORDING } else { 0 };
    let mut seconds = 0.0;
    for _ in 0..options.warmup.max(1) + recording {
        seconds = step_time(&mut rig)?;
    }
    let steps = steps_of(&rig, options.steps, seconds);
    let before = device.fetched();
    let rounds: Vec<f64> =
        (0..options.rounds.max(1)).map(|_| round(&mut rig, steps)).collect::<Result<_>>()?;
    let moved = (device.fetched() - before) / (rounds.len() * steps.max(1)) as u64;
    let (resident, used) = (watch.grown(), device.usage());
    let taken = free.zip(device.free_memory()).map(|(before, after)| before.saturating_sub(after) as u64);
    let (modules, classes) = (rig.modules(), rig.classes());
    drop(rig);
    let machine = Machine::measure(&device)?;
    let profile = options.profile.then(|| Profile::measure(&device, recipe, options.steps)).transpose()?;
    Ok(Measurement {
        network: crate::backbone::Backbone::name(&setup::backbone(&recipe.model)?),
        modules,
        classes,
        batch: recipe.train.batch,
        device: device.name().into(),
        threads: device.threads(),
        isa: device.isa().map(|isa| isa.name()),
        kernels: device.kernels(),
        rounds,
        steps,
        flops,
        planned,
        used,
        moved,
        resident,
        device_bytes: taken,
        machine,
        profile,
    })
}

/// A few steps, timed without the machine's limits beside them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Seconds of the first step.
    pub seconds: f64,
    /// Memory of the step, without images.
    pub used: Usage,
    /// What was taken of a device's own memory, as [`Measurement::device_bytes`].
    pub device_bytes: Option<u64>,
}

/// One training step of a recipe on `device`, with its memory.
///
/// # Errors
/// As [`bench()`].
pub fn probe(recipe: &Recipe, device: &Device) -> Result<Probe> {
    let (mut rig, device, free) = prepared(recipe, device)?;
    let seconds = round(&mut rig, 1)?;
    let taken = free.zip(device.free_memory()).map(|(before, after)| before.saturating_sub(after) as u64);
    Ok(Probe { seconds, used: device.usage(), device_bytes: taken })
}

/// How long an image takes, training and testing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds of training, per image.
    pub training: f64,
    /// Seconds of testing, per image.
    pub testing: f64,
}

/// Times a few batches of a recipe on `device`, behind first ones that are not counted: up to three steps, no more
/// behind the first than begin within half a second, and as many batches of testing.
///
/// # Errors
/// As [`bench()`].
pub fn pace(recipe: &Recipe, device: &Device) -> Result<Pace> {
    let (mut rig, device, _) = prepared(recipe, device)?;
    let recording = if device.kind() == DeviceKind::Cuda { RECORDING } else { 0 };
    let steps = few(1 + recording, &mut || step_time(&mut rig))?;
    let tests = few(1, &mut || timed(&mut rig, Rig::infer))?;
    let images = recipe.train.batch.max(1) as f64;
    Ok(Pace { training: steps / images, testing: tests / images })
}

/// A recipe's network in its precision, its device and what of the device's own memory was free before.
fn prepared(recipe: &Recipe, device: &Device) -> Result<(Rig, Device, Option<usize>)> {
    let precision = recipe.train.precision.into();
    let device = device.with_precision(precision);
    let (planned, _) = plan(&Device::dry(device.kind())?.with_precision(precision), recipe)?;
    let free = device.free_memory();
    device.pool().reserve(&planned)?;
    Ok((Rig::new(&device, recipe)?, device, free))
}

/// The median of up to three times, no more than begin within half a second, behind `warmup` that do not count.
fn few(warmup: usize, time: &mut dyn FnMut() -> Result<f64>) -> Result<f64> {
    for _ in 0..warmup {
        time()?;
    }
    let mut times = vec![time()?];
    while times.len() < 3 && times.iter().sum::<f64>() < 0.5 {
        times.push(time()?);
    }
    Ok(median(&times))
}

/// Memory and operations of a step.
fn plan(dry: &Device, recipe: &Recipe) -> Result<(Usage, u64)> {
    let mut rig = Rig::new(dry, recipe)?;
    rig.step()?;
    let first = dry.flops();
    if rig.period() > 1 {
        rig.step()?;
    }
    Ok((dry.usage(), recipe.local.mean(first, dry.flops() - first)))
}

/// Seconds that a round takes on a GPU, where it has few steps.
const ROUND: f64 = 1.0;

/// Steps of a round, `asked` at least, where one takes so many seconds: on a GPU as many as a run asks for between two
/// readings of losses, so that a round goes on as a run does.
fn steps_of(rig: &Rig, asked: usize, seconds: f64) -> usize {
    let steps = asked.max(((ROUND / seconds.max(1e-9)) as usize).min(rig.deferrable())).max(1);
    // One behind the other they are timed together.
    if rig.deferrable() > 1 { steps.next_multiple_of(rig.period()) } else { steps }
}

/// The time of a step: on the processor the median, on a GPU the mean of steps that are asked for one behind the other.
fn round(rig: &mut Rig, steps: usize) -> Result<f64> {
    if rig.deferrable() > 1 {
        let begin = Instant::now();
        for _ in 0..steps.max(1) {
            rig.step()?;
        }
        rig.synchronize()?;
        return Ok(begin.elapsed().as_secs_f64() / steps.max(1) as f64);
    }
    let times = (0..steps.max(1)).map(|_| step_time(rig)).collect::<Result<Vec<f64>>>()?;
    Ok(median(&times))
}

/// Seconds of a step: where steps differ, the mean of those after which their work repeats itself.
fn step_time(rig: &mut Rig) -> Result<f64> {
    let period = rig.period();
    Ok(timed(rig, |rig| (0..rig.period()).try_for_each(|_| rig.step()))? / period as f64)
}

/// Seconds of a piece of work.
fn timed(rig: &mut Rig, work: fn(&mut Rig) -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work(rig)?;
    // The last updates may still be going on beside the processor.
    rig.synchronize()?;
    Ok(begin.elapsed().as_secs_f64())
}

/// The middle value, or the mean of the middle two; not a number when there is none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len().wrapping_sub(1) / 2), sorted.get(sorted.len() / 2)) {
        (Some(a), Some(b)) => (a + b) / 2.0,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }
}
