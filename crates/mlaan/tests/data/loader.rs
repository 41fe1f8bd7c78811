//! Batches: order, independence from threads, errors, early ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mlaan::Result;
use mlaan::data::{
    Augment, Batch, ColourJitter, Dataset, Extras, Frame, ImageView, Loader, LoaderOptions, LoaderPool,
    Memory, RandAugment, synthetic,
};

/// 4x4 images whose bytes are their index; can be slow, broken or panicking at some index.
struct Fake {
    len: usize,
    classes: Vec<String>,
    broken: Option<usize>,
    panics: Option<usize>,
    delay: Duration,
    reads: AtomicUsize,
}

impl Fake {
    fn new(len: usize) -> Self {
        Fake {
            len,
            classes: vec!["even".into(), "odd".into()],
            broken: None,
            panics: None,
            delay: Duration::ZERO,
            reads: AtomicUsize::new(0),
        }
    }
}

impl Dataset for Fake {
    fn len(&self) -> usize {
        self.len
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn label(&self, index: usize) -> usize {
        index % 2
    }
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.delay);
        if self.broken == Some(index) {
            return Err(mlaan::Error::Data { place: format!("row {index}"), message: "broken".into() });
        }
        assert!(self.panics != Some(index), "panic at {index}");
        scratch.clear();
        scratch.resize(48, index as u8);
        Ok(ImageView { height: 4, width: 4, rgb: scratch })
    }
    fn resident_bytes(&self) -> usize {
        0
    }
}

fn options(batch: usize, size: usize) -> LoaderOptions {
    LoaderOptions { seed: 1, ..LoaderOptions::evaluation(batch, Frame::usual(size)) }
}

fn run(data: Arc<dyn Dataset>, workers: usize, options: LoaderOptions) -> Vec<Batch> {
    let pool = LoaderPool::new(workers, LoaderPool::AHEAD).unwrap();
    let mut loader = Loader::new(data, &pool, options).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = loader.next() {
        batches.push(batch.unwrap());
    }
    assert!(loader.next().is_none());
    batches
}

#[test]
fn evaluation_is_in_order_and_keeps_the_short_last_batch() {
    let batches = run(Arc::new(Fake::new(10)), 2, options(4, 4));
    let sizes: Vec<usize> = batches.iter().map(Batch::len).collect();
    assert_eq!(sizes, [4, 4, 2]);
    let order: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(order, (0..10).collect::<Vec<_>>());
    for batch in &batches {
        assert_eq!(batch.bytes.len(), batch.len() * 48);
        for (i, index) in batch.indices.iter().enumerate() {
            assert_eq!(batch.labels[i], *index as u32 % 2);
            assert!(batch.bytes[i * 48..(i + 1) * 48].iter().all(|b| *b == *index as u8));
        }
    }
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    let data = synthetic::splits(0, 130, 1).unwrap().train;
    for preset in Augment::PRESETS {
        let options = LoaderOptions {
            augment: Augment::preset(preset).unwrap(),
            shuffle: true,
            epoch: 3,
            ..options(32, 24)
        };
        let one = run(data.clone(), 1, options);
        assert_eq!(one, run(data.clone(), 4, options), "{preset}");
        // A run resumed after two batches sees the rest of them.
        let rest = LoaderOptions { first_batch: 2, ..options };
        assert_eq!(one[2..], run(data.clone(), 2, rest), "{preset}");
        let next = LoaderOptions { epoch: 4, ..options };
        assert_ne!(one, run(data.clone(), 2, next), "{preset}");
    }
}

