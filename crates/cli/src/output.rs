//! What the program says: on standard output what it was asked for, on standard error the rest.
//!
//! A reader of standard output that went away (`| head`) has seen enough, which is no error. Anything else that keeps a
//! byte from being written is one: output that is cut off must not look like success.

use crate::host;
use crate::style::shown;
use crate::wrap::wrapped;
use anyhow::{Context, Error, Result};
use clap::builder::StyledStr;
use console::style;
use mlaan::text;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What has become of standard output, for all threads.
static STATE: Mutex<State> = Mutex::new(State::Open);

/// See [`STATE`].
enum State {
    Open,
    /// Nobody reads it any more.
    Gone,
    /// It cannot be written to. Nothing more is printed, so that what there is has no gap.
    Failed(io::Error),
}

/// Standard output without the buffer of the library, which would be emptied unseen when the program ends, and without
/// its silence where nothing can be written at all.
struct Output;

impl Write for Output {
    #[cfg(unix)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, poll};
        let out = stdout();
        loop {
            match rustix::io::write(&out, bytes) {
                // Another process has made it one that does not wait.
                Err(rustix::io::Errno::AGAIN) => match poll(&mut [PollFd::new(&out, PollFlags::OUT)], None) {
                    Err(e) if e != rustix::io::Errno::INTR => return Err(e.into()),
                    _ => {}
                },
                written => return Ok(written?),
            }
        }
    }

    #[cfg(not(unix))]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stdout().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush()
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints `text` as it is.
fn print(text: &str) -> Result<()> {
    if let Some(host) = host::current() {
        host.print(text);
        return Ok(());
    }
    let mut state = state();
    if let State::Open = *state {
        match Output.write_all(text.as_bytes()).and_then(|()| Output.flush()) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::BrokenPipe => *state = State::Gone,
            Err(e) => *state = State::Failed(e),
        }
    }
    failure(&state)
}

/// Why standard output could not be written.
fn failure(state: &State) -> Result<()> {
    match state {
        State::Failed(e) => {
            // An error of the system says as much once more.
            let again = e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error);
            Err(again).context("standard output")
        }
        State::Open | State::Gone => Ok(()),
    }
}

/// Prints a line of what a command was asked for, in as many as the terminal wants.
///
/// # Errors
/// When standard output cannot be written, now or before.
pub fn row(text: &str) -> Result<()> {
    match columns() {
        Some(columns) => exact(&wrapped(text, columns)),
        None => exact(text),
    }
}

/// Prints text whose lines are to stay as they are, as that of a file.
///
/// # Errors
/// As [`row`].
pub fn exact(text: &str) -> Result<()> {
    print(&format!("{}\n", shown(text, console::colors_enabled())))
}

/// Columns that lines may have: those of the terminal, else those that the environment says (`COLUMNS`). None where nobody says:
/// in a file or a pipe lines are as long as they are.
pub fn columns() -> Option<usize> {
    let said = || std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
    if host::current().is_some() {
        return None;
    }
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    terminal.or_else(said).map(|columns| columns.clamp(60, 160))
}

/// Prints a line of JSON, whose text is exact.
///
/// # Errors
/// As [`row`].
pub fn json_line(json: &str) -> Result<()> {
    print(&format!("{}\n", text::json(json)))
}

/// Prints help.
///
/// # Errors
/// As [`row`].
pub fn help(text: &StyledStr) -> Result<()> {
    let text = if console::colors_enabled() { text.ansi().to_string() } else { text.to_string() };
    print(&format!("{}\n", text.trim_end()))
}

/// Prints what a command was asked for.
///
/// # Errors
/// As [`row`].
pub fn page(text: &str) -> Result<()> {
    row(text.trim_end())
}

/// Prints JSON.
///
/// # Errors
/// As [`row`].
pub fn json(value: &serde_json::Value) -> Result<()> {
    json_line(&serde_json::to_string_pretty(value)?)
}

/// Prints a line about a run, which is worth more than what is said of it and goes on: what keeps it from being printed
/// is said on standard error, and makes [`end`] fail.
pub fn line(text: &str) {
    about_a_run(|| row(text));
}

/// As [`line()`], of JSON, whose text is exact.
pub fn json_event(json: &str) {
    about_a_run(|| json_line(json));
}

fn about_a_run(print: impl FnOnce() -> Result<()>) {
    let before = failure(&state()).is_err();
    if let (false, Err(e)) = (before, print()) {
        note(&format!("warning: {}; nothing more is printed", causes(&e)));
    }
}

/// Whether nobody reads standard output any more.
pub fn is_gone() -> bool {
    matches!(*state(), State::Gone)
}

/// The end of all output.
///
/// # Errors
/// When some of it could not be written.
pub fn end() -> Result<()> {
    failure(&state())
}

/// Says something on standard error, on one line.
pub fn note(text: &str) {
    if let Some(host) = host::current() {
        return host.note(&text::line(text));
    }
    // There is nowhere to say that this fails.
    let _ = writeln!(stderr().lock(), "{}", narrow(&text::line(text)));
}

/// In as many lines as the terminal wants; as it is where there is none.
fn narrow(text: &str) -> String {
    let columns =
        console::Term::stderr().size_checked().map(|(_, columns)| usize::from(columns).clamp(60, 160));
    columns.map_or_else(|| text.to_owned(), |columns| wrapped(text, columns))
}

/// Says on standard error why the program stops.
pub fn error(e: &Error) {
    let _ = writeln!(stderr().lock(), "{}: {}", style("error").for_stderr().red().bold(), narrow(&causes(e)));
}

/// An error and its causes; those that it tells of by itself are not told twice.
pub fn causes(e: &Error) -> String {
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

/// Columns of the terminal; 100 where nobody says how many.
pub fn width() -> u16 {
    columns().map_or(100, |columns| columns as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let missing = || io::Error::other("gone");
        let e = Error::new(mlaan::Error::Io { path: "a/b".into(), source: missing() });
        assert_eq!(causes(&e), "a/b: gone");
        assert_eq!(causes(&Err::<(), _>(missing()).context("c").unwrap_err()), "c: gone");
        let odd = Err::<(), _>(missing()).context("a\nerror: \u{1b}[2J").unwrap_err();
        assert_eq!(causes(&odd), r"a\u{a}error: \u{1b}[2J: gone");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_all_else_is() {
        assert!(failure(&State::Open).is_ok() && failure(&State::Gone).is_ok());
        let full = io::Error::from_raw_os_error(28);
        let text = causes(&failure(&State::Failed(full)).unwrap_err());
        assert!(text.starts_with("standard output: ") && text.contains("28"), "{text}");
    }
}
