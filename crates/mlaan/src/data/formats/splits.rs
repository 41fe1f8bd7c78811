//! What folders, and shards, of the two splits are called.

use super::tree::{Entry, Kind, Tree, left_behind};
use crate::{Error, Result};

/// Names of the training split, the usual one first; capitals do not matter.
pub(in crate::data) const TRAIN: [&str; 2] = ["train", "training"];
/// Names of the test split: the first that is there and has labels is used.
pub(in crate::data) const TEST: [&str; 5] = ["test", "testing", "val", "valid", "validation"];
/// For messages.
pub(super) const TEST_FOLDERS: &str = "`test/`, `val/`, `valid/` or `validation/`";

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
        let folder = |e: &&Entry<T::At>| e.kind == Kind::Folder && e.name.eq_ignore_ascii_case(name);
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

/// The split that a shard's name says, as `imagenet1k-train-0000.tar` or `validation_00.tar.gz`: one of `names`.
pub(super) fn in_name<'a>(file: &str, names: &[&'a str]) -> Option<&'a str> {
    let words =
        file.split(['-', '_', '.', ' ']).map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
    words.into_iter().find_map(|word| names.iter().find(|name| name.eq_ignore_ascii_case(word))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_name_their_split() {
        let all: Vec<&str> = TRAIN.into_iter().chain(TEST).collect();
        let split = |name| in_name(name, &all);
        assert_eq!(split("imagenet1k-train-0000.tar"), Some("train"));
        assert_eq!(split("imagenet1k-validation-00.tar"), Some("validation"));
        assert_eq!((split("VAL_01.tar.gz"), split("train0001.tar")), (Some("val"), Some("train")));
        assert_eq!(
            (split("0000.tar"), split("training.tar"), split("strain-1.tar")),
            (None, Some("training"), None)
        );
    }
}
