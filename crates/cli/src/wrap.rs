//! Lines that are longer than the terminal is wide, broken between words.

use console::measure_text_width;

/// Columns within which the first words of a line may be labels, as in ` memory    65 MiB planned`.
const LABEL: usize = 46;

/// What a command begins with.
const COMMAND: [char; 6] = ['m', 'l', 'a', 'a', 'n', ' '];

/// `text` in lines of at most `width` columns. What a line goes on with stands below its text: behind the label and the blanks
/// that it begins with, or behind the dash of a list. Words are not broken, nor are commands, which are there to be copied.
pub fn wrapped(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| line_of(line, width)).collect();
    lines.join("\n")
}

fn line_of(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let (plain, begin) = hanging(line);
    if plain.get(begin..).is_some_and(|text| text.starts_with(&COMMAND)) {
        return line.to_owned();
    }
    let indent = begin.min(width * 3 / 5);
    let (mut out, mut at) = (String::new(), 0);
    for piece in line.split_inclusive(' ') {
        let word = piece.trim_end_matches(' ');
        if at > indent && !word.is_empty() && at + columns(word) > width {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            at = indent;
        }
        out.push_str(piece);
        at += columns(piece);
    }
    out
}

/// A line's characters that are shown, and where its text begins: behind two blanks or more that follow the last label, else
/// where the line begins.
fn hanging(line: &str) -> (Vec<char>, usize) {
    let plain: Vec<char> = line.chars().filter(|c| columns(&c.to_string()) > 0).collect();
    let first = plain.iter().position(|c| *c != ' ').unwrap_or(0);
    let after = |at: &usize| plain[..*at].ends_with(&[' ', ' ']) && plain[*at] != ' ' && *at > first;
    let dash = plain.get(first..).is_some_and(|text| text.starts_with(&['-', ' ']));
    let text = (first + 1..plain.len().min(LABEL)).rev().find(after);
    let begin = text.unwrap_or(if dash { first + 2 } else { first });
    (plain, begin)
}

/// Columns that a text takes; what marks its look takes none.
fn columns(text: &str) -> usize {
    let shown: String = text.chars().filter(|c| !('\u{fdd0}'..='\u{fdef}').contains(c)).collect();
    measure_text_width(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_below_their_text() {
        let line = " memory    65 MiB planned and 40 MiB tensors";
        assert_eq!(wrapped(line, 30), " memory    65 MiB planned and\n           40 MiB tensors");
        assert_eq!(wrapped("a b c d", 3), "a b\nc d");
        assert_eq!(wrapped("  one two three", 9), "  one two\n  three");
        assert_eq!(wrapped("short\n\nlines", 9), "short\n\nlines");
    }

    #[test]
    fn words_and_commands_stay_whole() {
        assert_eq!(wrapped("abcdefghij kl", 5), "abcdefghij\nkl");
        let command = "  mlaan train --resume --out runs/a-long-name";
        assert_eq!(wrapped(command, 20), command);
        let labelled = format!(" next    {}", command.trim_start());
        assert_eq!(wrapped(&labelled, 20), labelled);
        assert_eq!(wrapped(" - one two three", 10), " - one two\n   three");
    }

    #[test]
    fn marks_take_no_columns() {
        let bold = crate::style::bold("abc");
        assert_eq!(wrapped(&format!("{bold} def"), 7), format!("{bold} def"));
        assert_eq!(wrapped(&format!("{bold} def"), 6), format!("{bold}\ndef"));
    }
}
