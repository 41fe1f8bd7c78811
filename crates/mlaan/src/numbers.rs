//! Numbers in files that are too large, or of another kind, for what holds them: said as they are written, with their key and
//! the bound, where parsers would speak of their own types.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use toml::de::{DeTable, DeValue};

/// A number of a JSON file, where `null` is what a number that is not finite became.
pub(crate) fn number<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f64::NAN))
}

/// Likewise, of a list.
pub(crate) fn numbers<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
    let values: Vec<Option<f64>> = Vec::deserialize(d)?;
    Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

/// A number that a file does not hold.
pub(crate) fn missing() -> f64 {
    f64::NAN
}

/// The first whole number of a TOML text that TOML's 64 bits do not hold: its key, and how it is written.
pub(crate) fn too_large(text: &str) -> Option<(String, String)> {
    let root = DeTable::parse(text).ok()?;
    in_table("", root.get_ref())
}

fn in_table(path: &str, table: &DeTable<'_>) -> Option<(String, String)> {
    table.iter().find_map(|(name, value)| {
        let path =
            if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
        in_value(&path, value.get_ref())
    })
}

fn in_value(path: &str, value: &DeValue<'_>) -> Option<(String, String)> {
    match value {
        DeValue::Integer(n) => {
            let fits = i64::from_str_radix(n.as_str(), n.radix()).is_ok();
            (!fits).then(|| (path.to_owned(), n.to_string()))
        }
        DeValue::Array(list) => list.iter().find_map(|v| in_value(path, v.get_ref())),
        DeValue::Table(table) => in_table(path, table),
        _ => None,
    }
}

/// What whole numbers TOML holds.
pub(crate) const TOML_WHOLE: &str = "a whole number of 64 bits, at most 9223372036854775807";

/// Reads JSON.
///
/// # Errors
/// What is wrong with which key; a number by its own digits.
pub(crate) fn read_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let key = e.path().to_string();
        let e = e.into_inner();
        let said = e.to_string();
        let is_number = ["integer `", "floating point `"].iter().any(|kind| said.contains(kind));
        let written = number_before(json, e.line(), e.column()).zip(whole(&said));
        match written.filter(|_| is_number && e.is_data() && key != ".") {
            Some((number, bound)) => format!("key `{key}` is {number}, expected {bound}"),
            None if key == "." => e.to_string(),
            None => format!("key `{key}`: {e}"),
        }
    })?;
    reader.end().map_err(|e| e.to_string())?;
    Ok(read)
}

/// The number that ends at a place of a JSON text (lines and columns from 1), as it is written there.
fn number_before(json: &[u8], line: usize, column: usize) -> Option<&str> {
    let line = json.split(|b| *b == b'\n').nth(line.checked_sub(1)?)?;
    let before = line.get(..column.min(line.len()))?;
    let of_number = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
    // Some values are known to be wrong only when what follows them has been read.
    let end = before.iter().rposition(u8::is_ascii_digit)? + 1;
    let begin = before[..end].iter().rposition(|b| !of_number(b)).map_or(0, |i| i + 1);
    std::str::from_utf8(&before[begin..end]).ok()
}

/// What whole numbers are allowed where serde expected one of its types.
fn whole(message: &str) -> Option<String> {
    let expected = message.split_once(", expected ")?.1.split(' ').next()?;
    let most = match expected {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" | "usize" => u64::MAX,
        _ => return None,
    };
    Some(format!("a whole number from 0 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_toml_are_found_by_their_keys() {
        let found = |text: &str| too_large(text);
        assert_eq!(found("seed = 1\n[train]\nepochs = 9223372036854775807"), None);
        let (key, number) = found("seed = 1\n[train]\nbatch = 9223372036854775808").unwrap();
        assert_eq!((key.as_str(), number.as_str()), ("train.batch", "9223372036854775808"));
        let (key, number) = found("a = [[1], [2, 0xffffffffffffffffff]]").unwrap();
        assert_eq!((key.as_str(), number.as_str()), ("a", "0xffffffffffffffffff"));
        assert_eq!(found("a = -99999999999999999999").unwrap().1, "-99999999999999999999");
        assert_eq!(found("a = "), None);
    }

    #[derive(serde::Deserialize, Debug)]
    struct Inner {
        epoch: usize,
        small: u8,
    }

    #[derive(serde::Deserialize, Debug)]
    struct Outer {
        all: Vec<Inner>,
    }

    #[test]
    fn numbers_in_json_are_said_as_they_are_written() {
        let error = |epoch: &str, small: &str| {
            let text = format!("{{\n \"all\": [\n  {{\"epoch\": {epoch}, \"small\": {small}}}]}}");
            read_json::<Outer>(text.as_bytes()).map(|o| o.all[0].epoch + usize::from(o.all[0].small))
        };
        assert_eq!(error("7", "1"), Ok(8));
        let most = u64::MAX;
        for (epoch, key) in [
            ("18446744073709551616", most),
            ("100000000000000000000000000000000000", most),
            ("-1", most),
            ("1.5", most),
            ("1e300", most),
        ] {
            let says = format!("key `all[0].epoch` is {epoch}, expected a whole number from 0 to {key}");
            assert_eq!(error(epoch, "1"), Err(says));
        }
        assert_eq!(
            error("1", "256"),
            Err("key `all[0].small` is 256, expected a whole number from 0 to 255".into())
        );
        let text = error("\"a\"", "1").unwrap_err();
        assert!(text.contains("all[0].epoch") && text.contains("string"), "{text}");
        assert!(read_json::<Outer>(b"{\"all\": []} x").unwrap_err().contains("trailing"));
    }
}
