//! Runs what is missing, seed by seed, so that a part of the table is useful early.

use super::cell::Cell;
use super::cost::{Cost, Speeds};
use super::machine::Machine;
use super::store::{Failure, Record, Standing, Store};
use super::table::Table;
use crate::data::{Notes, Splits};
use crate::process::Peak;
use crate::recipe::Recipe;
use crate::train::metrics::METRICS;
use crate::train::{Lock, Outcome, Progress, RECIPE, Trainer, clear_unsaved, is_unsaved, setup};
use crate::{Device, Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One run of a table: a cell with a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Index of the cell.
    pub cell: usize,
    /// The seed.
    pub seed: u64,
    /// How far it is.
    pub standing: Standing,
}

/// What is told while a table runs.
pub enum Tell<'a> {
    /// A run begins or goes on.
    Begin {
        /// Which, from 0, of all runs of the table.
        run: usize,
        /// Seconds that it is expected to take.
        expected: Option<f64>,
        /// Seconds that the runs behind it are expected to take.
        later: Option<f64>,
    },
    /// Its images were opened, and this is to be said of them.
    Notes(&'a Notes),
    /// It moves.
    Moves(Progress<'a>),
    /// It is finished.
    Done(&'a Record),
    /// It failed; the others go on.
    Failed(&'a Failure),
}

/// How a table's runs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every run was tried; so many failed.
    Complete {
        /// Runs that failed.
        failed: usize,
    },
    /// It was asked to stop; what it had is saved.
    Interrupted,
    /// The time that it may take would not have been enough for the next run.
    OutOfTime {
        /// Runs that failed so far.
        failed: usize,
    },
}

/// See the module.
pub struct Runner<'a> {
    /// The table.
    pub table: &'a Table,
    /// What each cell costs.
    pub costs: &'a [Cost],
    /// Its folder.
    pub store: &'a Store,
    /// That it is held.
    pub held: &'a Lock,
    /// Opens the device: a fresh one for every run, as memory is counted from when it was opened.
    pub open: &'a dyn Fn() -> Result<Device>,
    /// No run is begun that is not expected to end within it.
    pub time: Option<Duration>,
}

/// What the runner knows beside the table.
struct State {
    begun: Instant,
    speeds: Speeds,
    images: Images,
}

impl Runner<'_> {
    /// Every run of the table with these seeds, and how far it is.
    ///
    /// # Errors
    /// A run or record in the folder that is of another experiment, or damaged.
    pub fn survey(table: &Table, seeds: &[u64], store: &Store) -> Result<Vec<Run>> {
        let all =
            seeds.iter().flat_map(|&seed| table.cells.iter().enumerate().map(move |(i, c)| (i, c, seed)));
        all.map(|(cell, c, seed)| Ok(Run { cell, seed, standing: store.standing(c, seed)? })).collect()
    }

    /// Whether every run that is left knows where its images are.
    ///
    /// # Errors
    /// [`Error::Data`] with the set that is wanted.
    pub fn ready(table: &Table, runs: &[Run]) -> Result<()> {
        let left = runs.iter().filter(|r| !matches!(r.standing, Standing::Done(_)));
        for (run, cell) in left.filter_map(|r| table.cells.get(r.cell).map(|c| (r, c))) {
            cell.runnable(run.seed)?;
        }
        Ok(())
    }

    /// Gives those runs a record that were brought here as folders, or whose process was killed when they had ended.
    ///
    /// # Errors
    /// A record that cannot be written.
    pub fn adopt(runs: &[Run], store: &Store) -> Result<()> {
        for run in runs {
            if let Standing::Done(record) = &run.standing {
                if !store.record(&record.cell, record.seed).is_file() {
                    store.keep(record)?;
                }
                store.forget_failure(&record.cell, record.seed)?;
            }
        }
        Ok(())
    }

    /// Runs what is not done; `stop` as in [`Trainer::run`].
    ///
    /// # Errors
    /// What no run could begin with: images that are not there, a folder that cannot be written or is lost
    /// ([`Lock::check`]). A run's own failure is kept and told, and the others go on.
    pub fn run(&self, runs: &mut [Run], stop: &AtomicBool, tell: &mut dyn FnMut(Tell<'_>)) -> Result<End> {
        Self::ready(self.table, runs)?;
        Self::adopt(runs, self.store)?;
        let machine = Machine::of(&(self.open)()?);
        // The first of a process counts from its start, later ones from theirs: runs that are compared count alike.
        let _ = Peak::begin();
        let mut state =
            State { begun: Instant::now(), speeds: self.known(runs, &machine), images: Images(None) };
        let mut failed = 0;
        for i in 0..runs.len() {
            let Some(run) = runs.get(i).filter(|r| !matches!(r.standing, Standing::Done(_))) else {
                continue;
            };
            if stop.load(Ordering::Relaxed) {
                return Ok(End::Interrupted);
            }
            let (cell, seed) = (self.cell(run)?, run.seed);
            self.measure(&mut state.speeds, run)?;
            let expected = self.expected(&state.speeds, run);
            if self.exceeds(&state, expected) {
                return Ok(End::OutOfTime { failed });
            }
            let behind = runs.iter().skip(i + 1).filter(|r| !matches!(r.standing, Standing::Done(_)));
            let later = behind.map(|r| self.expected(&state.speeds, r)).sum();
            self.held.check()?;
            tell(Tell::Begin { run: i, expected, later });
            let trained = self.train(cell, seed, (&machine, &mut state.images), stop, tell);
            // A run fails with the table's folder; nothing of that is to be kept in another one.
            self.held.check()?;
            let standing = match trained {
                Ok(None) => return Ok(End::Interrupted),
                Ok(Some(record)) => {
                    self.store.keep(&record)?;
                    self.learn(&mut state.speeds, run.cell, &record);
                    tell(Tell::Done(&record));
                    Standing::Done(Box::new(record))
                }
                Err(Stop::All(e)) => return Err(e),
                Err(Stop::This(e)) => {
                    failed += 1;
                    let failure = failure(cell, seed, &e);
                    self.store.keep_failure(&failure)?;
                    tell(Tell::Failed(&failure));
                    Standing::Failed(failure)
                }
            };
            if let Some(run) = runs.get_mut(i) {
                run.standing = standing;
            }
        }
        Ok(End::Complete { failed })
    }

    fn cell(&self, run: &Run) -> Result<&Cell> {
        let missing = || Error::data(&self.table.name, format!("there is no cell {}", run.cell));
        self.table.cells.get(run.cell).ok_or_else(missing)
    }

    /// What this machine's finished runs say of its speed.
    fn known(&self, runs: &[Run], machine: &Machine) -> Speeds {
        let mut speeds = Speeds::default();
        for run in runs {
            if let Standing::Done(record) = &run.standing
                && record.machine.as_ref() == Some(machine)
            {
                self.learn(&mut speeds, run.cell, record);
            }
        }
        speeds
    }

    fn learn(&self, speeds: &mut Speeds, cell: usize, record: &Record) {
        if let Some(operations) = self.costs.get(cell).and_then(Cost::operations) {
            speeds.add(&record.cell, operations, record.summary.seconds);
        }
    }

    /// Without any run to go by, a few steps say how fast this machine is; where they fail, so will the run, and say why.
    fn measure(&self, speeds: &mut Speeds, run: &Run) -> Result<()> {
        let cost = self.costs.get(run.cell).filter(|_| speeds.is_empty());
        if let Some(cost) = cost {
            let _ = speeds.measure(self.cell(run)?, cost, &(self.open)()?);
        }
        Ok(())
    }

    /// Seconds that the rest of a run is expected to take.
    fn expected(&self, speeds: &Speeds, run: &Run) -> Option<f64> {
        let cost = self.costs.get(run.cell)?;
        let done = if let Standing::Begun(epochs) = run.standing { epochs } else { 0 };
        let rest = cost.epochs.saturating_sub(done) as f64 / cost.epochs.max(1) as f64;
        speeds.seconds(&self.table.cells.get(run.cell)?.name, cost.operations()? * rest)
    }

    fn exceeds(&self, state: &State, expected: Option<f64>) -> bool {
        let spent = state.begun.elapsed().as_secs_f64();
        self.time.is_some_and(|t| spent + expected.unwrap_or(0.0) > t.as_secs_f64())
    }

    /// Trains, or goes on; none when it was interrupted.
    fn train(
        &self,
        cell: &Cell,
        seed: u64,
        (machine, images): (&Machine, &mut Images),
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Tell<'_>),
    ) -> std::result::Result<Option<Record>, Stop> {
        let mut recipe = cell.runnable(seed).map_err(Stop::All)?;
        let folder = self.store.run(&cell.name, seed);
        let kept = folder.join(RECIPE);
        if kept.is_file() && !is_unsaved(&folder) {
            // A run that goes on keeps what it chose.
            let kept = Recipe::kept_in(&kept)?.data;
            (recipe.data.load, recipe.data.orientation) = (kept.load, kept.orientation);
        }
        let device = (self.open)().map_err(Stop::All)?;
        let (splits, fresh) = images.open(&recipe, device.threads()).map_err(Stop::All)?;
        if fresh && !splits.notes.is_empty() {
            tell(Tell::Notes(&splits.notes));
        }
        if let Some(set) = cell.set {
            set.check(&splits, recipe.data.limit, &recipe.data.source).map_err(Stop::All)?;
        }
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder)).map_err(Stop::All)?;
        let held = Lock::take(&folder)?;
        if is_unsaved(&folder) {
            clear_unsaved(&folder)?;
        }
        let backbone = setup::backbone(&recipe.model)?;
        let mut trainer = Trainer::new(&recipe, &backbone, splits, &device)?;
        let planned = trainer.plan().memory() as u64;
        let resume_from = folder.join(METRICS).exists();
        held.check()?;
        self.store.begin(cell, seed, machine, planned)?;
        match trainer.run_in(&held, resume_from, stop, &mut |p| tell(Tell::Moves(p)))? {
            Outcome::Finished(_) => Ok(Some(self.store.finished(cell, seed)?)),
            Outcome::Interrupted { .. } | Outcome::OutOfTime { .. } => Ok(None),
        }
    }
}

