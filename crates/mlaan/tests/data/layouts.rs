//! Image folders as people have them: classes that are not tested, names of splits, notes beside images, names in several
//! spellings, Tiny ImageNet.

mod names;
use crate::sets;

use std::fs;
use std::path::Path;

use crate::sets::{gz, png, put, tar};
use mlaan::data::inspect::inspect;
use mlaan::data::{Dataset, Notes, OpenOptions, Splits, open};
use tempfile::TempDir;

fn opened(path: &Path) -> mlaan::Result<Splits> {
    open(path.to_str().unwrap(), &OpenOptions::default())
}

#[track_caller]
fn fails(path: &Path, says: &[&str]) {
    match opened(path) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(error) => {
            let error = error.to_string();
            assert!(says.iter().all(|part| error.contains(part)), "{says:?}: {error}");
        }
    }
}

fn labels(data: &dyn Dataset) -> Vec<usize> {
    (0..data.len()).map(|i| data.label(i)).collect()
}

/// How many files were skipped for each reason, and the name of the first.
fn skipped(notes: &Notes) -> Vec<(usize, String, &'static str)> {
    let name = |path: &str| path.rsplit(['/', ' ']).next().unwrap().to_owned();
    notes.skipped.iter().map(|s| (s.count, name(&s.example), s.reason)).collect()
}

type Files = Vec<(String, Vec<u8>)>;

/// Files of a set with two images of each class in each split.
fn files(splits: [&str; 2], classes: &[&str]) -> Files {
    let mut files = Vec::new();
    for (s, split) in splits.into_iter().enumerate() {
        for (c, class) in classes.iter().enumerate() {
            for i in 0..2 {
                files.push((format!("{split}/{class}/{i}.png"), png(s, 2 * c + i)));
            }
        }
    }
    files
}

/// The set as a folder, an archive and a compressed one.
fn in_all_forms(files: &Files) -> TempDir {
    let root = TempDir::new().unwrap();
    sets::unpacked(&root.path().join("set"), files);
    let packed = tar(".", files);
    put(root.path().join("set.tar"), &packed);
    put(root.path().join("set.tgz"), &gz(&packed));
    root
}

const FORMS: [&str; 3] = ["set", "set.tar", "set.tgz"];

#[test]
fn a_class_without_test_images_is_trained_and_said_to_be_untested() {
    let more =
        [files(["train", "test"], &["cat", "dog"]), vec![("train/bird/0.png".into(), png(0, 9))]].concat();
    let root = in_all_forms(&more);
    // An empty folder says the same as none.
    for with_folder in [false, true] {
        if with_folder {
            fs::create_dir(root.path().join("set/test/bird")).unwrap();
        }
        for form in FORMS {
            let splits = opened(&root.path().join(form)).unwrap();
            assert_eq!(splits.train.classes(), ["bird", "cat", "dog"]);
            assert_eq!(splits.test.classes(), splits.train.classes());
            assert_eq!(labels(&*splits.train).len(), 5);
            let mut tested = labels(&*splits.test);
            tested.sort_unstable();
            assert_eq!(tested, [1, 1, 2, 2], "{form}");
            let remark = splits.notes.remarks.join("\n");
            assert!(remark.contains("`bird` is a class without a test image"), "{form}: {remark}");
        }
    }
    // A limit leaves classes out on purpose.
    let options = OpenOptions { limit: Some(1), ..OpenOptions::default() };
    assert!(open(root.path().join("set").to_str().unwrap(), &options).unwrap().notes.is_empty());
    let more = [files(["train", "test"], &["cat"]), vec![("test/emu/0.png".into(), png(1, 9))]].concat();
    let root = in_all_forms(&more);
    for form in FORMS {
        fails(&root.path().join(form), &[form, "test", "`emu` is not in", "must be trained"]);
    }
}

