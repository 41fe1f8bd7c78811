//! Runs that ended before anything of them was saved: their folders are free again.

use super::run::RECIPE;
use super::{checkpoint, metrics};
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::Path;

/// Whether a folder holds a run, and surely a run of ours, that has neither a checkpoint nor a finished epoch, as one that failed in its first epoch.
pub fn is_unsaved(folder: &Path) -> bool {
    let finished = |e: &metrics::Event| matches!(e, metrics::Event::Epoch(_) | metrics::Event::End(_));
    let nothing = || metrics::read(folder).is_ok_and(|events| !events.iter().any(finished));
    !checkpoint::exists(folder) && metrics::is_of_a_run(folder) && nothing()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_a_run_of_ours_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let start = "{\"event\":\"start\",\"description\":\"\",\"seed\":0,\"data\":\"builtin\",\"train_images\":1,\"test_images\":1,\
                     \"device\":\"cpu\",\"precision\":\"f32\",\"recompute\":\"none\",\"modules\":1,\"parameters\":1,\"version\":\"0.1.0\"}";
        let check = |text: &str, expected: bool| {
            std::fs::write(folder.path().join(metrics::METRICS), text).unwrap();
            assert_eq!(is_unsaved(folder.path()), expected, "{text}");
        };
        assert!(!is_unsaved(folder.path()), "nothing there");
        check("", true);
        check(&format!("{start}\n"), true);
        check(&start[..30], true);
        check(&format!("{start}\n{{\"event\":\"ep"), true);
        check("{\"loss\": 1.0}\n", false);
        check("loss 1.0", false);
        check(&format!("{start}\n{{\"event\":\"epoch\",\"of\":\"a later version\"}}\n"), false);
    }
}
