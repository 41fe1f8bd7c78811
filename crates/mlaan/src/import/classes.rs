//! Names of classes from a file: one a line, or JSON.

use super::class_json::parse;
use super::class_lines::lines;
use super::named::{Named, ordered};
use crate::data::{class, told_apart};
use crate::{Error, Result, files};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What JSON may be, for messages.
const FORMS: &str = "read are [\"cat\", \"dog\"], {\"0\": \"cat\", \"1\": \"dog\"}, {\"0\": [\"n01\", \"cat\"], …}, {\"cat\": 0, \"dog\": 1}, [{\"id\": 0, \"name\": \"cat\"}, …] and a config.json with `id2label`";

/// Reads the names of classes in the order of a classifier's outputs: one a line (with its index, where all have one), a JSON
/// list, or a JSON object from indices to names (or lists that end with them, as ImageNet's) or from names to indices; also as
/// Python prints them, and as `id2label` of Hugging Face's `config.json`. Names that look the same are told apart.
///
/// # Errors
/// [`Error::Data`]: no text, an empty line between names, an index that is missing or twice, fewer than two names.
pub fn read_classes(path: &Path) -> Result<Vec<String>> {
    let wrong = |message: String| Error::data(path.display().to_string(), message);
    let text = String::from_utf8(files::read(path, files::CLASSES)?).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        wrong(format!("no text in UTF-8 (byte {at}); save the names of the classes so, one a line"))
    })?;
    let names = names(&text).map_err(wrong)?;
    match names.len() {
        0 | 1 => {
            Err(wrong(format!("{} is named; at least 2 classes are needed, one a line", said(names.len()))))
        }
        _ => Ok(told_apart(names.iter().map(|name| class(name)).collect())),
    }
}

fn said(n: usize) -> String {
    if n == 1 { "1 class".into() } else { "no class".into() }
}

fn names(text: &str) -> std::result::Result<Vec<String>, String> {
    // A byte-order mark is no part of the first name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start();
    // A tuple of Python's, not a name in brackets.
    let tuple = start.starts_with(['(']) && start[1..].trim_start().starts_with(['\'', '"', '(']);
    if start.starts_with(['[', '{']) || tuple {
        let value = parse(text).map_err(|e| format!("{e}; {FORMS}, or one name a line"))?;
        return json(within(&value));
    }
    lines(text)
}

/// The names in what holds other things too: a `config.json` of Hugging Face, a list of classes under its name.
fn within(value: &Value) -> &Value {
    const KEYS: [&str; 8] =
        ["id2label", "label2id", "class_to_idx", "classes", "class_names", "names", "labels", "categories"];
    let inner = KEYS.iter().filter_map(|key| value.get(key));
    inner.into_iter().find(|value| value.is_array() || value.is_object()).unwrap_or(value)
}

fn json(value: &Value) -> std::result::Result<Vec<String>, String> {
    match value {
        Value::Array(list) if !list.is_empty() && list.iter().all(|entry| index(entry).is_some()) => {
            let pair = |entry: &Value| Ok((index(entry), name("of an object", entry)?));
            ordered(list.iter().map(pair).collect::<std::result::Result<_, String>>()?).map(with_ids)
        }
        Value::Array(list) => {
            let named = |(i, v): (usize, &Value)| name(&i.to_string(), v);
            list.iter().enumerate().map(named).collect::<std::result::Result<_, _>>().map(with_ids)
        }
        Value::Object(table) if by_name(table) => {
            let pairs = table.iter().map(|(name, at)| (number(at), Named { name: name.clone(), id: None }));
            ordered(pairs.collect()).map(with_ids)
        }
        Value::Object(table) => {
            let pair = |(key, value): (&String, &Value)| {
                let index =
                    key.parse::<u64>().map_err(|_| format!("the key {key:?} is no index; {FORMS}"))?;
                Ok((Some(index), name(key, value)?))
            };
            ordered(table.iter().map(pair).collect::<std::result::Result<_, String>>()?).map(with_ids)
        }
        _ => Err(format!("JSON, and neither a list nor an object; {FORMS}")),
    }
}

