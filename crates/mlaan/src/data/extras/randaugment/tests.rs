use super::*;
use crate::rng::RandomStream;

/// Made by `golden.py`, with torchvision 0.26.
const GOLDEN: &[u8] = include_bytes!("golden.bin");
const SIZES: [usize; 2] = [9, 20];
const MAGNITUDES: [usize; 2] = [9, 30];
const FILL: [u8; 3] = [120, 7, 250];

#[test]
fn every_operation_equals_torchvisions() {
    let mut rest = GOLDEN;
    let mut take = |n: usize| {
        let (image, after) = rest.split_at(n);
        rest = after;
        image
    };
    for size in SIZES {
        let original = take(size * size * 3);
        for kind in KINDS {
            for magnitude in MAGNITUDES {
                for negative in [false, true].into_iter().take(1 + usize::from(kind.is_signed())) {
                    let (mut made, expected) = (original.to_vec(), take(size * size * 3));
                    let op = Op { kind, magnitude, negative };
                    op.apply(&mut made, size, FILL);
                    let off = made.iter().zip(expected).filter(|(a, b)| a != b).count();
                    assert_eq!(off, 0, "{op:?} at {size}");
                    // Of less than 256 pixels there is nothing to equalize.
                    let idle = kind == Identity || (kind == Equalize && size < 17) || magnitude < 30;
                    let does = idle || made != original;
                    assert!(does, "{op:?} at {size} does nothing");
                }
            }
        }
    }
    assert!(rest.is_empty());
}

#[test]
fn the_weakest_forms_change_nothing() {
    let size = SIZES[0];
    let original = &GOLDEN[..size * size * 3];
    for kind in KINDS.into_iter().filter(|k| ![Solarize, AutoContrast, Equalize].contains(k)) {
        let mut made = original.to_vec();
        Op { kind, magnitude: 0, negative: kind.is_signed() }.apply(&mut made, size, FILL);
        assert_eq!(made, original, "{kind:?}");
    }
}

#[test]
fn plain_and_tiny_images_are_taken() {
    for size in [1, 2, 3] {
        for kind in KINDS {
            let mut made = vec![77; size * size * 3];
            Op { kind, magnitude: 30, negative: false }.apply(&mut made, size, [77; 3]);
            let plain = made.iter().all(|v| *v == made[0]);
            assert!(plain, "{kind:?} at {size}: {made:?}");
        }
    }
}

#[test]
fn operations_and_signs_are_drawn_alike() {
    let n = 28_000;
    let (mut kinds, mut negative, mut signed) = ([0; 14], 0, 0);
    for i in 0..n {
        let mut rng = Rng::new(1, RandomStream::RandAugment, 2, i);
        let kind = rng.below(KINDS.len());
        kinds[kind] += 1;
        if KINDS[kind].is_signed() {
            signed += 1;
            negative += rng.below(2);
        }
    }
    assert!(kinds.iter().all(|k| (1800..2200).contains(k)), "{kinds:?}");
    assert!((negative as f64 / signed as f64 - 0.5).abs() < 0.02);
}

#[test]
fn images_differ_by_seed_epoch_and_number_and_repeat() {
    let size = SIZES[1];
    let original = &GOLDEN[GOLDEN.len() / 2..][..size * size * 3];
    let augment = RandAugment { ops: 2, magnitude: 9 };
    let of = |seed, epoch, index| {
        let mut rgb = original.to_vec();
        augment.apply(&mut rgb, size, FILL, &mut Rng::new(seed, RandomStream::RandAugment, epoch, index));
        rgb
    };
    assert_eq!(of(1, 2, 3), of(1, 2, 3));
    let all: Vec<_> = (0..60).map(|i| of(1, 2, i)).collect();
    let different = all.iter().collect::<std::collections::HashSet<_>>().len();
    assert!(different > 40, "{different}");
    assert!(
        (0..20).any(|i| of(1, 3, i) != all[i as usize]) && (0..20).any(|i| of(2, 2, i) != all[i as usize])
    );
}
