//! Analyses against independent programs in Python: scikit-learn's logistic regression, CKA in NumPy.

use crate::common::{python, trained};
use mlaan::Device;
use mlaan::analyze::logistic::{self, Rows};
use mlaan::analyze::{Seen, Subject, cka};
use mlaan::data::BatchSource;
use mlaan::data::{Frame, Loader, LoaderOptions};
use mlaan::rng::{RandomStream, Rng};
use mlaan::train::setup;
use std::fs;
use std::path::Path;

fn write<T: Copy, const N: usize>(path: &Path, values: &[T], bytes: impl Fn(T) -> [u8; N]) {
    fs::write(path, values.iter().flat_map(|&v| bytes(v)).collect::<Vec<u8>>()).unwrap();
}

/// Pooled features as networks have them: not negative, correlated, of very different sizes, one of them dead.
fn features(n: usize, width: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut rng = Rng::new(seed, RandomStream::Synthetic, 0, 0);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for i in 0..n {
        let label = i % classes;
        let common = rng.uniform();
        for j in 0..width {
            let own = if j % classes == label { 0.5 } else { 0.0 };
            let x = 0.01 * (1 + j * j) as f64 * (3.0 * common + own + rng.uniform() - 0.7);
            values.push(if j == 4 { 0.0 } else { x.max(0.0) as f32 });
        }
        labels.push(label as u32);
    }
    (values, labels)
}

const SKLEARN: &str = r#"
import sys, numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
folder, width, c = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
read = lambda name, t: np.fromfile(f"{folder}/{name}", t)
x, y = read("train.f32", "<f4").reshape(-1, width).astype("f8"), read("train.u32", "<u4")
v, w = read("test.f32", "<f4").reshape(-1, width).astype("f8"), read("test.u32", "<u4")
scale = StandardScaler().fit(x)
x, v = scale.transform(x), scale.transform(v)
m = LogisticRegression(C=c, solver="lbfgs", tol=1e-9, max_iter=20000).fit(x, y)
p = m.predict_log_proba(x)
loss = -p[np.arange(len(y)), y].mean() + (m.coef_ ** 2).sum() / (2 * c * len(y))
print(repr(float(loss)), int((m.predict(x) != y).sum()), int((m.predict(v) != w).sum()))
"#;

#[test]
fn the_linear_classifier_is_scikit_learns() {
    let Some(python) = python::python(&["sklearn", "numpy"]) else { return };
    for (n, width, classes, c) in [(600, 12, 5, 1.0), (900, 48, 10, 0.1), (300, 8, 2, 10.0)] {
        let at = tempfile::tempdir().unwrap();
        let (train, test) = (features(n, width, classes, 1), features(400, width, classes, 2));
        for (name, (values, labels)) in [("train", &train), ("test", &test)] {
            write(&at.path().join(format!("{name}.f32")), values, f32::to_le_bytes);
            write(&at.path().join(format!("{name}.u32")), labels, u32::to_le_bytes);
        }
        let arguments = [at.path().display().to_string(), width.to_string(), c.to_string()];
        let said = python.run(SKLEARN, &arguments);
        let theirs: Vec<f64> = said.split_whitespace().map(|w| w.parse().unwrap()).collect();
        let train = Rows { width, values: &train.0, labels: &train.1 };
        let test = Rows { width, values: &test.0, labels: &test.1 };
        let fit = logistic::fit(train, classes, c);
        assert!(fit.converged);
        // Both are at the least value; theirs to its own tolerance, so never below ours by more than rounding.
        assert!((fit.loss - theirs[0]).abs() < 1e-6, "{} {}", fit.loss, theirs[0]);
        assert!(fit.loss < theirs[0] + 1e-9, "{} {}", fit.loss, theirs[0]);
        for (ours, theirs) in [(fit.wrong(train), theirs[1]), (fit.wrong(test), theirs[2])] {
            assert!((ours as f64 - theirs).abs() <= 1.0, "{ours} {theirs} of {n}, {width}, {classes}");
        }
    }
}

/// CKA by the formulas of Nguyen et al. and Song et al. as they are printed.
const NUMPY: &str = r#"
import sys, numpy as np
folder, batches, places = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
n = int(sys.argv[4])
def hsic1(k, l):
    k, l = k.copy(), l.copy()
    np.fill_diagonal(k, 0); np.fill_diagonal(l, 0)
    one = np.ones(n)
    return (np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))
def gram(who, batch, place):
    x = np.fromfile(f"{folder}/{who}-{batch}-{place}.f32", "<f4").astype("f8").reshape(n, -1)
    return x @ x.T
k = [[gram("own", b, p) for p in range(places)] for b in range(batches)]
l = [[gram("other", b, p) for p in range(places)] for b in range(batches)]
mean = lambda f: np.mean([f(b) for b in range(batches)])
for i in range(places):
    for j in range(places):
        top = mean(lambda b: hsic1(k[b][i], l[b][j]))
        below = np.sqrt(mean(lambda b: hsic1(k[b][i], k[b][i]))) * np.sqrt(mean(lambda b: hsic1(l[b][j], l[b][j])))
        print(repr(float(top / below)))
"#;

#[test]
fn cka_is_numpys() {
    let Some(python) = python::python(&["numpy"]) else { return };
    let at = tempfile::tempdir().unwrap();
    let device = Device::cpu(Some(2)).unwrap();
    let open = |name: &str, keys: &[&str]| {
        let run = trained(&at.path().join(name), keys);
        Subject::open(name, &run, &device, false).unwrap()
    };
    let mut own = open("own", &["local.modules=4"]);
    let mut other = open("other", &["local.modules=1", "local.leap=none", "local.cascade=none", "seed=9"]);
    let splits = setup::open(&own.recipe, 1).unwrap();
    let pool = setup::loader_pool(&device, splits.test.as_ref()).unwrap();
    let n = 20;
    let found = cka::cka(&mut own, &mut other, &Seen { data: &splits.test, pool: &pool, batch: n }).unwrap();

    // The same minibatches once more, with all values of both networks.
    let options = LoaderOptions { shuffle: true, ..LoaderOptions::evaluation(n, Frame::usual(32)) };
    let mut loader = Loader::new(splits.test.clone(), &pool, options).unwrap();
    let mut batches = 0;
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        for subject in [&mut own, &mut other] {
            let pixels = subject.learner.task().pixels;
            let input = BatchSource::Host.to_device(&device, Some(&batch), n, 32, pixels).unwrap();
            let (name, folder) = (subject.name.clone(), at.path());
            subject
                .learner
                .infer_seen(input.images, &mut |place, x| {
                    let path = folder.join(format!("{name}-{batches}-{place}.f32"));
                    write(&path, &device.download(x)?, f32::to_le_bytes);
                    Ok(())
                })
                .unwrap();
        }
        batches += 1;
    }
    assert_eq!((batches, found.images), (4, 80));
    let places = found.places.len();
    let folder = at.path().display().to_string();
    let arguments = [folder, batches.to_string(), places.to_string(), n.to_string()];
    let said = python.run(NUMPY, &arguments);
    let theirs: Vec<f64> = said.split_whitespace().map(|w| w.parse().unwrap()).collect();
    assert_eq!(theirs.len(), places * places);
    for (ours, theirs) in found.matrix.iter().flatten().zip(&theirs) {
        assert!((ours.unwrap() - theirs).abs() < 1e-5, "{ours:?} {theirs}");
    }
}
