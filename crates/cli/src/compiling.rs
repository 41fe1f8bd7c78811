//! How far the compilation of GPU kernels is: the first run of a network compiles a few dozen.

use indicatif::{ProgressBar, ProgressStyle};
use mlaan_engine::cuda::devices::watch_compilation;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};

/// Programs that are compiled sooner than a line about it is read.
const FEW: usize = 8;

/// From now on shows it on standard error, where that is a terminal.
pub fn watch() {
    if !stderr().is_terminal() {
        return;
    }
    let shown = Mutex::new(None);
    watch_compilation(move |done, all| {
        if all < FEW {
            return;
        }
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = shown.get_or_insert_with(|| bar(all));
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
            *shown = None;
        }
    });
}

fn bar(all: usize) -> ProgressBar {
    let bar = ProgressBar::new(all as u64);
    if let Ok(style) = ProgressStyle::with_template("Compiling GPU kernels {bar:20.green/dim} {pos} of {len}")
    {
        bar.set_style(style.progress_chars("━━╌"));
    }
    bar
}
