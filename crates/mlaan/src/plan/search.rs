//! What fits into a given memory.
//!
//! Candidates are settings of the same network: the recipe as it is, fewer local modules, plain backpropagation, each
//! with and without recomputation, with activations in f32 and in bf16, and on a GPU with auxiliary networks there or in host
//! memory. Each is planned at the recipe's batch, and where
//! that is too much, at the largest batch that fits. A setting more is one more loop in [`candidates`].

use super::{Plan, Sizes, balanced, plan};
use crate::backbone::Backbone;
use crate::local::{LeapShare, Method, Offload, Recompute, Task};
use crate::memory::bytes;
use crate::{Error, Result};
use mlaan_engine::Precision;

/// What a candidate learns with, beside the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// The recipe's own method.
    Recipe,
    /// The recipe's method with this many modules.
    Fewer(usize),
    /// Plain backpropagation.
    Backpropagation,
}

/// Settings to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What it learns with.
    pub learning: Learning,
    /// The same in full, with its recomputation.
    pub method: Method,
    /// What activations are stored in.
    pub precision: Precision,
    /// The keys that make the recipe this candidate, as `local.recompute=module`.
    pub settings: Vec<String>,
}

/// A candidate that fits.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The settings.
    pub candidate: Candidate,
    /// Images of a step: the recipe's, or the most that fit.
    pub batch: usize,
    /// What it needs.
    pub plan: Plan,
    /// Operations per image, of the recipe's. An estimate of an epoch's time: operations differ in speed.
    pub time: f64,
}

/// What is to fit where.
pub struct Request<'a> {
    /// The network.
    pub backbone: &'a dyn Backbone,
    /// The recipe's method.
    pub method: &'a Method,
    /// The images.
    pub task: Task,
    /// The recipe's batch.
    pub batch: usize,
    /// Sizes of a run with another batch.
    pub sizes: &'a dyn Fn(usize) -> Sizes,
    /// Bytes that a run may use.
    pub memory: usize,
    /// Bytes of the host's memory that it may use beside a device with memory of its own; none where that is not known
    /// ([`Limits::host_room`](crate::memory::limit::Limits::host_room)).
    pub host: Option<usize>,
}

/// What came out of a search.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The candidates that fit, best first.
    pub fits: Vec<Fit>,
    /// Where candidates fit the device and not the host, the bytes of host memory that the least of them needs.
    pub host_needed: Option<usize>,
}

/// What there is too little of, and how much of it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// Memory that a run may use.
    Memory(usize),
    /// The host's memory.
    Host(usize),
}

impl Request<'_> {
    /// What a plan has too little of.
    fn lack(&self, plan: &Plan) -> Option<Lack> {
        let (memory, host) = (plan.memory(), plan.needs().host());
        let has_own = (self.sizes)(self.batch).kind.has_own_memory();
        let room = self.host.filter(|_| has_own).unwrap_or(usize::MAX);
        match (memory > self.memory, host > room) {
            (true, _) => Some(Lack::Memory(memory)),
            (false, true) => Some(Lack::Host(host)),
            (false, false) => None,
        }
    }
}

/// The settings to try, the recipe's own first.
pub fn candidates(request: &Request<'_>) -> Vec<Candidate> {
    let own = request.method;
    let mut learnings = vec![(Learning::Recipe, own.clone())];
    learnings.extend(fewer_modules(own));
    if own.cuts.as_ref().map_or(own.modules, |c| c.len() + 1) > 1 {
        learnings.push((Learning::Backpropagation, Method::default()));
    }
    let shares = own.leap.as_ref().is_some_and(|leap| leap.share != LeapShare::None);
    let Sizes { precision: stored, kind, .. } = (request.sizes)(request.batch);
    let places: &[Offload] =
        if kind.has_own_memory() { &[Offload::None, Offload::Auxiliary] } else { &[Offload::None] };
    // A recipe that recomputes or stores bf16 already is not to be changed to one that does not.
    let both = [Precision::F32, Precision::Bf16];
    let precisions = both.into_iter().filter(|&p| stored == Precision::F32 || p == stored);
    let mut all = Vec::new();
    for precision in precisions {
        for (learning, method) in &learnings {
            for recompute in [Recompute::None, Recompute::Module] {
                let same = *learning == Learning::Recipe;
                if same && own.recompute > recompute {
                    continue;
                }
                let segments = own.segments.filter(|_| same && recompute == Recompute::Module);
                for &offload in places {
                    // Nor back to the device what a recipe keeps in host memory; backpropagation has nothing to move, and a leap
                    // chain that modules share stays.
                    let skipped = match learning {
                        Learning::Backpropagation => !offload.is_none(),
                        _ => own.offload > offload || (shares && !offload.is_none()),
                    };
                    if skipped {
                        continue;
                    }
                    let method = Method { recompute, segments, offload, ..method.clone() };
                    let mut settings = settings(own, *learning, &method);
                    if precision != stored {
                        settings.push("train.precision=bf16".into());
                    }
                    all.push(Candidate { learning: *learning, method, precision, settings });
                }
            }
        }
    }
    all
}

