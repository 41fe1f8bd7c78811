//! What a run measures: `metrics.jsonl`, one JSON object per line, and `summary.json` at the end.
//!
//! Accuracies and errors are in percent, times in seconds, memory in bytes. Numbers that are not finite are written as
//! `null`, since JSON has no word for them. Every epoch stands once, also after kills and resumptions.

use super::peak::PeakBytes;
use crate::evaluation::Evaluation;
use crate::files::{atomic, place};
use crate::import::Taken;
use crate::local::Recompute;
use crate::numbers::{missing, number, numbers, read_json};
use crate::recipe::{Precision, Train};
use crate::{Error, Result, files};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Name of the metrics file in a run's folder.
pub const METRICS: &str = "metrics.jsonl";
/// Name of the summary in a run's folder.
pub const SUMMARY: &str = "summary.json";

/// One line of the metrics file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    Start(Start),
    /// A run goes on after this epoch.
    Resume {
        /// Finished epochs.
        epoch: usize,
    },
    /// An epoch is finished.
    Epoch(Epoch),
    /// The run is finished.
    End(Summary),
    /// The run was stopped by its user, or as its time was over; it can be resumed.
    Interrupted {
        /// Finished epochs.
        epoch: usize,
    },
}

/// What a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The recipe's description.
    pub description: String,
    /// Seed of everything random.
    pub seed: u64,
    /// The data set.
    pub data: String,
    /// Training images.
    pub train_images: usize,
    /// Validation images, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_images: Option<usize>,
    /// Test images.
    pub test_images: usize,
    /// What computes, as `cpu` or `cuda:0`.
    pub device: String,
    /// What activations are stored in.
    #[serde(default)]
    pub precision: Precision,
    /// What is computed again instead of stored.
    #[serde(default)]
    pub recompute: Recompute,
    /// Number of local modules.
    pub modules: usize,
    /// Values of the network, without auxiliary networks.
    pub parameters: usize,
    /// Weights that it starts from, if these are not random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Taken>,
    /// Version of this library.
    pub version: String,
}

/// What one epoch measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of the backbone.
    #[serde(deserialize_with = "number")]
    pub lr: f64,
    /// Mean loss of the network's own classifier over the training images.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// Accuracy of the network's own classifier over the training images, percent.
    #[serde(default = "missing", deserialize_with = "number")]
    pub train_accuracy: f64,
    /// Error of the network's own classifier over the training images, percent.
    #[serde(deserialize_with = "number")]
    pub train_error: f64,
    /// Accuracy over the validation images, percent; none where there is no validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Error over the validation images, percent, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_error: Option<f64>,
    /// Mean cross-entropy over the validation images, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// Validation images whose class is among the five best guesses, percent, likewise; only with more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_top5_accuracy: Option<f64>,
    /// Accuracy over the test images, percent; not a number, and not written, where epochs are validated instead.
    #[serde(default = "missing", deserialize_with = "number", skip_serializing_if = "is_not_tested")]
    pub test_accuracy: f64,
    /// Error over the test images, percent, likewise.
    #[serde(default = "missing", deserialize_with = "number", skip_serializing_if = "is_not_tested")]
    pub test_error: f64,
    /// Mean cross-entropy over the test images; NaN in runs from before it was measured.
    #[serde(default = "missing", deserialize_with = "number", skip_serializing_if = "is_not_tested")]
    pub test_loss: f64,
    /// Test images whose class is among the five best guesses, percent; only with more than five classes.
    #[serde(default)]
    pub test_top5_accuracy: Option<f64>,
    /// What was tested, if it is not the weights as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// Mean local loss of every module over the training images.
    #[serde(deserialize_with = "numbers")]
    pub module_losses: Vec<f64>,
    /// Error of every module's classifier over the training images, percent; in cascades, of the level that trains it more.
    #[serde(deserialize_with = "numbers")]
    pub module_errors: Vec<f64>,
    /// Duration of the epoch.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// Training images per second.
    #[serde(deserialize_with = "number")]
    pub images_per_second: f64,
    /// Peak memory of the process so far; none where the system does not tell, and on a device with memory of its own.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// The part of it that is tensors and images, as the accountant counts them.
    #[serde(alias = "peak_bytes")]
    pub peak_allocated_bytes: u64,
}

/// What test errors are of, and which values a checkpoint's model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tested {
    /// The EMA of the weights (`train.model_ema_decay`).
    ModelEma,
}

impl Tested {
    /// None: the weights as they are.
    pub fn of(train: &Train) -> Option<Self> {
        train.model_ema_decay.map(|_| Tested::ModelEma)
    }
}

impl Epoch {
    /// The error that the best epoch has the lowest of, percent: over the validation images, or over the test images where
    /// there is no validation set.
    pub fn held_out_error(&self) -> f64 {
        self.val_error.unwrap_or(self.test_error)
    }

