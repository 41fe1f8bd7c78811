//! How to arrange images that lie in folders, but not as they are read.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::formats::split_folders::{Role, role};
use super::formats::splits::HOLD_OUT;
use super::formats::tree::{Disk, Entry, EntryKind, Tree, left_behind};
use super::formats::webdataset::is_unread;
use super::is_image;
use super::notes::few;

/// Folders inside a folder that are looked at, at the most.
const TRIED: usize = 8;
/// How deep images are looked for to say that there are none.
const DEEPEST: usize = 4;
/// Images whose names are looked at, at the most.
const MOST_NAMES: usize = 1000;
/// Files of a folder that are opened to see whether they are images, at the most.
const MOST_OPENED: usize = 16;
/// What is read.
const LIES: &str = "an image folder is `train/CLASS/IMAGE` and `test/CLASS/IMAGE`";
/// What is enough, where nothing says that there are splits.
const ENOUGH: &str = "make one folder per class, as `CLASS/IMAGE`, which is enough; `train/` and `test/` lie above them where \
     there are splits";
/// Files and folders that are looked at to say that there is no image, at the most.
const MOST_SEEN: usize = 4000;

type Folder = Entry<PathBuf>;

/// What to do with what lies at `path`, where it is images in some order.
pub(super) fn arranged(path: &Path) -> Option<String> {
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
    let folders: Vec<&Folder> = visible(&inside).take(TRIED).collect();
    let flat: Vec<&Folder> = folders.iter().copied().filter(|e| has_image(&e.at)).collect();
    // A class may be called as a split is, as trains among vehicles.
    let others = flat.iter().filter(|e| role(&e.name).is_none()).count();
    let tested = folders.iter().any(|e| matches!(role(&e.name), Some(Role::Test(_))));
    let split = likeliest(flat.iter().copied()).filter(|_| tested || others < 2);
    if let Some(split) = split {
        return Some(unsorted(&split.name, &split.at, &inside));
    }
    let nested: Vec<&Folder> = folders.iter().copied().filter(|e| has_class(&e.at)).collect();
    match (nested.as_slice(), flat.as_slice()) {
        ([], []) => has_image(path).then(|| {
            format!("its images lie in no folders, so they have no classes{}: {ENOUGH}", hints(path, &inside))
        }),
        ([], [one]) => Some(match is_class(one) && hints(&one.at, &inside).is_empty() {
            true => format!(
                "there is only one class (`{}`), and at least two are needed{}; where its images are of several, {ENOUGH}",
                one.name,
                beside_empty(&folders, one)
            ),
            false => unsorted(&one.name, &one.at, &inside),
        }),
        ([], classes) => Some(format!(
            "class folders ({}), but no splits: {LIES}; {}",
            few(classes.iter().map(|e| e.name.as_str())),
            split_up(&these(classes))
        )),
        ([one], _) => Some(within(one, &inside)),
        (several, _) => Some(orders(several)),
    }
}

/// The folder of training images, which train the classes, else that of test images.
fn likeliest<'e>(flat: impl Iterator<Item = &'e Folder> + Clone) -> Option<&'e Folder> {
    let training = flat.clone().find(|e| role(&e.name) == Some(Role::Train));
    training.or_else(|| flat.clone().find(|e| role(&e.name).is_some()))
}

/// Class folders that are moved; one that is called as the split has to go into itself.
fn these(classes: &[&Folder]) -> String {
    match classes.iter().any(|e| e.name.eq_ignore_ascii_case("train")) {
        true => "these folders (`train`, too, which becomes `train/train/`)".into(),
        false => "these folders".into(),
    }
}

/// Of one folder that holds folders of images.
fn within(outer: &Folder, beside: &[Folder]) -> String {
    let inside = Disk.entries(&outer.at).unwrap_or_default();
    let with_images: Vec<&Folder> = visible(&inside).filter(|e| has_image(&e.at)).collect();
    if let Some(split) = likeliest(with_images.iter().copied()) {
        return unsorted(&format!("{}/{}", outer.name, split.name), &split.at, beside);
    }
    format!(
        "class folders lie in `{}` ({}), but no splits: {LIES}; {}",
        outer.name,
        few(with_images.iter().map(|e| e.name.as_str())),
        split_up("them")
    )
}

/// Of several folders that hold folders of images.
fn orders(folders: &[&Folder]) -> String {
    let split_of = |folder: &Folder| {
        let inside = Disk.entries(&folder.at).unwrap_or_default();
        let split =
            visible(&inside).find(|e| role(&e.name).is_some() && has_image(&e.at)).map(|e| e.name.clone());
        Some(format!("{}/{}", folder.name, split?))
    };
    let turned: Vec<String> = folders.iter().filter_map(|folder| split_of(folder)).collect();
    if turned.len() == folders.len() {
        return format!(
            "the splits lie inside of the class folders ({}): {LIES}, the other way round; move each `CLASS/SPLIT` to `SPLIT/CLASS`",
            few(turned.iter().map(String::as_str))
        );
    }
    format!(
        "class folders lie in {}: {LIES}; rename the folder of the training images to `train/` and that of the test images to \
         `test/`",
        few(folders.iter().map(|e| e.name.as_str()))
    )
}

/// How splits are made.
fn split_up(which: &str) -> String {
    format!(
        "move {which} into `train/`, and some images of every class, as each fifth, from there into `test/CLASS/`, {HOLD_OUT}"
    )
}

