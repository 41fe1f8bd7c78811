//! Text from outside (names of files and classes, descriptions, what a file holds) made safe where it is written.
//!
//! A terminal obeys control characters, a shell and a spreadsheet what they take for a command, Markdown what it takes for
//! markup. What is text stays text in all of them: control characters are shown as `\u{1b}`, words are quoted.

pub mod csv;
mod markdown;
mod nearest;
mod shell;

pub use markdown::markdown;
pub(crate) use nearest::nearest;
pub use shell::{file_word, word};

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

/// Whether a terminal would do anything but show it, or show it where a reader does not expect it: control characters (C0,
/// DEL, C1), marks of direction, separators of lines, what has no width, and what is no character.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fff9}'..='\u{fffb}')
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&escapes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if escapes(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Text that stays on its line and does nothing: a name in a message or a table.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_active)
}

/// Numbers in a row, as `3 to 7`, or the only one.
pub fn range(numbers: &Range<usize>) -> String {
    match numbers.len() {
        1 => numbers.start.to_string(),
        _ => format!("{} to {}", numbers.start, numbers.end.saturating_sub(1)),
    }
}

/// Text of several lines, which may be indented by tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_active(c) && !matches!(c, '\n' | '\t'))
}

/// A path as one line; bytes that are no UTF-8 are shown as `\xff`.
pub fn path(path: impl AsRef<Path>) -> String {
    let mut shown = String::new();
    for chunk in path.as_ref().as_os_str().as_encoded_bytes().utf8_chunks() {
        shown.push_str(&line(chunk.valid()));
        push_bytes(&mut shown, chunk.invalid());
    }
    shown
}

/// A path exactly where it is UTF-8, for what programs read; other bytes are written as `\xff`, so that two paths stay two.
pub fn exact_path(path: &Path) -> String {
    let mut written = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        written.push_str(chunk.valid());
        push_bytes(&mut written, chunk.invalid());
    }
    written
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// The same JSON value, in which what a terminal obeys is escaped: JSON itself lets C1 controls and marks of direction stand.
pub fn json(written: &str) -> Cow<'_, str> {
    let left = |c: char| is_active(c) && !c.is_ascii_control() || c == '\u{7f}';
    if !written.chars().any(left) {
        return Cow::Borrowed(written);
    }
    let mut safe = String::with_capacity(written.len() + 16);
    for c in written.chars() {
        // None of these is above U+FFFF, and all stand in strings: one escape each.
        if left(c) {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(line("a\u{1b}[31mb\n\r\t\u{7f}\u{9b}2J"), r"a\u{1b}[31mb\u{a}\u{d}\u{9}\u{7f}\u{9b}2J");
        assert_eq!(
            line("\u{202e}gpj.exe\u{2066}\u{200f}\u{2028}"),
            r"\u{202e}gpj.exe\u{2066}\u{200f}\u{2028}"
        );
        assert_eq!(lines("a\n\tb\r\u{7}"), "a\n\tb\\u{d}\\u{7}");
        for plain in ["", "Ärger 猫 – x\\y", "👩‍👩‍👧 🇩🇪", "e\u{301}"] {
            assert!(matches!(line(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_shown() {
        use std::os::unix::ffi::OsStrExt;
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"a/\xff\x1b\xe9b\xc3\xa9"));
        assert_eq!(path(odd), r"a/\xff\u{1b}\xe9bé");
        assert_eq!(exact_path(odd), "a/\\xff\u{1b}\\xe9bé");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}[0m \u{7f}\u{202e} é \n\\u"});
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let safe = json(&pretty);
        assert!(!safe.contains(['\u{9b}', '\u{1b}', '\u{7f}', '\u{202e}']) && safe.contains('é'), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert!(matches!(json("{\n}"), Cow::Borrowed(_)));
    }
}
