//! The beginning of a job of several ranks: all say what they were started with, and rank 0 what there is to do.

use super::alike::{self, Platform};
use super::setup;
use crate::backbone::Frozen;
use crate::local::{Command, Learner, Method, Task};
use crate::memory::Needs;
use crate::memory::bytes::written;
use crate::memory::limit::Limits;
use crate::memory::shared::{self, Share};
use crate::nn::ImageShape;
use crate::plan::{Division, Plan};
use crate::ranks::{Lane, World, first_steps};
use crate::recipe::{MeanStd, Recipe};
use crate::text;
use crate::{Error, Result};
use mlaan_engine::{Device, DeviceKind, Usage};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// What a rank was started with.
#[derive(Serialize, Deserialize)]
struct Hello {
    version: String,
    /// None where the run's folder says it, which rank 0 alone looks into.
    recipe: Option<String>,
    /// Threads of the processor; none of a GPU.
    threads: Option<usize>,
    is_gpu: bool,
    memory: Share,
    platform: Platform,
}

/// What a rank needs to know of a run.
#[derive(Serialize, Deserialize)]
pub(super) struct Begin {
    /// Every key spelt out.
    recipe: String,
    cuts: Vec<usize>,
    classes: usize,
    normalise: MeanStd,
    /// Of the classes, where the recipe has some.
    weights: Option<Vec<f32>>,
    /// What the rank will hold at the most: footprint, held, held in small blocks, and pinned in host memory.
    usage: [usize; 4],
    process: usize,
    /// Messages in host memory beside a GPU.
    messages: usize,
    /// Operations of a step.
    flops: u64,
}

/// A job as rank 0 knows it.
pub(super) struct Job<'a> {
    pub world: &'a Arc<World>,
    /// Which modules each has.
    pub division: &'a Division,
    /// What each rank computes with.
    pub kinds: Vec<DeviceKind>,
    /// The memory that each has.
    shares: Vec<Share>,
    /// Why results may not be those of one process.
    unlike: Vec<String>,
}

/// Says what this rank was started with.
pub(super) fn greet(world: &World, recipe: Option<&Recipe>, device: &Device) -> Result<()> {
    let hello = Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe: recipe.map(Recipe::to_toml).transpose()?,
        threads: match device.kind() {
            DeviceKind::Cpu { threads } => threads,
            DeviceKind::Cuda => None,
        },
        is_gpu: device.kind() == DeviceKind::Cuda,
        memory: Share::of_this_process(device, world.host()),
        platform: Platform::of(device),
    };
    world.send(0, Lane::Answer, json(&hello)?)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::ranks(format!("cannot be sent: {e}")))
}

fn read<'a, T: Deserialize<'a>>(rank: usize, bytes: &'a [u8]) -> Result<T> {
    let other =
        |e| Error::ranks(format!("rank {rank} is of another version of this program than others ({e})"));
    serde_json::from_slice(bytes).map_err(other)
}

impl<'a> Job<'a> {
    /// In rank 0: hears what all others were started with, which is to be the same.
    ///
    /// # Errors
    /// A rank with another version or recipe: says which, and what differs.
    pub fn gather(
        (world, division): (&'a Arc<World>, &'a Division),
        recipe: &Recipe,
        device: &Device,
    ) -> Result<Self> {
        let (mut kinds, mut shares) =
            (vec![device.kind()], vec![Share::of_this_process(device, world.host())]);
        let mut platforms = Vec::new();
        for rank in world.others() {
            let what = || format!("rank {rank} to say what it was started with");
            let said = world.receive(rank, Lane::Answer, &what)?;
            let hello: Hello = read(rank, &said)?;
            let here = env!("CARGO_PKG_VERSION");
            if hello.version != here {
                let message = format!(
                    "rank {rank} runs version {} of this program, and rank 0 version {here}: install the same one on every machine",
                    hello.version
                );
                return Err(Error::ranks(message));
            }
            if let Some(text) = &hello.recipe {
                let theirs = Recipe::kept(text, &format!("rank {rank}"))?;
                let differs: Vec<String> =
                    theirs.differences(recipe)?.iter().map(ToString::to_string).collect();
                if !differs.is_empty() {
                    let message = format!(
                        "rank {rank} was started with another recipe or other data than rank 0: there {}. Start all ranks with the same arguments",
                        differs.join(", ")
                    );
                    return Err(Error::ranks(message));
                }
            }
            platforms.push((rank, hello.platform));
            shares.push(hello.memory);
            kinds.push(if hello.is_gpu {
                DeviceKind::Cuda
            } else {
                DeviceKind::Cpu { threads: hello.threads }
            });
        }
        let unlike = alike::warnings(&Platform::of(device), &platforms);
        Ok(Job { world, division, kinds, shares, unlike })
    }

    /// In rank 0: tells all others what there is to do.
    pub fn begin(
        &self,
        (recipe, plan): (&Recipe, &Plan),
        (classes, normalise): (usize, MeanStd),
        weights: Option<&[f32]>,
    ) -> Result<()> {
        for (rank, stage) in self.world.others().zip(plan.stages.iter().skip(1)) {
            let needs = stage.needs();
            let begin = Begin {
                recipe: recipe.to_toml()?,
                cuts: plan.cuts(),
                classes,
                normalise,
                weights: weights.map(<[f32]>::to_vec),
                usage: sizes(&needs.usage),
                process: needs.process,
                messages: needs.messages,
                flops: stage.flops,
            };
            self.world.send(rank, Lane::Command, Command::Begin.write(&json(&begin)?))?;
        }
        self.world.holds(name(&plan.stages[0].modules));
        self.world.expects(first_steps(plan.stages[0].flops, self.kinds[0].has_own_memory()));
        Ok(())
    }

