//! Accumulating finishes the total: the rectifier of the operand and the sums of its normalisation apply to
//! what is added and to what was there.

use crate::common::check::{Expected, Results, Wanted, check_stored, expected_outgoing, outgoing};
use crate::common::random::Random;
use crate::common::values::{Input, stored, tensor, wide};
use mlaan_engine::ops::{Conv2dParams, Incoming};
use mlaan_engine::reference;
use mlaan_engine::{Device, Precision};

const EXTENTS: [usize; 4] = [3, 6, 7, 10];
const OUT: usize = 5;
const WINDOW: Conv2dParams = Conv2dParams { kernel: 3, stride: 2, pad: 1 };
const WANTED: Wanted = Wanted { accumulate: true, sums: true };

#[derive(Clone, Copy, Debug)]
enum Reader {
    Convolution,
    Maximum,
    Average,
    Resize,
}

const READERS: [Reader; 4] = [Reader::Convolution, Reader::Maximum, Reader::Average, Reader::Resize];

/// Operand, weights, gradient of the result `[3, 3, 4, ..]`, what is there before.
fn values(reader: &Reader) -> (Input, Vec<f32>, [usize; 4], Vec<f32>, Vec<f32>) {
    let mut random = Random::new(51);
    let x = Input::random(&mut random, EXTENTS, true, true);
    let y = [3, 3, 4, if matches!(reader, Reader::Convolution) { OUT } else { EXTENTS[3] }];
    let (w, dy) = (random.floats(OUT * EXTENTS[3] * 9), random.floats(y.iter().product()));
    let before = random.floats(x.raw.len());
    (x, w, y, dy, before)
}

fn run(device: &Device, reader: &Reader) -> Results {
    let (x, w, y, dy, before) = values(reader);
    let average = matches!(reader, Reader::Average);
    let dy = if average { tensor(device, y, &dy) } else { stored(device, y, &dy) };
    let w = tensor(device, [OUT, EXTENTS[3], 3, 3], &w);
    let incoming = Incoming { grad: &dy, norm: None };
    outgoing(device, &x, WANTED, &before, |x, dx| {
        let x = x.operand();
        let done = match reader {
            Reader::Convolution => device.convolve_backward(WINDOW, &x, &w, &incoming, Some(dx), None),
            Reader::Maximum => device.max_pool_backward(WINDOW, &x, &dy, dx),
            Reader::Average => device.average_pool_backward(&x, &dy, dx),
            Reader::Resize => device.resize_backward(&x, &dy, dx),
        };
        done.unwrap();
    })
}

fn expect(reader: &Reader, precision: Precision) -> Vec<Expected> {
    let (x, w, y, dy, before) = values(reader);
    let (loaded, dy) = (x.loaded(), wide(&dy));
    let dx = match reader {
        Reader::Convolution => reference::convolve_backward(&loaded, EXTENTS, &wide(&w), OUT, &dy, WINDOW).x,
        Reader::Maximum => {
            reference::max_pool_backward(&reference::max_pool(&loaded, EXTENTS, WINDOW), &dy, loaded.len())
        }
        Reader::Average => reference::average_pool_backward(&dy, EXTENTS, y[1], y[2]),
        Reader::Resize => reference::resize_backward(&dy, EXTENTS, y[1], y[2]),
    };
    let kept: Vec<f32> = before.iter().zip(&loaded).map(|(b, x)| if *x > 0.0 { *b } else { 0.0 }).collect();
    expected_outgoing(&x, WANTED, &kept, &dx, 9, precision)
}

#[test]
fn the_total_is_rectified_and_summed() {
    check_stored(&READERS, run, expect);
}
