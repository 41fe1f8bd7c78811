//! `mlaan eval`: what a trained network is worth.

mod classes;
mod confusion;
mod mistakes;
mod told;

use crate::args::{EvalArgs, Split};
use crate::held_out::or_held_out;
use crate::memory::Planned;
use crate::{host, output};
use anyhow::{Result, bail};
use mlaan::Device;
use mlaan::data::{Dataset, LoaderPool, Names, Splits, Subset, by_name};
use mlaan::evaluation::Evaluation;
use mlaan::files::atomic;
use mlaan::plan::{Inference, Needs, evaluation, inference, read_at_once};
use mlaan::recipe::{Orientation, Recipe};
use mlaan::text;
use mlaan::train::{Trained, evaluate_keeping, loading, setup};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use told::Told;

/// Tests a checkpoint.
///
/// # Errors
/// A checkpoint that cannot be used, images that do not fit it.
pub fn eval(args: &EvalArgs) -> Result<ExitCode> {
    args.confusion.as_deref().map_or(Ok(()), writable)?;
    let trained = Trained::open(&args.checkpoint, args.best)?;
    let (mut recipe, manifest, path) =
        (recipe(args, &trained)?, trained.manifest.clone(), trained.path.clone());
    let device = args.machine.open()?.with_precision(recipe.train.precision.into());
    // Without the option nothing is asked for what images are called.
    let mistakes = args.mistakes.unwrap_or(0);
    let names = match (mistakes, args.split) {
        (0, _) => Names::None,
        (_, Split::Test) => Names::Test,
        _ => Names::All,
    };
    let mut splits = opened(args, &mut recipe, device.threads(), names)?;
    splits.test = chosen(args, &recipe, &splits)?;
    relabel(&manifest.classes, &mut splits, &recipe.data.source)?;
    let batch = args.batch.unwrap_or(recipe.train.test_batch()).min(splits.test.len());
    let needs = plan(&trained, &recipe, (&splits, batch, mistakes), &device)?;
    let memory = Planned::begin(needs, &device)?;
    let mut network = trained.network(&device)?;
    let pool = setup::loader_pool(&device, splits.test.as_ref())?;
    let sizes = (batch, setup::frame(&recipe.data));
    let found = evaluate_keeping(&mut network, &splits.test, &pool, sizes, mistakes)?;
    if let Some(path) = &args.confusion {
        write_confusion(&found, path)?;
    }
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
            "confusion_file": args.confusion.as_deref().map(text::exact_path),
        });
        if let (Some(all), Some(about)) = (value.as_object_mut(), about.as_object()) {
            all.extend(about.clone());
        }
        output::json(&value)?;
    } else {
        let (memory, confusion) = (memory.text(), args.confusion.as_deref());
        let (split, splits, path, source) =
            (args.split, &splits, path.as_path(), recipe.data.source.as_str());
        let told =
            Told { found: &found, split, manifest: &manifest, splits, source, path, memory, confusion };
        output::page(&told.text(output::width()))?;
        if let Some(mistakes) = told.mistakes() {
            output::exact(&format!("\n{mistakes}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The images. Of others than the run's that have no test split some are tested on, as `mlaan train --data` holds them out.
fn opened(args: &EvalArgs, recipe: &mut Recipe, threads: usize, names: Names) -> Result<Splits> {
    or_held_out(recipe, args.images.data.is_some(), |recipe| Ok(host::open(recipe, threads, names)?))
}

/// Finds before the evaluation what would keep a file from being written behind it.
fn writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        bail!("{}: this is a folder; --confusion wants a file", path.display());
    }
    match path.parent().filter(|p| *p != Path::new("") && !p.is_dir()) {
        Some(folder) => bail!("{}: there is no such folder to write into; create it first", folder.display()),
        None => Ok(()),
    }
}

fn write_confusion(found: &Evaluation, path: &Path) -> Result<()> {
    let (names, images) = found.names();
    Ok(atomic::write(path, |out| found.confusion.write_csv((&names, &images), path, out))?)
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
    (splits, batch, mistakes): (&Splits, usize, usize),
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
    let task = trained.task();
    let mut needs = inference(&trained.backbone()?, task, &sizes)?.loading(loading(splits));
    needs.process += evaluation(device.kind(), (task.classes, test.len()), mistakes);
    Ok(needs)
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
            // Of a few training images none could be spared; test images are drawn before.
            recipe.data.validation = Some(0.0);
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
    let own = recipe.data.source == trained.recipe.data.source;
    if own && args.test.is_some() && args.test != recipe.data.test {
        bail!(
            "--test: these are the run's own images, and it was trained on all that it did not hold out itself; leave --test out"
        );
    }
    recipe.data.test = args.test.or(recipe.data.test);
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
