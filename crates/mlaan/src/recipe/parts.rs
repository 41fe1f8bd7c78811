//! Whether the parts that a recipe is made of fit together. What does not would silently be another method.

use super::builtin::Part;
use super::layer::Layer;
use crate::{Error, Result};
use toml::{Table, Value};

/// Checks `layers`, bases first, that make `all`.
///
/// # Errors
/// [`Error::Recipe`] for backpropagation with several modules, for another method without any, and for a network whose
/// settings are for methods with cascades or leap chains.
pub(super) fn check(layers: &[Layer], all: &Table) -> Result<()> {
    let Some(method) = layers.iter().rev().find(|l| l.part == Part::Method) else { return Ok(()) };
    let local = all.get("local").and_then(Value::as_table);
    check_modules(layers, method, all)?;
    ["local.cascade", "local.leap"]
        .into_iter()
        .try_for_each(|table| check_table(layers, method, local, table))
}

fn check_modules(layers: &[Layer], method: &Layer, all: &Table) -> Result<()> {
    let local = all.get("local").and_then(Value::as_table);
    let name = method.description().unwrap_or_default();
    let plain = method.get("local.modules").and_then(Value::as_integer) == Some(1);
    let modules = local.and_then(|l| l.get("modules")).and_then(Value::as_integer);
    let wrote = layers.iter().rev().find(|l| l.get("local.modules").is_some());
    let wrong = |message: String| Err(Error::recipe("local.modules", message));
    match (modules, wrote) {
        (Some(n @ 2..), Some(network)) if plain && network.part == Part::Network => wrong(format!(
            "{name} has one module, and {} has {n}; write the backbone alone, as resnet32",
            network.origin
        )),
        (None, _) if !plain && local.is_none_or(|l| !l.contains_key("cuts")) => wrong(format!(
            "{name} needs modules, and nothing says how many: write the network as {}, or set this key in a recipe file",
            cut(all)
        )),
        _ => Ok(()),
    }
}

/// The network with as many modules as the paper's tables cut it into at the most: one per block, and the stem.
fn cut(all: &Table) -> String {
    let backbone = all.get("model").and_then(Value::as_table).and_then(|model| model.get("backbone"));
    let backbone = backbone.and_then(Value::as_str).unwrap_or("resnet32");
    let depth: usize = backbone.strip_prefix("resnet").and_then(|depth| depth.parse().ok()).unwrap_or(32);
    // Blocks of three convolutions in the deeper ResNets for ImageNet, of two in all others.
    let modules = if matches!(depth, 50 | 101 | 152) { depth.div_ceil(3) } else { depth / 2 };
    format!("{backbone}-{modules}")
}

/// Checks that not a network alone makes the table that a method lacks.
fn check_table(layers: &[Layer], method: &Layer, local: Option<&Table>, table: &str) -> Result<()> {
    let says = |l: &&Layer| l.get(table).is_some_and(Value::is_table);
    let key = table.rsplit('.').next().unwrap_or(table);
    let there = local.is_some_and(|l| l.contains_key(key));
    let network = layers.iter().rev().filter(says).find(|l| l.part == Part::Network);
    let others = layers.iter().filter(says).any(|l| l.part != Part::Network);
    match network {
        Some(network) if there && !others => {
            let name = method.description().unwrap_or_default();
            let message = format!("{} is for methods with [{table}], and {name} has none", network.origin);
            Err(Error::recipe(table, message))
        }
        _ => Ok(()),
    }
}
