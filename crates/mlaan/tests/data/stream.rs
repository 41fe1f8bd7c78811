//! Sets that stay on disk: the same images as in memory where nothing random is cut, whole runs, broken images.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use mlaan::data::{
    Augment, Batch, Dataset, Frame, Load, Loader, LoaderOptions, LoaderPool, Names, Normalise, OpenOptions,
    Splits, open,
};
use mlaan::recipe::{self, Recipe};
use mlaan::train::{Outcome, Progress, Trainer, checkpoint, setup};
use mlaan_engine::Device;
use tempfile::TempDir;

/// Two classes of pictures of many sizes, as JPEG and PNG.
fn folder() -> TempDir {
    let root = TempDir::new().unwrap();
    for split in ["train", "val"] {
        for c in 0..2u32 {
            for i in 0..9u32 {
                let (width, height) = (30 + 7 * i, 80 - 5 * i);
                let pixel = |x, y| Rgb([(x * 3 + 90 * c) as u8, (y * 3) as u8, (x * y / 16 + 20 * i) as u8]);
                let picture = DynamicImage::from(RgbImage::from_fn(width, height, pixel));
                let format = if i % 3 == 0 { ImageFormat::Png } else { ImageFormat::Jpeg };
                let mut bytes = Cursor::new(Vec::new());
                picture.write_to(&mut bytes, format).unwrap();
                let class = root.path().join(split).join(["cat", "dog"][c as usize]);
                fs::create_dir_all(&class).unwrap();
                fs::write(class.join(format!("{i}.png")), bytes.into_inner()).unwrap();
            }
        }
    }
    root
}

fn opened(root: &Path, load: Load, skip_broken: bool) -> mlaan::Result<Splits> {
    let short_side = Frame::usual(32).short_side;
    let options = OpenOptions { load, skip_broken, short_side, ..OpenOptions::default() };
    open(root.to_str().unwrap(), &options)
}

fn batches(data: &Arc<dyn Dataset>, workers: usize, augment: Augment, first_batch: usize) -> Vec<Batch> {
    framed(data, workers, augment, first_batch, Frame::usual(32))
}

fn framed(
    data: &Arc<dyn Dataset>,
    workers: usize,
    augment: Augment,
    first_batch: usize,
    frame: Frame,
) -> Vec<Batch> {
    let pool = LoaderPool::new(workers, LoaderPool::AHEAD).unwrap();
    let shuffle = augment != Augment::None;
    let options = LoaderOptions {
        augment,
        shuffle,
        seed: 3,
        epoch: 2,
        first_batch,
        ..LoaderOptions::evaluation(5, frame)
    };
    let mut loader = Loader::new(Arc::clone(data), &pool, options).unwrap();
    std::iter::from_fn(|| loader.next()).map(Result::unwrap).collect()
}

#[test]
fn evaluation_sees_the_same_images_from_disk_as_from_memory() {
    let root = folder();
    let (memory, disk) = (
        opened(root.path(), Load::Memory, false).unwrap(),
        opened(root.path(), Load::Stream, false).unwrap(),
    );
    assert!(disk.train.streams() && disk.test.streams() && !memory.train.streams());
    // Images on disk are known by their files; in memory where that is asked for, which costs memory.
    let short_side = Frame::usual(32).short_side;
    let options = OpenOptions { load: Load::Memory, names: Names::All, short_side, ..OpenOptions::default() };
    let named = open(root.path().to_str().unwrap(), &options).unwrap();
    for index in 0..memory.test.len() {
        let name = disk.test.image_name(index).unwrap();
        assert!(name.ends_with(".png"), "{name}");
        assert_eq!((named.test.image_name(index), memory.test.image_name(index)), (Some(name), None));
    }
    assert!(named.test.resident_bytes() > memory.test.resident_bytes());
    assert_eq!(disk.train.classes(), memory.train.classes());
    for (a, b) in [(&memory.train, &disk.train), (&memory.test, &disk.test)] {
        assert!(batches(a, 2, Augment::None, 0) == batches(b, 2, Augment::None, 0));
    }
    // Random crops see all pixels: other images, but those of the same draws.
    let crops = |data, workers, first| batches(data, workers, Augment::preset("imagenet").unwrap(), first);
    let one = crops(&disk.train, 1, 0);
    assert!(one == crops(&disk.train, 3, 0));
    assert!(one[2..] == crops(&disk.train, 2, 2));
    let small = crops(&memory.train, 1, 0);
    assert!(one.iter().zip(&small).all(|(a, b)| a.labels == b.labels && a.bytes != b.bytes));
    // Nothing but numbers lies in memory.
    assert!(disk.train.resident_bytes() < 2000 && disk.train.work_bytes() > 78 * 45 * 3);
}

