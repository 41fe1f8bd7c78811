//! JSON of names of classes, and what Python prints in its place.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// JSON, or a list or dictionary as Python writes it (`{0: 'tench'}`).
///
/// # Errors
/// Neither; a key that is there twice, of which a parser keeps only one.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let (value, text) = match serde_json::from_str(text) {
        Ok(value) => (value, text.to_owned()),
        Err(e) => {
            let text = from_python(text);
            let value = serde_json::from_str(&text)
                .map_err(|_| format!("it begins as JSON does, and is none ({e})"))?;
            (value, text)
        }
    };
    serde_json::from_str::<Once>(&text).map_err(|e| e.to_string())?;
    Ok(value)
}

/// What Python prints, as JSON: strings in either marks, numbers as keys, tuples, a comma behind the last entry.
fn from_python(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => out.push_str(&Value::String(string(c, &mut rest)).to_string()),
            '(' => out.push('['),
            ')' => out.push(']'),
            ',' if matches!(after_space(&rest), Some('}' | ']' | ')')) => {}
            '0'..='9' => {
                let mut number = String::from(c);
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    number.push(digit);
                }
                let is_key = after_space(&rest) == Some(':');
                out.push_str(&if is_key { format!("\"{number}\"") } else { number });
            }
            c => out.push(c),
        }
    }
    out
}

fn after_space(rest: &Peekable<Chars<'_>>) -> Option<char> {
    rest.clone().find(|c| !c.is_whitespace())
}

/// The text up to the mark that ends it.
fn string(mark: char, rest: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next().filter(|c| *c != mark) {
        text.push(if c == '\\' { escaped(rest).unwrap_or(c) } else { c });
    }
    text
}

fn escaped(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let digits = match rest.next()? {
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        c => return Some(c),
    };
    let code: String = rest.by_ref().take(digits).collect();
    char::from_u32(u32::from_str_radix(&code, 16).ok()?)
}

/// Values whose objects have every key once.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Once)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format!("the key {key:?} is there twice")));
            }
            map.next_value::<Once>()?;
            keys.insert(key);
        }
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
        while list.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_read_as_json() {
        for (python, json) in [
            (
                "{0: 'tench, Tinca tinca',\n 1: \"chickadee's\",}",
                r#"{"0":"tench, Tinca tinca","1":"chickadee's"}"#,
            ),
            ("('a', 'b',)", r#"["a","b"]"#),
            (r"['it\'s', 'caf\xe9', 'a\\b', 'x (y), {z: 1}']", r#"["it's","café","a\\b","x (y), {z: 1}"]"#),
            ("{'a': 0, 'b': 1}", r#"{"a":0,"b":1}"#),
        ] {
            assert_eq!(parse(python).unwrap(), serde_json::from_str::<Value>(json).unwrap(), "{python}");
        }
        for text in ["{0: 'a', 0: 'b'}", r#"{"0":"a","0":"b"}"#, r#"{"x":{"0":true,"0":[1.5,-1,null]}}"#] {
            let message = parse(text).unwrap_err();
            assert!(message.contains("the key \"0\" is there twice"), "{message}");
        }
        assert!(parse("[unk").is_err() && parse("['a").is_err() && parse("{0: a}").is_err());
    }
}
