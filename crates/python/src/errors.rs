//! Errors as exceptions of Python.

use mlaan_cli::{Failure, Reason};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    mlaan,
    Error,
    PyException,
    "What mlaan refuses or cannot do; its text is that of the command."
);
create_exception!(mlaan, RecipeError, Error, "A key of a recipe, or an argument, is unknown or impossible.");
create_exception!(mlaan, DataError, Error, "Images that are not there, or not as expected.");
create_exception!(
    mlaan,
    MemoryBudgetError,
    Error,
    "More memory is needed than there is: `planned` bytes, of which `available` are there."
);

/// The exception of a failure.
pub fn raised(py: Python<'_>, failure: &Failure) -> PyErr {
    let text = failure.text.clone();
    match failure.reason {
        Reason::Recipe => RecipeError::new_err(text),
        Reason::Data => DataError::new_err(text),
        Reason::Other => Error::new_err(text),
        Reason::Memory { planned, available } => {
            let error = MemoryBudgetError::new_err(text);
            let value = error.value(py);
            let set = value.setattr("planned", planned).and_then(|()| value.setattr("available", available));
            set.err().unwrap_or(error)
        }
    }
}

/// As [`raised`], of the library's error.
pub fn of_library(py: Python<'_>, error: &mlaan::Error) -> PyErr {
    raised(py, &Failure::from(error))
}