/// What an error ends.
enum Stop {
    /// All runs: no other would fare better.
    All(Error),
    /// This run.
    This(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Stop::This(e)
    }
}

fn failure(cell: &Cell, seed: u64, e: &Error) -> Failure {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let diverged = matches!(e, Error::NonFinite { .. });
    Failure { cell: cell.name.clone(), seed, error: e.to_string(), version, diverged }
}

/// The images of the last run: the next one mostly wants the same.
struct Images(Option<(crate::recipe::Data, Option<u64>, Splits)>);

impl Images {
    /// The images of a recipe, and whether they were opened for it.
    fn open(&mut self, recipe: &Recipe, threads: usize) -> Result<(Splits, bool)> {
        // The seed chooses which images a limit keeps, and which validate.
        let chooses = recipe.data.limit.is_some() || recipe.data.validation.is_some_and(|share| share > 0.0);
        let seed = chooses.then_some(recipe.seed);
        if let Some((data, chosen, splits)) = &self.0
            && (data, chosen) == (&recipe.data, &seed)
        {
            return Ok((splits.clone(), false));
        }
        // Both at once might be more than there is room for.
        self.0 = None;
        let splits = setup::open(recipe, threads)?;
        self.0 = Some((recipe.data.clone(), seed, splits.clone()));
        Ok((splits, true))
    }
}
