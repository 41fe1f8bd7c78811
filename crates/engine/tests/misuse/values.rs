//! Copies, losses and updates refuse what does not fit, with a text that says what is wrong, and never panic.

use crate::common::misuse::{Bench, WINDOW, fault, norm, refused};
use crate::common::values::{labels, target};
use mlaan_engine::ops::{Border, Labels, LossTarget, Mixed, Operand, Padding, PixelScale, Sgd};
use mlaan_engine::{DType, Error, MemoryCategory, Result, Tensor};

#[test]
fn values() {
    let b = Bench::new();
    refused("length", "upload", "[4]", || b.0.upload(&mut b.t([4]), &[1.0f32; 3]));
    refused("type", "upload", "U32", || b.0.upload(&mut b.t([4]), &[1u32; 4]));
    refused("type", "upload", "U8", || b.0.upload(&mut b.of(DType::U8, [4]), &[1.0f32; 4]));
    refused("doubles", "upload", "64", || b.0.upload(&mut b.of(DType::F64, [4]), &[1.0f64; 4]));
    refused("labels", "download", "U32", || b.0.download(&b.of(DType::U32, [4])));
    refused("length", "download", "3", || b.0.download_into(&b.t([4]), &mut [0.0; 3]));
    refused("type", "fill", "U8", || b.0.fill(&mut b.of(DType::U8, [4]), 1.0));
    refused("sizes", "copy", "[5]", || b.0.copy(&mut b.t([4]), &b.t([5])));
    refused("rank", "copy", "[2, 2]", || b.0.copy(&mut b.t([4]), &b.t([2, 2])));
    refused("type", "copy", "U8", || b.0.copy(&mut b.of(DType::U8, [4]), &b.of(DType::U8, [4])));
    refused("sizes", "add_assign", "[5]", || b.0.add_assign(&mut b.t([4]), &b.t([5])));
    let vast = b.0.alloc([usize::MAX, 2], DType::F32, MemoryCategory::Data);
    assert!(matches!(vast, Err(Error::OutOfMemory { .. })));
}

#[test]
fn losses() {
    let b = Bench::new();
    let x = b.t([4, 1, 1, 10]);
    let classes = labels(&b.0, &[0, 1, 2, 3]);
    let run =
        |op: &str, x: &Tensor, y: &Tensor, grad: Option<&mut Tensor>, values: &mut Tensor, row: usize| {
            let target = LossTarget { weight: 1.0, grad, values, row };
            if op == "contrastive" {
                b.0.contrastive(x, y, 0.07, target)
            } else {
                b.0.cross_entropy(x, y, target)
            }
        };
    for op in ["cross_entropy", "contrastive"] {
        let mut v = target(&b.0, [3, 2]);
        refused("labels", op, "3 labels", || run(op, &x, &labels(&b.0, &[0, 1, 2]), None, &mut v, 0));
        refused("label type", op, "", || run(op, &x, &b.t([4]), None, &mut v, 0));
        refused("pixels", op, "[4, 2, 1, 10]", || run(op, &b.t([4, 2, 1, 10]), &classes, None, &mut v, 0));
        refused("empty", op, "empty", || run(op, &b.t([0, 1, 1, 10]), &labels(&b.0, &[]), None, &mut v, 0));
        refused("bytes", op, "U8", || run(op, &b.of(DType::U8, [4, 1, 1, 10]), &classes, None, &mut v, 0));
        refused("gradient", op, "[4, 1, 1, 9]", || {
            run(op, &x, &classes, Some(&mut b.t([4, 1, 1, 9])), &mut v, 0)
        });
        refused("row", op, "row 3", || run(op, &x, &classes, None, &mut v, 3));
        refused("columns", op, "[3, 1]", || run(op, &x, &classes, None, &mut b.t([3, 1]), 0));
    }
}

