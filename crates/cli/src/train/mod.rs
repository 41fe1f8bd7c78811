//! `mlaan train`

#[cfg(unix)]
pub mod board;
mod eta;
mod lines;
mod overview;
mod ranks;
mod reporter;
mod table;

use crate::args::TrainArgs;
use crate::auto::called;
use crate::folder::{Held, Target};
use crate::held_out::{self, or_held_out};
use crate::interrupt::{EXIT, Interrupt};
use crate::ranks::Rank;
use crate::{fits, format, host, memory, output, resume};
use anyhow::{Result, bail};
use eta::Eta;
use lines::Lines;
use mlaan::Device;
use mlaan::data::Names;
use mlaan::plan::Division;
use mlaan::ranks::Thread;
use mlaan::recipe::Recipe;
use mlaan::text;
use mlaan::train::metrics::{Event, Summary};
use mlaan::train::tensorboard::{self, TensorBoard};
use mlaan::train::{Outcome, Progress, Trainer, dismiss, setup};
use reporter::Reporter;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Trains, alone or as a rank of several.
///
/// # Errors
/// What is wrong with the recipe, the data, the folder or the run.
pub fn train(args: &TrainArgs) -> Result<ExitCode> {
    match Rank::join(args.speech.quiet)? {
        None => train_in(args, None),
        Some(rank) => Ok(rank.run(args, |rank| train_in(args, Some(rank)))),
    }
}

