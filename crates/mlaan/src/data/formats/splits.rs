//! What folders, and shards, of the two splits are called.

use super::tree::{Entry, EntryKind, Tree, left_behind};
use crate::{Error, Result};

/// Names of the training split, the usual one first; capitals do not matter.
pub(in crate::data) const TRAIN: [&str; 2] = ["train", "training"];
/// Names of the test split: the first that is there and has labels is used.
pub(in crate::data) const TEST: [&str; 5] = ["test", "testing", "val", "valid", "validation"];
/// [`TEST`] and what else shards are called; images in folders of these names may be anything.
pub(super) const TEST_SHARDS: [&str; 8] =
    ["test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"];
/// Those of [`TEST_SHARDS`] that are of images to test on; the others validate where one of these is there.
const TESTS: [&str; 2] = ["test", "testing"];
/// What a message about a set without a test split ends with.
pub(in crate::data) const HOLD_OUT: &str =
    "or let a share of every class be held out for testing, as data.test = 0.2 (`--test 0.2`)";
/// For messages.
pub(super) const TEST_FOLDERS: &str = "`test/`, `val/`, `valid/` or `validation/`";

/// Whether a split of this name validates where another one tests.
pub(super) fn validates(name: &str) -> bool {
    !TESTS.iter().any(|test| test.eq_ignore_ascii_case(name))
}

/// The folders called like one of `names`, in the order of these.
///
/// # Errors
/// When two are that differ in capitals alone, and none is written small.
pub(super) fn called<T: Tree>(
    tree: &T,
    entries: &[Entry<T::At>],
    names: &[&str],
) -> Result<Vec<Entry<T::At>>> {
    let mut found = Vec::new();
    for name in names {
        let folder = |e: &&Entry<T::At>| e.kind == EntryKind::Folder && e.name.eq_ignore_ascii_case(name);
        let alike: Vec<_> = entries.iter().filter(folder).filter(|e| !left_behind(&e.name)).collect();
        match (alike.iter().find(|e| e.name == *name), alike.as_slice()) {
            (Some(exact), _) => found.push((*exact).clone()),
            (None, []) => {}
            (None, [one]) => found.push((*one).clone()),
            (None, [one, other, ..]) => {
                let message = format!(
                    "the folders `{}` and `{}` could both be the split `{name}`: rename the right one to `{name}`",
                    one.name, other.name
                );
                return Err(Error::data(tree.place(&one.at), message));
            }
        }
    }
    Ok(found)
}

/// The split that a file's name says, as `imagenet1k-train-0000.tar` or `validation_00.tar.gz`: one of `names`.
pub(super) fn in_name<'a>(file: &str, names: &[&'a str]) -> Option<&'a str> {
    words(file).find_map(|(_, word)| named(word, names))
}

/// The words of a file's name, and where each begins.
pub(super) fn words(file: &str) -> impl Iterator<Item = (usize, &str)> {
    let word = file.split(['-', '_', '.', ' ', '=', '{']);
    word.map(|word| (word.as_ptr() as usize - file.as_ptr() as usize, word))
}

/// The split that a word says: `train`, `train0`, `trainset`.
pub(super) fn named<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let cut = word.len().saturating_sub("set".len());
    let set = word.get(cut..).filter(|end| end.eq_ignore_ascii_case("set")).and_then(|_| word.get(..cut));
    let is =
        |name: &&&str| name.eq_ignore_ascii_case(word) || set.is_some_and(|w| name.eq_ignore_ascii_case(w));
    names.iter().find(is).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_name_their_split() {
        let all: Vec<&str> = TRAIN.into_iter().chain(TEST_SHARDS).collect();
        let split = |name| in_name(name, &all);
        assert_eq!(split("imagenet1k-train-0000.tar"), Some("train"));
        assert_eq!(split("imagenet1k-validation-00.tar"), Some("validation"));
        assert_eq!((split("VAL_01.tar.gz"), split("train0001.tar")), (Some("val"), Some("train")));
        assert_eq!((split("shard-dev-000.tar"), split("a_eval_0.tar")), (Some("dev"), Some("eval")));
        assert_eq!(
            (split("trainset.tar"), split("set-train{0}.tar"), split("set.tar")),
            (Some("train"), Some("train"), None)
        );
        assert_eq!(words("a-train.b").collect::<Vec<_>>(), [(0, "a"), (2, "train"), (8, "b")]);
        assert_eq!(
            (split("0000.tar"), split("training.tar"), split("strain-1.tar")),
            (None, Some("training"), None)
        );
    }
}
