//! Checks a parsed TOML table against the list of keys, one key at a time.
//!
//! serde would find most of the same mistakes, but without the full key, the range, or a hint.

use super::model::Backbone;
use super::schema::{self, ValueType, join, removes};
use super::spelling::unknown_key;
use crate::data::RandAugment;
use crate::local::Head;
use crate::text::nearest;
use crate::{Error, Result};
use toml::{Table, Value};

/// Checks everything in `table`, which stands at `path` in the recipe.
///
/// # Errors
/// [`Error::Recipe`] for the first unknown key, wrong type, or value out of range.
pub(super) fn check_table(path: &str, table: &Table) -> Result<()> {
    for (name, value) in table {
        let full = join(path, name);
        let word = value.as_str().unwrap_or_default();
        if let Some(key) = schema::find(&full) {
            if !(key.optional && removes(word)) {
                check_value(&full, key.kind, value)?;
            }
        } else if let Some(optional) = schema::table(&full) {
            if optional && (removes(word) || word == "on") {
                continue;
            }
            let inner =
                value.as_table().ok_or_else(|| Error::recipe(&full, not_a_table(&full, optional, value)))?;
            check_table(&full, inner)?;
        } else {
            return Err(Error::recipe(&full, unknown_key(path, name)));
        }
    }
    Ok(())
}

/// The text for a value where a table must stand.
pub(super) fn not_a_table(path: &str, optional: bool, value: &Value) -> String {
    let words = if optional { ", or on, or none" } else { "" };
    format!(
        "found {}, expected a table; its keys are: {}{words}",
        found(value),
        schema::names_in(path).join(", ")
    )
}

/// Checks one value.
///
/// # Errors
/// [`Error::Recipe`] with `path` as its key.
pub(super) fn check_value(path: &str, kind: ValueType, value: &Value) -> Result<()> {
    let Some(mut problem) = problem(kind, value) else { return Ok(()) };
    // 0 is mostly meant to switch it off.
    if number(value) == Some(0.0) && schema::find(path).is_some_and(|k| k.optional) {
        problem += "; `none` leaves it out";
    }
    Err(Error::recipe(path, problem))
}

/// What is wrong with `value`, if anything.
fn problem(kind: ValueType, value: &Value) -> Option<String> {
    let within = |low: f64, high: f64| number(value).is_some_and(|x| x >= low && x <= high);
    let fits = match (kind, value) {
        (ValueType::Text, Value::String(_)) | (ValueType::Flag, Value::Boolean(_)) => true,
        (ValueType::Whole(low, high), Value::Integer(n)) => (low..=high).contains(n),
        (ValueType::Real(low, high), _) => within(low, high),
        (ValueType::Above(low, high), _) => within(low, high) && number(value) != Some(low),
        (ValueType::Share(above), _) => {
            number(value).is_some_and(|x| x < 1.0 && (x > 0.0 || !above && x == 0.0))
        }
        (ValueType::Pair(low, high), v) => match numbers(v).as_deref() {
            Some(pair @ [_, _]) => pair.iter().all(|x| *x >= low && *x <= high),
            _ => false,
        },
        (ValueType::Part, v) => number(v).is_some_and(|x| (0.0..1.0).contains(&x)),
        (ValueType::Weights(words), Value::String(s)) => return word_problem(words, s, &expected(kind)),
        (ValueType::Weights(_), v) => numbers(v).is_some_and(|w| !w.is_empty() && w.iter().all(is_weight)),
        (ValueType::Betas, v) => {
            numbers(v).is_some_and(|b| b.len() == 2 && b.iter().all(|x| (0.0..1.0).contains(x)))
        }
        (ValueType::Word(words) | ValueType::Normalise(words), Value::String(s)) => {
            return word_problem(words, s, &expected(kind));
        }
        (ValueType::Words(words), Value::Array(list)) => return words_problem(words, list, &expected(kind)),
        (ValueType::Names, Value::Array(list)) => return names_problem(list, &expected(kind)),
        (ValueType::Backbone, Value::String(s)) => return Backbone::try_from(s.clone()).err(),
        (ValueType::Head, Value::String(s)) => return Head::try_from(s.clone()).err(),
        (ValueType::Jitter, v) => {
            match number(v).map(|x| vec![x, x, x, 0.0]).or_else(|| numbers(v)).as_deref() {
                Some([b, c, s, hue]) => [b, c, s].iter().all(|x| **x >= 0.0) && (0.0..=0.5).contains(hue),
                _ => false,
            }
        }
        (ValueType::RandAugment, v) => randaugment(v),
        (ValueType::Ascending, v) => ascending(v).is_some(),
        (ValueType::Lists, Value::Array(lists)) => return list_problem(lists),
        (ValueType::Normalise(_), Value::Table(t)) => return statistics_problem(t),
        _ => false,
    };
    // The bound is said to whom it stops.
    let above = matches!((kind, value), (ValueType::Whole(_, high), Value::Integer(n)) if *n > high);
    let expected = if above { both_bounds(kind) } else { expected(kind) };
    (!fits).then(|| format!("found {}, expected {expected}", found(value)))
}

