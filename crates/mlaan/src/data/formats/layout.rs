//! Where the splits and classes of an image folder lie, on disk or in an archive.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use super::super::notes::{Notes, few, reason};
use super::beside::beside;
use super::class_names::{class, look_alike, mistaken, told_apart};
use super::enclosed::{classes_in, has_images as has_images_below};
use super::listed::Listed;
use super::split_folders::{self, is_validation, splits};
use super::splits::{HOLD_OUT, TEST_FOLDERS};
use super::tree::{Entry, EntryKind, Tree, class_folders, images_below};
use super::val_annotations;
use crate::{Error, Result};

/// How deep images may lie below their class folder.
const DEPTH: usize = 8;

/// Folders of a split by the class they stand for.
type Folders<At> = BTreeMap<String, Vec<Entry<At>>>;

/// The splits of a set.
pub(super) struct Splits<At> {
    /// Training images.
    pub train: Listed<At>,
    /// Test images, or why there is no such split.
    pub test: Result<Listed<At>>,
    /// Validation images beside the test images, or what is wrong with them.
    pub validation: Option<Result<Listed<At>>>,
}

/// The image folder `root`; nothing where no split there has class folders.
///
/// # Errors
/// No training split, a class without training images, a test class that is not trained.
pub(super) fn open<T: Tree>(tree: &T, root: &T::At) -> Result<Option<Splits<T::At>>> {
    let entries = tree.entries(root)?;
    let split_folders::Splits { train: ours, test: theirs } = splits(tree, &entries)?;
    let mut train = None;
    for folder in &ours {
        if train.is_none() && has_classes(tree, &folder.at)? {
            train = Some(folder);
        }
    }
    let Some(train_folder) = train else {
        for folder in &theirs {
            if has_classes(tree, &folder.at)? {
                let found = siblings(&entries);
                let message = format!(
                    "found class folders in `{}/`, but none in `train/` (found {found}): an image folder needs both, \
                     with one subfolder per class; rename the folder of the training images to `train/`",
                    folder.name
                );
                return Err(Error::data(tree.place(root), message));
            }
        }
        return Ok(None);
    };
    let mut around = vec![tree.real(root)];
    let classes = classes_in(tree, &train_folder.at, None)?;
    let (mut listed, keys) = trained(tree, &classes, &mut around)?;
    if tree.real(&classes) != tree.real(&train_folder.at) {
        listed
            .notes
            .remark(format!("classes are the folders in {}, which lies around all of them", listed.place));
    }
    let mut train = listed;
    let used = |name: &str| theirs.iter().chain([train_folder]).any(|folder| folder.name == name);
    beside(tree, root, &entries, &used, &mut train.notes);
    if theirs.is_empty() {
        let message = format!(
            "found class folders in `{}/`, but no class folders in {TEST_FOLDERS} (found {}): an image folder needs a test split; \
             rename the one that is meant, or move some images of every class into `test/CLASS/`, {HOLD_OUT}",
            train_folder.name,
            siblings(&entries)
        );
        let missing = Error::data(tree.place(root), message);
        return Ok(Some(Splits { train, test: Err(missing), validation: None }));
    }
    let (name, test) = match tested(tree, &theirs, (&keys, &train), &mut around)? {
        Ok(found) => found,
        Err(missing) => return Ok(Some(Splits { train, test: Err(missing), validation: None })),
    };
    let others: Vec<&Entry<T::At>> = theirs.iter().filter(|e| is_validation(&e.name)).collect();
    let validation = match is_validation(&name) {
        true => None,
        false => validated(tree, &others, (&keys, &mut train), &mut around),
    };
    Ok(Some(Splits { train, test: Ok(test), validation }))
}

/// Class folders in `root` without splits, and the error of a set that has none; nothing where there are not several classes.
///
/// # Errors
/// A class without images.
pub(super) fn flat<T: Tree>(tree: &T, root: &T::At) -> Result<Option<(Listed<T::At>, Error)>> {
    let at = classes_in(tree, root, None)?;
    let mut with_images = 0;
    for folder in class_folders(tree, &at, &mut Notes::default())? {
        with_images += usize::from(has_images_below(tree, &folder.at)?);
    }
    if with_images < 2 {
        return Ok(None);
    }
    let (train, _) = trained(tree, &at, &mut vec![tree.real(root)])?;
    let missing =
        Error::data(tree.place(root), format!("class folders, but no splits: make these, {HOLD_OUT}"));
    Ok(Some((train, missing)))
}

