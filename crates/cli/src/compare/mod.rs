//! `mlaan compare`: methods side by side, as the paper's tables have them.

mod lines;
mod own;
mod plan;
mod tables;
mod work;

use self::work::{Work, opener};
use crate::args::CompareArgs;
use crate::device::room_to_begin;
use crate::interrupt::{EXIT, Interrupt, Notice};
use crate::{format, host, output};
use anyhow::{Context, Result, bail};
use lines::Lines;
use mlaan::compare::{
    Cell, Comparison, Cost, End, Measure, Run, Runner, Standing, Store, Suite, Table, builtin, fit,
    measure_step,
};
use mlaan::text::{self, word};
use mlaan::train::{Lock, setup};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs a table, or shows what it would cost.
///
/// # Errors
/// What is wrong with a suite, a recipe, the data or the folder; runs that failed.
pub fn compare(args: &CompareArgs) -> Result<ExitCode> {
    if args.what.is_empty() && args.show {
        return kept(args);
    }
    if args.what.is_empty() {
        output::page(&tables::suites(builtin())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    room_to_begin(args.machine.threads())?;
    let mut work = Work::new(args)?;
    if let Some(said) = own::said(&work.table.changes).filter(|_| args.speech.speaks()) {
        output::line(&said);
    }
    if args.plan {
        plan::show(args, &work)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.show {
        Runner::ready(&work.table, &work.runs)?;
    }
    let folder = work.store.folder().to_path_buf();
    if args.show && !folder.is_dir() {
        bail!("{}: there is no such folder; --out names that of a comparison", folder.display());
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
    let held = Lock::take(&folder)?;
    if let Some(warning) = held.warning().filter(|_| !args.speech.quiet) {
        output::note(&format!("warning: {warning}"));
    }
    let end = match work.table.measure {
        _ if args.show => {
            Runner::adopt(&work.runs, &work.store)?;
            End::Complete { failed: 0 }
        }
        Measure::Error => work.run(args, &held)?,
        Measure::Memory => work.measure(args, &held)?,
    };
    let own = work.gather()?;
    let mut found = work.whole(args).unwrap_or_else(|e| {
        output::note(&format!("note: the tables hold this part alone: {e:#}"));
        own.clone()
    });
    found.what.clone_from(&args.what);
    held.check()?;
    found.write(&folder)?;
    found.keep(&work.table.cells.iter().map(|c| c.name.as_str()).collect::<Vec<_>>());
    if args.speech.json() {
        output::json(&serde_json::to_value(&found)?)?;
    } else if end != End::Interrupted {
        output::page(&tables::text(&found))?;
    }
    work.end(args, end, &own)
}

/// The tables that a folder keeps, as they were written last.
fn kept(args: &CompareArgs) -> Result<ExitCode> {
    let Some(folder) = &args.out else {
        bail!("--show needs a suite or recipes, or --out with the folder of a comparison");
    };
    if chosen(args)? {
        bail!(
            "--show without a suite or recipes prints tables as they were written; to choose seeds, rows, images or settings, name the \
             suite or recipes, too"
        );
    }
    let found = Comparison::read(folder).context("name the suite or recipes, to gather what is there")?;
    if args.speech.json() {
        output::json(&serde_json::to_value(&found)?)?;
    } else {
        output::page(&tables::text(&found))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether anything is chosen beside the folder and how tables are printed. What to compute with is none of it: every `--show` takes
/// that, and computes nothing.
///
/// # Errors
/// Of `--set`, what is no assignment.
fn chosen(args: &CompareArgs) -> Result<bool> {
    let of_runs =
        args.seeds.is_some() || args.epochs.is_some() || args.memory.is_some() || args.time.is_some();
    let of_tables = !args.only.is_empty() || args.against.is_some();
    let of_images = !args.data.is_empty() || !args.sample.assignments().is_empty();
    Ok(of_runs || of_tables || of_images || !args.settings.assignments()?.is_empty())
}

impl Work {
    fn new(args: &CompareArgs) -> Result<Self> {
        let mut table = table(args)?;
        if let Some(memory) = args.memory {
            for cell in &mut table.cells {
                let keys =
                    fit(cell, args.machine.kind(), memory).with_context(|| format!("cell {}", cell.name))?;
                if !keys.is_empty() && args.speech.speaks() {
                    let memory = format::bytes(memory as u64);
                    output::line(&format!(
                        "Chosen for {memory}, {}: {}",
                        text::line(&cell.name),
                        keys.join(", ")
                    ));
                }
            }
        }
        let seeds = args.seeds.as_ref().map_or_else(|| (0..table.seeds).collect(), |s| s.0.clone());
        let store = Store::new(&out(args, &table));
        let runs = match table.measure {
            Measure::Error => Runner::survey(&table, &seeds, &store)?,
            Measure::Memory => Vec::new(),
        };
        let costs = costs(args, &table, &runs)?;
        Ok(Work { table, seeds, store, runs, costs })
    }

    fn run(&mut self, args: &CompareArgs, held: &Lock) -> Result<End> {
        let open = opener(args);
        let runner = Runner {
            table: &self.table,
            costs: &self.costs,
            store: &self.store,
            held,
            open: &open,
            time: args.time,
        };
        let interrupt = Interrupt::install()?;
        let mut lines = Lines::new(&self.table, &self.runs, !args.speech.speaks());
        interrupt.begin(if args.speech.quiet { None } else { Some(lines.notice()) });
        lines.begin(self.store.folder(), (&self.table, &self.costs));
        host::current().iter().for_each(|host| host.begun(self.store.folder()));
        Ok(runner.run(&mut self.runs, interrupt.flag(), &mut |t| lines.tell(t))?)
    }

    /// Measures a step of every cell that fits here.
    fn measure(&self, args: &CompareArgs, held: &Lock) -> Result<End> {
        let (open, interrupt) = (opener(args), Interrupt::install()?);
        interrupt.begin(Some(Notice::Line));
        host::current().iter().for_each(|host| host.begun(self.store.folder()));
        let speaks = args.speech.speaks();
        for cell in &self.table.cells {
            if self.store.step(cell)?.is_some() {
                continue;
            }
            if interrupt.flag().load(std::sync::atomic::Ordering::Relaxed) {
                return Ok(End::Interrupted);
            }
            let device = open()?;
            if !cell.recipe.local.offload.is_none() && !device.kind().has_own_memory() {
                if speaks {
                    let name = text::line(&cell.name);
                    output::line(&format!(" {name}: not measured; it moves tensors out of a GPU's memory"));
                }
                continue;
            }
            match measure_step(cell, &device) {
                Ok(record) => {
                    held.check()?;
                    self.store.keep_step(&record)?;
                    if speaks {
                        let bytes = format::bytes(record.bytes);
                        output::line(&format!(
                            " {}: {bytes}, {}",
                            text::line(&cell.name),
                            format::duration(record.seconds)
                        ));
                    }
                }
                Err(mlaan::Error::Memory { needed, allowed, .. }) if speaks => output::line(&format!(
                    " {}: not measured; needs {}, and there is room for {}",
                    text::line(&cell.name),
                    format::bytes(needed as u64),
                    format::bytes(allowed as u64)
                )),
                Err(mlaan::Error::Memory { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(End::Complete { failed: 0 })
    }

    /// The table with the cells that `--only` leaves out and the seeds that were run before, so that the files keep them.
    ///
    /// # Errors
    /// As [`Comparison::gather`]; where steps of other cells in the folder are of another experiment.
    fn whole(&self, args: &CompareArgs) -> Result<Comparison> {
        let mut table = full_table(args)?;
        // Images are not opened for it; only the built-in ones change what a cell is.
        let _ = table.find_data(&args.data);
        let mut seeds = self.seeds.clone();
        if !(args.show && args.seeds.is_some()) {
            seeds.extend(self.store.seeds(&table.cells));
        }
        seeds.sort_unstable();
        seeds.dedup();
        let kind = args.machine.kind();
        let (mut runs, mut costs) = (Vec::new(), Vec::new());
        for (i, cell) in table.cells.iter_mut().enumerate() {
            let own = self.table.cells.iter().position(|c| c.name == cell.name);
            // As `--memory` chose it, then and now; a cell that does not fit has no runs.
            match (own.and_then(|j| self.table.cells.get(j)), args.memory) {
                (Some(same), _) => cell.recipe = same.recipe.clone(),
                (None, Some(memory)) => drop(fit(cell, kind, memory)),
                (None, None) => {}
            }
            for &seed in &seeds {
                let asked = own.is_some() && self.seeds.contains(&seed);
                // What others left there in another experiment is not this table's.
                let standing = self.store.standing(cell, seed);
                let standing = if asked { standing? } else { standing.unwrap_or(Standing::Missing) };
                if own.is_none() || asked || matches!(standing, Standing::Done(_)) {
                    runs.push(Run { cell: i, seed, standing });
                }
            }
            costs.push(match own.and_then(|j| self.costs.get(j).cloned()) {
                Some(cost) => cost,
                None => Cost::of(cell, kind, told(i, &runs))?,
            });
        }
        Ok(Comparison::gather(&table, &costs, &seeds, &runs, &self.store)?)
    }

    fn gather(&self) -> Result<Comparison> {
        Ok(Comparison::gather(&self.table, &self.costs, &self.seeds, &self.runs, &self.store)?)
    }

    /// The last words, and the exit status.
    fn end(&self, args: &CompareArgs, end: End, found: &Comparison) -> Result<ExitCode> {
        let [done, _, all] = found.counts();
        let at = text::path(self.store.folder());
        let speaks = args.speech.speaks();
        if speaks && end != End::Interrupted {
            output::line(&format!("\nfiles  {at}/ (compare.json, compare.csv, compare.md, results/)"));
        }
        let said = |what: &str| {
            if speaks {
                let done = format!("{done} of {} are done", format::several(all, "run"));
                output::line(&format!("\n{what}: {done}. To go on:\n  {}", command()));
            }
        };
        match end {
            End::Interrupted => {
                said("Stopped");
                return Ok(ExitCode::from(EXIT));
            }
            End::OutOfTime { .. } => said("The time is up for another run"),
            End::Complete { .. } => {}
        }
        let failed = found.cells.iter().flat_map(|c| c.runs.iter().map(move |r| (c, r)));
        let failed: Vec<String> = failed
            .filter_map(|(c, r)| r.error.as_ref().map(|e| format!("{} seed {}: {e}", c.name, r.seed)))
            .collect();
        let tried = matches!(end, End::Complete { failed: 1.. } | End::OutOfTime { failed: 1.. });
        if tried {
            bail!("{} of {} failed: {}", failed.len(), format::several(all, "run"), failed.join("; "));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The cells that the arguments name.
fn table(args: &CompareArgs) -> Result<Table> {
    let mut table = full_table(args)?;
    if !args.only.is_empty() {
        table.keep(&args.only)?;
    }
    table.find_data(&args.data)?;
    Ok(table)
}

/// The table that the arguments name, with all its cells.
fn full_table(args: &CompareArgs) -> Result<Table> {
    let suite = args.what.first().map(|w| Suite::find(w)).transpose()?.flatten();
    let suite = match (suite, args.what.as_slice()) {
        (Some(mut suite), [_, recipes @ ..]) => {
            for recipe in recipes {
                if Suite::find(recipe)?.is_some() {
                    bail!("{recipe}: only the first name can be a suite; compare them one by one");
                }
                suite.add(recipe);
            }
            suite
        }
        (_, recipes) => {
            for name in recipes {
                if Suite::find(name).is_ok_and(|s| s.is_some()) {
                    bail!("{name} is a suite: it stands first, recipes behind it");
                }
            }
            Suite::of_recipes(recipes)
        }
    };
    let said = changes(args)?;
    if let Some(seed) = crate::args::value(&said, "seed") {
        bail!("seed={seed}: the seeds of a comparison are --seeds; `--seeds {seed},` is seed {seed} alone");
    }
    let mut keys = own::keys(args, &suite, &said)?;
    // A title names the suite's own set.
    let elsewhere = own::source(&keys);
    keys.extend(said);
    let mut table = suite.table(&keys)?;
    if let Some(source) = elsewhere {
        table.title = format!("The methods of {} on {source}", table.name);
    }
    if let Some(name) = &args.against {
        table.against = Some(table.row(name)?);
    }
    Ok(table)
}

/// Keys that the flags change in every cell.
fn changes(args: &CompareArgs) -> Result<Vec<String>> {
    let mut keys = args.settings.assignments()?;
    keys.extend(args.epochs.map(|n| format!("train.epochs={n}")));
    keys.extend(args.sample.assignments());
    Ok(keys)
}

fn out(args: &CompareArgs, table: &Table) -> PathBuf {
    args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&table.name))
}

/// What every cell costs.
fn costs(args: &CompareArgs, table: &Table, runs: &[Run]) -> Result<Vec<Cost>> {
    let kind = args.machine.kind();
    let cost = |(i, cell): (usize, &Cell)| {
        let images = images(args, (i, cell), runs)?;
        Cost::of(cell, kind, images).with_context(|| format!("cell {}", cell.name))
    };
    table.cells.iter().enumerate().map(cost).collect()
}

/// A cell's training images, and those that are evaluated after every epoch: as known, as a finished run had them, or counted.
fn images(args: &CompareArgs, (i, cell): (usize, &Cell), runs: &[Run]) -> Result<Option<[usize; 2]>> {
    if let Some(known) = cell.images() {
        return Ok(Some(known));
    }
    let told = told(i, runs);
    let mut own = runs.iter().filter(|r| r.cell == i);
    if told.is_some() || own.all(|r| matches!(r.standing, Standing::Done(_))) {
        return Ok(told);
    }
    let splits = setup::open(&cell.recipe(0), args.machine.threads().unwrap_or(0))?;
    let held = splits.validation.as_ref().unwrap_or(&splits.test);
    Ok(Some([splits.train.len(), held.len()]))
}

/// A cell's images as a finished run had them.
fn told(i: usize, runs: &[Run]) -> Option<[usize; 2]> {
    runs.iter().filter(|r| r.cell == i).find_map(|r| match &r.standing {
        Standing::Done(record) => {
            record.start.as_ref().map(|s| [s.train_images, s.val_images.unwrap_or(s.test_images)])
        }
        _ => None,
    })
}

/// This command, to be given again; of a program its call.
fn command() -> String {
    if host::current().is_some() {
        return "the same call again".into();
    }
    let args = std::env::args_os().skip(1).map(word);
    ["mlaan".to_owned()].into_iter().chain(args).collect::<Vec<_>>().join(" ")
}
