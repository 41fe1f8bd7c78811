//! WebDataset shards as people have them: keys with dots, prefixes, labels in other members.

use crate::sets;

use std::path::Path;

use crate::sets::{gz, png, put, tar};
use mlaan::data::{Dataset, OpenOptions, Splits, open};
use tempfile::TempDir;

type Files = Vec<(String, Vec<u8>)>;

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

/// Shards of these names with the same members; an image's member `NAME.png` has its own picture.
fn shards(names: [&str; 2], members: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (split, name) in names.into_iter().enumerate() {
        let member = |(i, (member, text)): (usize, &(&str, &str))| {
            let bytes = if text.is_empty() { png(split, i) } else { text.as_bytes().to_vec() };
            ((*member).to_owned(), bytes)
        };
        let files: Files = members.iter().enumerate().map(member).collect();
        let packed = tar(".", &files);
        put(root.path().join(name), &if name.ends_with("gz") { gz(&packed) } else { packed });
    }
    root
}

#[test]
fn keys_with_dots_lose_no_sample() {
    let version = [
        ("a0.png", ""),
        ("a0.cls", "0"),
        ("v1.5_a2.png", ""),
        ("v1.5_a2.cls", "1"),
        ("v1.5_a3.cls", "0"),
        ("v1.5_a3.png", ""),
    ];
    let kaggle = [
        ("cat.0.jpg", ""),
        ("cat.0.cls", "0"),
        ("cat.1.jpg", ""),
        ("cat.1.cls", "1"),
        ("dog.0.cls", "0"),
        ("dog.0.jpg", ""),
    ];
    let compound = [
        ("0.png", ""),
        ("0.cls", "0"),
        ("1.input.png", ""),
        ("1.target.cls", "1"),
        ("2.target.cls", "0"),
        ("2.input.png", ""),
    ];
    for members in [version, kaggle, compound] {
        for ending in ["tar", "tar.gz"] {
            let names = [format!("train-0.{ending}"), format!("test-0.{ending}")];
            let root = shards([&names[0], &names[1]], &members);
            let splits = opened(root.path()).unwrap();
            assert_eq!((labels(&*splits.train), labels(&*splits.test)), (vec![0, 1, 0], vec![0, 1, 0]));
            // Each with its own picture.
            let red = |i: usize| splits.train.image(i, &mut Vec::new()).unwrap().rgb[0];
            assert_eq!([0, 1, 2].map(red), [0, 2, 5].map(|at| sets::pixel(0, at, (0, 0), 0)));
            assert!(splits.notes.is_empty(), "{:?}", splits.notes);
        }
    }
    let root =
        shards(["train-0.tar", "test-0.tar"], &[("cat.0.jpg", ""), ("cat.0.cls", "0"), ("cat.1.jpg", "")]);
    fails(root.path(), &["train-0.tar, sample cat.1", "no label (`.cls`"]);
    let root =
        shards(["train-0.tar", "test-0.tar"], &[("1.left.png", ""), ("1.right.png", ""), ("1.cls", "0")]);
    fails(root.path(), &["train-0.tar, sample 1.left", "train-0.tar, 1.cls", "could be of several images"]);
}

#[test]
fn what_is_no_part_of_a_sample_is_counted() {
    let members = [
        ("1.png", ""),
        ("1.seg.png", ""),
        ("1.cls", "0"),
        ("README", "x"),
        ("notes.txt", "x"),
        ("._1.png", "x"),
        ("__MACOSX/1.png", "x"),
    ];
    let root = shards(["train-0.tar", "test-0.tar"], &members);
    let splits = opened(root.path()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (1, 1));
    let counts: Vec<_> =
        splits.notes.skipped.iter().map(|s| (s.count, s.example.rsplit(' ').next().unwrap())).collect();
    assert_eq!(counts, [(4, "README"), (2, "1.seg.png"), (4, "._1.png")]);
    let again = [("1.png", ""), ("1.cls", "0"), ("2.png", ""), ("2.cls", "1"), ("1.png", ""), ("1.cls", "1")];
    let root = shards(["train-0.tar", "test-0.tar"], &again);
    let splits = opened(root.path()).unwrap();
    assert_eq!(labels(&*splits.train), [0, 1, 1]);
    assert!(splits.notes.remarks[0].contains("1 sample has the key of an earlier one"), "{:?}", splits.notes);
}

