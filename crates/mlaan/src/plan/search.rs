//! What fits into a given memory.
//!
//! Candidates are settings of the same network: the recipe as it is, fewer local modules, plain backpropagation, each
//! with and without recomputation, with activations in f32 and in bf16, and on a GPU with auxiliary networks there or in host
//! memory. Each is planned at the recipe's batch, and where
//! that is too much, at the largest batch that fits. A setting more is one more loop in [`candidates`].

use super::{Plan, Sizes, balanced, plan};
use crate::backbone::Backbone;
use crate::local::{Method, Offload, Recompute, Task};
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
}

/// The settings to try, the recipe's own first.
pub fn candidates(request: &Request<'_>) -> Vec<Candidate> {
    let own = request.method;
    let mut learnings = vec![(Learning::Recipe, own.clone())];
    learnings.extend(fewer_modules(own));
    if own.cuts.as_ref().map_or(own.modules, |c| c.len() + 1) > 1 {
        learnings.push((Learning::Backpropagation, Method::default()));
    }
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
                    // Nor back to the device what a recipe keeps in host memory; backpropagation has nothing to move.
                    let skipped = match learning {
                        Learning::Backpropagation => !offload.is_none(),
                        _ => own.offload > offload,
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
pub fn search(request: &Request<'_>, candidates: &[Candidate]) -> Result<Vec<Fit>> {
    let full = (request.sizes)(request.batch);
    let base = plan(request.backbone, request.method, request.task, full)?;
    let base = base.flops as f64 / base.batch.max(1) as f64;
    let mut fits = Vec::new();
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
            Err(needed) if least.is_none_or(|(n, _)| needed < n) => least = Some((needed, candidate)),
            Err(_) => {}
        }
    }
    if fits.is_empty() {
        return Err(nothing_fits(request.memory, least));
    }
    fits.sort_by(|a, b| {
        let modules = |f: &Fit| f.plan.modules.len();
        let rounds = |f: &Fit| f.candidate.precision != full.precision;
        (b.batch.cmp(&a.batch))
            .then(rounds(a).cmp(&rounds(b)))
            .then(modules(a).cmp(&modules(b)))
            .then(a.plan.flops.cmp(&b.plan.flops))
    });
    Ok(fits)
}

/// The keys of cuts that were chosen by their memory: at another batch others might be.
fn chosen_cuts(balance: bool, method: &Method) -> Vec<String> {
    let Some(cuts) = method.cuts.as_ref().filter(|_| balance) else { return Vec::new() };
    let cuts: Vec<String> = cuts.iter().map(usize::to_string).collect();
    vec!["local.balance=false".into(), format!("local.cuts=[{}]", cuts.join(","))]
}

/// The largest batch up to the recipe's whose plan fits, and the plan; or what one image needs.
fn largest(
    request: &Request<'_>,
    planned: &dyn Fn(usize) -> Result<Plan>,
) -> Result<std::result::Result<(usize, Plan), usize>> {
    let fits = |p: &Plan| p.memory() <= request.memory;
    let whole = planned(request.batch)?;
    if fits(&whole) {
        return Ok(Ok((request.batch, whole)));
    }
    let one = planned(1)?;
    if !fits(&one) {
        return Ok(Err(one.memory()));
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

fn nothing_fits(memory: usize, least: Option<(usize, &Candidate)>) -> Error {
    let (needed, settings) = match least {
        Some((n, c)) => (n, c.settings.clone()),
        None => (0, Vec::new()),
    };
    let settings: String = settings.iter().map(|s| format!(" {s}")).collect();
    let message = format!(
        "nothing fits into {} of memory: the least that would do is {}, with train.batch=1{settings}. Allow more, or take \
         a smaller network or smaller images",
        bytes::written(memory as u64),
        bytes::written(needed as u64),
    );
    Error::Memory { needed, allowed: memory, message }
}
