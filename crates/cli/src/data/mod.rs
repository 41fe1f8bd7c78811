//! `mlaan data`: image sets, fetched and looked at.

mod download;
mod inspect;

use crate::args::{DataArgs, DataCommand};
use anyhow::Result;
use std::process::ExitCode;

/// Does what was asked for.
///
/// # Errors
/// Whatever the part of it says.
pub fn data(args: &DataArgs) -> Result<ExitCode> {
    match &args.command {
        DataCommand::Inspect(args) => inspect::inspect(args),
        DataCommand::Download(args) => download::download(args),
    }
}
