//! An image folder inside one tar archive: `train/CLASS/IMAGE` and `test/` or `val/` likewise, perhaps below one or
//! two folders more. It is read without being unpacked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::stored::{Images, Stored};
use super::folder::{LEFT_BEHIND, TEST};
use super::packed::{Item, Packed, each_file, kind};
use super::{Format, Pair};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "image folder in an archive",
    layout: "a `.tar`, `.tar.gz` or `.tgz` of an image folder",
    open,
};

/// Folders that may lie around `train/`.
const MOST_OUTER: usize = 2;

/// The images of one split folder: class and image.
type Split = Vec<(String, Item)>;

fn open(path: &Path) -> Result<Option<Pair>> {
    let Some(compressed) = kind(path).filter(|_| path.is_file()) else {
        return Ok(None);
    };
    let mut splits: BTreeMap<&str, Split> = BTreeMap::new();
    // Another format's archive may hold anything: nothing is said about it until all of it is seen.
    each_file(path, &mut |member| {
        if let Some((split, class)) = place(member.name) {
            let item =
                Item { archive: 0, offset: member.offset, size: member.size, name: member.name.into() };
            splits.entry(split).or_default().push((class.into(), item));
        }
        Ok(true)
    })?;
    let train = splits.remove("train");
    let test = TEST.iter().find_map(|name| splits.remove(name));
    let (Some(train), Some(test)) = (&train, &test) else {
        let missing = match (train.is_some(), test.is_some()) {
            (false, false) => return Ok(None),
            (true, _) => "`test/`, `val/` or `validation/`",
            (_, true) => "`train/`",
        };
        let message = format!(
            "the other split is in this archive, but no class folders in {missing}: a set needs both"
        );
        return Err(Error::data(path.display().to_string(), message));
    };
    let (train, test) = (stored(path, "train", train, compressed)?, stored(path, "test", test, compressed)?);
    same_classes(&train, &test).or_else(|| same_classes(&test, &train)).map_or(Ok(()), Err)?;
    Ok(Some(Pair { train, test, known: None, notes: Vec::new() }))
}

/// The error of a class of `of` that is not one of `from`.
fn same_classes(from: &Stored, of: &Stored) -> Option<Error> {
    let class = of.classes.iter().find(|class| !from.classes.contains(class))?;
    let message =
        format!("class folder `{class}` is in {} but not here: both splits need the same classes", of.place);
    Some(Error::data(&from.place, message))
}

/// Split and class of a member, where it is an image of such a folder.
fn place(name: &str) -> Option<(&'static str, &str)> {
    let parts: Vec<&str> = name.split('/').collect();
    let hidden = parts.iter().any(|part| part.is_empty() || part.starts_with('.'));
    if hidden || parts.last().is_some_and(|last| LEFT_BEHIND.contains(last)) {
        return None;
    }
    let at = |outer: &usize| {
        let split = ["train"].into_iter().chain(TEST).find(|split| parts.get(*outer) == Some(split))?;
        let class = parts.get(outer + 1).filter(|_| parts.len() > outer + 2)?;
        Some((split, *class))
    };
    (0..=MOST_OUTER).find_map(|outer| at(&outer))
}

/// Classes and images in the order in which the unpacked folder has them, where the archive can be read in any order.
fn stored(path: &Path, split: &str, found: &Split, compressed: bool) -> Result<Stored> {
    let place = format!("{}, {split}", path.display());
    let mut classes: Vec<String> = found.iter().map(|(class, _)| class.clone()).collect();
    classes.sort();
    classes.dedup();
    let mut found = found.clone();
    if !compressed {
        found.sort_by(|(_, a), (_, b)| a.name.split('/').cmp(b.name.split('/')));
    }
    let label = |class: &String| classes.binary_search(class).map_or(-1, |label| label as i64);
    let labels: Vec<i64> = found.iter().map(|(class, _)| label(class)).collect();
    let items = found.into_iter().map(|(_, item)| item).collect();
    let packed = Arc::new(Packed { archives: vec![path.into()], items });
    let images = if compressed { Images::Ordered(packed) } else { Images::Random(packed) };
    Stored::new(place, classes, labels, images)
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn images_are_told_by_where_they_lie() {
        assert_eq!(place("train/cat/1.jpg"), Some(("train", "cat")));
        assert_eq!(place("set-224/val/n01/deep/1.jpg"), Some(("val", "n01")));
        assert_eq!(place("a/b/validation/n01/1.jpg"), Some(("validation", "n01")));
        // Too deep, not in a class, hidden, or left behind.
        for name in
            ["a/b/c/train/n/1", "train/1.jpg", "train/cat/.x", "train/cat/Thumbs.db", "training/cat/1", "a"]
        {
            assert_eq!(place(name), None, "{name}");
        }
        // The first folder of the name counts, whatever a class is called.
        assert_eq!(place("train/test/1.jpg"), Some(("train", "test")));
    }
}
