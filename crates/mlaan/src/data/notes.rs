//! What is to be said of a set that was opened: what in it was not read, and how it was understood.

use serde::Serialize;

/// Files of a set that were not read, all for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub example: String,
    /// Why.
    pub reason: &'static str,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// What was not read.
    pub skipped: Vec<Skipped>,
    /// How the set was understood, where that is not plain.
    pub remarks: Vec<String>,
}

/// Why files are not read.
pub(super) mod reason {
    pub const NO_IMAGE: &str = "no image by its name and content";
    pub const FORMAT: &str = "an image of a format that is not read: convert it to JPEG or PNG";
    pub const LEFT_BEHIND: &str = "hidden, or left behind by a system";
    pub const UNFINISHED: &str = "a download that did not end";
    pub const OTHER_FOLDER: &str = "an image in a folder that is neither split";
    pub const BESIDE: &str = "an archive or a table beside the class folders, which are read";
    pub const OUTSIDE: &str = "an image outside of the class folders";
    pub const NO_IMAGES: &str = "a folder without images";
    pub const SPECIAL: &str = "neither a file nor a folder";
    pub const TOO_DEEP: &str = "too many folders deep";
    pub const TWICE: &str = "a link to a folder that was read already";
    pub const CIRCLE: &str = "a link that leads back to where it lies";
    pub const ABSOLUTE: &str = "a link to an absolute path, which an archive does not hold";
    pub const OUT: &str = "a path that leads out of the archive";
    pub const DANGLING: &str = "a link to what is not in the archive";
    pub const NOWHERE: &str = "a link to what is not there";
    pub const DOTS: &str = "a name with `..`, which tar does not unpack";
    pub const LONG: &str = "a name longer than any on a disk";
    pub const THROUGH: &str =
        "a path through a file, or a link that leads up, out or nowhere, which tar does not unpack";
    pub const FOLDER: &str = "a file under the name of a folder that is not empty, which tar does not unpack";
    pub const TO_FOLDER: &str = "a hard link to a folder, which tar does not unpack";
    pub const REPLACED: &str = "replaced by a later member of the same name";
    pub const NO_SAMPLE: &str = "no part of a sample";
    pub const OTHER_SHARD: &str = "a shard beside those of the same split, which lie elsewhere";
    pub const OTHER_TABLE: &str = "a parquet file that belongs to neither split";
    pub const ANOTHER_IMAGE: &str = "another image, or label, of a sample that has one; of several images the first of `jpg`, `png`, `jpeg` and `webp` is taken, \
         or that called `image`, `img`, `rgb` or `input`";
}

impl Notes {
    /// Counts a file that is not read.
    pub(super) fn skip(&mut self, reason: &'static str, example: impl FnOnce() -> String) {
        match self.skipped.iter_mut().find(|s| s.reason == reason) {
            Some(skipped) => skipped.count += 1,
            None => self.skipped.push(Skipped { count: 1, example: example(), reason }),
        }
    }

    /// Says how something was understood.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    /// Takes over what `other` says.
    pub(crate) fn append(&mut self, other: Notes) {
        for skipped in other.skipped {
            match self.skipped.iter_mut().find(|s| s.reason == skipped.reason) {
                Some(own) => own.count += skipped.count,
                None => self.skipped.push(skipped),
            }
        }
        for remark in other.remarks {
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
    }

    /// Whether there is nothing to be said.
    pub fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.remarks.is_empty()
    }

    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        let skipped = self.skipped.iter().map(|s| match s.count {
            1 => format!("1 file skipped ({}): {}", s.reason, s.example),
            n => format!("{n} files skipped ({}): {} and {} more", s.reason, s.example, n - 1),
        });
        self.remarks.iter().cloned().chain(skipped).collect()
    }
}

/// The first few of many names, for a message.
pub(super) fn few<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 6;
    let names: Vec<&str> = names.into_iter().collect();
    let listed = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_counted_and_the_first_is_named() {
        let mut notes = Notes::default();
        assert!(notes.is_empty() && notes.lines().is_empty());
        notes.skip(reason::NO_IMAGE, || "a.txt".into());
        assert_eq!(notes.lines(), ["1 file skipped (no image by its name and content): a.txt"]);
        let mut other = Notes::default();
        other.skip(reason::NO_IMAGE, || "b.txt".into());
        other.remark("so");
        notes.append(other);
        let lines = ["so", "2 files skipped (no image by its name and content): a.txt and 1 more"];
        assert_eq!(notes.lines(), lines);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(few(["a", "b"]), "`a`, `b`");
        assert!(few(["a"; 9]).ends_with("`a` and 3 more"));
    }
}
