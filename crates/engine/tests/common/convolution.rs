//! A convolution on a device and by the reference.

use super::check::{
    Expected, FORWARD, GRADIENT, Products, Results, Wanted, before, expected_outgoing, outgoing,
};
use super::random::Random;
use super::values::{Input, rounded, stored, target, tensor, wide};
use mlaan_engine::ops::{Conv2dParams, Incoming, WeightGrad, norm};
use mlaan_engine::reference;
use mlaan_engine::{Device, Precision};

/// A convolution and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub x: [usize; 4],
    pub out: usize,
    pub window: Conv2dParams,
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

    /// The precisions of input and output where `precision` is asked for: now and then one of them stays in 32 bits,
    /// as images and logits do.
    pub fn precisions(&self, precision: Precision) -> (Precision, Precision) {
        match (self.work() / self.out + self.out) % 4 {
            0 => (Precision::F32, precision),
            1 => (precision, Precision::F32),
            _ => (precision, precision),
        }
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

/// What is multiplied: the input, the weights and the gradient.
struct Factors {
    x: Vec<f64>,
    w: Vec<f64>,
    dy: Vec<f64>,
}

impl Factors {
    fn new(case: &Case, v: &Values, precision: Precision, products: Products) -> Self {
        let (of_x, of_y) = case.precisions(precision);
        if products == Products::Rounded && [of_x, of_y].contains(&Precision::Bf16) {
            return Factors::rounded(case, v);
        }
        let dy = wide(&v.dy);
        let dy = if case.norm { reference::incoming(&dy, &wide(&v.raw), &wide(&v.coefficients)) } else { dy };
        Factors { x: v.x.loaded(), w: wide(&v.w), dy }
    }

    /// Loaded in 32 bits, by fused multiply-adds as on the device since the last bit decides what becomes of values
    /// in the middle between their neighbours, and then rounded.
    fn rounded(case: &Case, v: &Values) -> Self {
        let rounded = |values: Vec<f32>| rounded(&wide(&values), Precision::Bf16);
        let incoming = |(i, dy): (usize, &f32)| {
            let [a, b, c] = [0, 1, 2].map(|r| v.coefficients[r * case.out + i % case.out]);
            if case.norm { dy.mul_add(a, v.raw[i].mul_add(b, c)) } else { *dy }
        };
        Factors {
            x: rounded(v.x.loaded_in_32_bits()),
            w: rounded(v.w.clone()),
            dy: rounded(v.dy.iter().enumerate().map(incoming).collect()),
        }
    }
}

pub fn forward(device: &Device, case: &Case) -> Results {
    let v = case.values();
    let (of_x, of_y) = case.precisions(device.precision());
    let (x, w) = (v.x.upload(&device.with_precision(of_x)), tensor(device, case.weights(), &v.w));
    let device = &device.with_precision(of_y);
    let bias = case.bias.then(|| tensor(device, [case.out], &v.bias));
    let mut rows = case.norm.then(|| target(device, [norm::ROWS, case.out]));
    let y = device.convolve(case.window, &x.operand(), &w, bias.as_ref(), rows.as_mut()).unwrap();
    assert_eq!((y.shape().dims(), y.dtype()), (&case.y()[..], of_y.dtype()));
    let mut results = vec![("y".to_string(), device.download(&y).unwrap())];
    // Weights that were packed beforehand are the same values: so is the result, to the bit.
    if let Some(packed) = device.prepack(case.window, &x.operand(), &w).unwrap() {
        let again = device.convolve(case.window, &x.operand(), &packed, bias.as_ref(), None).unwrap();
        let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let (again, y) = (device.download(&again).unwrap(), results[0].1.clone());
        assert!(bits(again) == bits(y), "{case:?}: packed weights give another result");
    }
    if let Some(rows) = rows {
        let rows = device.download(&rows).unwrap();
        let row = |r: usize| rows[r * case.out..(r + 1) * case.out].to_vec();
        results.push(("mean".into(), row(norm::MEAN)));
        results.push(("variance".into(), row(norm::INV_STD)));
    }
    results
}

pub fn expect_forward(case: &Case, precision: Precision, products: Products) -> Vec<Expected> {
    let v = case.values();
    let Factors { x, w, .. } = Factors::new(case, &v, precision, products);
    let precision = case.precisions(precision).1;
    let bias = case.bias.then(|| wide(&v.bias));
    let y = reference::convolve(&x, case.x, &w, case.out, bias.as_deref(), case.window);
    let terms = case.window_terms();
    let mut expected = vec![Expected::sums("y", y.clone(), FORWARD, terms).stored(precision)];
    if case.norm {
        let statistics = reference::mean_and_variance(&rounded(&y, precision), case.out);
        let largest = y.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let part = case.out as f64 / y.len() as f64;
        let over = |e: Expected, factor| e.over_stored(precision, largest, factor * part);
        expected.push(over(Expected::sums("mean", statistics.mean, FORWARD, terms), 1.0));
        let variance = Expected::sums("variance", statistics.variance, FORWARD, terms * terms);
        expected.push(over(variance, 4.0 * largest));
    }
    expected
}

pub fn backward(device: &Device, case: &Case) -> Results {
    let v = case.values();
    let w = tensor(device, case.weights(), &v.w);
    let (of_x, of_y) = case.precisions(device.precision());
    let (device, of_y) = (&device.with_precision(of_x), device.with_precision(of_y));
    let (dy, raw) = (stored(&of_y, case.y(), &v.dy), stored(&of_y, case.y(), &v.raw));
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

pub fn expect_backward(case: &Case, precision: Precision, products: Products) -> Vec<Expected> {
    let v = case.values();
    let Factors { x, w, dy } = Factors::new(case, &v, precision, products);
    let precision = case.precisions(precision).0;
    let mut grad = reference::convolve_backward(&x, case.x, &w, case.out, &dy, case.window);
    // What is only added up is not rounded.
    let exact = Factors::new(case, &v, precision, Products::Loaded).dy;
    (0..case.out).for_each(|c| grad.bias[c] = exact.iter().skip(c).step_by(case.out).sum());
    let k = case.window.kernel;
    let terms = case.out * k * k;
    let mut expected = case
        .dx
        .map_or(vec![], |wanted| expected_outgoing(&v.x, wanted, &v.before, &grad.x, terms, precision));
    let pixels = case.y()[..3].iter().product();
    if case.dw {
        expected.push(Expected::sums("dw", grad.weight, GRADIENT, pixels));
    }
    if case.dw && case.bias {
        expected.push(Expected::sums("dbias", grad.bias, GRADIENT, pixels));
    }
    expected
}