#[test]
fn splits_are_known_by_their_usual_names() {
    for names in [
        ["train", "valid"],
        ["Train", "Test"],
        ["training", "testing"],
        ["TRAIN", "VALIDATION"],
        ["train", "Val"],
        ["seg_train", "seg_test"],
        ["train_set", "test_set"],
        ["TrainData", "Validation Data"],
        ["train-images", "val-images"],
        ["train2017", "val2017"],
        ["train", "evaluation"],
    ] {
        let root = in_all_forms(&files(names, &["cat", "dog"]));
        for form in FORMS {
            let splits = opened(&root.path().join(form)).unwrap();
            assert_eq!((splits.train.len(), splits.test.len()), (4, 4), "{names:?} {form}");
            assert!(splits.notes.is_empty(), "{:?}", splits.notes);
        }
    }
    // The usual spelling goes before others; without it two are one too many.
    let both = [files(["train", "test"], &["cat"]), files(["Train", "Test"], &["cat", "dog"])].concat();
    let root = in_all_forms(&both);
    assert_eq!(opened(&root.path().join("set")).unwrap().train.len(), 2);
    let root =
        in_all_forms(&[files(["TRAIN", "test"], &["cat"]), files(["Train", "val"], &["cat"])].concat());
    fails(&root.path().join("set"), &["`TRAIN` and `Train`", "rename"]);
}

#[test]
fn other_arrangements_are_explained() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    sets::unpacked(&at("flat"), &[("cat/0.png".into(), png(0, 0)), ("dog/0.png".into(), png(0, 1))]);
    fails(
        &at("flat"),
        &["class folders (`cat`, `dog`), but no splits", "`train/CLASS/IMAGE`", "`test/CLASS/`"],
    );
    sets::unpacked(&at("folds"), &files(["fold_a", "fold_b"], &["cat", "dog"]));
    fails(&at("folds"), &["class folders lie in `fold_a`, `fold_b`", "rename", "`train/`", "`test/`"]);
    sets::unpacked(&at("raw"), &files(["images", "images"], &["cat", "dog"]));
    fails(&at("raw"), &["class folders lie in `images` (`cat`, `dog`), but no splits", "into `train/`"]);
    let turned = [files(["cat", "dog"], &["train"]), files(["cat", "dog"], &["test"])].concat();
    sets::unpacked(&at("turned"), &turned);
    fails(&at("turned"), &["splits lie inside of the class folders (`cat/test`, `dog/test`)", "SPLIT/CLASS"]);
    let both = [files(["train_a", "test"], &["cat"]), files(["train_b", "test"], &["cat"])].concat();
    sets::unpacked(&at("both"), &both);
    fails(&at("both"), &["`train_a`, `train_b`", "could all be the split `train`"]);
    let listed = [("images/0.png".into(), png(0, 0)), ("labels.csv".into(), b"0.png,cat".to_vec())];
    sets::unpacked(&at("listed"), &listed);
    fails(&at("listed"), &["the images in `images/` lie in no class folders", "`labels.csv` beside them"]);
    let boxes = [("images/train/0.png".into(), png(0, 0)), ("labels/train/0.txt".into(), b"0".to_vec())];
    sets::unpacked(&at("boxes"), &boxes);
    fails(&at("boxes"), &["the images in `images/train/` lie in no class folders", "object detection"]);
    let named: Files =
        (0..4).map(|i| (format!("train/{}.{i}.png", ["cat", "dog"][i % 2]), png(0, i))).collect();
    sets::unpacked(&at("named"), &named);
    fails(&at("named"), &["their names begin with `cat`, `dog`"]);
    sets::unpacked(&at("outer/a/b"), &files(["train", "test"], &["cat"]));
    fails(&at("outer"), &["found a/", "a/b is one (image folder): name it"]);
    sets::unpacked(&at("dev"), &files(["train", "dev"], &["cat", "dog"]));
    fails(&at("dev"), &["`train/`", "no class folders in `test/`", "found `dev`, `train`", "rename"]);
    sets::unpacked(
        &at("unsorted"),
        &[("train/cat.0.png".into(), png(0, 0)), ("test/1.png".into(), png(0, 1))],
    );
    fails(&at("unsorted"), &["the images in `train/` lie in no class folders", "one folder per class"]);
    sets::unpacked(&at("loose"), &[("cat.0.png".into(), png(0, 0))]);
    fails(
        &at("loose"),
        &["its images lie in no folders", "one folder per class", "`CLASS/IMAGE`, which is enough"],
    );
    for class in ["cat", "dog/more"] {
        std::fs::create_dir_all(at("hollow").join(class)).unwrap();
    }
    fails(&at("hollow"), &["no images here (found cat/, dog/): the folders `cat`, `dog` hold no images"]);
    let unlabelled =
        [files(["train", "other"], &["cat", "dog"]), vec![("test/1.png".into(), png(1, 1))]].concat();
    sets::unpacked(&at("unlabelled"), &unlabelled);
    fails(&at("unlabelled"), &["none in `test/`", "no labels", "`test/cat/`"]);
    for name in ["a-0000.tar", "a-0001.tar"] {
        put(at("shards").join(name), &tar(".", &sets::samples(0, 0..2)));
    }
    fails(
        &at("shards"),
        &["`a-0000.tar`, `a-0001.tar`", "do not say which are for training", "`train-0000.tar`"],
    );
}