/// Whether there is an image in a class folder of the training split in `root`. Nothing is said of what cannot be read:
/// who reads it says so.
pub(super) fn has_images<T: Tree>(tree: &T, root: &T::At) -> bool {
    let Ok(split_folders::Splits { train, .. }) =
        tree.entries(root).and_then(|entries| splits(tree, &entries))
    else {
        return false;
    };
    let within = |split: &Entry<T::At>| {
        let folders = class_folders(tree, &split.at, &mut Notes::default()).unwrap_or_default();
        let mut above = vec![tree.real(root), tree.real(&split.at)];
        folders.iter().any(|folder| {
            let (mut images, mut notes, mut visited) = (Vec::new(), Notes::default(), HashSet::new());
            let walk = (DEPTH, &mut above, &mut visited);
            images_below(tree, &folder.at, walk, (&mut images, &mut notes)).is_ok() && !images.is_empty()
        })
    };
    train.iter().any(within)
}

fn has_classes<T: Tree>(tree: &T, at: &T::At) -> Result<bool> {
    Ok(!class_folders(tree, at, &mut Notes::default())?.is_empty())
}

/// What lies beside a split.
fn siblings<At>(entries: &[Entry<At>]) -> String {
    let folders: Vec<&str> =
        entries.iter().filter(|e| e.kind == EntryKind::Folder).map(|e| e.name.as_str()).collect();
    few(folders)
}

/// Folders of a split by the class they stand for: `café` may be written in two ways, and is one class.
fn by_class<T: Tree>(tree: &T, at: &T::At, notes: &mut Notes) -> Result<Folders<T::At>> {
    let mut classes: Folders<T::At> = BTreeMap::new();
    for folder in class_folders(tree, at, notes)? {
        let name = class(&folder.name);
        if name != folder.name {
            let text = "is written with accents as characters of their own, as a Mac does, and read as the same name without";
            notes.remark(format!("the name of {} {text}", tree.place(&folder.at)));
        }
        classes.entry(name).or_default().push(folder);
    }
    for (name, _) in classes.iter().filter(|(_, folders)| folders.len() > 1) {
        let text = "whose names differ only in how Unicode writes their accents are read as the one class";
        notes.remark(format!("folders in {} {text} `{name}`", tree.place(at)));
    }
    Ok(classes)
}

/// The folders of all classes, behind all links.
fn reals<T: Tree>(tree: &T, classes: &Folders<T::At>) -> HashSet<PathBuf> {
    classes.values().flatten().map(|folder| tree.real(&folder.at)).collect()
}

/// Those of `all` that are not `own`: a link to one of them within a class would give its images another label. A class
/// that is itself a link to another one is what it is called, as it would be to a reader of the folder.
fn others<T: Tree>(tree: &T, all: &HashSet<PathBuf>, own: &[Entry<T::At>]) -> HashSet<PathBuf> {
    let own: HashSet<PathBuf> = own.iter().map(|folder| tree.real(&folder.at)).collect();
    all.difference(&own).cloned().collect()
}

