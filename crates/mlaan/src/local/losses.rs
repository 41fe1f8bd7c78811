//! Losses of steps: on the device, a row of a table each, until somebody reads them.

use super::Branch;
use super::shards::Shard;
use crate::Result;
use mlaan_engine::ops::report;
use mlaan_engine::{Device, DeviceKind, MemoryCategory, Tensor};

/// Rows that a module has: task and reconstruction of both branches.
const ROWS: usize = 4;

/// Steps whose losses a device keeps that runs behind the processor ([`DeviceKind::runs_behind`]).
const STEPS: usize = 32;

/// The two losses of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BranchLoss {
    /// λ2 · task + λ1 · reconstruction, before w_ind or w_cas.
    pub loss: f32,
    /// Samples classified wrongly; none where the loss does not classify.
    pub wrong: Option<f32>,
}

impl BranchLoss {
    /// Takes in the losses of one more shard, `share` of the batch.
    fn add(&mut self, more: BranchLoss, share: f32) {
        self.loss += share * more.loss;
        self.wrong = self.wrong.zip(more.wrong).map(|(a, b)| a + b);
    }
}

/// The independent and, with cascades, the cascaded loss of a module.
pub(super) type ModuleLosses = [Option<BranchLoss>; 2];

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

/// What the rows of a module stand for.
pub(super) enum Rows {
    /// The network's own classifier, whose loss is that of every branch there is.
    Classifier { cascaded: bool },
    /// The auxiliary networks of the branches there are.
    Auxiliary {
        /// λ1 and λ2.
        lambdas: [Option<(f32, f32)>; 2],
        classify: bool,
    },
}

impl Rows {
    /// The losses of the `at`th module, from the rows of a step's shards: of the whole batch, in the order of the shards.
    fn of_shards<'a>(&self, at: usize, shards: impl Iterator<Item = (Shard, &'a [f32])>) -> ModuleLosses {
        let mut whole = [None; 2];
        for (shard, table) in shards {
            for (whole, part) in whole.iter_mut().zip(self.losses(at, table)) {
                if let Some(part) = part {
                    let zero = BranchLoss { loss: 0.0, wrong: part.wrong.map(|_| 0.0) };
                    whole.get_or_insert(zero).add(part, shard.share());
                }
            }
        }
        whole
    }

    /// The losses of the `at`th module, from a step's rows of the table.
    fn losses(&self, at: usize, table: &[f32]) -> ModuleLosses {
        let cell = |row: usize, column: usize| table[row * report::COLUMNS + column];
        match *self {
            Rows::Classifier { cascaded } => {
                let r = at * ROWS;
                let same = BranchLoss { loss: cell(r, report::LOSS), wrong: Some(cell(r, report::WRONG)) };
                [Some(same), cascaded.then_some(same)]
            }
            Rows::Auxiliary { lambdas, classify } => [0, 1].map(|k| {
                lambdas[k].map(|(reconstruct, task)| {
                    let r = at * ROWS + 2 * k;
                    BranchLoss {
                        loss: task * cell(r, report::LOSS) + reconstruct * cell(r + 1, report::LOSS),
                        wrong: classify.then(|| cell(r, report::WRONG)),
                    }
                })
            }),
        }
    }
}

/// The losses of a stage's steps that were not read yet.
pub(super) struct Losses {
    /// `[steps · shards · modules · 4, 2]`: losses and error counts. Which rows a step writes is an argument of its kernels, so a
    /// recorded step serves all of them.
    pub values: Tensor,
    /// Its values, when they are read.
    table: Vec<f32>,
    /// Per module.
    rows: Vec<Rows>,
    /// Steps that there is room for, and those on the device.
    steps: usize,
    unread: usize,
    /// Shards of a step that there is room for, and the one at hand.
    shards: usize,
    shard: usize,
    /// Images of the unread steps, where they are cut.
    images: Vec<usize>,
}

