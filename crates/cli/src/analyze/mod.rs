//! `mlaan analyze`: what trained networks hold at each depth.

mod text;

use crate::args::{AnalyzeArgs, Cut};
use crate::memory::Planned;
use crate::{host, output};
use anyhow::{Result, bail};
use console::Term;
use mlaan::Device;
use mlaan::analyze::{
    Analysis, Images, Seen, Studied, Studies, Subject, cka, features, heads, names, plan, separability,
};
use mlaan::data::{LoaderPool, Names, Splits};
use mlaan::recipe::Recipe;
use mlaan::train::{Trained, checkpoint, loading, setup};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Images at a time, at the most, where their number does not matter to the result.
const BATCH: usize = 256;

/// What is asked for.
#[derive(Clone, Copy)]
struct Wanted {
    separability: bool,
    cka: bool,
    features: bool,
    heads: bool,
}

impl Wanted {
    fn of(args: &AnalyzeArgs) -> Self {
        let named = args.separability || args.cka || args.features || args.heads;
        Wanted {
            separability: args.separability || !named,
            cka: args.cka || (args.against.is_some() && !named),
            features: args.features || !named,
            heads: args.heads || !named,
        }
    }
}

/// Analyses checkpoints.
///
/// # Errors
/// Checkpoints that cannot be used or compared, images that do not fit them.
pub fn analyze(args: &AnalyzeArgs) -> Result<ExitCode> {
    let wanted = Wanted::of(args);
    let device = args.machine.open()?;
    let opened = open(args)?;
    let opened_against = args.against.as_ref().filter(|_| wanted.cka);
    let opened_against = opened_against.map(|path| Trained::open(path, false)).transpose()?;
    if args.heads && !opened.iter().any(Subject::has_heads) {
        bail!(
            "--heads: no checkpoint has auxiliary classifiers; backpropagation and contrastive losses have none"
        );
    }
    let recipe = recipe(args, &opened[0]);
    let splits = host::open(&recipe, device.threads(), Names::Test)?;
    splits.notes.lines().iter().for_each(|line| output::note(&format!("note: {line}")));
    // Before hours of work.
    let chosen = if wanted.features { Some(chosen(args, &recipe, &splits)?) } else { None };
    let out = args.out.clone().unwrap_or_else(|| folder(&args.checkpoints[0]).join("analysis"));
    std::fs::create_dir_all(&out).map_err(|e| anyhow::anyhow!("{}: {e}", out.display()))?;

    let studies = Studies {
        heads: wanted.heads,
        separability: wanted.separability.then(|| separability_options(args)),
        cka: wanted.cka.then_some(args.minibatch),
        features: chosen.as_ref().map(|c| (c.len(), args.places)),
        batch: BATCH,
    };
    let images = images(&splits, &device, (args, &recipe));
    let needs = plan((&opened, opened_against.as_ref()), images, studies, device.kind())?;
    let needs = needs.loading(loading(&splits));
    let memory = Planned::begin(needs, &device)?;
    let mut subjects = named(args, &opened, &device, wanted.heads)?;
    let pool = setup::loader_pool(&device, splits.test.as_ref())?;
    let mut report = Analysis::new(&splits.name, [splits.train.len(), splits.test.len()]);
    let mut other = match (args.against.as_ref(), &opened_against) {
        (Some(path), Some(opened)) => Some(against(args, (path, opened), &device)?),
        _ => None,
    };
    for (subject, path) in subjects.iter_mut().zip(&args.checkpoints) {
        let mut found = Studied::new(subject, path);
        study(args, wanted, (subject, other.as_mut()), (&splits, &pool), &mut found)?;
        report.subjects.push(found);
    }
    let mut files = Vec::new();
    if let Some(chosen) = chosen {
        let looks = features::features(&mut subjects, chosen, &pool, args.places)?;
        files = report.add_features(&out, &looks)?;
    }
    files.splice(0..0, report.save(&out)?);
    match args.output.json {
        true => output::json(&serde_json::to_value(&report)?)?,
        false => {
            output::page(&format!("{}\n peak memory {}", text::text(&report, &out, &files), memory.text()))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every checkpoint, each once.
fn open(args: &AnalyzeArgs) -> Result<Vec<Trained>> {
    let twice = |(i, p): &(usize, &PathBuf)| {
        let same =
            |q: &PathBuf| q == *p || q.canonicalize().ok().is_some_and(|q| Some(q) == p.canonicalize().ok());
        args.checkpoints.iter().take(*i).any(same)
    };
    if let Some((_, path)) = args.checkpoints.iter().enumerate().find(twice) {
        bail!(
            "{} is named twice; one network is compared with others, or with itself by --against",
            path.display()
        );
    }
    args.checkpoints.iter().map(|path| Ok(Trained::open(path, false)?)).collect()
}

fn named(args: &AnalyzeArgs, opened: &[Trained], device: &Device, heads: bool) -> Result<Vec<Subject>> {
    let names = names(&args.checkpoints);
    opened.iter().zip(names).map(|(trained, name)| Ok(Subject::of(name, trained, device, heads)?)).collect()
}

/// What the images and their batches take.
fn images(splits: &Splits, device: &Device, (args, recipe): (&AnalyzeArgs, &Recipe)) -> Images {
    let (train, test) = (splits.train.as_ref(), splits.test.as_ref());
    let work = setup::loader_threads(device, test) * test.work_bytes().max(train.work_bytes());
    let batch = BATCH.max(args.minibatch).min(train.len().max(test.len()));
    let batches = LoaderPool::bytes(LoaderPool::AHEAD, batch, recipe.data.size, false);
    let data_bytes = splits.all().map(|data| data.resident_bytes()).sum::<usize>() + batches + work;
    Images { count: [train.len(), test.len()], data_bytes }
}

fn separability_options(args: &AnalyzeArgs) -> separability::Options {
    separability::Options { grid: args.pool, c: args.c, ends_only: args.cut == Cut::Modules }
}

/// The network that CKA compares with, called as among the others.
fn against(args: &AnalyzeArgs, (path, opened): (&Path, &Trained), device: &Device) -> Result<Subject> {
    let all: Vec<&Path> = args.checkpoints.iter().map(PathBuf::as_path).chain([path]).collect();
    let same = |p: &&PathBuf| p.canonicalize().ok() == path.canonicalize().ok();
    let name = match args.checkpoints.iter().position(|p| same(&p)) {
        Some(i) => names(&args.checkpoints).swap_remove(i),
        None => names(&all).pop().unwrap_or_default(),
    };
    Ok(Subject::of(name, opened, device, false)?)
}

/// The first run's recipe, with the images that are asked for.
fn recipe(args: &AnalyzeArgs, first: &Trained) -> Recipe {
    let mut recipe = first.recipe.clone();
    if let Some(source) = args.from.data.as_ref().filter(|s| **s != recipe.data.source) {
        recipe.set_source(source);
        // The run's limit was for the run's own images.
        recipe.data.limit = None;
    }
    recipe.data.limit = args.from.sample.limit.or(recipe.data.limit);
    // A set's own validation images are not looked at.
    recipe.data.validation = recipe.data.validation.or(Some(0.0));
    recipe.data.skip_broken |= args.from.sample.skip_broken;
    recipe.data.size = first.manifest.size;
    recipe
}

/// The folder of a checkpoint's run.
fn folder(path: &Path) -> &Path {
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    match folder.file_name() {
        Some(name) if name == checkpoint::FOLDER => folder.parent().unwrap_or(folder),
        _ => folder,
    }
}

/// The images whose feature maps are shown.
fn chosen(args: &AnalyzeArgs, recipe: &Recipe, splits: &Splits) -> Result<features::Chosen> {
    let test = splits.test.as_ref();
    let mut chosen = features::Chosen::of(test, &[])?;
    for text in &args.images {
        let numbers: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
        match numbers {
            Ok(numbers) => chosen.add(test, &numbers)?,
            Err(_) => {
                chosen.add_file(
                    Path::new(text),
                    setup::frame(&recipe.data).short_side,
                    recipe.data.orientation.into(),
                )?;
            }
        }
    }
    Ok(chosen)
}

/// All that is asked about one network, but its feature maps.
fn study(
    args: &AnalyzeArgs,
    wanted: Wanted,
    (subject, other): (&mut Subject, Option<&mut Subject>),
    (splits, pool): (&Splits, &LoaderPool),
    found: &mut Studied,
) -> Result<()> {
    // As many as its training had memory for.
    let batch = subject.recipe.train.batch.min(BATCH);
    let seen = Seen { data: &splits.test, pool, batch };
    let name = subject.name.clone();
    if wanted.heads && subject.with_heads {
        tell(&format!("{name}: auxiliary classifiers"));
        found.heads = Some(heads::heads(subject, &seen)?);
    }
    if let Some(other) = other {
        tell(&format!("{name}: CKA with {}", other.name));
        found.cka = Some(cka::cka(subject, other, &Seen { batch: args.minibatch, ..seen })?);
    }
    if wanted.separability {
        tell(&format!("{name}: features of {} images", splits.train.len() + splits.test.len()));
        let options = separability_options(args);
        let mut say = |s: &separability::Separation| {
            tell(&format!("{name}: {} separable to {:.2} %", s.at.name, s.test_error));
        };
        found.separability = Some(separability::separability(subject, splits, &seen, options, &mut say)?);
    }
    Ok(())
}

/// Says to someone who waits how far it is.
fn tell(text: &str) {
    if Term::stderr().is_term() {
        output::note(text);
    }
}
