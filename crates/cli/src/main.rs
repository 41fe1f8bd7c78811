//! `mlaan`: trains image classifiers module by module, from the command line.

mod analyze;
mod args;
mod audit;
mod auto;
mod bench;
mod compare;
mod compiling;
mod data;
mod definitions;
mod device;
mod devices;
mod eval;
mod export;
mod fits;
mod folder;
mod format;
mod import;
mod interrupt;
mod memory;
mod modules;
mod output;
mod places;
mod plan;
mod predict;
mod ranks;
mod rates;
mod recipes;
mod report;
mod resume;
mod style;
mod table;
mod train;
mod wrap;

use anyhow::Result;
use args::{Cli, Command};
use clap::Parser;
use mlaan::memory::limit::Limits;
use std::process::ExitCode;

fn main() -> ExitCode {
    if Limits::of_this_process().address_space() {
        mlaan::engine::share_arenas();
    }
    let done = match args::parse() {
        Ok(cli) => run(&cli.command.or_else(|| Cli::parse_from(["mlaan", "train"]).command)),
        // Help, or the version, as it was asked for.
        Err(help) => output::help(&help).map(|()| ExitCode::SUCCESS),
    };
    done.and_then(|code| output::end().map(|()| code)).unwrap_or_else(|e| {
        output::error(&e);
        ExitCode::FAILURE
    })
}

fn run(command: &Option<Command>) -> Result<ExitCode> {
    if let Some(said) = args::fewer_threads().filter(|_| !is_quiet(command.as_ref())) {
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