/// What a key may hold, in words, with both bounds.
pub(super) fn both_bounds(kind: ValueType) -> String {
    match kind {
        ValueType::Whole(low, high) => format!("a whole number from {low} to {high}"),
        other => expected(other),
    }
}

/// What a key may hold, in words.
pub(super) fn expected(kind: ValueType) -> String {
    match kind {
        ValueType::Text => "a string".into(),
        ValueType::Flag => "true or false".into(),
        ValueType::Whole(low, high) => whole(low, high),
        ValueType::Real(low, high) => format!("a number from {low} to {high}"),
        ValueType::Above(low, high) => format!("a number above {low}, at most {high}"),
        ValueType::Share(above) => {
            let low = if above { "above 0" } else { "from 0" };
            format!("a fraction of the images {low} to less than 1, as 0.1")
        }
        ValueType::Pair(low, high) => format!("two numbers [first, last], each from {low} to {high}"),
        ValueType::Part => "a number from 0 to less than 1".into(),
        ValueType::Weights(words) => {
            format!("{}, or a list of numbers above 0, at most {WEIGHT}, one per class", words.join(", "))
        }
        ValueType::Betas => "two numbers [beta1, beta2], each from 0 to less than 1".into(),
        ValueType::Word(words) => format!("one of {}", words.join(", ")),
        ValueType::Words(words) => format!("a list of {}, each at most once", words.join(", ")),
        ValueType::Names => "a list of names, each at most once".into(),
        ValueType::Backbone => "a string, resnet and a depth".into(),
        ValueType::Head => "a string, AcBf or dgl".into(),
        ValueType::Jitter => JITTER.into(),
        ValueType::RandAugment => format!(
            "two whole numbers [operations, magnitude], from 1 to {} and from 0 to {}",
            RandAugment::MOST,
            RandAugment::BINS - 1
        ),
        ValueType::Ascending => ASCENDING.into(),
        ValueType::Lists => "a list of lists of whole numbers".into(),
        ValueType::Normalise(words) => {
            format!("one of {}, or {{mean = [r, g, b], std = [r, g, b]}}", words.join(", "))
        }
    }
}

const JITTER: &str =
    "a number from 0, or four [brightness, contrast, saturation, hue], the last from 0 to 0.5";
fn list_problem(lists: &[Value]) -> Option<String> {
    let blocks = |v: &Value| v.as_array().is_some_and(|l| l.iter().all(|n| n.as_integer() >= Some(0)));
    lists
        .iter()
        .enumerate()
        .find(|(_, v)| !blocks(v))
        .map(|(i, v)| format!("list {i} (from 0) is {}, expected whole numbers from 0 upwards", found(v)))
}

const ASCENDING: &str = "whole numbers from 0 upwards, each greater than the one before";

