//! `mlaan`: trains image classifiers module by module, from the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mlaan_cli::main(&std::env::args_os().collect::<Vec<_>>()))
}
