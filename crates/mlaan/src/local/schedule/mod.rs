//! What each stage does in a batch, and in which order: pure, without tensors.
//!
//! A *stage* is a range of modules on one device. Within a stage modules are visited in order, each running forward once;
//! behind module j its losses are taken, and the cascaded one's gradient goes back through the window of modules that ends
//! at j (METHOD §5). A module whose last window has passed is updated. What crosses the edge of a stage is sent and received:
//! features upwards, cascaded gradients downwards, and parameters of blocks that another stage mirrors.
//!
//! The sums of a module's gradients are made in one order, however modules are spread over stages: its own loss's, then
//! those of cascades, ascending. So results are the same to the bit.

use std::collections::BTreeSet;
use std::ops::Range;

/// One piece of a stage's work. Modules and cascades are numbered within the network; cascade j is the loss behind module j.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Takes the features of the stage below.
    ReceiveFeatures,
    /// Runs a module forward.
    Forward(usize),
    /// Hands the stage's features to the stage above.
    SendFeatures,
    /// Takes both losses behind a module and goes back through its auxiliary networks.
    LocalBackward(usize),
    /// Takes a cascade's gradient back through a module, without weight gradients, and adds it to the module's sum.
    BackwardThrough { cascade: usize, module: usize },
    /// Adds a cascade's gradient to the sum of the module where it ends.
    Accumulate { cascade: usize, module: usize },
    /// Hands a cascade's gradient to the stage below.
    SendGradient { cascade: usize },
    /// Takes a cascade's gradient from the stage above.
    ReceiveGradient { cascade: usize },
    /// Takes a module's weight gradients from all that reached it, updates it and frees its activations.
    Update(usize),
    /// Hands parameters of mirrored blocks to a stage.
    SendSources { to: usize },
    /// Takes parameters of mirrored blocks from a stage.
    ReceiveSources { from: usize },
    /// Moves mirrors and shadows towards their sources.
    Follow,
    /// Those of one module, towards what their sources were `lag` steps before.
    FollowLate { module: usize },
    /// Keeps what the blocks of a module have become for copies in the stage that lag behind.
    Keep { module: usize },
}

/// The work of one stage in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StageSchedule {
    /// Its modules.
    pub modules: Range<usize>,
    /// What touches no module that waits for gradients from above: it runs before [`StageSchedule::returning`] of the batch
    /// before.
    pub ahead: Vec<Verb>,
    /// What follows, up to the first gradient from above.
    pub rest: Vec<Verb>,
    /// From the first gradient from above on.
    pub returning: Vec<Verb>,
}

impl StageSchedule {
    /// Whether it begins a batch before it ends the one before.
    pub fn overlaps(&self) -> bool {
        !self.returning.is_empty()
    }

    /// All of it, for one batch at a time.
    pub fn all(&self) -> impl Iterator<Item = Verb> + '_ {
        self.ahead.iter().chain(&self.rest).chain(&self.returning).copied()
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub stages: Vec<StageSchedule>,
}

/// What the order of work depends on.
struct Rules<'a> {
    /// Number of modules.
    modules: usize,
    /// Modules of a cascade's window.
    span: usize,
    stages: Vec<Range<usize>>,
    /// For each module, the modules of the blocks that its copies follow.
    sources: &'a [Vec<usize>],
    /// Steps that copies lag behind.
    lag: usize,
}

impl Schedule {
    /// The work of `modules` modules, cascades going back through `span` of them, in stages that end before the modules
    /// `cuts` (ascending) and at the last one. `sources`: for each module, the modules of the blocks that its copies follow,
    /// `lag` steps behind.
    pub fn new(modules: usize, span: usize, cuts: &[usize], sources: &[Vec<usize>], lag: usize) -> Self {
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([modules]);
        let stages: Vec<Range<usize>> = starts.zip(ends).map(|(a, b)| a..b).collect();
        let rules = Rules { modules, span: span.max(1), stages, sources, lag };
        let stages = (0..rules.stages.len()).map(|k| rules.stage(k)).collect();
        Schedule { stages }
    }
}

