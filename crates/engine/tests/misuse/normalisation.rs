//! Normalisations and additions refuse what does not fit, with a text that says what is wrong, and never panic.

use crate::common::misuse::{Bench, refused};
use crate::common::values::Sums;
use mlaan_engine::DType;
use mlaan_engine::ops::{NormConstants, NormGrad, Operand, Outgoing};

#[test]
fn sums_of_normalisations() {
    const OP: &str = "average_pool_backward";
    let b = Bench::new();
    let (x, rows, dy) = (b.t([2, 5, 5, 4]), b.t([4, 4]), b.t([2, 1, 1, 4]));
    let x = Operand { tensor: &x, norm: Some(&rows), relu: true };
    let run = |coefficients: [usize; 2], weight: usize, bias: usize| {
        let (mut coefficients, mut weight, mut bias) = (b.t(coefficients), b.t([weight]), b.t([bias]));
        let norm =
            NormGrad { coefficients: &mut coefficients, weight: Some(&mut weight), bias: Some(&mut bias) };
        let mut grad = b.t([2, 5, 5, 4]);
        b.0.average_pool_backward(&x, &dy, Outgoing { grad: &mut grad, accumulate: false, norm: Some(norm) })
    };
    refused("coefficients", OP, "[3, 4]", || run([4, 4], 4, 4));
    refused("weight", OP, "[5]", || run([3, 4], 5, 4));
    refused("bias", OP, "[3]", || run([3, 4], 4, 3));
    run([3, 4], 4, 4).unwrap();
}

#[test]
fn normalisations() {
    let b = Bench::new();
    let constants = NormConstants::default();
    for (what, text, rows, weight, bias, mean, variance) in [
        ("rows", "[4, 4]", 5, 4, 4, 4, 4),
        ("weight", "[4, 3]", 4, 3, 4, 4, 4),
        ("bias", "[3]", 4, 4, 3, 4, 4),
        ("running mean", "[3]", 4, 4, 4, 3, 4),
        ("running variance", "[3]", 4, 4, 4, 4, 3),
    ] {
        let mut rows = b.t([4, rows]);
        let (weight, bias, mut mean, mut variance) =
            (b.t([weight]), b.t([bias]), b.t([mean]), b.t([variance]));
        refused(what, "normalise_eval", text, || {
            b.0.normalise_eval(&mut rows, &weight, &bias, (&mean, &variance), constants)
        });
        refused(what, "normalise_train", text, || {
            b.0.normalise_train(&mut rows, &weight, &bias, (&mut mean, &mut variance), 9, constants)
        });
    }
}

#[test]
fn additions() {
    let b = Bench::new();
    let (x, other, bytes) = (b.t([2, 5, 5, 4]), b.t([2, 5, 4, 4]), b.of(DType::U8, [2, 5, 5, 4]));
    let rows = b.t([4, 4]);
    let a = Operand::plain(&x);
    refused("sizes", "add", "[2, 5, 4, 4]", || b.0.add(&a, Some(&Operand::plain(&other)), true));
    refused("bytes", "add", "U8", || b.0.add(&Operand::plain(&bytes), None, true));
    let half = b.of(DType::Bf16, [2, 5, 5, 4]);
    refused("types", "add", "same type", || b.0.add(&a, Some(&Operand::plain(&half)), true));
    const OP: &str = "add_backward";
    let mut grad = b.t([2, 5, 5, 4]);
    refused("type of the result", OP, "same type", || b.0.add_backward(&mut grad, Some(&half), [None, None]));
    refused("result", OP, "[2, 5, 4, 4]", || b.0.add_backward(&mut grad, Some(&other), [None, None]));
    let mut sums = Sums::new(&b.0, 4);
    let mut run = |x: Operand<'_>| b.0.add_backward(&mut grad, None, [None, Some((&x, sums.grad()))]);
    refused("no normalisation", OP, "normalisation", || run(a));
    refused("part", OP, "[2, 5, 4, 4]", || run(Operand { tensor: &other, norm: Some(&rows), relu: false }));
    refused("rectified", OP, "rectified", || run(Operand { tensor: &x, norm: Some(&rows), relu: true }));
}