fn whole(low: i64, high: i64) -> String {
    // The upper bounds only keep arithmetic safe: nobody wants to read them.
    if high >= 1 << 20 {
        format!("a whole number, at least {low}")
    } else {
        format!("a whole number from {low} to {high}")
    }
}

fn word_problem(words: &[&str], s: &str, expected: &str) -> Option<String> {
    if words.contains(&s) {
        return None;
    }
    let hint = nearest(s, words.iter().copied(), 1)
        .first()
        .map(|w| format!(" (did you mean \"{w}\"?)"))
        .unwrap_or_default();
    Some(format!("found \"{s}\"{hint}, expected {expected}"))
}

fn words_problem(words: &[&str], list: &[Value], expected: &str) -> Option<String> {
    list.iter().enumerate().find_map(|(i, v)| match v {
        Value::String(s) if list[..i].contains(v) => {
            Some(format!("found \"{s}\" twice, expected {expected}"))
        }
        Value::String(s) => word_problem(words, s, expected),
        other => Some(format!("found {} in the list, expected {expected}", found(other))),
    })
}

fn names_problem(list: &[Value], expected: &str) -> Option<String> {
    list.iter().enumerate().find_map(|(i, v)| match v.as_str() {
        Some(s) if list[..i].contains(v) => Some(format!("found \"{s}\" twice, expected {expected}")),
        Some(s) if !s.is_empty() => None,
        _ => Some(format!("found {} in the list, expected {expected}", found(v))),
    })
}

fn statistics_problem(t: &Table) -> Option<String> {
    if let Some(name) = t.keys().find(|k| !["mean", "std"].contains(&k.as_str())) {
        return Some(format!("unknown key `{name}`; allowed: mean, std"));
    }
    let three = |name: &str, low_allowed: bool| match t.get(name).and_then(numbers).as_deref() {
        Some(v @ [_, _, _]) if v.iter().all(|x| *x <= 1.0 && (*x > 0.0 || low_allowed && *x == 0.0)) => None,
        Some(v) if v.iter().any(|x| *x > 1.0) => {
            Some(format!("{name} is {v:?}, but pixels are counted from 0 to 1 here; divide by 255"))
        }
        _ => Some(format!(
            "{name} must be three numbers (red, green, blue) from 0 to 1{}",
            if low_allowed { "" } else { ", none of them 0" }
        )),
    };
    three("mean", true).or_else(|| three("std", false))
}

fn number(v: &Value) -> Option<f64> {
    match v {
        Value::Float(x) if x.is_finite() => Some(*x),
        Value::Integer(n) => Some(*n as f64),
        _ => None,
    }
}

fn numbers(v: &Value) -> Option<Vec<f64>> {
    v.as_array()?.iter().map(number).collect()
}

/// The largest weight of a class: a bound that only keeps arithmetic safe.
pub(super) const WEIGHT: f64 = 1e6;

fn is_weight(w: &f64) -> bool {
    *w > 0.0 && *w <= WEIGHT
}

fn randaugment(v: &Value) -> bool {
    let (ops, bins) = (RandAugment::MOST as i64, RandAugment::BINS as i64);
    let numbers: Option<Vec<i64>> = v.as_array().and_then(|l| l.iter().map(Value::as_integer).collect());
    matches!(numbers.as_deref(), Some([n, m]) if (1..=ops).contains(n) && (0..bins).contains(m))
}

fn ascending(v: &Value) -> Option<()> {
    let list: Option<Vec<i64>> = v.as_array()?.iter().map(Value::as_integer).collect();
    let list = list?;
    let rising = list.windows(2).all(|w| w[0] < w[1]);
    (rising && list.first().is_none_or(|n| *n >= 0)).then_some(())
}

/// A value as a reader would call it.
pub(super) fn found(v: &Value) -> String {
    match v {
        Value::Table(_) => "a table".into(),
        Value::String(s) => format!("the string \"{s}\""),
        other => format!("{other}"),
    }
}
