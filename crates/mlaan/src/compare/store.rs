//! What is known of a table's runs: their folders, and a record of each that may be kept without them.
//!
//! In a comparison's folder, `CELL/seed-N/` is an ordinary run and `results/CELL/seed-N.json` its record: small enough
//! to be committed, one file per run so that results of several machines go together. A run is done when either says so
//! of the same experiment, so a copy with the records alone goes on where they end.

use super::cell::Cell;
use super::machine::Machine;
use crate::data::BUILTIN;
use crate::files::atomic;
use crate::numbers::read_json;
use crate::recipe::{Difference, Recipe};
use crate::train::metrics::{self, Epoch, Event, Start, Summary};
use crate::train::{RECIPE, is_unsaved};
use crate::{Error, Result, files};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder of records in a comparison's folder.
pub const RESULTS: &str = "results";

/// The version of a record's layout.
const FORMAT: u32 = 1;

/// The file in a run's folder that says what computes it: the run may end without its record.
const MACHINE: &str = "machine.json";

/// A loss above it is no result: guessing a thousand classes costs 6.9.
pub(super) const DIVERGED: f64 = 100.0;

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this layout.
    pub format: u32,
    /// The cell.
    pub cell: String,
    /// The seed.
    pub seed: u64,
    /// What the run said when it began: data set, device, version.
    pub start: Option<Start>,
    /// What computed it; none where the run was brought here from elsewhere.
    pub machine: Option<Machine>,
    /// Bytes that were planned, for the process and its images; none where the run was brought here from elsewhere.
    pub planned_bytes: Option<u64>,
    /// Its outcome.
    pub summary: Summary,
    /// Every epoch.
    pub epochs: Vec<Epoch>,
    /// Its recipe as TOML, every key spelt out; the images by the name of their set.
    pub recipe: String,
}

/// What is known of a run before it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Begun {
    machine: Machine,
    planned_bytes: u64,
}

/// A run that could not be finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The cell.
    pub cell: String,
    /// The seed.
    pub seed: u64,
    /// Why.
    pub error: String,
    /// Version of this library.
    pub version: String,
    /// Whether its loss became infinite or not a number.
    #[serde(default)]
    pub diverged: bool,
}

/// A measured training step, of a table that trains nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The cell.
    pub cell: String,
    /// What computed it.
    pub machine: Machine,
    /// Bytes in use at the most, images of the data set not included.
    pub bytes: u64,
    /// Bytes that its driver says were taken of a device's own memory; none where it has none.
    pub device_bytes: Option<u64>,
    /// Seconds of the step, the first one of its kind.
    pub seconds: f64,
    /// Version of this library.
    pub version: String,
    /// Its recipe as TOML.
    pub recipe: String,
}

impl Record {
    /// Reads a record's file.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        read(path)?.ok_or_else(|| Error::data(path.display().to_string(), "there is no such record"))
    }

    /// Whether it ended with a network that has learnt nothing any more: its loss or error is no number, or the loss
    /// lies beyond all that guessing gives.
    pub fn diverged(&self) -> bool {
        let loss = self.epochs.last().map_or(0.0, |e| e.train_loss);
        !(loss <= DIVERGED && self.summary.test_error.is_finite())
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Finished.
    Done(Box<Record>),
    /// Its folder has so many epochs; it goes on.
    Begun(usize),
    /// It failed, and may be tried again.
    Failed(Failure),
    /// Nothing is there.
    Missing,
}

