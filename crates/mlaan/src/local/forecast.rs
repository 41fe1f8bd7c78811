//! How long steps of several ranks would take: their schedules with a time for every piece of work and every message.

use super::link::MessageKind;
use super::method::Method;
use super::schedule::{Schedule, StageSchedule, Verb};
use std::collections::BTreeMap;
use std::ops::Range;

/// Batches of a forecast; the second half of them is what counts.
const BATCHES: usize = 32;

/// Seconds that a module's work takes in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModuleSeconds {
    /// Of its forward pass.
    pub forward: f64,
    /// Of its auxiliary networks, or of the classifier behind the last one.
    pub auxiliary: f64,
    /// Of the passes back through it.
    pub backward: f64,
}

impl ModuleSeconds {
    /// All of them.
    pub fn all(&self) -> f64 {
        self.forward + self.auxiliary + self.backward
    }
}

/// What a forecast depends on.
#[derive(Clone, Debug)]
pub struct Course<'a> {
    /// The method.
    pub method: &'a Method,
    /// Of every module.
    pub seconds: &'a [ModuleSeconds],
    /// Bytes of every module's output.
    pub outputs: &'a [usize],
    /// For every module, the modules of the blocks that its copies follow.
    pub followed: &'a [Vec<usize>],
    /// Bytes of the parameters of a module's blocks.
    pub parameters: &'a [usize],
    /// Bytes a second that a rank can send, to all others together, and seconds until the first of them is there. What several ranks
    /// send to one at the same time does not slow each other here.
    pub network: (f64, f64),
}

/// What a rank would do in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct RankForecast {
    /// Its modules.
    pub modules: Range<usize>,
    /// Seconds of work.
    pub busy: f64,
    /// Bytes to the rank above, to the rank below, and of mirrored parameters to all others.
    pub sent: [usize; 3],
}

/// What ranks would take, step after step.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Seconds from one step to the next.
    pub step: f64,
    /// Seconds of a step in one process.
    pub alone: f64,
    /// Every rank.
    pub ranks: Vec<RankForecast>,
}

