//! Plans of several ranks: what a step would take on each, and between them.

use super::division::even_at;
use super::{Plan, Sizes, balanced, stage_cuts};
use crate::Result;
use crate::backbone::Backbone;
use crate::local::{
    Course, Forecast, Learner, Meter, Method, ModuleSeconds, ModuleSummary, Partition, StepOptions, Task,
    check_stages, stage_starts,
};
use mlaan_engine::ops::Labels;
use mlaan_engine::{DType, Device, MemoryCategory};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Steps that are measured, and after how long no more are than the least: other work on the machine disturbs single ones.
const STEPS: RangeInclusive<usize> = 3..=7;
const LONG: Duration = Duration::from_secs(5);

/// What forecasts of any number of ranks depend on.
pub struct RanksCourse {
    method: Method,
    seconds: Vec<ModuleSeconds>,
    outputs: Vec<usize>,
    followed: Vec<Vec<usize>>,
    parameters: Vec<usize>,
    cuts: Vec<Vec<usize>>,
    /// Modules before which a rank may end, where their seconds were measured.
    starts: Option<Vec<usize>>,
}

/// How fast a module's operations are.
pub enum Speed<'a> {
    /// Operations a second.
    Given(f64),
    /// As measured on this device, which a rank would have, with batches of at most so many images.
    Measured(&'a Device, usize),
}

impl RanksCourse {
    /// For up to `most` ranks, or as many as the method allows, of a network that `plan` describes.
    ///
    /// # Errors
    /// From the device that is measured; fewer modules than ranks.
    pub fn new(
        (backbone, plan): (&dyn Backbone, &Plan),
        (method, task, sizes): (&Method, Task, Sizes),
        speed: &Speed<'_>,
        most: usize,
    ) -> Result<Self> {
        let method = balanced(backbone, method, task, sizes)?;
        let partition = Partition::new(&method, backbone)?;
        let n = partition.len();
        check_stages(most, n)?;
        let starts = stage_starts(&method, backbone)?;
        let most = most.min(starts.len() + 1);
        let summary: Vec<&ModuleSummary> = plan.modules.iter().map(|m| &m.summary).collect();
        let seconds = match speed {
            Speed::Given(rate) => plan.modules.iter().map(|m| given(&m.meter, *rate)).collect(),
            Speed::Measured(device, images) => {
                let batch = plan.batch.min(*images).max(1);
                measured(device, backbone, (&method, task, sizes), batch)?
                    .iter()
                    .map(|m| scaled(m, plan.batch as f64 / batch as f64))
                    .collect()
            }
        };
        let bytes = |m: &&ModuleSummary| {
            plan.batch
                * m.output.height
                * m.output.width
                * m.output.channels
                * sizes.precision.dtype().bytes()
        };
        let followed = |m: &&ModuleSummary| -> Vec<usize> {
            let blocks = method.leap.as_ref().map_or(&[][..], |leap| leap.followed(&m.sources));
            blocks.iter().filter_map(|&b| partition.module_of(b)).collect()
        };
        let cuts = (1..=most).map(|ranks| stage_cuts(backbone, &method, task, sizes, ranks));
        Ok(RanksCourse {
            seconds,
            outputs: summary.iter().map(bytes).collect(),
            followed: summary.iter().map(followed).collect(),
            parameters: summary.iter().map(|m| m.parameters * size_of::<f32>()).collect(),
            cuts: cuts.collect::<Result<_>>()?,
            starts: matches!(speed, Speed::Measured(..)).then_some(starts),
            method,
        })
    }

    /// Ranks that it can tell of at the most.
    pub fn most(&self) -> usize {
        self.cuts.len()
    }

    /// With other cuts for as many ranks as they make.
    pub fn divide(&mut self, cuts: Vec<usize>) {
        let ranks = cuts.len();
        self.cuts.get_mut(ranks).into_iter().for_each(|own| own.clone_from(&cuts));
    }

    /// Steps of `ranks` ranks, whose borders let so many bytes a second through, so many seconds late.
    pub fn forecast(&self, ranks: usize, network: (f64, f64)) -> Forecast {
        self.forecast_of(self.cuts.get(ranks.saturating_sub(1)).map_or(&[], Vec::as_slice), network)
    }

    fn forecast_of(&self, cuts: &[usize], network: (f64, f64)) -> Forecast {
        let RanksCourse { method, seconds, outputs, followed, parameters, .. } = self;
        Course { method, seconds, outputs, followed, parameters, network }.forecast(cuts)
    }

    /// Steps of as many ranks, divided by the seconds that modules took here instead of by operations and bytes; nothing where
    /// seconds were not measured.
    pub fn forecast_by_seconds(&self, ranks: usize, network: (f64, f64)) -> Option<Forecast> {
        let nanos = |m: &ModuleSeconds| (1e9 * m.all()) as u64;
        let costs: Vec<u64> = self.seconds.iter().map(nanos).collect();
        let cuts = even_at(self.starts.as_ref()?, &costs, ranks).ok()?;
        Some(self.forecast_of(&cuts, network))
    }

    /// What a step would take were there no network: where that is as long, the ranks are what limits.
    pub fn without_network(&self, ranks: usize) -> Forecast {
        self.forecast(ranks, (f64::INFINITY, 0.0))
    }
}

fn given(meter: &Meter, rate: f64) -> ModuleSeconds {
    let seconds = |flops: u64| flops as f64 / rate;
    ModuleSeconds {
        forward: seconds(meter.forward),
        auxiliary: seconds(meter.auxiliary),
        backward: seconds(meter.backward),
    }
}

fn scaled(meter: &Meter, by: f64) -> ModuleSeconds {
    let [forward, auxiliary, backward] = meter.nanos.map(|n| by * n as f64 / 1e9);
    ModuleSeconds { forward, auxiliary, backward }
}

/// What each module takes in a real step behind a first one, over images that do not matter: the median of several.
fn measured(
    device: &Device,
    backbone: &dyn Backbone,
    (method, task, sizes): (&Method, Task, Sizes),
    batch: usize,
) -> Result<Vec<Meter>> {
    let device = device.with_precision(sizes.precision);
    let mut learner = Learner::new(&device, backbone, method, task, 0, sizes.optimizer)?;
    let side = task.image.height;
    let mut step = |learner: &mut Learner, number: u64| -> Result<()> {
        let mut images = device.alloc([batch, side, side, 3], DType::F32, MemoryCategory::Data)?;
        let values: Vec<f32> = (0..images.len()).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
        device.upload(&mut images, &values)?;
        let mut labels = device.alloc([batch], DType::U32, MemoryCategory::Data)?;
        let classes: Vec<u32> = (0..batch).map(|i| (i % task.classes.max(1)) as u32).collect();
        device.upload(&mut labels, &classes)?;
        learner.step(images, Labels::from(&labels), &StepOptions::uniform(0.0, number))?;
        Ok(())
    };
    step(&mut learner, 1)?;
    let (begin, mut found) = (Instant::now(), vec![learner.mean_meters(&mut step)?]);
    while found.len() < *STEPS.start() || found.len() < *STEPS.end() && begin.elapsed() < LONG {
        found.push(learner.mean_meters(&mut step)?);
    }
    let mut meters = found[0].clone();
    for (j, meter) in meters.iter_mut().enumerate() {
        for part in 0..meter.nanos.len() {
            let mut all: Vec<u64> = found.iter().map(|step| step[j].nanos[part]).collect();
            all.sort_unstable();
            meter.nanos[part] = all[all.len() / 2];
        }
    }
    Ok(meters)
}
