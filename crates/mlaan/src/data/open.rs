//! From what a user names to its splits.

use std::path::Path;

use super::formats::{Format, Parts};
use super::held_out::{Shares, draw};
use super::load::{Loaded, load};
use super::roles::{Roles, check};
use super::{BUILTIN, Dataset, OpenOptions, Splits, foreign, formats, synthetic, unknown};
use crate::{Error, Result};

/// Seed of the built-in set: every run sees the same images, whatever its own seed.
const BUILTIN_SEED: u64 = 0;

/// Reads the data set `source`: `builtin`, or a path whose layout is found out from what lies there
/// (see `data::formats`). All images are decoded now, into memory, or stay where they are
/// ([`Load`](super::Load)).
///
/// # Errors
/// When the path does not exist or holds nothing known, a split is missing (of which no share is held out), a class is tested but not trained,
/// a label is out of range, a class has no training image (without a limit), or an image is broken (unless
/// `skip_broken`).
pub fn open(source: &str, options: &OpenOptions) -> Result<Splits> {
    if options.limit == Some(0) {
        let message = "a limit of 0 leaves no images: use at least 1";
        return Err(Error::data("`--limit`", message));
    }
    check(options)?;
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| Error::data(source, format!("no threads to decode with: {e}")))?;
    let splits = threads.install(|| match source {
        BUILTIN => built_in(options),
        _ => {
            let splits = open_path(source, Path::new(source), options)?;
            // A limit may leave a class out on purpose.
            if options.limit.is_none() {
                every_class(splits.train.as_ref(), source)?;
            }
            Ok(splits)
        }
    });
    drop(threads);
    // What was needed to decode is not to stand beside what trains.
    mlaan_engine::give_back_freed();
    splits
}

/// The built-in set, of which a limit keeps the first images.
fn built_in(options: &OpenOptions) -> Result<Splits> {
    let at_most = |n: usize| options.limit.map_or(n, |limit| limit.min(n));
    let (train, test) = (at_most(synthetic::TRAIN), at_most(synthetic::TEST));
    let share = options.validation.filter(|share| *share > 0.0);
    let labels: Vec<u32> = (0..train).map(synthetic::label).collect();
    let shares = Shares { validation: share, test: None };
    let drawn = draw(&labels, shares, &OpenOptions { limit: None, ..options.clone() });
    if drawn.validation.as_ref().is_some_and(Vec::is_empty) {
        let message = "no class has an image to spare for data.validation: each has one alone";
        return Err(Error::data(BUILTIN, message));
    }
    let mut splits = synthetic::of_images(BUILTIN_SEED, &drawn.train, drawn.validation.as_deref(), test)?;
    if options.test.is_some() {
        let text = "data.test is for sets without a test split of their own, which the built-in set has";
        splits.notes.remark(text);
    }
    Ok(splits)
}

/// A class that nothing trains is a mistake in the data.
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
    let (format, mut parts) = found(source, path, options.test.is_some())?;
    let known = parts.known;
    let mut notes = parts.take_notes();
    let orientation = formats::orientation(options.orientation, format, &parts);
    let roles = Roles::of(parts, options, &mut notes)?;
    let Loaded { train, validation, test, skipped } =
        load(roles, &OpenOptions { orientation, ..options.clone() })?;
    let (name, format) = (name(path), format.name);
    Ok(Splits { name, train, validation, test, skipped, format, known, notes, orientation })
}

/// What lies at a path, and in which form; with `held_out` test images may be missing, or splits altogether, since a share
/// of the images will be held out for testing.
///
/// # Errors
/// When nothing is there, nothing that is known, or something that is damaged.
pub(super) fn found(source: &str, path: &Path, held_out: bool) -> Result<(&'static Format, Parts)> {
    if let Some(what) = crate::files::special(path) {
        return Err(Error::data(source, format!("is {what}, not a folder or a file of images")));
    }
    // What is no such set at all has a better reason than a fault of one.
    let wrong = |error: Error| foreign::mistaken(path).map_or(error, |message| Error::data(source, message));
    if path.exists() {
        match formats::open(path) {
            Ok(Some((_, Parts { test: Err(missing), .. }))) if !held_out => {
                return Err(wrong(without_test_images(missing)));
            }
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => return Err(wrong(error)),
        }
        if held_out && let Some(flat) = formats::flat(path)? {
            return Ok(flat);
        }
    }
    let error = Error::data(source, unknown::message(source, path)?);
    let has_classes = !held_out && matches!(formats::flat(path), Ok(Some(_)));
    Err(if has_classes { without_test_images(error) } else { error })
}

/// What a set says that lacks test images alone.
fn without_test_images(error: Error) -> Error {
    match error {
        Error::Data { place, message } => Error::NoTestImages { place, message },
        other => other,
    }
}

/// What tables call the set: the folder's own name, also for `.` and `..`.
pub(super) fn name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let last = whole.file_name().map(|n| n.to_string_lossy().into_owned());
    last.unwrap_or_else(|| path.display().to_string())
}