#[test]
fn second_labels_that_do_not_fit_are_refused() {
    let b = Bench::new();
    let (x, own) = (b.t([4, 1, 1, 10]), labels(&b.0, &[0, 1, 2, 3]));
    let run = |other: &Tensor, share: &Tensor| {
        let mut values = target(&b.0, [1, 2]);
        let into = LossTarget { weight: 1.0, grad: None, values: &mut values, row: 0 };
        b.0.cross_entropy(&x, Labels { own: &own, mixed: Some(Mixed { other, share }) }, into)
    };
    run(&own, &b.t([4])).unwrap();
    refused("labels", "cross_entropy", "3 labels", || run(&labels(&b.0, &[0, 1, 2]), &b.t([4])));
    refused("shares", "cross_entropy", "5 shares for 4", || run(&own, &b.t([5])));
    refused("share type", "cross_entropy", "U32", || run(&own, &own));
}

#[test]
fn a_label_beyond_the_classes_is_an_infinite_loss_not_a_panic() {
    let b = Bench::new();
    let (x, classes) = (b.t([2, 1, 1, 3]), labels(&b.0, &[0, 3]));
    let (mut values, mut grad) = (target(&b.0, [1, 2]), target(&b.0, [2, 1, 1, 3]));
    let into = LossTarget { weight: 1.0, grad: Some(&mut grad), values: &mut values, row: 0 };
    b.0.cross_entropy(&x, &classes, into).unwrap();
    assert_eq!(b.0.download(&values).unwrap(), [f32::INFINITY, 1.0]);
}

#[test]
fn reconstructions_and_images() {
    let b = Bench::new();
    let scale = PixelScale { mean: [0.5; 3], std: [0.2; 3] };
    let mut values = target(&b.0, [1, 2]);
    let mut run = |raw: &Tensor, images: &Tensor| {
        b.0.reconstruction(
            raw,
            images,
            scale,
            LossTarget { weight: 1.0, grad: None, values: &mut values, row: 0 },
        )
    };
    const OP: &str = "reconstruction";
    refused("sizes", OP, "[2, 4, 5, 3]", || run(&b.t([2, 4, 4, 3]), &b.t([2, 4, 5, 3])));
    refused("channels", OP, "4 channels", || run(&b.t([2, 4, 4, 4]), &b.t([2, 4, 4, 4])));
    const IMAGES: &str = "images_from_bytes";
    let from = |bytes: &Tensor, images: &mut Tensor| b.0.images_from_bytes(bytes, scale, images);
    refused("floats", IMAGES, "F32", || from(&b.t([2, 4, 4, 3]), &mut b.t([2, 4, 4, 3])));
    refused("sizes", IMAGES, "[2, 4, 5, 3]", || from(&b.of(DType::U8, [2, 4, 5, 3]), &mut b.t([2, 4, 4, 3])));
    refused("channels", IMAGES, "[2, 4, 4, 1]", || {
        from(&b.of(DType::U8, [2, 4, 4, 1]), &mut b.t([2, 4, 4, 1]))
    });
    refused("to bytes", IMAGES, "U8", || {
        from(&b.of(DType::U8, [2, 4, 4, 3]), &mut b.of(DType::U8, [2, 4, 4, 3]))
    });
}

#[test]
fn images_of_a_set() {
    let b = Bench::new();
    let scale = PixelScale { mean: [0.5; 3], std: [0.2; 3] };
    const OP: &str = "images_from_set";
    let padding = |pixels| Padding { pixels, border: Border::Reflect };
    let set = |extents| b.of(DType::U8, extents);
    let run = |set: &Tensor, draws: &Tensor, pad, images: &mut Tensor| {
        b.0.images_from_set(set, draws, padding(pad), scale, images)
    };
    let draws = |extents: [usize; 2]| b.of(DType::U32, extents);
    let images = || b.t([2, 4, 4, 3]);
    assert!(run(&set([9, 4, 4, 3]), &draws([2, 4]), 3, &mut images()).is_ok());
    refused("floats", OP, "F32", || run(&b.t([9, 4, 4, 3]), &draws([2, 4]), 3, &mut images()));
    refused("float draws", OP, "F32", || run(&set([9, 4, 4, 3]), &b.t([2, 4]), 3, &mut images()));
    refused("to bytes", OP, "U8", || run(&set([9, 4, 4, 3]), &draws([2, 4]), 3, &mut set([2, 4, 4, 3])));
    refused("sizes", OP, "[9, 4, 5, 3]", || run(&set([9, 4, 5, 3]), &draws([2, 4]), 3, &mut images()));
    refused("channels", OP, "[9, 4, 4, 1]", || {
        run(&set([9, 4, 4, 1]), &draws([2, 4]), 3, &mut b.t([2, 4, 4, 1]))
    });
    refused("no set", OP, "[0, 4, 4, 3]", || run(&set([0, 4, 4, 3]), &draws([2, 4]), 3, &mut images()));
    refused("images", OP, "[3, 4]", || run(&set([9, 4, 4, 3]), &draws([3, 4]), 3, &mut images()));
    refused("columns", OP, "[2, 3]", || run(&set([9, 4, 4, 3]), &draws([2, 3]), 3, &mut images()));
    refused("border", OP, "4 pixels", || run(&set([9, 4, 4, 3]), &draws([2, 4]), 4, &mut images()));
}

