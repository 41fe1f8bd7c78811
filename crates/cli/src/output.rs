//! What the program says.

use crate::style::shown;
use anyhow::Result;
use console::style;
use mlaan::text;
use std::io::{ErrorKind, Write, stdout};

/// Prints a line; a reader that went away does not matter to a run.
pub fn line(text: &str) {
    let mut out = stdout().lock();
    let text = shown(text, console::colors_enabled());
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a line of JSON as [`line()`] prints text.
pub fn json_line(json: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{}", text::json(json)).and_then(|()| out.flush());
}

/// Prints what a command was asked for; a reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// When standard output cannot be written.
pub fn page(text: &str) -> Result<()> {
    put(&shown(text.trim_end(), console::colors_enabled()))
}

fn put(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Prints a line of JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn json(value: &serde_json::Value) -> Result<()> {
    put(&text::json(&serde_json::to_string_pretty(value)?))
}

/// Says something on standard error, on one line.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text::line(text));
}

/// Says on standard error why the program stops.
pub fn error(e: &anyhow::Error) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}: {}", style("error").for_stderr().red().bold(), causes(e));
}

/// An error and its causes; those that it tells of by itself are not told twice.
fn causes(e: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in e.chain() {
        // The library's own errors are safe, and may have lines; the rest is one.
        let own = cause.is::<mlaan::Error>() || cause.is::<mlaan::engine::Error>();
        let cause = cause.to_string();
        let cause = if own { text::lines(&cause) } else { text::line(&cause) };
        if text.is_empty() {
            text = cause.into_owned();
        } else if !text.ends_with(&*cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Columns of the terminal; 100 where there is none.
pub fn width() -> u16 {
    console::Term::stdout().size_checked().map_or(100, |(_, columns)| columns.clamp(60, 160))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_are_told_once() {
        let missing = || std::io::Error::other("gone");
        let e = anyhow::Error::new(mlaan::Error::Io { path: "a/b".into(), source: missing() });
        assert_eq!(causes(&e), "a/b: gone");
        assert_eq!(causes(&Err::<(), _>(missing()).context("c").unwrap_err()), "c: gone");
        let odd = Err::<(), _>(missing()).context("a\nerror: \u{1b}[2J").unwrap_err();
        assert_eq!(causes(&odd), r"a\u{a}error: \u{1b}[2J: gone");
    }
}
