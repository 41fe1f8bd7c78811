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
    let _ = writeln!(err, "{}: {e:#}", style("error").for_stderr().red().bold());
}

/// Columns of the terminal; 100 where there is none.
pub fn width() -> u16 {
    console::Term::stdout().size_checked().map_or(100, |(_, columns)| columns.clamp(60, 160))
}