#[test]
fn hints_are_of_the_training_images() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    let mut kaggle: Files =
        (0..4).map(|i| (format!("train/{}.{i}.png", ["cat", "dog"][i % 2]), png(0, i))).collect();
    kaggle.push(("test1/1.png".into(), png(0, 1)));
    sets::unpacked(&at("kaggle"), &kaggle);
    fails(&at("kaggle"), &["the images in `train/` lie", "names begin with `cat`, `dog`"]);
    for (name, list, says) in [
        ("beside", "train.csv", "`train.csv` beside them"),
        ("among", "train/metadata.csv", "`metadata.csv` among them"),
    ] {
        let images = ["test/0.png", "train/0.png", "train/1.png"].map(|n| (n.into(), png(0, 0)));
        sets::unpacked(&at(name), &[images.to_vec(), vec![(list.into(), b"0.png,cat".to_vec())]].concat());
        fails(&at(name), &["the images in `train/` lie", says]);
    }
    // A class that is called as a split.
    let vehicles: Files = ["bus", "car", "train", "truck"].map(|c| (format!("{c}/0.png"), png(0, 0))).into();
    sets::unpacked(&at("vehicles"), &vehicles);
    fails(
        &at("vehicles"),
        &["class folders (`bus`, `car`, `train`, `truck`), but no splits", "`train/train/`"],
    );
    // Images without endings.
    let bare: Files = ["cat", "dog"].map(|c| (format!("{c}/0"), png(0, 0))).into();
    sets::unpacked(&at("bare"), &bare);
    fails(&at("bare"), &["class folders (`cat`, `dog`), but no splits"]);
}

#[test]
fn what_is_known_and_not_read_says_what_to_do() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    let empty =
        |names: &[&str]| -> Files { names.iter().map(|n| ((*n).to_owned(), b"x".to_vec())).collect() };
    for (name, files, says) in [
        ("zip", &["set.zip"][..], &["unpack `set.zip`"][..]),
        (
            "dict",
            &["dataset_dict.json", "train/data-00000-of-00001.arrow", "test/data-00000-of-00001.arrow"],
            &["save_to_disk", "load_from_disk(", "to_parquet("],
        ),
        ("one", &["dataset_info.json", "data-00000-of-00001.arrow"], &["save_to_disk", "train_test_split("]),
        (
            "cifar",
            &["c/data_batch_1", "c/data_batch_2", "c/test_batch"],
            &["without its file `batches.meta`"],
        ),
        ("hundred", &["train", "test"], &["without its file `meta`"]),
    ] {
        sets::unpacked(&at(name), &empty(files));
        fails(&at(name), says);
    }
    let boxes = ["train", "valid"].map(|split| {
        let label = (format!("{split}/labels/0.txt"), b"0 1 1 1 1".to_vec());
        vec![(format!("{split}/images/0.png"), png(0, 0)), label]
    });
    sets::unpacked(&at("yolo"), &boxes.concat());
    fails(&at("yolo"), &["`train/images/` with `train/labels/`", "object detection"]);
    for split in ["train", "test"] {
        put(at("classes").join(format!("{split}.tar")), &tar(".", &in_folders(&["cat", "dog"])));
    }
    fails(&at("classes"), &["holds class folders (`cat`, `dog`)", "unpack"]);
    put(at("gzip").join("set.tar"), &gz(&tar(".", &files(["train", "test"], &["cat"]))));
    for path in [at("gzip"), at("gzip/set.tar")] {
        fails(&path, &["compressed with gzip", "rename it to `set.tar.gz`"]);
    }
}

