//! Which folders of a set are its splits: those called as splits usually are, else those whose names have such a word among
//! others (`seg_train`, `test_set`, `Training Data`), where both splits are there.

use super::splits::{TEST, TRAIN, called, validates};
use super::tree::{Entry, EntryKind, Tree, class_folders, left_behind};
use crate::data::notes::{Notes, few};
use crate::{Error, Result};

/// Words of the test split that count beside [`TEST`], last.
const MORE_TEST: [&str; 2] = ["eval", "evaluation"];
/// What words of splits may be written together with.
const ENDINGS: [&str; 6] = ["set", "data", "images", "imgs", "folder", "dir"];

/// Folders of both splits, the likeliest first.
pub(super) struct Splits<At> {
    pub train: Vec<Entry<At>>,
    pub test: Vec<Entry<At>>,
}

/// The splits among what lies in a folder.
///
/// # Errors
/// When folders differ in capitals alone, or several may be the same split.
pub(super) fn splits<T: Tree>(tree: &T, entries: &[Entry<T::At>]) -> Result<Splits<T::At>> {
    let usual = Splits { train: called(tree, entries, &TRAIN)?, test: called(tree, entries, &TEST)? };
    if !usual.train.is_empty() && !usual.test.is_empty() {
        return Ok(usual);
    }
    let (train, test) = by_words(entries);
    let train = if usual.train.is_empty() { one(tree, "train", train)? } else { usual.train.clone() };
    let test = if usual.test.is_empty() { one(tree, "test", test)? } else { usual.test.clone() };
    // One alone may be anything, as a class of trains.
    Ok(if train.is_empty() || test.is_empty() { usual } else { Splits { train, test } })
}

/// A folder, and the place of the word among the names of its split.
type Ranked<At> = (usize, Entry<At>);

fn by_words<At: Clone>(entries: &[Entry<At>]) -> (Vec<Ranked<At>>, Vec<Ranked<At>>) {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for entry in entries.iter().filter(|e| e.kind == EntryKind::Folder && !left_behind(&e.name)) {
        match role(&entry.name) {
            Some(Role::Train) => train.push((0, entry.clone())),
            Some(Role::Test(at)) => test.push((at, entry.clone())),
            None => {}
        }
    }
    test.sort_by_key(|(at, _)| *at);
    (train, test)
}

/// The folders with classes of a split, else all of them.
///
/// # Errors
/// When there are several with classes that are called by the same word.
fn one<T: Tree>(tree: &T, split: &str, found: Vec<Ranked<T::At>>) -> Result<Vec<Entry<T::At>>> {
    let mut labelled: Vec<&Ranked<T::At>> = Vec::new();
    for ranked in &found {
        if !class_folders(tree, &ranked.1.at, &mut Notes::default())?.is_empty() {
            labelled.push(ranked);
        }
    }
    let twice = labelled.windows(2).find(|pair| pair[0].0 == pair[1].0);
    if let Some([(_, first), (_, second)]) = twice {
        let message = format!(
            "the folders {} could all be the split `{split}`: rename the right one to `{split}`",
            few([first.name.as_str(), second.name.as_str()])
        );
        return Err(Error::data(tree.place(&first.at), message));
    }
    let only: Vec<Entry<T::At>> = labelled.into_iter().map(|(_, entry)| entry.clone()).collect();
    Ok(if only.is_empty() { found.into_iter().map(|(_, entry)| entry).collect() } else { only })
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::data) enum Role {
    /// Training images.
    Train,
    /// Test images; the place of its word among those of test splits.
    Test(usize),
}

/// The split that a folder's name has as one of its words; none where it has both.
pub(in crate::data) fn role(name: &str) -> Option<Role> {
    let (mut train, mut test) = (false, None);
    for word in words(name) {
        train |= TRAIN.contains(&word.as_str());
        test = test.or(TEST.iter().chain(&MORE_TEST).position(|known| *known == word));
    }
    match (train, test) {
        (true, None) => Some(Role::Train),
        (false, Some(at)) => Some(Role::Test(at)),
        _ => None,
    }
}

/// Whether a folder of test images is called as one of validation images.
pub(super) fn is_validation(name: &str) -> bool {
    let of = |at: usize| TEST.iter().chain(&MORE_TEST).nth(at).is_some_and(|word| validates(word));
    matches!(role(name), Some(Role::Test(at)) if of(at))
}

/// The words of a name in small letters, without numbers behind them and endings that say no more.
fn words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut lower = false;
    for c in name.chars() {
        if lower && c.is_uppercase() {
            spaced.push(' ');
        }
        lower = c.is_lowercase();
        spaced.extend(c.to_lowercase());
    }
    let parts = spaced.split(|c: char| !c.is_alphanumeric());
    let plain = |word: &str| {
        let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let ending = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending));
        ending.filter(|rest| !rest.is_empty()).unwrap_or(word).to_owned()
    };
    parts.map(plain).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_words_of_names() {
        let train = [
            "train",
            "seg_train",
            "train_set",
            "TrainData",
            "training-images",
            "asl_alphabet_train",
            "trainset",
            "train2017",
        ];
        assert!(train.iter().all(|name| role(name) == Some(Role::Train)));
        for (name, at) in [
            ("seg_test", 0),
            ("test1", 0),
            ("Testing Set", 1),
            ("val_256", 2),
            ("valset", 2),
            ("Evaluation", 6),
        ] {
            assert_eq!(role(name), Some(Role::Test(at)), "{name}");
        }
        for (name, own) in
            [("val", true), ("Valid", true), ("seg_val", true), ("evaluation", true), ("test", false)]
        {
            assert_eq!(is_validation(name), own, "{name}");
        }
        for name in ["trains", "strain", "contest", "seg_pred", "cat", "train_test_split", "set", "trainer"] {
            assert_eq!(role(name), None, "{name}");
        }
    }
}
