//! The commands, by name.

use crate::args::{self, Cli, Command};
use crate::{
    analyze, audit, bench, compare, data, definitions, devices, eval, export, host, import, output, plan,
    predict, ranks, recipes, report, train,
};
use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;

/// Does what a command line asks for; without a word, `train`.
///
/// # Errors
/// Those of the command.
pub fn run(cli: Cli) -> Result<ExitCode> {
    one(&cli.command.or_else(|| Cli::parse_from(["mlaan", "train"]).command))
}

fn one(command: &Option<Command>) -> Result<ExitCode> {
    // A program hears of it in its own way, whatever is printed.
    let told = host::current().is_some() || !is_quiet(command.as_ref());
    if let Some(said) = args::fewer_threads().filter(|_| told) {
        output::note(&said);
    }
    let is_train = matches!(command, None | Some(Command::Train(_)));
    if let Some(said) = ranks::copies(|name| std::env::var(name).ok()).filter(|_| told && !is_train) {
        output::note(&said);
    }
    match command {
        Some(Command::Train(args)) => train::train(args),
        Some(Command::Eval(args)) => eval::eval(args),
        Some(Command::Predict(args)) => predict::predict(args),
        Some(Command::Export(args)) => export::export(args),
        Some(Command::Import(args)) => import::import(args),
        Some(Command::Plan(args)) => plan::plan(args),
        Some(Command::Analyze(args)) => analyze::analyze(args),
        Some(Command::Audit(args)) => audit::audit(args),
        Some(Command::Bench(args)) => bench::bench(args),
        Some(Command::Data(args)) => data::data(args),
        Some(Command::Compare(args)) => compare::compare(args),
        Some(Command::Recipes(args)) => recipes::recipes(args),
        Some(Command::Report(args)) => report::report(args),
        Some(Command::Devices(args)) => devices::devices(args),
        Some(Command::Completions(args)) => definitions::completions(args),
        Some(Command::Man(args)) => definitions::man(args),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Whether errors only are wanted on standard error.
fn is_quiet(command: Option<&Command>) -> bool {
    match command {
        Some(Command::Train(args)) => args.speech.quiet,
        Some(Command::Compare(args)) => args.speech.quiet,
        _ => false,
    }
}
