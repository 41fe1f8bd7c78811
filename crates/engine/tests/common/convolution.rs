//! A convolution on a device and by the twin.

use super::check::{Expected, FORWARD, GRADIENT, Results, Wanted, before, expected_outgoing, outgoing};
use super::random::Random;
use super::values::{Input, target, tensor, wide};
use mlaan_engine::Device;
use mlaan_engine::ops::{Incoming, WeightGrad, Window, norm};
use mlaan_engine::scalar;

/// A convolution and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub x: [usize; 4],
    pub out: usize,
    pub window: Window,
    /// Normalise and rectify while loading.
    pub load: (bool, bool),
    pub bias: bool,
    /// Mean and variance forward; the backward of a normalisation while loading the gradient.
    pub norm: bool,
    pub dx: Option<Wanted>,
    pub dw: bool,
}

/// A case's values, the same on every call.
pub struct Values {
    pub x: Input,
    pub w: Vec<f32>,
    pub bias: Vec<f32>,
    pub dy: Vec<f32>,
    pub raw: Vec<f32>,
    pub coefficients: Vec<f32>,
    pub before: Vec<f32>,
}

impl Case {
    pub fn y(&self) -> [usize; 4] {
        [self.x[0], self.window.output(self.x[1]), self.window.output(self.x[2]), self.out]
    }

    pub fn weights(&self) -> [usize; 4] {
        [self.out, self.x[3], self.window.kernel, self.window.kernel]
    }

    /// Multiply-adds of the forward pass.
    pub fn work(&self) -> usize {
        self.y().iter().product::<usize>() * self.window_terms()
    }

    /// Products summed in one output.
    pub fn window_terms(&self) -> usize {
        self.x[3] * self.window.kernel * self.window.kernel
    }

    pub fn values(&self) -> Values {
        let mut random = Random::new(self.work() as u64 + 7 * self.window.stride as u64);
        let x = Input::random(&mut random, self.x, self.load.0, self.load.1);
        let y = self.y().iter().product();
        Values {
            w: random.floats(self.weights().iter().product()),
            bias: random.floats(self.out),
            dy: random.floats(y),
            raw: random.floats(y),
            coefficients: random.floats(3 * self.out),
            before: before(&mut random, &x),
            x,
        }
    }
}

pub fn forward(device: &Device, case: &Case) -> Results {
    let v = case.values();
    let (x, w) = (v.x.upload(device), tensor(device, case.weights(), &v.w));
    let bias = case.bias.then(|| tensor(device, [case.out], &v.bias));
    let mut rows = case.norm.then(|| target(device, [norm::ROWS, case.out]));
    let y = device.convolve(case.window, &x.operand(), &w, bias.as_ref(), rows.as_mut()).unwrap();
    assert_eq!(y.shape().dims(), case.y());
    let mut results = vec![("y".to_string(), device.download(&y).unwrap())];
    if let Some(rows) = rows {
        let rows = device.download(&rows).unwrap();
        let row = |r: usize| rows[r * case.out..(r + 1) * case.out].to_vec();
        results.push(("mean".into(), row(norm::MEAN)));
        results.push(("variance".into(), row(norm::INV_STD)));
    }
    results
}

pub fn expect_forward(case: &Case) -> Vec<Expected> {
    let v = case.values();
    let bias = case.bias.then(|| wide(&v.bias));
    let y = scalar::convolve(&v.x.loaded(), case.x, &wide(&v.w), case.out, bias.as_deref(), case.window);
    let terms = case.window_terms();
    let mut expected = vec![Expected::sums("y", y.clone(), FORWARD, terms)];
    if case.norm {
        let statistics = scalar::mean_and_variance(&y, case.out);
        expected.push(Expected::sums("mean", statistics.mean, FORWARD, terms));
        expected.push(Expected::sums("variance", statistics.variance, FORWARD, terms * terms));
    }
    expected
}

pub fn backward(device: &Device, case: &Case) -> Results {
    let v = case.values();
    let w = tensor(device, case.weights(), &v.w);
    let (dy, raw) = (tensor(device, case.y(), &v.dy), tensor(device, case.y(), &v.raw));
    let coefficients = tensor(device, [3, case.out], &v.coefficients);
    let dy = Incoming { grad: &dy, norm: case.norm.then_some((&raw, &coefficients)) };
    let (mut weight, mut bias) = (target(device, case.weights()), target(device, [case.out]));
    let dw = case.dw.then(|| WeightGrad { weight: &mut weight, bias: case.bias.then_some(&mut bias) });
    let mut results = match case.dx {
        Some(wanted) => outgoing(device, &v.x, wanted, &v.before, |x, dx| {
            device.convolve_backward(case.window, &x.operand(), &w, &dy, Some(dx), dw).unwrap();
        }),
        None => {
            let x = v.x.upload(device);
            device.convolve_backward(case.window, &x.operand(), &w, &dy, None, dw).unwrap();
            vec![]
        }
    };
    if case.dw {
        results.push(("dw".into(), device.download(&weight).unwrap()));
    }
    if case.dw && case.bias {
        results.push(("dbias".into(), device.download(&bias).unwrap()));
    }
    results
}

pub fn expect_backward(case: &Case) -> Vec<Expected> {
    let v = case.values();
    let mut dy = wide(&v.dy);
    if case.norm {
        dy = scalar::incoming(&dy, &wide(&v.raw), &wide(&v.coefficients));
    }
    let grad = scalar::convolve_backward(&v.x.loaded(), case.x, &wide(&v.w), case.out, &dy, case.window);
    let k = case.window.kernel;
    let mut expected = case
        .dx
        .map_or(vec![], |wanted| expected_outgoing(&v.x, wanted, &v.before, &grad.x, case.out * k * k));
    let pixels = case.y()[..3].iter().product();
    if case.dw {
        expected.push(Expected::sums("dw", grad.weight, GRADIENT, pixels));
    }
    if case.dw && case.bias {
        expected.push(Expected::sums("dbias", grad.bias, GRADIENT, pixels));
    }
    expected
}
