//! Convolutions refuse what does not fit, with a text that says what is wrong, and never panic.

use crate::common::misuse::{Bench, WINDOW, fault, norm, plain, refused};
use crate::common::values::Sums;
use mlaan_engine::ops::{Conv2dParams, Incoming, Operand, Outgoing, WeightGrad};
use mlaan_engine::{DType, Tensor};

#[test]
fn convolutions() {
    const OP: &str = "convolve";
    let b = Bench::new();
    let (x, w) = (b.t([2, 5, 5, 4]), b.t([6, 4, 3, 3]));
    let run = |x: &Tensor, w: &Tensor, window| b.0.convolve(window, &Operand::plain(x), w, None, None);
    refused("channels", OP, "[6, 5, 3, 3]", || run(&x, &b.t([6, 5, 3, 3]), WINDOW));
    refused("kernel", OP, "[6, 4, 3, 3]", || run(&x, &w, Conv2dParams { kernel: 5, ..WINDOW }));
    refused("stride", OP, "", || run(&x, &w, Conv2dParams { stride: 0, ..WINDOW }));
    refused("no window", OP, "0x0", || run(&x, &w, Conv2dParams { kernel: 0, ..WINDOW }));
    refused("border", OP, "border of 3", || run(&x, &w, Conv2dParams { pad: 3, ..WINDOW }));
    refused("too small", OP, "2x5", || run(&b.t([2, 2, 5, 4]), &w, Conv2dParams { pad: 0, ..WINDOW }));
    refused("empty batch", OP, "", || run(&b.t([0, 5, 5, 4]), &w, WINDOW));
    refused("no pixels", OP, "", || run(&b.t([2, 0, 5, 4]), &w, WINDOW));
    refused("no channels", OP, "", || run(&b.t([2, 5, 5, 0]), &b.t([6, 0, 3, 3]), WINDOW));
    refused("no outputs", OP, "", || run(&x, &b.t([0, 4, 3, 3]), WINDOW));
    refused("bytes", OP, "U8", || run(&b.of(DType::U8, [2, 5, 5, 4]), &w, WINDOW));
    refused("weights of labels", OP, "U32", || run(&x, &b.of(DType::U32, [6, 4, 3, 3]), WINDOW));
    let bias = b.t([5]);
    refused("bias", OP, "[5]", || b.0.convolve(WINDOW, &Operand::plain(&x), &w, Some(&bias), None));
    let mut rows = b.t([4, 4]);
    refused("rows", OP, "[4, 6]", || b.0.convolve(WINDOW, &Operand::plain(&x), &w, None, Some(&mut rows)));
    let operand = Operand { tensor: &x, norm: Some(&bias), relu: true };
    refused("norm", OP, "[4, 4]", || b.0.convolve(WINDOW, &operand, &w, None, None));
}

#[test]
fn arranged_weights_of_another_convolution() {
    const OP: &str = "convolve";
    let b = Bench::new();
    let (x, w) = (b.t([2, 8, 8, 8]), b.t([6, 8, 3, 3]));
    let wide = b.t([8, 8, 3, 3]);
    refused("channels", "prepack", "[6, 5, 3, 3]", || {
        b.0.prepack(WINDOW, &Operand::plain(&x), &b.t([6, 5, 3, 3]))
    });
    let packed = |w: &Tensor| b.0.prepack(WINDOW, &Operand::plain(&x), w).unwrap().unwrap();
    let (few, many) = (packed(&w), packed(&wide));
    let run = |x: &Tensor, window, a| b.0.convolve(window, &Operand::plain(x), a, None, None);
    run(&b.t([5, 8, 8, 8]), WINDOW, &few).unwrap();
    run(&b.t([1, 8, 8, 8]), WINDOW, &many).unwrap();
    refused("kernel", OP, "", || run(&x, Conv2dParams { kernel: 5, ..WINDOW }, &many));
    refused("border", OP, "packed for", || run(&x, Conv2dParams { pad: 3, ..WINDOW }, &many));
    // As many values, but in another order.
    let one = |stride| Conv2dParams { kernel: 1, stride, pad: 0 };
    let (x1, w1) = (b.t([2, 8, 8, 64]), b.t([64, 64, 1, 1]));
    let pointwise = b.0.prepack(one(1), &Operand::plain(&x1), &w1).unwrap().unwrap();
    run(&x1, one(1), &pointwise).unwrap();
    refused("stride", OP, "stride: 1", || run(&x1, one(2), &pointwise));
    refused("input", OP, "[8, 8, 3, 3]", || run(&b.t([2, 8, 8, 4]), WINDOW, &many));
    refused("empty batch", OP, "", || run(&b.t([0, 8, 8, 8]), WINDOW, &many));
    // Small images are computed another way, with weights in another order.
    refused("size", OP, "another size", || run(&b.t([2, 2, 2, 8]), WINDOW, &many));
}

