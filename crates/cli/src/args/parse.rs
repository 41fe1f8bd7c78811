//! The arguments of the process, and what is said of those that mean nothing.

use super::Cli;
use crate::output;
use clap::FromArgMatches;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use mlaan::text;
use std::ffi::OsString;
use std::path::Path;

/// The status of a command line that means nothing, as clap has it.
const USAGE: u8 = 2;

/// What is no command.
pub enum Unread {
    /// Help, or the version, was asked for.
    Help(StyledStr),
    /// It means nothing, and that was said: the status of the program.
    Refused(u8),
}

/// Reads a command line.
///
/// # Errors
/// Where it is no command.
pub fn parse(args: &[OsString]) -> Result<Cli, Unread> {
    read(args).map_err(|e| {
        if e.use_stderr() {
            refuse(unadvised(e), args);
            return Unread::Refused(USAGE);
        }
        Unread::Help(e.render())
    })
}

/// The command line as clap reads it.
fn read<A: Into<OsString> + Clone>(args: impl IntoIterator<Item = A>) -> Result<Cli, clap::Error> {
    let mut matches = super::help::command().try_get_matches_from(args)?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// An error without what clap advises for values that look like flags: `-- --epochs` would name a recipe.
fn unadvised(mut e: clap::Error) -> clap::Error {
    let as_value = |advice: &ContextValue| match advice {
        ContextValue::StyledStrs(all) => all.iter().any(|one| one.to_string().contains("as a value")),
        _ => false,
    };
    if e.get(ContextKind::Suggested).is_some_and(as_value) {
        e.remove(ContextKind::Suggested);
    }
    e
}

/// Says what is wrong with a command line.
fn refuse(e: clap::Error, args: &[OsString]) {
    if e.kind() == ErrorKind::InvalidUtf8 {
        return output::error(&anyhow::Error::msg(not_text(args)));
    }
    // There is nowhere to say that nothing can be said.
    let say = |e: &clap::Error| drop(e.print());
    // What is repeated of the arguments is coloured as the rest only where it does nothing else to a terminal.
    let plain =
        |a: &OsString| a.to_str().is_some_and(|a| matches!(text::line(a), std::borrow::Cow::Borrowed(_)));
    if args.iter().all(plain) {
        return say(&e);
    }
    let shown: Vec<OsString> = args.iter().map(|a| text::path(Path::new(a)).into()).collect();
    match read(shown) {
        Err(same) if same.kind() == e.kind() => say(&unadvised(same)),
        _ => output::note(&e.to_string()),
    }
}

/// Which argument is no text where text is wanted: the one without which, or with whose readable form, all are read.
fn not_text(args: &[OsString]) -> String {
    let lossy = |a: &OsString| OsString::from(a.to_string_lossy().into_owned());
    let odd = (0..args.len()).filter(|&i| args[i].to_str().is_none());
    let guilty = odd.filter(|&i| {
        let others = args.iter().enumerate().map(|(j, a)| if i == j { a.clone() } else { lossy(a) });
        read(others).is_err_and(|e| e.kind() == ErrorKind::InvalidUtf8)
    });
    let named = guilty.map(|i| match args.get(i.wrapping_sub(1)).and_then(|a| a.to_str()) {
        Some(flag) if flag.starts_with("--") && !flag.contains('=') => {
            format!("{flag} {}", text::path(Path::new(&args[i])))
        }
        _ => text::path(Path::new(&args[i])),
    });
    let named: Vec<String> = named.collect();
    format!(
        "`{}` is not UTF-8: a recipe keeps names and the place of images as text. Rename the file, or name a link to it that is UTF-8",
        named.join("`, `")
    )
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_is_no_text_is_named() {
        let odd = |text: &[u8]| std::ffi::OsStr::from_bytes(text).to_owned();
        let args = [
            "mlaan".into(),
            "train".into(),
            "--out".into(),
            odd(b"r\xff"),
            "--data".into(),
            odd(b"d\xfe\x1b"),
        ];
        let said = not_text(&args);
        assert!(said.starts_with(r"`--data d\xfe\u{1b}` is not UTF-8") && !said.contains(r"r\xff"), "{said}");
        let args = ["mlaan".into(), "eval".into(), "run".into(), odd(b"--data=\xff")];
        assert!(not_text(&args).starts_with(r"`--data=\xff` is not"), "{}", not_text(&args));
    }
}
