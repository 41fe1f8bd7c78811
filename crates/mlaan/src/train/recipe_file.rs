//! The recipe in a run's folder.

use crate::files::atomic;
use crate::{Error, Result};
use std::path::Path;

/// Name of the fully resolved recipe in a run's folder.
pub const RECIPE: &str = "recipe.toml";

/// Writes it, whole or not at all.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub(super) fn write(folder: &Path, toml: &str) -> Result<()> {
    let path = folder.join(RECIPE);
    atomic::write(&path, |out| out.write_all(toml.as_bytes()).map_err(Error::io(&path)))
}
