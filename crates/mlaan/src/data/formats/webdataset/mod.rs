//! WebDataset: shards `train-*.tar` and `test-*.tar` (`val-*`, `validation-*`, also with a prefix) of samples, each an image
//! `KEY.jpg` and its label in `KEY.cls` or `KEY.json`, one after the other. Shards may also lie in `train/` and `test/`.

mod files;
mod label;
mod sample;
mod shard;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(in crate::data) use self::files::is_unread;
use self::files::shards;
use self::label::{Label, LabelFile, Labels, classes};
use self::shard::Shard;
use super::super::notes::Notes;
use super::super::stored::{Images, Stored};
use super::names::listed;
use super::packed::{Item, Packed, kind};
use super::splits::{HOLD_OUT, TEST_SHARDS, TRAIN, validates};
use super::{Format, Parts};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "WebDataset",
    layout: "a folder with WebDataset shards `train-*.tar` and `test-*.tar` (or `val-*`, `validation-*`, `dev-*`, `eval-*`; with or \
             without a prefix) of `KEY.jpg` and `KEY.cls` or `KEY.json`, or folders `train/` and so on of shards",
    open,
};

/// Files with the names of the classes.
const NAMES: [&str; 2] = ["classes.txt", "classnames.txt"];

fn open(path: &Path) -> Result<Option<Parts>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let shards = shards(path)?;
    let missing = match (shards.train.is_empty(), shards.tests.is_empty()) {
        (true, true) => return Ok(None),
        (false, _) => None,
        (true, false) => Some("`train-*.tar`"),
    };
    // One archive may be a whole set of another form, whatever its name.
    let other = |one: &str| !TRAIN.iter().chain(&TEST_SHARDS).any(|name| one.starts_with(name));
    if let ([one], true) = (shards.names.as_slice(), missing.is_some() || shards.tests.is_empty())
        && other(one)
    {
        return Ok(None);
    }
    let lacking = |missing: &str, more: &str| {
        let message = format!("the other split's shards are here, but no {missing}: a set needs both{more}");
        Error::data(path.display().to_string(), message)
    };
    if let Some(missing) = missing {
        return Err(lacking(missing, ""));
    }
    let mut train = Split::read(shards.train)?;
    train.notes.append(shards.notes);
    train.check()?;
    let (test, validation) = match shards.tests.is_empty() {
        true => {
            let names = "`test-*.tar`, `val-*.tar` or `validation-*.tar`";
            (Err(lacking(names, &format!(", {HOLD_OUT}"))), None)
        }
        false => labelled(shards.tests, &mut train.notes)?,
    };
    let names = listed(path, &NAMES)?;
    let (listed, classes) = match names {
        Some(names) => (true, names),
        None => (false, train.with_labels(|labels| classes(&train.place, labels))?),
    };
    let train = train.stored(classes.clone(), listed)?;
    let stored = |split: Result<Split>| split?.stored(classes.clone(), listed);
    // Labels that are wrong are no reason to do without the split.
    let test = match test {
        Ok(test) => Ok(stored(Ok(test))?),
        Err(missing) => Err(missing),
    };
    Ok(Some(Parts { train, test, validation: validation.map(stored), known: None }))
}

/// The first of the test splits that has labels, or why there is none, and where that is one to test on, the first behind it
/// to validate on.
///
/// # Errors
/// A split that cannot be read, or has some labels.
fn labelled(
    candidates: Vec<(&str, Vec<PathBuf>)>,
    notes: &mut Notes,
) -> Result<(Result<Split>, Option<Result<Split>>)> {
    let last = candidates.len().saturating_sub(1);
    let mut passed = Vec::new();
    let mut candidates = candidates.into_iter().enumerate();
    while let Some((at, (name, shards))) = candidates.next() {
        let mut split = Split::read(shards)?;
        if split.is_unlabelled() {
            if at == last {
                let error = split.check().err().map(|error| match error {
                    Error::Data { place, message } => {
                        Error::data(place, format!("{message}: label some, {HOLD_OUT}"))
                    }
                    other => other,
                });
                return Ok((error.map_or(Ok(split), Err), None));
            }
            passed.push(format!("`{name}`"));
            continue;
        }
        split.check()?;
        if !passed.is_empty() {
            let text =
                format!("the shards of {} have no labels: tested is on `{name}`", passed.join(" and "));
            split.notes.remark(text);
        }
        let others = candidates.map(|(_, candidate)| candidate).filter(|(other, _)| validates(other));
        let validation = if validates(name) { None } else { validating(others, notes) };
        return Ok((Ok(split), validation));
    }
    Ok((Ok(Split::default()), None))
}