/// Trains in one process, or leads the other ranks.
fn train_in(args: &TrainArgs, rank: Option<&Rank>) -> Result<ExitCode> {
    // A time too long to be counted is none.
    let until = args.time.and_then(|time| Instant::now().checked_add(time));
    if rank.is_none() && args.rank_modules != Division::Time {
        let message = "--rank-modules divides modules among ranks, and this is one process: start several (mpirun -n N mlaan train …), \
                       or leave it out";
        return Err(mlaan::Error::ranks(message).into());
    }
    let devices = match rank {
        None => args.machine.open()?,
        Some(rank) => vec![rank.open(args)?],
    };
    // A misspelt recipe is to be found before its folder is looked for.
    let fresh = if args.resume && args.recipe.is_none() { None } else { Some(resume::fresh(args)?) };
    let target = Target::choose(args)?;
    let (recipe, chosen) = match fresh {
        Some(base) if !args.resume => (base.recipe.clone(), Some(base)),
        _ => (resume::continued(args, target.checkpoint.as_ref(), &target.path)?, None),
    };
    if let Some(summary) = target.finished(recipe.train.epochs) {
        if let Some(rank) = rank {
            dismiss(&rank.world)?;
        }
        host::current().iter().for_each(|host| host.begun(&target.path));
        say_finished_before(args, &summary, &target.path)?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupt = Interrupt::install()?;
    if rank.is_some() {
        interrupt.launched();
    }
    let mut recipe = recipe;
    let named = args.overrides.images.data.is_some() && !args.resume && rank.is_none();
    let (mut trainer, fit) =
        or_held_out(&mut recipe, named, |recipe| trainer(args, recipe, (&devices, rank)))?;
    trainer.stop_by(until);
    // Whoever reads may take their time.
    rank.iter().for_each(|rank| rank.world.end(Thread::Main));
    let recipe = trainer.recipe().clone();
    if let Some(manifest) = &target.checkpoint {
        trainer.resume_from(manifest);
    } else {
        // What does not fit is to be found before anything is said or written.
        trainer.initialise()?;
    }
    if host::current().is_some() && interrupt.flag().load(Ordering::Relaxed) {
        bail!("stopped before its first step, as was asked for: there is nothing to save");
    }
    let held = target.hold(args)?;
    let plain = trainer.backpropagation_memory().map(|bytes| bytes as u64);
    // A program hears of warnings in its own way, whatever is printed.
    if !args.speech.quiet || host::current().is_some() {
        let warnings = trainer.warnings().iter().cloned().chain(held.lock.warning());
        warnings.for_each(|w| output::note(&format!("warning: {w}")));
    }
    // So does it of what was chosen, where that is not printed.
    if host::current().is_some() && !args.speech.speaks() {
        fit.iter().for_each(|chosen| output::note(&format!("note: {chosen}")));
    }
    if host::current().is_some()
        && let Some(auto) = chosen.as_ref().and_then(|base| base.auto.as_ref())
    {
        held_out::of_choices(auto, &recipe).iter().for_each(|line| output::note(line));
    }
    if args.speech.speaks() {
        let name = title(args, &held.path);
        output::line(&overview::overview(&name, &recipe, &mut trainer, (&held.path, plain))?);
        chosen.iter().filter_map(|base| base.choices(&recipe)).for_each(|c| output::line(&c));
        fit.iter().for_each(|c| output::line(&format!("{c}\n")));
        // Here rather than with the epochs, so that it is said before a dashboard, too.
        let taken = if target.checkpoint.is_none() { trainer.initialise()? } else { None };
        taken.iter().for_each(|t| output::line(&format!("{}\n", format::taken(t))));
        let longer = target.checkpoint.as_ref().and_then(|manifest| resume::longer(manifest, &recipe));
        longer.iter().for_each(|text| output::line(&format!("{text}\n")));
        if target.replaces {
            let text =
                "The run that was here ended before its first epoch was saved: this one takes its place.";
            output::line(&format!("{text}\n"));
        }
        if args.resume && target.checkpoint.is_none() {
            output::line("There is no checkpoint to resume: the run starts from the beginning.\n");
        }
    }
    let best = target.checkpoint.as_ref().and_then(|m| m.best).map_or(f64::INFINITY, |b| b.error);
    let outcome = run(args, (&recipe, best), &mut trainer, &held, &interrupt)?;
    trainer.dismiss()?;
    Ok(end(args, &outcome, (&trainer, plain), &held.path))
}

/// What trains, and which settings were chosen for `--memory`.
fn trainer(
    args: &TrainArgs,
    recipe: &Recipe,
    (devices, rank): (&[Device], Option<&Rank>),
) -> Result<(Trainer, Option<String>)> {
    let Some(memory) = args.memory else {
        return Ok(match (rank, devices) {
            (Some(rank), [device, ..]) => (rank.trainer(recipe, device, &args.rank_modules)?, None),
            _ => match host::trainer(recipe, devices)? {
                Some(trainer) => (trainer, None),
                None => (Trainer::from_recipe_in_stages(recipe, devices)?, None),
            },
        });
    };
    let [device] = devices else {
        bail!(
            "--memory chooses settings for one device; with several leave it out (`mlaan plan` says what each needs)"
        );
    };
    let (trainer, fit) = match host::given(&recipe.data.source)? {
        Some(given) => {
            let splits = given.splits(&setup::open_options(recipe, device.threads(), Names::Test))?;
            Trainer::fit_memory(recipe, &setup::backbone(&recipe.model)?, splits, device, memory)?
        }
        None => Trainer::from_recipe_fit_memory(recipe, device, memory)?,
    };
    Ok((trainer, Some(fits::chosen(&fit, recipe.train.batch, memory))))
}

/// What the run is called: by its recipe, or by its folder when the recipe is the folder's own.
fn title(args: &TrainArgs, folder: &Path) -> String {
    match (&args.recipe, args.resume, folder.file_name()) {
        (Some(name), ..) => name.clone(),
        (None, true, Some(name)) => text::path(name),
        _ => called(None, args.overrides.source().as_deref()),
    }
}

fn run(
    args: &TrainArgs,
    (recipe, best): (&Recipe, f64),
    trainer: &mut Trainer,
    held: &Held,
    interrupt: &Arc<Interrupt>,
) -> Result<Outcome> {
    let mut report = match (args.speech.quiet, args.speech.json()) {
        (true, _) => Reporter::Quiet,
        (_, true) => Reporter::Json,
        _ => spoken(args, (recipe, best), trainer, (&held.path, interrupt)),
    };
    interrupt.begin(report.notice());
    // A folder without metrics holds no run that could go on.
    let resume_from = args.resume && held.path.join(mlaan::train::metrics::METRICS).exists();
    held.lock.check()?;
    let mut events = events(args, recipe, trainer, &held.path)?;
    let host = host::current();
    host.iter().for_each(|host| host.begun(&held.path));
    let mut tell = |progress: Progress<'_>| {
        report.tell(progress);
        host.iter().for_each(|host| host.progress(progress));
        // A run is worth more than its pictures.
        if let Some(e) = events.as_mut().and_then(|events| events.tell(progress).err()) {
            report.warn(&format!("warning: no more values for TensorBoard: {e}"));
            events = None;
        }
    };
    Ok(trainer.run_in(&held.lock, resume_from, interrupt.flag(), &mut tell)?)
}

