//! A run's values as TensorBoard's event files, fed by its progress.
//!
//! Every process of a run writes a file of its own, which begins by saying from which step on it holds: what a process
//! before had written of later steps, TensorBoard then forgets. The x axis counts training steps.

mod event;
mod record;

use super::metrics::{self, Epoch};
use super::{EpochStats, Progress};
use crate::files::place;
use crate::recipe::Recipe;
use crate::{Error, Result};
use event::{SessionLog, Summary, Value, What};
use prost::Message;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the folder within a run's folder, unless told otherwise.
pub const FOLDER: &str = "tensorboard";

/// How names of event files begin.
pub(super) const PREFIX: &str = "events.out.tfevents.";

/// Points of the training loss that an epoch has at most.
const POINTS: usize = 50;

/// The open event file of a run.
///
/// Scalars of every epoch: `train/loss`, `train/error`, `test/error` (percent; with a validation set `val/error` and
/// `val/accuracy`, and the test's at the end, with `test/best_accuracy` and `test/best_error`), `lr`, `images_per_second`,
/// `memory/peak_memory_bytes`, `memory/peak_allocated_bytes`, and `module/K/loss`, `module/K/error` of module K from 0. Within an epoch: `steps/loss` and
/// `steps/error`, means over the steps since the last point. Values that are not finite are left out.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    out: File,
    /// Bytes of whole records in the file.
    whole: u64,
    /// Records that are not in it yet.
    waiting: Vec<u8>,
    recipe: String,
    /// Steps of an epoch.
    steps: usize,
    /// Images, sum of losses and wrong ones of the epoch up to the last point.
    seen: (usize, f64, f64),
}

/// TOML as a block of Markdown; its fence is longer than any row of backticks inside.
fn fenced(toml: &str) -> String {
    let longest = toml.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}toml\n{}{fence}\n", crate::text::lines(toml))
}

