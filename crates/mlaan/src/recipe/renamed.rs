//! Keys that have another name, too: an earlier one, or as PyTorch spells it. Recipes, runs, checkpoints and `--set` may say it.

use crate::{Error, Result};
use toml::{Table, Value};

/// Other names, and those of today.
const RENAMED: &[(&str, &str)] = &[
    ("train.decay", "train.decay_fraction"),
    ("data.color_jitter", "data.colour_jitter"),
    ("data.normalize", "data.normalise"),
];

/// Today's name of the key at `path`.
pub(super) fn today(path: &str) -> &str {
    RENAMED.iter().find(|(old, _)| *old == path).map_or(path, |(_, new)| new)
}

/// The other name of a key.
pub(super) fn earlier(path: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(_, new)| *new == path).map(|(old, _)| *old)
}

/// Gives the keys of `table`, which stands at `path` in a recipe ("" is the top), their names of today.
///
/// # Errors
/// [`Error::Recipe`] for a key under both names.
pub(super) fn rename(path: &str, table: &mut Table) -> Result<()> {
    let inside = |key: &'static str| match path {
        "" => Some(key),
        _ => key.strip_prefix(path)?.strip_prefix('.'),
    };
    for (old, new) in RENAMED {
        let (Some(from), Some(to)) = (inside(old), inside(new)) else { continue };
        let Some(value) = take(table, from) else { continue };
        if put(table, to, value).is_some() {
            return Err(Error::recipe(*new, format!("stands there twice: `{old}` is another name of it")));
        }
    }
    Ok(())
}

/// Removes what stands at a dotted path.
fn take(table: &mut Table, path: &str) -> Option<Value> {
    match path.split_once('.') {
        None => table.remove(path),
        Some((first, rest)) => take(table.get_mut(first)?.as_table_mut()?, rest),
    }
}

/// Puts a value where its sibling was; what was there.
fn put(table: &mut Table, path: &str, value: Value) -> Option<Value> {
    match path.split_once('.') {
        None => table.insert(path.to_owned(), value),
        Some((first, rest)) => put(table.get_mut(first)?.as_table_mut()?, rest, value),
    }
}
