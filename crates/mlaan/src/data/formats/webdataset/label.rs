//! Labels of samples: a class's index or name, from `KEY.cls`, `KEY.json` or `KEY.txt`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::class_names::{alike, class};
use super::super::names::{controlled, numbered, unmarked};
use crate::data::notes::few;
use crate::{Error, Result};

/// What a label is read from; the first of a sample's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LabelFile {
    /// `KEY.cls`: nothing but the label.
    Cls,
    /// `KEY.json`: the label, or an object with the label in it.
    Json,
    /// `KEY.txt`: the label, unless it is a caption.
    Txt,
}

/// A label, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// The class's index.
    Index(i64),
    /// The class's name.
    Name(String),
}

/// Keys of a JSON object under which the label is looked for, in this order; capitals do not matter.
const KEYS: [&str; 11] = [
    "label",
    "cls",
    "class",
    "target",
    "class_id",
    "class_name",
    "labels",
    "label_id",
    "class_idx",
    "category",
    "category_id",
];

impl LabelFile {
    /// Of a member with this ending.
    pub fn of(ending: &str) -> Option<Self> {
        match ending {
            "cls" => Some(LabelFile::Cls),
            "json" => Some(LabelFile::Json),
            "txt" => Some(LabelFile::Txt),
            _ => None,
        }
    }

    /// Longest text that is read; a longer JSON or text holds something else.
    pub fn most(self) -> u64 {
        match self {
            LabelFile::Cls | LabelFile::Txt => 256,
            LabelFile::Json => 1 << 20,
        }
    }

    /// The label in such a member; nothing where it holds something else.
    ///
    /// # Errors
    /// A `.cls` that is empty or no text; a name with a control character.
    pub fn label(self, bytes: &[u8]) -> std::result::Result<Option<Label>, String> {
        let label = match self {
            LabelFile::Cls => {
                let text = std::str::from_utf8(bytes).map_err(|_| "this label is no text".to_owned())?;
                let empty = "this label is empty: write the class's index or name";
                Some(Label::of(text).ok_or(empty)?)
            }
            LabelFile::Json => in_json(bytes),
            LabelFile::Txt => std::str::from_utf8(bytes).ok().and_then(Label::of),
        };
        match &label {
            // A text with such characters is no caption either, but need not be a label.
            Some(Label::Name(name)) if self == LabelFile::Txt && controlled(name).is_some() => Ok(None),
            Some(Label::Name(name)) => match controlled(name) {
                Some(message) => Err(format!("this label {message}")),
                None => Ok(label),
            },
            _ => Ok(label),
        }
    }
}

/// For a message about a sample without a label: what its JSON holds instead.
pub(super) fn instead(json: &[u8]) -> String {
    let about = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "no whole number",
        Value::String(_) => "empty",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let text = std::str::from_utf8(json).map(unmarked).unwrap_or_default();
    let object = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => object,
        Ok(value) => return format!(" (its JSON is {})", about(&value)),
        Err(_) => return " (its JSON cannot be read)".into(),
    };
    let known = |key: &str| object.keys().find(|name| name.eq_ignore_ascii_case(key));
    match KEYS.iter().find_map(|key| object.get_key_value(known(key)?)) {
        Some((key, value)) => format!(" (`{key}` in its JSON is {})", about(value)),
        None if object.is_empty() => " (its JSON is empty)".into(),
        None => format!(" (its JSON holds {})", few(object.keys().map(String::as_str))),
    }
}

fn in_json(bytes: &[u8]) -> Option<Label> {
    let value: Value = serde_json::from_str(unmarked(std::str::from_utf8(bytes).ok()?)).ok()?;
    let Value::Object(object) = &value else {
        return plain(&value);
    };
    let under = |key: &str| {
        let alike =
            || object.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value);
        object.get(key).into_iter().chain(alike()).find_map(|value| match value {
            // A list of one label, as of a picture that may have several.
            Value::Array(list) if list.len() == 1 => plain(&list[0]),
            value => plain(value),
        })
    };
    KEYS.iter().find_map(|key| under(key))
}

/// The label that a text or a whole number is.
fn plain(value: &Value) -> Option<Label> {
    match value {
        Value::String(text) => Label::of(text),
        Value::Number(number) => number.as_i64().or_else(|| whole(&number.to_string())).map(Label::Index),
        _ => None,
    }
}