#[test]
fn further_changes_do_not_depend_on_workers_or_where_an_epoch_began() {
    let data = synthetic::splits(0, 70, 1).unwrap().train;
    let colour_jitter = Some(ColourJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 });
    let extras = Extras {
        colour_jitter,
        random_erasing: Some(0.5),
        cutout: Some(6),
        mixup: Some(0.2),
        cutmix: Some(1.0),
        randaugment: Some(RandAugment { ops: 2, magnitude: 9 }),
        ..Extras::default()
    };
    let options = LoaderOptions { extras, shuffle: true, epoch: 3, ..options(32, 24) };
    let one = run(data.clone(), 1, options);
    assert_eq!(one, run(data.clone(), 4, options));
    assert_eq!(one[2..], run(data.clone(), 2, LoaderOptions { first_batch: 2, ..options }));
    for batch in &one {
        assert_eq!((batch.other.len(), batch.shares.len()), (batch.len(), batch.len()));
        assert!(batch.shares.iter().all(|s| (0.5..=1.0).contains(s)));
    }
    let plain = run(data, 2, LoaderOptions { extras: Extras::default(), ..options });
    assert!(plain.iter().all(|b| b.other.is_empty()));
    for (plain, mixed) in plain.iter().zip(&one) {
        // The label that most of an image is of comes first, which may be the partner's.
        let next = plain.labels.iter().cycle().skip(1);
        for (pair, own) in mixed.labels.iter().zip(&mixed.other).zip(plain.labels.iter().zip(next)) {
            assert!(pair == own || pair == (own.1, own.0), "{pair:?} of {own:?}");
        }
    }
}

#[test]
fn balanced_epochs_draw_classes_alike_and_images_of_a_class_alike() {
    // 90 images of the first class, 9 of the second, 1 of the third; a fourth has none.
    let (n, size) = (100, 8);
    let mut data = Memory::new(["a", "b", "c", "d"].map(String::from).to_vec());
    for i in 0..n {
        let rgb: Vec<u8> = (0..size * size * 3).map(|p| (p * 7 + i * 13) as u8).collect();
        let label = usize::from(i >= 90) + usize::from(i >= 99);
        data.push(ImageView { height: size, width: size, rgb: &rgb }, label).unwrap();
    }
    let data: Arc<dyn Dataset> = Arc::new(data);
    let augment = Augment::preset("imagenet").unwrap();
    let options = LoaderOptions { shuffle: true, balanced: true, augment, epoch: 3, ..options(32, size) };
    let one = run(data.clone(), 1, options);
    assert_eq!(one, run(data.clone(), 4, options));
    assert_eq!(one[2..], run(data.clone(), 2, LoaderOptions { first_batch: 2, ..options }));
    assert_ne!(one, run(data.clone(), 2, LoaderOptions { epoch: 4, ..options }));
    let (mut of_class, mut of_image) = ([0; 4], vec![0; n]);
    for epoch in 0..60 {
        let batches = run(data.clone(), 2, LoaderOptions { epoch, ..options });
        assert_eq!(batches.iter().map(Batch::len).sum::<usize>(), n);
        batches.iter().flat_map(|b| &b.labels).for_each(|l| of_class[*l as usize] += 1);
        batches.iter().flat_map(|b| &b.indices).for_each(|i| of_image[*i] += 1);
    }
    // 6000 draws.
    assert!(of_class[..3].iter().all(|c| (1850..2150).contains(c)) && of_class[3] == 0, "{of_class:?}");
    assert!(of_image[..90].iter().all(|c| (5..50).contains(c)), "{of_image:?}");
    assert!(of_image[90..99].iter().all(|c| (170..280).contains(c)), "{of_image:?}");
    // What is shown again is cropped and mirrored otherwise.
    let image = |b: &Batch, i: usize| b.bytes[i * size * size * 3..(i + 1) * size * size * 3].to_vec();
    let last =
        |b: &Batch| (0..b.len()).filter(|i| b.indices[*i] == 99).map(|i| image(b, i)).collect::<Vec<_>>();
    let shown: Vec<_> = one.iter().flat_map(last).collect();
    let different = shown.iter().collect::<std::collections::HashSet<_>>().len();
    assert!(shown.len() > 20 && different > shown.len() * 3 / 4, "{different} of {}", shown.len());
}