#[test]
fn shards_say_their_split_anywhere_in_their_name() {
    let members = [("1.png", ""), ("1.cls", "0")];
    for names in [
        ["imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"],
        ["set_training_0.tar.gz", "set_testing_0.tar.gz"],
        ["TRAIN-0.tar", "Val-0.tar"],
        ["train0001.tar", "valid0001.tar"],
        ["Train/a.tar", "valid/b.tar"],
        ["shard-train-000000.tar", "shard-dev-000000.tar"],
        ["trainset-0.tar", "evaluation-0.tgz"],
        ["train/0.tar", "dev/0.tar"],
    ] {
        let splits = opened(shards(names, &members).path()).unwrap();
        assert_eq!((splits.train.len(), splits.test.len(), splits.format), (1, 1, "WebDataset"), "{names:?}");
    }
    // Without labels, one split gives way to the next.
    let root = shards(["x-train-0.tar", "x-val-0.tar"], &members);
    put(root.path().join("x-test-0.tar"), &tar(".", &[("9.png".to_owned(), png(1, 9))]));
    let splits = opened(root.path()).unwrap();
    assert_eq!(splits.test.len(), 1);
    assert!(splits.notes.remarks[0].contains("shards of `test` have no labels: tested is on `val`"));
    // A whole set in one archive, whatever it is called.
    let root = TempDir::new().unwrap();
    let set = ["train/a/0.png", "train/b/0.png", "val/a/0.png", "val/b/0.png"];
    let set: Files = set.iter().map(|name| ((*name).to_owned(), png(0, 1))).collect();
    put(root.path().join("tiny-train-val.tar"), &tar(".", &set));
    assert_eq!(opened(root.path()).unwrap().train.len(), 2);
}

