//! One training step of a small residual network on a device: every rule of how operations fit together.

use super::check::Results;
use super::random::Random;
use super::values::{Sums, labels, stored_target, target, tensor};
use mlaan_engine::ops::{
    Conv2dParams, Incoming, LossTarget, NormConstants, Operand, Outgoing, WeightGrad, norm,
};
use mlaan_engine::{Device, MemoryCategory, Precision, Tensor};

/// Images `[n, h, w, 3]`, channels of the two layers, classes.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    pub images: [usize; 4],
    pub channels: [usize; 2],
    pub classes: usize,
}

/// Factor of the loss's gradient.
pub const WEIGHT: f32 = 100.0;
/// Stem and second convolution, shortcut, classifier.
pub const WINDOWS: [Conv2dParams; 4] = [
    Conv2dParams { kernel: 3, stride: 1, pad: 1 },
    Conv2dParams { kernel: 3, stride: 2, pad: 1 },
    Conv2dParams { kernel: 1, stride: 2, pad: 0 },
    Conv2dParams { kernel: 1, stride: 1, pad: 0 },
];
pub const LAYERS: [&str; 3] = ["stem", "body", "shortcut"];

/// The values of a step, the same on every call.
pub struct Values {
    pub images: Vec<f32>,
    pub labels: Vec<usize>,
    /// Of the three convolutions and the classifier.
    pub weights: [Vec<f32>; 4],
    /// Weight and bias of the three normalisations.
    pub norms: [[Vec<f32>; 2]; 3],
    /// Of the classifier.
    pub bias: Vec<f32>,
}

impl Network {
    pub fn shapes(&self) -> [[usize; 4]; 4] {
        let [a, b] = self.channels;
        [[a, self.images[3], 3, 3], [b, a, 3, 3], [b, a, 1, 1], [self.classes, b, 1, 1]]
    }

    pub fn values(&self) -> Values {
        let mut random = Random::new(self.channels[0] as u64);
        let weights = self.shapes().map(|s| random.floats(s.iter().product()));
        let mut pair = |c| [random.floats(c), random.floats(c)];
        let norms = [pair(self.channels[0]), pair(self.channels[1]), pair(self.channels[1])];
        let labels = (0..self.images[0]).map(|i| i * 7 % self.classes).collect();
        Values {
            images: random.floats(self.images.iter().product()),
            labels,
            weights,
            norms,
            bias: random.floats(self.classes),
        }
    }
}

/// A convolution with its normalisation: parameters, running statistics, what the step keeps.
struct Layer {
    window: Conv2dParams,
    weight: Tensor,
    norm: [Tensor; 2],
    running: [Tensor; 2],
    rows: Tensor,
    sums: Sums,
    grad: Tensor,
}

impl Layer {
    fn new(device: &Device, i: usize, network: &Network, values: &Values) -> Self {
        let (shape, c) = (network.shapes()[i], network.shapes()[i][0]);
        Layer {
            window: WINDOWS[i],
            weight: tensor(device, shape, &values.weights[i]),
            norm: [0, 1].map(|k| tensor(device, [c], &values.norms[i][k])),
            running: [0.0, 1.0].map(|v| device.full([c], v, MemoryCategory::Parameters).unwrap()),
            rows: target(device, [norm::ROWS, c]),
            sums: Sums::new(device, c),
            grad: target(device, shape),
        }
    }

    fn forward(&mut self, device: &Device, x: &Operand<'_>) -> Tensor {
        let y = device.convolve(self.window, x, &self.weight, None, Some(&mut self.rows)).unwrap();
        let [mean, variance] = &mut self.running;
        let ([weight, bias], count) = (&self.norm, y.len() / y.nhwc()[3]);
        let constants = NormConstants::default();
        device.normalise_train(&mut self.rows, weight, bias, (mean, variance), count, constants).unwrap();
        y
    }

    fn operand<'a>(&'a self, y: &'a Tensor, relu: bool) -> Operand<'a> {
        Operand { tensor: y, norm: Some(&self.rows), relu }
    }

    fn backward(&mut self, device: &Device, x: &Operand<'_>, y: &Tensor, dy: &Tensor, dx: Outgoing<'_>) {
        let dy = Incoming { grad: dy, norm: Some((y, &self.sums.coefficients)) };
        let dw = WeightGrad { weight: &mut self.grad, bias: None };
        device.convolve_backward(self.window, x, &self.weight, &dy, Some(dx), Some(dw)).unwrap();
    }

