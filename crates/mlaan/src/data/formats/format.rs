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
    pub open: fn(&Path) -> Result<Option<Parts>>,
}

/// A set as it lies on disk. All splits have the same classes.
pub(in crate::data) struct Parts {
    /// Training images.
    pub train: Stored,
    /// Test images, or why there are none: then a share of the training images may stand in for them.
    pub test: Result<Stored>,
    /// The set's own validation images beside the test images, or what is wrong with them.
    pub validation: Option<Result<Stored>>,
    /// Which of the known sets it is, where the format says so.
    pub known: Option<Known>,
}

impl Parts {
    /// Of a set with a training and a test split.
    pub fn new(train: Stored, test: Stored, known: Option<Known>) -> Self {
        Parts { train, test: Ok(test), validation: None, known }
    }

    /// What is to be said of all splits.
    pub fn take_notes(&mut self) -> Notes {
        let mut notes = std::mem::take(&mut self.train.notes);
        class_names::in_capitals_alone(&self.train.classes).into_iter().for_each(|text| notes.remark(text));
        from_one(&self.train.classes, &self.train.labels).into_iter().for_each(|text| notes.remark(text));
        if let Ok(test) = &mut self.test {
            notes.append(std::mem::take(&mut test.notes));
        }
        notes
    }
}
