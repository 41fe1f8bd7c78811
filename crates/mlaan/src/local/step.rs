//! One training step: the same for backpropagation and every local method. What it consists of is the
//! [`schedule`](super::schedule)'s; here is what goes in and comes out.

use super::link::Alone;
use super::stage::Batch;
use super::{Branch, Learner, TaskLoss};
use crate::Result;
use crate::nn::Act;
use mlaan_engine::Tensor;
use mlaan_engine::ops::{Labels, Sgd, report};

/// Rows of the loss table that a module has: task and reconstruction of both branches.
pub(super) const ROWS: usize = 4;

/// Optimiser settings of one step; learning rates may differ by part (METHOD §7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    /// For the backbone.
    pub backbone: Sgd,
    /// For the independent auxiliary networks.
    pub independent: Sgd,
    /// For the cascaded auxiliary networks.
    pub cascaded: Sgd,
}

/// The two losses of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BranchLoss {
    /// λ2 · task + λ1 · reconstruction, before w_ind or w_cas.
    pub loss: f32,
    /// Samples classified wrongly; none where the loss does not classify.
    pub wrong: Option<f32>,
}

/// What a step found: for every module the independent and, with cascades, the cascaded loss.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Per module.
    pub modules: Vec<[Option<BranchLoss>; 2]>,
    table: Vec<f32>,
}

impl StepReport {
    pub(super) fn new(modules: usize) -> Self {
        StepReport { modules: vec![[None; 2]; modules], table: vec![0.0; modules * ROWS * report::COLUMNS] }
    }

    /// The first loss that is not a number or infinite: module, branch name and value.
    pub fn non_finite(&self) -> Option<(usize, &'static str, f32)> {
        self.modules.iter().enumerate().find_map(|(j, pair)| {
            let find =
                |b: Option<BranchLoss>, name| b.filter(|b| !b.loss.is_finite()).map(|b| (j, name, b.loss));
            find(pair[0], "independent").or_else(|| find(pair[1], "cascaded"))
        })
    }
}

/// Row of the loss table of a module's branch.
pub(super) fn row(j: usize, branch: Branch) -> usize {
    j * ROWS + if branch == Branch::Cascaded { 2 } else { 0 }
}

impl Learner {
    /// Trains on one batch: normalised images `[n, h, w, 3]` and labels `[n]`, of mixtures two each.
    ///
    /// # Errors
    /// From the device; mixtures where a loss has no meaning for them. The parameters may then be those of a step half
    /// done.
    pub fn step<'a>(
        &mut self,
        images: Tensor,
        labels: impl Into<Labels<'a>>,
        options: &StepOptions,
    ) -> Result<&StepReport> {
        let done = self.pass(images, labels.into(), Some(options));
        if done.is_err() {
            self.release();
        }
        done?;
        self.read_report()
    }

    /// As [`Learner::step`] without updates: the gradients stay in the parameters.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn gradients<'a>(&mut self, images: Tensor, labels: impl Into<Labels<'a>>) -> Result<&StepReport> {
        let done = self.pass(images, labels.into(), None);
        if done.is_err() {
            self.release();
        }
        done?;
        self.read_report()
    }

    fn pass(&mut self, images: Tensor, labels: Labels<'_>, options: Option<&StepOptions>) -> Result<()> {
        let images = Act::plain(images);
        let batch = Batch { number: self.batches, images: Some(&images), targets: &labels, options };
        self.batches += 1;
        let (stage, schedule) = (&mut self.stages[0], &self.schedule.stages[0]);
        schedule.all().try_for_each(|verb| stage.run(verb, batch, &mut Alone))
    }

    /// Brings the losses of the step to the host.
    fn read_report(&mut self) -> Result<&StepReport> {
        let Learner { stages, report, plan, .. } = self;
        let mut rest = report.table.as_mut_slice();
        for stage in stages.iter() {
            let (own, after) = rest.split_at_mut(stage.range.len() * ROWS * report::COLUMNS);
            stage.read_losses(own)?;
            rest = after;
        }
        let StepReport { modules, table } = report;
        let cell = |row: usize, column: usize| table[row * report::COLUMNS + column];
        let last = modules.len() - 1;
        for stage in stages.iter() {
            for (j, pair) in stage.range.clone().zip(&mut modules[stage.range.clone()]) {
                if j == last {
                    let r = row(j, Branch::Independent);
                    let same = BranchLoss { loss: cell(r, report::LOSS), wrong: Some(cell(r, report::WRONG)) };
                    *pair = [Some(same), (plan.method.span() > 1).then_some(same)];
                    continue;
                }
                let own = &stage.branches[j - stage.range.start];
                for (k, branch) in [Branch::Independent, Branch::Cascaded].into_iter().enumerate() {
                    pair[k] = own[k].as_ref().map(|a| {
                        let (r, (reconstruct, task)) = (row(j, branch), a.lambdas());
                        let classifies = plan.method.loss == TaskLoss::CrossEntropy;
                        BranchLoss {
                            loss: task * cell(r, report::LOSS) + reconstruct * cell(r + 1, report::LOSS),
                            wrong: classifies.then(|| cell(r, report::WRONG)),
                        }
                    });
                }
            }
        }
        Ok(&self.report)
    }
}
