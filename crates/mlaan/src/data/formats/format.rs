//! What a form of data sets is, and what it gives.

use std::path::Path;

use super::super::Known;
use super::super::notes::Notes;
use super::super::stored::Stored;
use super::class_names;
use super::names::from_one;
use crate::Result;

/// A form that data sets come in.
pub(in crate::data) struct Format {
    /// What it is called.
    pub name: &'static str,
    /// How it looks on disk, for who looks for a mistake.
    pub layout: &'static str,
    /// The set at a path; `None` where there is none of this format.
    pub open: fn(&Path) -> Result<Option<Pair>>,
}

/// A set as it lies on disk. Both splits have the same classes.
pub(in crate::data) struct Pair {
    /// Training images.
    pub train: Stored,
    /// Test images.
    pub test: Stored,
    /// Which of the known sets it is, where the format says so.
    pub known: Option<Known>,
}

impl Pair {
    /// What is to be said of both splits.
    pub fn take_notes(&mut self) -> Notes {
        let mut notes = std::mem::take(&mut self.train.notes);
        class_names::in_capitals_alone(&self.train.classes).into_iter().for_each(|text| notes.remark(text));
        from_one(&self.train.classes, &self.train.labels).into_iter().for_each(|text| notes.remark(text));
        notes.append(std::mem::take(&mut self.test.notes));
        notes
    }
}