impl TensorBoard {
    /// Begins a file in `folder`, which is created, for a run of this recipe with so many steps an epoch.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written; what is wrong with the recipe.
    pub fn create(folder: &Path, recipe: &Recipe, steps: usize) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let path = next(folder)?;
        let recipe = fenced(&recipe.to_toml()?);
        let mut first = Vec::new();
        append(&mut first, 0, What::FileVersion("brain.Event:2".into())).map_err(Error::io(&path))?;
        // Never one of another run that began in the same second.
        let opened = OpenOptions::new().create_new(true).append(true).open(&path);
        let mut out = opened.map_err(Error::io(&path))?;
        if let Err(e) = out.write_all(&first) {
            // Without its first record it is no file that TensorBoard reads.
            let _ = fs::remove_file(&path);
            return Err(Error::io(path)(e));
        }
        Ok(TensorBoard {
            out,
            path,
            whole: first.len() as u64,
            waiting: Vec::new(),
            recipe,
            steps: steps.max(1),
            seen: (0, 0.0, 0.0),
        })
    }

    /// Writes what happened.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn tell(&mut self, progress: Progress<'_>) -> Result<()> {
        use super::metrics::Event;
        match progress {
            Progress::Resumed { epoch, step } => self.begin(epoch * self.steps + step + 1),
            Progress::Event(Event::Start(_)) => self.begin(0),
            Progress::Step { epoch, step, steps, epoch_stats, .. } => {
                self.step(epoch, (step, steps), epoch_stats)
            }
            Progress::Epoch(e) => self.epoch(e),
            Progress::Event(Event::End(s)) if s.best_val_error.is_some() => self.end(s),
            Progress::Event(_) | Progress::Evaluating { .. } => Ok(()),
        }
    }

    /// Values of steps from `first` on hold from now.
    fn begin(&mut self, first: usize) -> Result<()> {
        self.write(first, What::SessionLog(SessionLog { status: 1 }))?;
        let text = Value::text("recipe", &self.recipe);
        self.summary(first, vec![text])
    }

    fn step(&mut self, epoch: usize, (step, steps): (usize, usize), epoch_stats: &EpochStats) -> Result<()> {
        if !step.is_multiple_of(steps.div_ceil(POINTS).max(1)) && step != steps {
            return Ok(());
        }
        let wrong = epoch_stats.wrong.last().copied().unwrap_or(f64::NAN);
        let (images, loss, missed) = if epoch_stats.images > self.seen.0 { self.seen } else { (0, 0.0, 0.0) };
        let n = (epoch_stats.images - images) as f64;
        let error = if wrong < 0.0 { f64::NAN } else { 100.0 * (wrong - missed) / n };
        self.seen = (epoch_stats.images, epoch_stats.loss, wrong);
        let values = vec![
            Value::scalar("steps/loss", (epoch_stats.loss - loss) / n),
            Value::scalar("steps/error", error),
        ];
        self.summary((epoch - 1) * self.steps + step, values)
    }

    fn epoch(&mut self, e: &Epoch) -> Result<()> {
        self.seen = (0, 0.0, 0.0);
        let mut values = vec![
            Value::scalar("train/loss", e.train_loss),
            Value::scalar("train/accuracy", e.train_accuracy),
            Value::scalar("train/error", e.train_error),
            Value::scalar("val/accuracy", e.val_accuracy.unwrap_or(f64::NAN)),
            Value::scalar("val/error", e.val_error.unwrap_or(f64::NAN)),
            Value::scalar("val/loss", e.val_loss.unwrap_or(f64::NAN)),
            Value::scalar("test/accuracy", e.test_accuracy),
            Value::scalar("test/error", e.test_error),
            Value::scalar("test/loss", e.test_loss),
            Value::scalar("lr", e.lr),
            Value::scalar("images_per_second", e.images_per_second),
            Value::scalar("memory/peak_allocated_bytes", e.peak_allocated_bytes as f64),
        ];
        let process = e.peak_memory_bytes.map(|n| Value::scalar("memory/peak_memory_bytes", n as f64));
        values.extend(process);
        values.extend(e.test_top5_accuracy.map(|top5| Value::scalar("test/top5_accuracy", top5)));
        let modules = |what: &str, of: &[f64]| -> Vec<Value> {
            of.iter().enumerate().map(|(k, v)| Value::scalar(format!("module/{k}/{what}"), *v)).collect()
        };
        values.extend(modules("loss", &e.module_losses));
        values.extend(modules("error", &e.module_errors));
        self.summary(e.epoch * self.steps, values)
    }

    /// Of a run whose epochs were validated: it is tested at its end.
    fn end(&mut self, s: &metrics::Summary) -> Result<()> {
        let values = vec![
            Value::scalar("test/accuracy", s.test_accuracy),
            Value::scalar("test/error", s.test_error),
            Value::scalar("test/loss", s.test_loss),
            Value::scalar("test/top5_accuracy", s.test_top5_accuracy.unwrap_or(f64::NAN)),
            Value::scalar("test/best_accuracy", s.best_test_accuracy),
            Value::scalar("test/best_error", s.best_test_error),
        ];
        self.summary(s.epochs * self.steps, values)
    }

    fn summary(&mut self, step: usize, mut value: Vec<Value>) -> Result<()> {
        value.retain(|v| v.simple_value.is_none_or(f32::is_finite));
        self.write(step, What::Summary(Summary { value }))?;
        self.flush()
    }

    fn write(&mut self, step: usize, what: What) -> Result<()> {
        append(&mut self.waiting, step, what).map_err(Error::io(&self.path))
    }

    /// What cannot be written whole is taken back, as far as the system allows it.
    fn flush(&mut self) -> Result<()> {
        if !place::is_at(&self.out, &self.path) {
            let message = "this file was removed or replaced while the run wrote it";
            return Err(Error::data(self.path.display().to_string(), message));
        }
        let written = self.out.write_all(&self.waiting);
        match written {
            Ok(()) => self.whole += self.waiting.len() as u64,
            Err(_) => drop(self.out.set_len(self.whole)),
        }
        self.waiting.clear();
        written.map_err(Error::io(&self.path))
    }
}

/// Adds the record of something that happened now.
fn append(records: &mut Vec<u8>, step: usize, what: What) -> std::io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    let event = event::Event { wall_time: now.as_secs_f64(), step, what: Some(what) };
    record::write(records, &event.encode_to_vec())
}

/// A new file's name: TensorBoard reads files in the order of their names, so it must come after those that are there.
fn next(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let times = names.filter_map(|n| n.strip_prefix(PREFIX)?.split('.').next()?.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = times.max().map_or(now, |last| now.max(last.saturating_add(1)));
    Ok(folder.join(format!("{PREFIX}{time:010}.mlaan")))
}

#[cfg(test)]
mod tests;