impl Course<'_> {
    /// Steps in ranks that end before the modules `cuts`.
    pub fn forecast(&self, cuts: &[usize]) -> Forecast {
        let (n, span) = (self.seconds.len(), self.method.span());
        let schedule = Schedule::new(n, span, cuts, self.followed, self.method.lag());
        let ends = self.ends(&schedule);
        let half = BATCHES / 2;
        let over = |ends: &Vec<f64>| (ends[BATCHES - 1] - ends[half - 1]) / (BATCHES - half) as f64;
        let step = ends.iter().map(over).fold(0.0, f64::max);
        let rank = |(k, s): (usize, &StageSchedule)| RankForecast {
            modules: s.modules.clone(),
            busy: s.all().map(|v| self.work(v)).sum(),
            sent: self.sent(k, &schedule),
        };
        let ranks = schedule.stages.iter().enumerate().map(rank).collect();
        Forecast { step, alone: self.seconds.iter().map(ModuleSeconds::all).sum(), ranks }
    }

    /// Passes back through a module: those of cascades, and the one that takes its weights' gradients.
    fn passes(&self, module: usize) -> f64 {
        let (n, span) = (self.seconds.len(), self.method.span());
        // Cascade j goes back through all of its window but the lowest module.
        let through = (module..n.min(module + span))
            .filter(|&j| span > 1 && n > 1 && (j + 1).saturating_sub(span) < module);
        1.0 + through.count() as f64
    }

    fn work(&self, verb: Verb) -> f64 {
        match verb {
            Verb::Forward(j) => self.seconds[j].forward,
            Verb::LocalBackward(j) => self.seconds[j].auxiliary,
            Verb::BackwardThrough { module, .. } | Verb::Update(module) => {
                self.seconds[module].backward / self.passes(module)
            }
            _ => 0.0,
        }
    }

    /// Bytes of mirrored blocks that rank `from` sends to rank `to`.
    fn mirrored(&self, schedule: &Schedule, from: usize, to: usize) -> usize {
        let wanted = schedule.stages[to].modules.clone().filter_map(|m| self.followed.get(m)).flatten();
        let mut modules: Vec<usize> =
            wanted.copied().filter(|m| schedule.stages[from].modules.contains(m)).collect();
        modules.sort_unstable();
        modules.dedup();
        modules.into_iter().map(|m| self.parameters[m]).sum()
    }

    fn sent(&self, k: usize, schedule: &Schedule) -> [usize; 3] {
        let (stage, mut sent) = (&schedule.stages[k], [0; 3]);
        for verb in stage.all() {
            match verb {
                Verb::SendFeatures => sent[0] += self.outputs[stage.modules.end - 1],
                Verb::SendGradient { .. } => sent[1] += self.outputs[stage.modules.start - 1],
                Verb::SendSources { to } => sent[2] += self.mirrored(schedule, k, to),
                _ => {}
            }
        }
        sent
    }

    /// When each rank ends each batch.
    fn ends(&self, schedule: &Schedule) -> Vec<Vec<f64>> {
        let programs: Vec<Vec<(usize, bool, Verb)>> = schedule.stages.iter().map(program).collect();
        let (mut at, mut clock) = (vec![0; programs.len()], vec![0.0; programs.len()]);
        let mut ends = vec![vec![0.0; BATCHES]; programs.len()];
        let mut sending = Sending { borders: BTreeMap::new(), free: vec![0.0; programs.len()] };
        loop {
            let mut moved = false;
            for k in 0..programs.len() {
                while let Some(&(batch, is_last, verb)) = programs[k].get(at[k]) {
                    let Some(after) = self.after((k, batch, verb), clock[k], schedule, &mut sending) else {
                        break;
                    };
                    clock[k] = after;
                    if is_last {
                        ends[k][batch] = after;
                    }
                    at[k] += 1;
                    moved = true;
                }
            }
            if !moved {
                return ends;
            }
        }
    }

    /// When a piece of work that may begin at `now` has ended; none while it cannot be known.
    fn after(
        &self,
        (k, batch, verb): (usize, usize, Verb),
        now: f64,
        schedule: &Schedule,
        Sending { borders, free }: &mut Sending,
    ) -> Option<f64> {
        let stage = &schedule.stages[k];
        let mut send = |to: usize, kind: MessageKind, bytes: usize| {
            let room = (kind.waiting(self.method), &mut free[k]);
            borders.entry((k, to, kind)).or_default().send(now, room, bytes, self.network)
        };
        match verb {
            Verb::SendFeatures => send(k + 1, MessageKind::Features, self.outputs[stage.modules.end - 1]),
            Verb::SendGradient { .. } => {
                send(k - 1, MessageKind::Gradient, self.outputs[stage.modules.start - 1])
            }
            Verb::SendSources { to } => send(to, MessageKind::Sources, self.mirrored(schedule, k, to)),
            // What the first steps follow is there from the beginning.
            Verb::ReceiveSources { .. } if batch < self.method.lag() => Some(now),
            Verb::ReceiveFeatures => borders.entry((k - 1, k, MessageKind::Features)).or_default().take(now),
            Verb::ReceiveGradient { .. } => {
                borders.entry((k + 1, k, MessageKind::Gradient)).or_default().take(now)
            }
            Verb::ReceiveSources { from } => {
                borders.entry((from, k, MessageKind::Sources)).or_default().take(now)
            }
            verb => Some(now + self.work(verb)),
        }
    }
}

/// Messages on their way.
struct Sending {
    /// By sender, receiver and kind.
    borders: BTreeMap<(usize, usize, MessageKind), Border>,
    /// When each rank has sent all that it was given: what goes to several ranks passes one network card.
    free: Vec<f64>,
}

/// Messages of a kind from one rank to another.
#[derive(Default)]
struct Border {
    /// When each is there.
    there: Vec<f64>,
    /// When each was taken.
    taken: Vec<f64>,
}

impl Border {
    /// When the sender goes on: as soon as there is room for the message.
    fn send(
        &mut self,
        now: f64,
        (room, free): (usize, &mut f64),
        bytes: usize,
        (bandwidth, latency): (f64, f64),
    ) -> Option<f64> {
        let begin = match self.there.len().checked_sub(room) {
            Some(before) => now.max(*self.taken.get(before)?),
            None => now,
        };
        *free = free.max(begin) + bytes as f64 / bandwidth;
        self.there.push(*free + latency);
        Some(begin)
    }

    /// When the receiver has the next one.
    fn take(&mut self, now: f64) -> Option<f64> {
        let there = now.max(*self.there.get(self.taken.len())?);
        self.taken.push(there);
        Some(there)
    }
}

