//! Which archives are the shards of which split.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::file_names::{copied, gap, unfinished};
use super::super::folder::entries;
use super::super::packed::kind;
use super::super::splits::{TEST_SHARDS, TRAIN, in_name};
use crate::data::notes::{Notes, few, reason};
use crate::{Error, Result};

/// Endings of archives that are compressed otherwise than is read.
const UNREAD: [&str; 9] =
    [".tar.zst", ".tar.zstd", ".tar.xz", ".tar.bz2", ".tar.lz4", ".tar.z", ".tzst", ".txz", ".tbz2"];

/// Whether a file's name is that of an archive that is compressed otherwise than is read.
pub(in crate::data) fn is_unread(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    UNREAD.iter().any(|ending| name.ends_with(ending))
}

/// Archives of a folder, by name.
#[derive(Default)]
struct Archives {
    /// Those that can be read.
    files: Vec<(String, PathBuf)>,
    /// Those that cannot, and why.
    lost: Vec<(String, PathBuf, &'static str)>,
    /// Downloads that did not end of those that are there.
    unfinished: Vec<PathBuf>,
}

fn archives(folder: &Path) -> Result<Archives> {
    let mut found = Archives::default();
    let mut all = entries(folder)?;
    all.sort();
    let names: BTreeSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
    for (name, path) in all {
        let of = unfinished(&name).filter(|of| kind(Path::new(of)).is_some() || is_unread(of));
        let why = match kind(&path) {
            Some(_) if path.is_file() => {
                found.files.push((name, path));
                continue;
            }
            Some(_) if path.is_dir() => {
                "is a folder, where a shard is an archive: pack it again, or rename it"
            }
            Some(_) => "is a link to what is not there, so a shard is missing: get it, or remove the link",
            None if is_unread(&name) => {
                "is compressed in a way that is not read (`.tar`, `.tar.gz` and `.tgz` are): decompress it"
            }
            // What aria2 puts beside a file says that it is not whole.
            None if of.is_some_and(|of| names.contains(of))
                && !name.to_ascii_lowercase().ends_with(".aria2") =>
            {
                found.unfinished.push(path);
                continue;
            }
            None if of.is_some() => {
                "is a download that did not end, so a shard is missing: fetch it again, or remove what is there of it"
            }
            None => continue,
        };
        found.lost.push((name, path, why));
    }
    Ok(found)
}

/// Shards by their splits, which may be none.
#[derive(Default)]
pub(super) struct Shards {
    /// Those for training.
    pub train: Vec<PathBuf>,
    /// The splits to test on, in the order in which they are tried.
    pub tests: Vec<(&'static str, Vec<PathBuf>)>,
    /// What is passed over.
    pub notes: Notes,
    /// The names of the archives in the folder itself.
    pub names: Vec<String>,
}

/// The shards in a folder: by their names, or in the folders of their splits.
///
/// # Errors
/// A shard of a split that cannot be read as it is, or is there twice.
pub(super) fn shards(root: &Path) -> Result<Shards> {
    let here = archives(root)?;
    let mut shards = Shards::default();
    let mut lost: Option<Error> = None;
    for path in &here.unfinished {
        shards.notes.skip(reason::UNFINISHED, || path.display().to_string());
    }
    for split in TRAIN.into_iter().chain(TEST_SHARDS) {
        let (paths, error) = of_split(root, &here, split, &mut shards.notes)?;
        lost = lost.or(error.filter(|_| !paths.is_empty()));
        if paths.is_empty() {
            continue;
        }
        missing(&paths).into_iter().for_each(|text| shards.notes.remark(text));
        match TRAIN.contains(&split) {
            true if shards.train.is_empty() => shards.train = paths,
            true => paths
                .iter()
                .for_each(|path| shards.notes.skip(reason::OTHER_SHARD, || path.display().to_string())),
            false => shards.tests.push((split, paths)),
        }
    }
    if let Some(error) = lost {
        return Err(error);
    }
    shards.names = here.files.into_iter().map(|(name, _)| name).collect();
    Ok(shards)
}

/// The shards of a split, in order: archives whose name says so, else all in the folder of that name. Also what is wrong with
/// one of them, which counts where there are others.
fn of_split(
    root: &Path,
    here: &Archives,
    split: &str,
    notes: &mut Notes,
) -> Result<(Vec<PathBuf>, Option<Error>)> {
    let all: Vec<&str> = TRAIN.into_iter().chain(TEST_SHARDS).collect();
    let named = |name: &str| in_name(name, &all) == Some(split);
    let files: Vec<&(String, PathBuf)> = here.files.iter().filter(|(name, _)| named(name)).collect();
    let lost =
        here.lost.iter().filter(|(name, ..)| named(name)).map(|(_, path, why)| error(path, why)).next();
    let mut inside = Archives::default();
    for (name, path) in entries(root)? {
        if name.eq_ignore_ascii_case(split) && path.is_dir() {
            let within = archives(&path)?;
            inside.files.extend(within.files);
            inside.lost.extend(within.lost);
            within
                .unfinished
                .iter()
                .for_each(|path| notes.skip(reason::UNFINISHED, || path.display().to_string()));
        }
    }
    if files.is_empty() {
        once(&inside.files.iter().collect::<Vec<_>>())?;
        let lost = lost.or(inside.lost.first().map(|(_, path, why)| error(path, why)));
        return Ok((inside.files.into_iter().map(|(_, path)| path).collect(), lost));
    }
    inside.files.iter().for_each(|(_, path)| notes.skip(reason::OTHER_SHARD, || path.display().to_string()));
    once(&files)?;
    Ok((files.into_iter().map(|(_, path)| path.clone()).collect(), lost))
}

fn error(path: &Path, why: &str) -> Error {
    Error::data(path.display().to_string(), why)
}

/// What is to be said of the shards of a split: that one is missing, or that some are called otherwise.
fn missing(paths: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let stem = |path: &PathBuf| {
        let name = name(path);
        let end = [".tar", ".tgz"].iter().find_map(|ending| name.rfind(ending)).unwrap_or(name.len());
        name[..end].to_owned()
    };
    let stems: Vec<String> = paths.iter().map(stem).collect();
    let folder =
        paths.first().and_then(|path| path.parent()).map_or_else(String::new, |p| p.display().to_string());
    let gap = gap(stems.iter().map(String::as_str)).map(|gap| gap.said(&folder));
    let plain = stems.iter().position(|stem| !stem.contains(|c: char| c.is_ascii_digit()));
    let numbered = stems.iter().position(|stem| stem.contains(|c: char| c.is_ascii_digit()));
    let mixed = plain.zip(numbered).map(|(a, b)| {
        format!(
            "`{}` is read as a shard of the same split as `{}`: if it is of another, rename it",
            name(&paths[a]),
            name(&paths[b])
        )
    });
    gap.into_iter().chain(mixed).collect()
}

/// Refuses a shard that is there both packed and not, or beside a copy.
fn once(files: &[&(String, PathBuf)]) -> Result<()> {
    let stem =
        |name: &str| name.to_ascii_lowercase().replace(".tgz", ".tar.gz").trim_end_matches(".gz").to_owned();
    let there: BTreeSet<(Option<&Path>, &str)> =
        files.iter().map(|(name, path)| (path.parent(), name.as_str())).collect();
    for (at, (name, path)) in files.iter().enumerate() {
        if let Some(of) = copied(name).filter(|of| there.contains(&(path.parent(), of.as_str()))) {
            let message =
                format!("is a copy of `{of}`, by its name, whose images would be there twice: remove one");
            return Err(Error::data(path.display().to_string(), message));
        }
        let alike =
            |(other, of): &&&(String, PathBuf)| stem(other) == stem(name) && of.parent() == path.parent();
        // A copy lies next to it: names are in order.
        if let Some((other, _)) = files[..at].iter().rev().take(3).find(alike) {
            let message =
                format!("the shard is there twice ({}): remove one", few([other.as_str(), name.as_str()]));
            return Err(Error::data(path.display().to_string(), message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_that_are_not_read_are_known() {
        assert!(is_unread("a.tar.zst") && is_unread("A.TAR.XZ") && is_unread("b.tbz2"));
        assert!(!is_unread("a.tar") && !is_unread("a.tar.gz") && !is_unread("a.zst"));
    }
}
