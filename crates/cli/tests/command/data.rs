//! Image sets from the command line.

use crate::common::{fails, mlaan, ok, output, text};
use std::fs;
use std::path::Path;

/// `data download` without a network: everything goes to a proxy that is not there.
fn offline(at: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = mlaan(at, &[&["data", "download"], args].concat());
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let out = command.env("ALL_PROXY", "http://127.0.0.1:1").output().unwrap();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn without_a_network_it_says_what_to_fetch_by_hand() {
    let at = tempfile::tempdir().unwrap();
    let (code, out, err) =
        offline(at.path(), &["svhn", "--to", "sets", "--mirror", "http://files.example/svhn/"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for part in [
        "error: train_32x32.mat, test_32x32.mat: no server has given it",
        "\n  sets/test_32x32.mat\n",
        "cannot be reached",
        "\n  http://files.example/svhn/train_32x32.mat\n",
        "\n  http://ufldl.stanford.edu/housenumbers/train_32x32.mat\n",
        "\n  sets/train_32x32.mat\n",
        "182040794 bytes",
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!(fs::read_dir(at.path().join("sets")).unwrap().count(), 0);
    let (code, out, err) = offline(at.path(), &["svhn", "--json"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("error: "), "{err}");
}

#[test]
fn wrong_sets_mirrors_and_files_are_explained() {
    let at = tempfile::tempdir().unwrap();
    assert!(fails(at.path(), &["data", "download", "mnist"]).contains("cifar10, cifar100, svhn, stl10"));
    assert_eq!(output(at.path(), &["data", "download", "svhn", "--mirror", "files"]).status.code(), Some(2));
    fs::create_dir_all(at.path().join("data/cifar10")).unwrap();
    fs::write(at.path().join("data/cifar10/cifar-10-binary.tar.gz"), "mine").unwrap();
    let message = fails(at.path(), &["data", "download", "cifar10", "--json"]);
    assert!(message.contains("4 bytes instead of 170052171"), "{message}");
    assert!(ok(at.path(), &["data", "download", "--help"]).contains("--mirror"));
}

#[test]
fn class_folders_without_splits_are_inspected_as_they_are_trained() {
    let at = tempfile::tempdir().unwrap();
    for class in ["cat", "dog"] {
        let folder = at.path().join("photos").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..10u32 {
            let colour = |x: u32, y: u32| image::Rgb([(x * 7 + i) as u8, (y * 5) as u8, class.len() as u8]);
            image::RgbImage::from_fn(12, 12, colour).save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
    let out = output(at.path(), &["data", "inspect", "photos", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&found["train"]["images"], &found["test"]["images"]), (&16.into(), &4.into()), "{found}");
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("20 % of every class are held out to test on") && said.contains("--test"),
        "{said}"
    );
    // A fraction of one's own is no news.
    let out = output(at.path(), &["data", "inspect", "photos", "--json", "--test", "0.5"]);
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(found["test"]["images"] == 10 && out.stderr.is_empty(), "{found}");
}

#[test]
fn inspecting_names_what_is_wrong_as_training_does() {
    let at = tempfile::tempdir().unwrap();
    let class = |set: &str, class: &str| {
        let folder = at.path().join(set).join(class);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    for set in ["hollow", "one"] {
        let folder = class(set, "cat");
        for i in 0..5u8 {
            image::RgbImage::from_pixel(9, 9, image::Rgb([40 * i; 3]))
                .save(folder.join(format!("{i}.png")))
                .unwrap();
        }
    }
    class("hollow", "dog");
    for (set, words) in [
        ("hollow", "at least two are needed (no image lies in `dog`)"),
        ("one", "there is only one class (`cat`), and at least two are needed"),
    ] {
        for args in [&["data", "inspect", set][..], &["train", "--data", set]] {
            let said = fails(at.path(), args);
            assert!(said.contains(words) && !said.contains("--test"), "{args:?}: {said}");
        }
    }
}
