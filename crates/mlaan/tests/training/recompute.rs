//! Recomputation: the same bits everywhere, fewer bytes, more operations; planned to the byte.

use mlaan::backbone::ResNet;
use mlaan::local::{Branch, Cascade, Leap, Learner, Method, Recompute, StepOptions, StepReport, Task, Tie};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::plan::{Plan, Sizes, plan};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory};

const BATCH: usize = 8;

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: ImageShape::square(16, 3), classes: 4, pixels }
}

fn options() -> StepOptions {
    StepOptions::uniform(0.05, 1)
}

fn methods() -> Vec<(&'static str, Method)> {
    let local = |modules| Method { modules, hidden: 16, ..Method::default() };
    let cascade = |span| Some(Cascade { span, independent: 0.3, cascaded: 0.7 });
    let twin = Leap { tie: Tie::Twin, on: Branch::Cascaded, ..Leap::default() };
    vec![
        ("bp", local(1)),
        ("dgl", local(4)),
        ("infopro", Method { reconstruct: [5.0, 0.5], task: [0.5, 1.0], ..local(3) }),
        ("mlm, span 3", Method { cascade: cascade(3), ..local(4) }),
        ("mlaan-released", Method { cascade: cascade(2), leap: Some(twin), ..local(5) }),
    ]
}

/// A tensor's name and bits.
type Named = (String, Vec<u32>);

/// Every value that a network holds, with its name, as bits.
fn values(learner: &mut Learner) -> Vec<Named> {
    let device = learner.device().clone();
    let mut all = Vec::new();
    learner
        .visit(&mut |p| {
            let mut add = |kind: &str, t: &mlaan_engine::Tensor| {
                let bits = device.download(t).unwrap().iter().map(|v: &f32| v.to_bits()).collect();
                all.push((format!("{}.{} {kind}", p.owner, p.leaf), bits));
            };
            add(if p.is_buffer() { "buffer" } else { "value" }, p.value);
            p.state().iter().flat_map(|s| s.tensors()).for_each(|(kind, t)| add(kind, t));
            p.grad().iter().for_each(|g| add("gradient", g));
            Ok(())
        })
        .unwrap();
    all
}

/// Three steps, then gradients: reports and values.
fn run(method: &Method) -> (Vec<StepReport>, Vec<Named>) {
    let device = Device::cpu(Some(2)).unwrap();
    let net = ResNet::cifar(20, 8).unwrap();
    let mut learner = Learner::new(&device, &net, method, task(), 3, Optimizer::default()).unwrap();
    let mut reports = Vec::new();
    for step in 0..4 {
        let pixel = |i: usize| ((i * 37 + step * 11) % 101) as f32 / 50.0 - 1.0;
        let pixels: Vec<f32> = (0..BATCH * 16 * 16 * 3).map(pixel).collect();
        let mut images = device.alloc([BATCH, 16, 16, 3], DType::F32, MemoryCategory::Data).unwrap();
        device.upload(&mut images, &pixels).unwrap();
        let mut labels = device.alloc([BATCH], DType::U32, MemoryCategory::Data).unwrap();
        device.upload(&mut labels, &[0u32, 1, 2, 3, 0, 1, 2, 3]).unwrap();
        let report = match step {
            3 => learner.gradients(images, &labels),
            _ => learner.step(images, &labels, &options()),
        };
        reports.push(report.unwrap().clone());
    }
    (reports, values(&mut learner))
}

fn planned(method: &Method, batch: usize) -> Plan {
    let precision = mlaan_engine::Precision::F32;
    let sizes = Sizes {
        batch,
        train: None,
        kept: false,
        kept_test: false,
        mixed: false,
        test: None,
        validation: None,
        data_bytes: 0,
        loading_bytes: 0,
        precision,
        optimizer: Optimizer::default(),
        shards: 1,
        model_ema: false,
        kind: DeviceKind::Cpu { threads: Some(2) },
    };
    plan(&ResNet::cifar(20, 8).unwrap(), method, task(), sizes).unwrap()
}

#[test]
fn recomputed_steps_are_the_same_to_the_bit() {
    for (name, stored) in methods() {
        let expected = run(&stored);
        assert!(expected.1.iter().any(|(n, _)| n.ends_with("running_var buffer")), "{name}");
        assert!(expected.1.iter().any(|(n, _)| n.ends_with("gradient")), "{name}");
        for segments in [None, Some(1), Some(2)] {
            let again = Method { recompute: Recompute::Module, segments, ..stored.clone() };
            let found = run(&again);
            assert_eq!(found.0, expected.0, "{name}, {segments:?} segments: losses");
            for (a, b) in found.1.iter().zip(&expected.1) {
                assert!(a == b, "{name}, {segments:?} segments: {}", b.0);
            }
            assert_eq!(found.1.len(), expected.1.len());
        }
    }
}

#[test]
fn memory_falls_and_operations_rise() {
    for (name, stored) in methods() {
        let again = Method { recompute: Recompute::Module, ..stored.clone() };
        let (a, b) = (planned(&stored, 256), planned(&again, 256));
        assert!(b.memory() < a.memory(), "{name}: {} and {}", b.memory(), a.memory());
        assert!(b.flops > a.flops, "{name}: {} and {}", b.flops, a.flops);
        let kept = |p: &Plan| p.modules.iter().map(|m| m.meter.activations).sum::<usize>();
        assert!(kept(&b) < kept(&a), "{name}");
    }
    let bp = Method { recompute: Recompute::Module, ..Method::default() };
    let (stored, again) = (planned(&Method::default(), 256), planned(&bp, 256));
    assert!(again.memory() * 10 < stored.memory() * 9, "{} of {}", again.memory(), stored.memory());
    assert!(again.flops * 3 < stored.flops * 4, "at most one more forward");
}
