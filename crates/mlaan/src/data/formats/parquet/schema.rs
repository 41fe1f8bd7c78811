//! Which columns of a parquet file hold the image and the label, and what the classes are called.

use parquet::basic::Type;
use serde_json::{Map, Value};

use super::super::class_names::class;
use super::footer::{Footer, Leaf};

/// The columns of interest, as indices of the file's leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// The encoded images.
    pub image: usize,
    /// The labels.
    pub label: Option<usize>,
    /// Whether the file says itself that these are labels.
    pub described: bool,
    /// Class names, when the file has them.
    pub names: Option<Vec<String>>,
}

/// Label columns in order of preference: CIFAR-100, for one, has a fine and a coarse one. Capitals do not matter.
const LABELS: [&str; 16] = [
    "label",
    "labels",
    "fine_label",
    "class",
    "target",
    "cls",
    "class_label",
    "class_id",
    "label_id",
    "class_name",
    "label_name",
    "classes",
    "category",
    "category_id",
    "coarse_label",
    "y",
];
/// What labels may be, for messages.
const READ: &str = "whole numbers, or the classes' names";
/// Image columns in order of preference.
const IMAGES: [&str; 2] = ["image", "img"];

/// Finds the columns by the metadata the `datasets` library writes, else by their names and types. An image is a group with
/// binary `bytes`, else a binary column. A label is a number, or, in a column that is called so, text. Where other files of
/// the set have said in which column labels are (`label`), they are in that one or in none: another lone number is a width.
///
/// # Errors
/// When there is no image column, or several that nothing tells apart; lists the file's columns.
pub(super) fn columns(file: &Footer, label: Option<&str>) -> Result<Columns, String> {
    let features = features(file);
    let typed = |name: &str| features.get(name)?.get("_type")?.as_str();
    let of = |fits: fn(&Leaf) -> bool| {
        let leaves = file.leaves.iter().enumerate().filter(|(_, leaf)| !leaf.repeated && fits(leaf));
        leaves.map(|(index, leaf)| (leaf.path.first().map_or("", String::as_str), index)).collect::<Vec<_>>()
    };
    let described = |name: &str| typed(name) == Some("Image");
    let within = pick(of(is_image), described, &IMAGES);
    let (_, image) = within.or_else(|| pick(of(is_plain_image), described, &IMAGES)).ok_or_else(|| {
        needs(file, "one image column (a group with binary `bytes`, as the `datasets` library writes, or a binary column called `image`)")
    })?;
    let label = match label {
        Some(label) => of(is_named_label).into_iter().find(|(name, index)| *name == label && *index != image),
        None => label_of(of(is_number), of(is_named_label), image, |name| typed(name) == Some("ClassLabel")),
    };
    let described = label.is_some_and(|(name, _)| typed(name) == Some("ClassLabel"));
    let names = label.and_then(|(name, _)| names(features.get(name)));
    Ok(Columns { image, described, label: label.map(|(_, index)| index), names })
}

/// The column of labels: among all of numbers, and among those of any kind that labels may be.
fn label_of<'a>(
    numbers: Vec<(&'a str, usize)>,
    any: Vec<(&'a str, usize)>,
    image: usize,
    described: impl Fn(&str) -> bool,
) -> Option<(&'a str, usize)> {
    // Text and fractions are labels only by their column's name: others are captions, and measurements.
    let called = any.into_iter().filter(|(name, index)| is_label(name) && *index != image);
    let label = pick(numbers.clone(), &described, &LABELS).filter(|(name, _)| described(name));
    let others = numbers.into_iter().filter(|(name, _)| !counts_or_measures(name)).collect();
    label
        .or_else(|| pick(called.collect(), &described, &LABELS))
        .or_else(|| pick(others, &described, &LABELS))
}

/// Whether a column's name says that it holds no classes: the number of a row, a length, a time.
fn counts_or_measures(name: &str) -> bool {
    const WORDS: [&str; 48] = [
        "id",
        "ids",
        "idx",
        "index",
        "no",
        "nr",
        "row",
        "rowid",
        "uid",
        "uuid",
        "guid",
        "key",
        "hash",
        "md5",
        "crc",
        "seed",
        "width",
        "height",
        "w",
        "h",
        "size",
        "length",
        "len",
        "bytes",
        "channels",
        "depth",
        "area",
        "year",
        "month",
        "day",
        "date",
        "time",
        "timestamp",
        "age",
        "price",
        "score",
        "rating",
        "count",
        "num",
        "rank",
        "x",
        "lat",
        "lon",
        "latitude",
        "longitude",
        "frame",
        "page",
        "fold",
    ];
    let name = name.to_ascii_lowercase();
    // A class may have a number as well: `class_idx`.
    let word = |word: &str| !word.is_empty() && WORDS.contains(&word);
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    let label = |word: &str| is_label(word) && word != "y";
    !name.split(|c: char| !c.is_alphanumeric()).any(label) && words.any(word)
}

/// Whether a column is called as one of labels is.
pub(super) fn is_label(name: &str) -> bool {
    LABELS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What a file without a label column is told; labels of other files are in the column `label`.
pub(super) fn no_label(file: &Footer, label: Option<&str>) -> String {
    let name = |leaf: &Leaf| leaf.path.first().cloned().unwrap_or_default();
    let meant = |leaf: &&Leaf| label.map_or_else(|| is_label(&name(leaf)), |label| name(leaf) == label);
    if let Some(leaf) = file.leaves.iter().find(meant) {
        return format!(
            "the column `{}` holds {}, which are no labels: read are {READ} (INT32, INT64, BOOLEAN, text, fractions that are \
             whole)",
            name(leaf),
            held(leaf)
        );
    }
    match label {
        Some(label) => {
            needs(file, &format!("the label column `{label}`, which has the training split's labels"))
        }
        None => needs(
            file,
            &format!("one label column, called `label` (rename it if it is there by another name): {READ}"),
        ),
    }
}

/// The other columns that are called as labels are, beside `label`.
pub(super) fn other_labels<'a>(file: &'a Footer, label: &str) -> Vec<&'a str> {
    let named = file.leaves.iter().filter(|leaf| is_named_label(leaf) && !leaf.repeated);
    let names = named.filter_map(|leaf| leaf.path.first().map(String::as_str));
    names.filter(|name| is_label(name) && *name != label).collect()
}

