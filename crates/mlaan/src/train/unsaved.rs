//! Runs that ended before anything of them was saved: their folders are free again.

use super::run::RECIPE;
use super::{checkpoint, metrics};
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::Path;

/// Whether a folder holds a run that has neither a checkpoint nor a finished epoch, as one that failed in its first epoch.
pub fn is_unsaved(folder: &Path) -> bool {
    let finished = |e: &metrics::Event| matches!(e, metrics::Event::Epoch(_) | metrics::Event::End(_));
    !checkpoint::exists(folder) && metrics::read(folder).is_ok_and(|events| !events.iter().any(finished))
}

/// Removes what such a run left, so that another one may begin here. The folder must be held ([`Lock`](super::Lock)).
///
/// # Errors
/// [`Error::Io`] if a file cannot be removed.
pub fn clear_unsaved(folder: &Path) -> Result<()> {
    // The metrics last: without them nothing says that this was a run.
    for path in [RECIPE, metrics::METRICS].map(|name| folder.join(name)) {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(path)(e)),
            _ => {}
        }
    }
    Ok(())
}