fn in_folders(classes: &[&str]) -> Files {
    classes.iter().map(|class| (format!("{class}/0.png"), png(0, 0))).collect()
}

#[test]
fn folders_around_all_classes_are_looked_into() {
    let notes = |path: &str| (format!("train/{path}/_notes.txt"), b"x".to_vec());
    for (around, more) in [("images", "labels"), ("train", "__MACOSX"), ("a/b", ".hidden")] {
        let mut set: Files = files(["train", "test"], &["cat", "dog"]);
        for file in &mut set {
            let (split, rest) = file.0.split_once('/').unwrap();
            file.0 = format!("{split}/{around}/{rest}");
        }
        set.push(notes(more));
        let root = in_all_forms(&set);
        for form in FORMS {
            let splits = opened(&root.path().join(form)).unwrap();
            assert_eq!(splits.train.classes(), ["cat", "dog"], "{around} {form}");
            assert_eq!((splits.train.len(), labels(&*splits.test)), (4, vec![0, 0, 1, 1]), "{around} {form}");
            let remark = splits.notes.remarks.join("\n");
            assert!(remark.contains(around) && remark.contains("around all of them"), "{remark}");
        }
    }
    // Folders in a class are no classes, nor are those of a class that alone is tested.
    let mut set: Files = files(["train", "test"], &["cat", "dog"]);
    set.iter_mut()
        .for_each(|file| file.0 = file.0.replace("/0.png", "/a/0.png").replace("/1.png", "/b/1.png"));
    set.retain(|file| !file.0.starts_with("test/dog"));
    let root = in_all_forms(&set);
    for form in FORMS {
        let splits = opened(&root.path().join(form)).unwrap();
        assert_eq!(splits.train.classes(), ["cat", "dog"]);
        assert_eq!((splits.train.len(), labels(&*splits.test)), (4, vec![0, 0]));
    }
}

#[test]
fn an_unlabelled_test_folder_gives_way_to_val() {
    for unlabelled in ["test/1.png", "test/images/1.png"] {
        let set =
            [files(["train", "val"], &["cat", "dog"]), vec![(unlabelled.to_owned(), png(1, 9))]].concat();
        let root = in_all_forms(&set);
        for form in FORMS {
            let splits = opened(&root.path().join(form)).unwrap();
            assert_eq!((splits.train.len(), splits.test.len()), (4, 4));
            let remark = splits.notes.remarks.join("\n");
            assert!(
                remark.contains("`test/` has no folder of a class") && remark.contains("val"),
                "{remark}"
            );
        }
    }
    // Folders of classes without images, and several that are no classes, label nothing.
    let set = files(["train", "val"], &["cat", "dog"]);
    for folders in [&["cat", "dog"][..], &["a", "b"]] {
        let root = TempDir::new().unwrap();
        sets::unpacked(root.path(), &set);
        for folder in folders {
            fs::create_dir_all(root.path().join("test").join(folder)).unwrap();
            if *folder == "a" {
                put(root.path().join("test/a/0.png"), &png(1, 9));
            }
        }
        let splits = opened(root.path()).unwrap();
        assert_eq!(labels(&*splits.test), [0, 0, 1, 1]);
        let remark = splits.notes.remarks.join("\n");
        assert!(remark.contains("`test/` has no folder of a class with images"), "{remark}");
    }
    // Labelled, it is what is tested.
    let set = [files(["train", "val"], &["cat", "dog"]), vec![("test/cat/1.png".into(), png(1, 9))]].concat();
    let root = in_all_forms(&set);
    assert_eq!(opened(&root.path().join("set")).unwrap().test.len(), 1);
}