/// The number that is written with a fraction of nothing, as `1.0`.
fn whole(text: &str) -> Option<i64> {
    let (number, fraction) = text.split_once('.')?;
    fraction.bytes().all(|digit| digit == b'0').then(|| number.parse().ok())?
}

impl Label {
    fn of(text: &str) -> Option<Self> {
        let text = unmarked(text).trim();
        match text.parse().ok().or_else(|| whole(text)) {
            Some(index) => Some(Label::Index(index)),
            None => (!text.is_empty()).then(|| Label::Name(class(text))),
        }
    }
}

/// Labels of a split, and what messages call their images.
pub(super) struct Labels<'a> {
    pub labels: &'a [(LabelFile, Label)],
    pub place: &'a dyn Fn(usize) -> String,
}

/// The classes of a set without a list of them: the names in its training labels, or numbers.
///
/// # Errors
/// A wild number.
pub(super) fn classes(place: &str, train: &Labels<'_>) -> Result<Vec<String>> {
    let index = |(_, label): &(LabelFile, Label)| match label {
        Label::Index(index) => Some(*index),
        Label::Name(_) => None,
    };
    let mut names: Vec<String> = train.labels.iter().filter_map(named).map(str::to_owned).collect();
    let Some(first) = train.labels.iter().position(|label| named(label).is_some()) else {
        return numbered(place, train.labels.iter().filter_map(index));
    };
    if let Some(number) = train.labels.iter().position(|label| index(label).is_some()) {
        let (name, other) = (&names[0], (train.place)(number));
        let message = format!(
            "its label is `{name}`, not a whole number in digits as that of {other} is: write all as numbers, or all as names"
        );
        return Err(Error::data((train.place)(first), message));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The name that says a class. A text alone may be a caption, so it makes no class.
fn named((source, label): &(LabelFile, Label)) -> Option<&str> {
    match label {
        Label::Name(name) if *source != LabelFile::Txt => Some(name),
        _ => None,
    }
}

impl Labels<'_> {
    /// Labels as indices into `classes`, which are `listed` in a file or were found in labels.
    ///
    /// # Errors
    /// A name that is no class, or a number among names.
    pub fn indices(&self, classes: &[String], listed: bool) -> Result<Vec<i64>> {
        let by_name: BTreeMap<String, i64> = classes.iter().map(|name| class(name)).zip(0..).collect();
        let numbers = listed || classes.iter().enumerate().all(|(i, name)| *name == i.to_string());
        let twice = |name: &str| -> Option<(usize, usize)> {
            let mut same =
                classes.iter().enumerate().filter(|(_, other)| class(other) == name).map(|(i, _)| i);
            Some((same.next()?, same.next()?))
        };
        // Of names in a list one may stand twice, as `crane` in ImageNet's: as a label it says too little.
        let ambiguous = by_name.len() < classes.len();
        let index = |(at, (source, label)): (usize, &(LabelFile, Label))| match label {
            Label::Index(index) if numbers => Ok(*index),
            Label::Index(index) => match by_name.get(&index.to_string()) {
                Some(index) => Ok(*index),
                None => Err(Error::data(
                    (self.place)(at),
                    format!(
                        "its label {index} is a number, where others are names: write all as one of both"
                    ),
                )),
            },
            Label::Name(name) if let Some((one, other)) = twice(name).filter(|_| ambiguous) => {
                Err(Error::data(
                    (self.place)(at),
                    format!(
                        "its label `{name}` is the name of both class {one} and class {other}: write the number"
                    ),
                ))
            }
            Label::Name(name) => by_name.get(name).copied().ok_or_else(|| {
                Error::data((self.place)(at), unknown(*source, name, classes, numbers && !listed))
            }),
        };
        self.labels.iter().enumerate().map(index).collect()
    }
}

fn unknown(source: LabelFile, name: &str, classes: &[String], numbers: bool) -> String {
    match (source, numbers) {
        (LabelFile::Txt, _) => format!(
            "its label is looked for in `.cls`, in `.json` (`label`, `cls` or `class`) and in `.txt`, but its `.txt` (`{name}`) \
             is neither a number nor a class of `classes.txt`"
        ),
        (_, true) => format!("its label `{name}` is not a whole number in digits, as others are"),
        (_, false) => {
            let known = few(classes.iter().map(String::as_str));
            let alike = alike(name, classes);
            format!(
                "its label `{name}` is no class of training ({known}){alike}: add training images of it, or remove it"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_in_each_kind_of_member() {
        let index = |n| Ok(Some(Label::Index(n)));
        let name = |n: &str| Ok(Some(Label::Name(n.into())));
        assert_eq!(LabelFile::Cls.label(b" 7\n"), index(7));
        assert_eq!(LabelFile::Cls.label("cafe\u{301}".as_bytes()), name("caf\u{e9}"));
        assert!(LabelFile::Cls.label(b" ").is_err() && LabelFile::Cls.label(b"\xff").is_err());
        assert_eq!(LabelFile::Json.label(br#"{"label": 3, "width": 9}"#), index(3));
        assert_eq!(LabelFile::Json.label(br#"{"cls": "5"}"#), index(5));
        assert_eq!(LabelFile::Json.label(br#"{"label": null, "class": "cat"}"#), name("cat"));
        for other in [&b"{}"[..], b"[1]", b"no", br#"{"label": [0, 1]}"#, br#"{"label": 1.5}"#] {
            assert_eq!(LabelFile::Json.label(other), Ok(None));
        }
        for one in ["1.0", "\u{feff}1", "\u{feff}1.00\r\n", "+1", "1."] {
            assert_eq!(LabelFile::Cls.label(one.as_bytes()), index(1), "{one:?}");
            assert_eq!(LabelFile::Txt.label(one.as_bytes()), index(1), "{one:?}");
        }
        assert_eq!(LabelFile::Cls.label("\u{feff}cat\n".as_bytes()), name("cat"));
        assert_eq!(LabelFile::Cls.label(b"v1.5"), name("v1.5"));
        for bad in [&b"cat\0"[..], b"3\0", b"a\x1bb"] {
            assert!(LabelFile::Cls.label(bad).unwrap_err().contains("control character U+00"));
        }
        assert!(LabelFile::Json.label(br#"{"label": "a\u0000b"}"#).unwrap_err().contains("U+0000"));
        assert_eq!(LabelFile::Json.label(b"3"), index(3));
        assert_eq!(LabelFile::Json.label("\u{feff}\"cat\"".as_bytes()), name("cat"));
        for json in [
            r#"{"label": 1.0}"#,
            r#"{"label": [1]}"#,
            r#"{"target": 1}"#,
            r#"{"class_id": "1"}"#,
            r#"{"Label": 1}"#,
            r#"{"LABEL": null, "Class_ID": 1, "class_name": "cat"}"#,
        ] {
            assert_eq!(LabelFile::Json.label(json.as_bytes()), index(1), "{json}");
        }
        assert_eq!(LabelFile::Json.label(br#"{"class_name": ["cat"]}"#), name("cat"));
        assert_eq!(LabelFile::Txt.label(b"2"), index(2));
        assert_eq!(LabelFile::Txt.label(b""), Ok(None));
    }

    #[test]
    fn names_and_numbers_become_indices() {
        let place = |at: usize| format!("image {at}");
        let cls = |label: Label| (LabelFile::Cls, label);
        let names = [cls(Label::Name("dog".into())), cls(Label::Name("cat".into()))];
        let labels = Labels { labels: &names, place: &place };
        let found = classes("x", &labels).unwrap();
        let both = [cls(Label::Index(0)), cls(Label::Name("cat".into()))];
        let message = classes("x", &Labels { labels: &both, place: &place }).unwrap_err().to_string();
        assert!(
            message.starts_with("image 1") && message.contains("`cat`") && message.contains("image 0"),
            "{message}"
        );
        assert_eq!(found, ["cat", "dog"]);
        assert_eq!(labels.indices(&found, false).unwrap(), [1, 0]);
        let mixed = [cls(Label::Index(0)), cls(Label::Name("cat".into()))];
        let mixed = Labels { labels: &mixed, place: &place };
        assert!(mixed.indices(&found, false).unwrap_err().to_string().contains("image 0"));
        assert_eq!(mixed.indices(&found, true).unwrap(), [0, 0]);
        let twice = ["cat", "dog", "cat"].map(String::from);
        let message = labels.indices(&twice, true).unwrap_err().to_string();
        assert!(message.contains("`cat` is the name of both class 0 and class 2"), "{message}");
        let caption = [(LabelFile::Txt, Label::Name("a cat".into()))];
        let caption = Labels { labels: &caption, place: &place };
        assert!(classes("x", &caption).unwrap().is_empty());
        let message = caption.indices(&[], false).unwrap_err().to_string();
        assert!(message.contains("`.cls`") && message.contains("a cat"), "{message}");
    }
}
