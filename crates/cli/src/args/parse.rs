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
            refuse(advised(e, args), args);
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

/// What other programs call flags, the flag that stands for each here, and how to write it.
const CALLED: [(&[&str], &str, &str); 4] = [
    (&["dataset", "data_dir", "root"], "data", "--data PATH"),
    (&["pretrained", "weights"], "init", "--init FILE"),
    (&["workers", "num_workers"], "threads", "--threads N"),
    (&["gpu", "cuda"], "device", "--device cuda"),
];

/// An error with the advice that helps: for a flag of other programs, what says the same here.
fn advised(e: clap::Error, args: &[OsString]) -> clap::Error {
    let mut e = unadvised(e);
    if let Some(same) = instead(&e, args) {
        e.remove(ContextKind::SuggestedArg);
        let tip = StyledStr::from(format!("write '{same}'"));
        e.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    e
}

/// What the command takes in place of a flag that it does not know: another flag, or a key of the recipe.
fn instead(e: &clap::Error, args: &[OsString]) -> Option<String> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) =
        (e.kind(), e.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let name = flag.strip_prefix("--")?.split('=').next()?.replace('-', "_").to_lowercase();
    let all = super::help::command();
    let command = args.iter().skip(1).find_map(|word| all.find_subcommand(word))?;
    let own = |long: &str| command.get_arguments().find(|arg| arg.get_long() == Some(long));
    let called = CALLED.iter().find(|(names, long, _)| names.contains(&name.as_str()) && own(long).is_some());
    if let Some((.., written)) = called {
        return Some((*written).to_owned());
    }
    let key = mlaan::recipe::key_called(&name).filter(|_| own("set").is_some())?;
    // What has a flag of its own is said with that.
    let long = key.rsplit('.').next().unwrap_or(key).replace('_', "-");
    Some(match own(&long).and_then(|arg| arg.get_value_names()?.first()) {
        Some(value) => format!("--{long} {value}"),
        None => format!("--set {key}=VALUE"),
    })
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
        Err(same) if same.kind() == e.kind() => say(&advised(same, args)),
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
    fn flags_of_other_programs_are_told_by_what_says_the_same_here() {
        for (command, flag, tip) in [
            ("train", "--weight-decay=0.1", Some("--set train.weight_decay=VALUE")),
            ("plan", "--momentum", Some("--set train.momentum=VALUE")),
            ("train", "--learning-rate", Some("--lr RATE")),
            ("train", "--pretrained", Some("--init FILE")),
            ("train", "--num-workers", Some("--threads N")),
            ("predict", "--gpu", Some("--device cuda")),
            ("predict", "--weight-decay", None),
            ("train", "--nonsense", None),
        ] {
            let args: Vec<OsString> = ["mlaan", command, flag].map(OsString::from).into();
            let said = advised(read(&args).err().unwrap(), &args).to_string();
            match tip {
                Some(tip) => assert!(said.contains(&format!("tip: write '{tip}'")), "{flag}: {said}"),
                None => assert!(!said.contains("write '"), "{flag}: {said}"),
            }
            assert!(said.matches("tip:").count() <= 1, "{flag}: {said}");
        }
    }

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
