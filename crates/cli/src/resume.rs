//! A run that goes on: its own recipe, and what of it may be changed.

use crate::args::TrainArgs;
use crate::auto::{Base, Named};
use crate::folder::unfinished;
use anyhow::{Result, bail};
use mlaan::recipe::{Load, Orientation, Recipe, Schedule};
use mlaan::train::checkpoint::Manifest;
use std::path::Path;

/// The recipe of a new run.
///
/// # Errors
/// What is wrong with the recipe or the flags.
pub fn fresh(args: &TrainArgs) -> Result<Base> {
    let o = &args.overrides;
    let named = Named {
        recipe: args.recipe.as_deref(),
        data: o.images.data.as_deref(),
        init: o.init.as_deref(),
        init_key: o.init_key.as_deref(),
        local: args.memory.is_some(),
    };
    let mut base = Base::new(named, &o.assignments()?)?;
    o.apply(&mut base.recipe)?;
    Ok(base)
}

/// The recipe of the run in `folder`, with what the flags change. Without a checkpoint (a run that was killed in its
/// first epoch) it is the one that the folder keeps; without a run there, the named one.
///
/// # Errors
/// A flag or a recipe that would make it another run: names every key. Nothing there and no recipe named.
pub fn continued(args: &TrainArgs, manifest: Option<&Manifest>, folder: &Path) -> Result<Recipe> {
    let kept = folder.join(mlaan::train::RECIPE);
    let was = match (manifest, &args.recipe) {
        (Some(m), _) => Recipe::kept(&m.recipe, &format!("checkpoint in {}", folder.display()))?,
        (None, _) if kept.is_file() => Recipe::kept_in(&kept)?,
        (None, Some(_)) => return Ok(fresh(args)?.recipe),
        (None, None) => bail!("{}", nothing(args, folder)),
    };
    let mut wanted = match &args.recipe {
        Some(name) => Recipe::load(name)?,
        None => was.clone(),
    };
    args.overrides.apply(&mut wanted)?;
    if !args.overrides.names_data() {
        wanted.data.source.clone_from(&was.data.source);
    }
    // What the run held out because its images had no test split.
    wanted.data.test = wanted.data.test.or(was.data.test);
    let differing = differences(&was, &wanted)?;
    if wanted.data.load == Load::Auto {
        wanted.data.load = was.data.load;
    }
    if wanted.data.orientation == Orientation::Auto {
        wanted.data.orientation = was.data.orientation;
    }
    if !differing.is_empty() {
        bail!(
            "{}: this run was started with other values: {}. Leave out the recipe and these flags to go on as \
             it began (data.source, --recompute, local.offload, --device, --threads and a larger train.epochs may change), or pass another --out",
            folder.display(),
            differing.join(", ")
        );
    }
    Ok(wanted)
}

/// What is to be known of a run that goes on for more epochs than that of its checkpoint.
pub fn longer(manifest: &Manifest, wanted: &Recipe) -> Option<String> {
    // What cannot be read was refused before.
    changed(&Recipe::kept(&manifest.recipe, "").ok()?, wanted)
}

/// As [`longer`], of the recipes.
fn changed(was: &Recipe, wanted: &Recipe) -> Option<String> {
    let (before, now) = (was.train.epochs, wanted.train.epochs);
    let follows = matches!(wanted.train.schedule, Schedule::Cosine | Schedule::Linear | Schedule::Wsd);
    (follows && before != now).then(|| {
        format!(
            "From here on the learning rate is that of a run of {now} epochs; so far it was that of one of {before} (train.epochs)."
        )
    })
}

/// Why there is nothing to go on with, and what there is elsewhere.
fn nothing(args: &TrainArgs, folder: &Path) -> String {
    let at = folder.display();
    if args.out.is_some() {
        return format!("{at}: there is no run to resume; check --out, or name a recipe to start one there");
    }
    let others: Vec<String> = unfinished().iter().take(5).map(|p| p.display().to_string()).collect();
    match others.as_slice() {
        [] => format!("{at}: there is no run to resume; --out names the folder of one"),
        some => format!(
            "{at}: there is no run to resume; not finished are {}: name one with --out",
            some.join(", ")
        ),
    }
}

/// Keys that differ and must not, with both values.
fn differences(was: &Recipe, wanted: &Recipe) -> Result<Vec<String>> {
    let raised = wanted.train.epochs >= was.train.epochs;
    let differing = was.differences(wanted)?.into_iter().filter(|d| !(raised && d.key == "train.epochs"));
    Ok(differing.map(|d| d.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quickstart's recipe, and the same with other values.
    fn pair(set: &[&str]) -> (Recipe, Recipe) {
        let was = Recipe::load("quickstart").unwrap();
        let mut wanted = was.clone();
        wanted.set_all(set).unwrap();
        (was, wanted)
    }

    #[test]
    fn a_longer_run_is_told_of_its_learning_rate() {
        let with = |set: &[&str]| {
            let (was, wanted) = pair(set);
            changed(&was, &wanted)
        };
        assert!(with(&["train.epochs=20"]).unwrap().contains("a run of 20 epochs"));
        assert_eq!(with(&[]), None);
        assert_eq!(with(&["train.epochs=20", "train.schedule=constant"]), None);
    }

    #[test]
    fn only_source_description_and_more_epochs_are_free() {
        let with = |set: &[&str]| {
            let (was, wanted) = pair(set);
            differences(&was, &wanted).unwrap()
        };
        assert!(
            with(&["train.epochs=20", "data.source=elsewhere", "description=x", "model.width=16"]).is_empty()
        );
        assert_eq!(with(&["train.epochs=5"]), ["train.epochs is 8, not 5"]);
        let two = with(&["seed=3", "local.leap=none"]);
        assert!(two.contains(&"seed is 0, not 3".to_owned()), "{two:?}");
        assert!(two.contains(&"local.leap.tie is \"twin\", not none".to_owned()), "{two:?}");
    }
}
