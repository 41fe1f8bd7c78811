//! Losses of steps: on the device, a row of a table each, until somebody reads them.

use super::branch::Auxiliary;
use super::learner::Learner;
use super::{Branch, Method, TaskLoss};
use crate::Result;
use mlaan_engine::ops::report;
use mlaan_engine::{Device, Kind, Purpose, Tensor};

/// Rows that a module has: task and reconstruction of both branches.
const ROWS: usize = 4;

/// Steps whose losses a device keeps that runs behind the processor ([`Kind::runs_behind`]).
const STEPS: usize = 32;

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
}

impl StepReport {
    /// The first loss that is not a number or infinite: module, branch name and value.
    pub fn non_finite(&self) -> Option<(usize, &'static str, f32)> {
        self.modules.iter().enumerate().find_map(|(j, pair)| {
            let find =
                |b: Option<BranchLoss>, name| b.filter(|b| !b.loss.is_finite()).map(|b| (j, name, b.loss));
            find(pair[0], "independent").or_else(|| find(pair[1], "cascaded"))
        })
    }
}

/// The losses of the steps that were not read yet.
pub(super) struct Losses {
    /// `[steps · modules · 4, 2]`: losses and error counts. Which rows a step writes is an argument of its kernels, so a
    /// recorded step serves all of them.
    values: Tensor,
    /// Its values, when they are read.
    table: Vec<f32>,
    modules: usize,
    /// Steps that there is room for, and those on the device.
    steps: usize,
    unread: usize,
    /// Reports, the first so many of which were read and not handed out. Their memory serves again.
    reports: Vec<StepReport>,
    read: usize,
}

impl Losses {
    /// For a network of so many modules, which learns or does not.
    pub(super) fn new(device: &Device, modules: usize, learns: bool) -> Result<Self> {
        let steps = if learns { deferrable(device.kind()) } else { 1 };
        let values = device.full([steps * modules * ROWS, report::COLUMNS], 0.0, Purpose::Data)?;
        let table = vec![0.0; values.len()];
        let reports = vec![StepReport { modules: vec![[None; 2]; modules] }; steps];
        Ok(Losses { values, table, modules, steps, unread: 0, reports, read: 0 })
    }

    pub(super) fn values(&mut self) -> &mut Tensor {
        &mut self.values
    }

    /// Where the step at hand writes the task loss of a module's branch; that of reconstruction comes next.
    pub(super) fn row(&self, j: usize, branch: Branch) -> usize {
        (self.unread * self.modules + j) * ROWS + if branch == Branch::Cascaded { 2 } else { 0 }
    }

    /// The step at hand is done.
    pub(super) fn advance(&mut self) {
        self.unread += 1;
    }

    /// Brings what is on the device to the host, behind what was read before.
    fn read(&mut self, device: &Device, method: &Method, branches: &[[Option<Auxiliary>; 2]]) -> Result<()> {
        if self.unread == 0 {
            return Ok(());
        }
        device.download_into(&self.values, &mut self.table)?;
        for step in self.table.chunks_exact(self.modules * ROWS * report::COLUMNS).take(self.unread) {
            if self.read == self.reports.len() {
                self.reports.push(StepReport { modules: vec![[None; 2]; self.modules] });
            }
            fill(&mut self.reports[self.read], step, method, branches);
            self.read += 1;
        }
        self.unread = 0;
        Ok(())
    }

    /// Hands out what was read.
    fn take(&mut self) -> &[StepReport] {
        &self.reports[..std::mem::take(&mut self.read)]
    }
}

/// Steps whose losses a device of this kind keeps: one where to read them costs nothing.
fn deferrable(kind: Kind) -> usize {
    if kind.runs_behind() { STEPS } else { 1 }
}

/// The report of a step's rows of the table.
fn fill(to: &mut StepReport, table: &[f32], method: &Method, branches: &[[Option<Auxiliary>; 2]]) {
    let last = to.modules.len() - 1;
    let cell = |row: usize, column: usize| table[row * report::COLUMNS + column];
    for (j, pair) in to.modules.iter_mut().enumerate() {
        if j == last {
            let r = j * ROWS;
            let same = BranchLoss { loss: cell(r, report::LOSS), wrong: Some(cell(r, report::WRONG)) };
            *pair = [Some(same), (method.span() > 1).then_some(same)];
            continue;
        }
        for (k, loss) in pair.iter_mut().enumerate() {
            *loss = branches[j][k].as_ref().map(|a| {
                let (r, (reconstruct, task)) = (j * ROWS + 2 * k, a.lambdas());
                let classifies = method.loss == TaskLoss::CrossEntropy;
                BranchLoss {
                    loss: task * cell(r, report::LOSS) + reconstruct * cell(r + 1, report::LOSS),
                    wrong: classifies.then(|| cell(r, report::WRONG)),
                }
            });
        }
    }
}

impl Learner {
    /// Reads the losses of all steps since the last reading, the oldest first; waits for the device.
    ///
    /// # Errors
    /// From the device.
    pub fn reports(&mut self) -> Result<&[StepReport]> {
        let Learner { device, losses, branches, method, .. } = self;
        losses.read(device, method, branches)?;
        Ok(losses.take())
    }

    /// Deferred steps whose losses [`Learner::reports`] would give.
    pub fn unread(&self) -> usize {
        self.losses.read + self.losses.unread
    }

    /// Steps whose losses stay on the device: a step beyond them reads them first, and keeps them. On the processor, where
    /// to read them costs nothing, one.
    pub fn deferrable(&self) -> usize {
        self.losses.steps
    }

    /// Room on the device for the losses of one more step.
    pub(super) fn make_room(&mut self) -> Result<()> {
        let Learner { device, losses, branches, method, .. } = self;
        if losses.unread == losses.steps { losses.read(device, method, branches) } else { Ok(()) }
    }

    /// Reads the losses of the last step.
    pub(super) fn last_report(&mut self) -> Result<&StepReport> {
        let missing = || crate::Error::recipe("local", "a step left no losses");
        self.reports()?.last().ok_or_else(missing)
    }
}
