//! Which images train, validate and test: shares that are held out, and a set's own validation split.

use crate::sets;

use std::collections::BTreeSet;
use std::path::Path;

use crate::parquet_files::{How, Labels, write};
use crate::sets::{gz, png, put, tar};
use mlaan::data::inspect::inspect_with;
use mlaan::data::{Dataset, Load, OpenOptions, Splits, open};
use tempfile::TempDir;

type Files = Vec<(String, Vec<u8>)>;

/// Images of each class in the training split.
const TRAINED: [usize; 3] = [20, 11, 2];

fn with(path: &Path, options: &OpenOptions) -> mlaan::Result<Splits> {
    open(path.to_str().unwrap(), &OpenOptions { threads: 2, ..options.clone() })
}

fn validating(share: f64) -> OpenOptions {
    OpenOptions { validation: Some(share), ..OpenOptions::default() }
}

#[track_caller]
fn fails(path: &Path, options: &OpenOptions, says: &[&str]) {
    match with(path, options) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(error) => {
            let error = error.to_string();
            assert!(says.iter().all(|part| error.contains(part)), "{says:?}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }
}

/// Images of so many of each of the classes a, b, …, numbered from `first` on: no two are alike.
fn images(folder: &str, counts: &[usize], first: usize) -> Files {
    let classes = counts.iter().zip('a'..).flat_map(|(n, class)| vec![class; *n]);
    let file = |(i, class): (usize, char)| (format!("{folder}{class}/{i:03}.png"), png(0, i));
    (first..).zip(classes).map(file).collect()
}

/// A set as a folder, an archive and a compressed one.
fn in_all_forms(files: &Files) -> TempDir {
    let root = TempDir::new().unwrap();
    sets::unpacked(&root.path().join("set"), files);
    let packed = tar("set", files);
    put(root.path().join("set.tar"), &packed);
    put(root.path().join("set.tgz"), &gz(&packed));
    root
}

const FORMS: [&str; 3] = ["set", "set.tar", "set.tgz"];

/// The images of a split, each by its first byte, with their labels.
fn seen(data: &dyn Dataset) -> Vec<(u8, usize)> {
    let mut scratch = Vec::new();
    (0..data.len()).map(|i| (data.image(i, &mut scratch).unwrap().rgb[0], data.label(i))).collect()
}

fn per_class(data: &dyn Dataset) -> Vec<usize> {
    let mut counts = vec![0; data.classes().len()];
    (0..data.len()).for_each(|i| counts[data.label(i)] += 1);
    counts
}

/// Images that are in none but one of the splits, all together.
fn apart(splits: &Splits) -> usize {
    let all: Vec<(u8, usize)> = splits.all().flat_map(seen).collect();
    let different: BTreeSet<u8> = all.iter().map(|(first, _)| *first).collect();
    assert_eq!(different.len(), all.len(), "an image is in two splits");
    all.len()
}

/// The same set as a folder, archives, parquet files and WebDataset shards: training and test images.
fn forms() -> (TempDir, Vec<&'static str>) {
    let tested = [3, 3, 1];
    let files = [images("train/", &TRAINED, 0), images("test/", &tested, 100)].concat();
    let root = in_all_forms(&files);
    for (name, counts, first) in [("train", &TRAINED, 0), ("test", &tested, 100)] {
        let (mut rows, mut labels, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (file, bytes)) in images("", counts, first).into_iter().enumerate() {
            let label = i64::from(file.as_bytes()[0] - b'a');
            samples.extend([
                (format!("{i:03}.cls"), label.to_string().into_bytes()),
                (format!("{i:03}.png"), bytes.clone()),
            ]);
            rows.push(bytes);
            labels.push(label);
        }
        write(
            &root.path().join(format!("parquet/{name}-00000.parquet")),
            &rows,
            &Labels::of(&labels),
            How::default(),
        );
        put(root.path().join(format!("shards/{name}-0000.tar")), &tar(".", &samples));
        put(root.path().join(format!("packed/{name}-0000.tar.gz")), &gz(&tar(".", &samples)));
    }
    (root, [&FORMS[..], &["parquet", "shards", "packed"]].concat())
}

#[test]
fn a_share_of_every_class_validates_in_every_form_and_no_image_is_in_two_splits() {
    let (root, forms) = forms();
    let mut first: Option<Vec<Vec<(u8, usize)>>> = None;
    for form in forms {
        let path = root.path().join(form);
        let whole = with(&path, &OpenOptions::default()).unwrap();
        assert!(whole.validation.is_none());
        for load in [Load::Memory, Load::Stream] {
            let splits = with(&path, &OpenOptions { load, ..validating(0.2) }).unwrap();
            let validation = splits.validation.clone().unwrap();
            assert_eq!(validation.streams(), load == Load::Stream);
            // 0.2 of 20, 11 and 2, rounded, one at least.
            assert_eq!(per_class(validation.as_ref()), [4, 2, 1], "{form}");
            assert_eq!(per_class(splits.train.as_ref()), [16, 9, 1], "{form}");
            assert_eq!(validation.classes(), splits.train.classes());
            assert_eq!(apart(&splits), 33 + 7, "{form}");
            let mut together = [seen(splits.train.as_ref()), seen(validation.as_ref())].concat();
            let mut all = seen(whole.train.as_ref());
            together.sort_unstable();
            all.sort_unstable();
            assert_eq!(together, all, "{form}");
            assert_eq!(seen(splits.test.as_ref()), seen(whole.test.as_ref()), "{form}");
            // One thread or several, any form, in memory or on disk: the same images.
            let single = OpenOptions { load, threads: 1, ..validating(0.2) };
            let alone = open(path.to_str().unwrap(), &single).unwrap();
            let own: Vec<_> = splits.all().map(seen).collect();
            assert_eq!(alone.all().map(seen).collect::<Vec<_>>(), own);
            assert_eq!(first.get_or_insert_with(|| own.clone()), &own, "{form}");
        }
    }
}

#[test]
fn the_seed_draws_validation_images_and_a_limit_comes_first() {
    let (root, _) = forms();
    let path = root.path().join("set");
    let of = |seed, limit| with(&path, &OpenOptions { seed, limit, ..validating(0.2) }).unwrap();
    let validation = |splits: &Splits| seen(splits.validation.as_ref().unwrap().as_ref());
    assert_eq!(validation(&of(1, None)), validation(&of(1, None)));
    assert_ne!(validation(&of(1, None)), validation(&of(2, None)));
    let limited = of(1, Some(12));
    let without = with(&path, &OpenOptions { seed: 1, limit: Some(12), ..OpenOptions::default() }).unwrap();
    let mut together = [seen(limited.train.as_ref()), validation(&limited)].concat();
    let mut all = seen(without.train.as_ref());
    together.sort_unstable();
    all.sort_unstable();
    assert_eq!(
        (together.len(), &together),
        (12, &all),
        "the images that train and validate are those of the limit"
    );
}

#[test]
fn memory_holds_an_image_once_and_sets_of_one_size_in_one_run() {
    let (root, _) = forms();
    let options = OpenOptions { load: Load::Memory, ..OpenOptions::default() };
    let whole = with(&root.path().join("parquet"), &options).unwrap();
    let held = OpenOptions { load: Load::Memory, ..validating(0.2) };
    let splits = with(&root.path().join("parquet"), &held).unwrap();
    let bytes = |splits: &Splits| splits.all().map(|data| data.whole().unwrap().1.len()).sum::<usize>();
    assert_eq!(bytes(&splits), bytes(&whole));
    let resident = |splits: &Splits| splits.all().map(Dataset::resident_bytes).sum::<usize>();
    assert_eq!(resident(&splits), resident(&whole));
}

#[test]
fn broken_images_that_are_left_out_change_no_other_split() {
    let (root, _) = forms();
    let set = root.path().join("set");
    let before = with(&set, &validating(0.2)).unwrap();
    std::fs::write(set.join("train/a/003.png"), b"no image").unwrap();
    for load in [Load::Memory, Load::Stream] {
        let options = OpenOptions { load, skip_broken: true, ..validating(0.2) };
        let splits = with(&set, &options).unwrap();
        let lost = |splits: &Splits| splits.validation.as_ref().unwrap().len() + splits.train.len();
        assert_eq!(lost(&before) - lost(&splits), usize::from(load == Load::Memory));
        if load == Load::Memory {
            assert_eq!(splits.skipped, 1);
            apart(&splits);
        }
    }
    fails(&set, &validating(0.2), &["003.png", "not an image"]);
}

#[test]
fn splits_are_used_for_what_they_are_called() {
    for validation in ["val", "valid", "validation"] {
        let files = [
            images("train/", &[4, 4], 0),
            images(&format!("{validation}/"), &[2, 1], 50),
            images("test/", &[1, 1], 60),
        ];
        let root = in_all_forms(&files.concat());
        for form in FORMS {
            let path = root.path().join(form);
            let splits = with(&path, &OpenOptions::default()).unwrap();
            let counts = (splits.train.len(), splits.validation.as_ref().unwrap().len(), splits.test.len());
            assert_eq!((counts, splits.notes.lines()), ((8, 3, 2), vec![]), "{form}");
            assert_eq!(apart(&splits), 13);
            // 0 does without it, and a share is for sets that have none.
            let without = with(&path, &validating(0.0)).unwrap();
            assert_eq!((without.train.len(), without.validation.is_none()), (8, true));
            let share = with(&path, &validating(0.25)).unwrap();
            assert_eq!((share.train.len(), share.validation.unwrap().len()), (8, 3));
            assert!(
                share.notes.remarks[0].starts_with("data.validation is for sets without a validation split")
            );
        }
    }
    // Alone it is what is tested, as ever.
    let root = in_all_forms(&[images("train/", &[4, 4], 0), images("val/", &[2, 1], 50)].concat());
    for form in FORMS {
        let splits = with(&root.path().join(form), &OpenOptions::default()).unwrap();
        assert_eq!((splits.test.len(), splits.validation.is_none()), (3, true), "{form}");
        let splits = with(&root.path().join(form), &validating(0.25)).unwrap();
        assert_eq!((splits.train.len(), splits.validation.unwrap().len(), splits.test.len()), (6, 2, 3));
    }
}

#[test]
fn parquet_files_and_shards_of_a_validation_split_validate() {
    let root = TempDir::new().unwrap();
    for (name, first, n) in [("train", 0, 6), ("test", 50, 2), ("validation", 60, 4)] {
        let rows: Vec<Vec<u8>> = (first..first + n).map(|i| png(0, i)).collect();
        let labels: Vec<i64> = (0..n as i64).map(|i| i % 2).collect();
        write(
            &root.path().join(format!("table/{name}-0.parquet")),
            &rows,
            &Labels::of(&labels),
            How::default(),
        );
        let samples: Files = rows
            .into_iter()
            .zip(&labels)
            .enumerate()
            .flat_map(|(i, (png, label))| {
                [(format!("{i}.cls"), label.to_string().into_bytes()), (format!("{i}.png"), png)]
            })
            .collect();
        put(root.path().join(format!("shards/{name}-0000.tar")), &tar(".", &samples));
    }
    for form in ["table", "shards"] {
        let splits = with(&root.path().join(form), &OpenOptions::default()).unwrap();
        let validation = splits.validation.clone().unwrap();
        assert_eq!((splits.train.len(), validation.len(), splits.test.len()), (6, 4, 2), "{form}");
        assert_eq!(apart(&splits), 12);
    }
    // A label that is no class of the training split.
    let rows: Vec<Vec<u8>> = (60..62).map(|i| png(0, i)).collect();
    write(&root.path().join("table/validation-0.parquet"), &rows, &Labels::of(&[0, 7]), How::default());
    fails(&root.path().join("table"), &OpenOptions::default(), &["label 7", "data.validation = 0"]);
    assert!(with(&root.path().join("table"), &validating(0.0)).unwrap().validation.is_none());
}

#[test]
fn a_validation_split_of_other_classes_is_an_error_and_one_without_labels_is_passed_over() {
    let set = [images("train/", &[3, 3], 0), images("test/", &[1, 1], 50)].concat();
    let more = [set.clone(), images("val/", &[1, 1, 1], 60)].concat();
    let root = in_all_forms(&more);
    for form in FORMS {
        fails(
            &root.path().join(form),
            &OpenOptions::default(),
            &["`c`", "must be trained", "data.validation = 0"],
        );
        assert!(with(&root.path().join(form), &validating(0.0)).unwrap().validation.is_none());
    }
    let unlabelled = [set, vec![("val/1.png".to_owned(), png(0, 70))]].concat();
    let root = in_all_forms(&unlabelled);
    for form in FORMS {
        let splits = with(&root.path().join(form), &OpenOptions::default()).unwrap();
        assert!(splits.validation.is_none());
        assert!(splits.notes.remarks[0].contains("does not validate"), "{:?}", splits.notes);
    }
}

#[test]
fn class_folders_without_splits_are_split_by_shares() {
    let root = in_all_forms(&images("", &[20, 10, 3, 2, 1], 0));
    let shares = OpenOptions { test: Some(0.2), ..validating(0.1) };
    for form in FORMS {
        let path = root.path().join(form);
        let splits = with(&path, &shares).unwrap();
        let validation = splits.validation.clone().unwrap();
        assert_eq!(per_class(splits.test.as_ref()), [4, 2, 1, 1, 0], "{form}");
        // Three of the 28 that are left.
        assert_eq!(per_class(validation.as_ref()), [1, 1, 1, 0, 0], "{form}");
        assert_eq!(per_class(splits.train.as_ref()), [15, 7, 1, 1, 1], "{form}");
        assert_eq!((apart(&splits), splits.train.classes().len()), (36, 5));
        // Whatever the seed, tests are on the same images.
        let other = with(&path, &OpenOptions { seed: 5, ..shares.clone() }).unwrap();
        assert_eq!(seen(other.test.as_ref()), seen(splits.test.as_ref()));
        assert_ne!(seen(other.validation.unwrap().as_ref()), seen(validation.as_ref()));
        let tested = with(&path, &OpenOptions { test: Some(0.2), ..OpenOptions::default() }).unwrap();
        assert_eq!((tested.validation.is_none(), tested.train.len()), (true, 28));
    }
    for options in [OpenOptions::default(), validating(0.1)] {
        fails(&root.path().join("set"), &options, &["class folders", "no splits", "data.test = 0.2"]);
    }
    // Below one folder more.
    let root = in_all_forms(&images("flowers/", &[5, 5], 0));
    for form in FORMS {
        let splits = with(&root.path().join(form), &shares).unwrap();
        assert_eq!(per_class(splits.test.as_ref()), [1, 1], "{form}");
    }
}

#[test]
fn a_share_stands_in_for_a_test_split_that_is_not_there_or_has_no_labels() {
    let root = TempDir::new().unwrap();
    let rows: Vec<Vec<u8>> = (0..20).map(|i| png(0, i)).collect();
    let labels: Vec<i64> = (0..20).map(|i| i % 2).collect();
    write(&root.path().join("table/train-0.parquet"), &rows, &Labels::of(&labels), How::default());
    write(&root.path().join("blind/train-0.parquet"), &rows, &Labels::of(&labels), How::default());
    write(&root.path().join("blind/test-0.parquet"), &rows[..2], &Labels::of(&[-1, -1]), How::default());
    let sample = |label: &str, i: usize| {
        [(format!("{i:02}.cls"), label.as_bytes().to_vec()), (format!("{i:02}.png"), png(0, i))]
    };
    let samples: Files = (0..20).flat_map(|i| sample(if i % 2 == 0 { "0" } else { "1" }, i)).collect();
    put(root.path().join("shards/train-0000.tar"), &tar(".", &samples));
    put(root.path().join("unlabelled/train-0000.tar"), &tar(".", &samples));
    let blind: Files = (30..32).flat_map(|i| sample("-1", i)).collect();
    put(root.path().join("unlabelled/test-0000.tar"), &tar(".", &blind));
    sets::unpacked(&root.path().join("folder"), &images("train/", &[10, 10], 0));
    let kaggle = [images("train/", &[10, 10], 0), vec![("test/7.png".to_owned(), png(0, 99))]].concat();
    sets::unpacked(&root.path().join("kaggle"), &kaggle);
    for form in ["table", "blind", "shards", "unlabelled", "folder", "kaggle"] {
        let path = root.path().join(form);
        fails(&path, &OpenOptions::default(), &["data.test = 0.2"]);
        let options = OpenOptions { test: Some(0.3), ..validating(0.2) };
        let splits = with(&path, &options).unwrap();
        let counts = splits.all().map(per_class).collect::<Vec<_>>();
        // A fifth of the 14 that are left are three: two of one class, one of the other.
        assert_eq!((&counts[1], counts[2].iter().sum::<usize>()), (&vec![3, 3], 3), "{form}");
        assert!(counts[2].iter().all(|n| *n > 0), "{form}: {counts:?}");
        assert_eq!(apart(&splits), 20, "{form}");
    }
    // A test split that is there is used, and a wrong one stays an error.
    let (both, _) = forms();
    let options = OpenOptions { test: Some(0.3), ..OpenOptions::default() };
    let splits = with(&both.path().join("set"), &options).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (33, 7));
    assert!(
        splits.notes.remarks[0].starts_with("data.test is for sets without a test split"),
        "{:?}",
        splits.notes
    );
    sets::unpacked(&both.path().join("set"), &images("test/", &[1, 1, 1, 1], 200));
    fails(&both.path().join("set"), &options, &["`d`", "must be trained"]);
}

#[test]
fn shares_that_cannot_be_held_out_are_errors() {
    let (root, _) = forms();
    for source in [root.path().join("set").to_str().unwrap(), "builtin"] {
        for share in [1.0, 1.5, -0.1, f64::NAN, f64::INFINITY, 500.0] {
            let path = Path::new(source);
            fails(path, &validating(share), &["data.validation", "from 0 to less than 1"]);
            fails(
                path,
                &OpenOptions { test: Some(share), ..OpenOptions::default() },
                &["data.test", "above 0"],
            );
        }
        fails(Path::new(source), &OpenOptions { test: Some(0.0), ..OpenOptions::default() }, &["data.test"]);
    }
    // Half of the half that is left.
    let flat = TempDir::new().unwrap();
    sets::unpacked(flat.path(), &images("", &[8, 8], 0));
    let halves = with(flat.path(), &OpenOptions { test: Some(0.5), ..validating(0.5) }).unwrap();
    let counts = halves.all().map(per_class).collect::<Vec<_>>();
    assert_eq!(counts, [vec![2, 2], vec![4, 4], vec![2, 2]], "training, test, validation");
    let alone = TempDir::new().unwrap();
    sets::unpacked(alone.path(), &[images("train/", &[1, 1], 0), images("test/", &[1, 1], 5)].concat());
    fails(alone.path(), &validating(0.1), &["no class has an image to spare", "data.validation"]);
}

#[test]
fn the_built_in_set_gives_a_share_too() {
    let options = OpenOptions { limit: Some(200), ..validating(0.1) };
    let (splits, whole) = (
        open("builtin", &options).unwrap(),
        open("builtin", &OpenOptions { limit: Some(200), ..OpenOptions::default() }).unwrap(),
    );
    let validation = splits.validation.clone().unwrap();
    assert_eq!(
        (per_class(validation.as_ref()), per_class(splits.train.as_ref())),
        (vec![2; 10], vec![18; 10])
    );
    let pixels = |data: &dyn Dataset| {
        let mut scratch = Vec::new();
        (0..data.len()).map(|i| data.image(i, &mut scratch).unwrap().rgb.to_vec()).collect::<BTreeSet<_>>()
    };
    let (train, held, all) =
        (pixels(splits.train.as_ref()), pixels(validation.as_ref()), pixels(whole.train.as_ref()));
    assert!(train.is_disjoint(&held));
    assert_eq!(train.union(&held).cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(pixels(splits.test.as_ref()), pixels(whole.test.as_ref()));
}

#[test]
fn an_inspection_shows_the_splits_as_they_are_used() {
    let (root, _) = forms();
    for form in ["set", "parquet"] {
        let path = root.path().join(form);
        let found = inspect_with(path.to_str().unwrap(), &validating(0.2), &mut |_, _| {}).unwrap();
        let validation = found.validation.unwrap();
        assert_eq!((found.train.images, validation.images, found.test.images), (26, 7, 7), "{form}");
        assert_eq!((validation.per_class, found.shared, found.problem_count), (vec![4, 2, 1], 0, 0));
    }
    let flat = in_all_forms(&images("", &[10, 10], 0));
    let options = OpenOptions { test: Some(0.2), ..OpenOptions::default() };
    let found = inspect_with(flat.path().join("set").to_str().unwrap(), &options, &mut |_, _| {}).unwrap();
    assert_eq!((found.train.images, found.validation.is_none(), found.test.images), (16, true, 4));
    // An image of the set's own validation split that is also trained on, or tested on.
    let twice =
        [images("train/", &[2, 2], 0), images("test/", &[1, 1], 20), images("val/", &[1, 1], 0)].concat();
    let root = in_all_forms(&twice);
    let found =
        inspect_with(root.path().join("set").to_str().unwrap(), &OpenOptions::default(), &mut |_, _| {})
            .unwrap();
    assert_eq!(found.shared, 2);
    assert!(
        found.problems.iter().any(|p| p.contains("this validation image is among the training images too"))
    );
}
