//! Errors as exceptions of Python, whose classes `python/mlaan/_errors.py` has.

use mlaan_cli::{Failure, Reason};
use pyo3::import_exception;
use pyo3::prelude::*;

import_exception!(mlaan._errors, DataError);
import_exception!(mlaan._errors, Error);

/// The exception of a failure.
pub fn raised(py: Python<'_>, failure: &Failure) -> PyErr {
    let (class, bytes) = match failure.reason {
        Reason::Recipe => ("RecipeError", None),
        Reason::Data => ("DataError", None),
        Reason::Other => ("Error", None),
        Reason::Memory { planned, available } => ("MemoryBudgetError", Some((planned, available))),
    };
    let made = || {
        let class = py.import("mlaan._errors")?.getattr(class)?;
        match bytes {
            None => class.call1((&failure.text,)),
            Some((planned, available)) => class.call1((&failure.text, planned, available)),
        }
    };
    made().map_or_else(|e| e, PyErr::from_value)
}

/// As [`raised`], of the library's error.
pub fn of_library(py: Python<'_>, error: &mlaan::Error) -> PyErr {
    raised(py, &Failure::from(error))
}
