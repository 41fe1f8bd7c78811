//! Which parquet files are which split: by their names, or by the folders that they lie in, as the Hub and its users arrange
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::file_names::{copied, gap, unfinished};
use super::super::folder::entries;
use super::super::splits::{HOLD_OUT, TRAIN, named, words};
use crate::data::notes::{Notes, few, reason};
use crate::{Error, Result};

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
    /// What stands before that in the files' names, as `mnist` in `mnist_train.parquet`.
    set: String,
    /// Its files, in order.
    pub paths: Vec<PathBuf>,
}

/// The files of a set.
#[derive(Debug)]
pub(super) struct Layout {
    /// Training images.
    pub train: Files,
    /// Splits to test on: the first that has labels is taken.
    pub tests: Vec<Files>,
    /// Where there is none: the error of that.
    pub missing: Option<Error>,
    /// What is passed over.
    pub notes: Notes,
}

/// The set in `root`: there, in its `data/`, or in the folder of a configuration.
///
/// # Errors
/// When a split or one of its files is missing, or several configurations are there.
pub(super) fn detect(root: &Path) -> Result<Option<Layout>> {
    for folder in [root.to_path_buf(), root.join("data"), root.join(DEFAULT)] {
        if folder.is_dir()
            && let Some(mut layout) = splits(&folder)?
        {
            // Who has both has two sets, or one set twice.
            let data = root.join("data");
            if folder != data && data.is_dir() && whole(&data).is_some() {
                layout
                    .notes
                    .remark(format!("another set lies in {}: name that folder to read it", data.display()));
            }
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
        found.extend(whole(&path).map(|layout| (name, layout)));
    }
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(|(name, _)| format!("`{name}`")).collect();
        let message = format!("several sets are here, in {}: name one of these folders", names.join(", "));
        return Err(Error::data(root.display().to_string(), message));
    }
    Ok(found.pop().map(|(_, layout)| layout))
}

/// The set whose splits lie in `folder`, where it has all that are needed.
fn whole(folder: &Path) -> Option<Layout> {
    splits(folder).ok().flatten().filter(|layout| layout.missing.is_none())
}

/// What the name of a file or folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    split: &'static str,
    /// Whether the split is spelled as usual: `Train.parquet` beside `train.parquet` is another file.
    usual: bool,
    /// What stands before it.
    set: String,
    /// Whether nothing but a number stands behind it.
    plain: bool,
}

/// The set whose splits lie in `folder`, as files or in folders of their own.
fn splits(folder: &Path) -> Result<Option<Layout>> {
    let mut found: BTreeMap<&str, Vec<(Named, PathBuf)>> = BTreeMap::new();
    let (mut notes, mut lost) = (Notes::default(), None::<Error>);
    let mut listed = entries(folder)?;
    listed.sort();
    for (name, path) in &listed {
        if let Some(of) = unfinished(name).filter(|of| stem(of).is_some_and(|stem| called(stem).is_some())) {
            unended(path, of, listed.iter().any(|(name, _)| name == of), &mut notes).unwrap_or_else(
                |error| {
                    lost.get_or_insert(error);
                },
            );
            continue;
        }
        let stem = stem(name);
        let Some(named) = called(stem.unwrap_or(name)) else {
            if stem.is_some() {
                notes.skip(reason::OTHER_TABLE, || path.display().to_string());
            }
            continue;
        };
        let paths = match stem {
            Some(_) if path.is_file() => vec![path.clone()],
            Some(_) if !path.is_dir() => {
                let message = "is a link to what is not there, so a file of the set is missing: get it, or remove the link";
                lost = lost.or(Some(Error::data(path.display().to_string(), message)));
                continue;
            }
            // Some programs call a folder of files so.
            _ if path.is_dir() => within(path, &mut notes)?,
            _ => continue,
        };
        found.entry(named.split).or_default().extend(paths.into_iter().map(|path| (named.clone(), path)));
    }
    let mut take = |name: &'static str, notes: &mut Notes| -> Result<Option<Files>> {
        let Some(paths) = found.remove(name).filter(|paths| !paths.is_empty()) else {
            return Ok(None);
        };
        one_set(folder, name, paths, notes).map(Some)
    };
    let mut train = None;
    for name in TRAIN {
        let files = take(name, &mut notes)?;
        match (&train, files) {
            (None, files) => train = files,
            // Of two spellings of the split the first counts.
            (Some(_), files) => files.into_iter().for_each(|files| pass_over(&files.paths, &mut notes)),
        }
    }
    let mut tests = Vec::new();
    for name in TEST {
        tests.extend(take(name, &mut notes)?);
    }
    let error = |missing: &str, more: &str| {
        let message = format!("the other split is here, but no {missing}: a set needs both{more}");
        Error::data(folder.display().to_string(), message)
    };
    let missing = match (&train, tests.is_empty()) {
        (None, true) => return Ok(None),
        (Some(train), false) => {
            of_one_set(folder, train, &tests)?;
            None
        }
        (None, false) => Some(error("`train-*.parquet`", "")),
        (Some(_), true) => {
            let names = "`test-*.parquet`, `validation-*.parquet`, `valid-*.parquet` or `val-*.parquet`";
            Some(error(names, &format!(", {HOLD_OUT}")))
        }
    };
    match (lost, train, missing) {
        (Some(error), ..) | (None, None, Some(error)) => Err(error),
        (None, Some(train), missing) => Ok(Some(Layout { train, tests, missing, notes })),
        (None, None, None) => Ok(None),
    }
}