/// All batches of a rank in the order in which it works, and whether a batch ends with a piece of work.
fn program(stage: &StageSchedule) -> Vec<(usize, bool, Verb)> {
    let overlaps = stage.overlaps();
    let mut all = Vec::new();
    let mut part = |batch: usize, verbs: &[Verb], ends: bool| {
        let last = verbs.len().wrapping_sub(1);
        all.extend(verbs.iter().enumerate().map(|(i, &v)| (batch, ends && i == last, v)));
    };
    for batch in 0..BATCHES {
        part(batch, &stage.ahead, !overlaps && stage.rest.is_empty());
        if batch > 0 {
            part(batch - 1, &stage.returning, true);
        }
        part(batch, &stage.rest, !overlaps);
    }
    part(BATCHES - 1, &stage.returning, true);
    all
}

#[cfg(test)]
mod tests {
    use super::super::method::{Cascade, Leap};
    use super::*;

    const FAST: (f64, f64) = (1e12, 0.0);

    fn forecast(method: &Method, n: usize, cuts: &[usize], network: (f64, f64), leap: bool) -> Forecast {
        let seconds = vec![ModuleSeconds { forward: 1.0, auxiliary: 1.0, backward: 2.0 }; n];
        let followed: Vec<Vec<usize>> =
            (0..n).map(|m| if leap && m + 1 < n { vec![n - 1] } else { Vec::new() }).collect();
        let (outputs, parameters) = (vec![1000; n], vec![4000; n]);
        let course = Course {
            method,
            seconds: &seconds,
            outputs: &outputs,
            followed: &followed,
            parameters: &parameters,
            network,
        };
        course.forecast(cuts)
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a}, not {b}");
    }

    #[test]
    fn modules_alone_run_side_by_side() {
        let dgl = Method::default();
        let one = forecast(&dgl, 4, &[], FAST, false);
        near(one.step, 16.0);
        near(one.alone, 16.0);
        near(forecast(&dgl, 4, &[2], FAST, false).step, 8.0);
        near(forecast(&dgl, 4, &[1, 2, 3], FAST, false).step, 4.0);
        // The largest part is what a step takes.
        let uneven = forecast(&dgl, 4, &[1], FAST, false);
        near(uneven.step, 12.0);
        near(uneven.ranks[0].busy, 4.0);
        assert_eq!((uneven.ranks[0].sent, uneven.ranks[1].sent), ([1000, 0, 0], [0, 0, 0]));
    }

    #[test]
    fn a_network_that_is_slower_than_the_work_is_what_a_step_takes() {
        let slow = forecast(&Method::default(), 4, &[2], (50.0, 0.0), false);
        near(slow.step, 20.0);
        // Latency alone is hidden.
        near(forecast(&Method::default(), 4, &[2], (1e12, 3.0), false).step, 8.0);
    }

    #[test]
    fn what_a_rank_sends_to_several_passes_one_network_card() {
        let leap = Some(Leap { lag: 4, ..Leap::default() });
        let lam = Method { leap, ..Method::default() };
        // The last rank sends its block's 4000 bytes to each of the three before it, in every step.
        let found = forecast(&lam, 4, &[1, 2, 3], (1000.0, 0.0), true);
        assert_eq!(found.ranks[3].sent, [0, 0, 12_000]);
        near(found.step, 12.0);
        near(forecast(&lam, 4, &[1, 2, 3], FAST, true).step, 4.0);
    }

    #[test]
    fn cascades_overlap_and_copies_that_follow_at_once_do_not() {
        let cascade = Some(Cascade { span: 2, independent: 0.5, cascaded: 0.5 });
        let mlm = Method { cascade: cascade.clone(), ..Method::default() };
        let found = forecast(&mlm, 8, &[4], FAST, false);
        near(found.alone, 32.0);
        assert!(found.step < 17.5 && found.step >= 16.0, "{}", found.step);
        assert_eq!(found.ranks[1].sent, [0, 1000, 0]);
        let lam = |lag| Method { leap: Some(Leap { lag, ..Leap::default() }), ..Method::default() };
        let waiting = forecast(&lam(0), 8, &[4], FAST, true);
        // The lower half waits for the upper one, whose blocks it follows, in every step.
        assert!(waiting.step > 24.0, "{}", waiting.step);
        assert_eq!(waiting.ranks[1].sent, [0, 0, 4000]);
        // One step behind it still waits for the end of the batch before; two behind it does not.
        let late = forecast(&lam(1), 8, &[4], FAST, true);
        assert!(late.step < waiting.step && late.step > 24.0, "{}", late.step);
        let later = forecast(&lam(2), 8, &[4], FAST, true);
        assert!(later.step < 17.5, "{}", later.step);
    }
}
