//! Parquet sets with an encoded image and a label per row, as the `datasets` library, the Hub and others write them.
//!
//! The parquet crate takes values out of pages (`pages`, `labels`, `shard`). What a file says of itself is read here
//! (`thrift`, `footer`) and pages are inflated here (`codec`), since the crate believes what files claim.

mod codec;
mod delta;
mod footer;
mod labels;
mod layout;
mod pages;
mod schema;
mod shard;
mod thrift;
mod values;

use std::path::Path;
use std::sync::Arc;

use super::super::notes::{Notes, few};
use super::super::stored::{Content, Images, Raw, Scan, Stored};
use super::class_names::alike;
use super::names::numbered;
use super::splits::{HOLD_OUT, validates};
use super::{Format, Parts};
use crate::{Error, Result};
use labels::Labels;
use layout::{Files, detect};
use shard::Shard;

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "Hugging Face parquet",
    layout: "a folder with `train-*.parquet` and `test-*.parquet` (or `validation-*`, `valid-*`, `val-*`), or folders `train/` \
             and so on of parquet files; also inside `data/`, `default/` or another folder of the set's name",
    open,
};

fn open(path: &Path) -> Result<Option<Parts>> {
    let Some(layout) = detect(path)? else {
        return Ok(None);
    };
    let mut notes = layout.notes;
    let train = Split::open(&layout.train, None)?;
    if train.labels.len() == 0 {
        return Err(Error::data(train.place(), "no row, so no images to train on"));
    }
    if !train.labelled()? {
        train.has_column()?;
        let message = format!("no row has a label ({}): these are needed to train", train.without());
        return Err(Error::data(train.place(), message));
    }
    layout.train.remarks().into_iter().chain(train.others()).for_each(|text| notes.remark(text));
    let test = match layout.missing {
        Some(error) => Err(error),
        None => test(&layout.tests, train.label.as_deref(), &mut notes)?,
    };
    let validation = match &test {
        Ok(test) if !validates(test.name) => validation(&layout.tests, train.label.as_deref(), &mut notes),
        _ => None,
    };
    train.by_another_name()?.into_iter().for_each(|text| notes.remark(text));
    let classes = classes(&train, test.as_ref().ok())?;
    let validation = validation.map(|split| {
        let split = split?;
        self::classes(&train, Some(&split))?;
        split.stored(classes.clone())
    });
    // Labels that are wrong are no reason to do without the split.
    let test = match test {
        Ok(test) => Ok(test.stored(classes.clone())?),
        Err(missing) => Err(missing),
    };
    let train = train.stored(classes)?.with_notes(notes);
    Ok(Some(Parts { train, test, validation, known: None }))
}

