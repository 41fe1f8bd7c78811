//! Data sets whose form is known and not read, and what to do with them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::formats::tree::{Disk, Entry, EntryKind, Tree, left_behind};
use super::is_image;
use super::notes::few;

/// Members of an archive that are looked at, at the most.
const MEMBERS: usize = 64;
/// Folders inside a folder that are looked at, at the most.
const TRIED: usize = 8;
/// Archives of files that are not read.
const PACKED: [&str; 3] = [".zip", ".7z", ".rar"];
/// What the files of CIFAR in Python are called: those that tell the set, and the one of the classes' names. (The binary
/// sets are read without.)
const CIFAR: [(&[&str], &str); 2] =
    [(&["data_batch_1", "test_batch"], "batches.meta"), (&["train", "test"], "meta")];

type Found = Entry<PathBuf>;

/// What lies in a folder that nothing here reads, and what to do.
pub(super) fn foreign(path: &Path) -> Option<String> {
    let inside = Disk.entries(&path.to_path_buf()).ok()?;
    let folders = inside.iter().filter(|e| e.kind == EntryKind::Folder && !left_behind(&e.name)).take(TRIED);
    let below: Vec<Vec<Found>> = folders.filter_map(|e| Disk.entries(&e.at).ok()).collect();
    let all = || std::iter::once(&inside).chain(&below);
    if let Some(arrow) = all().find_map(|found| files(found).find(|name| name.ends_with(".arrow"))) {
        return Some(saved(path, arrow, has(&inside, "dataset_dict.json")));
    }
    if let Some(missing) = all().find_map(|found| without_names(found)) {
        return Some(format!(
            "it is CIFAR without its file `{missing}` of the classes' names: put that beside the others, or fetch the set again"
        ));
    }
    let packed: Vec<&str> =
        files(&inside).filter(|name| PACKED.iter().any(|p| name.to_ascii_lowercase().ends_with(p))).collect();
    (!packed.is_empty()).then(|| {
        format!(
            "archives of this kind are not read: unpack {}, and name the folder that comes out",
            few(packed)
        )
    })
}

/// Of what `save_to_disk` wrote.
fn saved(path: &Path, arrow: &str, has_splits: bool) -> String {
    let (at, split) = (path.display(), if has_splits { "" } else { ".train_test_split(0.2)" });
    format!(
        "`{arrow}` is Arrow as `save_to_disk` of Hugging Face's datasets writes it, which is not read: write parquet, `ds = \
         datasets.load_from_disk(\"{at}\"){split}`, then `for split in ds: ds[split].to_parquet(f\"NEW/{{split}}-0.parquet\")`, and \
         name `NEW`"
    )
}

/// The file of names that CIFAR's others lack.
fn without_names(found: &[Found]) -> Option<&'static str> {
    let set = CIFAR.iter().find(|(files, _)| files.iter().all(|name| has(found, name)))?;
    (!has(found, set.1)).then_some(set.1)
}

fn files(found: &[Found]) -> impl Iterator<Item = &str> {
    found.iter().filter(|e| e.kind == EntryKind::File && !left_behind(&e.name)).map(|e| e.name.as_str())
}

fn has(found: &[Found], name: &str) -> bool {
    files(found).any(|file| file == name)
}

/// What explains that a set of a known form is none: it is meant for something else, or packed in another way.
pub(super) fn mistaken(path: &Path) -> Option<String> {
    let inside = match path.is_dir() {
        true => Disk.entries(&path.to_path_buf()).ok()?,
        false => Vec::new(),
    };
    if let Some(message) =
        inside.iter().filter(|e| e.kind == EntryKind::Folder).take(TRIED).find_map(detection)
    {
        return Some(message);
    }
    let mut archives: Vec<PathBuf> = inside.into_iter().map(|e| e.at).collect();
    if path.is_file() {
        archives.push(path.to_owned());
    }
    archives.retain(|at| at.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar")));
    archives.iter().find_map(|at| compressed(at)).or_else(|| splits(&archives))
}

/// Of a split that is images, and text files of boxes, as YOLO has them.
fn detection(split: &Found) -> Option<String> {
    let below = Disk.entries(&split.at).ok()?;
    let folder = |name: &str| {
        let is = |e: &&Found| e.kind == EntryKind::Folder && e.name.eq_ignore_ascii_case(name);
        Disk.entries(&below.iter().find(is)?.at).ok()
    };
    let (images, labels) = (folder("images")?, folder("labels")?);
    let pictures = images.iter().any(|e| e.kind == EntryKind::Image);
    let boxes =
        labels.iter().any(|e| e.name.ends_with(".txt")) && labels.iter().all(|e| e.kind == EntryKind::File);
    (pictures && boxes).then(|| {
        format!(
            "`{0}/images/` with `{0}/labels/` is a set for object detection (as YOLO's), which is not trained here: an image folder \
             is `train/CLASS/IMAGE` and `test/CLASS/IMAGE`",
            split.name
        )
    })
}

/// Of an archive that is compressed and not called so.
fn compressed(archive: &Path) -> Option<String> {
    let mut head = Vec::new();
    crate::files::open(archive).ok()?.take(6).read_to_end(&mut head).ok()?;
    let name = archive.file_name()?.to_string_lossy();
    if head.starts_with(&[0x1f, 0x8b]) {
        return Some(format!("`{name}` is compressed with gzip: rename it to `{name}.gz`"));
    }
    const OTHERS: [(&[u8], &str); 4] = [
        (b"PK\x03\x04", "a zip file"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"BZh", "bzip2"),
    ];
    let (_, what) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic))?;
    Some(format!("`{name}` is {what}, which is not read, whatever its name: unpack it"))
}

/// Of several archives that all hold class folders, as each is a split.
fn splits(archives: &[PathBuf]) -> Option<String> {
    let found: Option<Vec<String>> = archives.iter().take(TRIED).map(|at| packed_classes(at)).collect();
    found.filter(|found| found.len() > 1)?.into_iter().next()
}

/// Of an archive of a split whose members are images in class folders, and no samples of a shard.
fn packed_classes(archive: &Path) -> Option<String> {
    let mut archive_of = tar::Archive::new(fs::File::open(archive).ok()?);
    let mut classes = BTreeSet::new();
    for entry in archive_of.entries().ok()?.take(MEMBERS) {
        let entry = entry.ok()?;
        let path = entry.path().ok()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !entry.header().entry_type().is_file() || left_behind(&name) {
            continue;
        }
        if !is_image::by_name(&name) {
            return None;
        }
        classes.insert(path.parent()?.file_name()?.to_string_lossy().into_owned());
    }
    let name = archive.file_name()?.to_string_lossy();
    (!classes.is_empty()).then(|| {
        format!(
            "`{name}` holds class folders ({}), and no samples with labels as WebDataset has them: unpack each archive into a folder of \
             its name, as `train/` and `test/`, and name the folder around them",
            few(classes.iter().map(String::as_str))
        )
    })
}
