//! `mlaan`: trains image classifiers module by module, from the command line.

mod args;
mod eval;
mod folder;
mod format;
mod interrupt;
mod output;
mod plan;
mod recipes;
mod resume;
mod train;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Train(args) => train::train(args),
        Command::Eval(args) => eval::eval(args),
        Command::Plan(args) => plan::plan(args),
        Command::Recipes(args) => recipes::recipes(args),
    };
    done.unwrap_or_else(|e| {
        output::error(&e);
        ExitCode::FAILURE
    })
}
