//! Checkpoints as their users meet them: what comes back, what is found where, and every kind of damage.

use mlaan::Error;
use mlaan::recipe::MeanStd;
use mlaan::train::EpochStats;
use mlaan::train::checkpoint::{BEST, Best, FOLDER, LAST, Manifest, exists, load, save};
use mlaan::train::{NamedTensor, TensorFile, write_tensors};

const NONE: [NamedTensor; 0] = [];
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

fn manifest(epoch: usize) -> Manifest {
    Manifest {
        epoch,
        step: 17 * epoch as u64,
        seed: 3,
        recipe: "seed = 3\n".into(),
        classes: vec!["ship".into(), "Wörter \"x\"".into()],
        images: [50_000, 10_000],
        val_images: None,
        val_error: None,
        epochs_without_improvement: None,
        normalise: MeanStd {
            mean: [125.3 / 255.0, 0.1 + 0.2, 1.0 / 3.0],
            std: [63.0 / 255.0, 62.1 / 255.0, 66.7 / 255.0],
        },
        size: 32,
        best: Some(Best { epoch, error: 100.0 / 3.0 }),
        test_error: 100.0 / 7.0,
        seconds: 0.1 * epoch as f64,
        peak_bytes: 1 << 40,
        peak_memory_bytes: Some(3 << 40),
        partial: EpochStats { steps: 3, images: 384, losses: vec![0.1, 1.0 / 3.0], ..EpochStats::default() },
        rate_batch: Some(100),
        fingerprint: None,
    }
}

fn values(epoch: usize) -> Vec<f32> {
    (0..60).map(|i| (i * epoch) as f32 * 0.1 - 1.0).collect()
}

fn put(folder: &Path, epoch: usize, is_best: bool) {
    let v = values(epoch);
    let model = [
        NamedTensor::new("conv1.weight", [3, 5, 4], v.as_slice()),
        NamedTensor::new("bn1.bias", [2], vec![f32::MIN_POSITIVE, -0.0]),
    ];
    let state = [NamedTensor::lazy("momentum.conv1.weight", [60], || Ok(values(epoch + 100)))];
    save(folder, &manifest(epoch), &mut (&model, &state), is_best).unwrap();
}

fn assert_holds(path: &Path, epoch: usize) {
    let (found, tensors) = load(path).unwrap();
    assert_eq!(found, manifest(epoch));
    let weight = tensors.model.read("conv1.weight", &[3, 5, 4]).unwrap();
    assert_eq!(weight, values(epoch));
    let bias = tensors.model.read("bn1.bias", &[2]).unwrap();
    assert_eq!(bias[1].to_bits(), (-0.0_f32).to_bits());
    let momentum = tensors.state.read("momentum.conv1.weight", &[60]).unwrap();
    assert_eq!(momentum, values(epoch + 100));
    let names: Vec<&str> = tensors.model.names().collect();
    assert_eq!(names, ["bn1.bias", "conv1.weight"]);
}