/// The keys that make a recipe with the method `own` this candidate.
fn settings(own: &Method, learning: Learning, method: &Method) -> Vec<String> {
    let mut keys = Vec::new();
    let mut removed = |key: &str, is_there: bool| {
        if is_there {
            keys.push(format!("{key}=none"));
        }
    };
    if learning != Learning::Recipe {
        removed("local.cuts", own.cuts.is_some());
        removed("local.stem_alone", own.stem_alone.is_some());
    }
    if learning == Learning::Backpropagation {
        removed("local.cascade", own.cascade.is_some());
        removed("local.leap", own.leap.is_some());
    }
    removed("local.segments", own.segments.is_some() && method.segments.is_none());
    if learning != Learning::Recipe {
        keys.insert(0, format!("local.modules={}", method.modules));
    }
    if own.offload != method.offload {
        let word = if method.offload.is_none() { "none" } else { "auxiliary" };
        keys.push(format!("local.offload={word}"));
    }
    if own.recompute != method.recompute {
        let word = if method.recompute == Recompute::Module { "module" } else { "none" };
        keys.push(format!("local.recompute={word}"));
    }
    keys
}

/// The recipe's method with a half, a quarter, … of its modules; cuts and sources of its own have no half.
fn fewer_modules(own: &Method) -> Vec<(Learning, Method)> {
    let fixed = own.cuts.is_some() || own.leap.as_ref().is_some_and(|l| l.sources.is_some());
    let halves = std::iter::successors(Some(own.modules / 2), |n| Some(n / 2));
    let possible = halves.take_while(|&n| !fixed && n > 1 && n >= own.span());
    possible.map(|n| (Learning::Fewer(n), Method { modules: n, stem_alone: None, ..own.clone() })).collect()
}

/// The candidates that fit, best first: the largest batch (at most the recipe's), then the recipe's precision, then the
/// fewest modules, then the fewest operations.
///
/// # Errors
/// When nothing fits: says the least memory that would do, and with what. As [`plan`].
pub fn search(request: &Request<'_>, candidates: &[Candidate]) -> Result<Found> {
    let full = (request.sizes)(request.batch);
    let base = plan(request.backbone, request.method, request.task, full)?;
    let base = base.flops as f64 / base.batch.max(1) as f64;
    let (mut fits, mut host_needed) = (Vec::new(), None);
    let mut least: Option<(usize, &Candidate)> = None;
    for candidate in candidates {
        let sizes = |batch: usize| Sizes { precision: candidate.precision, ..(request.sizes)(batch) };
        let method = balanced(request.backbone, &candidate.method, request.task, sizes(request.batch))?;
        let planned = |batch: usize| plan(request.backbone, &method, request.task, sizes(batch));
        match largest(request, &planned)? {
            Ok((batch, plan)) => {
                let time = plan.flops as f64 / plan.batch.max(1) as f64 / base.max(1.0);
                let balance = candidate.method.balance;
                let mut candidate = Candidate { method: method.clone(), ..candidate.clone() };
                candidate.settings.extend(chosen_cuts(balance, &method));
                fits.push(Fit { candidate, batch, plan, time });
            }
            Err(Lack::Memory(n)) if least.is_none_or(|(most, _)| n < most) => least = Some((n, candidate)),
            Err(Lack::Memory(_)) => {}
            Err(Lack::Host(n)) => host_needed = Some(host_needed.map_or(n, |most: usize| most.min(n))),
        }
    }
    if fits.is_empty() {
        return Err(nothing_fits(request, least, host_needed));
    }
    fits.sort_by(|a, b| {
        let modules = |f: &Fit| f.plan.modules.len();
        let rounds = |f: &Fit| f.candidate.precision != full.precision;
        (b.batch.cmp(&a.batch))
            .then(rounds(a).cmp(&rounds(b)))
            .then(modules(a).cmp(&modules(b)))
            .then(a.plan.flops.cmp(&b.plan.flops))
    });
    Ok(Found { fits, host_needed })
}

