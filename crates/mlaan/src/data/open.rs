//! From what a user names to the two splits.

use std::path::Path;

use super::formats::{Format, Pair};
use super::load::{Loaded, load};
use super::notes::{Notes, few};
use super::stored::Stored;
use super::{BUILTIN, Dataset, OpenOptions, Splits, foreign, formats, synthetic, unknown};
use crate::{Error, Result};

/// Seed of the built-in set: every run sees the same images, whatever its own seed.
const BUILTIN_SEED: u64 = 0;

/// Reads the data set `source`: `builtin`, or a path whose layout is found out from what lies there
/// (see `data::formats`). All images are decoded now, into memory, or stay where they are
/// ([`Load`](super::Load)).
///
/// # Errors
/// When the path does not exist or holds nothing known, a split is missing, a class is tested but not trained,
/// a label is out of range, a class has no training image (without a limit), or an image is broken (unless
/// `skip_broken`).
pub fn open(source: &str, options: &OpenOptions) -> Result<Splits> {
    if options.limit == Some(0) {
        let message = "a limit of 0 leaves no images: use at least 1";
        return Err(Error::data("`--limit`", message));
    }
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| Error::data(source, format!("no threads to decode with: {e}")))?;
    threads.install(|| match source {
        BUILTIN => {
            let at_most = |n: usize| options.limit.map_or(n, |limit| limit.min(n));
            synthetic::splits(BUILTIN_SEED, at_most(synthetic::TRAIN), at_most(synthetic::TEST))
        }
        _ => {
            let splits = open_path(source, Path::new(source), options)?;
            // A limit may leave a class out on purpose.
            if options.limit.is_none() {
                every_class(splits.train.as_ref(), source)?;
            }
            Ok(splits)
        }
    })
}

/// A class that nothing teaches is a mistake in the data.
fn every_class(train: &dyn Dataset, source: &str) -> Result<()> {
    let mut images = vec![0usize; train.classes().len()];
    for i in 0..train.len() {
        if let Some(n) = images.get_mut(train.label(i)) {
            *n += 1;
        }
    }
    match images.iter().position(|n| *n == 0) {
        Some(empty) => {
            let labels: Vec<u32> = (0..train.len()).map(|i| train.label(i) as u32).collect();
            if let Some(message) = formats::from_one(train.classes(), &labels) {
                return Err(Error::data(source, message));
            }
            let message = format!(
                "class `{}` has no (readable) training image: add some, or drop it",
                train.classes()[empty]
            );
            Err(Error::data(source, message))
        }
        None => Ok(()),
    }
}

fn open_path(source: &str, path: &Path, options: &OpenOptions) -> Result<Splits> {
    let (format, mut pair) = found(source, path)?;
    let known = pair.known;
    let mut notes = pair.take_notes();
    // A limit may leave a class out on purpose.
    if options.limit.is_none() {
        untested(&pair.test, &mut notes);
    }
    let orientation = formats::orientation(options.orientation, format, &pair);
    let Loaded { train, test, skipped } = load(pair, &OpenOptions { orientation, ..options.clone() })?;
    Ok(Splits { name: name(path), train, test, skipped, format: format.name, known, notes, orientation })
}

/// Says which classes are trained and not tested.
fn untested(test: &Stored, notes: &mut Notes) {
    let mut tested = vec![false; test.classes.len()];
    for label in &test.labels {
        if let Some(tested) = tested.get_mut(*label as usize) {
            *tested = true;
        }
    }
    let lost: Vec<&str> =
        test.classes.iter().zip(&tested).filter(|(_, t)| !**t).map(|(class, _)| class.as_str()).collect();
    let what =
        if lost.len() == 1 { "is a class without a test image" } else { "are classes without test images" };
    if !lost.is_empty() {
        notes.remark(format!("{} {what} ({}): trained, but not tested", few(lost), test.place));
    }
}

/// What lies at a path, and in which form.
///
/// # Errors
/// When nothing is there, nothing that is known, or something that is damaged.
pub(super) fn found(source: &str, path: &Path) -> Result<(&'static Format, Pair)> {
    if let Some(what) = crate::files::special(path) {
        return Err(Error::data(source, format!("is {what}, not a folder or a file of images")));
    }
    if path.exists() {
        match formats::open(path) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            // What is no such set at all has a better reason than a fault of one.
            Err(error) => {
                return Err(foreign::mistaken(path).map_or(error, |message| Error::data(source, message)));
            }
        }
    }
    Err(Error::data(source, unknown::message(source, path)?))
}

/// What tables call the set: the folder's own name, also for `.` and `..`.
pub(super) fn name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let last = whole.file_name().map(|n| n.to_string_lossy().into_owned());
    last.unwrap_or_else(|| path.display().to_string())
}