fn run() -> (tempfile::TempDir, PathBuf) {
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join(FOLDER);
    (run, folder)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    match load(path) {
        Err(Error::Checkpoint { message, .. }) => {
            for word in words {
                assert!(message.contains(word), "`{word}` is not in: {message}");
            }
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a damaged checkpoint was loaded"),
    }
}

#[test]
fn comes_back_to_the_bit_from_the_run_the_folder_or_the_manifest() {
    let (run, folder) = run();
    assert!(!exists(run.path()));
    put(&folder, 7, true);
    for path in [run.path().to_owned(), folder.clone(), folder.join(LAST), folder.join(BEST)] {
        assert_holds(&path, 7);
        assert!(exists(&path));
    }
}

#[test]
fn keeps_the_last_and_the_best_and_no_more() {
    let (run, folder) = run();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    for (epoch, is_best) in [(1, true), (2, false), (3, true), (4, false), (5, false)] {
        put(&folder, epoch, is_best);
    }
    assert_holds(run.path(), 5);
    assert_holds(&folder.join(BEST), 3);
    assert_eq!(
        names(&folder),
        [
            "best.json",
            "epoch-0003.model.safetensors",
            "epoch-0003.state.safetensors",
            "epoch-0005.model.safetensors",
            "epoch-0005.state.safetensors",
            "last.json",
            "notes.txt",
        ]
    );
}

#[test]
fn an_epoch_trained_again_does_not_overwrite_what_a_manifest_names() {
    let (run, folder) = run();
    put(&folder, 3, true);
    let other = [NamedTensor::new("w", [1], vec![5.0])];
    save(&folder, &manifest(3), &mut (&other, &NONE), false).unwrap();
    assert_holds(&folder.join(BEST), 3);
    let (_, tensors) = load(run.path()).unwrap();
    assert_eq!(tensors.model.read("w", &[1]).unwrap(), [5.0]);
    put(&folder, 4, true);
    assert_eq!(names(&folder).len(), 4);
}

#[test]
fn every_other_reader_of_safetensors_can_read_the_model() {
    let (_run, folder) = run();
    put(&folder, 2, true);
    let bytes = fs::read(folder.join("epoch-0002.model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let weight = file.tensor("conv1.weight").unwrap();
    assert_eq!(weight.shape(), [3, 5, 4]);
    let expected: Vec<u8> = values(2).iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(weight.data(), expected);
}

#[test]
fn lazy_tensors_are_fetched_once_each_and_their_errors_keep_the_old_checkpoint() {
    let (run, folder) = run();
    put(&folder, 1, true);
    let before = names(&folder);
    let fetched = Cell::new(0);
    let model = [NamedTensor::lazy("w", [1], || {
        fetched.set(fetched.get() + 1);
        Ok(vec![1.0])
    })];
    let state = [NamedTensor::lazy("s", [1], || Err(Error::data("device", "lost")))];
    let failed = save(&folder, &manifest(2), &mut (&model, &state), true).unwrap_err();
    assert_eq!(failed.to_string(), "device: lost");
    assert_eq!(fetched.get(), 1);
    assert_eq!(names(&folder), before);
    assert_holds(run.path(), 1);
}

#[test]
fn contradictory_tensors_are_refused() {
    let (_run, folder) = run();
    for (model, word) in [
        (vec![NamedTensor::new("w", [2], vec![1.0])], "1 values"),
        (
            vec![NamedTensor::new("w", [1], vec![1.0]), NamedTensor::new("w", [1], vec![1.0])],
            "two tensors are called `w`",
        ),
    ] {
        let text = save(&folder, &manifest(1), &mut (&model, &NONE), true).unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
        assert_eq!(names(&folder), Vec::<String>::new());
    }
}

#[test]
fn a_missing_checkpoint_says_what_to_pass() {
    let (run, folder) = run();
    refused(&run.path().join("gone"), &["no such file or folder"]);
    refused(run.path(), &["no last.json", "at least one epoch"]);
    put(&folder, 1, true);
    fs::remove_file(folder.join(LAST)).unwrap();
    refused(run.path(), &["no last.json", "best.json to use that one"]);
}

#[test]
fn missing_tensors_and_other_shapes_are_named() {
    let (run, folder) = run();
    put(&folder, 1, true);
    let (_, tensors) = load(run.path()).unwrap();
    let text = tensors.model.read("fc.weight", &[1]).unwrap_err().to_string();
    assert!(text.contains("`fc.weight` is missing") && text.contains("recipe"), "{text}");
    let text = tensors.model.read("bn1.bias", &[3]).unwrap_err().to_string();
    assert!(text.contains("[2]") && text.contains("[3]"), "{text}");
}

#[test]
fn the_best_is_not_offered_where_it_is_the_same() {
    let (run, folder) = run();
    put(&folder, 1, true);
    fs::remove_file(folder.join("epoch-0001.model.safetensors")).unwrap();
    let text = load(run.path()).unwrap_err().to_string();
    assert!(text.contains("start the run again") && !text.contains("best.json"), "{text}");
}

#[test]
fn a_missing_or_damaged_tensor_file_is_refused_and_the_best_is_offered() {
    for kind in ["model", "state"] {
        let (run, folder) = run();
        put(&folder, 1, true);
        put(&folder, 2, false);
        let path = folder.join(format!("epoch-0002.{kind}.safetensors"));
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        refused(run.path(), &["missing", "best.json may still be good"]);
        for length in [0, 1, 7, 8, 9, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            refused(run.path(), &["cut off or replaced", "best.json"]);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            refused(run.path(), &["checksum", "best.json"]);
        }
        assert_holds(&folder.join(BEST), 1);
    }
}

#[test]
fn a_damaged_manifest_is_refused() {
    let (run, folder) = run();
    put(&folder, 1, true);
    let path = folder.join(LAST);
    let good = fs::read(&path).unwrap();
    // Without the last line break it is still whole.
    for length in 0..good.len() - 1 {
        fs::write(&path, &good[..length]).unwrap();
        refused(run.path(), &["best.json"]);
    }
    for at in 0..good.len() {
        for bit in [0, 1, 5] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            fs::write(&path, &bad).unwrap();
            match load(run.path()) {
                Err(Error::Checkpoint { .. }) => {}
                Err(other) => panic!("byte {at}, bit {bit}: {other}"),
                // White space, or a digit beyond the precision of a number: nothing is lost.
                Ok((found, _)) => {
                    assert_eq!(found, manifest(1), "byte {at}, bit {bit}");
                }
            }
        }
    }
    fs::remove_file(folder.join(BEST)).unwrap();
    refused(run.path(), &["start the run again"]);
}

#[test]
fn another_format_and_foreign_paths_are_refused() {
    let (run, folder) = run();
    put(&folder, 1, true);
    let path = folder.join(LAST);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"format\": 1", "\"format\": 3")).unwrap();
    refused(run.path(), &["version 3", "versions up to 2"]);
    fs::write(&path, text.replace("\"epoch\": 1", "\"epoch\": 2")).unwrap();
    refused(run.path(), &["damaged or edited"]);
    fs::write(&path, text.replace("epoch-0001.model", "../epoch-0001.model")).unwrap();
    refused(run.path(), &["damaged or edited"]);
    fs::write(&path, "{}").unwrap();
    refused(run.path(), &["format"]);
    fs::write(&path, [0xff, 0xfe]).unwrap();
    refused(run.path(), &["damaged"]);
}

