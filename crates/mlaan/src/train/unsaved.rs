//! What ended before anything was saved: runs and imports whose folders are free again.

use super::recipe_file::RECIPE;
use super::{LOCK, checkpoint, metrics, rank_logs, tensorboard};
use crate::files::atomic;
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::Path;

/// Whether a folder holds a run, and surely a run of ours, of which nothing was saved: it has no checkpoint, and no epoch after
/// the first, whose line is written before its checkpoint is.
pub fn is_unsaved(folder: &Path) -> bool {
    let saved = |e: &metrics::Event| match e {
        metrics::Event::Epoch(e) => e.epoch > 1,
        metrics::Event::Resume { epoch } | metrics::Event::Interrupted { epoch } => *epoch > 0,
        metrics::Event::End(_) => true,
        metrics::Event::Start(_) => false,
    };
    let nothing = || metrics::read(folder).is_ok_and(|events| !events.iter().any(saved));
    !has_checkpoint(folder) && metrics::is_of_a_run(folder) && nothing()
}

/// Whether a folder may be filled: it is not there, empty, or holds nothing but what a run or an import leaves that was killed
/// before it was known as one. What a folder without a lock holds is somebody else's.
pub fn is_free(folder: &Path) -> bool {
    let names = match names(folder) {
        Ok(names) => names,
        Err(e) => return e.kind() == ErrorKind::NotFound,
    };
    let is_begun = names.iter().any(|(name, _)| name == checkpoint::FOLDER);
    let ours = |(name, entry): &(OsString, DirEntry)| match name.to_str() {
        Some(LOCK) => true,
        // An import writes it after the folder of checkpoints; alone it may be a user's.
        Some(RECIPE) => is_begun,
        Some(name) if rank_logs::is_log(name) => true,
        Some(tensorboard::FOLDER) => holds_only(&entry.path(), is_events),
        Some(checkpoint::FOLDER) => holds_only(&entry.path(), is_unnamed),
        _ => is_own_scratch(name),
    };
    names.is_empty() || names.iter().any(|(name, _)| name == LOCK) && names.iter().all(ours)
}

/// Removes what such a run or import left, so that another one may begin here. The folder must be held ([`Lock`](super::Lock)).
///
/// # Errors
/// [`Error::Io`] if a file cannot be removed.
pub fn clear_unsaved(folder: &Path) -> Result<()> {
    atomic::remove_stale(folder)?;
    clear_folder(&folder.join(tensorboard::FOLDER), is_events)?;
    let logs = names(folder).map_err(Error::io(folder))?;
    let mut logs = logs.iter().filter(|(name, _)| name.to_str().is_some_and(rank_logs::is_log));
    logs.try_for_each(|(_, entry)| remove(&entry.path()))?;
    // The folder of checkpoints and the metrics last: without them nothing says that this was ours.
    remove(&folder.join(RECIPE))?;
    clear_checkpoints(folder)?;
    remove(&folder.join(metrics::METRICS))
}

/// Removes the first checkpoint of such a run, which is not whole.
///
/// # Errors
/// [`Error::Io`] if a file cannot be removed.
pub(super) fn clear_checkpoints(folder: &Path) -> Result<()> {
    let checkpoints = folder.join(checkpoint::FOLDER);
    remove(&checkpoints.join(checkpoint::BEST))?;
    clear_folder(&checkpoints, is_unnamed)
}

/// Whether there is a manifest, whatever is in it; but for that of a best epoch which is the first, and was to be the last.
fn has_checkpoint(folder: &Path) -> bool {
    let best = folder.join(checkpoint::FOLDER).join(checkpoint::BEST);
    let last = best.with_file_name(checkpoint::LAST);
    checkpoint::exists(folder) || last.exists() || best.exists() && checkpoint::epoch_of(&best) != Some(1)
}

fn names(folder: &Path) -> std::io::Result<Vec<(OsString, DirEntry)>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|e| (e.file_name(), e))).collect()
}

