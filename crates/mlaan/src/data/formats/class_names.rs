//! Names of classes as text: one name in two spellings of Unicode is one name, and two names never look the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_security::skeleton;

use crate::text::nearest;

/// The name of a file as text. Bytes that are no UTF-8 are written `\xE9`, so that names stay apart.
pub(in crate::data) fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// The class that a folder's name stands for: letters with accents composed (NFC), as a Mac does not write them.
pub(crate) fn class(name: &str) -> String {
    if is_nfc(name) { name.to_owned() } else { name.nfc().collect() }
}

/// Class names in which those that would look the same show how they differ: by what takes no room, else by letters of another
/// script. Those that are the same, as ImageNet's two `crane`s, have their numbers behind them.
pub(crate) fn told_apart(names: Vec<String>) -> Vec<String> {
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_graphic());
    let distinct: BTreeSet<&String> = names.iter().collect();
    if names.iter().all(plain) && distinct.len() == names.len() {
        return names;
    }
    let names = each_alike(names, appearance, |name, _| revealed(name));
    let names = each_alike(
        names,
        |name| skeleton(&appearance(name)).collect(),
        |name, _| escaped(name, |c| !c.is_ascii()),
    );
    each_alike(names, str::to_owned, |name, at| format!("{name} ({at})"))
}

/// Says which classes differ in capitals alone: two on this disk, and one on others.
pub(super) fn in_capitals_alone(names: &[String]) -> Vec<String> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut said = Vec::new();
    for name in names {
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            said.push(format!("`{other}` and `{name}` differ in capitals alone, and are two classes: rename one if they are meant as one"));
        }
    }
    said
}

/// A name without what [`told_apart`] writes of its letters: one that is alone in another set shows none of them.
pub(crate) fn as_written(name: &str) -> String {
    let (mut text, mut rest) = (String::new(), name);
    while let Some((before, behind)) = rest.split_once("\\u{") {
        let letter = behind.split_once('}').and_then(|(number, after)| {
            Some((char::from_u32(u32::from_str_radix(number, 16).ok()?)?, after))
        });
        let Some((letter, after)) = letter else { break };
        text.push_str(before);
        text.push(letter);
        rest = after;
    }
    text + rest
}

/// The names, with `change` (of a name and its number) those of which several are alike by `key`.
fn each_alike(
    names: Vec<String>,
    key: impl Fn(&str) -> String,
    change: impl Fn(&str, usize) -> String,
) -> Vec<String> {
    let keys: Vec<String> = names.iter().map(|name| key(name)).collect();
    let mut alike: BTreeMap<&str, usize> = BTreeMap::new();
    keys.iter().for_each(|key| *alike.entry(key).or_default() += 1);
    let shown = |(at, (name, key)): (usize, (String, &String))| match alike.get(key.as_str()) {
        Some(2..) => change(&name, at),
        _ => name,
    };
    names.into_iter().zip(&keys).enumerate().map(shown).collect()
}

/// A name and the one of `others` that could be taken for it: both with what does not show, or may be another letter.
pub(super) fn mistaken<'a>(
    name: &str,
    others: impl Iterator<Item = &'a str> + Clone,
) -> Option<(String, String)> {
    if let Some(other) = others.clone().find(|other| appearance(other) == appearance(name)) {
        return Some((revealed(name), revealed(other)));
    }
    let foreign = |other: &&str| other_letters(name, other);
    let near = others.clone().find(foreign).or_else(|| nearest(name, others, 1).first().copied());
    let shown = |name: &str| escaped(name, |c| !c.is_ascii());
    near.map(|other| (shown(name), shown(other)))
}

/// For a message about a name that is none of `others`: how it differs from one that it could be taken for.
pub(super) fn alike(name: &str, others: &[String]) -> String {
    let found = mistaken(name, others.iter().map(String::as_str));
    found.map_or_else(String::new, |(a, b)| format!(" (here it is `{a}`, there `{b}`)"))
}

/// Whether names look the same, or differ in capitals alone.
pub(super) fn look_alike(a: &str, b: &str) -> bool {
    appearance(a).to_lowercase() == appearance(b).to_lowercase()
}

/// Whether names differ only in letters of which one is not Latin, as `а` (Cyrillic) and `a`.
fn other_letters(a: &str, b: &str) -> bool {
    let pairs = || a.chars().zip(b.chars());
    a.chars().count() == b.chars().count() && pairs().all(|(a, b)| a == b || a.is_ascii() != b.is_ascii())
}