/// The first of the splits that has labels, or what is wrong with it; of others that is noted.
fn validating<'a>(
    candidates: impl Iterator<Item = (&'a str, Vec<PathBuf>)>,
    notes: &mut Notes,
) -> Option<Result<Split>> {
    for (name, shards) in candidates {
        let split = match Split::read(shards) {
            Ok(split) => split,
            Err(error) => return Some(Err(error)),
        };
        if !split.is_unlabelled() {
            return Some(split.check().map(|()| split));
        }
        notes.remark(format!("the shards of `{name}` have no labels: they do not validate"));
    }
    None
}

/// The samples of a split.
#[derive(Default)]
struct Split {
    place: String,
    archives: Vec<PathBuf>,
    items: Vec<Item>,
    labels: Vec<(LabelFile, Label)>,
    /// Whether a shard is compressed.
    compressed: bool,
    /// Images without a label: how many, and the first.
    unlabelled: (usize, String),
    notes: Notes,
    /// What lies in the first shard.
    contents: String,
}

impl Split {
    fn read(archives: Vec<PathBuf>) -> Result<Self> {
        let place = archives.first().map_or_else(String::new, |path| path.display().to_string());
        let compressed = archives.iter().any(|path| kind(path) == Some(true));
        let mut split = Split { place, compressed, ..Split::default() };
        for (number, path) in (0..).zip(&archives) {
            let mut shard = Shard::read(path)?;
            if number == 0 {
                split.contents = shard.contents();
            }
            if split.unlabelled.0 == 0 {
                split.unlabelled.1 = std::mem::take(&mut shard.unlabelled.1);
            }
            split.unlabelled.0 += shard.unlabelled.0;
            let mut names = HashSet::new();
            let again = shard.samples.iter().filter(|s| !names.insert(s.name.as_str())).count();
            if again > 0 {
                let text = match again {
                    1 => "1 sample has the key of an earlier one in the shard, and is read as a sample of its own".into(),
                    _ => format!(
                        "{again} samples have the key of an earlier one in the shard, and are read as samples of their own"
                    ),
                };
                split.notes.remark(format!("{}: {text}", path.display()));
            }
            if split.compressed {
                shard.samples.sort_by_key(|sample| sample.bytes.offset);
            }
            for sample in shard.samples {
                let (name, bytes) = (sample.name, sample.bytes);
                let (offset, size, holes) = (bytes.offset, bytes.size, bytes.holes);
                split.items.push(Item { archive: number, offset, size, name, holes });
                split.labels.push(sample.label);
            }
            split.notes.append(shard.notes);
        }
        split.archives = archives;
        Ok(split)
    }

    /// Whether there are images, and no label of one: published test sets have none, or −1 throughout.
    fn is_unlabelled(&self) -> bool {
        let images = self.unlabelled.0 + self.items.len();
        images > 0 && self.labels.iter().all(|(_, label)| *label == Label::Index(-1))
    }

    /// That there are samples, all with a label.
    fn check(&self) -> Result<()> {
        if self.unlabelled.0 > 0 {
            let all = self.unlabelled.0 + self.items.len();
            let message = format!(
                "has no label (`.cls`, or `.json` with `label`, `cls` or `class`) beside its image, as {} of {all} {} of the \
                 split: both must follow each other in the shard, and one label can be of one image",
                self.unlabelled.0,
                if all == 1 { "image" } else { "images" }
            );
            return Err(Error::data(&self.unlabelled.1, message));
        }
        if self.is_unlabelled() {
            let message = match self.items.len() {
                1 => "its one label is −1, which is no class: it has no labels".to_owned(),
                n => format!("all of its {n} labels are −1, which is no class: it has no labels"),
            };
            return Err(Error::data(&self.place, message));
        }
        if self.items.is_empty() {
            let message =
                format!("there is no sample in it, as `KEY.jpg` with `KEY.cls` ({})", self.contents);
            return Err(Error::data(&self.place, message));
        }
        Ok(())
    }

    fn with_labels<T>(&self, what: impl FnOnce(&Labels<'_>) -> T) -> T {
        let place = |at: usize| {
            self.items.get(at).map_or_else(String::new, |item| {
                let archive = self.archives.get(item.archive as usize);
                archive.map_or_else(String::new, |path| format!("{}, {}", path.display(), item.name))
            })
        };
        what(&Labels { labels: &self.labels, place: &place })
    }

    fn stored(self, classes: Vec<String>, listed: bool) -> Result<Stored> {
        let labels = self.with_labels(|labels| labels.indices(&classes, listed))?;
        let packed = Arc::new(Packed { archives: self.archives, items: self.items });
        let images = if self.compressed { Images::Ordered(packed) } else { Images::Random(packed) };
        Ok(Stored::new(self.place, classes, labels, images)?.with_notes(self.notes))
    }
}
