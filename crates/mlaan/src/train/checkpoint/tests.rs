use super::*;
use crate::train::NamedTensor;

fn put(folder: &Path, epoch: usize, is_best: bool) -> Result<()> {
    put_step(folder, epoch, epoch as u64, is_best)
}

/// A checkpoint whose tensors hold its number of steps.
fn put_step(folder: &Path, epoch: usize, step: u64, is_best: bool) -> Result<()> {
    let run = Manifest {
        epoch,
        step,
        seed: 0,
        recipe: String::new(),
        classes: Vec::new(),
        images: [8, 2],
        val_images: None,
        val_error: None,
        epochs_without_improvement: None,
        normalise: MeanStd { mean: [0.0; 3], std: [1.0; 3] },
        size: 32,
        best: None,
        test_error: 50.0,
        seconds: 0.0,
        peak_bytes: 0,
        peak_memory_bytes: None,
        partial: EpochStats::default(),
        rate_batch: None,
        fingerprint: None,
    };
    let tensor = |name| NamedTensor::new(name, [3], vec![step as f32; 3]);
    let model = [tensor("a"), tensor("b")];
    save(folder, &run, &mut (&model, &[tensor("c")]), is_best)
}

/// The epoch of a checkpoint, all of whose tensors belong to its manifest.
fn whole(path: &Path) -> usize {
    let (run, tensors) = load(path).unwrap();
    let expected = vec![run.step as f32; 3];
    for name in ["a", "b"] {
        assert_eq!(tensors.model.read(name, &[3]).unwrap(), expected);
    }
    assert_eq!(tensors.state.read("c", &[3]).unwrap(), expected);
    run.epoch
}

/// Kills the save of epoch 3 at every step; `best` says which of epochs 1 to 3 are the best so far.
fn kill_everywhere(best: [bool; 3]) {
    for step in 0.. {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join(FOLDER);
        put(&folder, 1, best[0]).unwrap();
        put(&folder, 2, best[1]).unwrap();
        let old_best = whole(&folder.join(BEST));

        let survived = fault::kill_at(step, || put(&folder, 3, best[2])).is_ok();
        let last = whole(run.path());
        assert!([2, 3].contains(&last), "step {step}");
        let found = whole(&folder.join(BEST));
        assert!(found == old_best || best[2] && found == 3, "step {step}");

        // Resumed from what was there: epochs up to 4 are trained again, and nothing is left over.
        for epoch in last + 1..=4 {
            put(&folder, epoch, epoch == 3 && best[2]).unwrap();
        }
        assert_eq!(whole(run.path()), 4);
        let expected = if best[2] { 3 } else { old_best };
        assert_eq!(whole(&folder.join(BEST)), expected, "step {step}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 6, "step {step}");
        if survived {
            assert!(step > 20, "only {step} steps were tried");
            break;
        }
    }
}

#[test]
fn a_kill_at_any_step_leaves_whole_checkpoints() {
    kill_everywhere([true, false, false]);
    kill_everywhere([true, true, false]);
    kill_everywhere([true, false, true]);
    kill_everywhere([true, true, true]);
}

#[test]
fn a_kill_while_an_epoch_is_trained_again_leaves_the_first_training() {
    for kill in 0.. {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join(FOLDER);
        put(&folder, 1, true).unwrap();
        put(&folder, 2, false).unwrap();
        let again = || put_step(&folder, 2, 99, false);
        let survived = fault::kill_at(kill, again).is_ok();
        assert_eq!(whole(run.path()), 2, "step {kill}");
        assert_eq!(whole(&folder.join(BEST)), 1, "step {kill}");
        if survived {
            break;
        }
    }
}

#[test]
fn a_failure_gives_back_the_room_of_what_was_written() {
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join(FOLDER);
    put(&folder, 1, true).unwrap();
    // A folder in the way of the manifest's scratch file lets the last step fail.
    fs::create_dir(folder.join(".last.json.scratch")).unwrap();
    fs::write(folder.join(".last.json.scratch").join("x"), "").unwrap();
    assert!(put(&folder, 2, false).is_err());
    assert_eq!(whole(run.path()), 1);
    let generation = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with("epoch-");
    let entries = fs::read_dir(&folder).unwrap();
    assert_eq!(entries.filter(|e| generation(e.as_ref().unwrap())).count(), 2);
}
