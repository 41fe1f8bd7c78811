//! Hugging Face parquet sets: `train-*.parquet` and `test-*.parquet` with an encoded image and a label
//! per row, as the `datasets` library and the Hub write them.

mod schema;
mod shard;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::stored::{Content, Images, Raw, Scan, Stored};
use super::folder::entries;
use super::names::numbered;
use super::{Format, Pair};
use crate::{Error, Result};
use ::parquet::data_type::ByteArray;
use shard::Shard;

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "Hugging Face parquet",
    layout: "a folder with `train-*.parquet` and `test-*.parquet` (or `validation-*`, `valid-*`), also inside `data/`",
    open,
};

/// Names of the test split; the first that has files is used.
const TEST: [&str; 3] = ["test", "validation", "valid"];

/// The files of the two splits.
struct Layout {
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
}

/// Whether `root` or its `data/` holds such a set; an error when a split or one of its files is missing.
fn detect(root: &Path) -> Result<Option<Layout>> {
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

fn open(path: &Path) -> Result<Option<Pair>> {
    let Some(layout) = detect(path)? else {
        return Ok(None);
    };
    let folder = layout.train.first().and_then(|p| p.parent()).unwrap_or(path).to_path_buf();
    guarded(&folder, || {
        let (train, test) = (Split::open(&layout.train)?, Split::open(&layout.test)?);
        let classes = classes(&train, &test)?;
        Ok(Some(Pair { train: train.stored(classes.clone())?, test: test.stored(classes)?, known: None }))
    })
}

/// The parquet reader meets damaged bytes in `work`; should it panic, that is a damaged file too.
fn guarded<T>(place: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "a parquet file here is damaged: fetch the set again";
        Err(Error::data(place.display().to_string(), message))
    })
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
    numbered(&train.place(), train.labels.iter().flatten().copied())
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

    fn stored(self, classes: Vec<String>) -> Result<Stored> {
        let place = self.place();
        let mut starts = vec![0];
        for labels in &self.labels {
            starts.push(starts.last().unwrap_or(&0) + labels.len());
        }
        let labels: Vec<i64> = self.labels.concat();
        let rows = Rows { shards: self.shards, starts };
        Stored::new(place, classes, labels, Images::Ordered(Arc::new(rows)))
    }
}

/// The rows of all shards, one after the other.
struct Rows {
    shards: Vec<Shard>,
    /// The first row of every shard, and the number of all.
    starts: Vec<usize>,
}

impl Scan for Rows {
    fn name(&self, index: usize) -> String {
        let shard = self.starts.partition_point(|start| *start <= index).saturating_sub(1);
        self.shards.get(shard).map_or_else(String::new, |s| s.row(index - self.starts[shard]))
    }

    fn scan(&self, indices: &[usize], each: &mut dyn FnMut(Vec<Raw>) -> Result<()>) -> Result<()> {
        for (shard, bounds) in self.shards.iter().zip(self.starts.windows(2)) {
            let first = indices.partition_point(|i| *i < bounds[0]);
            let last = indices.partition_point(|i| *i < bounds[1]);
            let rows: Vec<usize> = indices[first..last].iter().map(|i| i - bounds[0]).collect();
            guarded(Path::new(&shard.place), || {
                shard.images(&rows, |images| {
                    let raw = |(row, image): &(usize, Option<_>)| raw(bounds[0] + row, image.as_ref());
                    each(images.iter().map(raw).collect())
                })
            })?;
        }
        Ok(())
    }
}

fn raw(index: usize, image: Option<&ByteArray>) -> Raw {
    match image {
        Some(bytes) => Raw { index, content: Ok(Content::Encoded), bytes: bytes.data().to_vec() },
        None => Raw { index, content: Err("the row has no image bytes".into()), bytes: Vec::new() },
    }
}