/// The keys of cuts that were chosen by their memory: at another batch others might be.
fn chosen_cuts(balance: bool, method: &Method) -> Vec<String> {
    let Some(cuts) = method.cuts.as_ref().filter(|_| balance) else { return Vec::new() };
    let cuts: Vec<String> = cuts.iter().map(usize::to_string).collect();
    vec!["local.balance=false".into(), format!("local.cuts=[{}]", cuts.join(","))]
}

/// The largest batch up to the recipe's whose plan fits, and the plan; or what one image has too little of.
fn largest(
    request: &Request<'_>,
    planned: &dyn Fn(usize) -> Result<Plan>,
) -> Result<std::result::Result<(usize, Plan), Lack>> {
    let fits = |p: &Plan| request.lack(p).is_none();
    let whole = planned(request.batch)?;
    if fits(&whole) {
        return Ok(Ok((request.batch, whole)));
    }
    let one = planned(1)?;
    if let Some(lack) = request.lack(&one) {
        return Ok(Err(lack));
    }
    // Memory grows with the batch, but for the little that lies unusable between blocks: `low` fits, `high` does not.
    let (mut low, mut high, mut best) = (1, request.batch, one);
    while high - low > step(low) {
        let middle = low + (high - low) / 2;
        let middle = (middle / step(middle) * step(middle)).max(low + step(low));
        let plan = planned(middle)?;
        if fits(&plan) { (low, best) = (middle, plan) } else { high = middle }
    }
    Ok(Ok((low, best)))
}

/// Batches are multiples of 8, but for the smallest.
fn step(batch: usize) -> usize {
    if batch < 8 { 1 } else { 8 }
}

/// `host`: what of the host's memory the least needs of those that fit the device.
fn nothing_fits(request: &Request<'_>, least: Option<(usize, &Candidate)>, host: Option<usize>) -> Error {
    let say = |bytes: usize| bytes::written(bytes as u64);
    let allowed = request.memory;
    let short = host.zip(request.host).map(|(needed, room)| {
        let settings = if least.is_some() { "settings that would fit need" } else { "every setting needs" };
        let (needed, room) = (say(needed), say(room));
        format!("{settings} {needed} of the host's memory beside the device, where there is room for {room}")
    });
    let message = match (least, &short) {
        (None, Some(short)) => format!(
            "nothing fits: {short}. Take fewer images (data.limit), leave them on disk (data.load = \"stream\"), or keep auxiliary \
             networks on the device (local.offload = \"none\")"
        ),
        (least, short) => {
            let (needed, settings) = least.map_or((0, &[][..]), |(n, c)| (n, c.settings.as_slice()));
            let settings: String = settings.iter().map(|s| format!(" {s}")).collect();
            let short = short.as_ref().map_or_else(String::new, |short| format!(" ({short})"));
            format!(
                "nothing fits into {} of memory: the least that would do is {}, with train.batch=1{settings}{short}. Allow \
                 more, or take a smaller network or smaller images",
                say(allowed),
                say(needed),
            )
        }
    };
    // Where only the host is short, that is what was asked of it.
    let (needed, allowed) = match (least, host.zip(request.host)) {
        (None, Some((needed, room))) => (needed, room),
        (least, _) => (least.map_or(0, |(n, _)| n), allowed),
    };
    Error::Memory { needed, allowed, message }
}
