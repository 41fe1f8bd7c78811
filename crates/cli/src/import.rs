//! `mlaan import`: a checkpoint of weights from elsewhere.

use crate::args::ImportArgs;
use crate::{format, output};
use anyhow::{Context, Result, bail};
use mlaan::import::Options;
use mlaan::recipe::{Backbone, Model, Recipe};
use mlaan::text;
use mlaan::train::setup;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Makes the folder.
///
/// # Errors
/// A file that is no state dict of a network that is known; a folder that holds something.
pub fn import(args: &ImportArgs) -> Result<ExitCode> {
    if std::fs::read_dir(&args.out).map_or(args.out.exists(), |mut e| e.next().is_some()) {
        bail!("{}: is there already and not empty; pass another --out", args.out.display());
    }
    let options = Options {
        model: model(args)?,
        classes: args.classes.as_deref().map(classes).transpose()?,
        size: args.size,
        normalise: args.normalise.as_deref().map(setup::statistics).transpose()?,
        seed: args.seed,
    };
    let (manifest, taken) = mlaan::import::import(&args.file, &options, &args.out)?;
    let recipe = Recipe::parse(&manifest.recipe, "recipe")?;
    if args.json {
        output::json(&json!({
            "out": text::exact_path(&args.out),
            "backbone": recipe.model.backbone.to_string(),
            "width": recipe.model.width(),
            "classes": manifest.classes.len(),
            "size": manifest.size,
            "mean": manifest.normalise.mean,
            "std": manifest.normalise.std,
            "tensors": taken.tensors,
            "new_classifier": taken.new_classifier,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::page(&format!(
        "{}\n {}, {}, images of {}x{} pixels\n next: mlaan predict {at} IMAGES…, or mlaan train RECIPE --init {at}",
        format::taken(&taken),
        recipe.model.backbone,
        format::classes(manifest.classes.len()),
        manifest.size,
        manifest.size,
        at = text::file_word(&args.out),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn model(args: &ImportArgs) -> Result<Option<Model>> {
    if let Some(recipe) = &args.recipe {
        return Ok(Some(Model { init: None, ..Recipe::load(recipe)?.model }));
    }
    let Some(name) = &args.backbone else { return Ok(None) };
    let backbone = Backbone::try_from(name.clone()).map_err(anyhow::Error::msg)?;
    Ok(Some(Model { backbone, ..Model::default() }))
}

/// One name a line.
fn classes(path: &Path) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let names: Vec<String> = text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
    if names.len() < 2 {
        bail!("{}: at least 2 classes are needed, one a line", path.display());
    }
    Ok(names)
}
