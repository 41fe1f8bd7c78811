//! Whole steps: operations joined by the rule of `ops` against the chain of references.

use crate::common::check::{Expected, FORWARD, GRADIENT, check, check_threads};
use crate::common::network::{LAYERS, Network, WEIGHT, WINDOWS, step};
use crate::common::values::wide;
use mlaan_engine::ops::NormConstants;
use mlaan_engine::reference::{self, Extents, NormSums, Normalisation, Statistics};

const NETWORKS: [Network; 4] = [
    Network { images: [4, 9, 8, 3], channels: [8, 16], classes: 10 },
    Network { images: [3, 7, 11, 3], channels: [5, 17], classes: 3 },
    Network { images: [2, 12, 12, 3], channels: [33, 70], classes: 100 },
    Network { images: [9, 5, 5, 3], channels: [1, 2], classes: 2 },
];

/// A convolution with its normalisation in f64: what the forward pass leaves.
struct Layer<'a> {
    x: &'a [f64],
    extents: Extents,
    y: Vec<f64>,
    norm: Normalisation,
    batch: Statistics,
}

/// The gradients of a [`Layer`].
struct LayerGrad {
    x: Vec<f64>,
    weight: Vec<f64>,
    sums: NormSums,
}

impl<'a> Layer<'a> {
    fn forward(i: usize, network: &Network, x: &'a [f64], extents: Extents) -> Self {
        let (values, out) = (network.values(), network.shapes()[i][0]);
        let y = reference::convolve(x, extents, &wide(&values.weights[i]), out, None, WINDOWS[i]);
        let batch = reference::mean_and_variance(&y, out);
        let [weight, bias] = &values.norms[i];
        let norm = Normalisation::new(&batch, &wide(weight), &wide(bias), NormConstants::default());
        Layer { x, extents, y, norm, batch }
    }

    fn backward(&self, i: usize, network: &Network, dy: &[f64]) -> LayerGrad {
        let dz = self.norm.backward(&self.y, dy);
        let weights = wide(&network.values().weights[i]);
        let out = self.norm.scale.len();
        let grad = reference::convolve_backward(self.x, self.extents, &weights, out, &dz, WINDOWS[i]);
        LayerGrad { x: grad.x, weight: grad.weight, sums: self.norm.sums(&self.y, dy) }
    }

    fn expected(&self, name: &str, grad: &LayerGrad) -> Vec<Expected> {
        let channels = self.norm.scale.len();
        let old = Statistics { mean: vec![0.0; channels], variance: vec![1.0; channels] };
        let new = reference::running(&old, &self.batch, self.y.len() / channels, NormConstants::default());
        let gradient = |what: &str, v: &[f64]| Expected::new(&format!("{name} {what}"), v.to_vec(), GRADIENT);
        vec![
            gradient("weight", &grad.weight),
            gradient("norm weight", &grad.sums.weight),
            gradient("norm bias", &grad.sums.bias),
            Expected::sums(&format!("{name} running mean"), new.mean, FORWARD, 1),
            Expected::new(&format!("{name} running variance"), new.variance, FORWARD),
        ]
    }
}

fn expect(network: &Network) -> Vec<Expected> {
    let values = network.values();
    let ([n, h, w, _], [middle, last]) = (network.images, network.channels);
    let images = wide(&values.images);
    let stem = Layer::forward(0, network, &images, network.images);
    let a = reference::load(&stem.y, Some(&stem.norm), true);
    let body = Layer::forward(1, network, &a, [n, h, w, middle]);
    let shortcut = Layer::forward(2, network, &a, [n, h, w, middle]);
    let out = reference::add(&body.norm.apply(&body.y), Some(&shortcut.norm.apply(&shortcut.y)), true);
    let extents = [n, WINDOWS[1].output(h), WINDOWS[1].output(w), last];
    let pooled = reference::average_pool(&out, extents, 1, 1);
    let (classifier, bias) = (wide(&values.weights[3]), wide(&values.bias));
    let (flat, classes) = ([n, 1, 1, last], network.classes);
    let logits = reference::convolve(&pooled, flat, &classifier, classes, Some(&bias), WINDOWS[3]);
    let loss = reference::cross_entropy(&logits, &values.labels);

    let dlogits: Vec<f64> = loss.grad.iter().map(|g| g * f64::from(WEIGHT)).collect();
    let of_classifier =
        reference::convolve_backward(&pooled, flat, &classifier, classes, &dlogits, WINDOWS[3]);
    let dout = reference::average_pool_backward(&of_classifier.x, extents, 1, 1);
    let dsum = reference::add_backward(&dout, &out);
    let of_body = body.backward(1, network, &dsum);
    let of_shortcut = shortcut.backward(2, network, &dsum);
    let da: Vec<f64> = of_body.x.iter().zip(&of_shortcut.x).map(|(a, b)| a + b).collect();
    let dstem = reference::load_backward(&stem.y, Some(&stem.norm), true, &da);
    let of_stem = stem.backward(0, network, &dstem);

    let mut expected = vec![
        Expected::new("loss", vec![loss.value, loss.wrong as f64], FORWARD),
        Expected::new("logits", logits, FORWARD),
    ];
    let layers = [(&stem, &of_stem), (&body, &of_body), (&shortcut, &of_shortcut)];
    expected.extend(layers.iter().zip(LAYERS).flat_map(|((layer, grad), name)| layer.expected(name, grad)));
    let rest = [("images", of_stem.x), ("classifier", of_classifier.weight), ("bias", of_classifier.bias)];
    expected.extend(rest.map(|(name, values)| Expected::new(name, values, GRADIENT)));
    expected
}

#[test]
fn a_step_of_a_residual_network() {
    check(&NETWORKS, step, expect);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&NETWORKS, step);
}