    /// The accuracy that the best epoch has the highest of, likewise.
    pub fn held_out_accuracy(&self) -> f64 {
        self.val_accuracy.unwrap_or(self.test_accuracy)
    }

    /// Takes what an evaluation behind the epoch found: of the validation images, or else of the test images.
    pub(super) fn evaluated(&mut self, found: &Evaluation, validates: bool) {
        if validates {
            (self.val_accuracy, self.val_error) = (Some(found.accuracy), Some(found.error));
            (self.val_loss, self.val_top5_accuracy) = (Some(found.loss), found.top5_accuracy);
        } else {
            (self.test_accuracy, self.test_error) = (found.accuracy, found.error);
            (self.test_loss, self.test_top5_accuracy) = (found.loss, found.top5_accuracy);
        }
    }

    /// Peak memory so far, as far as it is known.
    pub fn peak(&self) -> PeakBytes {
        PeakBytes { memory: self.peak_memory_bytes, allocated: self.peak_allocated_bytes }
    }
}

/// What a finished run achieved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Summary {
    /// Finished epochs.
    pub epochs: usize,
    /// Test accuracy after the last epoch, percent.
    #[serde(default = "missing", deserialize_with = "number")]
    pub test_accuracy: f64,
    /// Test error after the last epoch, percent.
    #[serde(deserialize_with = "number")]
    pub test_error: f64,
    /// Test loss after the last epoch; NaN in runs from before it was measured.
    #[serde(default = "missing", deserialize_with = "number")]
    pub test_loss: f64,
    /// Test images whose class is among the five best guesses, percent; only with more than five classes.
    #[serde(default)]
    pub test_top5_accuracy: Option<f64>,
    /// Test accuracy after the best epoch, percent: the highest, where there is no validation set to choose that epoch on.
    #[serde(default = "missing", deserialize_with = "number")]
    pub best_test_accuracy: f64,
    /// Test error after the best epoch, percent, likewise.
    #[serde(deserialize_with = "number")]
    pub best_test_error: f64,
    /// The best epoch, from 1: that with the lowest validation error, or test error.
    pub best_epoch: usize,
    /// Validation error after the last epoch, percent; none where there is no validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_error: Option<f64>,
    /// Validation error of the best epoch, percent, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_val_error: Option<f64>,
    /// Whether it ended before its last epoch, after `train.patience` epochs without improvement.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped_early: bool,
    /// What was tested, if it is not the weights as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// Seconds trained, over all resumptions.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// Peak memory of the process; none where the system does not tell, and on a device with memory of its own.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// The part of it that is tensors and images, as the accountant counts them.
    #[serde(alias = "peak_bytes")]
    pub peak_allocated_bytes: u64,
    /// Values of the network, without auxiliary networks.
    pub parameters: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_not_tested(value: &f64) -> bool {
    value.is_nan()
}

/// Runs from before there were accuracies know their errors: the accuracy is the rest.
fn accuracy(known: f64, error: f64) -> f64 {
    if known.is_nan() { 100.0 - error } else { known }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        Epoch::serialize(self, s)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let read = Epoch::deserialize(d)?;
        Ok(Epoch {
            train_accuracy: accuracy(read.train_accuracy, read.train_error),
            test_accuracy: accuracy(read.test_accuracy, read.test_error),
            ..read
        })
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        Summary::serialize(self, s)
    }
}

impl<'de> Deserialize<'de> for Summary {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let read = Summary::deserialize(d)?;
        Ok(Summary {
            test_accuracy: accuracy(read.test_accuracy, read.test_error),
            best_test_accuracy: accuracy(read.best_test_accuracy, read.best_test_error),
            ..read
        })
    }
}

impl Summary {
    /// Peak memory, as far as it is known.
    pub fn peak(&self) -> PeakBytes {
        PeakBytes { memory: self.peak_memory_bytes, allocated: self.peak_allocated_bytes }
    }

    /// Writes the summary into a run's folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        let path = run.join(SUMMARY);
        let failed = |e: serde_json::Error| Error::io(&path)(e.into());
        let mut json = serde_json::to_vec_pretty(self).map_err(failed)?;
        json.push(b'\n');
        atomic::write(&path, |out| out.write_all(&json).map_err(Error::io(&path)))
    }

    /// Reads the summary of a run's folder.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none (the run has not finished) or it cannot be read.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join(SUMMARY);
        let json = files::read(&path, files::SUMMARY)?;
        read_json(&json).map_err(|e| Error::io(&path)(std::io::Error::new(ErrorKind::InvalidData, e)))
    }
}