/// Event files for TensorBoard, where they are wanted or the run that goes on has some.
fn events(
    args: &TrainArgs,
    recipe: &Recipe,
    trainer: &Trainer,
    folder: &Path,
) -> Result<Option<TensorBoard>> {
    let own = folder.join(tensorboard::FOLDER);
    let wanted = match &args.tensorboard {
        Some(folder) => Some(folder.clone().unwrap_or(own)),
        None if args.resume && own.is_dir() => Some(own),
        None => None,
    };
    let steps = trainer.splits().train.len().div_ceil(recipe.train.batch.max(1));
    Ok(wanted.map(|folder| TensorBoard::create(&folder, recipe, steps)).transpose()?)
}

/// The dashboard, or where it has no room or is not wanted, lines.
fn spoken(
    args: &TrainArgs,
    (recipe, best): (&Recipe, f64),
    trainer: &Trainer,
    (folder, interrupt): (&Path, &Arc<Interrupt>),
) -> Reporter {
    let eta = Eta {
        epochs: recipe.train.epochs,
        images: trainer.splits().train.len(),
        batch: recipe.train.batch,
        held: if trainer.splits().validation.is_some() { "val" } else { "test" },
        in_modules: trainer.plan().modules.len() > 1,
        testing: 0.0,
    };
    #[cfg(unix)]
    if let (false, Some(screen)) = (args.plain, board::Screen::open()) {
        let before =
            if args.resume { mlaan::train::metrics::read(folder).unwrap_or_default() } else { vec![] };
        let names = (text::line(&title(args, folder)).into_owned(), text::path(folder));
        let planned = trainer.planned_memory() as u64;
        let state = board::State::new(names, planned, eta.clone(), &before, best);
        if let Ok(board) = board::Board::start(screen, state, (interrupt, ranks::Ranks::of(trainer))) {
            return Reporter::Board(Box::new(board));
        }
    }
    Reporter::Lines(Box::new(Lines::new(eta, best, ranks::Ranks::of(trainer))))
}

/// Says how it ended and what can be done next.
fn end(
    args: &TrainArgs,
    outcome: &Outcome,
    (trainer, plain): (&Trainer, Option<u64>),
    folder: &Path,
) -> ExitCode {
    let replaced = trainer.splits().train.replaced();
    let speaks = args.speech.speaks();
    if speaks && replaced > 0 {
        let times = format::several(replaced, "time");
        output::line(&format!("\nA broken training image was met {times}: its neighbour stood in for it."));
    }
    let (said, code) = match outcome {
        Outcome::Finished(summary) => {
            (finished(summary, Some((trainer.planned_memory() as u64, plain)), folder), ExitCode::SUCCESS)
        }
        Outcome::Interrupted { epoch, step } => {
            let done = match step {
                0 => format!("after {}", format::several(*epoch, "epoch")),
                _ => format!("in epoch {} after {}", epoch + 1, format::several(*step, "step")),
            };
            (format!("\nStopped {done}; saved. To go on:\n  {}", again(folder, "")), ExitCode::from(EXIT))
        }
        Outcome::OutOfTime { epoch, step, trained } => {
            let given = format::duration(args.time.unwrap_or_default().as_secs_f64());
            let epochs = format::several(*epoch, "epoch");
            let done = match step {
                _ if *trained => {
                    format!("the test at the end would not end within {given}; all {epochs} are saved")
                }
                0 => format!("another epoch would not end within {given}; {epochs} are saved"),
                _ => {
                    let steps = format::several(*step, "step");
                    format!("the {given} are over in epoch {} after {steps}; saved", epoch + 1)
                }
            };
            (
                format!("\nOut of time: {done}. To go on:\n  {}", again(folder, " --time TIME")),
                ExitCode::SUCCESS,
            )
        }
    };
    if speaks {
        output::line(&said);
    }
    code
}

