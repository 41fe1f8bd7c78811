//! `mlaan._core`: what the Python package `mlaan` asks of the library and the command. The package's own modules
//! (`python/mlaan`) make a typed interface of it.

mod buffer;
mod ending;
mod errors;
mod images;
mod interpreter;
mod left;
mod messages;
mod predictor;
mod running;
mod runs;

use pyo3::prelude::*;

/// The compiled part of `mlaan`; not for use by itself.
#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use images::Images;
    #[pymodule_export]
    use left::finish;
    #[pymodule_export]
    use predictor::Predictor;
    #[pymodule_export]
    use running::{after_fork, call, main};
    #[pymodule_export]
    use runs::{checkpoint, metrics};
    /// The version of the package.
    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "as Python calls it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