    fn read(&self, device: &Device, name: &str, results: &mut Results) {
        let named = [
            ("weight", &self.grad),
            ("norm weight", &self.sums.weight),
            ("norm bias", &self.sums.bias),
            ("running mean", &self.running[0]),
            ("running variance", &self.running[1]),
        ];
        results.extend(named.map(|(what, t)| (format!("{name} {what}"), device.download(t).unwrap())));
    }
}

/// stem → normalise, rectify → body and shortcut, each normalised → add, rectify → average → classifier.
pub fn step(device: &Device, network: &Network) -> Results {
    let values = network.values();
    let images = tensor(device, network.images, &values.images);
    let [mut stem, mut body, mut shortcut] = [0, 1, 2].map(|i| Layer::new(device, i, network, &values));
    let classifier = tensor(device, network.shapes()[3], &values.weights[3]);
    let bias = tensor(device, [network.classes], &values.bias);

    let x = Operand::plain(&images);
    let stem_y = stem.forward(device, &x);
    let body_y = body.forward(device, &stem.operand(&stem_y, true));
    let shortcut_y = shortcut.forward(device, &stem.operand(&stem_y, true));
    let parts = (body.operand(&body_y, false), shortcut.operand(&shortcut_y, false));
    let out = device.add(&parts.0, Some(&parts.1), true).unwrap();
    let pooled = device.average_pool(&Operand::plain(&out), 1, 1).unwrap();
    let wide = device.with_precision(Precision::F32);
    let logits = wide.convolve(WINDOWS[3], &Operand::plain(&pooled), &classifier, Some(&bias), None).unwrap();

    let mut losses = target(device, [1, 2]);
    let mut dlogits = target(device, logits.shape());
    let classes = labels(device, &values.labels);
    let loss = LossTarget { weight: WEIGHT, grad: Some(&mut dlogits), values: &mut losses, row: 0 };
    device.cross_entropy(&logits, &classes, loss).unwrap();

    let (mut dclassifier, mut dbias) =
        (target(device, network.shapes()[3]), target(device, [network.classes]));
    let mut dpooled = target(device, pooled.shape());
    let dw = WeightGrad { weight: &mut dclassifier, bias: Some(&mut dbias) };
    let dy = Incoming { grad: &dlogits, norm: None };
    let dx = plain(&mut dpooled);
    device
        .convolve_backward(WINDOWS[3], &Operand::plain(&pooled), &classifier, &dy, Some(dx), Some(dw))
        .unwrap();
    let mut dout = stored_target(device, out.shape());
    device.average_pool_backward(&Operand::plain(&out), &dpooled, plain(&mut dout)).unwrap();

    // The sums of one part go where the other part's operand is not borrowed from.
    let (mut of_body, mut of_shortcut) =
        (Sums::new(device, network.channels[1]), Sums::new(device, network.channels[1]));
    let parts = [Some((&parts.0, of_body.grad())), Some((&parts.1, of_shortcut.grad()))];
    device.add_backward(&mut dout, Some(&out), parts).unwrap();
    (body.sums, shortcut.sums) = (of_body, of_shortcut);

    // Two consumers of the stem: the second adds to the gradient and closes the sums.
    let mut dstem = stored_target(device, stem_y.shape());
    let mut of_stem = Sums::new(device, network.channels[0]);
    let a = stem.operand(&stem_y, true);
    body.backward(device, &a, &body_y, &dout, plain(&mut dstem));
    let dx = Outgoing { grad: &mut dstem, accumulate: true, norm: Some(of_stem.grad()) };
    shortcut.backward(device, &a, &shortcut_y, &dout, dx);
    stem.sums = of_stem;
    let mut dimages = target(device, network.images);
    stem.backward(device, &x, &stem_y, &dstem, plain(&mut dimages));

    let read = |t: &Tensor| device.download(t).unwrap();
    let mut results: Results = vec![("loss".into(), read(&losses)), ("logits".into(), read(&logits))];
    for (layer, name) in [&stem, &body, &shortcut].into_iter().zip(LAYERS) {
        layer.read(device, name, &mut results);
    }
    let rest = [("images", &dimages), ("classifier", &dclassifier), ("bias", &dbias)];
    results.extend(rest.map(|(name, t)| (name.to_string(), read(t))));
    results
}

fn plain(grad: &mut Tensor) -> Outgoing<'_> {
    Outgoing { grad, accumulate: false, norm: None }
}
