//! Published data sets, fetched: several servers, resumed, checked, there whole or not at all.
//!
//! A file counts by its size and SHA-256 alone, so it does not matter which server it came from, and parts from
//! several may be put together: what is wrong never gets the file's name. Archives stay as they are; they are read so.

mod answer;
mod part;
mod table;
mod wanted;

pub use table::{PUBLISHED, Published};
pub use wanted::{Patience, Wanted};

use std::fs;
use std::path::Path;
use std::time::Duration;

use self::answer::{Failed, agent, ask};
use self::part::{Part, sha256};
use crate::{Error, Result, files, text};

/// How many times a file's bytes one server may send before it is left alone: it has to begin again now and then, but one
/// that always does would send for ever.
const MOST_ANSWERS: u64 = 4;

/// What happens meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A file is there already, and is the published one.
    Present(&'a Wanted),
    /// A server is asked.
    Asking {
        /// For this file.
        file: &'a Wanted,
        /// Its address there.
        url: &'a str,
        /// Bytes that are here already.
        from: u64,
    },
    /// So many bytes of a file are here.
    Received(&'a Wanted, u64),
    /// So many bytes of a file are checked.
    Checked(&'a Wanted, u64),
    /// A server failed.
    Failed {
        /// With this file.
        file: &'a Wanted,
        /// Its address there.
        url: &'a str,
        /// What was wrong.
        reason: &'a str,
        /// When it is asked again; otherwise the next server is.
        again: Option<Duration>,
    },
    /// A file is here, and is the published one.
    Done(&'a Wanted),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Files that were fetched.
    pub fetched: usize,
    /// Files that were there already, and right.
    pub present: usize,
}

/// Fetches what is missing of `files` into the folder `to`, which is made if need be; `each` hears of everything.
/// What an earlier, interrupted download left there is used.
///
/// # Errors
/// When no server has a file (the error says how to get it by hand), a file is in the way that is another one, or
/// the folder cannot be written.
pub fn download(
    files: &[Wanted],
    to: &Path,
    patience: &Patience,
    each: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome> {
    fs::create_dir_all(to).map_err(Error::io(to))?;
    let mut outcome = Outcome::default();
    let mut missing = Vec::new();
    for file in files {
        let target = to.join(&file.name);
        if present(file, &target, each)? {
            outcome.present += 1;
            Part::forget(&target);
            each(Progress::Present(file));
        } else if let Err(reasons) = fetch(file, &target, patience, each)? {
            missing.push((file, reasons));
        } else {
            outcome.fetched += 1;
            each(Progress::Done(file));
        }
    }
    if missing.is_empty() { Ok(outcome) } else { Err(by_hand(&missing, to)) }
}

/// Whether the file is there; an error when something else is.
fn present(file: &Wanted, target: &Path, each: &mut dyn FnMut(Progress<'_>)) -> Result<bool> {
    let Ok(meta) = fs::metadata(target) else {
        return Ok(false);
    };
    let found = if meta.len() == file.size && meta.is_file() {
        let mut open = files::open(target).map_err(Error::io(target))?;
        let found = sha256(&mut open, target, |done| each(Progress::Checked(file, done)))?;
        if found == file.sha256 {
            return Ok(true);
        }
        format!("SHA-256 {found} instead of {}", file.sha256)
    } else {
        format!("{} bytes instead of {}", meta.len(), file.size)
    };
    let message = format!("is not the published file ({found}): move it away and run again");
    Err(Error::data(target.display().to_string(), message))
}

/// Fetches one file, from the first server that has it; else says what was wrong with each.
fn fetch(
    file: &Wanted,
    target: &Path,
    patience: &Patience,
    each: &mut dyn FnMut(Progress<'_>),
) -> Result<std::result::Result<(), Vec<String>>> {
    let agent = agent(patience);
    let mut part = Part::open(target)?;
    let mut reasons: Vec<String> = Vec::new();
    for url in &file.urls {
        let (mut failures, begin) = (0, part.received());
        loop {
            let before = part.len();
            let (reason, again) = match bring((&agent, patience), url, file, &mut part, each) {
                Ok(()) => return part.finish(target).map(Ok),
                Err(Failed::Own(error)) => return Err(error),
                Err(Failed::Here(reason)) => (reason, false),
                Err(Failed::Now(reason)) => (reason, true),
            };
            // Whoever brings the file on is asked again; by a byte at a time it would take for ever.
            let brought = part.len().saturating_sub(before) > file.size / 64;
            failures = if brought { 1 } else { failures + 1 };
            let pause =
                patience.pause.saturating_mul(1 << (failures - 1).min(16)).min(Duration::from_secs(30));
            let (reason, again) = match part.received() - begin > MOST_ANSWERS * file.size {
                true => (format!("{reason}; it has sent {MOST_ANSWERS} times the file by now"), false),
                false => (reason, again),
            };
            let again = (again && failures < patience.tries).then_some(pause);
            each(Progress::Failed { file, url, reason: &reason, again });
            match again {
                Some(pause) => std::thread::sleep(pause),
                None => {
                    reasons.push(format!("{}: {reason}", host(url)));
                    break;
                }
            }
        }
    }
    part.leave();
    Ok(Err(reasons))
}

/// Brings the part to its end and checks it.
fn bring(
    (agent, patience): (&ureq::Agent, &Patience),
    url: &str,
    file: &Wanted,
    part: &mut Part,
    each: &mut dyn FnMut(Progress<'_>),
) -> std::result::Result<(), Failed> {
    if part.len() > file.size {
        part.clear()?;
    }
    let asked = part.len() < file.size;
    if asked {
        each(Progress::Asking { file, url, from: part.len() });
        ask(agent, url, file, (part, patience), |bytes| each(Progress::Received(file, bytes)))?;
    }
    let found = part.sha256(|done| each(Progress::Checked(file, done)))?;
    if found == file.sha256 {
        return Ok(());
    }
    // Pieces of several answers may not belong together; one whole answer is what the server has.
    let pieced = !asked || part.origin().answers != 1;
    part.clear()?;
    let reason = format!("the bytes are not the published ones (SHA-256 {found})");
    Err(if pieced { Failed::Now(reason + ": starting again") } else { Failed::Here(reason) })
}

fn host(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or(url)
}

/// No server has these: what a person can do.
fn by_hand(missing: &[(&Wanted, Vec<String>)], to: &Path) -> Error {
    let list = |lines: &[String]| lines.iter().map(|l| format!("\n  {}", text::line(l))).collect::<String>();
    let mut message = String::from("no server has given it");
    for (file, reasons) in missing {
        message += &format!(
            "\n{}:{}\nTo get it by hand, fetch one of{}\nand put it at\n  {}\nIt is right if it has {} bytes and the \
             SHA-256\n  {}",
            file.name,
            list(reasons),
            list(&file.urls),
            text::path(to.join(&file.name)),
            file.size,
            file.sha256,
        );
    }
    message += "\nThe same command, run again, checks it.";
    let names: Vec<&str> = missing.iter().map(|(file, _)| file.name.as_str()).collect();
    // Built here, since this message has lines of its own.
    Error::Data { place: names.join(", "), message }
}
