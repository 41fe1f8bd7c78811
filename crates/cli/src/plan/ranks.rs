//! `mlaan plan --ranks`: what several ranks would hold, send and wait for.

use super::pair::Pair;
use super::run::Run;
use crate::args::PlanArgs;
use crate::format;
use anyhow::{Result, bail};
use mlaan::Device;
use mlaan::local::Forecast;
use mlaan::plan::{Division, Plan, RanksCourse, Speed, StagePlan, plan_divided};
use mlaan::text;
use mlaan::train::setup;
use mlaan_engine::DeviceKind;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// Images of a step that is measured, at most: of small ones a full batch, as half of it is a fifth slower an image.
fn images(side: usize) -> usize {
    if side <= 64 { 128 } else { 64 }
}

/// Within the memory of one machine.
const SHARED: (f64, f64) = (5e9, 20e-6);

/// See the module.
pub struct Ranks {
    course: RanksCourse,
    wanted: RangeInclusive<usize>,
    network: (f64, f64),
    lag: Option<usize>,
    /// Of the larger of two ends, where one number was asked for.
    plan: Option<Plan>,
    /// Whether other cuts may be advised: those that were asked for stand.
    advises: bool,
    /// Of a process whose step was measured; none of GPUs, or where its operations a second were given.
    threads: Option<usize>,
    /// The most ranks that there can be, where more were asked for.
    cut_at: Option<usize>,
    modules: usize,
}

/// What the table's columns are.
const OF_A_STEP: &str = "GFLOP, busy and what is sent: of one step. Activations go to the next rank, gradients of cascades (MLM) to the one \
                         before, parameters of blocks to ranks with EMA copies of them (LAM).";

/// A step that other cuts make shorter by less is no reason to choose them.
const WORTHWHILE: f64 = 0.95;

impl Ranks {
    /// Plans the ranks that are asked for, if any are.
    ///
    /// # Errors
    /// More ranks than modules; what cannot be measured.
    pub fn new(run: &Run, args: &PlanArgs, pair: &Pair) -> Result<Option<Self>> {
        let Some(wanted) = args.ranks.clone() else { return Ok(None) };
        if args.machine.stages.is_some_and(|n| n > 1) {
            bail!(
                "--stages divides the modules over threads or GPUs of one process, and --ranks over processes: leave one out"
            );
        }
        let (recipe, modules) = (&run.recipe, pair.local.modules.len());
        if modules == 1 {
            bail!(
                "--ranks: backpropagation goes through the whole network, which cannot be divided; name a recipe of several modules"
            );
        }
        // A curve ends where there are no more modules.
        let single = wanted.start() == wanted.end();
        if *wanted.start() > modules || single && *wanted.end() > modules {
            bail!("--ranks {}: there are {modules} modules, and a rank has at least one", wanted.start());
        }
        if !single && args.rank_modules != Division::Time {
            bail!("--rank-modules needs one number of ranks: a curve divides modules by time");
        }
        let asked = *wanted.end();
        let wanted = *wanted.start()..=asked.min(modules);
        let (backbone, sizes) = (setup::network(recipe)?, run.sizes(recipe.train.batch));
        let device;
        let mut threads = None;
        let speed = match (args.gflops, run.kind()) {
            (Some(gflops), _) => Speed::Given(gflops * 1e9),
            (None, DeviceKind::Cpu { threads: given }) => {
                // As many as a rank would have: one, unless it is said.
                threads = given.or(Some(1));
                device = Device::cpu(threads)?;
                Speed::Measured(&device, images(recipe.data.size))
            }
            (None, DeviceKind::Cuda) => {
                bail!(
                    "--ranks on GPUs needs --gflops, what one of them computes in a second (`mlaan bench` says it)"
                )
            }
        };
        let mut course = RanksCourse::new(
            (&backbone, &pair.local),
            (&recipe.local, run.task, sizes),
            &speed,
            *wanted.end(),
        )?;
        if *wanted.start() > course.most() {
            bail!(
                "--ranks {}: modules that train one leap chain stay in one rank, which makes {} at most; ask for fewer, or --set \
                 local.leap.share=none",
                wanted.start(),
                course.most()
            );
        }
        let wanted = *wanted.start()..=(*wanted.end()).min(course.most());
        let cut_at = (asked > *wanted.end()).then_some(*wanted.end());
        let kinds = vec![run.kind(); *wanted.end()];
        let plan = match single {
            true => {
                let (sizes, division) = (run.sizes_of(kinds.len()), (kinds.as_slice(), &args.rank_modules));
                Some(plan_divided(&backbone, &recipe.local, run.task, sizes, division)?)
            }
            false => None,
        };
        plan.iter().for_each(|plan| course.divide(plan.cuts()));
        let network =
            (args.bandwidth.unwrap_or(SHARED.0), args.latency.map_or(SHARED.1, |t| t.as_secs_f64()));
        let lag = recipe.local.tied().map(|leap| leap.lag);
        let advises = args.rank_modules == Division::Time;
        Ok(Some(Ranks { course, wanted, network, lag, plan, advises, threads, cut_at, modules }))
    }