#[test]
fn labels_are_read_from_json_and_text() {
    let json = [
        ("1.jpg", ""),
        ("1.json", r#"{"label": 1, "width": 3}"#),
        ("2.jpg", ""),
        ("2.json", r#"{"label": 0}"#),
    ];
    let root = shards(["train-0.tar", "test-0.tar"], &json);
    assert_eq!(labels(&*opened(root.path()).unwrap().test), [1, 0]);
    put(root.path().join("classes.txt"), b"cat\ndog\n");
    assert_eq!(opened(root.path()).unwrap().train.classes(), ["cat", "dog"]);
    let names = [("1.jpg", ""), ("1.json", r#"{"class": "dog"}"#), ("2.jpg", ""), ("2.cls", "cat")];
    let root = shards(["train-0.tar", "test-0.tar"], &names);
    let splits = opened(root.path()).unwrap();
    assert_eq!(
        (splits.train.classes(), labels(&*splits.train)),
        (&["cat".to_owned(), "dog".to_owned()][..], vec![1, 0])
    );
    // A class is tested that is not trained.
    let emu: Files = vec![("1.jpg".into(), png(1, 0)), ("1.cls".into(), b"emu".to_vec())];
    put(root.path().join("test-0.tar"), &tar(".", &emu));
    fails(root.path(), &["test-0.tar", "1.jpg", "`emu` is no class of training (`cat`, `dog`)"]);
    let text = [("1.jpg", ""), ("1.txt", "1"), ("2.jpg", ""), ("2.txt", "0")];
    assert_eq!(labels(&*opened(shards(["train-0.tar", "test-0.tar"], &text).path()).unwrap().train), [1, 0]);
    let caption = [("1.jpg", ""), ("1.txt", "a cat on a mat")];
    fails(shards(["train-0.tar", "test-0.tar"], &caption).path(), &["`.cls`", "`.json`", "a cat on a mat"]);
    let none = [("1.jpg", ""), ("1.json", r#"{"width": 1}"#)];
    fails(
        shards(["train-0.tar", "test-0.tar"], &none).path(),
        &["sample 1", "no label", "`.json` with `label`, `cls` or `class`"],
    );
}

#[test]
fn a_test_split_that_is_labelled_minus_one_has_no_labels() {
    let root =
        shards(["train-0.tar", "val-0.tar"], &[("1.png", ""), ("1.cls", "0"), ("2.png", ""), ("2.cls", "1")]);
    let none: Files = (0..3)
        .flat_map(|i| [(format!("{i}.png"), png(1, i)), (format!("{i}.cls"), b"-1".to_vec())])
        .collect();
    put(root.path().join("test-0.tar"), &tar(".", &none));
    let splits = opened(root.path()).unwrap();
    assert_eq!(labels(&*splits.test), [0, 1]);
    assert_eq!(splits.notes.remarks, ["the shards of `test` have no labels: tested is on `val`"]);
    std::fs::remove_file(root.path().join("val-0.tar")).unwrap();
    fails(root.path(), &["test-0.tar", "all of its 3 labels are −1"]);
}

#[test]
fn lists_of_classes_are_read_as_editors_write_them() {
    let root = shards(
        ["train-0.tar", "test-0.tar"],
        &[("1.png", ""), ("1.cls", "cat"), ("2.png", ""), ("2.cls", "1.0")],
    );
    put(root.path().join("classes.txt"), "\u{feff}cat\r\ndog\r\n".as_bytes());
    let splits = opened(root.path()).unwrap();
    assert_eq!(
        (splits.train.classes(), labels(&*splits.train)),
        (&["cat", "dog"].map(String::from)[..], vec![0, 1])
    );
    put(root.path().join("classes.txt"), b"cat\nd\0og\n");
    fails(root.path(), &["classes.txt, line 2", "control character U+0000"]);
}

#[test]
fn of_several_images_a_known_one_is_taken_or_none() {
    for (members, taken) in [
        ([("1.depth.png", ""), ("1.rgb.png", ""), ("1.cls", "0")], 1),
        ([("1.image.png", ""), ("1.mask.png", ""), ("1.cls", "0")], 0),
        ([("1.png", ""), ("1.jpg", ""), ("1.cls", "0")], 1),
        ([("1.webp", ""), ("1.jpeg", ""), ("1.cls", "0")], 1),
        ([("1.rgb.png", ""), ("1.depth.png", ""), ("1.json", r#"{"category_id": 0}"#)], 0),
    ] {
        let splits = opened(shards(["train-0.tar", "test-0.tar"], &members).path()).unwrap();
        let red = splits.train.image(0, &mut Vec::new()).unwrap().rgb[0];
        assert_eq!(red, sets::pixel(0, taken, (0, 0), 0), "{members:?}");
        let skipped = &splits.notes.skipped;
        assert_eq!((splits.train.len(), skipped.len(), skipped[0].count), (1, 1, 2));
        assert!(skipped[0].example.ends_with(members[1 - taken].0), "{skipped:?}");
    }
    for label in [("1.cls", "0"), ("1.json", r#"{"label": 0}"#)] {
        let members = [("1.left.png", ""), ("1.right.jpg", ""), label];
        let root = shards(["train-0.tar", "test-0.tar"], &members);
        fails(root.path(), &["train-0.tar, sample 1.left", "(its images are `1.left.png`, `1.right.jpg`)"]);
    }
    let some = [("1.png", ""), ("1.cls", "0"), ("2.png", ""), ("3.png", ""), ("3.cls", "1"), ("4.png", "")];
    fails(shards(["train-0.tar", "test-0.tar"], &some).path(), &["sample 2", "2 of 4 images of the split"]);
}

#[test]
fn shards_that_cannot_be_read_are_named() {
    let one = [("1.png", ""), ("1.cls", "0")];
    let root = || shards(["train-0.tar", "val-0.tar"], &one);
    #[cfg(unix)]
    for folder in ["", "train/"] {
        let root = match folder {
            "" => root(),
            _ => shards(["train/0.tar", "val/0.tar"], &one),
        };
        let link = format!("{folder}train-1.tar");
        std::os::unix::fs::symlink("gone.tar", root.path().join(&link)).unwrap();
        fails(root.path(), &[&link, "is a link to what is not there, so a shard is missing"]);
    }
    for (name, says) in [
        ("train-1.tar.zst", "compressed in a way that is not read"),
        ("val-1.tar.XZ", "compressed in a way that is not read"),
        ("train-0.tar.gz", "the shard is there twice (`train-0.tar`, `train-0.tar.gz`)"),
    ] {
        let root = root();
        put(root.path().join(name), b"x");
        fails(root.path(), &[name, says]);
    }
    let folder = root();
    std::fs::create_dir(folder.path().join("train-1.tar")).unwrap();
    fails(folder.path(), &["train-1.tar", "is a folder"]);
    // Shards in a folder beside are counted.
    let both = root();
    put(both.path().join("train/9.tar"), &tar(".", &[("9.png".to_owned(), png(0, 9))]));
    let splits = opened(both.path()).unwrap();
    assert_eq!((splits.train.len(), splits.notes.skipped[0].count), (1, 1));
    let other = TempDir::new().unwrap();
    put(other.path().join("train-0.tar.zst"), b"x");
    fails(other.path(), &["train-0.tar.zst", "decompress them"]);
}

#[test]
fn labels_that_look_the_same_are_told_apart() {
    for (labels, told) in
        [(["cat", "c\u{430}t"], ["cat", "c\\u{430}t"]), (["cat", "cat\u{200b}\n"], ["cat", "cat\\u{200b}"])]
    {
        let members = [("1.png", ""), ("1.cls", labels[0]), ("2.png", ""), ("2.cls", labels[1])];
        let splits = opened(shards(["train-0.tar", "test-0.tar"], &members).path()).unwrap();
        assert_eq!(
            (splits.train.classes(), self::labels(&*splits.test)),
            (&told.map(String::from)[..], vec![0, 1])
        );
    }
    let members = [("1.png", ""), ("1.cls", "0"), ("2.png", ""), ("2.cls", "1")];
    let root = shards(["train-0.tar", "test-0.tar"], &members);
    put(root.path().join("classes.txt"), b"crane\ncrane\n");
    assert_eq!(opened(root.path()).unwrap().train.classes(), ["crane (0)", "crane (1)"]);
    // A number says which, the name does not.
    let root = shards(["train-0.tar", "test-0.tar"], &[("1.png", ""), ("1.cls", "crane")]);
    put(root.path().join("classes.txt"), b"crane\ncrane\n");
    fails(root.path(), &["1.png", "`crane` is the name of both class 0 and class 1"]);
}