/// Notes a download that did not end, where the whole file is there too.
///
/// # Errors
/// When it is not.
fn unended(path: &Path, of: &str, whole: bool, notes: &mut Notes) -> Result<()> {
    if whole && !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("aria2")) {
        notes.skip(reason::UNFINISHED, || path.display().to_string());
        return Ok(());
    }
    let message =
        format!("is a download of `{of}` that did not end: fetch it again, or remove what is there of it");
    Err(Error::data(path.display().to_string(), message))
}

fn pass_over(paths: &[PathBuf], notes: &mut Notes) {
    paths.iter().for_each(|path| notes.skip(reason::OTHER_TABLE, || path.display().to_string()));
}

/// The files of one split: those that are called by it alone before those of a named set, and the usual spelling before others.
fn one_set(
    folder: &Path,
    name: &'static str,
    paths: Vec<(Named, PathBuf)>,
    notes: &mut Notes,
) -> Result<Files> {
    let alone = paths.iter().any(|(named, _)| named.set.is_empty());
    let usual = paths.iter().any(|(named, _)| named.usual && named.set.is_empty() == alone);
    let counts = |(named, _): &(Named, PathBuf)| named.set.is_empty() == alone && named.usual == usual;
    let (taken, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(counts);
    others.iter().for_each(|(_, path)| pass_over(std::slice::from_ref(path), notes));
    let path = |plain: bool| taken.iter().find(|(named, _)| named.plain == plain).map(|(_, path)| path);
    if let (Some(other), Some(plain)) = (path(false), path(true)) {
        let (other, plain) = (other.display(), plain.display());
        notes.remark(format!(
            "{other} is read as a file of the same split as {plain}: if it is of another, rename it"
        ));
    }
    let sets: BTreeSet<&str> = taken.iter().map(|(named, _)| named.set.as_str()).collect();
    if sets.len() > 1 {
        return Err(several(folder, sets));
    }
    let set = sets.into_iter().next().unwrap_or_default().to_owned();
    Ok(Files { name, set, paths: taken.into_iter().map(|(_, path)| path).collect() })
}

/// Refuses splits of sets that are called differently.
fn of_one_set(folder: &Path, train: &Files, tests: &[Files]) -> Result<()> {
    let sets: BTreeSet<&str> = tests.iter().chain([train]).map(|files| files.set.as_str()).collect();
    // Without a name it may be of any.
    match sets.iter().filter(|set| !set.is_empty()).count() {
        0 | 1 => Ok(()),
        _ => Err(several(folder, sets)),
    }
}

fn several(folder: &Path, sets: BTreeSet<&str>) -> Error {
    let message = format!(
        "files of several sets are here ({}): put each set into a folder of its own",
        few(sets.into_iter().filter(|set| !set.is_empty()))
    );
    Error::data(folder.display().to_string(), message)
}

/// A parquet file's name without its ending and that of its codec, in which capitals do not matter.
fn stem(name: &str) -> Option<&str> {
    let without = |name: &'_ str, endings: &[&str]| {
        let (stem, ending) = name.rsplit_once('.')?;
        endings.iter().any(|known| known.eq_ignore_ascii_case(ending)).then_some(stem.len())
    };
    let stem = &name[..without(name, &["parquet", "parq", "pq"])?];
    Some(
        without(stem, &["snappy", "gz", "gzip", "zstd", "zst", "brotli", "br", "lz4"])
            .map_or(stem, |n| &stem[..n]),
    )
}