    /// Numbers of ranks of a curve: few enough to be read.
    fn numbers(&self) -> Vec<usize> {
        let is_shown = |n: &usize| {
            let ends = [self.wanted.start(), self.wanted.end()];
            let power = n.next_power_of_two();
            ends.contains(&n) || *n <= 4 || *n == power || *n == power / 4 * 3
        };
        self.wanted.clone().filter(is_shown).collect()
    }

    /// What keeps a step from being shorter.
    fn limit(&self, ranks: usize, found: &Forecast) -> String {
        let busiest = found.ranks.iter().map(|r| r.busy).fold(0.0, f64::max);
        let at = found.ranks.iter().position(|r| r.busy == busiest).unwrap_or(0);
        if ranks == 1 {
            return "-".into();
        }
        if found.step < 1.03 * busiest {
            return format!("compute of rank {at}");
        }
        let free = self.course.without_network(ranks).step;
        match self.lag {
            _ if free < 0.97 * found.step => "the link between ranks".into(),
            Some(lag) if lag < ranks => {
                format!("EMA copies waiting for their sources (local.leap.lag={ranks} would not wait)")
            }
            _ => "waiting for gradients of cascades".into(),
        }
    }

    /// Text.
    pub fn text(&self) -> String {
        let (bandwidth, latency) = self.network;
        let network = format!(
            "{}/s and {} between ranks",
            format::bytes(bandwidth as u64),
            format::duration_short(latency)
        );
        match &self.plan {
            Some(plan) => self.one(plan, &network),
            None => self.curve(&network),
        }
    }

    fn one(&self, plan: &Plan, network: &str) -> String {
        let ranks = *self.wanted.end();
        let found = self.course.forecast(ranks, self.network);
        // Beside a GPU lies what is kept of its tensors, and messages.
        let beside = |stage: &StagePlan| stage.usage.host + stage.needs().messages;
        let on_gpus = plan.stages.iter().any(|stage| stage.kind.has_own_memory());
        let header = ["rank", "modules", ">memory"].into_iter().chain(on_gpus.then_some(">host"));
        let header = header.chain([">GFLOP", ">busy", ">waiting"]);
        let header = header.chain([">activations sent", ">gradients sent", ">parameters sent"]);
        let mut table = format::table(&header.collect::<Vec<_>>());
        for (k, (rank, stage)) in found.ranks.iter().zip(&plan.stages).enumerate() {
            let waiting = 100.0 * (1.0 - rank.busy / found.step).max(0.0);
            let row =
                [k.to_string(), text::range(&rank.modules), format::bytes(stage.needs().memory() as u64)];
            let host = on_gpus.then(|| format::bytes(beside(stage) as u64));
            table.add_row(row.into_iter().chain(host).chain([
                format::giga(stage.flops),
                format::duration_short(rank.busy),
                format::percent(waiting),
                format::bytes(rank.sent[0] as u64),
                format::bytes(rank.sent[1] as u64),
                format::bytes(rank.sent[2] as u64),
            ]));
        }
        let advice = self.advice(ranks, &found).map_or_else(String::new, |other| told(&other));
        format!(
            "{}\n\n{OF_A_STEP}\n\n{}With {network}.{advice}",
            format::text(&table),
            self.speedup(ranks, &found),
        )
    }

