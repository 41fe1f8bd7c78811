//! What came out of a table: means over seeds, beside backpropagation and the paper.

use super::cell::Cell;
use super::cost::Cost;
use super::runner::Run;
use super::statistics::{Moments, Paired, holm};
use super::store::{self, Record, Standing, StepRecord, Store};
use super::suite::Measure;
use super::table::{Heading, Table};
use crate::files::atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of the layout of `compare.json`.
const FORMAT: u32 = 1;

/// The file in a comparison's folder.
pub const COMPARISON: &str = "compare.json";

/// A table's results; `compare.json` is this. Errors in percent, times in seconds, memory in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Version of this layout.
    pub format: u32,
    /// Version of this library.
    pub version: String,
    /// The suite.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Where the table and the paper's numbers come from.
    pub source: String,
    /// What the paper's numbers count.
    pub measure: Measure,
    /// Keys that the user changed in every cell.
    pub changes: Vec<String>,
    /// What was compared, as it was named: a suite, recipes, files; none where the library was asked.
    #[serde(default)]
    pub what: Vec<String>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The row that others are tested against.
    pub against: Option<String>,
    /// Methods.
    pub rows: Vec<Heading>,
    /// Networks.
    pub columns: Vec<Heading>,
    /// Row by row.
    pub cells: Vec<CellOutcome>,
}

/// A cell's results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellOutcome {
    /// Its name, that of its folder.
    pub name: String,
    /// Its row's name.
    pub row: String,
    /// Its columns' names.
    pub columns: Vec<String>,
    /// Its recipe as TOML, but for seed and place of the images.
    pub recipe: String,
    /// What it costs, by its plan.
    pub cost: Cost,
    /// Its runs, by seed.
    pub runs: Vec<RunOutcome>,
    /// Test error after the last epoch.
    pub test_error: Option<Moments>,
    /// Test error after the best epoch of every run; flattered where the test images chose it ([`RunOutcome::best_val_error`]).
    pub best_test_error: Option<Moments>,
    /// Test loss after the last epoch; none of records from before it was measured.
    #[serde(default)]
    pub test_loss: Option<Moments>,
    /// Time of a run.
    pub seconds: Option<Moments>,
    /// Peak memory of any run: of its process, or where that is not known, of tensors and images.
    pub peak_bytes: Option<u64>,
    /// The same of tensors and images alone.
    #[serde(default)]
    pub peak_allocated_bytes: Option<u64>,
    /// The measured step, where the table trains nothing.
    pub step: Option<StepRecord>,
    /// The paper's number: percent, or GB.
    pub paper: Option<f64>,
    /// The mean minus the paper's.
    pub to_paper: Option<f64>,
    /// As multiples of backpropagation.
    pub to_plain: Ratios,
    /// Against the row of [`Comparison::against`], over the seeds that both have.
    pub test: Option<Paired>,
}

/// A run's results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The seed.
    pub seed: u64,
    /// `done`, `begun`, `failed` or `missing`.
    pub state: String,
    /// Finished epochs.
    pub epochs: usize,
    /// Test error after the last epoch.
    pub test_error: Option<f64>,
    /// Test error after the best epoch.
    pub best_test_error: Option<f64>,
    /// Test loss after the last epoch.
    #[serde(default)]
    pub test_loss: Option<f64>,
    /// Validation error of the best epoch, which it was chosen by; none where it was chosen by the test error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_val_error: Option<f64>,
    /// The best epoch.
    pub best_epoch: Option<usize>,
    /// Seconds trained.
    pub seconds: Option<f64>,
    /// Peak memory: of the process, or where that is not known, of tensors and images.
    pub peak_bytes: Option<u64>,
    /// The same of tensors and images alone.
    #[serde(default)]
    pub peak_allocated_bytes: Option<u64>,
    /// What was planned for the process; of older records, for tensors and images.
    pub planned_bytes: Option<u64>,
    /// Its record, from the comparison's folder.
    pub record: Option<PathBuf>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether it diverged: then it stands in no mean and no test.
    #[serde(default)]
    pub diverged: bool,
}

/// A cell as multiples of backpropagation of the same network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    /// Of measured time; none where backpropagation was not run, or on another machine.
    pub seconds: Option<f64>,
    /// Of measured memory, images included.
    pub peak_bytes: Option<f64>,
    /// Of planned memory, without images.
    pub memory: f64,
    /// Of operations per image.
    pub operations: f64,
}