#[test]
fn tiny_imagenet_is_read_as_published() {
    let ids = ["n01443537", "n01629819"];
    let mut set: Files = vec![("tiny/wnids.txt".into(), ids.join("\n").into_bytes())];
    for (c, id) in ids.iter().enumerate() {
        for i in 0..2 {
            set.push((format!("tiny/train/{id}/images/{id}_{i}.JPEG"), png(0, 2 * c + i)));
        }
        set.push((format!("tiny/train/{id}/{id}_boxes.txt"), b"0".to_vec()));
    }
    for i in 0..3 {
        set.push((format!("tiny/val/images/val_{i}.JPEG"), png(1, i)));
        set.push((format!("tiny/test/images/test_{i}.JPEG"), png(1, 10 + i)));
    }
    let list = |classes: [&str; 3]| -> Vec<u8> {
        (0..).zip(classes).map(|(i, c)| format!("val_{i}.JPEG\t{c}\t0\t0\t9\t9\n")).collect::<String>().into()
    };
    set.push(("tiny/val/val_annotations.txt".into(), list([ids[1], ids[0], ids[1]])));
    let root = in_all_forms(&set);
    for form in ["set/tiny", "set.tar", "set.tgz"] {
        let splits = opened(&root.path().join(form)).unwrap();
        assert_eq!((splits.train.classes(), splits.train.len()), (&ids.map(String::from)[..], 4));
        assert_eq!(labels(&*splits.test), [1, 0, 1], "{form}");
        assert!(splits.notes.remarks[0].contains("tested is on"), "{:?}", splits.notes);
        assert_eq!(skipped(&splits.notes)[0].0, 2, "the boxes");
    }
    let val = root.path().join("set/tiny/val");
    // As Windows writes it.
    let text = list([ids[1], ids[0], ids[1]]);
    let text = format!("\u{feff}{}", String::from_utf8(text).unwrap().replace('\n', "\r\n"));
    put(val.join("val_annotations.txt"), text.as_bytes());
    assert_eq!(labels(&*opened(&root.path().join("set/tiny")).unwrap().test), [1, 0, 1]);
    put(val.join("val_annotations.txt"), b"\xff\xfev\0a\0");
    fails(&root.path().join("set/tiny"), &["val_annotations.txt", "no text in UTF-8"]);
    put(val.join("val_annotations.txt"), &list([ids[1], "n09999999", ids[1]]));
    fails(&root.path().join("set/tiny"), &["val_1.JPEG", "n09999999", "no folder in"]);
    put(val.join("val_annotations.txt"), b"val_0.JPEG\tn01443537\n");
    fails(&root.path().join("set/tiny"), &["val_1.JPEG", "not in", "val_annotations.txt"]);
    put(val.join("val_annotations.txt"), &list([ids[1], ids[0], ids[1]]));
    fs::remove_file(val.join("images/val_2.JPEG")).unwrap();
    fails(&root.path().join("set/tiny"), &["val_annotations.txt", "1 of its images", "val_2.JPEG"]);
}

