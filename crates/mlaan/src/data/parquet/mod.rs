//! Hugging Face parquet sets: `train-*.parquet` and `test-*.parquet` with an encoded image and a label
//! per row, as the `datasets` library and the Hub write them.

mod schema;
mod shard;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::collect::{Collector, Encoded};
use super::folder::entries;
use super::limit::choose;
use super::memory::label_error;
use super::{Memory, OpenOptions};
use crate::{Error, Result};
use shard::Shard;

/// Names of the test split; the first that has files is used.
const TEST: [&str; 3] = ["test", "validation", "valid"];
/// Most classes of a set without class names, so that a wild label is an error and not all of memory.
const MAX_UNNAMED: i64 = 100_000;

/// The files of the two splits.
pub(super) struct Layout {
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
}

/// Whether `root` or its `data/` holds such a set; an error when a split or one of its files is missing.
pub(super) fn detect(root: &Path) -> Result<Option<Layout>> {
    for folder in [root.to_path_buf(), root.join("data")] {
        if !folder.is_dir() {
            continue;
        }
        let train = shards(&folder, "train")?;
        let mut test = Vec::new();
        for name in TEST {
            if test.is_empty() {
                test = shards(&folder, name)?;
            }
        }
        let missing = match (train.is_empty(), test.is_empty()) {
            (true, true) => continue,
            (false, false) => return Ok(Some(Layout { train, test })),
            (true, false) => "`train-*.parquet`",
            (false, true) => "`test-*.parquet`, `validation-*.parquet` or `valid-*.parquet`",
        };
        let message = format!("the other split is here, but no {missing}: a set needs both");
        return Err(Error::data(folder.display().to_string(), message));
    }
    Ok(None)
}

/// The files of split `split` in `folder`, in order; all of them when their names say how many there are.
fn shards(folder: &Path, split: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut announced = None;
    for (name, path) in entries(folder)? {
        let Some(stem) = name.strip_suffix(".parquet") else {
            continue;
        };
        if let Some(rest) = stem.strip_prefix(split)
            && (rest.is_empty() || rest.starts_with('-'))
            && path.is_file()
        {
            let of = rest.rsplit_once("-of-").and_then(|(_, n)| n.get(..5)?.parse().ok());
            announced = announced.max(of);
            found.push(path);
        }
    }
    found.sort();
    match announced {
        Some(of) if found.len() < of => {
            let message = format!("{} of {of} `{split}` files found: fetch the others", found.len());
            Err(Error::data(folder.display().to_string(), message))
        }
        _ => Ok(found),
    }
}

/// Both splits, and how many images were skipped.
///
/// # Errors
/// When a file is damaged or has other columns, the splits' classes differ, a label is out of range, or
/// an image is broken (unless skipped).
pub(super) fn load(layout: &Layout, options: &OpenOptions) -> Result<(Memory, Memory, usize)> {
    // The parquet reader meets damaged bytes here; should it panic, that is a damaged file too.
    let guarded = catch_unwind(AssertUnwindSafe(|| load_unguarded(layout, options)));
    guarded.unwrap_or_else(|_| {
        let folder = layout.train.first().and_then(|p| p.parent());
        let place = folder.unwrap_or(Path::new("")).display().to_string();
        Err(Error::data(place, "a parquet file here is damaged: fetch the set again"))
    })
}

fn load_unguarded(layout: &Layout, options: &OpenOptions) -> Result<(Memory, Memory, usize)> {
    let train = Split::open(&layout.train)?;
    let test = Split::open(&layout.test)?;
    let classes = classes(&train, &test)?;
    let (train, skipped) = train.decode(&classes, options, 0)?;
    let (test, more) = test.decode(&classes, options, 1)?;
    Ok((train, test, skipped + more))
}

/// The class names both splits agree on; without names, the numbers up to the largest training label.
fn classes(train: &Split, test: &Split) -> Result<Vec<String>> {
    let named = train.names()?;
    let test_named = test.names()?;
    if let (Some(a), Some(b)) = (named, test_named)
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
    let largest = train.labels.iter().flatten().copied().max().unwrap_or(-1);
    if largest >= MAX_UNNAMED {
        let message = format!("label {largest}: without class names, labels must be below {MAX_UNNAMED}");
        return Err(Error::data(train.place(), message));
    }
    Ok((0..=largest).map(|label| label.to_string()).collect())
}

struct Split {
    shards: Vec<Shard>,
    /// Labels of every shard's rows.
    labels: Vec<Vec<i64>>,
}

impl Split {
    fn open(paths: &[PathBuf]) -> Result<Self> {
        let shards = paths.iter().map(|p| Shard::open(p)).collect::<Result<Vec<_>>>()?;
        let labels = shards.iter().map(Shard::labels).collect::<Result<_>>()?;
        Ok(Split { shards, labels })
    }

    fn place(&self) -> String {
        self.shards.first().map_or(String::new(), |s| s.place.clone())
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

    /// All labels as class indices.
    fn checked_labels(&self, classes: usize) -> Result<Vec<usize>> {
        let mut checked = Vec::new();
        for (shard, labels) in self.shards.iter().zip(&self.labels) {
            for (row, &label) in labels.iter().enumerate() {
                let valid = usize::try_from(label).ok().filter(|l| *l < classes);
                let error = || label_error(&shard.row(row), label, classes);
                checked.push(valid.ok_or_else(error)?);
            }
        }
        Ok(checked)
    }

    fn decode(&self, classes: &[String], options: &OpenOptions, split: u64) -> Result<(Memory, usize)> {
        let labels = self.checked_labels(classes.len())?;
        let chosen = choose(&labels, options.limit, options.seed, split);
        let mut collector = Collector::new(classes.to_vec(), chosen.len(), options);
        let mut start = 0;
        for (shard, own) in self.shards.iter().zip(&self.labels) {
            let end = start + own.len();
            let rows = chosen.iter().filter(|i| (start..end).contains(i));
            let rows: Vec<usize> = rows.map(|i| i - start).collect();
            shard.images(&rows, |images| {
                let read = |(row, image): &(usize, Option<_>)| Encoded {
                    bytes: image.clone().ok_or_else(|| "the row has no image bytes".into()),
                    label: labels[start + row],
                };
                collector.add(images, read, |(row, _)| shard.row(*row))
            })?;
            start = end;
        }
        collector.finish(&self.place())
    }
}