impl Comparison {
    /// Gathers what is known of a table; `costs` are of its cells, in order.
    ///
    /// # Errors
    /// A recipe that cannot be written, a damaged record.
    pub fn gather(table: &Table, costs: &[Cost], seeds: &[u64], runs: &[Run], store: &Store) -> Result<Self> {
        let mut cells = Vec::new();
        for (i, (cell, cost)) in table.cells.iter().zip(costs).enumerate() {
            let own: Vec<&Run> = runs.iter().filter(|r| r.cell == i).collect();
            let step = if table.measure == Measure::Memory { store.step(cell)? } else { None };
            cells.push(outcome(table, (cell, cost), &own, (store, step))?);
        }
        for i in 0..cells.len() {
            let of = |found: Option<usize>| found.map(|j| records(runs, j)).unwrap_or_default();
            let (own, plain, other) = (records(runs, i), of(plain(table, i)), of(against(table, i)));
            if let Some(cell) = cells.get_mut(i) {
                cell.to_plain.seconds = slower(&own, &plain);
                cell.to_plain.peak_bytes =
                    peak(&own).zip(peak(&plain)).map(|(a, b)| a as f64 / b.max(1) as f64);
                cell.test = Paired::of(&pairs(&own, &other));
            }
        }
        for column in &table.columns {
            let in_column = |c: &&mut CellOutcome| c.columns.first() == Some(&column.name);
            let mut tests: Vec<&mut Paired> =
                cells.iter_mut().filter(in_column).filter_map(|c| c.test.as_mut()).collect();
            holm(&mut tests);
        }
        Ok(Comparison {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            name: table.name.clone(),
            title: table.title.clone(),
            source: table.source.clone(),
            measure: table.measure,
            changes: table.changes.clone(),
            what: Vec::new(),
            seeds: seeds.to_vec(),
            against: table.against.and_then(|i| table.rows.get(i)).map(|r| r.name.clone()),
            rows: table.rows.clone(),
            columns: table.columns.clone(),
            cells,
        })
    }

    /// Leaves only cells of these names, with what the others say of them: ratios and tests.
    pub fn keep(&mut self, cells: &[&str]) {
        self.cells.retain(|c| cells.contains(&c.name.as_str()));
    }

    /// Runs that are done, failed, and all.
    pub fn counts(&self) -> [usize; 3] {
        let count = |state: &str| self.runs().filter(|r| r.state == state).count();
        [count("done"), count("failed"), self.runs().count()]
    }

    /// Every run.
    pub fn runs(&self) -> impl Iterator<Item = &RunOutcome> {
        self.cells.iter().flat_map(|c| &c.runs)
    }

    /// A row's cell in a column.
    pub fn cell(&self, row: &str, column: &str) -> Option<&CellOutcome> {
        self.cells.iter().find(|c| c.row == row && c.columns.iter().any(|n| n == column))
    }

    /// Reads the `compare.json` of a folder.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing, damaged, or of a later version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(COMPARISON);
        let wrong = |what: &str| Error::data(path.display().to_string(), what);
        let found: Option<Self> = store::read(&path)?;
        match found {
            Some(found) if found.format <= FORMAT => Ok(found),
            Some(_) => Err(wrong("it was written by a later version of mlaan; use that version")),
            None => Err(wrong("there is no such file")),
        }
    }

    /// Writes `compare.json`, `compare.csv` and `compare.md` into a folder, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let json = serde_json::to_string_pretty(self).map_err(|e| Error::io(folder)(e.into()))? + "\n";
        for (name, text) in [(COMPARISON, json), ("compare.csv", self.csv()), ("compare.md", self.markdown())]
        {
            let path = folder.join(name);
            atomic::write(&path, |out| out.write_all(text.as_bytes()).map_err(Error::io(&path)))?;
        }
        Ok(())
    }
}

fn outcome(
    table: &Table,
    (cell, cost): (&Cell, &Cost),
    runs: &[&Run],
    (store, step): (&Store, Option<StepRecord>),
) -> Result<CellOutcome> {
    let records: Vec<&Record> = runs.iter().filter_map(|r| learnt(r)).collect();
    let moments = |f: fn(&Record) -> f64| Moments::of(&records.iter().map(|r| f(r)).collect::<Vec<_>>());
    let test_error = moments(|r| r.summary.test_error);
    let bytes = step.as_ref().map_or(cost.memory_bytes as u64, |s| s.bytes);
    let ours = match table.measure {
        Measure::Error => test_error.map(|m| m.mean),
        Measure::Memory => Some(bytes as f64 / 1e9),
    };
    let named = |headings: &[Heading], i: usize| headings.get(i).map(|h| h.name.clone()).unwrap_or_default();
    let memory = cost.memory_bytes as f64 / cost.plain_memory_bytes.max(1) as f64;
    let operations = cost.flops / cost.plain_flops.max(1.0);
    let mut recipe = cell.recipe.clone();
    recipe.set_source(cell.set.map_or(cell.recipe.data.source.as_str(), |s| s.name));
    Ok(CellOutcome {
        name: cell.name.clone(),
        row: named(&table.rows, cell.row),
        columns: cell.columns.iter().map(|&j| named(&table.columns, j)).collect(),
        recipe: recipe.to_toml()?,
        cost: cost.clone(),
        runs: runs.iter().map(|r| run_outcome(r, cell, store)).collect(),
        test_error,
        best_test_error: moments(|r| r.summary.best_test_error),
        test_loss: moments(|r| r.summary.test_loss),
        seconds: moments(|r| r.summary.seconds),
        peak_bytes: peak(&records),
        peak_allocated_bytes: records.iter().map(|r| r.summary.peak_allocated_bytes).max(),
        step,
        paper: cell.paper,
        to_paper: ours.zip(cell.paper).map(|(a, b)| a - b),
        to_plain: Ratios { memory, operations, ..Ratios::default() },
        test: None,
    })
}