/// The first split to validate on that has labels, or what is wrong with it; of others that is noted.
fn validation(splits: &[Files], label: Option<&str>, notes: &mut Notes) -> Option<Result<Split>> {
    for files in splits.iter().filter(|files| validates(files.name)) {
        let labelled = Split::open(files, label)
            .and_then(|split| Ok((split.labels.len() > 0 && split.labelled()?, split)));
        match labelled {
            Ok((true, split)) => return Some(Ok(split)),
            Ok((false, split)) => {
                let why = split.without();
                notes.remark(format!("the {} split has no labels ({why}): it does not validate", files.name));
            }
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

/// The first split that has labels, in the column `label` as training has, or why there is none; of others that is noted.
///
/// # Errors
/// A split that cannot be read, or has some labels.
fn test(splits: &[Files], label: Option<&str>, notes: &mut Notes) -> Result<Result<Split>> {
    let mut unlabelled: Vec<(&str, String)> = Vec::new();
    for files in splits {
        let split = Split::open(files, label)?;
        if split.labels.len() > 0 && split.labelled()? {
            let without = unlabelled.iter().map(|(name, why)| {
                format!(
                    "the {name} split has no labels ({why}): the {} split is used in its place",
                    files.name
                )
            });
            without.chain(files.remarks()).for_each(|text| notes.remark(text));
            return Ok(Ok(split));
        }
        // The last one says what is wrong with its columns.
        if unlabelled.len() + 1 == splits.len() {
            split.has_column()?;
        }
        let why = match split.has_column() {
            Ok(()) => split.without().to_owned(),
            Err(_) => format!("no column `{}` as in training", label.unwrap_or("label")),
        };
        unlabelled.push((files.name, why));
    }
    let place = splits
        .first()
        .and_then(|files| files.paths.first())
        .map_or(String::new(), |p| p.display().to_string());
    let message = format!(
        "no row of the {} split has a label ({}), and there is no other to test on: label some, {HOLD_OUT}",
        unlabelled.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", nor of the "),
        unlabelled.last().map_or("", |(_, why)| why)
    );
    Ok(Err(Error::data(place, message)))
}

/// The class names both splits agree on; without names, those that stand in place of numbers, or the numbers up to the
/// largest training label.
fn classes(train: &Split, test: Option<&Split>) -> Result<Vec<String>> {
    let named = train.names()?;
    let test_named = test.map_or(Ok(None), Split::names)?;
    if let (Some(a), Some(b), Some(test)) = (named, test_named, test)
        && a != b
    {
        let differ = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
        let name = |names: &[String]| names.get(differ).cloned().unwrap_or_else(|| "none".into());
        let message = format!(
            "class {differ} is `{}`, but `{}` in {}: both splits need the same classes",
            name(b),
            name(a),
            train.place()
        );
        return Err(Error::data(test.place(), message));
    }
    if let Some(names) = named.or(test_named) {
        return Ok(names.to_vec());
    }
    let text = train.labels.classes();
    match test.filter(|test| test.labels.classes().is_some() != text.is_some()) {
        Some(test) => {
            let message =
                format!("labels are text in one split and numbers in the other ({})", train.place());
            Err(Error::data(test.place(), message))
        }
        None => text.map_or_else(|| numbered(&train.place(), train.labels.largest().into_iter()), Ok),
    }
}

struct Split {
    name: &'static str,
    /// The column of labels: that of training, else that of the first file.
    label: Option<String>,
    shards: Vec<Shard>,
    /// The first row of every shard, and the number of all.
    starts: Vec<usize>,
    /// The labels of all rows.
    labels: Labels,
}

impl Split {
    fn open(files: &Files, label: Option<&str>) -> Result<Self> {
        files.complete()?;
        let (mut label, mut shards) = (label.map(str::to_owned), Vec::with_capacity(files.paths.len()));
        for path in &files.paths {
            let shard = Shard::open(path, label.as_deref())?;
            label = label.or_else(|| shard.label().map(str::to_owned));
            shards.push(shard);
        }
        let (mut starts, mut labels) = (vec![0], None::<Labels>);
        for shard in &shards {
            let own = shard.labels()?;
            starts.push(starts.last().unwrap_or(&0) + own.len());
            match &mut labels {
                None => labels = Some(own),
                Some(labels) => labels.append(own).map_err(|message| Error::data(&shard.place, message))?,
            }
        }
        let labels = labels.unwrap_or_else(|| Labels::of(false));
        Ok(Split { name: files.name, label, shards, starts, labels })
    }

    fn place(&self) -> String {
        self.shards.first().map_or(String::new(), |s| s.place.clone())
    }

    /// Whether all rows have labels, and not none of them; of no rows all have.
    ///
    /// # Errors
    /// When some have and some have not.
    fn labelled(&self) -> Result<bool> {
        let (missing, first) = self.labels.missing();
        match first {
            None => Ok(true),
            Some(_) if missing == self.labels.len() => Ok(false),
            Some(first) => {
                let message = format!(
                    "no label (it is missing, or −1), as {missing} of {} rows of the {} split: remove these rows, or label them",
                    self.labels.len(),
                    self.name
                );
                Err(Error::data(row(&self.shards, &self.starts, first), message))
            }
        }
    }

    /// Why no row has a label.
    fn without(&self) -> &'static str {
        match self.labels.len() {
            0 => "it has no rows, so no images",
            _ => "all are missing, or −1",
        }
    }

    /// What is to be said of other columns that might be meant.
    fn others(&self) -> Option<String> {
        let (shard, label) = (self.shards.first()?, self.label.as_deref()?);
        let others = schema::other_labels(&shard.footer, label);
        let columns = few(others.iter().copied());
        (!others.is_empty())
            .then(|| format!("labels are those of the column `{label}`; {columns} may be others"))
    }

    /// What is to be said of labels in a column that is called otherwise, and is taken since there is no other of numbers.
    ///
    /// # Errors
    /// When every row has another number: these count rows.
    fn by_another_name(&self) -> Result<Option<String>> {
        let (Some(shard), Some(label)) = (self.shards.first(), self.label.as_deref()) else {
            return Ok(None);
        };
        if schema::is_label(label) || shard.columns.described {
            return Ok(None);
        }
        if self.labels.len() > 2 && self.labels.all_differ() {
            let message = format!(
                "no column is called `label`, and the only one of whole numbers, `{label}`, has another in every row: these are no \
                 classes; add a column `label`"
            );
            return Err(Error::data(&shard.place, message));
        }
        Ok(Some(format!(
            "labels are the column `{label}`, the only one of whole numbers: none is called `label`"
        )))
    }

    /// Refuses files without a column of labels.
    fn has_column(&self) -> Result<()> {
        match self.shards.iter().find(|shard| shard.columns.label.is_none()) {
            Some(shard) => {
                Err(Error::data(&shard.place, schema::no_label(&shard.footer, self.label.as_deref())))
            }
            None => Ok(()),
        }
    }

    /// The class names in the files' metadata.
    fn names(&self) -> Result<Option<&[String]>> {
        let Some((first, others)) = self.shards.split_first() else {
            return Ok(None);
        };
        match others.iter().find(|s| s.columns.names != first.columns.names) {
            Some(other) => {
                let message = format!("has other class names than {}", first.place);
                Err(Error::data(&other.place, message))
            }
            None => Ok(first.columns.names.as_deref()),
        }
    }

    fn stored(self, classes: Vec<String>) -> Result<Stored> {
        let place = self.place();
        let labels = self.labels.numbered(&classes).map_err(|(at, name)| {
            let alike = alike(&name, &classes);
            let message = format!(
                "label `{name}` is no class of the training split{alike}: both splits need the same classes"
            );
            Error::data(row(&self.shards, &self.starts, at), message)
        })?;
        let rows = Rows { shards: self.shards, starts: self.starts };
        Stored::new(place, classes, labels, Images::Ordered(Arc::new(rows)))
    }
}

/// How messages name row `index` of all shards.
fn row(shards: &[Shard], starts: &[usize], index: usize) -> String {
    let shard = starts.partition_point(|start| *start <= index).saturating_sub(1);
    shards.get(shard).map_or_else(String::new, |s| s.row(index - starts[shard]))
}

/// The rows of all shards, one after the other.
struct Rows {
    shards: Vec<Shard>,
    /// The first row of every shard, and the number of all.
    starts: Vec<usize>,
}

impl Scan for Rows {
    fn name(&self, index: usize) -> String {
        row(&self.shards, &self.starts, index)
    }

    fn work_bytes(&self) -> usize {
        self.shards.iter().map(Shard::work_bytes).max().unwrap_or(0)
    }

    fn scan(&self, indices: &[usize], each: &mut dyn FnMut(Vec<Raw>) -> Result<()>) -> Result<()> {
        for (shard, bounds) in self.shards.iter().zip(self.starts.windows(2)) {
            let first = indices.partition_point(|i| *i < bounds[0]);
            let last = indices.partition_point(|i| *i < bounds[1]);
            let rows: Vec<usize> = indices[first..last].iter().map(|i| i - bounds[0]).collect();
            shard.images(&rows, |images| {
                each(images.into_iter().map(|(row, image)| raw(bounds[0] + row, image)).collect())
            })?;
        }
        Ok(())
    }
}

/// What is wrong with a row without an image.
const NO_BYTES: &str = "the row has no image bytes (they are missing; a file that only its `path` names is not read): write the \
                        images into the table, as `datasets` does with `embed_external_files`";

fn raw(index: usize, image: Option<Vec<u8>>) -> Raw {
    match image {
        Some(bytes) => Raw { index, content: Ok(Content::Encoded), bytes },
        None => Raw { index, content: Err(NO_BYTES.into()), bytes: Vec::new() },
    }
}
