//! How words look on a terminal, and the one place where text becomes what a terminal is given.
//!
//! Text is marked, not coloured: only here do marks become escape sequences, and every other control character in it is
//! shown. So no name, description or file's content can do more to a terminal than be read.

use mlaan::text;

// Characters that Unicode gives to nobody; text from outside loses them with all others that are not shown.
const BOLD: char = '\u{fdd0}';
const DIM: char = '\u{fdd1}';
const GREEN: char = '\u{fdd2}';
const PLAIN: char = '\u{fdd3}';

/// Words that stand out.
pub fn bold(words: &str) -> String {
    marked(BOLD, words)
}

/// Words beside the point.
pub fn dim(words: &str) -> String {
    marked(DIM, words)
}

/// Good news.
pub fn green(words: &str) -> String {
    marked(GREEN, words)
}

fn marked(mark: char, words: &str) -> String {
    format!("{mark}{}{PLAIN}", text::lines(words))
}

/// What a terminal is given: marks as colours or, without `colours`, not at all; everything else as [`text::lines`].
pub fn shown(words: &str, colours: bool) -> String {
    let mut out = String::with_capacity(words.len() + 16);
    for part in words.split_inclusive([BOLD, DIM, GREEN, PLAIN]) {
        let (plain, code) = match part.char_indices().next_back() {
            Some((at, BOLD)) => (&part[..at], "\u{1b}[1m"),
            Some((at, DIM)) => (&part[..at], "\u{1b}[2m"),
            Some((at, GREEN)) => (&part[..at], "\u{1b}[32m"),
            Some((at, PLAIN)) => (&part[..at], "\u{1b}[0m"),
            _ => (part, ""),
        };
        out.push_str(&text::lines(plain));
        if colours {
            out.push_str(code);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_become_sequences() {
        let words = format!("{}: a\u{1b}[31mb\n\u{9b}2J {}", bold("x\u{1b}]0;t\u{7}"), green("*"));
        let plain = "x\\u{1b}]0;t\\u{7}: a\\u{1b}[31mb\n\\u{9b}2J *";
        assert_eq!(shown(&words, false), plain);
        let coloured = shown(&words, true);
        assert_eq!(coloured.matches('\u{1b}').count(), 4);
        assert!(
            coloured.starts_with("\u{1b}[1mx\\u{1b}]0;t") && coloured.ends_with("\u{1b}[32m*\u{1b}[0m"),
            "{coloured:?}"
        );
        // A name cannot bring marks of its own through where it is a name.
        assert_eq!(shown(&bold("\u{fdd2}a"), false), "\\u{fdd2}a");
    }
}