fn run_outcome(run: &Run, cell: &Cell, store: &Store) -> RunOutcome {
    let mut found = RunOutcome { seed: run.seed, ..RunOutcome::default() };
    match &run.standing {
        Standing::Done(record) => {
            let s = &record.summary;
            let finite = |x: f64| x.is_finite().then_some(x);
            let path = store.record(&cell.name, run.seed);
            found.state = "done".into();
            found.epochs = s.epochs;
            (found.test_error, found.best_test_error) = (finite(s.test_error), finite(s.best_test_error));
            (found.best_val_error, found.test_loss) = (s.best_val_error, finite(s.test_loss));
            (found.best_epoch, found.seconds) = (Some(s.best_epoch), finite(s.seconds));
            (found.peak_bytes, found.planned_bytes) = (Some(s.peak().most()), record.planned_bytes);
            found.peak_allocated_bytes = Some(s.peak_allocated_bytes);
            found.diverged = record.diverged();
            found.record = path.strip_prefix(store.folder()).ok().map(Path::to_path_buf);
        }
        Standing::Begun(epochs) => (found.state, found.epochs) = ("begun".into(), *epochs),
        Standing::Failed(failure) => {
            (found.state, found.error) = ("failed".into(), Some(failure.error.clone()));
            found.diverged = failure.diverged;
        }
        Standing::Missing => found.state = "missing".into(),
    }
    found
}

/// The record of a finished run that is a result.
fn learnt(run: &Run) -> Option<&Record> {
    match &run.standing {
        Standing::Done(record) if !record.diverged() => Some(record),
        _ => None,
    }
}

fn records(runs: &[Run], cell: usize) -> Vec<&Record> {
    runs.iter().filter(|r| r.cell == cell).filter_map(learnt).collect()
}

fn peak(records: &[&Record]) -> Option<u64> {
    records.iter().map(|r| r.summary.peak().most()).max()
}

/// The cell of backpropagation in a cell's column.
fn plain(table: &Table, cell: usize) -> Option<usize> {
    beside(table, cell, &|c: &Cell| c.is_plain())
}

/// The cell that a cell is tested against; none for itself.
fn against(table: &Table, cell: usize) -> Option<usize> {
    let row = table.against?;
    beside(table, cell, &|c: &Cell| c.row == row).filter(|&j| j != cell)
}

fn beside(table: &Table, cell: usize, wanted: &dyn Fn(&Cell) -> bool) -> Option<usize> {
    let own = table.cells.get(cell)?;
    let shares = |c: &Cell| c.columns.iter().any(|j| own.columns.contains(j));
    table.cells.iter().position(|c| wanted(c) && shares(c))
}

/// Mean time as a multiple, over the seeds that both have; none where a machine differs.
fn slower(own: &[&Record], plain: &[&Record]) -> Option<f64> {
    let machines = own.iter().chain(plain).map(|r| &r.machine);
    let first = own.first().map(|r| &r.machine)?;
    let one_machine = machines.into_iter().all(|m| m == first);
    let mean = |records: &[&Record]| {
        Moments::of(&records.iter().map(|r| r.summary.seconds).collect::<Vec<_>>()).map(|m| m.mean)
    };
    mean(own).zip(mean(plain)).filter(|(_, b)| one_machine && *b > 0.0).map(|(a, b)| a / b)
}

/// Test errors of the same seeds.
fn pairs(own: &[&Record], other: &[&Record]) -> Vec<(f64, f64)> {
    let same = |a: &&Record| other.iter().find(|b| b.seed == a.seed).map(|b| b.summary.test_error);
    own.iter().filter_map(|a| same(a).map(|b| (a.summary.test_error, b))).collect()
}
