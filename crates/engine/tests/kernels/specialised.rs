//! The kernels that are made for one shape each, on a CUDA device against the reference: every way of cutting the work.

use crate::common::check::{Wanted, check_again, check_products};
use crate::common::convolution::{Case, backward, expect_backward, expect_forward, forward};
use crate::common::cuda::device;
use mlaan_engine::Device;
use mlaan_engine::ops::Conv2dParams;
use mlaan_host_cuda::with_new_kernels;

/// Everything at once, at a given shape.
fn full(x: [usize; 4], out: usize, window: (usize, usize, usize)) -> Case {
    let (kernel, stride, pad) = window;
    let dx = Some(Wanted { accumulate: false, sums: true });
    let window = Conv2dParams { kernel, stride, pad };
    Case { x, out, window, load: (true, true), bias: true, norm: true, dx, dw: true }
}

/// The same as a residual network has it: plain input, no bias, a gradient that is added to.
fn bare(case: Case) -> Case {
    let dx = Some(Wanted { accumulate: true, sums: false });
    Case { load: (false, true), bias: false, norm: false, dx, ..case }
}

fn cases() -> Vec<Case> {
    vec![
        // One region of all channels, several tiles of an image, several pieces of a block.
        full([3, 32, 32, 16], 16, (3, 1, 1)),
        // Several images a tile, the last of them not there; channels in chunks.
        full([5, 8, 8, 64], 64, (3, 1, 1)),
        bare(full([5, 8, 8, 64], 64, (3, 1, 1))),
        // The stride's classes of results from one region, and (for want of room) each from its own.
        full([2, 16, 16, 16], 32, (3, 2, 1)),
        bare(full([2, 9, 10, 96], 72, (3, 2, 1))),
        // Windows of one tap: with gaps, and wide.
        bare(full([2, 16, 16, 16], 32, (1, 2, 0))),
        full([3, 5, 7, 70], 130, (1, 1, 0)),
        full([2, 12, 11, 136], 136, (1, 1, 0)),
        // Images as they come, and a window of many taps.
        full([1, 33, 31, 3], 12, (7, 2, 3)),
        // A linear layer.
        full([5, 1, 1, 70], 10, (1, 1, 0)),
        // Nothing is a multiple of anything.
        full([5, 7, 7, 9], 33, (3, 1, 1)),
        // Too large a window: the proved kernels do it.
        full([1, 9, 9, 4], 4, (13, 1, 6)),
    ]
}

#[test]
fn forward_of_every_way() {
    if with_new_kernels("specialised::forward_of_every_way") {
        check_products(&cases(), forward, expect_forward);
    }
}

#[test]
fn backward_of_every_way() {
    if with_new_kernels("specialised::backward_of_every_way") {
        check_products(&cases(), backward, expect_backward);
    }
}

#[test]
fn two_runs_give_the_same_bits() {
    if with_new_kernels("specialised::two_runs_give_the_same_bits") {
        check_again(&cases()[..4], forward);
        check_again(&cases()[..4], backward);
    }
}

#[test]
fn a_device_names_its_kernels() {
    let named = |device: &Device| [device.kernels(), device.profiled().kernels()];
    assert_eq!(named(&Device::cpu(Some(1)).unwrap()), [None; 2]);
    let chosen = std::env::var("MLAAN_CUDA_KERNELS").unwrap_or("proved".into());
    if let Some(device) = device() {
        assert_eq!(named(&device), [Some(chosen.as_str()); 2]);
    }
    if with_new_kernels("specialised::a_device_names_its_kernels") {
        assert_eq!(chosen, "new");
    }
}