/// The parquet files of a folder; those in folders below are passed over.
fn within(folder: &Path, notes: &mut Notes) -> Result<Vec<PathBuf>> {
    let (mut paths, mut folders) = (Vec::new(), Vec::new());
    for (name, path) in entries(folder)? {
        if let Some(of) = unfinished(&name).filter(|of| stem(of).is_some()) {
            unended(&path, of, folder.join(of).is_file(), notes)?;
            continue;
        }
        match stem(&name) {
            Some(_) if path.is_file() => paths.push(path),
            Some(_) if path.is_symlink() && !path.exists() => {
                let message = "is a link to what is not there, so a file of the split is missing: get it, or remove the link";
                return Err(Error::data(path.display().to_string(), message));
            }
            _ => folders.push(path),
        }
    }
    // Only of a folder of tables: one of images may have a thousand folders.
    folders.retain(|path| !paths.is_empty() && path.is_dir());
    for below in folders.iter().flat_map(|folder| entries(folder).unwrap_or_default()) {
        if stem(&below.0).is_some() {
            pass_over(&[below.1], notes);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The split that a file or folder belongs to by its name: `train`, `train-00000-of-00002`, `train_3`, `train0`,
/// `partial-train`, `mnist_train`; capitals do not matter.
fn called(name: &str) -> Option<Named> {
    let own = name.strip_prefix(PARTIAL).unwrap_or(name);
    let all: Vec<&'static str> = TRAIN.into_iter().chain(TEST).collect();
    let (at, word, split) =
        words(own).find_map(|(at, word)| named(word, &all).map(|split| (at, word, split)))?;
    let rest = &own[at + word.len()..];
    let numbered =
        |rest: &str| rest.get(1..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    // Behind a hyphen anything, as ever; else a number, since `train_metadata` is no part of the split.
    let belongs = rest.is_empty() || numbered(rest) || (at == 0 && rest.starts_with('-'));
    let set = own[..at].trim_end_matches(['-', '_', '.', ' ', '=']);
    // A folder `split=train` is of no other set.
    let set = if set.eq_ignore_ascii_case("split") { "" } else { set };
    let plain = rest.is_empty() || numbered(rest);
    belongs.then(|| Named { split, usual: word.starts_with(split), set: set.to_ascii_lowercase(), plain })
}

impl Files {
    /// Refuses a split of whose files not all are there, or some twice, when their names say how many there are.
    ///
    /// # Errors
    /// How many are missing, or which are there twice.
    pub fn complete(&self) -> Result<()> {
        let numbers = |path: &PathBuf| {
            let (before, behind) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
            let of = behind.get(..5)?.parse::<usize>().ok()?;
            Some((before.rsplit('-').next()?.parse::<usize>().ok()?, of))
        };
        let folder = self.paths.first().and_then(|path| path.parent()).unwrap_or(Path::new("."));
        let refuse = |message: String| Err(Error::data(folder.display().to_string(), message));
        let names: BTreeSet<_> = self.paths.iter().filter_map(|path| path.to_str()).collect();
        for path in &self.paths {
            let of = path.file_name().and_then(|name| copied(name.to_str()?));
            if let Some(of) =
                of.filter(|of| path.with_file_name(of).to_str().is_some_and(|of| names.contains(of)))
            {
                let message = format!(
                    "is a copy of `{of}`, by its name, whose images would be there twice: remove one"
                );
                return Err(Error::data(path.display().to_string(), message));
            }
        }
        let (mut seen, mut of) = (BTreeSet::new(), 0);
        for (number, all) in self.paths.iter().filter_map(numbers) {
            if !seen.insert((number, all)) {
                return refuse(format!(
                    "there are two files `{}` {number} of {all}: remove those of another version of the set",
                    self.name
                ));
            }
            if of > 0 && all != of {
                return refuse(format!(
                    "files `{}` of {of} and of {all} are here: remove those of another version of the set",
                    self.name
                ));
            }
            of = all;
        }
        let missing: Vec<usize> = (0..of).filter(|number| !seen.contains(&(*number, of))).take(1).collect();
        match missing.first() {
            None => Ok(()),
            Some(first) => refuse(format!(
                "{} of {of} `{}` files found, without `{:05}-of-{of:05}`: fetch the others",
                self.paths.len(),
                self.name,
                first
            )),
        }
    }

    /// What is to be said where the files' names have numbers, and one between is not there.
    fn gap(&self) -> Option<String> {
        let stems = self.paths.iter().filter_map(|path| stem(path.file_name()?.to_str()?));
        let folder = self.paths.first()?.parent()?;
        Some(gap(stems)?.said(&folder.display().to_string()))
    }

    /// What is to be said of the files.
    pub fn remarks(&self) -> Vec<String> {
        self.partial().into_iter().chain(self.gap()).collect()
    }

    /// What is to be said of a split of which the Hub holds a part only.
    fn partial(&self) -> Option<String> {
        let folder = self.paths.first()?.parent()?;
        let partial = folder.file_name()?.to_str()?.starts_with(PARTIAL);
        partial.then(|| format!("{} holds only a part of the split, as its name says", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_split() {
        let split = |name: &str| called(stem(name).unwrap_or(name)).map(|named| (named.split, named.set));
        let is = |name: &str, of: &'static str, set: &str| {
            assert_eq!(split(name), Some((of, set.to_owned())), "{name}");
        };
        for name in [
            "train.parquet",
            "train0.parquet",
            "train_3.parquet",
            "train-00000-of-00002-0123abcd.parquet",
            "Train.PARQUET",
            "train.parq",
            "train.pq",
            "train.snappy.parquet",
            "partial-train",
            "split=train",
            "trainset.parquet",
            "train.0.parquet",
        ] {
            is(name, "train", "");
        }
        is("mnist_train.parquet", "train", "mnist");
        is("cifar100-test-00000-of-00001.parquet", "test", "cifar100");
        is("my-set-val.parquet", "val", "my-set");
        for none in [
            "0000.parquet",
            "train_metadata.parquet",
            "set-train-metadata.parquet",
            "strain.parquet",
            "set.parquet",
        ] {
            assert_eq!(split(none), None, "{none}");
        }
    }
}
