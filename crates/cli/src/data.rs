//! `mlaan data`: image sets, fetched and looked at.

mod download;

use crate::args::{DataArgs, DataCommand};
use anyhow::Result;
use std::process::ExitCode;

/// Does what was asked for.
///
/// # Errors
/// Whatever the part of it says.
pub fn data(args: &DataArgs) -> Result<ExitCode> {
    match &args.command {
        DataCommand::Download(args) => download::download(args),
    }
}
