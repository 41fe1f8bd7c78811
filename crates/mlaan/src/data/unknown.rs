//! What to say of a path at which no data set lies: what is there, and where one may be meant.

use std::path::{Path, PathBuf};

use super::download::{PUBLISHED, Published};
use super::formats::folder::entries;
use super::formats::splits::{TEST, TRAIN};
use super::formats::tree::{Disk, Kind, Tree, left_behind};
use super::formats::webdataset::is_unread;
use super::notes::few;
use super::{BUILTIN, formats, is_image};
use crate::Result;
use crate::recipe::spelling::nearest;

/// Folders inside a folder that are tried, at the most.
const TRIED: usize = 8;
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
        None => match path.is_dir().then(|| arranged(path)).flatten() {
            Some(advice) => format!("{about}; {advice}"),
            None => format!("{about}; {}", known()),
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
    let inside = if path.is_dir() { entries(path).unwrap_or_default() } else { Vec::new() };
    let folders = inside.into_iter().map(|(_, path)| path).filter(|path| path.is_dir()).take(TRIED);
    let found = |path: PathBuf| {
        let (format, _) = formats::open(&path).ok().flatten()?;
        Some((path, format.name))
    };
    above.into_iter().chain(folders).find_map(found)
}

/// Whether a folder is called like a split.
fn is_split(name: &str) -> bool {
    TRAIN.iter().chain(&TEST).any(|split| split.eq_ignore_ascii_case(name))
}

/// How to arrange images that lie in folders, but not as they are read.
fn arranged(path: &Path) -> Option<String> {
    let inside = Disk.entries(&path.to_path_buf()).ok()?;
    let archives: Vec<&str> =
        inside.iter().map(|e| e.name.as_str()).filter(|name| is_archive(name)).collect();
    if archives.len() > 1 {
        return Some(format!(
            "the names of its archives ({}) do not say which are for training: call WebDataset shards `train-0000.tar` and \
             `test-0000.tar` (or `val-`), or put them into `train/` and `test/`",
            few(archives)
        ));
    }
    let unread: Vec<&str> = inside.iter().map(|e| e.name.as_str()).filter(|name| is_unread(name)).collect();
    if !unread.is_empty() {
        return Some(format!(
            "its archives ({}) are compressed in a way that is not read: decompress them, or pack them as `.tar` or `.tar.gz`",
            few(unread)
        ));
    }
    let folders: Vec<_> =
        inside.iter().filter(|e| e.kind == Kind::Folder && !left_behind(&e.name)).take(TRIED).collect();
    let with_images: Vec<&str> =
        folders.iter().filter(|e| has_image(&e.at)).map(|e| e.name.as_str()).collect();
    let with_classes: Vec<&str> =
        folders.iter().filter(|e| has_class(&e.at)).map(|e| e.name.as_str()).collect();
    let lies = "an image folder is `train/CLASS/IMAGE` and `test/CLASS/IMAGE`";
    if let Some(split) = with_images.iter().find(|name| is_split(name)) {
        return Some(format!(
            "the images in `{split}/` lie in no class folders, so they have no labels: {lies}; move them into one folder per class"
        ));
    }
    match (with_classes.as_slice(), with_images.as_slice()) {
        ([], []) => has_image(path).then(|| {
            format!("its images lie in no folders, so they have no classes: {lies}; make both, with one folder per class")
        }),
        ([], classes) => Some(format!(
            "class folders ({}), but no splits: {lies}; move these folders into `train/`, and some images of every class, as \
             each fifth, from there into `test/CLASS/`",
            few(classes.iter().copied())
        )),
        (splits, _) => Some(format!(
            "class folders lie in {}: {lies}; rename the folder of the training images to `train/` and that of the test \
             images to `test/`",
            few(splits.iter().copied())
        )),
    }
}

fn is_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".tar") || name.ends_with(".tar.gz") || name.ends_with(".tgz")
}

/// Whether an image lies in a folder.
fn has_image(folder: &Path) -> bool {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| is_image::by_name(&name.to_string_lossy()))
}

/// Whether a folder has a folder with an image.
fn has_class(folder: &Path) -> bool {
    let inside = Disk.entries(&folder.to_path_buf()).unwrap_or_default().into_iter();
    inside.filter(|e| e.kind == Kind::Folder && !left_behind(&e.name)).take(TRIED).any(|e| has_image(&e.at))
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