impl Rules<'_> {
    /// The first module of cascade `j`'s window.
    fn start(&self, j: usize) -> usize {
        (j + 1).saturating_sub(self.span)
    }

    fn stage_of(&self, module: usize) -> usize {
        self.stages.iter().position(|s| s.contains(&module)).unwrap_or(0)
    }

    /// The modules of stage `of` that hold blocks which stage `by` mirrors.
    fn mirrored(&self, of: usize, by: usize) -> BTreeSet<usize> {
        let wanted = self.stages[by].clone().filter_map(|m| self.sources.get(m)).flatten().copied();
        wanted.filter(|m| self.stages[of].contains(m)).collect()
    }

    fn stage(&self, k: usize) -> StageSchedule {
        let Range { start: a, end: b } = self.stages[k];
        let (span, mut open, mut late) = (self.span, a, Vec::new());
        // Modules of the stage whose windows end in stages above are updated there.
        let waiting = (b + 1).saturating_sub(span).max(a);
        let (mut ahead, mut rest, mut returning) = (Vec::new(), Vec::new(), Vec::new());
        for j in a..b {
            let part = if j < waiting { &mut ahead } else { &mut rest };
            if j == a && a > 0 {
                part.push(Verb::ReceiveFeatures);
            }
            part.push(Verb::Forward(j));
            if j + 1 == b && b < self.modules {
                part.push(Verb::SendFeatures);
            }
            part.push(Verb::LocalBackward(j));
            self.follow_late(j, k, &mut late, part);
            self.cascade(j, j, a, part);
            self.update_behind(j, k, (&mut open, &mut late), part);
        }
        for j in (b..self.modules).take_while(|&j| self.start(j) < b) {
            returning.push(Verb::ReceiveGradient { cascade: j });
            self.cascade(j, b - 1, a, &mut returning);
            self.update_behind(j, k, (&mut open, &mut late), &mut returning);
        }
        let end = if returning.is_empty() { &mut rest } else { &mut returning };
        while open < b {
            self.update(open, k, (b, &mut late), end);
            open += 1;
        }
        self.follow(k, end);
        if ahead.is_empty() || returning.is_empty() || !self.may_overlap(k, &returning) {
            ahead.append(&mut rest);
            ahead.append(&mut returning);
        }
        StageSchedule { modules: a..b, ahead, rest, returning }
    }

    /// Cascade `j` back through its window from module `top`, as far as it lies in a stage that begins at module `a`.
    fn cascade(&self, j: usize, top: usize, a: usize, part: &mut Vec<Verb>) {
        // A network of one module has no cascade.
        if self.span == 1 || self.modules == 1 {
            return;
        }
        let start = self.start(j);
        part.extend((a.max(start)..=top).rev().map(|module| match module == start {
            true => Verb::Accumulate { cascade: j, module },
            false => Verb::BackwardThrough { cascade: j, module },
        }));
        if start < a {
            part.push(Verb::SendGradient { cascade: j });
        }
    }

    /// Updates the module whose last window was cascade `j`'s, if it lies in stage `k`.
    fn update_behind(
        &self,
        j: usize,
        k: usize,
        (open, late): (&mut usize, &mut Vec<usize>),
        part: &mut Vec<Verb>,
    ) {
        if j + 1 == *open + self.span && self.stages[k].contains(open) {
            self.update(*open, k, (j + 1, late), part);
            *open += 1;
        }
    }

    /// Updates a module when the losses of those below `trained` were taken.
    fn update(
        &self,
        module: usize,
        k: usize,
        (trained, late): (usize, &mut Vec<usize>),
        part: &mut Vec<Verb>,
    ) {
        part.push(Verb::Update(module));
        let others = (0..self.stages.len()).filter(|&by| by != k);
        let complete = others.filter(|&by| self.mirrored(k, by).last() == Some(&module));
        part.extend(complete.map(|to| Verb::SendSources { to }));
        match self.last_follower(module, k).filter(|_| self.lag > 0) {
            // A later module of the stage still follows the version whose room it takes.
            Some(last) if last >= trained => late.push(module),
            Some(_) => part.push(Verb::Keep { module }),
            None => {}
        }
    }

    /// The last module of stage `k` whose copies follow blocks of a module.
    fn last_follower(&self, module: usize, k: usize) -> Option<usize> {
        self.stages[k].clone().rev().find(|&m| self.sources.get(m).is_some_and(|s| s.contains(&module)))
    }

    /// Moves the copies of module `j` where they lag behind: what they follow does not depend on the rest of the step.
    fn follow_late(&self, j: usize, k: usize, late: &mut Vec<usize>, part: &mut Vec<Verb>) {
        let Some(sources) = self.sources.get(j).filter(|s| self.lag > 0 && !s.is_empty()) else { return };
        let of: BTreeSet<usize> = sources.iter().map(|&m| self.stage_of(m)).filter(|&of| of != k).collect();
        let before = self.stages[k].start..j;
        let earlier: BTreeSet<usize> =
            before.filter_map(|m| self.sources.get(m)).flatten().map(|&m| self.stage_of(m)).collect();
        part.extend(of.difference(&earlier).map(|&from| Verb::ReceiveSources { from }));
        part.push(Verb::FollowLate { module: j });
        late.retain(|&module| {
            let waits = self.last_follower(module, k) != Some(j);
            if !waits {
                part.push(Verb::Keep { module });
            }
            waits
        });
    }

    fn follow(&self, k: usize, part: &mut Vec<Verb>) {
        let mirrors = self.stages[k].clone().any(|m| self.sources.get(m).is_some_and(|s| !s.is_empty()));
        if mirrors && self.lag == 0 {
            let others = (0..self.stages.len()).filter(|&of| of != k);
            let sending = others.filter(|&of| !self.mirrored(of, k).is_empty());
            part.extend(sending.map(|from| Verb::ReceiveSources { from }));
            part.push(Verb::Follow);
        }
    }

    /// Whether stage `k` may begin a batch before the one before has come back. Mirrors are moved at the end of a batch, so
    /// whoever has them, or waits for those of another, goes batch by batch. Where they lag a step behind, those do whose
    /// blocks, needed in the next batch, are updated behind what comes back; where they lag two, none.
    fn may_overlap(&self, k: usize, returning: &[Verb]) -> bool {
        if self.lag > 0 {
            let needed = |v: &Verb| matches!(v, Verb::SendSources { .. } | Verb::Keep { .. });
            return self.lag > 1 || !returning.iter().any(needed);
        }
        let across = |m: usize| {
            let own = self.stage_of(m);
            self.sources.get(m).into_iter().flatten().any(|&s| self.stage_of(s) != own)
        };
        let mirrors = self.stages[k].clone().any(|m| self.sources.get(m).is_some_and(|s| !s.is_empty()));
        !mirrors && !(0..self.modules).any(across)
    }
}

#[cfg(test)]
mod tests;
