//! Batches of a set that stays on the device are those that the host makes, to the bit.

use mlaan::data::{
    Augment, Dataset, Deliver, Extras, Frame, ImageView, Loader, LoaderOptions, LoaderPool, Memory, synthetic,
};
use mlaan::data::{BatchSource, Kept};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{Device, DeviceKind};
use std::sync::Arc;

const SCALE: PixelScale = PixelScale { mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] };

/// What reaches the network: bits of images, and labels, batch by batch.
type Seen = Vec<(Vec<u32>, Vec<u32>, Vec<usize>)>;

fn seen(device: &Device, data: &Arc<dyn Dataset>, source: &BatchSource, options: LoaderOptions) -> Seen {
    let options = LoaderOptions { deliver: source.deliver(), ..options };
    let pool = LoaderPool::new(2, LoaderPool::AHEAD).unwrap();
    let mut loader = Loader::new(Arc::clone(data), &pool, options).unwrap();
    let mut seen = Vec::new();
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        assert_eq!(batch.bytes.is_empty(), options.deliver == Deliver::Draws);
        let input = source.to_device(device, Some(&batch), batch.len(), options.frame.size, SCALE).unwrap();
        let images = device.download(&input.images).unwrap().iter().map(|v| v.to_bits()).collect();
        seen.push((images, batch.labels.clone(), batch.indices.clone()));
        loader.recycle(batch);
    }
    seen
}

fn options(augment: Augment) -> LoaderOptions {
    let (shuffle, seed, epoch) = (true, 3, 5);
    LoaderOptions { augment, shuffle, seed, epoch, ..LoaderOptions::evaluation(32, Frame::usual(32)) }
}

fn both_ways(device: &Device) {
    let data: Arc<dyn Dataset> = Arc::new(synthetic::generate(1, 0, 150).unwrap());
    for name in ["cifar", "svhn", "stl10", "none"] {
        let augment = Augment::preset(name).unwrap();
        let (side, bytes) = data.whole().unwrap();
        let padding = augment.padding().unwrap();
        let kept = BatchSource::kept(device, (data.len(), side), padding, Some(bytes)).unwrap();
        let plain = options(augment);
        let rest = LoaderOptions { epoch: 6, first_batch: 2, ..plain };
        for options in [plain, rest, LoaderOptions { balanced: true, ..rest }] {
            let host = seen(device, &data, &BatchSource::Host, options);
            assert_eq!(host.len(), 5 - options.first_batch);
            assert!(seen(device, &data, &kept, options) == host, "{name} {options:?}");
        }
    }
}

#[test]
fn a_kept_set_gives_the_batches_of_the_host() {
    both_ways(&Device::cpu(Some(2)).unwrap());
    if let Some(cuda) = crate::common::cuda() {
        both_ways(&cuda);
    }
}

#[test]
fn only_what_a_device_can_make_is_kept() {
    let shapes = synthetic::generate(1, 0, 3).unwrap();
    let cifar = Augment::preset("cifar").unwrap();
    let none = Extras::default();
    let keeps = |kind, data: &dyn Dataset, augment: &Augment, size| {
        BatchSource::keeps(kind, data, (augment, &none), size)
    };
    assert!(
        keeps(DeviceKind::Cuda, &shapes, &cifar, 32) && keeps(DeviceKind::Cuda, &shapes, &Augment::None, 32)
    );
    assert!(
        !keeps(DeviceKind::Cpu { threads: None }, &shapes, &cifar, 32),
        "nothing is brought to the processor"
    );
    assert!(!keeps(DeviceKind::Cuda, &shapes, &cifar, 24), "another size");
    assert!(!keeps(DeviceKind::Cuda, &shapes, &Augment::preset("imagenet").unwrap(), 32), "resized");
    let mut mixed = Memory::new(vec!["a".into()]);
    for (height, width) in [(32, 32), (32, 31)] {
        mixed.push(ImageView { height, width, rgb: &vec![0; height * width * 3] }, 0).unwrap();
    }
    assert!(!keeps(DeviceKind::Cuda, &mixed, &cifar, 32), "sizes differ");
    for extras in [Extras { cutout: Some(8), ..none }, Extras { mixup: Some(0.2), ..none }] {
        assert!(
            !BatchSource::keeps(DeviceKind::Cuda, &shapes, (&cifar, &extras), 32),
            "{extras:?} is made on the host"
        );
    }
    const { assert!(Kept::MOST > 50_000 * 32 * 32 * 3, "CIFAR") };
}

#[test]
fn draws_of_what_only_the_host_makes_are_refused() {
    let data = Arc::new(synthetic::generate(1, 0, 3).unwrap());
    let pool = LoaderPool::new(1, 1).unwrap();
    let options = options(Augment::preset("imagenet").unwrap());
    let drawn = LoaderOptions { deliver: Deliver::Draws, ..options };
    assert!(Loader::new(data.clone(), &pool, drawn).is_err());
    let (augment, extras) = (Augment::None, Extras { random_erasing: Some(0.5), ..Extras::default() });
    assert!(Loader::new(data, &pool, LoaderOptions { augment, extras, ..drawn }).is_err());
}