#[test]
fn shuffling_visits_every_image_once() {
    let options = LoaderOptions { shuffle: true, ..options(7, 4) };
    let batches = run(Arc::new(Fake::new(50)), 2, options);
    let mut order: Vec<usize> = batches.into_iter().flat_map(|b| b.indices).collect();
    assert_ne!(order, (0..50).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
}

#[test]
fn buffers_are_reused_over_batches_and_epochs() {
    let data = Arc::new(Fake::new(100));
    let pool = LoaderPool::new(2, 2).unwrap();
    let mut seen = std::collections::HashSet::new();
    for epoch in 0..5 {
        let options = LoaderOptions { epoch, ..options(8, 4) };
        let mut loader = Loader::new(data.clone(), &pool, options).unwrap();
        // Two ahead and one in hand.
        assert_eq!(loader.buffer_bytes(), 3 * 8 * (48 + 4 + size_of::<usize>()));
        while let Some(batch) = loader.next() {
            let batch = batch.unwrap();
            assert_eq!(batch.bytes.capacity(), 8 * 48);
            seen.insert(batch.bytes.as_ptr() as usize);
            loader.recycle(batch);
        }
    }
    assert!(seen.len() <= 3, "{} buffers", seen.len());
}

#[test]
fn batches_are_made_ahead_but_no_further_than_agreed() {
    let data = Arc::new(Fake::new(100));
    let pool = LoaderPool::new(1, 2).unwrap();
    let loader = Loader::new(data.clone(), &pool, options(10, 4)).unwrap();
    let start = Instant::now();
    while data.reads.load(Ordering::Relaxed) < 20 && start.elapsed().as_secs() < 20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(data.reads.load(Ordering::Relaxed), 20);
    assert_eq!(loader.remaining(), 10);
}

#[test]
fn errors_and_panics_come_out_and_end_the_epoch() {
    for (broken, panics, text) in [(Some(13), None, "row 13"), (None, Some(13), "panic at 13")] {
        let data = Fake { broken, panics, ..Fake::new(40) };
        let pool = LoaderPool::new(2, 2).unwrap();
        let mut loader = Loader::new(Arc::new(data), &pool, options(5, 4)).unwrap();
        assert!(loader.next().unwrap().is_ok());
        assert!(loader.next().unwrap().is_ok());
        let error = loader.next().unwrap().unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(loader.next().is_none());
        // The pool outlives it.
        let mut loader = Loader::new(Arc::new(Fake::new(3)), &pool, options(5, 4)).unwrap();
        assert_eq!(loader.next().unwrap().unwrap().len(), 3);
    }
}

#[test]
fn dropping_a_loader_ends_its_thread_soon() {
    let data = Arc::new(Fake { delay: Duration::from_millis(2), ..Fake::new(100_000) });
    let pool = LoaderPool::new(2, 2).unwrap();
    let start = Instant::now();
    for _ in 0..3 {
        let mut loader = Loader::new(data.clone(), &pool, options(4, 4)).unwrap();
        assert!(loader.next().unwrap().is_ok());
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    // The threads gave their handles to the set back.
    assert_eq!(Arc::strong_count(&data), 1);
}

#[test]
fn impossible_options_are_errors() {
    let pool = LoaderPool::new(0, 0).unwrap();
    let start = |data: Fake, options| Loader::new(Arc::new(data), &pool, options).map(|_| ());
    assert!(start(Fake::new(3), options(0, 4)).is_err());
    assert!(start(Fake::new(3), options(1, 0)).is_err());
    assert!(start(Fake::new(3), options(1, usize::MAX)).is_err());
    assert!(start(Fake::new(0), options(1, 4)).is_err());
    let frame = Frame { size: 4, short_side: 3 };
    let error = start(Fake::new(3), LoaderOptions { frame, ..options(1, 4) }).unwrap_err().to_string();
    assert!(error.contains("data.short_side") && error.contains("at least data.size (4)"), "{error}");
    assert!(start(Fake::new(3), options(usize::MAX, 4)).is_ok());
    let pad = LoaderOptions { augment: Augment::preset("cifar").unwrap(), ..options(1, 4) };
    assert!(start(Fake::new(3), pad).is_err());
    let one_class = Fake { classes: vec!["even".into()], ..Fake::new(3) };
    let mut loader = Loader::new(Arc::new(one_class), &pool, options(2, 4)).unwrap();
    assert!(loader.next().unwrap().unwrap_err().to_string().contains("label 1 is out of range"));
}

#[test]
fn a_pool_without_threads_to_spare_still_delivers() {
    let pool = LoaderPool::new(0, 0).unwrap();
    let mut loader = Loader::new(Arc::new(Fake::new(9)), &pool, options(2, 4)).unwrap();
    let mut count = 0;
    while let Some(batch) = loader.next() {
        count += batch.unwrap().len(); // never recycled: nothing waits for it
    }
    assert_eq!(count, 9);
}
