//! Pools and resizing refuse what does not fit, with a text that says what is wrong, and never panic.

use crate::common::misuse::{Bench, WINDOW, fault, plain, refused};
use mlaan_engine::ops::{Conv2dParams, Operand};
use mlaan_engine::{DType, Result, Tensor};

#[test]
fn pools_and_resizing() {
    let b = Bench::new();
    let (x, none) = (b.t([2, 5, 5, 4]), b.t([2, 0, 5, 4]));
    let (bytes, empty, x) = (b.of(DType::U8, [2, 5, 5, 4]), Operand::plain(&none), Operand::plain(&x));
    refused("stride", "max_pool", "", || b.0.max_pool(Conv2dParams { stride: 0, ..WINDOW }, &x));
    refused("kernel", "max_pool", "", || b.0.max_pool(Conv2dParams { kernel: 0, ..WINDOW }, &x));
    refused("border", "max_pool", "", || b.0.max_pool(Conv2dParams { pad: 2, ..WINDOW }, &x));
    refused("too large", "max_pool", "5x5", || b.0.max_pool(Conv2dParams { kernel: 9, ..WINDOW }, &x));
    refused("empty", "max_pool", "", || b.0.max_pool(WINDOW, &empty));
    refused("bytes", "max_pool", "U8", || b.0.max_pool(WINDOW, &Operand::plain(&bytes)));
    refused("nothing", "average_pool", "", || b.0.average_pool(&x, 0, 1));
    refused("empty", "average_pool", "", || b.0.average_pool(&empty, 1, 1));
    refused("bytes", "average_pool", "U8", || b.0.average_pool(&Operand::plain(&bytes), 1, 1));
    refused("nothing", "resize", "", || b.0.resize(&x, 1, 0));
    refused("empty", "resize", "", || b.0.resize(&empty, 1, 1));
    refused("bytes", "resize", "U8", || b.0.resize(&Operand::plain(&bytes), 1, 1));
}

#[test]
fn pools_and_resizing_backward() {
    let b = Bench::new();
    let x = b.t([2, 5, 5, 4]);
    let x = Operand::plain(&x);
    let max = |x: &Operand<'_>, dy: &Tensor, dx: &mut Tensor| b.0.max_pool_backward(WINDOW, x, dy, plain(dx));
    let average = |x: &Operand<'_>, dy: &Tensor, dx: &mut Tensor| b.0.average_pool_backward(x, dy, plain(dx));
    let resize = |x: &Operand<'_>, dy: &Tensor, dx: &mut Tensor| b.0.resize_backward(x, dy, plain(dx));
    type Backward<'a> = &'a dyn Fn(&Operand<'_>, &Tensor, &mut Tensor) -> Result<()>;
    let all: [(&str, Backward<'_>); 3] =
        [("max_pool_backward", &max), ("average_pool_backward", &average), ("resize_backward", &resize)];
    for (op, run) in all {
        let dy = b.t([2, 5, 5, 4]);
        refused("channels", op, "[2, 5, 5, 5]", || run(&x, &b.t([2, 5, 5, 5]), &mut b.t([2, 5, 5, 4])));
        refused("batch", op, "[3, 5, 5, 4]", || run(&x, &b.t([3, 5, 5, 4]), &mut b.t([2, 5, 5, 4])));
        refused("pixels", op, "[2, 0, 5, 4]", || run(&x, &b.t([2, 0, 5, 4]), &mut b.t([2, 5, 5, 4])));
        refused("bytes", op, "U8", || run(&x, &b.of(DType::U8, [2, 5, 5, 4]), &mut b.t([2, 5, 5, 4])));
        refused("dx", op, "[2, 5, 4, 4]", || run(&x, &dy, &mut b.t([2, 5, 4, 4])));
    }
    refused("pixels of a maximum", "max_pool_backward", "[2, 5, 5, 4]", || {
        max(&x, &b.t([2, 4, 5, 4]), &mut b.t([2, 5, 5, 4]))
    });
}

#[test]
fn gradients_of_another_type() {
    let b = Bench::new();
    let half = || b.of(DType::Bf16, [2, 5, 5, 4]);
    let (x, full) = (half(), b.t([2, 5, 5, 4]));
    let x = Operand::plain(&x);
    refused("dy", "max_pool_backward", "F32", || {
        b.0.max_pool_backward(WINDOW, &x, &full, plain(&mut half()))
    });
    refused("dy", "resize_backward", "F32", || b.0.resize_backward(&x, &full, plain(&mut half())));
    refused("dy", "average_pool_backward", "Bf16", || {
        b.0.average_pool_backward(&x, &half(), plain(&mut half()))
    });
    refused("dx", "average_pool_backward", "same type", || {
        b.0.average_pool_backward(&x, &full, plain(&mut b.t([2, 5, 5, 4])))
    });
    b.0.average_pool_backward(&x, &full, plain(&mut half())).unwrap();
}

#[test]
fn an_input_without_pixels_has_no_gradient() {
    let b = Bench::new();
    let (none, dy) = (b.t([2, 0, 5, 4]), b.t([2, 5, 5, 4]));
    let x = Operand::plain(&none);
    let dx = || b.t([2, 0, 5, 4]);
    let faults = [
        fault("no input", "max_pool_backward", "", || {
            b.0.max_pool_backward(WINDOW, &x, &dy, plain(&mut dx()))
        }),
        fault("no input", "average_pool_backward", "", || {
            b.0.average_pool_backward(&x, &dy, plain(&mut dx()))
        }),
        fault("no input", "resize_backward", "", || b.0.resize_backward(&x, &dy, plain(&mut dx()))),
    ];
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