/// The command that goes on with a run.
fn again(folder: &Path, more: &str) -> String {
    format!("mlaan train --resume --out {}{more}", text::file_word(folder))
}

fn say_finished_before(args: &TrainArgs, summary: &Summary, folder: &Path) -> Result<()> {
    if args.speech.json() {
        output::json_event(&serde_json::to_string(&Event::End(summary.clone()))?);
    } else if !args.speech.quiet {
        let more = match summary.stopped_early {
            true => "This run is finished already: it ended early, as train.patience says.",
            false => "This run is finished already; give --epochs a larger number to go on with it.",
        };
        output::line(&format!("{more}\n{}", finished(summary, None, folder)));
    }
    Ok(())
}

/// Test accuracies of the last epoch and of the best, and what that was chosen by.
fn test_accuracy(s: &Summary) -> String {
    let last = format::heading(&format::percent(s.test_accuracy));
    let best = format::percent(s.best_test_accuracy);
    let of = if s.tested.is_some() { ", of the EMA of weights" } else { "" };
    match s.best_val_error {
        None => format!("{last} (best {best} after epoch {}{of})", s.best_epoch),
        Some(error) => format!(
            "{last} after the last epoch; {best} after epoch {}, the best by its validation accuracy of {}{of}",
            s.best_epoch,
            format::percent(100.0 - error)
        ),
    }
}

/// The last words of a run.
fn finished(s: &Summary, planned: Option<(u64, Option<u64>)>, folder: &Path) -> String {
    let (at, word) = (text::path(folder), text::file_word(folder));
    let plain = planned.and_then(|(_, plain)| plain);
    let plain = plain.map(|bytes| ("", format!("backpropagation would need {}", format::bytes(bytes))));
    let allocated = s.peak_memory_bytes.map(|_| s.peak_allocated_bytes);
    let beside = match (planned.map(|(p, _)| p), allocated) {
        (Some(p), Some(n)) => format!(" (planned {}; {})", format::bytes(p), memory::parts(p, n)),
        (Some(p), None) => format!(" (planned {})", format::bytes(p)),
        (None, Some(n)) => format!(" (tensors and images {})", format::bytes(n)),
        (None, None) => String::new(),
    };
    let early = if s.stopped_early { ", ended early: no improvement (train.patience)" } else { "" };
    let mut rows = vec![
        ("test accuracy", test_accuracy(s)),
        ("test error", format::percent(s.test_error)),
        ("test loss", format::loss(s.test_loss)),
        (
            "time",
            format!("{} for {}{early}", format::duration(s.seconds), format::several(s.epochs, "epoch")),
        ),
        ("peak memory", format!("{}{beside}", format::bytes(s.peak().most()))),
    ];
    rows.extend(plain);
    rows.push(("files", format!("{at}/")));
    rows.push(("next", format!("mlaan eval {word}")));
    rows.push(("", format!("mlaan report {word}")));
    let lines: Vec<String> = rows.iter().map(|(what, text)| format!(" {what:<13}  {text}")).collect();
    format!("\n{}", lines.join("\n"))
}