/// The open metrics file of a run.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Begins the metrics of a new run in its folder.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is already there or cannot be written.
    pub fn create(run: &Path) -> Result<Self> {
        let path = run.join(METRICS);
        let opened = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = opened.map_err(Error::io(&path))?;
        Ok(Metrics { path, file })
    }

    /// Goes on with the metrics of a run whose checkpoint ends with `epoch`: lines of later epochs, which
    /// will be trained again, and a line that a kill cut off are removed; a `resume` line is added.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read or written. A missing file is begun anew.
    pub fn resume(run: &Path, epoch: usize) -> Result<Self> {
        let path = run.join(METRICS);
        let text = match files::read(&path, files::METRICS) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        atomic::write(&path, |out| {
            text.lines()
                .filter(|line| stays(line, epoch))
                .try_for_each(|line| writeln!(out, "{line}"))
                .map_err(Error::io(&path))
        })?;
        let opened = files::open_own(&path, OpenOptions::new().append(true));
        let file = opened.map_err(Error::io(&path))?;
        let mut metrics = Metrics { path, file };
        metrics.write(&Event::Resume { epoch })?;
        Ok(metrics)
    }

    /// Adds a line and makes it durable. Write an epoch's line before its checkpoint, so that a checkpoint
    /// never knows an epoch that the metrics do not.
    ///
    /// # Errors
    /// [`Error::Io`] if the line cannot be written; [`Error::Data`] if the file is not in its place any more, where nobody
    /// would find the line.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        if !place::is_at(&self.file, &self.path) {
            let message = "this file was removed or replaced while the run wrote it: stopped; put it back if it was moved. \
                           --resume goes on after the last checkpoint";
            return Err(Error::data(self.path.display().to_string(), message));
        }
        let failed = |e| Error::io(&self.path)(e);
        let mut line = serde_json::to_vec(event).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)?;
        self.file.sync_data().map_err(failed)
    }
}

/// Whether a line still holds when the run goes on after `epoch`.
fn stays(line: &str, epoch: usize) -> bool {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else {
        return false;
    };
    // `end` counts its epochs, every other event names one.
    let at = value.get("epoch").or_else(|| value.get("epochs"));
    match at.and_then(serde_json::Value::as_u64) {
        Some(at) => at <= epoch as u64,
        None => value.is_object(),
    }
}

