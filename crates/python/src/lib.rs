//! `mlaan._core`: what the Python package `mlaan` asks of the library and the command. The package's own modules
//! (`python/mlaan`) make a typed interface of it.

mod buffer;
mod errors;
mod images;
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
    use errors::{DataError, Error, MemoryBudgetError, RecipeError};
    #[pymodule_export]
    use images::Images;
    #[pymodule_export]
    use predictor::Predictor;
    #[pymodule_export]
    use running::{after_fork, call, finish, main};
    #[pymodule_export]
    use runs::{checkpoint, metrics};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
