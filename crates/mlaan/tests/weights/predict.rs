//! Classification of images: folded networks, files, broken files.

use crate::common::trained::{checkpoint, pictures, recipe};
use mlaan::Device;
use mlaan::data::ImageView;
use mlaan::predict::{Predictor, find};
use mlaan::train::Trained;
use mlaan_engine::{DType, MemoryCategory};
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Logits of the whole network, not folded.
fn logits(trained: &mut Trained, images: &[Vec<u8>], size: usize, fold: bool) -> Vec<f32> {
    let device = Device::cpu(Some(2)).unwrap();
    let mut network = trained.network(&device).unwrap();
    if fold {
        network.fuse().unwrap();
    }
    let n = images.len();
    let mut bytes = device.alloc([n, size, size, 3], DType::U8, MemoryCategory::Data).unwrap();
    device.upload(&mut bytes, &images.concat()).unwrap();
    let mut values = device.alloc([n, size, size, 3], DType::F32, MemoryCategory::Data).unwrap();
    device.images_from_bytes(&bytes, network.task().pixels, &mut values).unwrap();
    network.infer(values).unwrap()
}

#[test]
fn a_folded_network_is_the_same_function() {
    for (backbone, width, size) in [("resnet8", 8, 16), ("resnet18", 8, 40), ("resnet50", 8, 40)] {
        let run = tempfile::tempdir().unwrap();
        checkpoint(run.path(), &recipe(backbone, width, size), 7, 1);
        let mut trained = Trained::open(run.path(), false).unwrap();
        let images = pictures(3, size);
        let plain = logits(&mut trained, &images, size, false);
        let folded = logits(&mut trained, &images, size, true);
        assert_eq!(plain.len(), 21);
        let most = plain.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(most > 0.05, "{plain:?}");
        for (a, b) in plain.iter().zip(&folded) {
            assert!((a - b).abs() <= 1e-4 * most.max(1.0), "{backbone}: {a} and {b}");
        }
    }
}

#[test]
fn probabilities_are_those_of_the_logits_and_do_not_depend_on_the_batch() {
    let run = tempfile::tempdir().unwrap();
    checkpoint(run.path(), &recipe("resnet8", 8, 16), 5, 2);
    let mut trained = Trained::open(run.path(), true).unwrap();
    let images = pictures(5, 16);
    let expected = logits(&mut trained, &images, 16, false);
    let mut predictor = Predictor::new(&trained, &Device::cpu(Some(2)).unwrap()).unwrap();
    let views: Vec<ImageView> = images.iter().map(|rgb| ImageView { height: 16, width: 16, rgb }).collect();
    let found = predictor.probabilities(&views).unwrap();
    for (row, logits) in found.iter().zip(expected.chunks(5)) {
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        for (p, x) in row.iter().zip(logits) {
            assert!((f64::from(*p) - f64::from(*x).exp() / sum).abs() < 1e-5);
        }
    }
    for (i, view) in views.iter().enumerate() {
        assert_eq!(predictor.probabilities(&[*view]).unwrap()[0], found[i]);
    }
    assert!(predictor.probabilities(&[]).unwrap().is_empty());
    let wrong = ImageView { height: 3, width: 3, rgb: &[0; 5] };
    assert!(predictor.probabilities(&[wrong]).unwrap_err().to_string().contains("3x3 RGB with 5 bytes"));
}

#[test]
fn images_are_cut_out_as_the_run_s_short_side_says() {
    let mut rgb = vec![0; 40 * 30 * 3];
    rgb.iter_mut().enumerate().for_each(|(i, b)| *b = (i * i % 251) as u8);
    let at = tempfile::tempdir().unwrap();
    let file = at.path().join("it.png");
    image::save_buffer(&file, &rgb, 30, 40, image::ColorType::Rgb8).unwrap();
    let found = |short_side: Option<usize>| {
        let run = tempfile::tempdir().unwrap();
        let mut recipe = recipe("resnet8", 8, 16);
        recipe.data.short_side = short_side;
        checkpoint(run.path(), &recipe, 5, 3);
        let mut predictor = Predictor::load(run.path(), &Device::cpu(Some(1)).unwrap()).unwrap();
        let view = ImageView { height: 40, width: 30, rgb: &rgb };
        let direct = predictor.probabilities(&[view]).unwrap().remove(0);
        let each = &mut |image: mlaan::predict::Classified<'_>| {
            assert_eq!(image.probabilities.unwrap(), direct);
            ControlFlow::Continue(())
        };
        predictor.files(vec![file.clone()], 1, each).unwrap();
        direct
    };
    let usual = found(None);
    assert_eq!(found(Some(18)), usual);
    for other in [16, 25, 36] {
        assert_ne!(found(Some(other)), usual, "{other}");
    }
}

