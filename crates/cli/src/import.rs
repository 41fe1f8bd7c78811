//! `mlaan import`: a checkpoint of weights from elsewhere.

use crate::args::ImportArgs;
use crate::memory::Planned;
use crate::{format, output};
use anyhow::Result;
use mlaan::import::{Options, read_classes};
use mlaan::recipe::{Backbone, Model, Recipe};
use mlaan::text;
use mlaan::train::Imported;
use mlaan::train::setup;
use serde_json::json;
use std::process::ExitCode;

/// Makes the folder.
///
/// # Errors
/// A file that is no state dict of a network that is known; a folder that holds something.
pub fn import(args: &ImportArgs) -> Result<ExitCode> {
    let options = Options {
        model: model(args)?,
        key: args.key.clone(),
        classes: args.classes.as_deref().map(read_classes).transpose()?,
        new_classifier: args.new_classifier,
        size: args.size,
        normalise: args.normalise.as_deref().map(setup::statistics).transpose()?,
        seed: args.seed,
    };
    let Imported { manifest, taken, needs } = mlaan::train::import(&args.file, &options, &args.out)?;
    let memory = Planned::process(needs)?;
    let recipe = Recipe::kept(&manifest.recipe, "recipe")?;
    if args.output.json {
        output::json(&json!({
            "out": text::exact_path(&args.out),
            "backbone": recipe.model.backbone.to_string(),
            "width": recipe.model.width(),
            "classes": manifest.classes.len(),
            "size": manifest.size,
            "mean": manifest.normalise.mean,
            "std": manifest.normalise.std,
            "key": taken.key,
            "average": taken.average,
            "others": taken.others,
            "unused": taken.unused,
            "remarks": taken.remarks,
            "tensors": taken.tensors,
            "new_classifier": taken.new_classifier,
            "memory": memory.json(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::page(&format!(
        "{}\n network      {}, {}, images of {}x{} pixels\n peak memory  {}\n next         mlaan predict {at} IMAGES…\n              \
         mlaan train RECIPE --init {at}",
        format::taken(&taken),
        recipe.model.backbone,
        format::classes(manifest.classes.len()),
        manifest.size,
        manifest.size,
        memory.text(),
        at = text::file_word(&args.out),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn model(args: &ImportArgs) -> Result<Option<Model>> {
    if let Some(recipe) = &args.recipe {
        return Ok(Some(Model { init: None, init_key: None, ..Recipe::load(recipe)?.model }));
    }
    let Some(name) = &args.backbone else { return Ok(None) };
    let backbone = Backbone::try_from(name.clone()).map_err(anyhow::Error::msg)?;
    Ok(Some(Model { backbone, ..Model::default() }))
}
