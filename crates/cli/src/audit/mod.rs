//! `mlaan audit`: which loss trains which module.

mod matrix;

use crate::args::AuditArgs;
use crate::auto::{Base, Named};
use crate::{format, output};
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use matrix::said;
use mlaan::audit::{AUDIT, Audit, Reach, audit_recipe};
use mlaan::local::{Branch, Owner};
use mlaan::recipe::Recipe;
use mlaan::text::path;
use mlaan::train::{RECIPE, Trained, checkpoint};
use std::path::Path;
use std::process::ExitCode;

/// Names of parameters that a leak lists, at most.
const NAMES: usize = 3;

/// Audits and shows.
///
/// # Errors
/// What is wrong with the recipe; a folder that cannot be written to.
pub fn audit(args: &AuditArgs) -> Result<ExitCode> {
    let (name, mut recipe) = recipe(args)?;
    recipe.set_all(args.settings().assignments()?)?;
    if let Some(folder) = &args.out {
        as_the_run(&mut recipe, folder)?;
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let device = args.machine.open()?;
    let bar = bar();
    let found = audit_recipe(&recipe, &device, args.batch, &mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let found = found?;
    if let Some(folder) = &args.out {
        found.write(folder)?;
    }
    match args.output.json {
        true => output::json(&serde_json::to_value(&found)?)?,
        false => {
            let written = args.out.as_ref().map(|out| format!("\n written  {}\n", path(out.join(AUDIT))));
            output::page(&(text(&name, &found) + &written.unwrap_or_default()))?;
        }
    }
    let right = found.leaks().next().is_none() && found.missing().next().is_none();
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shown on a terminal: of many modules an audit takes minutes.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} losses, {eta} left");
    let bar = ProgressBar::no_length();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The recipe of that name, of the run in that folder, or one that suits the images; and what it is called.
fn recipe(args: &AuditArgs) -> Result<(String, Recipe)> {
    if let Some(name) = &args.recipe {
        let folder = Path::new(name);
        match of_run(folder)? {
            Some(kept) => return Ok((name.clone(), kept)),
            None if folder.is_dir() => {
                bail!("{name}: this folder holds no run, and an audit wants one, or a recipe")
            }
            None => {}
        }
    }
    let named =
        Named { recipe: args.recipe.as_deref(), data: args.data.as_deref(), local: true, ..Named::default() };
    let base = Base::new(named, &args.settings().assignments()?)?;
    Ok((base.name, base.recipe))
}

/// The recipe that a run's folder keeps, if it is one.
fn of_run(folder: &Path) -> Result<Option<Recipe>> {
    let kept = folder.join(RECIPE);
    Ok(match () {
        () if kept.is_file() => Some(Recipe::kept_in(&kept)?),
        // An imported network has checkpoints alone.
        () if folder.is_dir() && checkpoint::exists(folder) => Some(Trained::open(folder, false)?.recipe),
        () => None,
    })
}

/// Refuses to leave an audit of one network beside a run of another, where a report would show it as the run's. Cuts that the
/// recipe leaves to the run are those that the run chose.
fn as_the_run(recipe: &mut Recipe, folder: &Path) -> Result<()> {
    let Some(run) = of_run(folder)? else { return Ok(()) };
    if recipe.local.balance
        && recipe.local.modules == run.local.cuts.as_ref().map_or(1, |cuts| cuts.len() + 1)
    {
        (recipe.local.balance, recipe.local.cuts) = (false, run.local.cuts.clone());
    }
    let decides = |key: &str| {
        let of_network = key.starts_with("model.") && !key.starts_with("model.init");
        of_network || key.starts_with("local.") || key == "train.freeze"
    };
    let other: Vec<String> =
        run.differences(recipe)?.into_iter().filter(|d| decides(&d.key)).map(|d| d.to_string()).collect();
    if !other.is_empty() {
        let at = folder.display();
        bail!(
            "--out {at}: this run has another network or method ({}); give `mlaan audit {at} --out {at}`",
            other.join(", ")
        );
    }
    Ok(())
}

fn text(name: &str, found: &Audit) -> String {
    let mut lines = vec![
        format!(
            "{}: which loss reaches which module ({} a step)\n",
            format::heading(name),
            format::several(found.batch, "image")
        ),
        " #  changed by the loss    .  not changed    !  a leak: the method forbids it".into(),
    ];
    if matrix::shares(found) {
        lines.push(" n shared  n auxiliary networks whose leap chain the loss trains, too".into());
    }
    if matrix::has_mirrors(found) {
        lines.push(" n by EMA  n auxiliary networks whose mirrors follow what the loss trained".into());
    }
    lines.push(String::new());
    lines.extend(matrix::lines(found, output::columns()));
    lines.push(String::new());
    lines.push(verdict(found));
    for (loss, reach) in found.leaks() {
        lines.push(format!(" ! {} reached {}: {}", said(loss), owner(reach.owner), names(reach)));
    }
    for (loss, reach) in found.missing() {
        lines.push(format!(" {} changed nothing in {}", said(loss), owner(reach.owner)));
    }
    lines.join("\n") + "\n"
}

fn verdict(found: &Audit) -> String {
    let losses = match found.rows.len() {
        1 => "1 loss".to_owned(),
        n => format!("{} losses", format::count(n)),
    };
    match found.leaks().count() {
        0 if found.missing().next().is_some() => {
            format!("A loss does not reach what it should ({losses}, each checked alone).")
        }
        0 => format!("No gradient crosses a cut that it should not ({losses}, each checked alone)."),
        n => {
            let leaks = format::several(n, "leak");
            format!("A gradient crosses a cut that it should not: {leaks} ({losses}, each checked alone).")
        }
    }
}

fn owner(owner: Owner) -> String {
    match owner {
        Owner::Module(m) => format!("module {m}"),
        Owner::Classifier => "the classifier".into(),
        Owner::Auxiliary(m, Branch::Independent) => {
            format!("the independent auxiliary network of module {m}")
        }
        Owner::Auxiliary(m, Branch::Cascaded) => format!("the cascaded auxiliary network of module {m}"),
    }
}

fn names(reach: &Reach) -> String {
    let leaked = reach.leaked();
    let (some, more) = leaked.split_at(leaked.len().min(NAMES));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", some.join(", "))
}
