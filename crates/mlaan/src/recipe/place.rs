//! Where in a recipe's text something stands.

use super::check::{both_bounds, expected};
use super::{renamed, schema};
use crate::Error;
use crate::numbers::{TOML_WHOLE, too_large};
use toml::de::{DeTable, DeValue};

/// The error for a text that is not TOML, with line and column, or has numbers that TOML does not hold, with their key.
pub(super) fn unreadable(text: &str, origin: &str, e: &toml::de::Error) -> Error {
    if let Some((key, number)) = too_large(text) {
        return at(oversized(&key, &number), &place(text, origin, &key));
    }
    let at = e.span().map_or(0, |s| s.start);
    let (line, column) = position(text, at);
    Error::no_recipe(
        format!("{origin}, line {line}, column {column}"),
        format!("not valid TOML: {}", e.message()),
    )
}

/// The error for a number of more digits than TOML holds.
pub(super) fn oversized(key: &str, number: &str) -> Error {
    let expected = match schema::find(key).map(|k| k.kind) {
        Some(kind @ schema::ValueType::Whole(..)) => both_bounds(kind),
        Some(kind) => expected(kind),
        None => TOML_WHOLE.into(),
    };
    Error::recipe(key, format!("found {number}, expected {expected}"))
}

/// Adds a place to a recipe error.
pub(super) fn at(e: Error, place: &str) -> Error {
    match e {
        Error::Recipe { key, message } => Error::Recipe { key, message: format!("{message} ({place})") },
        other => other,
    }
}

/// `origin`, and the line where one can be found.
pub(super) fn place(text: &str, origin: &str, key: &str) -> String {
    match line_of(text, key) {
        Some(line) => format!("{origin}, line {line}"),
        None => origin.to_owned(),
    }
}

/// The line (from 1) on which `key` is written, by its name of today or an earlier one.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    line_of_name(text, key).or_else(|| line_of_name(text, renamed::earlier(key)?))
}

fn line_of_name(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        let (found, value) = table.iter().find(|(k, _)| k.get_ref() == name)?;
        if names.peek().is_none() {
            return Some(position(text, found.span().start).0);
        }
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return None,
        }
    }
    None
}

/// Line and column (1-based, in characters) of byte `at`.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let column = before.get(start..).map_or(0, |s| s.chars().count()) + 1;
    (line, column)
}