#[test]
fn updates() {
    let b = Bench::new();
    let options = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov: true };
    refused("gradient", "sgd", "[5]", || b.0.sgd(&mut b.t([4]), &b.t([5]), &mut b.t([4]), options));
    refused("velocity", "sgd", "[5]", || b.0.sgd(&mut b.t([4]), &b.t([4]), &mut b.t([5]), options));
    let bytes = || b.of(DType::U8, [4]);
    refused("bytes", "sgd", "U8", || b.0.sgd(&mut bytes(), &bytes(), &mut bytes(), options));
    refused("sizes", "ema", "[5]", || b.0.ema(&mut b.t([4]), &b.t([5]), 0.5));
    refused("bytes", "ema", "U8", || b.0.ema(&mut bytes(), &bytes(), 0.5));
}

#[test]
fn a_wrong_type_is_named() {
    let b = Bench::new();
    let scale = PixelScale { mean: [0.5; 3], std: [0.2; 3] };
    let (x, w, raw) = (b.t([2, 5, 5, 4]), b.t([6, 4, 3, 3]), b.t([2, 4, 4, 3]));
    let (x, logits, mut values) = (Operand::plain(&x), b.t([4, 1, 1, 10]), b.t([1, 2]));
    let mut loss = |run: &dyn Fn(LossTarget<'_>) -> Result<()>| {
        run(LossTarget { weight: 1.0, grad: None, values: &mut values, row: 0 })
    };
    let faults = [
        fault("bias", "convolve", "U32", || b.0.convolve(WINDOW, &x, &w, Some(&b.of(DType::U32, [6])), None)),
        fault("rows", "convolve", "U32", || {
            b.0.convolve(WINDOW, &x, &w, None, Some(&mut b.of(DType::U32, [4, 6])))
        }),
        fault("gradient", "convolve_backward", "U8", || {
            b.0.convolve_backward(WINDOW, &x, &w, &norm(&b.of(DType::U8, [2, 5, 5, 6])), None, None)
        }),
        fault("images", "reconstruction", "U8", || {
            loss(&|to| b.0.reconstruction(&raw, &b.of(DType::U8, [2, 4, 4, 3]), scale, to))
        }),
        fault("logits", "cross_entropy", "Bf16", || {
            loss(&|to| b.0.cross_entropy(&b.of(DType::Bf16, [4, 1, 1, 10]), &b.of(DType::U32, [4]), to))
        }),
        fault("values", "upload", "Bf16", || b.0.upload(&mut b.of(DType::Bf16, [4]), &[0.0f32; 4])),
        fault("types", "add_assign", "same type", || b.0.add_assign(&mut b.of(DType::Bf16, [4]), &b.t([4]))),
        fault("parameter", "sgd", "Bf16", || {
            let half = || b.of(DType::Bf16, [4]);
            let sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov: true };
            b.0.sgd(&mut half(), &half(), &mut half(), sgd)
        }),
        fault("labels", "cross_entropy", "F32", || loss(&|to| b.0.cross_entropy(&logits, &b.t([4]), to))),
    ];
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
