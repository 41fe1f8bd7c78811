//! Images of one's own: a folder with a subfolder per class.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{fails, ok};
use std::fs;
use std::path::Path;

const ARGS: &[&str] = &[
    "train",
    "--set",
    "model.backbone=resnet8",
    "model.width=4",
    "local.modules=4",
    "data.size=16",
    "--batch",
    "8",
    "--epochs",
    "1",
    "--threads",
    "1",
    "--data",
    "pictures",
];

/// `count` pictures of every class in both splits.
fn pictures(root: &Path, classes: &[&str], count: u8) {
    for split in ["train", "test"] {
        for (c, class) in classes.iter().enumerate() {
            let folder = root.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let colour = |x: u32, y: u32| image::Rgb([(c * 90) as u8, i * 20, (x * 7 + y * 3) as u8]);
                image::RgbImage::from_fn(20, 18, colour).save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn a_folder_of_images_is_learnt_and_other_classes_are_refused() {
    let at = tempfile::tempdir().unwrap();
    pictures(&at.path().join("pictures"), &["cat", "dog"], 6);
    let said = ok(at.path(), ARGS);
    assert!(said.contains("12 training and 12 test images, 2 classes"), "{said}");
    let shown = ok(at.path(), &["eval", "runs/quickstart"]);
    assert!(shown.contains("cat") && shown.contains("dog") && !shown.contains("top-5"), "{shown}");
    pictures(&at.path().join("other"), &["cat", "horse"], 1);
    let message = fails(at.path(), &["eval", "runs/quickstart", "--data", "other"]);
    assert!(
        message.contains("only here: horse") && message.contains("only in the checkpoint: dog"),
        "{message}"
    );
    let message = fails(at.path(), &["eval", "runs/quickstart", "--data", "builtin", "--limit", "10"]);
    assert!(message.contains("10 classes here, 2 in the checkpoint"), "{message}");
}

#[test]
fn broken_images_stop_a_run_or_are_counted() {
    let at = tempfile::tempdir().unwrap();
    pictures(&at.path().join("pictures"), &["cat", "dog"], 6);
    let broken = at.path().join("pictures/train/dog/3.png");
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let message = fails(at.path(), ARGS);
    assert!(message.contains("dog/3.png") && message.contains("--skip-broken"), "{message}");
    let said = ok(at.path(), &[ARGS, &["--skip-broken"]].concat());
    assert!(
        said.contains("11 training and 12 test images") && said.contains("1 broken image skipped"),
        "{said}"
    );
    assert!(ok(at.path(), &["eval", "runs/quickstart"]).contains("1 broken image skipped"));
}
