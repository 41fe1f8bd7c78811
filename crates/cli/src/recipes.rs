//! `mlaan recipes`: what comes with the program.

use crate::args::RecipesArgs;
use crate::{format, output};
use anyhow::{Result, bail};
use mlaan::recipe::{KEYS, Recipe, builtin};
use std::process::ExitCode;

/// Lists the built-in recipes, or prints one, or lists the keys.
///
/// # Errors
/// No recipe of that name.
pub fn recipes(args: &RecipesArgs) -> Result<ExitCode> {
    match &args.show {
        Some(name) if args.resolve => output::page(&Recipe::load(name)?.to_toml()?)?,
        Some(name) => show(name)?,
        None if args.keys => output::page(&keys())?,
        None => output::page(&list()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(name: &str) -> Result<()> {
    if let Some((_, text)) = builtin().iter().find(|(n, _)| *n == name) {
        return output::page(text);
    }
    // The library names what is there, and what is spelt like it.
    Recipe::load(name)?;
    bail!("{name} is a file, or several recipes; --show prints a built-in one, with --resolve any")
}

fn list() -> Result<String> {
    let mut table = format::table(&["recipe", "what it is"]);
    for (name, _) in builtin() {
        table.add_row([*name, &Recipe::load(name)?.description]);
    }
    format::fit(&mut table, output::width());
    Ok(format::text(&table))
}

fn keys() -> String {
    let mut table = format::table(&["key", "meaning"]);
    for key in KEYS {
        let optional = if key.optional { " (may be absent)" } else { "" };
        table.add_row([key.path.to_owned(), format!("{}{optional}", key.help)]);
    }
    format::fit(&mut table, output::width());
    format::text(&table)
}