impl Losses {
    /// For so many steps of modules with such rows.
    pub fn new(device: &Device, rows: Vec<Rows>, steps: usize) -> Result<Self> {
        let values = device.full([steps * rows.len() * ROWS, report::COLUMNS], 0.0, MemoryCategory::Data)?;
        let table = vec![0.0; values.len()];
        Ok(Losses { values, table, rows, steps, unread: 0, shards: 1, shard: 0, images: Vec::new() })
    }

    /// Makes room for steps over `shards` shards of their batches. Those that were not read are forgotten.
    pub fn cut(&mut self, device: &Device, shards: usize) -> Result<()> {
        let rows = self.steps * shards * self.rows.len() * ROWS;
        self.values = device.full([rows, report::COLUMNS], 0.0, MemoryCategory::Data)?;
        self.table = vec![0.0; self.values.len()];
        (self.shards, self.unread, self.images) = (shards, 0, Vec::with_capacity(self.steps));
        Ok(())
    }

    /// Where the shard at hand writes.
    pub fn at_shard(&mut self, index: usize) {
        self.shard = index;
    }

    /// Where the step at hand writes the task loss of a branch of the stage's `at`th module; that of reconstruction comes
    /// next.
    pub fn row(&self, at: usize, branch: Branch) -> usize {
        ((self.unread * self.shards + self.shard) * self.rows.len() + at) * ROWS
            + if branch == Branch::Cascaded { 2 } else { 0 }
    }

    /// The step at hand is done.
    pub fn advance(&mut self) {
        self.unread += 1;
    }

    /// The step at hand is done, over shards of a batch of so many images.
    pub fn advance_over(&mut self, images: usize) {
        self.images.push(images);
        self.shard = 0;
        self.advance();
    }

    /// Steps that there is room for.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Steps on the device.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Brings the losses of steps that were not read to the host, and shows them to `each`, the oldest first.
    pub fn read(
        &mut self,
        device: &Device,
        mut each: impl FnMut(&mut dyn Iterator<Item = ModuleLosses>),
    ) -> Result<()> {
        let Losses { values, table, rows, unread, shards, images, .. } = self;
        let steps = std::mem::take(unread);
        if steps == 0 {
            return Ok(());
        }
        device.download_into(values, table)?;
        let part = rows.len() * ROWS * report::COLUMNS;
        for (i, step) in table.chunks_exact(*shards * part).take(steps).enumerate() {
            match images.get(i) {
                Some(&images) => each(&mut rows.iter().enumerate().map(|(at, rows)| {
                    rows.of_shards(at, Shard::all(images, *shards).zip(step.chunks_exact(part)))
                })),
                None => each(&mut rows.iter().enumerate().map(|(at, rows)| rows.losses(at, step))),
            }
        }
        images.clear();
        Ok(())
    }
}

/// Steps whose losses a device of this kind keeps: one where to read them costs nothing.
pub(super) fn deferrable(kind: DeviceKind) -> usize {
    if kind.runs_behind() { STEPS } else { 1 }
}

/// Reports that were read and not handed out.
pub(super) struct Reports {
    /// The first so many of which count; the memory of the others serves again.
    reports: Vec<StepReport>,
    read: usize,
    modules: usize,
}

impl Reports {
    /// Of a network of so many modules, with room for so many steps.
    pub fn new(modules: usize, steps: usize) -> Self {
        let report = StepReport { modules: vec![[None; 2]; modules] };
        Reports { reports: vec![report; steps], read: 0, modules }
    }

    /// Steps that were read and not handed out.
    pub fn read(&self) -> usize {
        self.read
    }

    /// One more step.
    pub fn push(&mut self, losses: &mut dyn Iterator<Item = ModuleLosses>) {
        if self.read == self.reports.len() {
            self.reports.push(StepReport { modules: vec![[None; 2]; self.modules] });
        }
        for (to, found) in self.reports[self.read].modules.iter_mut().zip(losses) {
            *to = found;
        }
        self.read += 1;
    }

    /// Hands out what was read.
    pub fn take(&mut self) -> &[StepReport] {
        &self.reports[..std::mem::take(&mut self.read)]
    }
}