#[test]
fn a_short_side_of_one_s_own_is_the_same_from_disk_as_from_memory() {
    let root = folder();
    let evaluated = |load, short_side| {
        let mut recipe = recipe(root.path());
        recipe.data.load = load;
        recipe.data.short_side = short_side;
        let (splits, frame) = (setup::open(&recipe, 1).unwrap(), setup::frame(&recipe.data));
        assert_eq!((frame.size, splits.test.streams()), (32, load == recipe::Load::Stream));
        framed(&splits.test, 2, Augment::None, 0, frame)
    };
    let usual = evaluated(recipe::Load::Stream, None);
    // Shorter and longer than the usual 36, and than the shorter sides of most images.
    for short_side in [32, 33, 60] {
        let disk = evaluated(recipe::Load::Stream, Some(short_side));
        assert!(disk == evaluated(recipe::Load::Memory, Some(short_side)), "{short_side}");
        assert!(disk.iter().zip(&usual).all(|(a, b)| a.bytes != b.bytes), "{short_side}");
    }
}

#[test]
fn images_come_in_their_own_size() {
    let root = folder();
    let disk = opened(root.path(), Load::Stream, false).unwrap();
    let mut scratch = vec![1; 7];
    for (index, (width, height)) in [(0, (30, 80)), (8, (86, 40)), (4, (58, 60)), (9, (30, 80))] {
        let image = disk.train.image(index, &mut scratch).unwrap();
        assert_eq!((image.width, image.height, image.rgb.len()), (width, height, width * height * 3));
    }
    assert!(disk.train.image(18, &mut scratch).is_err());
}

#[test]
fn few_images_are_kept_in_memory() {
    let root = folder();
    assert!(!opened(root.path(), Load::Auto, false).unwrap().train.streams());
    let (a, b) = (opened(root.path(), Load::Stream, false).unwrap(), Normalise::measure);
    assert_eq!(b(&*a.train).unwrap(), b(&*a.train).unwrap());
}

#[test]
fn a_broken_image_is_named_or_its_neighbour_stands_in() {
    let root = folder();
    let broken = root.path().join("train/cat/8.png");
    fs::write(&broken, b"\xFF\xD8\xFF no image").unwrap();
    let strict = opened(root.path(), Load::Stream, false).unwrap();
    let mut scratch = Vec::new();
    let error = strict.train.image(8, &mut scratch).unwrap_err().to_string();
    assert!(error.contains("8.png") && error.contains("--skip-broken"), "{error}");
    let lax = opened(root.path(), Load::Stream, true).unwrap();
    let stand_in = lax.train.image(8, &mut scratch).unwrap();
    // The next of its class, around the end.
    assert_eq!((stand_in.width, stand_in.height, lax.train.label(8)), (30, 80, 0));
    assert_eq!(lax.train.replaced(), 1);
    for i in 0..9 {
        fs::write(root.path().join(format!("train/cat/{i}.png")), b"").unwrap();
    }
    assert!(lax.train.image(3, &mut scratch).unwrap_err().to_string().contains("3.png"));
    // In memory both are known at once.
    assert!(opened(root.path(), Load::Memory, false).is_err());
}

fn recipe(root: &Path) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    r.set_source(root.to_str().unwrap());
    r.set_all(["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=5"]).unwrap();
    r.set_all(["data.augment=imagenet", "data.load=stream", "train.epochs=2"]).unwrap();
    r
}

fn run(recipe: &Recipe, threads: usize, folder: &Path, stop_after: Option<usize>) -> (u64, Outcome) {
    let mut trainer = Trainer::from_recipe(recipe, &Device::cpu(Some(threads)).unwrap()).unwrap();
    let (planned, stop, mut steps) = (trainer.plan().allocated() as u64, AtomicBool::new(false), 0);
    let outcome = trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    });
    (planned, outcome.unwrap())
}

/// A checkpoint's model, as bits.
fn model(folder: &Path) -> Vec<u32> {
    let (_, files) = checkpoint::load(folder).unwrap();
    let names: Vec<String> = files.model.names().map(String::from).collect();
    let mut bits = Vec::new();
    for name in names {
        let shape = files.model.shape(&name).unwrap().to_vec();
        bits.extend(files.model.read(&name, &shape).unwrap().iter().map(|v| v.to_bits()));
    }
    bits
}

#[test]
fn runs_are_as_planned_and_resume_to_the_bit_with_any_number_of_threads() {
    let root = folder();
    let (whole, parts) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (planned, outcome) = run(&recipe(root.path()), 2, whole.path(), None);
    let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
    assert_eq!(summary.peak_allocated_bytes, planned);
    for (threads, stop) in [(1, Some(2)), (3, Some(3)), (2, None)] {
        run(&recipe(root.path()), threads, parts.path(), stop);
    }
    assert!(model(whole.path()) == model(parts.path()));
}

#[test]
fn a_run_keeps_where_its_images_lived() {
    let root = folder();
    for (asked, kept) in [("auto", recipe::Load::Memory), ("stream", recipe::Load::Stream)] {
        let mut r = recipe(root.path());
        r.set(&format!("data.load={asked}")).unwrap();
        let trainer = Trainer::from_recipe(&r, &Device::cpu(Some(1)).unwrap()).unwrap();
        assert_eq!(trainer.recipe().data.load, kept);
    }
}
