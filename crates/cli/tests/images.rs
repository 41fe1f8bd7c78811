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

/// Puts how it was held into a PNG: a chunk of EXIF behind its header.
fn turn(path: &Path, value: u8) {
    let png = fs::read(path).unwrap();
    let body =
        [&b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[value, 0, 0, 0, 0, 0, 0]].concat();
    let mut crc = !0u32;
    for byte in &body {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()));
    }
    let length = (body.len() as u32 - 4).to_be_bytes();
    let chunk = [&length[..], &body, &(!crc).to_be_bytes()].concat();
    fs::write(path, [&png[..33], &chunk, &png[33..]].concat()).unwrap();
}

#[test]
fn a_run_turns_pictures_to_its_end_or_never() {
    let at = tempfile::tempdir().unwrap();
    pictures(&at.path().join("pictures"), &["cat", "dog"], 4);
    for split in ["train", "test"] {
        for class in ["cat", "dog"] {
            (0..4).for_each(|i| turn(&at.path().join(format!("pictures/{split}/{class}/{i}.png")), 6));
        }
    }
    let shown = ok(at.path(), &["data", "inspect", "pictures"]);
    assert!(shown.contains("all 18x20") && shown.contains("8 images are turned as EXIF says"), "{shown}");
    ok(at.path(), ARGS);
    let recipe = at.path().join("runs/quickstart/recipe.toml");
    let kept = fs::read_to_string(&recipe).unwrap();
    assert!(kept.contains("orientation = \"exif\""), "{kept}");
    // A picture that is to be turned, the same one turned by hand, and its pixels as they lie.
    let file = at.path().join("pictures/test/dog/3.png");
    let pixels = image::open(&file).unwrap();
    fs::create_dir(at.path().join("new")).unwrap();
    fs::copy(&file, at.path().join("new/a.png")).unwrap();
    pixels.rotate90().save(at.path().join("new/upright.png")).unwrap();
    pixels.save(at.path().join("new/stored.png")).unwrap();
    let found = |name: &str| {
        let name = format!("new/{name}.png");
        ok(at.path(), &["predict", "runs/quickstart", &name, "--json"]).replace(&name, "")
    };
    assert_eq!(found("a"), found("upright"));
    assert_ne!(found("a"), found("stored"));
    // A run from before the key, killed in its first epoch: its recipe lacks it.
    fs::remove_dir_all(at.path().join("runs/quickstart/checkpoints")).unwrap();
    fs::write(&recipe, kept.replace("orientation = \"exif\"\n", "")).unwrap();
    ok(at.path(), &["train", "--resume", "--out", "runs/quickstart", "--threads", "1"]);
    let kept = fs::read_to_string(&recipe).unwrap();
    assert!(kept.contains("orientation = \"ignore\""), "{kept}");
    assert_eq!(found("a"), found("stored"));
    assert_ne!(found("a"), found("upright"));
}
