//! `mlaan recipes`: what comes with the program, and what a recipe may hold.

mod show;

use crate::args::RecipesArgs;
use crate::{format, output};
use anyhow::Result;
use mlaan::recipe::{
    EXTENDS_HELP, KEYS, NETWORKS, Part, Recipe, builtin, json_schema, network, recipes as names,
};
use serde_json::json;
use std::process::ExitCode;

/// Lists the built-in recipes, or prints one, or lists the keys.
///
/// # Errors
/// No recipe of that name.
pub fn recipes(args: &RecipesArgs) -> Result<ExitCode> {
    match &args.show {
        Some(name) => output::exact(show::text(name, args.resolve)?.trim_end())?,
        None if args.schema && args.output.json => output::json(&json_schema())?,
        None if args.schema => output::page(&keys())?,
        None if args.output.json => output::json(&json!({ "parts": parts()?, "recipes": whole()? }))?,
        None => output::page(&list()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a text calls itself.
fn description(text: &str) -> String {
    let said = |line: &str| Some(line.strip_prefix("description = \"")?.strip_suffix('"')?.to_owned());
    text.lines().find_map(said).unwrap_or_default()
}

/// Names and descriptions of the parts of one kind.
fn of(part: Part) -> Vec<(String, String)> {
    let files = builtin().iter().filter(|b| b.part == part);
    let mut named: Vec<_> = files.map(|b| (b.name.to_owned(), description(b.text))).collect();
    if part == Part::Network {
        let by_rule = NETWORKS.iter().filter_map(|n| Some(((*n).to_owned(), description(&network(n)?))));
        named.splice(0..0, by_rule);
    }
    named
}

const HEADINGS: [(Part, &str); 4] = [
    (Part::Recipe, "recipe"),
    (Part::Method, "method"),
    (Part::Network, "network"),
    (Part::Data, "data set"),
];

/// What stands behind the short names.
const METHODS: &str = "\
DGL: decoupled greedy learning. InfoPro: information propagation.
MLM: multilaminar local modules. LAM: leap augmented modules.
MLAAN: both, the multilaminar leap augmented auxiliary network. A star: both on
the method before it.";

const JOINED: &str = "\
A method and a network make a recipe: mlaan-released-resnet32-16, on the
network's usual data set. Others are joined by +:
mlaan-released+resnet110-55+stl10, quickstart+mine.toml; later ones win. A
network may have any depth and any number of modules: resnet44, resnet56-4.
`mlaan recipes --show NAME` prints one, with the paper's result and what it
needs.";

fn list() -> Result<String> {
    let mut text = String::new();
    for (part, heading) in HEADINGS {
        let mut table = format::table(&[heading, "what it is"]);
        for (name, what) in of(part) {
            // As wide in every table.
            table.add_row([format!("{name:20}"), what]);
        }
        format::fit(&mut table, output::width());
        text.push_str(&format!("{}\n\n", format::text(&table)));
        if part == Part::Method {
            text.push_str(&format!("{}\n\n", format::dim(METHODS)));
        }
    }
    Ok(text + &format::dim(JOINED))
}

fn parts() -> Result<serde_json::Value> {
    let kinds = [(Part::Method, "method"), (Part::Network, "network"), (Part::Data, "data")];
    let parts = kinds.iter().flat_map(|(part, kind)| {
        of(*part)
            .into_iter()
            .map(move |(name, what)| json!({"name": name, "part": kind, "description": what}))
    });
    Ok(parts.collect())
}

fn whole() -> Result<serde_json::Value> {
    let entry = |name: String| {
        let what = Recipe::load(&name)?.description;
        Ok(json!({"name": name, "description": what}))
    };
    names().into_iter().map(entry).collect()
}

fn keys() -> String {
    let mut table = format::table(&["key", "default", "meaning"]);
    table.add_row(["extends", "", EXTENDS_HELP]);
    for key in KEYS {
        let absent = if key.optional { "; may be absent, or none" } else { "" };
        let default = key.default_text().unwrap_or_else(|| "absent".into());
        table.add_row([key.path.to_owned(), default, format!("{} ({}{absent})", key.help, key.expects())]);
    }
    format::fit(&mut table, output::width());
    format::text(&table)
}