#[test]
fn files_are_kept_while_a_manifest_cannot_be_read() {
    let (_run, folder) = run();
    put(&folder, 1, true);
    let good = fs::read(folder.join(BEST)).unwrap();
    fs::write(folder.join(BEST), "damaged").unwrap();
    put(&folder, 2, false);
    put(&folder, 3, false);
    fs::write(folder.join(BEST), good).unwrap();
    assert_holds(&folder.join(BEST), 1);
    assert_holds(&folder.join(LAST), 3);
    put(&folder, 4, false);
    assert_eq!(names(&folder).len(), 6);
}

#[test]
fn foreign_safetensors_are_refused_or_read_but_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    write_tensors(&path, &[NamedTensor::new("w", [4], vec![1.0, 2.0, 3.0, 4.0])]).unwrap();
    let good = fs::read(&path).unwrap();
    assert_eq!(TensorFile::open(&path).unwrap().shape("w"), Some(&[4][..]));
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(matches!(TensorFile::open(&path), Err(Error::Checkpoint { .. })), "{length}");
    }
    // Without a stamp damage may go unseen, but what is read is in bounds.
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            fs::write(&path, &bad).unwrap();
            if let Ok(file) = TensorFile::open(&path) {
                let _ = file.read("w", &[4]);
            }
        }
    }
    let header = br#"{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
    for header in [&header[..], br#"{"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend([0; 8]);
        fs::write(&path, bytes).unwrap();
        assert!(matches!(TensorFile::open(&path), Err(Error::Checkpoint { .. })));
    }
    fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
    assert!(matches!(TensorFile::open(&path), Err(Error::Checkpoint { .. })));
}
