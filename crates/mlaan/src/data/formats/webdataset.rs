//! WebDataset: shards `train-*.tar` and `test-*.tar` (`val-*`, `validation-*`) of samples, each an image `KEY.jpg` (`jpeg`,
//! `png`, `webp`) and its label `KEY.cls`, one after the other. Shards may also lie in `train/` and `test/`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::stored::{Images, Stored};
use super::folder::{TEST, entries};
use super::names::{listed, numbered};
use super::packed::{Item, Member, Packed, each_file, kind};
use super::{Format, Pair};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "WebDataset",
    layout: "a folder with WebDataset shards `train-*.tar` and `test-*.tar` (or `val-*`, `validation-*`) of `KEY.jpg` and \
             `KEY.cls`",
    open,
};

/// Endings of images.
const IMAGES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Longest text of a label.
const MOST_LABEL: u64 = 32;
/// Files with the names of the classes.
const NAMES: [&str; 2] = ["classes.txt", "classnames.txt"];

fn open(path: &Path) -> Result<Option<Pair>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let train = shards(path, "train")?;
    let mut test = Vec::new();
    for split in TEST {
        if test.is_empty() {
            test = shards(path, split)?;
        }
    }
    let missing = match (train.is_empty(), test.is_empty()) {
        (true, true) => return Ok(None),
        (false, false) => None,
        (true, false) => Some("`train-*.tar`"),
        (false, true) => Some("`test-*.tar`, `val-*.tar` or `validation-*.tar`"),
    };
    if let Some(missing) = missing {
        let message = format!("the other split's shards are here, but no {missing}: a set needs both");
        return Err(Error::data(path.display().to_string(), message));
    }
    let (train, test) = (Split::read(train)?, Split::read(test)?);
    let classes = match listed(path, &NAMES)? {
        Some(names) => names,
        None => numbered(&train.place, train.labels.iter().copied())?,
    };
    Ok(Some(Pair {
        train: train.stored(classes.clone())?,
        test: test.stored(classes)?,
        known: None,
        notes: Vec::new(),
    }))
}

/// The shards of a split, in order: archives of that name, or all in the folder of that name.
fn shards(root: &Path, split: &str) -> Result<Vec<PathBuf>> {
    let named = |name: &str| name.split(['-', '_', '.']).next() == Some(split);
    let mut found: Vec<PathBuf> = entries(root)?
        .into_iter()
        .filter(|(name, path)| named(name) && kind(path).is_some() && path.is_file())
        .map(|(_, path)| path)
        .collect();
    let inner = root.join(split);
    if found.is_empty() && inner.is_dir() {
        let archives =
            |(_, path): (String, PathBuf)| (kind(&path).is_some() && path.is_file()).then_some(path);
        found.extend(entries(&inner)?.into_iter().filter_map(archives));
    }
    found.sort();
    Ok(found)
}

/// The samples of a split.
struct Split {
    place: String,
    packed: Packed,
    labels: Vec<i64>,
    /// Whether a shard is compressed.
    compressed: bool,
}

impl Split {
    fn read(archives: Vec<PathBuf>) -> Result<Self> {
        let place = archives.first().map_or_else(String::new, |path| path.display().to_string());
        let compressed = archives.iter().any(|path| kind(path) == Some(true));
        let (mut items, mut labels) = (Vec::new(), Vec::new());
        for (number, path) in archives.iter().enumerate() {
            let mut sample = Sample::default();
            let mut finish = |sample: &mut Sample| -> Result<()> {
                if let Some((item, label)) = std::mem::take(sample).finish(path, number as u32)? {
                    items.push(item);
                    labels.push(label);
                }
                Ok(())
            };
            each_file(path, &mut |member| {
                let Some((key, ending)) = key(member.name) else {
                    return Ok(true);
                };
                if key != sample.key {
                    finish(&mut sample)?;
                    sample.key = key.into();
                }
                sample.add(path, &ending, member)?;
                Ok(true)
            })?;
            finish(&mut sample)?;
        }
        Ok(Split { place, packed: Packed { archives, items }, labels, compressed })
    }

    fn stored(self, classes: Vec<String>) -> Result<Stored> {
        let packed = Arc::new(self.packed);
        let images = if self.compressed { Images::Ordered(packed) } else { Images::Random(packed) };
        Stored::new(self.place, classes, self.labels, images)
    }
}

/// The key of a member and its ending: the name is cut at the first dot of its last part.
fn key(name: &str) -> Option<(&str, String)> {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = last + name[last..].find('.')?;
    // Hidden files are what systems leave behind.
    (dot > last).then(|| (&name[..dot], name[dot + 1..].to_ascii_lowercase()))
}

/// What has been seen of a sample.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<(u64, u64, String)>,
    label: Option<i64>,
    /// Members that are neither.
    others: usize,
}

impl Sample {
    fn add(&mut self, path: &Path, ending: &str, mut member: Member<'_>) -> Result<()> {
        if IMAGES.contains(&ending) && self.image.is_none() {
            self.image = Some((member.offset, member.size, member.name.into()));
        } else if ending == "cls" {
            let place = format!("{}, {}", path.display(), member.name);
            let text = member.bytes(MOST_LABEL).map_err(|message| Error::data(&place, message))?;
            let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
            self.label = Some(number.ok_or_else(|| {
                Error::data(&place, "this label is not a whole number in digits: write the class's index")
            })?);
        } else {
            self.others += 1;
        }
        Ok(())
    }

    /// Image and label; nothing where there is neither.
    fn finish(self, path: &Path, archive: u32) -> Result<Option<(Item, i64)>> {
        let missing = match (self.image, self.label) {
            (Some((offset, size, name)), Some(label)) => {
                return Ok(Some((Item { archive, offset, size, name }, label)));
            }
            (None, None) => return Ok(None),
            (None, Some(_)) => "image (`.jpg`, `.jpeg`, `.png` or `.webp`)",
            (Some(_), None) => "label (`.cls`)",
        };
        let place = format!("{}, sample {}", path.display(), self.key);
        Err(Error::data(
            place,
            format!("has no {missing} beside the other: both must follow each other in the shard"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_end_at_the_first_dot() {
        assert_eq!(key("a/b.c/0001.JPG"), Some(("a/b.c/0001", "jpg".into())));
        assert_eq!(key("0001.seg.png"), Some(("0001", "seg.png".into())));
        assert_eq!((key("0001"), key("a/.hidden.jpg")), (None, None));
    }
}
