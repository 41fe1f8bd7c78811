//! The command `mlaan` as a library: for its own program, and for programs that embed its commands ([`call`]).

#[cfg(any(feature = "mpi", test))]
mod affinity;
mod analyze;
mod args;
mod audit;
mod auto;
mod bench;
mod commands;
mod compare;
mod compiling;
mod data;
mod definitions;
mod device;
mod devices;
mod embedded;
mod eval;
mod export;
mod fits;
mod folder;
mod format;
mod held_out;
mod host;
mod import;
mod interrupt;
#[cfg(any(feature = "mpi", test))]
mod launcher;
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

pub use embedded::{Failure, Reason, call, device};
pub use host::{GIVEN, Host};

use mlaan::memory::limit::Limits;
use std::ffi::OsString;
use std::process::ExitCode;

/// The program: does what its arguments say, of which the first is its name; the status to end with.
pub fn main(args: &[OsString]) -> u8 {
    if Limits::of_this_process().address_space() {
        mlaan::engine::share_arenas();
    }
    let done = match args::parse(args) {
        Ok(cli) => commands::run(cli),
        // Help, or the version, as it was asked for.
        Err(args::Unread::Help(help)) => output::help(&help).map(|()| ExitCode::SUCCESS),
        Err(args::Unread::Refused(status)) => return status,
    };
    match done.and_then(|code| output::end().map(|()| code)) {
        Ok(code) => status(code),
        Err(e) => {
            output::error(&e);
            1
        }
    }
}

/// The number of an exit status, which does not tell it by itself.
fn status(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|&n| ExitCode::from(n) == code).unwrap_or(1)
}
