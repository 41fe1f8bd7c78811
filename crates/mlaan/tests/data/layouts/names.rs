//! Names of classes: capitals, spellings of Unicode, look-alikes, other encodings.

use super::*;

#[test]
fn capitals_tell_classes_apart_and_that_is_said() {
    let root =
        in_all_forms(&[files(["train", "x"], &["Cat", "dog"]), files(["test", "y"], &["cat"])].concat());
    fails(&root.path().join("set"), &["`cat` is not in", "(here it is `cat`, there `Cat`)"]);
    let root = in_all_forms(&files(["train", "test"], &["CAT", "cat", "dog"]));
    for form in FORMS {
        let remarks = opened(&root.path().join(form)).unwrap().notes.remarks.join("\n");
        assert!(remarks.contains("`CAT` and `cat` differ in capitals alone"), "{remarks}");
    }
}

#[test]
fn a_name_in_two_spellings_of_unicode_is_one_class() {
    let mut set = files(["train", "test"], &["dog"]);
    set.push(("train/caf\u{e9}/0.png".into(), png(0, 8)));
    set.push(("test/cafe\u{301}/0.png".into(), png(1, 8)));
    let root = in_all_forms(&set);
    for form in FORMS {
        let splits = opened(&root.path().join(form)).unwrap();
        assert_eq!(splits.train.classes(), ["caf\u{e9}", "dog"]);
        let mut tested = labels(&*splits.test);
        tested.sort_unstable();
        assert_eq!(tested, [0, 1, 1], "{form}");
        assert!(splits.notes.remarks[0].contains("as a Mac does"), "{:?}", splits.notes);
    }
    // Both in one split are one class, too.
    set.push(("train/cafe\u{301}/1.png".into(), png(0, 9)));
    let root = in_all_forms(&set);
    for form in FORMS {
        let splits = opened(&root.path().join(form)).unwrap();
        assert_eq!((splits.train.classes().len(), splits.train.len()), (2, 4));
        assert!(splits.notes.remarks.iter().any(|r| r.contains("one class")), "{:?}", splits.notes);
    }
}

#[test]
fn names_that_look_the_same_are_told_apart() {
    let root = in_all_forms(&files(["train", "test"], &["cat", "cat\u{200b}", "cat "]));
    let splits = opened(&root.path().join("set")).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "cat\\u{20}", "cat\\u{200b}"]);
    assert_eq!(labels(&*splits.test), [0, 0, 1, 1, 2, 2]);
    let mut set = files(["train", "val"], &["dog"]);
    set.push(("train/cat\u{a0}/0.png".into(), png(0, 8)));
    set.push(("val/cat/0.png".into(), png(1, 8)));
    let root = in_all_forms(&set);
    for form in FORMS {
        fails(&root.path().join(form), &["here it is `cat`, there `cat\\u{a0}`"]);
    }
}

#[cfg(unix)]
#[test]
fn names_in_another_encoding_stay_apart() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let root = TempDir::new().unwrap();
    for split in ["train", "test"] {
        for (c, name) in [&b"caf\xe9"[..], b"caf\xe8"].into_iter().enumerate() {
            put(root.path().join(split).join(OsStr::from_bytes(name)).join("0.png"), &png(0, c));
        }
    }
    let splits = opened(root.path()).unwrap();
    assert_eq!(splits.train.classes(), ["caf\\xE8", "caf\\xE9"]);
    assert_eq!(labels(&*splits.test), [0, 1]);
}