    /// Whether what is planned fits into this rank's memory, and into that of all ranks of each machine together; a warning
    /// where it fits only if the system frees memory. What limits other ranks alone, they look for.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn fits(&self, plan: &Plan, device: &Device) -> Result<Option<String>> {
        let needs =
            plan.stages.iter().zip(&self.kinds).map(|(s, kind)| s.needs().on_host(kind.has_own_memory()));
        let together: Vec<(Share, usize)> = self.shares.iter().cloned().zip(needs).collect();
        shared::check(&together)?;
        let held = plan.stages.iter().map(|stage| stage.usage.held);
        let on_gpus: Vec<(Share, usize)> = self.shares.iter().cloned().zip(held).collect();
        shared::check_gpus(&on_gpus)?;
        Limits::of(device).check(&plan.stages[0].needs())
    }

    /// Why results may not be those of one process to the bit, if something is so.
    pub fn unlike(&self) -> &[String] {
        &self.unlike
    }

    /// What keeps ranks from running ahead, if something does.
    pub fn waits(&self, method: &Method) -> Option<String> {
        let (ranks, leap) = (self.world.ranks(), method.tied()?);
        // What is followed must have ended a batch that is as many behind as there are ranks between.
        let needed = ranks;
        (leap.lag < needed).then(|| {
            format!(
                "EMA copies follow blocks of other ranks {} behind (local.leap.lag={}), so that ranks wait for each other; with \
                 local.leap.lag={needed} or more they work side by side (another method: accuracy may differ)",
                if leap.lag == 1 { "1 step".to_owned() } else { format!("{} steps", leap.lag) },
                leap.lag
            )
        })
    }

    /// Whether a method can be cut into so many ranks.
    ///
    /// # Errors
    /// Fewer modules than ranks: says what to do instead.
    pub fn check(&self, method: &Method, modules: usize) -> Result<()> {
        let ranks = self.world.ranks();
        if ranks <= modules {
            return Ok(());
        }
        let message = match modules {
            1 => format!(
                "{ranks} ranks, and backpropagation goes through the whole network, which cannot be divided among them. Take a \
                 method of several modules (mlaan recipes: dgl, infopro, mlm, mlaan-released; or local.modules={ranks} or more), or \
                 start one process, whose --threads use one machine"
            ),
            _ => format!(
                "{ranks} ranks of {modules} modules; a rank has at least one. Start {modules} ranks or fewer, or raise local.modules{}",
                if method.cuts.is_some() { " (and local.cuts)" } else { "" }
            ),
        };
        Err(Error::ranks(message))
    }
}

/// Modules, for messages.
pub(super) fn name(modules: &Range<usize>) -> String {
    format!("module{} {}", if modules.len() == 1 { "" } else { "s" }, text::range(modules))
}

/// What of a plan goes to a rank.
fn sizes(usage: &Usage) -> [usize; 4] {
    [usage.footprint, usage.held, usage.held_small, usage.host]
}

/// The plan that [`sizes`] are of.
fn usage([footprint, held, held_small, host]: [usize; 4]) -> Usage {
    Usage { footprint, held, held_small, host, ..Usage::default() }
}

impl Begin {
    pub fn read(bytes: &[u8]) -> Result<Self> {
        read(0, bytes)
    }

    /// The part of the network that this rank trains.
    pub fn learner(&self, world: &Arc<World>, device: &Device) -> Result<Learner> {
        let recipe = Recipe::kept(&self.recipe, "rank 0")?;
        let backbone = Frozen::new(setup::backbone(&recipe.model)?, &recipe.train.freeze);
        let device = device.with_precision(recipe.train.precision.into());
        world.expects(first_steps(self.flops, device.kind().has_own_memory()));
        let usage = usage(self.usage);
        let needs = Needs { usage, process: self.process, messages: self.messages };
        if let Some(short) = Limits::of(&device).check(&needs)? {
            world.log(&format!("warning: {short}"));
        }
        device.pool().reserve(&usage)?;
        let task = Task {
            image: ImageShape::square(recipe.data.size, 3),
            classes: self.classes,
            pixels: setup::pixel_scale(&self.normalise),
        };
        let starts = std::iter::once(0).chain(self.cuts.iter().copied());
        let optimizer = setup::optimizer(&recipe.train);
        let place = (world, &device, self.cuts.as_slice());
        let mut learner = Learner::in_ranks(place, &backbone, &recipe.local, task, recipe.seed, optimizer)?;
        let modules = learner.modules();
        let ends = self.cuts.iter().copied().chain([modules]);
        if let Some((start, end)) = starts.zip(ends).nth(world.rank()) {
            let (part, planned) = (name(&(start..end)), needs.memory());
            world.log(&format!(
                "version {}, process {}: {part} on {}, threads: {}, {} planned",
                env!("CARGO_PKG_VERSION"),
                std::process::id(),
                device.name(),
                device.threads(),
                written(planned as u64)
            ));
            device.warning().into_iter().for_each(|warning| world.log(&format!("warning: {warning}")));
            world.holds(part);
        }
        if let Some(weights) = &self.weights {
            learner.weigh_classes(weights)?;
        }
        learner.cut_batches(recipe.train.shards_used())?;
        if let Some(decay) = recipe.train.model_ema_decay {
            learner.keep_average(decay)?;
        }
        Ok(learner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_looks_for_all_memory_that_its_part_needs() {
        let planned = Usage { footprint: 7, held: 5, held_small: 2, host: 11, ..Usage::default() };
        assert_eq!(usage(sizes(&planned)), planned);
    }
}
