//! `mlaan eval`: errors of a trained network.

use crate::args::{EvalArgs, Split};
use crate::memory::Planned;
use crate::{format, output};
use anyhow::{Result, bail};
use mlaan::Device;
use mlaan::data::{Dataset, LoaderPool, Splits, Subset, by_name};
use mlaan::plan::{Inference, Needs, inference, read_at_once};
use mlaan::recipe::{Orientation, Recipe};
use mlaan::text;
use mlaan::train::checkpoint::Manifest;
use mlaan::train::{ClassError, Evaluation, Trained, evaluate, loading, setup};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Classes in a table at most; of more, those with the highest error are shown.
const ROWS: usize = 50;

/// Tests a checkpoint.
///
/// # Errors
/// A checkpoint that cannot be used, images that do not fit it.
pub fn eval(args: &EvalArgs) -> Result<ExitCode> {
    let trained = Trained::open(&args.checkpoint, args.best)?;
    let (recipe, manifest, path) = (recipe(args, &trained)?, trained.manifest.clone(), trained.path.clone());
    let device = args.machine.open()?.with_precision(recipe.train.precision.into());
    let mut splits = setup::open(&recipe, device.threads())?;
    splits.test = chosen(args, &recipe, &splits)?;
    relabel(&manifest.classes, &mut splits, &recipe.data.source)?;
    let batch = args.batch.unwrap_or(recipe.train.batch).min(splits.test.len());
    let needs = plan(&trained, &recipe, (&splits, batch), &device)?;
    let memory = Planned::begin(needs, &device)?;
    let mut network = trained.network(&device)?;
    let pool = setup::loader_pool(&device, splits.test.as_ref())?;
    let found = evaluate(&mut network, &splits.test, &pool, (batch, setup::frame(&recipe.data)))?;
    if args.output.json {
        let mut value = json!(found);
        let about = json!({
            "checkpoint": text::exact_path(&path),
            "epoch": manifest.epoch,
            "data": splits.name,
            "split": args.split.word(),
            "skipped": splits.skipped,
            "orientation": setup::oriented(Orientation::Auto, &splits),
            "memory": memory.json(),
            "notes": splits.notes,
        });
        if let (Some(all), Some(about)) = (value.as_object_mut(), about.as_object()) {
            all.extend(about.clone());
        }
        output::json(&value)?;
    } else {
        output::page(&told((&found, args.split), &manifest, &splits, (&path, &memory.text())))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The images of the split that is asked for.
fn chosen(args: &EvalArgs, recipe: &Recipe, splits: &Splits) -> Result<Arc<dyn Dataset>> {
    let data = match args.split {
        // A limit has chosen among test images already.
        Split::Test => return Ok(Arc::clone(&splits.test)),
        Split::Train => &splits.train,
        Split::Val => match &splits.validation {
            Some(validation) => validation,
            None => bail!(
                "{}: there are no validation images: the set has no such split, and the run held none out (data.validation); \
                 --split test has the images that its best epoch was chosen on",
                recipe.data.source
            ),
        },
    };
    // Not by opening fewer, which would hold out others.
    Ok(match args.images.sample.limit {
        Some(limit) => Arc::new(Subset::limited(data, limit, recipe.seed)?),
        None => Arc::clone(data),
    })
}

/// What it needs: the network, a batch at a time, and the images, those for training included, since a set is opened whole.
fn plan(
    trained: &Trained,
    recipe: &Recipe,
    (splits, batch): (&Splits, usize),
    device: &Device,
) -> Result<Needs> {
    let test = splits.test.as_ref();
    let work = setup::loader_threads(device, test) * test.work_bytes();
    let images = splits.all().map(|data| data.resident_bytes()).sum::<usize>();
    let batches = LoaderPool::bytes(LoaderPool::AHEAD, batch, recipe.data.size, false);
    let sizes = Inference {
        batch,
        images: test.len(),
        at_once: read_at_once(device.kind()),
        folded: false,
        data_bytes: images + batches + work,
        precision: recipe.train.precision.into(),
        kind: device.kind(),
    };
    Ok(inference(&trained.backbone()?, trained.task(), &sizes)?.loading(loading(splits)))
}

/// The run's recipe, with the images that are asked for.
fn recipe(args: &EvalArgs, trained: &Trained) -> Result<Recipe> {
    let mut recipe = trained.recipe.clone();
    if let Some(source) = args.images.data.as_ref().filter(|s| **s != recipe.data.source) {
        recipe.set_source(source);
        // The run's limit was for the run's own images; what it held out was held out of those that were left.
        if args.split == Split::Test {
            recipe.data.limit = None;
        }
    }
    if args.split == Split::Test {
        if args.images.sample.limit.is_some() {
            recipe.data.limit = args.images.sample.limit;
        }
        // Validation images of the set's own are not wanted.
        recipe.data.validation = recipe.data.validation.or(Some(0.0));
    }
    if let Some(precision) = &args.precision {
        recipe.set(&format!("train.precision={precision}"))?;
    }
    if let Some(turning) = args.orientation {
        recipe.data.orientation = turning.into();
    }
    recipe.data.skip_broken |= args.images.sample.skip_broken;
    Ok(recipe)
}

/// Gives test images the labels of the checkpoint's classes, by name; a set may have fewer classes.
fn relabel(theirs: &[String], splits: &mut Splits, source: &str) -> Result<()> {
    let ours = splits.test.classes().to_vec();
    if theirs == ours {
        return Ok(());
    }
    let unknown = match by_name(&splits.test, theirs) {
        Ok(test) => {
            let text = match ours.len() {
                1 => format!("its one class is matched by name with the checkpoint's {}", theirs.len()),
                n => format!("its {n} classes are matched by name with the checkpoint's {}", theirs.len()),
            };
            splits.notes.remarks.push(text);
            splits.test = test;
            return Ok(());
        }
        Err(unknown) => unknown,
    };
    let listed = |names: &[String]| {
        let more = names.len().saturating_sub(5);
        let listed = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{listed} and {more} more") } else { listed }
    };
    let lost: Vec<String> = theirs.iter().filter(|c| !ours.contains(c)).cloned().collect();
    let mut parts = vec![format!(
        "{} {} here, {} in the checkpoint",
        ours.len(),
        if ours.len() == 1 { "class" } else { "classes" },
        theirs.len()
    )];
    if !unknown.is_empty() {
        parts.push(format!("only here: {}", listed(&unknown)));
    }
    if !lost.is_empty() {
        parts.push(format!("only in the checkpoint: {}", listed(&lost)));
    }
    if unknown.is_empty() {
        parts.push("a name stands for several classes".into());
    }
    bail!(
        "{source}: its classes are not those of the checkpoint ({}). Where only their names differ, `mlaan import --classes \
         FILE` gives a network's classes other names",
        parts.join("; ")
    )
}

fn told(
    (found, split): (&Evaluation, Split),
    manifest: &Manifest,
    splits: &Splits,
    (path, memory): (&Path, &str),
) -> String {
    let at = match manifest.partial.steps {
        0 => format!("after epoch {}", manifest.epoch),
        n => format!("after epoch {} and {}", manifest.epoch, format::several(n, "step")),
    };
    let skipped = match splits.skipped {
        0 => String::new(),
        n => format!(", {} skipped", format::several(n, "broken image")),
    };
    let images = format::several(found.images, split.image());
    let error = format::heading(&format::percent(found.error));
    let mut lines = vec![format!("{} ({at})\n", text::path(path))];
    lines.push(format!(" data         {}: {images}{skipped}", text::line(&splits.name)));
    for (at, note) in splits.notes.lines().iter().enumerate() {
        lines.push(format!(" {:<11}  {}", if at == 0 { "notes" } else { "" }, text::line(note)));
    }
    lines.push(format!(" error        {error}"));
    if let Some(top5) = found.top5_error {
        lines.push(format!(" top-5 error  {}", format::percent(top5)));
    }
    if found.undefined > 0 {
        let images = format::several(found.undefined, "image");
        lines.push(format!(" no number    {images}: this network diverged in training"));
    }
    lines.push(format!(" peak memory  {memory}"));
    lines.push(format!("\n{}", table(&found.classes)));
    lines.join("\n")
}

fn table(classes: &[ClassError]) -> String {
    let mut shown: Vec<&ClassError> = classes.iter().collect();
    if classes.len() > ROWS {
        shown.sort_by(|a, b| b.error.unwrap_or(-1.0).total_cmp(&a.error.unwrap_or(-1.0)));
        shown.truncate(ROWS);
    }
    let mut table = format::table(&["class", ">images", ">error"]);
    for c in &shown {
        let error = c.error.map_or_else(|| "–".into(), format::percent);
        table.add_row([c.name.clone(), format::count(c.images), error]);
    }
    let table = format::text(&table);
    match classes.len() - shown.len() {
        0 => table,
        n => format!("{table}\n … {n} with a lower error; --json prints all"),
    }
}