/// The folder of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// In `folder`, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Store { folder: folder.to_path_buf() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a run.
    pub fn run(&self, cell: &str, seed: u64) -> PathBuf {
        self.folder.join(cell).join(format!("seed-{seed}"))
    }

    /// The file of a run's record.
    pub fn record(&self, cell: &str, seed: u64) -> PathBuf {
        self.folder.join(RESULTS).join(cell).join(format!("seed-{seed}.json"))
    }

    fn failure(&self, cell: &str, seed: u64) -> PathBuf {
        self.folder.join(RESULTS).join(cell).join(format!("seed-{seed}.failed.json"))
    }

    /// How far a run of `cell` is.
    ///
    /// # Errors
    /// [`Error::Data`] where what is there is of another experiment (names the keys), or is damaged.
    pub fn standing(&self, cell: &Cell, seed: u64) -> Result<Standing> {
        let (path, folder) = (self.record(&cell.name, seed), self.run(&cell.name, seed));
        if let Some(record) = read::<Record>(&path)? {
            let recipe = Recipe::kept(&record.recipe, &path.display().to_string())?;
            self.same(cell, seed, &recipe, &path)?;
            if record.format > FORMAT {
                let message =
                    "it was written by a later version of mlaan; use that version, or another --out";
                return Err(Error::data(path.display().to_string(), message));
            }
            return Ok(Standing::Done(Box::new(record)));
        }
        let kept = folder.join(RECIPE);
        let unsaved = is_unsaved(&folder);
        if kept.is_file() && !unsaved {
            self.same(cell, seed, &Recipe::kept_in(&kept)?, &folder)?;
            if let Some(record) = adopt(cell, seed, &folder)? {
                return Ok(Standing::Done(Box::new(record)));
            }
        }
        if let Some(failure) = read::<Failure>(&self.failure(&cell.name, seed))? {
            return Ok(Standing::Failed(failure));
        }
        if !kept.is_file() || unsaved {
            return Ok(Standing::Missing);
        }
        let events = metrics::read(&folder).unwrap_or_default();
        let epochs = events.iter().map(|e| if let Event::Epoch(e) = e { e.epoch } else { 0 });
        Ok(Standing::Begun(epochs.max().unwrap_or(0)))
    }

    /// Seeds that some of `cells` have a finished run of, in order.
    pub fn seeds(&self, cells: &[Cell]) -> Vec<u64> {
        let folders =
            cells.iter().filter_map(|c| std::fs::read_dir(self.folder.join(RESULTS).join(&c.name)).ok());
        let seed = |file: &std::ffi::OsStr| {
            file.to_str()?.strip_prefix("seed-")?.strip_suffix(".json")?.parse::<u64>().ok()
        };
        let files = folders.flat_map(|entries| entries.filter_map(|e| e.ok()));
        let mut seeds: Vec<u64> = files.filter_map(|e| seed(&e.file_name())).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Keeps a finished run's record, and forgets that it failed before.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn keep(&self, record: &Record) -> Result<()> {
        write(&self.record(&record.cell, record.seed), record)?;
        self.forget_failure(&record.cell, record.seed)
    }

    /// Forgets that a run failed before it was finished.
    ///
    /// # Errors
    /// [`Error::Io`] if what is kept of it cannot be removed.
    pub fn forget_failure(&self, cell: &str, seed: u64) -> Result<()> {
        let failed = self.failure(cell, seed);
        if failed.exists() { std::fs::remove_file(&failed).map_err(Error::io(failed)) } else { Ok(()) }
    }

    /// Keeps why a run failed.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn keep_failure(&self, failure: &Failure) -> Result<()> {
        write(&self.failure(&failure.cell, failure.seed), failure)
    }

    /// The measured step of a cell, where it was measured.
    ///
    /// # Errors
    /// As [`Store::standing`].
    pub fn step(&self, cell: &Cell) -> Result<Option<StepRecord>> {
        let path = self.step_file(&cell.name);
        let Some(record) = read::<StepRecord>(&path)? else { return Ok(None) };
        let found = Recipe::kept(&record.recipe, &path.display().to_string())?;
        // Here what is recomputed and what is kept where is part of what is measured.
        let memory = |r: &Recipe| (r.local.recompute, r.local.offload);
        if memory(&found) != memory(&cell.recipe) {
            return Ok(None);
        }
        let differing = found.differences(&cell.recipe(found.seed))?;
        if differing.is_empty() {
            Ok(Some(record))
        } else {
            Err(self.another(cell, &path, &said(&differing)))
        }
    }

    /// Keeps a measured step.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn keep_step(&self, record: &StepRecord) -> Result<()> {
        write(&self.step_file(&record.cell), record)
    }

    fn step_file(&self, cell: &str) -> PathBuf {
        self.folder.join(RESULTS).join(cell).join("step.json")
    }

    /// Keeps in a run's folder what computes it from now on.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn begin(&self, cell: &Cell, seed: u64, machine: &Machine, planned_bytes: u64) -> Result<()> {
        let begun = Begun { machine: machine.clone(), planned_bytes };
        write(&self.run(&cell.name, seed).join(MACHINE), &begun)
    }

    /// The record of a run that has just finished here.
    ///
    /// # Errors
    /// What is missing in its folder.
    pub fn finished(&self, cell: &Cell, seed: u64) -> Result<Record> {
        let folder = self.run(&cell.name, seed);
        adopt(cell, seed, &folder)?.ok_or_else(|| {
            let message = "the run has ended, but its metrics or its summary are not whole";
            Error::data(folder.display().to_string(), message)
        })
    }

    /// Whether what lies at `path` is `cell`'s experiment.
    fn same(&self, cell: &Cell, seed: u64, found: &Recipe, path: &Path) -> Result<()> {
        let mut differing = said(&found.differences(&cell.recipe(seed))?);
        let built_in = |source: &str| source == BUILTIN;
        let wanted = cell.source.as_deref().is_some_and(built_in);
        if built_in(&found.data.source) != wanted {
            let said = |b: bool| if b { "builtin" } else { "a data set's" };
            differing.push(format!("data.source is {}, not {}", said(!wanted), said(wanted)));
        }
        if differing.is_empty() { Ok(()) } else { Err(self.another(cell, path, &differing)) }
    }

    /// What to do where the folder holds another comparison: of one alone, other cells would be refused next.
    fn another(&self, cell: &Cell, path: &Path, differing: &[String]) -> Error {
        let lost = if self.has_done() { "" } else { " (no run of it is done)" };
        let message = format!(
            "this is another experiment than cell {}: {}. Pass another --out, or remove the comparison in {}{lost}",
            cell.name,
            differing.join(", "),
            self.folder.display()
        );
        Error::data(path.display().to_string(), message)
    }

    /// Whether a run of any cell is done here: has its record or its summary.
    fn has_done(&self) -> bool {
        let inside = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        let finished = |name: &std::ffi::OsStr| !name.to_string_lossy().ends_with(".failed.json");
        let recorded = |cell: &std::fs::DirEntry| inside(cell.path()).any(|file| finished(&file.file_name()));
        let ended = |cell: &std::fs::DirEntry| {
            inside(cell.path()).any(|run| run.path().join(metrics::SUMMARY).is_file())
        };
        inside(self.folder.join(RESULTS)).any(|cell| recorded(&cell))
            || inside(self.folder.clone()).any(|cell| ended(&cell))
    }
}

