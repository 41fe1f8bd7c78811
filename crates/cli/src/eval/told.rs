//! An evaluation for people.

use super::{classes, confusion, mistakes};
use crate::args::Split;
use crate::format;
use mlaan::data::Splits;
use mlaan::evaluation::{BINS, Evaluation};
use mlaan::text;
use mlaan::train::checkpoint::Manifest;
use std::path::Path;

/// What is told of.
pub struct Told<'a> {
    /// What was found.
    pub found: &'a Evaluation,
    /// Of which split.
    pub split: Split,
    /// Of the checkpoint.
    pub manifest: &'a Manifest,
    /// The images.
    pub splits: &'a Splits,
    /// Where they are.
    pub source: &'a str,
    /// The checkpoint.
    pub path: &'a Path,
    /// Memory, in words.
    pub memory: String,
    /// Where the confusion matrix was written, if it was.
    pub confusion: Option<&'a Path>,
}

impl Told<'_> {
    /// All of it but the mistakes, for a terminal of so many columns.
    pub fn text(&self, width: u16) -> String {
        let at = match self.manifest.partial.steps {
            0 => format!("after epoch {}", self.manifest.epoch),
            n => format!("after epoch {} and {}", self.manifest.epoch, format::several(n, "step")),
        };
        let rows = self.rows();
        let rows = rows.iter().map(|(what, said)| format!(" {what:<17}  {said}"));
        let rows: Vec<String> = rows.collect();
        let mut parts = vec![format!("{} ({at})", text::path(self.path)), rows.join("\n")];
        parts.push(classes::table(self.found));
        parts.extend(confusion::shown(self.found, width));
        parts.join("\n\n")
    }

    /// The worst mistakes, where some were asked for. Their lines stay as they are: paths are not broken.
    pub fn mistakes(&self) -> Option<String> {
        mistakes::table(self.found, self.source)
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let (found, splits) = (self.found, self.splits);
        let skipped = match splits.skipped {
            0 => String::new(),
            n => format!(", {} skipped", format::several(n, "broken image")),
        };
        let images = format::several(found.images, self.split.image());
        let mut rows = vec![("data", format!("{}: {images}{skipped}", text::line(&splits.name)))];
        for (at, note) in splits.notes.lines().iter().enumerate() {
            rows.push((if at == 0 { "notes" } else { "" }, text::line(note).into_owned()));
        }
        rows.push(("accuracy", format::heading(&format::percent(found.accuracy))));
        rows.push(("error", format::percent(found.error)));
        rows.extend(found.top5_accuracy.map(|a| ("top-5 accuracy", format::percent(a))));
        rows.push(("loss", format::loss(found.loss)));
        let calibration = found.calibration_error.map_or_else(|| "–".into(), format::percent);
        rows.push(("ECE", format!("{calibration} (expected calibration error, {BINS} bins)")));
        if found.undefined > 0 {
            let images = format::several(found.undefined, "image");
            rows.push(("no number", format!("{images}: this network diverged in training")));
        }
        rows.push(("peak memory", self.memory.clone()));
        rows.extend(
            self.confusion.map(|path| ("written", format!("{} (the confusion matrix)", text::path(path)))),
        );
        rows
    }
}