#[test]
fn types_that_do_not_go_together() {
    const OP: &str = "convolve_backward";
    let b = Bench::new();
    let half = |extents: [usize; 4]| b.of(DType::Bf16, extents);
    let (x, w, dy, raw) = (half([2, 5, 5, 4]), b.t([6, 4, 3, 3]), half([2, 5, 5, 6]), b.t([2, 5, 5, 6]));
    let (x, coefficients) = (Operand::plain(&x), b.t([3, 6]));
    let run =
        |dy: &Incoming<'_>, dx: &mut Tensor| b.0.convolve_backward(WINDOW, &x, &w, dy, Some(plain(dx)), None);
    run(&norm(&dy), &mut half([2, 5, 5, 4])).unwrap();
    run(&norm(&raw), &mut half([2, 5, 5, 4])).unwrap();
    refused("gradient of the input", OP, "same type", || run(&norm(&dy), &mut b.t([2, 5, 5, 4])));
    let incoming = Incoming { grad: &dy, norm: Some((&raw, &coefficients)) };
    refused("raw output", OP, "same type", || run(&incoming, &mut half([2, 5, 5, 4])));
    let weights = half([6, 4, 3, 3]);
    refused("weights", "convolve", "Bf16", || b.0.convolve(WINDOW, &x, &weights, None, None));
}

#[test]
fn windows_beyond_arithmetic() {
    let b = Bench::new();
    let (x, w) = (b.t([2, 5, 5, 4]), b.t([6, 4, 3, 3]));
    let x = Operand::plain(&x);
    let mut faults = vec![];
    for vast in [usize::MAX, usize::MAX / 2, 1 << 32] {
        for window in [Conv2dParams { kernel: vast, ..WINDOW }, Conv2dParams { pad: vast, ..WINDOW }] {
            let what = format!("{window:?}");
            faults.push(fault(&what, "convolve", "", || b.0.convolve(window, &x, &w, None, None)));
            faults.push(fault(&what, "max_pool", "", || b.0.max_pool(window, &x)));
        }
    }
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_stride_beyond_the_input_gives_one_window() {
    let b = Bench::new();
    let (x, w) = (b.t([2, 5, 5, 4]), b.t([6, 4, 3, 3]));
    let (x, mut dx, dy) = (Operand::plain(&x), b.t([2, 5, 5, 4]), b.t([2, 1, 1, 6]));
    let far = Conv2dParams { stride: 1000, ..WINDOW };
    assert_eq!(b.0.convolve(far, &x, &w, None, None).unwrap().nhwc(), [2, 1, 1, 6]);
    assert_eq!(b.0.max_pool(far, &x).unwrap().nhwc(), [2, 1, 1, 4]);
    b.0.convolve_backward(far, &x, &w, &norm(&dy), Some(plain(&mut dx)), None).unwrap();
    assert_eq!(b.0.download(&dx).unwrap()[..4], [6.0; 4]);
}

#[test]
fn convolutions_backward() {
    const OP: &str = "convolve_backward";
    let b = Bench::new();
    let (x, w, dy) = (b.t([2, 5, 5, 4]), b.t([6, 4, 3, 3]), b.t([2, 5, 5, 6]));
    let x = Operand::plain(&x);
    let run = |dy: &Incoming<'_>, dx: Option<Outgoing<'_>>, dw: Option<WeightGrad<'_>>| {
        b.0.convolve_backward(WINDOW, &x, &w, dy, dx, dw)
    };
    refused("gradient", OP, "[2, 5, 5, 6]", || run(&norm(&b.t([2, 5, 5, 4])), None, None));
    let (raw, wrong, coefficients) = (b.t([2, 5, 5, 6]), b.t([2, 5, 5, 4]), b.t([3, 6]));
    let four_rows = b.t([4, 6]);
    let incoming = |raw, k| Incoming { grad: &dy, norm: Some((raw, k)) };
    refused("raw", OP, "[2, 5, 5, 4]", || run(&incoming(&wrong, &coefficients), None, None));
    refused("coefficients", OP, "[3, 6]", || run(&incoming(&raw, &four_rows), None, None));
    refused("dx", OP, "[2, 5, 5, 6]", || run(&norm(&dy), Some(plain(&mut b.t([2, 5, 5, 6]))), None));
    refused("dw", OP, "[4, 6, 3, 3]", || {
        run(&norm(&dy), None, Some(WeightGrad { weight: &mut b.t([4, 6, 3, 3]), bias: None }))
    });
    refused("dbias", OP, "[4]", || {
        let (mut weight, mut bias) = (b.t([6, 4, 3, 3]), b.t([4]));
        run(&norm(&dy), None, Some(WeightGrad { weight: &mut weight, bias: Some(&mut bias) }))
    });
    refused("sums without a normalisation", OP, "normalisation", || {
        let (mut grad, mut sums) = (b.t([2, 5, 5, 4]), Sums::new(&b.0, 4));
        run(&norm(&dy), Some(Outgoing { grad: &mut grad, accumulate: false, norm: Some(sums.grad()) }), None)
    });
}
