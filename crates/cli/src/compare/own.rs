//! A suite on images of one's own: what of its conditions follows from them.

use crate::args::CompareArgs;
use anyhow::Result;
use mlaan::auto_recipe::{Wishes, auto_recipe};
use mlaan::compare::{KnownSet, Suite};
use mlaan::data::BUILTIN;

/// Keys that a path of images changes in every cell: none where they are the set that the suite names, or nobody names images.
/// Rows, networks and epochs stay the suite's. `said` is what the user changes, which is stronger.
///
/// # Errors
/// What is no set of images.
pub fn keys(args: &CompareArgs, suite: &Suite, said: &[String]) -> Result<Vec<String>> {
    let Some(place) = place(args) else { return Ok(Vec::new()) };
    let value = |key: &str| crate::args::value(said, key).and_then(|text| text.parse().ok());
    let wishes = Wishes {
        size: value("data.size"),
        batch: value("train.batch"),
        limit: value("data.limit"),
        ..Wishes::default()
    };
    let sets = suite.sets()?;
    let wanted: Option<&KnownSet> = match sets.as_slice() {
        [] => None,
        [one] => Some(one),
        // Which of them it is has to be said, or it is an error.
        _ => return Ok(Vec::new()),
    };
    let auto = auto_recipe(place, &wishes)?;
    if wanted.is_some_and(|set| set.could_be(&auto.survey, wishes.limit)) {
        return Ok(Vec::new());
    }
    let follows: &[&str] = match wanted {
        Some(_) => &["data.size=", "train.batch=", "data.test=", "data.validation="],
        // Recipes without a suite are as they are, but for what keeps them from running.
        None => &["data.test="],
    };
    let chosen =
        auto.choices.iter().flat_map(|c| &c.keys).filter(|key| follows.iter().any(|f| key.starts_with(f)));
    let mut keys: Vec<String> = chosen.cloned().collect();
    if wanted.is_some() {
        keys.push(format!("data.source={place}"));
        keys.extend(["data.augment=auto", "data.normalise=auto"].map(str::to_owned));
    }
    Ok(keys)
}

/// What is said of a table that runs on images of one's own.
pub fn said(changes: &[String]) -> Option<String> {
    let source = source(changes)?;
    let changes: Vec<_> = changes.iter().map(|change| mlaan::text::line(change)).collect();
    Some(format!(
        "On {source}, which is not the suite's set: changed in every cell are {}.\n",
        changes.join(", ")
    ))
}

/// The images of one's own that keys name.
pub fn source(keys: &[String]) -> Option<String> {
    let source = crate::args::value(keys, "data.source").filter(|source| *source != BUILTIN)?;
    Some(mlaan::text::line(source).into_owned())
}

/// Where the images are, where that is one path.
fn place(args: &CompareArgs) -> Option<&str> {
    match args.data.as_slice() {
        [place] if place != BUILTIN && std::path::Path::new(place).exists() => Some(place),
        _ => None,
    }
}
