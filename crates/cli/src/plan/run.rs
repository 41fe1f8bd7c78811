//! What is planned: a recipe, and the images where they are named.

use crate::args::PlanArgs;
use crate::auto::Base;
use crate::held_out::or_held_out;
use crate::host;
use anyhow::Result;
use mlaan::Device;
use mlaan::data::{LoaderPool, Names, Splits};
use mlaan::local::Task;
use mlaan::nn::ImageShape;
use mlaan::plan::{Sizes, in_flight};
use mlaan::recipe::{MeanStd, Recipe};
use mlaan::train::{self, setup, step_sizes};
use mlaan_engine::DeviceKind;

/// See the module.
pub struct Run {
    /// What it is called.
    pub name: String,
    /// The recipe.
    pub recipe: Recipe,
    /// What is learnt.
    pub task: Task,
    /// What was chosen for the images.
    pub choices: Option<String>,
    /// Devices that only count, one per stage.
    stages: Vec<Device>,
    /// That of a plan for one stage.
    device: Device,
    splits: Option<Splits>,
}

impl Run {
    /// Opens the images, where some are named.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(base: &Base, args: &PlanArgs) -> Result<Self> {
        let mut recipe = base.recipe.clone();
        let stages = args.machine.kinds()?.into_iter().map(Device::dry).collect::<Result<_, _>>()?;
        let device = Device::dry(args.machine.kind())?;
        let threads = args.machine.processor.threads.unwrap_or(0);
        let splits = match args.images.data {
            Some(_) => {
                Some(or_held_out(&mut recipe, true, |recipe| Ok(host::open(recipe, threads, Names::Test)?))?)
            }
            None => None,
        };
        let classes = splits.as_ref().map(|splits| splits.train.classes().len()).or(args.classes);
        let (task, choices) = (task(&recipe, classes), base.choices(&recipe));
        Ok(Run { name: base.name.clone(), recipe, task, choices, stages, device, splits })
    }

    /// The device of a plan for one stage.
    pub fn kind(&self) -> DeviceKind {
        self.device.kind()
    }

    /// A device per stage.
    pub fn kinds(&self) -> Vec<DeviceKind> {
        self.stages.iter().map(Device::kind).collect()
    }

    /// The images.
    pub fn splits(&self) -> Option<&Splits> {
        self.splits.as_ref()
    }

    /// What memory depends on, with batches of `batch` images, in one stage.
    pub fn sizes(&self, batch: usize) -> Sizes {
        self.sizes_on(batch, std::slice::from_ref(&self.device))
    }

    /// As [`Run::sizes`], of the recipe over so many ranks.
    pub fn sizes_of(&self, ranks: usize) -> Sizes {
        let sizes = self.sizes(self.recipe.train.batch);
        let waiting = LoaderPool::bytes(in_flight(ranks), sizes.batch, self.recipe.data.size, sizes.mixed);
        Sizes { data_bytes: sizes.data_bytes + waiting, ..sizes }
    }

    /// As [`Run::sizes`], in its stages.
    pub fn sizes_in_stages(&self, batch: usize) -> Sizes {
        self.sizes_on(batch, &self.stages)
    }

    fn sizes_on(&self, batch: usize, devices: &[Device]) -> Sizes {
        match &self.splits {
            Some(splits) => train::sizes(&self.recipe, splits, devices, batch),
            None => sizes(&self.recipe, batch, (self.kind(), devices.len())),
        }
    }
}

/// Without images, but with the batches that wait for the step.
pub fn sizes(recipe: &Recipe, batch: usize, (kind, stages): (DeviceKind, usize)) -> Sizes {
    let mixed = recipe.data.extras().mixes();
    let waiting = LoaderPool::AHEAD + in_flight(stages);
    let data_bytes = LoaderPool::bytes(waiting, batch, recipe.data.size, mixed);
    Sizes { mixed, data_bytes, ..step_sizes(recipe, batch, kind) }
}

/// The images that a plan is for; their values do not matter.
pub fn task(recipe: &Recipe, classes: Option<usize>) -> Task {
    let size = recipe.data.size;
    let classes = classes.unwrap_or(if size <= 96 { 10 } else { 1000 });
    let pixels = setup::pixel_scale(&MeanStd { mean: [0.5; 3], std: [0.25; 3] });
    Task { image: ImageShape::square(size, 3), classes, pixels }
}