/// Reads the metrics of a run's folder. A line that a kill cut off, and events of later versions, are left out.
///
/// # Errors
/// [`Error::Io`] if the file is missing or cannot be read.
pub fn read(run: &Path) -> Result<Vec<Event>> {
    let path = run.join(METRICS);
    let bytes = files::read(&path, files::METRICS)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// How the first line of a run's metrics begins; the second where it began again after it was killed at its start.
const BEGINS: [&str; 2] = ["{\"event\":\"start\"", "{\"event\":\"resume\",\"epoch\":0"];

/// Whether the metrics file of a folder is surely of a run: every line is an event, but for a last one that a kill cut off,
/// and the first says how a run began. An empty file may be one.
pub(super) fn is_of_a_run(run: &Path) -> bool {
    let Ok(text) = files::text(&run.join(METRICS), files::METRICS) else { return false };
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    let mut lines = whole.lines().map(serde_json::from_str::<Event>);
    let begins = match lines.next() {
        Some(first) => matches!(first, Ok(Event::Start(_) | Event::Resume { epoch: 0 })),
        None => BEGINS.iter().any(|b| text.starts_with(b) || b.starts_with(&text)),
    };
    begins && lines.all(|line| line.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, test_error: f64) -> Event {
        Event::Epoch(Epoch { epoch, lr: 0.1, test_error, module_losses: vec![2.0, 1.0], ..Epoch::default() })
    }

    fn lines(run: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(run.join(METRICS)).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn epochs(run: &Path) -> Vec<u64> {
        let epochs = lines(run).into_iter().filter(|l| l["event"] == "epoch");
        epochs.map(|l| l["epoch"].as_u64().unwrap()).collect()
    }

    #[test]
    fn an_epoch_line_has_the_documented_keys() {
        let run = tempfile::tempdir().unwrap();
        let mut m = Metrics::create(run.path()).unwrap();
        m.write(&epoch(1, 34.5)).unwrap();
        let line = lines(run.path()).remove(0);
        let mut keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "epoch",
                "event",
                "images_per_second",
                "lr",
                "module_errors",
                "module_losses",
                "peak_allocated_bytes",
                "peak_memory_bytes",
                "seconds",
                "test_accuracy",
                "test_error",
                "test_loss",
                "test_top5_accuracy",
                "train_accuracy",
                "train_error",
                "train_loss"
            ]
        );
        assert_eq!(line["event"], "epoch");
        assert_eq!(line["test_error"], 34.5);
    }

    #[test]
    fn after_a_resumption_every_epoch_stands_once() {
        let run = tempfile::tempdir().unwrap();
        let mut m = Metrics::create(run.path()).unwrap();
        for e in 1..=4 {
            m.write(&epoch(e, 50.0)).unwrap();
        }
        // Killed in the middle of a line, and after epoch 4, whose checkpoint was not finished.
        m.file.write_all(b"{\"event\":\"epoch\",\"epo").unwrap();
        let mut m = Metrics::resume(run.path(), 3).unwrap();
        for e in 4..=5 {
            m.write(&epoch(e, 40.0)).unwrap();
        }
        assert_eq!(epochs(run.path()), [1, 2, 3, 4, 5]);
        let events = read(run.path()).unwrap();
        assert_eq!(events[3], Event::Resume { epoch: 3 });
        assert_eq!(events[4], epoch(4, 40.0));
    }

    #[test]
    fn resuming_an_ended_or_interrupted_run_keeps_what_still_holds() {
        let run = tempfile::tempdir().unwrap();
        let mut m = Metrics::create(run.path()).unwrap();
        m.write(&epoch(1, 50.0)).unwrap();
        m.write(&Event::Interrupted { epoch: 1 }).unwrap();
        m.write(&epoch(2, 40.0)).unwrap();
        let summary = Summary { epochs: 2, ..Summary::default() };
        m.write(&Event::End(summary)).unwrap();
        Metrics::resume(run.path(), 1).unwrap();
        let events: Vec<String> =
            lines(run.path()).iter().map(|l| l["event"].as_str().unwrap().to_owned()).collect();
        assert_eq!(events, ["epoch", "interrupted", "resume"]);
    }

    #[test]
    fn a_lost_file_is_begun_anew_and_a_run_is_never_overwritten() {
        let run = tempfile::tempdir().unwrap();
        Metrics::resume(run.path(), 2).unwrap();
        assert_eq!(read(run.path()).unwrap(), [Event::Resume { epoch: 2 }]);
        assert!(matches!(Metrics::create(run.path()), Err(Error::Io { .. })));
    }

    #[test]
    fn numbers_that_are_not_finite_stay_json() {
        let run = tempfile::tempdir().unwrap();
        let mut m = Metrics::create(run.path()).unwrap();
        let wild = Epoch {
            epoch: 1,
            train_loss: f64::NAN,
            lr: f64::INFINITY,
            module_losses: vec![1.0, f64::NEG_INFINITY],
            ..Epoch::default()
        };
        m.write(&Event::Epoch(wild)).unwrap();
        let line = lines(run.path()).remove(0);
        assert!(line["train_loss"].is_null() && line["module_losses"][1].is_null());
        let Event::Epoch(back) = read(run.path()).unwrap().remove(0) else {
            panic!("not an epoch");
        };
        assert!(back.train_loss.is_nan() && back.module_losses[1].is_nan());
        assert_eq!(back.module_losses[0], 1.0);
    }

    #[test]
    fn runs_from_before_accuracies_have_them() {
        let run = tempfile::tempdir().unwrap();
        let line = r#"{"event":"epoch","epoch":1,"lr":0.1,"train_loss":2.0,"train_error":62.5,"test_error":75.0,
            "module_losses":[],"module_errors":[],"seconds":1.0,"images_per_second":9.0,"peak_bytes":7}"#;
        let end = r#"{"event":"end","epochs":1,"test_error":75.0,"best_test_error":null,"best_epoch":1,"seconds":1.0,
            "peak_bytes":7,"parameters":3}"#;
        let lines = [line, end].map(|l| l.replace('\n', ""));
        std::fs::write(run.path().join(METRICS), lines.join("\n")).unwrap();
        let events = read(run.path()).unwrap();
        let [Event::Epoch(e), Event::End(s)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((e.train_accuracy, e.test_accuracy, e.test_top5_accuracy), (37.5, 25.0, None));
        assert!(e.test_loss.is_nan() && s.best_test_accuracy.is_nan() && s.test_loss.is_nan());
        assert_eq!((s.test_accuracy, s.best_epoch), (25.0, 1));
    }

    #[test]
    fn the_summary_comes_back_as_written() {
        let run = tempfile::tempdir().unwrap();
        let summary = Summary {
            epochs: 8,
            test_accuracy: 200.0 / 3.0,
            test_error: 100.0 / 3.0,
            test_loss: 1.25,
            test_top5_accuracy: None,
            best_test_accuracy: 69.9,
            best_test_error: 30.1,
            best_epoch: 7,
            seconds: 12.5,
            peak_memory_bytes: Some(2 << 40),
            peak_allocated_bytes: 1 << 40,
            parameters: 466_906,
            tested: Some(Tested::ModelEma),
            ..Summary::default()
        };
        summary.write(run.path()).unwrap();
        assert_eq!(Summary::read(run.path()).unwrap(), summary);
        assert!(Summary::read(&run.path().join("gone")).is_err());
    }
}