/// The record of a finished run's folder; none where it is not finished.
fn adopt(cell: &Cell, seed: u64, folder: &Path) -> Result<Option<Record>> {
    if !folder.join(metrics::SUMMARY).is_file() || !folder.join(metrics::METRICS).is_file() {
        return Ok(None);
    }
    let (summary, events) = (Summary::read(folder)?, metrics::read(folder)?);
    // A run that was killed between its summary and its last line writes both again.
    if !events.iter().any(|e| matches!(e, Event::End(_))) {
        return Ok(None);
    }
    let mut recipe = Recipe::kept_in(&folder.join(RECIPE))?;
    let start = events.iter().find_map(|e| if let Event::Start(s) = e { Some(s.clone()) } else { None });
    let epochs: Vec<Epoch> =
        events.into_iter().filter_map(|e| if let Event::Epoch(e) = e { Some(e) } else { None }).collect();
    let is_whole = summary.epochs == recipe.train.epochs || summary.stopped_early;
    if !is_whole || epochs.last().map(|e| e.epoch) != Some(summary.epochs) {
        return Ok(None);
    }
    if recipe.data.source != BUILTIN {
        // Where the images lay on one machine says nothing on another.
        recipe.set_source(start.as_ref().map_or_else(|| "unknown".into(), |s| s.data.clone()));
    }
    let recipe = recipe.to_toml()?;
    let begun = read::<Begun>(&folder.join(MACHINE))?;
    let (machine, planned_bytes) = begun.map(|b| (b.machine, b.planned_bytes)).unzip();
    let (format, cell) = (FORMAT, cell.name.clone());
    Ok(Some(Record { format, cell, seed, start, machine, planned_bytes, summary, epochs, recipe }))
}

fn said(differing: &[Difference]) -> Vec<String> {
    differing.iter().map(ToString::to_string).collect()
}

/// A small JSON file; none where there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let json = files::read(path, files::RECORD)?;
    read_json(&json).map(Some).map_err(|e| {
        let message = format!("not a record ({e}); remove this file");
        Error::data(path.display().to_string(), message)
    })
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let value = serde_json::to_value(value).map_err(|e| Error::io(path)(e.into()))?;
    let text = lines(&value);
    atomic::write(path, |out| out.write_all(text.as_bytes()).map_err(Error::io(path)))
}

/// JSON with a line per key, and one per element of its lists: short, and changes can be read.
fn lines(value: &Value) -> String {
    let Value::Object(table) = value else { return format!("{value}\n") };
    let line = |(key, value): (&String, &Value)| match value {
        Value::Array(list) if !list.is_empty() => {
            let list: Vec<String> = list.iter().map(|v| format!("    {v}")).collect();
            format!("  {}: [\n{}\n  ]", Value::from(key.as_str()), list.join(",\n"))
        }
        other => format!("  {}: {other}", Value::from(key.as_str())),
    };
    format!("{{\n{}\n}}\n", table.iter().map(line).collect::<Vec<_>>().join(",\n"))
}
