//! `mlaan data download`: a published set, from whichever server has it.

use crate::args::DownloadArgs;
use crate::interrupt::EXIT;
use crate::{format, output};
use anyhow::{Context, Result, bail};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use mlaan::data::download::{PUBLISHED, Patience, Progress, Published, download as fetch};
use mlaan::text::{self, file_word};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Fetches what is missing.
///
/// # Errors
/// An unknown set, or one that no server gives (the error says how to get it by hand).
pub fn download(args: &DownloadArgs) -> Result<ExitCode> {
    let set = named(&args.set)?;
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from("data").join(set.name));
    // What is on disk is whole or marked as a part at any moment, so there is nothing to wait for.
    ctrlc::set_handler(|| {
        output::note("stopped; the same command goes on from here");
        std::process::exit(i32::from(EXIT));
    })
    .context("cannot catch Ctrl-C")?;
    let mut shown = Shown::new(args.output.json);
    let files = set.files(args.mirror.as_deref());
    let outcome = fetch(&files, &to, &Patience::default(), &mut |progress| shown.hear(progress));
    shown.clear();
    let outcome = outcome?;
    if args.output.json {
        output::json(&json!({
            "set": set.name,
            "folder": text::exact_path(&to),
            "files": files.iter().map(|f| json!({ "name": f.name, "bytes": f.size, "sha256": f.sha256 })).collect::<Vec<_>>(),
            "fetched": outcome.fetched,
            "present": outcome.present,
        }))?;
    } else {
        let done = if outcome.fetched == 0 { "Nothing to do: it is here." } else { "Here, and checked." };
        output::page(&format!("{done} Use it with: --data {}", file_word(&to)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> Result<&'static Published> {
    let Some(set) = Published::named(name) else {
        let names: Vec<&str> = PUBLISHED.iter().map(|set| set.name).collect();
        bail!("no set is called `{name}`: there are {}", names.join(", "));
    };
    Ok(set)
}

/// A bar on a terminal, lines elsewhere, nothing for JSON.
struct Shown {
    quiet: bool,
    bar: Option<ProgressBar>,
    /// Tenths of the file that lines have told of.
    told: u64,
    /// The last server told of.
    asking: String,
}

impl Shown {
    fn new(quiet: bool) -> Self {
        let bar = (!quiet && Term::stderr().is_term()).then(|| {
            let style = ProgressStyle::with_template(
                "{prefix} {bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left {msg}",
            );
            let bar = ProgressBar::no_length();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Shown { quiet, bar, told: 0, asking: String::new() }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    fn hear(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Present(file) => self.say(&format!("{}: there already, and right", file.name)),
            Progress::Asking { file, url, from } => {
                self.told = from * 10 / file.size.max(1);
                let rest =
                    if from == 0 { String::new() } else { format!(" from {} on", format::bytes(from)) };
                let asking = format!("{} ({}) from {url}{rest}", file.name, format::bytes(file.size));
                if asking != self.asking {
                    self.say(&asking);
                    self.asking = asking;
                }
                if let Some(bar) = &self.bar {
                    bar.set_length(file.size);
                    bar.set_prefix(file.name.clone());
                    bar.set_message("");
                    bar.set_position(from);
                    bar.reset_eta();
                }
            }
            Progress::Received(file, bytes) => self.position(&file.name, bytes, file.size),
            Progress::Checked(file, bytes) => {
                if let Some(bar) = &self.bar {
                    bar.set_length(file.size);
                    bar.set_prefix(file.name.clone());
                    bar.set_message("(checking)");
                    bar.set_position(bytes);
                }
            }
            Progress::Failed { url, reason, again, .. } => {
                let next = match again {
                    Some(pause) => format!("again in {}", format::duration(pause.as_secs_f64())),
                    None => "given up on".into(),
                };
                self.say(&format!("  {url}: {reason}; {next}"));
            }
            Progress::Done(file) => self.say(&format!("{}: complete, size and SHA-256 are right", file.name)),
        }
    }

    /// A tenth more is worth a line.
    fn position(&mut self, name: &str, bytes: u64, of: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(bytes),
            None if bytes * 10 / of.max(1) > self.told => {
                self.told = bytes * 10 / of.max(1);
                self.say(&format!("{name}: {} of {}", format::bytes(bytes), format::bytes(of)));
            }
            None => {}
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
