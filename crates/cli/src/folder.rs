//! The folder of a run: which one, and one process at a time in it.

use crate::args::{DEFAULT_RECIPE, TrainArgs};
use crate::auto::called;
use anyhow::{Context, Result, bail};
use mlaan::train::checkpoint::{self, Manifest};
use mlaan::train::metrics::{METRICS, Summary};
use mlaan::train::{LOCK, Lock, clear_unsaved, is_free, is_unsaved};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where runs lie unless told otherwise.
const RUNS: &str = "runs";

/// The folder that a run will use.
pub struct Target {
    /// The folder; when it was not named, another one may turn out to be free.
    pub path: PathBuf,
    /// Whether the user named it.
    named: bool,
    /// Whether it holds a run of which nothing was saved, whose place is taken.
    pub replaces: bool,
    /// Where the run goes on.
    pub checkpoint: Option<Manifest>,
}

/// A folder that this process holds.
pub struct Held {
    /// The folder.
    pub path: PathBuf,
    /// That it is held.
    pub lock: Lock,
}

impl Target {
    /// Finds the folder, and fails early where the run could not begin.
    ///
    /// # Errors
    /// A folder that another run has filled or another process holds; a damaged checkpoint.
    pub fn choose(args: &TrainArgs) -> Result<Self> {
        let named = args.out.is_some();
        let path = match &args.out {
            Some(path) => path.clone(),
            None if args.resume => newest(args),
            None => candidates(args).find(|p| is_free(p)).unwrap_or_else(|| Path::new(RUNS).into()),
        };
        if path.exists() && !path.is_dir() {
            bail!("{}: this is a file; --out wants a folder", path.display());
        }
        if path.join(LOCK).exists() && (named || args.resume) {
            Lock::take(&path)?;
        }
        let replaces = !args.resume && named && is_unsaved(&path);
        if !args.resume && !is_free(&path) && !replaces {
            let found = path.display();
            if path.join(METRICS).exists() || has_checkpoint(&path) {
                bail!("{found}: holds a run already; pass --resume to go on with it, or another --out");
            }
            bail!("{found}: is not empty and holds no run; pass another --out");
        }
        let checkpoint = match args.resume && has_checkpoint(&path) {
            true => Some(checkpoint::load(&path)?.0),
            false => None,
        };
        Ok(Target { path, named, replaces, checkpoint })
    }

    /// Creates the folder and keeps other processes out.
    ///
    /// # Errors
    /// Another process was faster; the folder cannot be written.
    pub fn hold(&self, args: &TrainArgs) -> Result<Held> {
        if self.named || args.resume {
            let held = Held::new(&self.path)?;
            if !args.resume && (is_free(&self.path) || self.replaces && is_unsaved(&self.path)) {
                clear_unsaved(&self.path)?;
            }
            return Ok(held);
        }
        for path in candidates(args).skip_while(|p| *p != self.path) {
            // Another process may have begun in the meantime.
            if !is_free(&path) || (path.join(LOCK).exists() && Lock::take(&path).is_err()) {
                continue;
            }
            let held = Held::new(&path)?;
            if is_free(&path) {
                clear_unsaved(&path)?;
                return Ok(held);
            }
        }
        bail!("no folder is free in {RUNS}; pass --out")
    }

    /// The summary of the run, if it is finished and nothing is left to do up to `epochs`, or it ended early.
    pub fn finished(&self, epochs: usize) -> Option<Summary> {
        let done = self.checkpoint.as_ref()?.epoch;
        let summary = Summary::read(&self.path).ok()?;
        // Between its summary and its last line it may have been killed.
        let ended = done >= epochs || summary.stopped_early;
        (ended && summary.epochs == done && is_finished(&self.path)).then_some(summary)
    }
}

impl Held {
    fn new(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{}: cannot be created", path.display()))?;
        Ok(Held { path: path.into(), lock: Lock::take(path)? })
    }
}

/// Whether there is something to go on with.
fn has_checkpoint(path: &Path) -> bool {
    path.join(checkpoint::FOLDER).join(checkpoint::LAST).is_file()
}

/// The name of the run, then the name with -2, -3, ….
fn candidates(args: &TrainArgs) -> impl Iterator<Item = PathBuf> {
    let called = called(args.recipe.as_deref(), args.overrides.source().as_deref());
    let stem = Path::new(&called).file_stem();
    let name = stem.map_or_else(|| DEFAULT_RECIPE.into(), |s| s.to_string_lossy().into_owned());
    let numbered = name.clone();
    std::iter::once(name)
        .chain((2..10_000).map(move |i| format!("{numbered}-{i}")))
        .map(|n| Path::new(RUNS).join(n))
}

/// The newest run of this name that is not finished, else the newest with a checkpoint, else the name.
fn newest(args: &TrainArgs) -> PathBuf {
    let age = |p: &PathBuf| {
        let manifest = p.join(checkpoint::FOLDER).join(checkpoint::LAST);
        manifest.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let existing: Vec<PathBuf> = candidates(args).take_while(|p| p.exists()).collect();
    let resumable = existing.into_iter().filter(|p| has_checkpoint(p) || p.join(METRICS).is_file());
    let rank = |p: &PathBuf| (!is_finished(p), has_checkpoint(p), age(p));
    resumable.max_by_key(rank).or_else(|| candidates(args).next()).unwrap_or_else(|| Path::new(RUNS).into())
}

/// Folders of runs that are begun and not finished, for messages.
pub fn unfinished() -> Vec<PathBuf> {
    let entries = fs::read_dir(RUNS).into_iter().flatten().flatten().map(|e| e.path());
    let begun = |p: &PathBuf| has_checkpoint(p) || p.join(METRICS).is_file();
    let mut found: Vec<PathBuf> = entries.filter(|p| begun(p) && !is_finished(p)).collect();
    found.sort();
    found
}

/// Whether a run's newest event is its end.
fn is_finished(path: &Path) -> bool {
    use mlaan::train::metrics::{Event, read};
    read(path).is_ok_and(|events| matches!(events.last(), Some(Event::End(_))))
}
