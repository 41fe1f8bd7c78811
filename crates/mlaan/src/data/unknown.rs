//! What to say of a path at which no data set lies: what is there, and where one may be meant.

use std::path::{Path, PathBuf};

use super::arranged::{arranged, without_images};
use super::download::{PUBLISHED, Published};
use super::foreign::foreign;
use super::formats::folder::entries;
use super::formats::splits::{TEST, TRAIN};
use super::{BUILTIN, formats};
use crate::Result;
use crate::text::nearest;

/// Folders inside a folder that are tried, at the most.
const TRIED: usize = 8;
/// How deep a set is looked for in folders that lie around one another.
const DEEPEST: usize = 4;
/// Names of what lies in a folder that are listed.
const LISTED: usize = 6;

/// What is wrong with a path, and what to do.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn message(source: &str, path: &Path) -> Result<String> {
    if !path.exists() {
        return Ok(format!("no such file or folder; {}", fetched(source).unwrap_or_else(|| fetchable(path))));
    }
    let about = match path.is_dir() {
        true => format!("no known data set here (found {})", contents(path)?),
        false => about_file(path).to_owned(),
    };
    Ok(match near(path) {
        Some((near, form)) => format!("{about}; {} is one ({form}): name it", near.display()),
        None => match path.is_dir().then(|| arranged(path).or_else(|| foreign(path))).flatten() {
            Some(advice) => format!("{about}; {advice}"),
            None => match path.is_dir().then(|| without_images(path)).flatten() {
                Some(empty) => format!("no images here (found {}): {empty}; {}", contents(path)?, known()),
                None => format!("{about}; {}", known()),
            },
        },
    })
}

/// Where a set of this name is, or how to get it.
fn fetched(source: &str) -> Option<String> {
    let usual = Path::new("data").join(source);
    Published::named(source)?;
    let usual = usual.display();
    Some(match Path::new("data").join(source).exists() {
        true => format!("{usual} is there: name it so"),
        false => format!("`mlaan data download {source}` fetches it into {usual}"),
    })
}

/// What can be had instead of a path at which nothing lies.
fn fetchable(path: &Path) -> String {
    let names: Vec<&str> = PUBLISHED.iter().map(|set| set.name).collect();
    let said = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let near = nearest(&said, names.iter().copied(), 1);
    let which = near.first().map_or("NAME", |n| *n);
    let of = if near.is_empty() { format!(" ({})", names.join(", ")) } else { String::new() };
    format!("`{BUILTIN}` is the built-in set, `mlaan data download {which}` fetches one{of}")
}

/// A set just above or below a path, and its form.
fn near(path: &Path) -> Option<(PathBuf, &'static str)> {
    let name = path.file_name().and_then(|n| n.to_str());
    let above = (path.is_file() || name.is_some_and(is_split)).then(|| path.parent()).flatten();
    // Of a single name it is the folder where the command runs.
    let above = above.map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }.to_owned());
    let found = |path: PathBuf| {
        let (format, _) = formats::open(&path).ok().flatten().filter(|(_, parts)| parts.test.is_ok())?;
        Some((path, format.name))
    };
    if let Some(above) = above.and_then(found) {
        return Some(above);
    }
    // Folders around one another are looked through as long as there is one only.
    let mut outer = path.to_owned();
    for _ in 0..DEEPEST {
        let inside = if outer.is_dir() { entries(&outer).unwrap_or_default() } else { Vec::new() };
        let mut folders: Vec<PathBuf> =
            inside.into_iter().map(|(_, path)| path).filter(|p| p.is_dir()).collect();
        folders.sort();
        folders.truncate(TRIED);
        if let Some(inner) = folders.iter().cloned().find_map(found) {
            return Some(inner);
        }
        match folders.as_slice() {
            [one] => outer.clone_from(one),
            _ => break,
        }
    }
    None
}

/// Whether a folder is called like a split.
fn is_split(name: &str) -> bool {
    TRAIN.iter().chain(&TEST).any(|split| split.eq_ignore_ascii_case(name))
}

/// What can be read.
fn known() -> String {
    let names: Vec<&str> = formats::FORMATS.iter().map(|f| f.name).collect();
    format!(
        "known are {}, and `{BUILTIN}`; `mlaan data inspect --help` says how files of each are called",
        names.join("; ")
    )
}

/// What lies where each kind of data set does, in the order in which they are tried.
pub fn layouts() -> Vec<&'static str> {
    formats::FORMATS.iter().map(|f| f.layout).collect()
}

fn about_file(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("parquet") => "this is one file of a set: name the folder that holds it",
        Some("zip" | "zst" | "xz" | "bz2" | "7z") => "archives of this kind are not read: unpack it",
        Some("tar" | "tgz") => "this archive holds no known data set",
        Some("gz") if path.to_string_lossy().ends_with(".tar.gz") => "this archive holds no known data set",
        _ => "this is one file, and no data set by itself",
    }
}

/// A few names of what lies in a folder.
fn contents(path: &Path) -> Result<String> {
    let mut names: Vec<String> = entries(path)?
        .into_iter()
        .map(|(name, path)| if path.is_dir() { name + "/" } else { name })
        .collect();
    names.sort();
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let listed = names.join(", ");
    Ok(match (names.is_empty(), more) {
        (true, _) => "nothing".into(),
        (_, 0) => listed,
        _ => format!("{listed} and {more} more"),
    })
}
