//! What the program says.

use anyhow::Result;
use console::style;
use std::io::{ErrorKind, Write, stdout};

/// Prints a line; a reader that went away does not matter to a run.
pub fn line(text: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints what a command was asked for; a reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// When standard output cannot be written.
pub fn page(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Prints a line of JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn json(value: &serde_json::Value) -> Result<()> {
    page(&serde_json::to_string_pretty(value)?)
}

/// Says something on standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says on standard error why the program stops.
pub fn error(e: &anyhow::Error) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}: {}", style("error").for_stderr().red().bold(), causes(e));
}

/// An error and its causes; those that it tells of by itself are not told twice.
fn causes(e: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in e.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
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
    }
}
