//! One recipe: its text, and what is known of it before it runs.

use crate::format;
use crate::plan::{sizes, task};
use crate::wrap::wrapped;
use anyhow::{Result, bail};
use mlaan::compare::{KnownSet, published};
use mlaan::plan::{balanced, plan};
use mlaan::recipe::{Part, Recipe, builtin, network};
use mlaan::train::setup;
use mlaan_engine::DeviceKind;

/// The text of the recipe or part `name`, or all of its keys.
///
/// # Errors
/// Nothing of that name; mistakes in a file.
pub fn text(name: &str, resolve: bool) -> Result<String> {
    let own = builtin().iter().find(|b| b.name == name).map(|b| b.text.to_owned()).or_else(|| network(name));
    if let (Some(own), false) = (own, resolve) {
        return Ok(own);
    }
    // The library names what is there, and what is spelt like it.
    let recipe = Recipe::load(name)?;
    if resolve {
        return Ok(format!("{}\n{}", about(name, &recipe)?, recipe.to_toml()?));
    }
    let parts = Recipe::parts(name)?;
    match parts.as_slice() {
        [(Part::Recipe, _)] => {
            bail!("{name} is a file; --show prints what is built in, with --resolve any recipe")
        }
        parts => {
            let names: Vec<String> = parts.iter().map(|(_, n)| toml_string(n)).collect();
            let description = toml_string(&recipe.description);
            let keys = format!("description = {description}\nextends = [{}]\n", names.join(", "));
            Ok(format!("{}\n{keys}", about(name, &recipe)?))
        }
    }
}

/// Columns of comments.
const WIDTH: usize = 80;

fn toml_string(text: &str) -> String {
    // JSON's strings are TOML's.
    serde_json::Value::from(text).to_string()
}

/// A header: what it is, what the paper measured, and what it needs.
fn about(name: &str, recipe: &Recipe) -> Result<String> {
    let parts = Recipe::parts(name)?;
    let last = |part: Part| parts.iter().rfind(|(p, _)| *p == part).map_or("", |(_, name)| name.as_str());
    let (method, network, data) = (last(Part::Method), last(Part::Network), last(Part::Data));
    let whole = parts.iter().any(|(p, _)| *p == Part::Recipe);
    let mut lines = vec![format!("{name}: {}.", recipe.description)];
    if !whole {
        lines.push(match published(method, network, data) {
            Some(p) => format!("The paper: test error {}. {}.", format::percent(p.error), p.source),
            None => "The paper has no result for it.".into(),
        });
    }
    let set = KnownSet::find(data).ok().filter(|_| !whole);
    lines.push(needs(recipe, set)?);
    let line = |l: &String| {
        wrapped(&mlaan::text::line(l), WIDTH - 2).lines().map(|l| format!("# {l}\n")).collect::<String>()
    };
    Ok(lines.iter().map(line).collect())
}

/// Memory and arithmetic, planned for one thread, which is the same everywhere.
fn needs(recipe: &Recipe, set: Option<&KnownSet>) -> Result<String> {
    let backbone = setup::network(recipe)?;
    let (task, kind) = (task(recipe, None), DeviceKind::Cpu { threads: Some(1) });
    let sizes = sizes(recipe, recipe.train.batch, (kind, 1));
    let method = balanced(&backbone, &recipe.local, task, sizes)?;
    let plan = plan(&backbone, &method, task, sizes)?;
    let memory = format::bytes(plan.memory() as u64);
    let each = plan.flops as f64 / plan.batch.max(1) as f64;
    let mut text =
        format!("Planned: {memory} beside the images; {} GFLOP an image", format::digits(each / 1e9));
    if let Some(set) = set {
        let images = set.images(recipe.data.limit)[0];
        let epochs = recipe.train.epochs;
        let time = format::duration(each * images as f64 * epochs as f64 / 1e12);
        let (images, epochs) = (format::count(images), format::several(epochs, "epoch"));
        text +=
            &format!("; {epochs} of {images} images take {time} at 1 TFLOP/s (`mlaan bench` measures yours)");
    }
    Ok(text + ".")
}