/// Whether a folder is one, and holds nothing but such files.
fn holds_only(folder: &Path, ours: fn(&OsStr) -> bool) -> bool {
    let is_own = |(name, entry): &(OsString, DirEntry)| {
        ours(name) && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    names(folder).is_ok_and(|names| names.iter().all(is_own))
}

fn is_events(name: &OsStr) -> bool {
    name.to_str().is_some_and(|n| n.starts_with(tensorboard::PREFIX))
}

/// Whether a file in the folder of checkpoints is nothing to go on with where there is no manifest.
fn is_unnamed(name: &OsStr) -> bool {
    checkpoint::is_tensors(name) || atomic::is_scratch(name)
}

/// Whether a file is half of one that a run or an import writes.
fn is_own_scratch(name: &OsStr) -> bool {
    [RECIPE, metrics::METRICS, metrics::SUMMARY].iter().any(|of| atomic::is_scratch_of(name, of))
}

/// Removes such files, and the folder if nothing is left in it.
fn clear_folder(folder: &Path, ours: fn(&OsStr) -> bool) -> Result<()> {
    let names = match names(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        names => names.map_err(Error::io(folder))?,
    };
    for (_, entry) in names.iter().filter(|(name, _)| ours(name)) {
        remove(&entry.path())?;
    }
    match fs::remove_dir(folder) {
        // Something of somebody else's.
        Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done.map_err(Error::io(folder)),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "{\"event\":\"start\",\"description\":\"\",\"seed\":0,\"data\":\"builtin\",\"train_images\":1,\"test_images\":1,\
                         \"device\":\"cpu\",\"precision\":\"f32\",\"recompute\":\"none\",\"modules\":1,\"parameters\":1,\"version\":\"0.1.0\"}";

    fn epoch(epoch: usize) -> String {
        let epoch = metrics::Event::Epoch(metrics::Epoch { epoch, ..metrics::Epoch::default() });
        serde_json::to_string(&epoch).unwrap()
    }

    #[test]
    fn only_what_is_surely_a_run_of_ours_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, expected: bool| {
            fs::write(folder.path().join(metrics::METRICS), text).unwrap();
            assert_eq!(is_unsaved(folder.path()), expected, "{text}");
        };
        assert!(!is_unsaved(folder.path()), "nothing there");
        check("", true);
        check(&format!("{START}\n"), true);
        for cut in [1, 9, 30] {
            check(&START[..cut], true);
        }
        check(&format!("{START}\n{{\"event\":\"ep"), true);
        let again = "{\"event\":\"resume\",\"epoch\":0}";
        check(&format!("{again}\n{START}\n"), true);
        check(&again[..20], true);
        // The line of the first epoch is written before its checkpoint; of a later one there was a checkpoint.
        check(&format!("{START}\n{}\n", epoch(1)), true);
        check(&format!("{START}\n{}\n{}\n", epoch(1), epoch(2)), false);
        check(&format!("{START}\n{}\n{{\"event\":\"interrupted\",\"epoch\":1}}\n", epoch(1)), false);
        check("{\"event\":\"resume\",\"epoch\":3}\n", false);
        check("{\"loss\": 1.0}\n", false);
        check("loss 1.0", false);
        check(&format!("{START}\n{{\"event\":\"epoch\",\"of\":\"a later version\"}}\n"), false);
        // What has a manifest is saved, even where it cannot be read.
        check(&format!("{START}\n"), true);
        let checkpoints = folder.path().join(checkpoint::FOLDER);
        fs::create_dir(&checkpoints).unwrap();
        fs::write(checkpoints.join(checkpoint::BEST), "").unwrap();
        check(&format!("{START}\n"), false);
    }

    #[test]
    fn a_folder_with_nothing_but_leftovers_is_free() {
        let at = tempfile::tempdir().unwrap();
        let folder = at.path().join("run");
        let put = |name: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        assert!(is_free(&folder), "not there");
        put(RECIPE);
        assert!(!is_free(&folder), "a user's recipe");
        put(LOCK);
        assert!(!is_free(&folder), "a recipe and a lock may be a user's");
        put("checkpoints/epoch-0000.model.safetensors");
        put("checkpoints/.epoch-0000.state.safetensors.scratch");
        put("tensorboard/events.out.tfevents.1.mlaan");
        put("log.rank-12.txt");
        put(".recipe.toml.scratch");
        put(".metrics.jsonl.scratch");
        assert!(is_free(&folder), "an import that was killed");
        for name in
            ["notes.txt", "log.txt", ".notes.txt.scratch", "tensorboard/notes.txt", "checkpoints/last.json"]
        {
            put(name);
            assert!(!is_free(&folder), "{name}");
            fs::remove_file(folder.join(name)).unwrap();
            assert!(is_free(&folder), "{name}");
        }
        clear_unsaved(&folder).unwrap();
        let left: Vec<_> = names(&folder).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, [LOCK]);
        assert!(is_free(&folder));
        fs::remove_file(folder.join(LOCK)).unwrap();
        put(".recipe.toml.scratch");
        assert!(!is_free(&folder), "without a lock it is not ours");
    }

    #[test]
    fn what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        for (of, name) in [(checkpoint::FOLDER, "mine.txt"), (tensorboard::FOLDER, "mine.txt")] {
            fs::create_dir(folder.path().join(of)).unwrap();
            fs::write(folder.path().join(of).join(name), "x").unwrap();
        }
        fs::write(folder.path().join(metrics::METRICS), "").unwrap();
        clear_unsaved(folder.path()).unwrap();
        assert!(!folder.path().join(metrics::METRICS).exists());
        for of in [checkpoint::FOLDER, tensorboard::FOLDER] {
            assert!(folder.path().join(of).join("mine.txt").exists());
        }
    }
}