/// Whether names lead to indices: numbers, or their digits where no key is an index itself.
fn by_name(table: &serde_json::Map<String, Value>) -> bool {
    let keys = || table.keys().any(|key| key.parse::<u64>().is_ok());
    table.values().all(Value::is_u64) || (table.values().all(|v| number(v).is_some()) && !keys())
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The index that an object has beside its name.
fn index(entry: &Value) -> Option<u64> {
    ["id", "index", "idx", "class_id", "label_id"].iter().find_map(|key| entry.get(key)?.as_u64())
}

/// The name that an entry holds: itself, or the last of a list, as of ImageNet's `["n01440764", "tench"]`.
fn name(at: &str, value: &Value) -> std::result::Result<Named, String> {
    let text = match value {
        Value::Array(list) if list.iter().all(Value::is_string) => list.last().and_then(Value::as_str),
        Value::Object(object) => ["name", "label", "class"].iter().find_map(|key| object.get(*key)?.as_str()),
        other => other.as_str(),
    };
    let id = value.as_array().filter(|list| list.len() > 1).and_then(|list| list.first()?.as_str());
    match text.map(str::trim) {
        Some("") => Err(format!("the name of class {at} is empty")),
        Some(text) => Ok(Named { name: text.to_owned(), id: id.map(str::to_owned) }),
        None => {
            let shown: String = value.to_string().chars().take(60).collect();
            Err(format!("class {at} is {shown}, which is no name; {FORMS}"))
        }
    }
}

/// The names; those of several classes with what else these are called, as two of ImageNet's classes are cranes.
fn with_ids(classes: Vec<Named>) -> Vec<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for class in &classes {
        *times.entry(class.name.clone()).or_default() += 1;
    }
    let shown = |class: Named| match (times.get(&class.name), class.id) {
        (Some(2..), Some(id)) => format!("{} ({id})", class.name),
        _ => class.name,
    };
    classes.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_objects_give_names_in_the_order_of_outputs() {
        for text in [
            "blue\ngreen\nred",
            "blue\ngreen\nred\n\n\n",
            "\u{feff}blue\r\ngreen\r\nred\r\n",
            "blue\rgreen\rred\r",
            "  blue \n\tgreen\nred  ",
            "[\"blue\", \"green\", \"red\"]",
            "\u{feff}\n{\"2\": \"red\", \"0\": \"blue\", \"1\": \"green\"}",
            "{\"0\": [\"n01\", \"blue\"], \"1\": [\"n02\", \"green\"], \"2\": [\"n03\", \"red\"]}",
            "[[\"n01\", \"blue\"], [\"n02\", \"green\"], \"red\"]",
            "{\"red\": 2, \"blue\": 0, \"green\": 1}",
            "{\"red\": \"2\", \"blue\": \"0\", \"green\": \"1\"}",
            "{0: 'blue',\n 1: 'green',\n 2: 'red'}",
            "('blue', 'green', 'red')",
            "{\"model_type\": \"resnet\", \"id2label\": {\"0\": \"blue\", \"2\": \"red\", \"1\": \"green\"}, \"label2id\": {}}",
            "{\"classes\": [\"blue\", \"green\", \"red\"]}",
            "[{\"id\": 2, \"name\": \"red\"}, {\"id\": 0, \"name\": \"blue\"}, {\"id\": 1, \"name\": \"green\"}]",
            "{\"0\": {\"name\": \"blue\"}, \"2\": {\"name\": \"red\"}, \"1\": {\"name\": \"green\"}}",
            "2,red\n0,blue\n1,green",
        ] {
            assert_eq!(names(text).unwrap(), ["blue", "green", "red"], "{text:?}");
        }
        // Two of ImageNet's classes are cranes.
        let cranes =
            r#"{"0": ["n02012849", "crane"], "1": ["n01440764", "tench"], "2": ["n03126707", "crane"]}"#;
        assert_eq!(names(cranes).unwrap(), ["crane (n02012849)", "tench", "crane (n03126707)"]);
        // As torchvision's `class_to_idx` of digits.
        assert_eq!(names("{\"1\": 0, \"0\": 1}").unwrap(), ["1", "0"]);
        // More than ten: by number, not by text.
        let many: Vec<String> = (0..12).map(|i| format!("\"{i}\": \"class {i}\"")).collect();
        let found = names(&format!("{{{}}}", many.join(","))).unwrap();
        assert_eq!((found[2].as_str(), found[11].as_str()), ("class 2", "class 11"));
        assert_eq!(
            names("[unk\n").unwrap_err().split(" (").next(),
            Some("it begins as JSON does, and is none")
        );
    }

    #[test]
    fn what_is_missing_or_twice_is_an_error() {
        for (text, part) in [
            ("blue\n\ngreen\nred", "line 2 is empty"),
            ("\nblue\ngreen", "line 1 is empty"),
            ("blue\r\n \r\nred", "line 2 is empty"),
            ("{\"0\": \"a\", \"2\": \"b\"}", "class 1 has no name, and the highest index is 2"),
            ("{\"1\": \"a\", \"2\": \"b\"}", "class 0 has no name"),
            ("{\"a\": 0, \"b\": 0}", "class 0 is both \"a\" and \"b\""),
            ("{\"0\": \"a\", \"0\": \"b\", \"1\": \"c\"}", "the key \"0\" is there twice"),
            ("[{\"id\": 0, \"name\": \"a\"}, {\"id\": 0, \"name\": \"b\"}]", "class 0 is both"),
            ("{\"0\": \"a\", \"00\": \"b\"}", "class 0 is both"),
            ("{\"a\": \"b\"}", "\"a\" is no index"),
            ("{\"a\": -1, \"b\": 0}", "is no index"),
            ("[\"a\", 3]", "class 1 is 3"),
            ("[\"a\", \"\"]", "class 1 is empty"),
            ("[\"a\", []]", "class 1 is []"),
            ("[\"a\", null]", "class 1 is null"),
            ("{\"0\": \"a\",", "is none (EOF"),
        ] {
            let message = names(text).unwrap_err();
            assert!(message.contains(part), "{text:?}: {message}");
        }
        let at = tempfile::tempdir().unwrap();
        let file = at.path().join("names");
        for (bytes, part) in [
            (&b""[..], "no class is named"),
            (b"blue\n", "1 class is named"),
            (b"[]", "no class is named"),
            (b"blue\ngr\xfcn", "no text in UTF-8 (byte 7)"),
            (b"\xff\xfeb\0l\0", "no text in UTF-8"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let message = read_classes(&file).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(read_classes(&at.path().join("nowhere")).is_err());
        std::fs::write(&file, "cafe\u{301}\ncat\nc\u{430}t\ncrane\ncrane\n").unwrap();
        let told = ["caf\u{e9}", "cat", "c\\u{430}t", "crane (3)", "crane (4)"];
        assert_eq!(read_classes(&file).unwrap(), told);
    }
}
