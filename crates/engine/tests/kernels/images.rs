//! Images from bytes on every device against the reference.

use crate::common::check::{Expected, FORWARD, Results, check, check_again, check_threads, devices};
use crate::common::random::Random;
use crate::common::values::target;
use mlaan_engine::ops::{Border, Padding, PixelScale, draw};
use mlaan_engine::reference;
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};

const SCALE: PixelScale = PixelScale { mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] };

fn bytes(extents: [usize; 4]) -> Vec<u8> {
    let mut random = Random::new(5);
    let n = extents.iter().product::<usize>();
    // Every byte where there is room.
    (0..n).map(|i| if n > 1000 { (i / 3 % 256) as u8 } else { random.next() as u8 }).collect()
}

fn images(device: &Device, &extents: &[usize; 4]) -> Results {
    let mut source = device.alloc(extents, DType::U8, MemoryCategory::Data).unwrap();
    device.upload(&mut source, &bytes(extents)).unwrap();
    let mut images = target(device, extents);
    device.images_from_bytes(&source, SCALE, &mut images).unwrap();
    vec![("images".into(), device.download(&images).unwrap())]
}

fn expect_images(&extents: &[usize; 4]) -> Vec<Expected> {
    vec![Expected::new("images", reference::images_from_bytes(&bytes(extents), SCALE), FORWARD)]
}

const IMAGES: [[usize; 4]; 6] =
    [[1, 1, 1, 3], [1, 2, 1, 3], [3, 5, 7, 3], [9, 33, 31, 3], [2, 32, 32, 3], [1, 16, 16, 3]];

#[test]
fn images_of_bytes() {
    check(&IMAGES, images, expect_images);
}

/// Parts of the images of a set.
#[derive(Clone, Copy, Debug)]
struct Case {
    set: [usize; 4],
    images: usize,
    padding: Padding,
}

fn cases() -> Vec<Case> {
    let mut random = Random::new(31);
    let mut any = || {
        let (h, w) = (1 + random.below(40), 1 + random.below(40));
        let pixels = random.below(h.min(w));
        let border = random.pick(&[Border::Reflect, Border::Zero]);
        let (set, images) = ([1 + random.below(9), h, w, 3], 1 + random.below(12));
        Case { set, images, padding: Padding { pixels, border } }
    };
    let mut cases: Vec<Case> = (0..60).map(|_| any()).collect();
    let padding = |pixels, border| Padding { pixels, border };
    for set in [[1, 1, 1, 3], [50, 32, 32, 3], [3, 33, 31, 3]] {
        cases.push(Case { set, images: 7, padding: Padding::NONE });
    }
    cases.push(Case { set: [50, 32, 32, 3], images: 65, padding: padding(4, Border::Reflect) });
    cases.push(Case { set: [2, 96, 95, 3], images: 5, padding: padding(94, Border::Reflect) });
    cases
}

/// Every corner of the padded image and both directions first, then any.
fn draws(case: &Case) -> Vec<[u32; draw::COLUMNS]> {
    let (mut random, most) = (Random::new(case.images as u64), 2 * case.padding.pixels);
    let draw = |i: usize| {
        let shift = |bit: usize, random: &mut Random| {
            if i < 8 { (i >> bit & 1) * most } else { random.below(most + 1) }
        };
        let place = [shift(0, &mut random), shift(1, &mut random)];
        [random.below(case.set[0]), place[0], place[1], i >> 2 & 1].map(|v| v as u32)
    };
    (0..case.images).map(draw).collect()
}

fn uploaded(device: &Device, case: &Case, draws: &[[u32; draw::COLUMNS]]) -> (Tensor, Tensor) {
    let mut set = device.alloc(case.set, DType::U8, MemoryCategory::Data).unwrap();
    device.upload(&mut set, &bytes(case.set)).unwrap();
    let mut places = device.alloc([draws.len(), draw::COLUMNS], DType::U32, MemoryCategory::Data).unwrap();
    device.upload(&mut places, draws.as_flattened()).unwrap();
    (set, places)
}

fn parts(device: &Device, case: &Case) -> Results {
    let (set, places) = uploaded(device, case, &draws(case));
    let [_, h, w, c] = case.set;
    let mut images = target(device, [case.images, h, w, c]);
    device.images_from_set(&set, &places, case.padding, SCALE, &mut images).unwrap();
    vec![("images".into(), device.download(&images).unwrap())]
}

fn expect_parts(case: &Case) -> Vec<Expected> {
    let images = reference::images_from_set(&bytes(case.set), case.set, &draws(case), case.padding, SCALE);
    vec![Expected::new("images", images, FORWARD)]
}

#[test]
fn parts_of_a_set() {
    check(&cases(), parts, expect_parts);
}

/// Bytes have 256 values: whatever way they take, on whatever device, the same bits come of them.
#[test]
fn every_byte_becomes_the_same_bits_everywhere() {
    let every: Vec<u8> = (0..=255).flat_map(|b| [b; 3]).collect();
    let whole = Case { set: [1, 16, 16, 3], images: 1, padding: Padding::NONE };
    let both = |device: &Device| {
        let (mut set, places) = uploaded(device, &whole, &[[0; 4]]);
        device.upload(&mut set, &every).unwrap();
        let [mut plain, mut part] = [0, 1].map(|_| target(device, whole.set));
        device.images_from_bytes(&set, SCALE, &mut plain).unwrap();
        device.images_from_set(&set, &places, Padding::NONE, SCALE, &mut part).unwrap();
        [plain, part].map(|t| device.download(&t).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>())
    };
    let devices = devices();
    let expected = both(&devices[0].1)[0].clone();
    for (name, device) in &devices {
        for (way, bits) in ["bytes", "set"].iter().zip(both(device)) {
            assert!(bits == expected, "{name:?}: images from {way}");
        }
    }
}

/// The library checks draws before they go up; a device must not read outside of the set whatever they are.
#[test]
fn draws_beyond_the_set_count_as_the_last() {
    let case = Case { set: [3, 5, 4, 3], images: 2, padding: Padding { pixels: 2, border: Border::Reflect } };
    let wild = [[u32::MAX, u32::MAX, 0, 7], [3, 0, 5, 0]];
    let tame = [[2, 4, 0, 1], [2, 0, 4, 0]];
    let expected = reference::images_from_set(&bytes(case.set), case.set, &tame, case.padding, SCALE);
    let run = |device: &Device, case: &Case| {
        let (set, places) = uploaded(device, case, &wild);
        let mut images = target(device, [2, 5, 4, 3]);
        device.images_from_set(&set, &places, case.padding, SCALE, &mut images).unwrap();
        vec![("images".into(), device.download(&images).unwrap())]
    };
    check(&[case], run, |_| vec![Expected::new("images", expected.clone(), FORWARD)]);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&IMAGES, images);
    check_threads(&cases(), parts);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    check_again(&cases(), parts);
}