#[test]
fn files_are_told_in_order_and_broken_ones_stop_nothing() {
    let at = tempfile::tempdir().unwrap();
    checkpoint(at.path(), &recipe("resnet8", 8, 16), 5, 3);
    let folder = at.path().join("photos");
    fs::create_dir_all(folder.join("more")).unwrap();
    let sides = [(16, 16), (40, 20), (9, 30)];
    for (i, (w, h)) in sides.into_iter().enumerate() {
        let colour = |x: u32, y: u32| image::Rgb([(x * 11) as u8, (y * 13) as u8, i as u8 * 90]);
        image::RgbImage::from_fn(w, h, colour).save(folder.join(format!("more/{i}.png"))).unwrap();
    }
    fs::write(folder.join("broken.JPG"), "no picture").unwrap();
    fs::write(folder.join("notes.txt"), "text").unwrap();
    fs::write(folder.join(".hidden.png"), "x").unwrap();
    let named = [folder.clone(), at.path().join("missing.png")];
    let (paths, notes) = find(&named).unwrap();
    let skipped: Vec<_> =
        notes.skipped.iter().map(|s| (s.count, s.example.rsplit('/').next().unwrap())).collect();
    assert_eq!(skipped, [(1, ".hidden.png"), (1, "notes.txt")]);
    let names: Vec<String> =
        paths.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["broken.JPG", "0.png", "1.png", "2.png", "missing.png"]);
    let mut predictor = Predictor::load(at.path(), &Device::cpu(Some(2)).unwrap()).unwrap();
    let mut told: Vec<(PathBuf, Result<Vec<f32>, String>)> = Vec::new();
    predictor
        .files(paths.clone(), 2, &mut |c| {
            told.push((c.path.into(), c.probabilities.map(<[f32]>::to_vec)));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(told.iter().map(|t| t.0.clone()).collect::<Vec<_>>(), paths);
    assert!(told[0].1.as_ref().unwrap_err().contains("not an image"), "{:?}", told[0]);
    assert!(told[4].1.is_err());
    let mut alone = Vec::new();
    let mut times = 0;
    predictor
        .files(vec![paths[2].clone(), paths[1].clone()], 1, &mut |c| {
            (alone, times) = (c.probabilities.unwrap().to_vec(), times + 1);
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(times, 1, "it stops when it is told to");
    assert_eq!(told[2].1.as_ref().unwrap(), &alone);
    let empty = at.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(find(&[empty]).unwrap_err().to_string().contains("no image"));
}

#[test]
fn a_plan_is_what_classifying_files_takes() {
    let at = tempfile::tempdir().unwrap();
    for i in 0..5_u8 {
        let path = at.path().join(format!("{i}.png"));
        image::RgbImage::from_pixel(20, 20, image::Rgb([i, 90, 9])).save(path).unwrap();
    }
    let (paths, _) = find(&[at.path().to_path_buf()]).unwrap();
    for (backbone, width, size) in [("resnet8", 4, 32), ("resnet8", 8, 16), ("resnet18", 8, 40)] {
        let run = tempfile::tempdir().unwrap();
        checkpoint(run.path(), &recipe(backbone, width, size), 7, 1);
        let trained = Trained::open(run.path(), false).unwrap();
        for (batch, threads) in [(1, 1), (1, 2), (2, 2), (3, 1), (5, 2), (16, 2)] {
            let device = Device::cpu(Some(threads)).unwrap();
            let needs = Predictor::plan(&trained, &device, &paths, batch).unwrap();
            device.pool().reserve(&needs.usage).unwrap();
            let mut predictor = Predictor::new(&trained, &device).unwrap();
            predictor.files(paths.clone(), batch, &mut |_| ControlFlow::Continue(())).unwrap();
            let held = device.usage().held;
            assert_eq!(
                held, needs.usage.held,
                "{backbone}, width {width}: {batch} at a time, {threads} threads"
            );
        }
    }
}