#[test]
fn what_is_no_image_is_skipped_counted_and_named() {
    let strays = [
        ("train/cat/README.txt", &b"notes"[..]),
        ("train/cat/0.xml", b"<annotation/>"),
        ("train/cat/Thumbs.db", b"\xd0\xcf"),
        ("train/cat/Desktop.ini", b"[x]"),
        ("train/cat/.DS_Store", b"x"),
        ("train/cat/._0.png", b"x"),
        ("train/cat/LICENSE", b"free"),
        ("train/cat/x.heic", b"x"),
        ("train/@eaDir/x.db", b"x"),
        ("train/__MACOSX/cat/._0.png", b"x"),
        ("train/labels.csv", b"a,b"),
        ("test/dog/2.json", b"{}"),
    ];
    let mut set = files(["train", "test"], &["cat", "dog"]);
    set.extend(strays.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
    // What is an image is one, whatever it is called.
    set.push(("train/cat/3".into(), png(0, 8)));
    set.push(("train/loose.png".into(), png(0, 7)));
    let root = in_all_forms(&set);
    for form in FORMS {
        let path = root.path().join(form);
        let splits = opened(&path).unwrap();
        assert_eq!(
            (splits.train.classes().len(), splits.train.len(), splits.test.len()),
            (2, 5, 4),
            "{form}"
        );
        let mut found = skipped(&splits.notes).into_iter().map(|(n, _, why)| (n, why)).collect::<Vec<_>>();
        found.sort_unstable();
        let wanted = [
            (1, "an image of a format that is not read: convert it to JPEG or PNG"),
            (1, "an image outside of the class folders"),
            (5, "no image by its name and content"),
            (6, "hidden, or left behind by a system"),
        ];
        assert_eq!(found, wanted, "{form}: {:?}", splits.notes);
        let looked = inspect(path.to_str().unwrap(), &mut |_, _| {}).unwrap();
        assert_eq!((looked.notes.skipped, looked.train.broken), (splits.notes.skipped, 0));
    }
    // An image by its name must be one.
    put(root.path().join("set/train/cat/4.png"), b"no image");
    fails(&root.path().join("set"), &["train/cat/4.png", "not an image", "--skip-broken"]);
    let skipping = OpenOptions { skip_broken: true, ..OpenOptions::default() };
    assert_eq!(open(root.path().join("set").to_str().unwrap(), &skipping).unwrap().skipped, 1);
    // Nor is a class without images trained.
    put(root.path().join("set/train/labels/0.txt"), b"0 1 1 2 2");
    fails(&root.path().join("set"), &["train/labels", "no images to train on", "1 file skipped", "0.txt"]);
}

#[cfg(unix)]
#[test]
fn links_on_disk_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let root = in_all_forms(&files(["train", "test"], &["cat", "dog"]));
    let set = root.path().join("set");
    symlink("../cat", set.join("train/dog/more")).unwrap();
    symlink(".", set.join("train/cat/self")).unwrap();
    symlink("../../train", set.join("train/cat/up")).unwrap();
    symlink("dog", set.join("train/wolf")).unwrap();
    symlink("dog", set.join("test/wolf")).unwrap();
    let splits = opened(&set).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "dog", "wolf"]);
    // A class that is a link is a class; a link within one makes no dogs of cats, in `dog` nor in `wolf`.
    assert_eq!(labels(&*splits.train), [0, 0, 1, 1, 2, 2]);
    assert_eq!(labels(&*splits.test), [0, 0, 1, 1, 2, 2]);
    let skipped = skipped(&splits.notes);
    let count = |why: &str| skipped.iter().find(|s| s.2.contains(why)).map(|s| (s.0, s.1.as_str()));
    assert_eq!(count("leads back"), Some((2, "self")), "{skipped:?}");
    assert_eq!(count("read already"), Some((2, "more")), "{skipped:?}");
    // A link to an image that is gone is an image that cannot be read.
    symlink("gone.png", set.join("train/dog/9.png")).unwrap();
    fails(&set, &["train/dog/9.png", "broken image"]);
}

#[test]
fn archives_and_tables_beside_class_folders_are_left_alone() {
    for strays in [
        &["ILSVRC2012_img_train.tar"][..],
        &["test.tar", "train.tar"],
        &["train.tar.gz"],
        &["train.parquet"],
        &["train-metadata.parquet", "val.tar"],
    ] {
        let root = TempDir::new().unwrap();
        sets::unpacked(root.path(), &files(["train", "val"], &["cat", "dog"]));
        strays.iter().for_each(|name| put(root.path().join(name), b"no archive"));
        let splits = opened(root.path()).unwrap();
        assert_eq!((splits.format, labels(&*splits.test)), ("image folder", vec![0, 0, 1, 1]), "{strays:?}");
        let reason = "an archive or a table beside the class folders, which are read";
        assert_eq!(skipped(&splits.notes), [(strays.len(), strays[0].to_owned(), reason)]);
    }
    // Folders without images are no image folder.
    let root = TempDir::new().unwrap();
    for (s, split) in ["train", "test"].into_iter().enumerate() {
        put(root.path().join(format!("{split}-0.tar")), &tar(".", &sets::samples(s, 0..2)));
        put(root.path().join(split).join("cat/notes.txt"), b"none");
    }
    assert_eq!(opened(root.path()).unwrap().format, "WebDataset");
}
