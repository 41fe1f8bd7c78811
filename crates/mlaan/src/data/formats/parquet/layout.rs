//! Which parquet files are which split: by their names, or by the folders that they lie in, as the Hub and its users arrange
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::folder::entries;
use crate::{Error, Result};

/// Names of the training split.
const TRAIN: [&str; 2] = ["train", "training"];
/// Names of splits to test on, in the order in which they are taken.
const TEST: [&str; 8] = ["test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"];
/// Of a split that is there in part only the Hub says so.
const PARTIAL: &str = "partial-";
/// Folders that are tried for configurations, at the most: folders of images may have thousands.
const TRIED: usize = 64;
/// The configuration that is taken where there are several.
const DEFAULT: &str = "default";

/// Files of one split.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// What it is called there.
    pub name: &'static str,
    /// Its files, in order.
    pub paths: Vec<PathBuf>,
}

/// The files of a set.
#[derive(Debug)]
pub(super) struct Layout {
    /// Training images.
    pub train: Files,
    /// Splits to test on: the first that has labels is taken. There is one at least.
    pub tests: Vec<Files>,
}

/// The set in `root`: there, in its `data/`, or in the folder of a configuration.
///
/// # Errors
/// When a split or one of its files is missing, or several configurations are there.
pub(super) fn detect(root: &Path) -> Result<Option<Layout>> {
    for folder in [root.to_path_buf(), root.join("data"), root.join(DEFAULT)] {
        if folder.is_dir()
            && let Some(layout) = splits(&folder)?
        {
            return Ok(Some(layout));
        }
    }
    configuration(root)
}

/// The set in the only folder of `root` that has one.
fn configuration(root: &Path) -> Result<Option<Layout>> {
    if !root.is_dir() {
        return Ok(None);
    }
    let mut found: Vec<(String, Layout)> = Vec::new();
    let mut folders = entries(root)?;
    folders.retain(|(name, path)| path.is_dir() && called(name).is_none());
    folders.sort();
    if folders.len() > TRIED {
        return Ok(None);
    }
    for (name, path) in folders {
        // A set may lie beside another that is incomplete.
        if let Ok(Some(layout)) = splits(&path) {
            found.push((name, layout));
        }
    }
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(|(name, _)| format!("`{name}`")).collect();
        let message = format!("several sets are here, in {}: name one of these folders", names.join(", "));
        return Err(Error::data(root.display().to_string(), message));
    }
    Ok(found.pop().map(|(_, layout)| layout))
}

/// The set whose splits lie in `folder`, as files or in folders of their own.
fn splits(folder: &Path) -> Result<Option<Layout>> {
    let mut found: BTreeMap<&str, Vec<(bool, PathBuf)>> = BTreeMap::new();
    let mut listed = entries(folder)?;
    listed.sort();
    for (name, path) in &listed {
        let stem = stem(name);
        let Some(split) = called(stem.unwrap_or(name)) else {
            continue;
        };
        let paths = match stem {
            Some(_) if path.is_file() => vec![path.clone()],
            None if path.is_dir() => within(path)?,
            _ => continue,
        };
        // The usual spelling goes before others: `Train.parquet` beside `train.parquet` is another file.
        let usual = name.strip_prefix(PARTIAL).unwrap_or(name).starts_with(split);
        found.entry(split).or_default().extend(paths.into_iter().map(|path| (usual, path)));
    }
    let mut take = |name: &&'static str| {
        let mut paths = found.remove(name).filter(|paths| !paths.is_empty())?;
        if paths.iter().any(|(usual, _)| *usual) {
            paths.retain(|(usual, _)| *usual);
        }
        let paths = paths.into_iter().map(|(_, path)| path).collect();
        Some(Files { name, paths })
    };
    let (train, tests) =
        (TRAIN.iter().find_map(&mut take), TEST.iter().filter_map(&mut take).collect::<Vec<_>>());
    let missing = match (train, tests.is_empty()) {
        (None, true) => return Ok(None),
        (Some(train), false) => return Ok(Some(Layout { train, tests })),
        (None, false) => "`train-*.parquet`",
        (Some(_), true) => "`test-*.parquet`, `validation-*.parquet`, `valid-*.parquet` or `val-*.parquet`",
    };
    let message = format!("the other split is here, but no {missing}: a set needs both");
    Err(Error::data(folder.display().to_string(), message))
}

/// A parquet file's name without its ending, in which capitals do not matter.
fn stem(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit_once('.')?;
    ending.eq_ignore_ascii_case("parquet").then_some(stem)
}

/// The parquet files of a folder.
fn within(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = entries(folder)?.into_iter().filter(|(name, path)| stem(name).is_some() && path.is_file());
    let mut paths: Vec<PathBuf> = files.map(|(_, path)| path).collect();
    paths.sort();
    Ok(paths)
}

/// The split that a file or folder belongs to by its name: `train`, `train-00000-of-00002`, `train_3`, `partial-train`;
/// capitals do not matter.
fn called(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix(PARTIAL).unwrap_or(name);
    let end = name.find(['-', '_', '.']).unwrap_or(name.len());
    let (split, rest) = name.split_at(end);
    // Behind a hyphen anything, as ever; else a number, since `train_metadata` is no part of the split.
    let belongs =
        rest.is_empty() || rest.starts_with('-') || rest[1..].starts_with(|c: char| c.is_ascii_digit());
    TRAIN.into_iter().chain(TEST).find(|known| belongs && known.eq_ignore_ascii_case(split))
}

impl Files {
    /// Refuses a split of whose files not all are there, when their names say how many there are.
    ///
    /// # Errors
    /// How many are missing.
    pub fn complete(&self) -> Result<()> {
        let announced = |path: &PathBuf| {
            let stem = path.file_stem()?.to_str()?;
            stem.rsplit_once("-of-").and_then(|(_, n)| n.get(..5)?.parse::<usize>().ok())
        };
        let of = self.paths.iter().filter_map(announced).max().unwrap_or(0);
        if self.paths.len() >= of {
            return Ok(());
        }
        let folder = self.paths.first().and_then(|path| path.parent()).unwrap_or(Path::new("."));
        let message = format!("{} of {of} `{}` files found: fetch the others", self.paths.len(), self.name);
        Err(Error::data(folder.display().to_string(), message))
    }

    /// What is to be said of a split of which the Hub holds a part only.
    pub fn partial(&self) -> Option<String> {
        let folder = self.paths.first()?.parent()?;
        let partial = folder.file_name()?.to_str()?.starts_with(PARTIAL);
        partial.then(|| format!("{} holds only a part of the split, as its name says", folder.display()))
    }
}
