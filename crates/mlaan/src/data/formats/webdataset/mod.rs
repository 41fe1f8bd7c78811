//! WebDataset: shards `train-*.tar` and `test-*.tar` (`val-*`, `validation-*`, also with a prefix) of samples, each an image
//! `KEY.jpg` and its label in `KEY.cls` or `KEY.json`, one after the other. Shards may also lie in `train/` and `test/`.

mod label;
mod sample;
mod shard;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::label::{Label, Labels, Source, classes};
use self::shard::Shard;
use super::super::notes::Notes;
use super::super::stored::{Images, Stored};
use super::folder::entries;
use super::names::listed;
use super::packed::{Item, Packed, kind};
use super::splits::{TEST, TRAIN, in_name};
use super::{Format, Pair};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "WebDataset",
    layout: "a folder with WebDataset shards `train-*.tar` and `test-*.tar` (or `val-*`, `validation-*`; with or without a prefix) of \
             `KEY.jpg` and `KEY.cls` or `KEY.json`",
    open,
};

/// Files with the names of the classes.
const NAMES: [&str; 2] = ["classes.txt", "classnames.txt"];

fn open(path: &Path) -> Result<Option<Pair>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let archives = archives(path)?;
    let train = TRAIN.iter().map(|name| shards(path, &archives, name)).find(|found| !found.is_empty());
    let test: Vec<_> = TEST.iter().map(|name| (*name, shards(path, &archives, name))).collect();
    let test: Vec<_> = test.into_iter().filter(|(_, found)| !found.is_empty()).collect();
    let missing = match (&train, test.is_empty()) {
        (None, true) => return Ok(None),
        (Some(_), false) => None,
        (None, false) => Some("`train-*.tar`"),
        (Some(_), true) => Some("`test-*.tar`, `val-*.tar` or `validation-*.tar`"),
    };
    if let Some(missing) = missing {
        // One archive may be a whole set of another form, whatever its name.
        if let [one] = archives.as_slice()
            && !TRAIN.iter().chain(&TEST).any(|name| one.0.starts_with(name))
        {
            return Ok(None);
        }
        let message = format!("the other split's shards are here, but no {missing}: a set needs both");
        return Err(Error::data(path.display().to_string(), message));
    }
    let mut train = Split::read(train.unwrap_or_default())?;
    train.check()?;
    let mut test = labelled(test)?;
    let names = listed(path, &NAMES)?;
    let (listed, classes) = match names {
        Some(names) => (true, names),
        None => (false, train.with_labels(|labels| classes(&train.place, labels))?),
    };
    let train = std::mem::take(&mut train).stored(classes.clone(), listed)?;
    Ok(Some(Pair { train, test: std::mem::take(&mut test).stored(classes, listed)?, known: None }))
}

/// The first of the test splits that has labels.
fn labelled(candidates: Vec<(&str, Vec<PathBuf>)>) -> Result<Split> {
    let last = candidates.len().saturating_sub(1);
    let mut passed = Vec::new();
    for (at, (name, shards)) in candidates.into_iter().enumerate() {
        let mut split = Split::read(shards)?;
        if split.is_unlabelled() && at < last {
            passed.push(format!("`{name}`"));
            continue;
        }
        split.check()?;
        if !passed.is_empty() {
            let text =
                format!("the shards of {} have no labels: tested is on `{name}`", passed.join(" and "));
            split.notes.remark(text);
        }
        return Ok(split);
    }
    Ok(Split::default())
}

/// The archives in a folder, by name.
fn archives(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found: Vec<_> =
        entries(folder)?.into_iter().filter(|(_, path)| kind(path).is_some() && path.is_file()).collect();
    found.sort();
    Ok(found)
}

/// The shards of a split, in order: archives whose name says so, or all in the folder of that name.
fn shards(root: &Path, here: &[(String, PathBuf)], split: &str) -> Vec<PathBuf> {
    let all: Vec<&str> = TRAIN.into_iter().chain(TEST).collect();
    let named = here.iter().filter(|(name, _)| in_name(name, &all) == Some(split));
    let found: Vec<PathBuf> = named.map(|(_, path)| path.clone()).collect();
    if !found.is_empty() {
        return found;
    }
    let folders = entries(root).unwrap_or_default().into_iter();
    let called = folders.filter(|(name, path)| name.eq_ignore_ascii_case(split) && path.is_dir());
    let inside = called.flat_map(|(_, path)| archives(&path).unwrap_or_default());
    inside.map(|(_, path)| path).collect()
}

/// The samples of a split.
#[derive(Default)]
struct Split {
    place: String,
    archives: Vec<PathBuf>,
    items: Vec<Item>,
    labels: Vec<(Source, Label)>,
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
                let text = "samples have the key of an earlier one in the shard, and are read as samples of their own";
                split.notes.remark(format!("{}: {again} {text}", path.display()));
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
            let message = "has no label (`.cls`, or `.json` with `label`, `cls` or `class`) beside its image: both must follow each \
                           other in the shard, and one label can be of one image";
            return Err(Error::data(&self.unlabelled.1, message));
        }
        if self.is_unlabelled() {
            let message =
                format!("all of its {} labels are −1, which is no class: it has no labels", self.items.len());
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