/// What people see of a name.
fn appearance(name: &str) -> String {
    let visible: String =
        name.nfkc().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !ignored(*c)).collect();
    visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A name that shows all of its characters.
fn revealed(name: &str) -> String {
    let last = name.chars().count().saturating_sub(1);
    let edge = |at: usize, c: char| c == ' ' && (at == 0 || at == last);
    let mut text = String::new();
    let mut before = 'x';
    for (at, c) in name.chars().enumerate() {
        let compatible = !std::iter::once(c).nfkc().eq([c]);
        let plain = c == ' ' && before != ' ' && !edge(at, c);
        let hidden = (c.is_whitespace() && !plain) || ignored(c) || compatible;
        write_char(&mut text, c, hidden);
        before = c;
    }
    text
}

fn escaped(name: &str, which: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    name.chars().for_each(|c| write_char(&mut text, c, which(c) || ignored(c)));
    text
}

fn write_char(text: &mut String, c: char, as_number: bool) {
    match as_number {
        true => text.extend(c.escape_unicode()),
        false => text.push(c),
    }
}

/// Whether a character takes no room: controls, joiners, marks of direction, selectors of variants and the like (Unicode's
/// `Default_Ignorable_Code_Point`).
fn ignored(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
            | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFF8
            | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_in_two_spellings_is_one_class() {
        assert_eq!(class("cafe\u{301}"), "caf\u{e9}");
        assert_eq!((class("caf\u{e9}"), class("cat")), ("caf\u{e9}".into(), "cat".into()));
    }

    #[test]
    fn other_bytes_than_utf8_stay_apart() {
        assert_eq!(readable(b"caf\xe9"), "caf\\xE9");
        assert_ne!(readable(b"caf\xe9"), readable(b"caf\xe8"));
        assert_eq!(readable("caf\u{e9}".as_bytes()), "caf\u{e9}");
    }

    #[test]
    fn names_that_look_the_same_show_how_they_differ() {
        let names =
            ["cat", "cat\u{200b}", "cat ", "cat\u{a0}", "dog\u{200d}x", "em u"].map(String::from).to_vec();
        let told = ["cat", "cat\\u{200b}", "cat\\u{20}", "cat\\u{a0}", "dog\u{200d}x", "em u"];
        assert_eq!(told_apart(names), told);
        for name in ["cat", "c\\u{430}t", "caf\\u{e9}\\u{200b}"] {
            assert!(as_written(name).chars().all(|c| c != '\\'), "{name}");
        }
        assert_eq!(
            (as_written("c\\u{430}t"), as_written("a\\u{zz}b\\u{")),
            ("c\u{430}t".into(), "a\\u{zz}b\\u{".into())
        );
        // Letters of other scripts, accents on their own, and names that are the same.
        for (names, told) in [
            (["cat", "c\u{430}t"], ["cat", "c\\u{430}t"]),
            (["\u{441}\u{43e}\u{440}", "cop"], ["\\u{441}\\u{43e}\\u{440}", "cop"]),
            (["caf\u{e9}", "cafe\u{301}"], ["caf\\u{e9}", "cafe\\u{301}"]),
            (["crane", "crane"], ["crane (0)", "crane (1)"]),
            (["I", "l"], ["I", "l"]),
            (["\u{43a}\u{43e}\u{442}", "caf\u{e9}"], ["\u{43a}\u{43e}\u{442}", "caf\u{e9}"]),
        ] {
            assert_eq!(told_apart(names.map(String::from).to_vec()), told);
        }
        let wide = told_apart(vec!["\u{ff21}".into(), "A".into()]);
        assert_eq!(wide, ["\\u{ff21}", "A"]);
    }

    #[test]
    fn letters_of_other_scripts_are_shown() {
        let (ours, theirs) = mistaken("c\u{430}t", ["dog", "cat"].into_iter()).unwrap();
        assert_eq!((ours.as_str(), theirs.as_str()), ("c\\u{430}t", "cat"));
        let (ours, theirs) = mistaken("cat\u{200b}", ["cat"].into_iter()).unwrap();
        assert_eq!((ours.as_str(), theirs.as_str()), ("cat\\u{200b}", "cat"));
        assert_eq!(mistaken("emu", ["cat"].into_iter()), None);
    }
}
