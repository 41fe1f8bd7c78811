//! Image sets from the command line.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{fails, mlaan, ok, output, text};
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