/// The training images of the class folders in `at`, and the folders' names as they are matched (classes that would look
/// the same are called otherwise).
///
/// # Errors
/// When a class has no image.
pub(super) fn trained<T: Tree>(
    tree: &T,
    at: &T::At,
    above: &mut Vec<PathBuf>,
) -> Result<(Listed<T::At>, Vec<String>)> {
    let mut notes = Notes::default();
    let classes = by_class(tree, at, &mut notes)?;
    let (mut images, mut labels, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    above.push(tree.real(at));
    let all = reals(tree, &classes);
    for (label, (key, folders)) in (0..).zip(classes) {
        let (before, mut skipped) = (images.len(), Notes::default());
        let mut visited = others(tree, &all, &folders);
        for folder in &folders {
            let walk = (DEPTH, &mut *above, &mut visited);
            images_below(tree, &folder.at, walk, (&mut images, &mut skipped))?;
        }
        if let (true, Some(folder)) = (images.len() == before, folders.first()) {
            return Err(without_images(tree.place(&folder.at), &skipped));
        }
        notes.append(skipped);
        labels.resize(images.len(), label);
        keys.push(key);
    }
    above.pop();
    of_parts(&keys, &mut notes);
    let classes = told_apart(keys.clone());
    Ok((Listed { place: tree.place(at), classes, images, labels, notes }, keys))
}

/// Says that classes are called as the parts of a set for segmentation are: the classes may lie below these.
fn of_parts(keys: &[String], notes: &mut Notes) {
    const PARTS: [&str; 13] = [
        "mask",
        "masks",
        "annotation",
        "annotations",
        "label",
        "labels",
        "seg",
        "segmentation",
        "segmentations",
        "gt",
        "groundtruth",
        "ground_truth",
        "depth",
    ];
    let part = |key: &&String| PARTS.iter().any(|known| known.eq_ignore_ascii_case(key));
    let images = keys.iter().find(|key| is_around_images(key));
    if let (Some(images), Some(part)) = (images, keys.iter().find(part)) {
        notes.remark(format!(
            "`{images}` and `{part}` are read as classes, by their folders: if they are parts of one set, keep the classes of \
             `{images}/` alone"
        ));
    }
}

fn without_images(place: String, skipped: &Notes) -> Error {
    let found = match skipped.lines().first() {
        Some(line) => format!("; {line}"),
        None => ": it is empty".into(),
    };
    let message = "this class folder has no images to train on";
    Error::data(place, format!("{message}{found}; add images, or remove the folder"))
}

/// What a folder that may be a test split is.
enum Candidate<At> {
    /// One with labels, perhaps without images.
    Labelled(Listed<At>),
    /// One of other classes: the error of that, these, and whether one of them is a trained class in another spelling.
    Unlike(Error, String, bool),
    /// One without labels.
    Unlabelled,
}

fn candidate<T: Tree>(
    tree: &T,
    folder: &Entry<T::At>,
    (keys, train): (&[String], &Listed<T::At>),
    above: &mut Vec<PathBuf>,
) -> Result<Candidate<T::At>> {
    let mut notes = Notes::default();
    let at = classes_in(tree, &folder.at, Some(keys))?;
    let classes = by_class(tree, &at, &mut notes)?;
    if classes.keys().any(|name| keys.contains(name)) {
        return labelled(tree, (&at, classes, notes), (keys, train), above).map(Candidate::Labelled);
    }
    if let Some(list) = val_annotations::list(tree, &folder.at)? {
        return val_annotations::read(tree, (&folder.at, &list), (keys, train)).map(Candidate::Labelled);
    }
    // Folders of other names are no classes: one lies around all images, several are of another order.
    let names = with_images(tree, &classes)?;
    if names.is_empty() || matches!(names.as_slice(), [name] if is_around_images(name)) {
        return Ok(Candidate::Unlabelled);
    }
    let error = untrained(&tree.place(&at), names.iter(), (keys, train));
    // What could be taken for a class is one, in another spelling.
    let alike = names.iter().any(|name| keys.iter().any(|key| look_alike(name, key)));
    Ok(Candidate::Unlike(error, few(names.iter().map(String::as_str)), alike))
}

/// The first of the folders `candidates` that has labels, with the classes of the training images, and its name; or why
/// there is none.
///
/// # Errors
/// A folder of other classes, or that cannot be read.
fn tested<T: Tree>(
    tree: &T,
    candidates: &[Entry<T::At>],
    (keys, train): (&[String], &Listed<T::At>),
    above: &mut Vec<PathBuf>,
) -> Result<Result<(String, Listed<T::At>)>> {
    let mut passed: Vec<String> = Vec::new();
    let mut unlike: Option<Error> = None;
    let mut empty: Option<(String, Listed<T::At>)> = None;
    let mut others: Option<String> = None;
    for folder in candidates {
        match candidate(tree, folder, (keys, train), above)? {
            Candidate::Labelled(listed) if listed.images.is_empty() => {
                empty = empty.or_else(|| Some((folder.name.clone(), listed)));
            }
            Candidate::Labelled(mut listed) => {
                if !passed.is_empty() {
                    let other = few(passed.iter().map(String::as_str));
                    let instead =
                        others.map_or_else(String::new, |names| format!(" (but {names}, no trained class)"));
                    let text = format!(
                        "{other} has no folder of a class with images{instead}, so no labels: tested is on {}",
                        listed.place
                    );
                    listed.notes.remark(text);
                }
                return Ok(Ok((folder.name.clone(), listed)));
            }
            Candidate::Unlike(error, _, true) => return Err(error),
            Candidate::Unlike(error, names, false) => {
                others = others.or(Some(names));
                unlike = unlike.or(Some(error));
            }
            Candidate::Unlabelled => {}
        }
        passed.push(format!("{}/", folder.name));
    }
    if let Some(empty) = empty {
        return Ok(Ok(empty));
    }
    if let Some(error) = unlike {
        return Err(error);
    }
    let message = format!(
        "found class folders in {}, but none in {}: its images have no labels, so nothing can be tested; move them into \
         one folder per class, as `test/{}/`, or add a labeled `val/`, {HOLD_OUT}",
        train.place,
        few(passed.iter().map(String::as_str)),
        keys.first().map_or("CLASS", String::as_str)
    );
    Ok(Err(Error::data(candidates.first().map_or_else(String::new, |c| tree.place(&c.at)), message)))
}

/// The first of the folders `candidates` that has labels; of others that is noted with the training images.
fn validated<T: Tree>(
    tree: &T,
    candidates: &[&Entry<T::At>],
    (keys, train): (&[String], &mut Listed<T::At>),
    above: &mut Vec<PathBuf>,
) -> Option<Result<Listed<T::At>>> {
    for folder in candidates {
        match candidate(tree, folder, (keys, train), above) {
            Ok(Candidate::Labelled(listed)) if !listed.images.is_empty() => return Some(Ok(listed)),
            Ok(Candidate::Unlike(error, ..)) | Err(error) => return Some(Err(error)),
            Ok(Candidate::Labelled(_) | Candidate::Unlabelled) => {
                let what = "has no folder of a class with images, so no labels: it does not validate";
                train.notes.remark(format!("{} {what}", tree.place(&folder.at)));
            }
        }
    }
    None
}

/// The classes of which an image lies in a folder.
fn with_images<T: Tree>(tree: &T, classes: &Folders<T::At>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, folders) in classes {
        for folder in folders {
            if names.last() != Some(name) && has_images_below(tree, &folder.at)? {
                names.push(name.clone());
            }
        }
    }
    Ok(names)
}