/// What a column holds, for messages.
fn held(leaf: &Leaf) -> String {
    let (within, stored) = (leaf.path.get(1..).unwrap_or_default().join("."), leaf.stored);
    let stored = if leaf.text { format!("text, {stored}") } else { stored.to_string() };
    match (leaf.meaning, leaf.repeated, within.is_empty()) {
        (Some(meaning), ..) => format!("{meaning} ({stored})"),
        (None, true, _) => format!("lists ({stored})"),
        (None, false, false) => format!("groups (`{within}`: {stored})"),
        (None, false, true) => stored,
    }
}

fn needs(file: &Footer, wanted: &str) -> String {
    let about = |leaf: &Leaf| match (leaf.meaning, leaf.text) {
        (Some(meaning), _) => format!(", {meaning}"),
        (None, true) => ", text".into(),
        (None, false) => String::new(),
    };
    let described = |leaf: &Leaf| format!("{} ({}{})", leaf.path.join("."), leaf.stored, about(leaf));
    let found: Vec<String> = file.leaves.iter().map(described).collect();
    format!("needs {wanted}; found {}", found.join(", "))
}

/// The feature descriptions in the file's metadata, by column name.
fn features(file: &Footer) -> Map<String, Value> {
    let value: Option<Value> = file.features.as_ref().and_then(|text| serde_json::from_str(text).ok());
    match value.as_ref().and_then(|v| v.pointer("/info/features")) {
        Some(Value::Object(features)) => features.clone(),
        _ => Map::new(),
    }
}

fn names(feature: Option<&Value>) -> Option<Vec<String>> {
    let names = feature?.get("names")?.as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|n| n.as_str().map(class)).collect();
    names.filter(|n| !n.is_empty())
}

fn is_image(leaf: &Leaf) -> bool {
    leaf.path.len() == 2 && leaf.path[1] == "bytes" && leaf.stored == Type::BYTE_ARRAY
}

fn is_plain_image(leaf: &Leaf) -> bool {
    leaf.path.len() == 1 && leaf.stored == Type::BYTE_ARRAY && !leaf.text
}

fn is_number(leaf: &Leaf) -> bool {
    leaf.path.len() == 1 && leaf.meaning.is_none() && matches!(leaf.stored, Type::INT32 | Type::INT64)
}

fn is_named_label(leaf: &Leaf) -> bool {
    let label = [Type::INT32, Type::INT64, Type::BYTE_ARRAY, Type::BOOLEAN, Type::FLOAT, Type::DOUBLE];
    leaf.path.len() == 1 && leaf.meaning.is_none() && label.contains(&leaf.stored)
}

/// Of the candidates, those the metadata names if any; of these the preferred name, else the only one.
fn pick<'a>(
    candidates: Vec<(&'a str, usize)>,
    described: impl Fn(&str) -> bool,
    preferred: &[&str],
) -> Option<(&'a str, usize)> {
    let known: Vec<_> = candidates.iter().copied().filter(|c| described(c.0)).collect();
    let from = if known.is_empty() { candidates } else { known };
    let exact = |name: &&str| from.iter().find(|c| c.0 == *name);
    let by_name = preferred
        .iter()
        .find_map(|name| exact(name).or_else(|| from.iter().find(|c| c.0.eq_ignore_ascii_case(name))));
    by_name.or(if from.len() == 1 { from.first() } else { None }).copied()
}