    /// How long a step takes in one process and over ranks.
    fn speedup(&self, ranks: usize, found: &Forecast) -> String {
        let threads = match self.threads {
            Some(1) => " of 1 thread".to_owned(),
            Some(n) => format!(" of {n} threads"),
            None => String::new(),
        };
        let alone = format::duration_short(found.alone);
        if ranks == 1 {
            return format!("A step takes {alone} in one process{threads}. ");
        }
        format!(
            "A step takes {alone} in one process{threads}, and {} over {ranks} ranks{threads}: a speed-up of {:.2}, limited by {}. ",
            format::duration_short(found.step),
            found.alone / found.step,
            self.limit(ranks, found),
        )
    }

    /// The course with cuts by measured seconds, where that is worth while.
    fn advice(&self, ranks: usize, found: &Forecast) -> Option<Forecast> {
        let other = self.course.forecast_by_seconds(ranks, self.network).filter(|_| self.advises);
        worthwhile(found, other)
    }

    fn curve(&self, network: &str) -> String {
        let mut table = format::table(&[">ranks", ">a step", ">speed-up", ">efficiency", "limited by"]);
        for ranks in self.numbers() {
            let found = self.course.forecast(ranks, self.network);
            let speedup = found.alone / found.step;
            table.add_row([
                ranks.to_string(),
                format::duration_short(found.step),
                format!("{speedup:.2}"),
                format::percent(100.0 * speedup / ranks as f64),
                self.limit(ranks, &found),
            ]);
        }
        // A curve that was asked for beyond its end.
        let most = match self.cut_at {
            None => String::new(),
            Some(most) if most < self.modules => format!(
                " Modules that train one leap chain stay in one rank, which makes {} at most (local.leap.share=none: {}).",
                format::several(most, "rank"),
                self.modules
            ),
            Some(most) => {
                format!(
                    " A rank has a module at least, which makes {} at most.",
                    format::several(most, "rank")
                )
            }
        };
        format!("{}\n\nWith {network}.{most}", format::text(&table))
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let stage = |k: usize| self.plan.as_ref().and_then(|plan| plan.stages.get(k));
        let each = |ranks: usize| {
            let found = self.course.forecast(ranks, self.network);
            let advice = self.advice(ranks, &found);
            json!({
                "ranks": ranks,
                "step_seconds": found.step,
                "one_process_seconds": found.alone,
                "limit": (ranks > 1).then(|| self.limit(ranks, &found)),
                "advice": advice.map(|other| json!({ "rank_modules": module_counts(&other), "step_seconds": other.step })),
                "each": found.ranks.iter().enumerate().map(|(k, r)| json!({
                    "modules": [r.modules.start, r.modules.end],
                    "memory_bytes": stage(k).map(|s| s.needs().memory()),
                    "host_bytes": stage(k).map(|s| s.usage.host),
                    "messages_bytes": stage(k).map(|s| s.messages.all),
                    "busy_seconds": r.busy,
                    "sent_bytes": { "activations": r.sent[0], "gradients": r.sent[1], "parameters": r.sent[2] },
                })).collect::<Vec<_>>(),
            })
        };
        json!({
            "bandwidth_bytes_per_second": self.network.0,
            "latency_seconds": self.network.1,
            "curve": self.wanted.clone().map(each).collect::<Vec<_>>(),
        })
    }
}

/// The other course, where its step is so much shorter that its cuts are worth choosing.
fn worthwhile(found: &Forecast, other: Option<Forecast>) -> Option<Forecast> {
    other.filter(|other| other.step < WORTHWHILE * found.step)
}

/// The advice to choose these cuts.
fn told(other: &Forecast) -> String {
    let step = format::duration_short(other.step);
    format!(" As measured here, a step would take {step} with --rank-modules {}.", module_counts(other))
}

/// Numbers of modules, as `--rank-modules` takes them.
fn module_counts(of: &Forecast) -> String {
    of.ranks.iter().map(|rank| rank.modules.len().to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan::local::RankForecast;

    #[test]
    fn other_cuts_are_advised_where_their_step_is_shorter_by_a_twentieth() {
        let rank = |modules| RankForecast { modules, busy: 1.0, sent: [0; 3] };
        let course = |step| Forecast { step, alone: 4.0, ranks: vec![rank(0..20), rank(20..55)] };
        let advised = worthwhile(&course(2.0), Some(course(1.89))).unwrap();
        assert_eq!(told(&advised), " As measured here, a step would take 1.89 s with --rank-modules 20,35.");
        assert!(worthwhile(&course(2.0), Some(course(1.91))).is_none());
        assert!(worthwhile(&course(2.0), None).is_none());
    }
}