/// Whether a folder is called as one around images that are of no class.
fn is_around_images(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "images",
        "image",
        "imgs",
        "img",
        "jpegimages",
        "jpegs",
        "pictures",
        "photos",
        "unknown",
        "unlabeled",
        "unlabelled",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A test split with class folders.
fn labelled<T: Tree>(
    tree: &T,
    (at, classes, mut notes): (&T::At, Folders<T::At>, Notes),
    (keys, train): (&[String], &Listed<T::At>),
    above: &mut Vec<PathBuf>,
) -> Result<Listed<T::At>> {
    let place = tree.place(at);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    let mut unknown = BTreeSet::new();
    above.push(tree.real(at));
    let all = reals(tree, &classes);
    for (name, folders) in classes {
        let label = keys.binary_search(&name).ok();
        let before = images.len();
        let mut visited = others(tree, &all, &folders);
        for folder in &folders {
            let first = images.len();
            let walk = (DEPTH, &mut *above, &mut visited);
            images_below(tree, &folder.at, walk, (&mut images, &mut notes))?;
            if images.len() == first && label.is_none() {
                notes.skip(reason::NO_IMAGES, || tree.place(&folder.at));
            }
        }
        match label {
            Some(label) => labels.resize(images.len(), label as i64),
            None if images.len() > before => drop(unknown.insert(name)),
            None => {}
        }
    }
    above.pop();
    if !unknown.is_empty() {
        return Err(untrained(&place, unknown.iter(), (keys, train)));
    }
    Ok(Listed { place, classes: train.classes.clone(), images, labels, notes })
}

/// The error of test classes that are not trained.
fn untrained<'a, At>(
    place: &str,
    names: impl Iterator<Item = &'a String> + Clone,
    (keys, train): (&[String], &Listed<At>),
) -> Error {
    let known = keys.iter().map(String::as_str);
    let count = names.clone().count();
    let (what, is) = if count == 1 { ("the class folder", "is") } else { ("the class folders", "are") };
    let capitals = |name: &&String| known.clone().find(|k| k.to_lowercase() == name.to_lowercase());
    let in_capitals = names.clone().find_map(|name| Some((name.clone(), capitals(&name)?.to_owned())));
    let alike = in_capitals.or_else(|| names.clone().find_map(|name| mistaken(name, known.clone())));
    let alike = alike.map_or_else(String::new, |(a, b)| format!(" (here it is `{a}`, there `{b}`)"));
    let message = format!(
        "{what} {} {is} not in {}{alike}, which has {}: a class that is tested must be trained; rename the folder, remove it, \
         or add training images",
        few(names.map(String::as_str)),
        train.place,
        few(known)
    );
    Error::data(place, message)
}
