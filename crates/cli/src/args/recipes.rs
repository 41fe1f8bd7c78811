//! `mlaan recipes`, and what else is made from definitions.

use super::output::Output;
use clap::Args;
use std::path::PathBuf;

/// `mlaan recipes`
#[derive(Args)]
#[command(after_help = RECIPES_EXAMPLES, mut_arg("json", |a| a.help(RECIPES_JSON).conflicts_with("show")))]
pub struct RecipesArgs {
    /// Print a recipe: the file that is built in, or what a joined name stands for, with the paper's result and what it needs
    #[arg(long, value_name = "NAME")]
    pub show: Option<String>,
    /// With --show: every key spelled out, those of the recipes that it extends included; NAME may also be a file
    #[arg(long, requires = "show")]
    pub resolve: bool,
    /// List every key that a recipe may hold: meaning, type, default
    #[arg(long, alias = "keys", conflicts_with = "show")]
    pub schema: bool,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const RECIPES_JSON: &str = "Print JSON: the list, or with --schema a JSON Schema for editors";

const RECIPES_EXAMPLES: &str = "\
Examples:
  mlaan recipes
  mlaan recipes --show quickstart > mine.toml
  mlaan recipes --show mlaan-released+resnet110-55+stl10
  mlaan recipes --show mine.toml --resolve
  mlaan recipes --schema --json > recipe.schema.json

A recipe file may begin with others: `extends = \"mlaan-paper-resnet32-16\"`, a path counted from that file, or a list of which \
later ones win.";

/// `mlaan completions`
#[derive(Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(mlaan completions bash)
  mlaan completions zsh > ~/.zfunc/_mlaan
  mlaan completions fish > ~/.config/fish/completions/mlaan.fish";

/// `mlaan man`
#[derive(Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Print the page of this command (e.g. train, or data inspect) [default: of mlaan itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    pub page: Vec<String>,
    /// Write all pages into this folder, as mlaan.1, mlaan-train.1, …
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

const MAN_EXAMPLES: &str = "\
Examples:
  mlaan man | man -l -
  mlaan man train | man -l -
  mlaan man --out ~/.local/share/man/man1";