/// Of a folder of images without classes.
fn unsorted(name: &str, at: &Path, beside: &[Folder]) -> String {
    let split = role(name.rsplit('/').next().unwrap_or(name)).is_some();
    let advice = match split {
        true => format!("{LIES}; move them into one folder per class"),
        false => ENOUGH.to_owned(),
    };
    format!(
        "the images in `{name}/` lie in no class folders, so they have no labels{}: {advice}",
        hints(at, beside)
    )
}

/// That the folders at `path` hold no images at all, as after an archive that was not unpacked; nothing where there are no
/// folders, or one may hold some.
pub(super) fn without_images(path: &Path) -> Option<String> {
    let inside = Disk.entries(&path.to_path_buf()).ok()?;
    let folders: Vec<&Folder> = visible(&inside).collect();
    let mut left = MOST_SEEN;
    let empty = folders.iter().all(|folder| lacks_images(&folder.at, DEEPEST, &mut left));
    let names = few(folders.iter().map(|e| e.name.as_str()));
    match folders.as_slice() {
        _ if !empty => None,
        [] => None,
        [_] => Some(format!("the folder {names} holds no images; put them there, in one folder per class")),
        _ => Some(format!("the folders {names} hold no images; put those of each class into its folder")),
    }
}

/// The folders beside one that hold no images, in words.
fn beside_empty(folders: &[&Folder], one: &Folder) -> String {
    let mut left = MOST_SEEN;
    let mut empty: Vec<&str> = Vec::new();
    for folder in folders.iter().filter(|e| e.name != one.name) {
        if lacks_images(&folder.at, DEEPEST, &mut left) {
            empty.push(&folder.name);
        }
    }
    if empty.is_empty() { String::new() } else { format!(" (no image lies in {})", few(empty)) }
}

/// Whether it is certain that no image lies in a folder, or up to so many folders below it.
fn lacks_images(folder: &Path, depth: usize, left: &mut usize) -> bool {
    let Ok(inside) = Disk.entries(&folder.to_path_buf()) else { return false };
    *left = left.saturating_sub(inside.len() + 1);
    if *left == 0 || has_image(folder) {
        return false;
    }
    visible(&inside).all(|below| depth > 0 && lacks_images(&below.at, depth - 1, left))
}

/// Whether a folder that stands alone is called like a class: not like a split, nor like images of any kind.
fn is_class(folder: &Folder) -> bool {
    const ANY: [&str; 11] = [
        "images",
        "image",
        "imgs",
        "img",
        "jpegimages",
        "jpg",
        "photos",
        "pictures",
        "data",
        "dataset",
        "all",
    ];
    role(&folder.name).is_none() && !ANY.iter().any(|any| any.eq_ignore_ascii_case(&folder.name))
}

/// What may tell the classes of the images in a folder: lists and notes beside it, or the images' own names.
fn hints(at: &Path, beside: &[Folder]) -> String {
    let detection = |e: &&Folder| {
        e.kind == EntryKind::Folder
            && ["labels", "annotations"].iter().any(|n| n.eq_ignore_ascii_case(&e.name))
    };
    let list = |e: &&Folder| {
        let ending = Path::new(&e.name).extension().map(|ending| ending.to_ascii_lowercase());
        e.kind == EntryKind::File && ending.is_some_and(|ending| ending == "csv" || ending == "tsv")
    };
    if let Some(folder) = beside.iter().find(detection) {
        return format!(
            " (`{}/` beside them is as object detection has it, which is not trained here)",
            folder.name
        );
    }
    let inside = Disk.entries(&at.to_path_buf()).unwrap_or_default();
    if let Some(list) = inside.iter().find(list) {
        return format!(" (`{}` among them may say which class each is of)", list.name);
    }
    if let Some(list) = beside.iter().find(list) {
        return format!(" (`{}` beside them may say which class each is of)", list.name);
    }
    let begins = beginnings(at);
    if begins.len() > 1 {
        return format!(
            " (their names begin with {}, which may be the classes)",
            few(begins.iter().map(String::as_str))
        );
    }
    String::new()
}

/// The words that images' names begin with, where each is there several times, as `cat` in `cat.0.jpg`.
fn beginnings(folder: &Path) -> Vec<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let images = names.map(|name| name.to_string_lossy().into_owned()).filter(|name| is_image::by_name(name));
    for name in images.take(MOST_NAMES) {
        let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
        let word: String = stem.chars().take_while(|c| c.is_alphabetic()).collect();
        *times.entry(word).or_default() += 1;
    }
    // Else they are names of the images alone.
    if times.values().any(|n| *n < 2) || times.contains_key("") || times.len() > TRIED * TRIED {
        return Vec::new();
    }
    times.into_keys().collect()
}

fn visible(entries: &[Folder]) -> impl Iterator<Item = &Folder> {
    entries.iter().filter(|e| e.kind == EntryKind::Folder && !left_behind(&e.name))
}

fn is_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".tar") || name.ends_with(".tar.gz") || name.ends_with(".tgz")
}

/// Whether an image lies in a folder: by its name, or, among the first few files, by its content.
fn has_image(folder: &Path) -> bool {
    let files = || std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: &DirEntry| entry.file_name().to_string_lossy().into_owned();
    let by_content = |entry: &DirEntry| {
        !left_behind(&name(entry)) && entry.path().is_file() && is_image::file_by_content(&entry.path())
    };
    files().any(|entry| is_image::by_name(&name(&entry)))
        || files().take(MOST_OPENED).any(|entry| by_content(&entry))
}

/// Whether a folder has a folder with an image.
fn has_class(folder: &Path) -> bool {
    let inside = Disk.entries(&folder.to_path_buf()).unwrap_or_default();
    visible(&inside).take(TRIED).any(|e| has_image(&e.at))
}
