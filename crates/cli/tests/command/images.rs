//! Images of one's own: a folder with a subfolder per class.

use crate::common::{fails, ok};
use std::fs;
use std::path::Path;

const ARGS: &[&str] = &[
    "train",
    "quickstart",
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

#[test]
fn a_set_with_fewer_classes_is_tested_by_name_and_what_is_skipped_is_said() {
    let at = tempfile::tempdir().unwrap();
    let root = at.path();
    pictures(&root.join("pictures"), &["ant", "cat", "dog"], 6);
    fs::remove_dir_all(root.join("pictures/test/ant")).unwrap();
    fs::write(root.join("pictures/train/cat/notes.txt"), "notes").unwrap();
    let trained = crate::common::output(root, ARGS);
    let heard = String::from_utf8_lossy(&trained.stderr).into_owned();
    assert!(trained.status.success(), "{heard}");
    assert!(heard.contains("`ant` is a class without a test image"), "{heard}");
    assert!(heard.contains("1 file skipped") && heard.contains("train/cat/notes.txt"), "{heard}");
    let inspected = ok(root, &["data", "inspect", "pictures"]);
    assert!(inspected.contains("1 file skipped") && inspected.contains("no test image"), "{inspected}");
    // The errors of the classes are those that they have in the run's own set.
    let of = |data: &str| -> serde_json::Value {
        serde_json::from_str(&ok(root, &["eval", "runs/quickstart", "--data", data, "--json"])).unwrap()
    };
    let class = |found: &serde_json::Value, name: &str| {
        let classes = found["classes"].as_array().unwrap().clone();
        classes.into_iter().find(|c| c["name"] == name).unwrap()
    };
    let own = of("pictures");
    pictures(&root.join("few"), &["cat", "dog"], 6);
    // The pictures that these classes have in the run's set.
    for class in ["cat", "dog"] {
        for i in 0..6 {
            let file = format!("test/{class}/{i}.png");
            fs::copy(root.join("pictures").join(&file), root.join("few").join(&file)).unwrap();
        }
    }
    let few = of("few");
    assert_eq!(few["classes"].as_array().unwrap().len(), 3);
    for name in ["ant", "cat", "dog"] {
        assert_eq!(class(&few, name), class(&own, name));
    }
    assert!(
        few["notes"]["remarks"][0].as_str().unwrap().contains("its 2 classes are matched by name"),
        "{few}"
    );
    let predicted = crate::common::output(root, &["predict", "runs/quickstart", "pictures/train/cat"]);
    let heard = String::from_utf8_lossy(&predicted.stderr).into_owned();
    assert!(predicted.status.success() && heard.contains("notes.txt"), "{heard}");
    let classified = |line: &&str| line.contains("train/cat/");
    assert_eq!(String::from_utf8_lossy(&predicted.stdout).lines().filter(classified).count(), 6);
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
    assert!(
        shown.contains("all 18x20") && shown.contains("the EXIF orientation of 8 images is applied"),
        "{shown}"
    );
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
        let out = crate::common::output(at.path(), &["predict", "runs/quickstart", &name, "--json"]);
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap().replace(&name, "")
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
    // Such a run says once that it leaves pictures as they lie, and turns them where that is asked for.
    let predicted = |more: &[&str]| {
        let out = crate::common::output(
            at.path(),
            &[&["predict", "runs/quickstart", "new", "--csv"], more].concat(),
        );
        assert!(out.status.success());
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    fs::copy(&file, at.path().join("new/b.png")).unwrap();
    let probability = |table: &str, name: &str| {
        let start = format!("new/{name}.png,");
        let found = table.lines().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("{name}: {table}")).to_owned()
    };
    let (table, heard) = predicted(&[]);
    assert_eq!(heard.matches("was not followed").count(), 1, "{heard}");
    assert!(
        heard.contains("EXIF orientation of 2 of 4 files") && heard.contains("new/a.png, ..."),
        "{heard}"
    );
    assert!(heard.contains("--orientation exif"), "{heard}");
    assert_eq!(probability(&table, "a"), probability(&table, "stored"));
    let (ignored, heard) = predicted(&["--orientation", "ignore"]);
    assert!(ignored == table && !heard.contains("not followed"), "{heard}");
    let (turned, heard) = predicted(&["--orientation", "exif"]);
    assert!(!heard.contains("not followed"), "{heard}");
    assert_eq!(probability(&turned, "a"), probability(&turned, "upright"));
    assert_ne!(probability(&turned, "a"), probability(&turned, "stored"));
    // An evaluation reads them as the run did, or as it is told.
    let evaluated = |more: &[&str]| {
        let said = ok(at.path(), &[&["eval", "runs/quickstart", "--json"], more].concat());
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["orientation"].clone()
    };
    assert_eq!([evaluated(&[]), evaluated(&["--orientation", "exif"])], ["ignore", "exif"]);
}

/// Class folders below `at`, of `images` pictures each.
fn photos(at: &Path, classes: usize, images: usize, side: u32) {
    for class in 0..classes {
        let folder = at.join(format!("class-{class}"));
        fs::create_dir_all(&folder).unwrap();
        for i in 0..images as u32 {
            let colour = |x: u32, y: u32| image::Rgb([(40 * class as u32 + x) as u8, (y + 3 * i) as u8, 90]);
            image::RgbImage::from_fn(side, side + 10, colour).save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
}

#[test]
fn own_pictures_need_no_recipe() {
    let at = tempfile::tempdir().unwrap();
    photos(&at.path().join("photos"), 3, 40, 30);
    let said = ok(at.path(), &["train", "--data", "photos", "--epochs", "1", "--threads", "1"]);
    assert!(said.starts_with("photos: Backpropagation, ResNet-14\n"), "{said}");
    for words in [
        "Chosen for these images",
        "120 images and 3 classes",
        "--init resnet18.pth",
        "torch.save(torchvision.models.resnet18(weights=\"DEFAULT\").state_dict(), \"resnet18.pth\")",
        "Of 19 images the best is a matter of chance",
        "the median image is 30x40",
        "batch",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // What was chosen is a recipe like any other, which the run keeps.
    let kept =
        mlaan::recipe::Recipe::load(&at.path().join("runs/photos/recipe.toml").to_string_lossy()).unwrap();
    assert_eq!((kept.data.size, kept.data.test, kept.data.validation), (32, Some(0.2), Some(0.2)));
    assert_eq!((kept.train.batch, kept.train.per_step, kept.train.epochs), (4, Some(true), 1));
    assert_eq!(kept.local.modules, 1);
    let start = &crate::common::metrics(&at.path().join("runs/photos"))[0];
    assert_eq!(
        (&start["train_images"], &start["val_images"], &start["test_images"]),
        (&77.into(), &19.into(), &24.into())
    );
    // It goes on by itself, and a plan chooses the same.
    ok(at.path(), &["train", "--resume", "--out", "runs/photos", "--epochs", "2", "--threads", "1"]);
    let plan = ok(at.path(), &["plan", "--data", "photos", "--threads", "1"]);
    assert!(plan.contains("Chosen for these images") && plan.contains("3 classes"), "{plan}");
    // Where memory or modules are spoken of, it learns locally.
    for flags in [["--modules", "4"], ["--memory", "200MiB"]] {
        let args = ["train", "--data", "photos", "--epochs", "1", "--threads", "1", "--out", &flags[0][2..]];
        let said = ok(at.path(), &[&args[..], &flags].concat());
        assert!(said.starts_with("photos: DGL, ResNet-14 in 4 modules\n"), "{said}");
    }
    // Flags win, and what depends on them follows.
    let wide =
        ok(at.path(), &["plan", "--data", "photos", "--size", "128", "--batch", "8", "--threads", "1"]);
    assert!(
        wide.contains("resnet18") && wide.contains("images of 128x128") && !wide.contains("median"),
        "{wide}"
    );
}

#[test]
fn a_plan_with_images_is_the_plan_of_the_run() {
    let at = tempfile::tempdir().unwrap();
    photos(&at.path().join("photos"), 2, 30, 24);
    let on = ["--data", "photos", "--modules", "4", "--threads", "1", "--json"];
    let planned: serde_json::Value =
        serde_json::from_str(&ok(at.path(), &[&["plan"], &on[..]].concat())).unwrap();
    let said =
        ok(at.path(), &["train", "--data", "photos", "--modules", "4", "--threads", "1", "--epochs", "1"]);
    let written = mlaan::memory::bytes::written(planned["local"]["memory_bytes"].as_u64().unwrap());
    assert!(said.contains(&format!("{written} planned")), "{written}: {said}");
    let plain = mlaan::memory::bytes::written(planned["backpropagation"]["memory_bytes"].as_u64().unwrap());
    assert!(said.contains(&format!("{plain} with backpropagation")), "{plain}: {said}");
}
