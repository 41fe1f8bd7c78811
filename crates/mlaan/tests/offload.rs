//! Auxiliary networks in host memory: the same bits in every order that streams may work in, less memory on the device, planned to
//! the byte.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "offload/runs.rs"]
mod runs;

use mlaan::backbone::{BlockKind, Frozen, ResNet, Stem};
use mlaan::local::{
    Branch, Cascade, Head, Leap, LeapState, Learner, Method, Offload, Recompute, StepOptions, StepReport,
    Task, TaskLoss, Tie,
};
use mlaan::nn::optim::{AdamW, Lars, Rule};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::plan::{Sizes, plan};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory, Precision, Usage};
use mlaan_host_cuda::{On, shuffle_streams, tests_on};
use std::sync::{Mutex, MutexGuard, PoisonError};

const BATCH: usize = 2;
const SIDE: usize = 8;

/// The streams of a device, in the order in which they are made.
const WORK: i32 = 0;
const UP: i32 = 1;
const DOWN: i32 = 2;

/// One test at a time: the order of streams is the process's, and so are their numbers. None where tests have no driver of their own.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    (tests_on() == Some(On::Host)).then(|| ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: ImageShape::square(SIDE, 3), classes: 4, pixels }
}

/// As small as a network with every case is: kernels run on the processor here.
fn net() -> ResNet {
    ResNet::new("small", BlockKind::Basic, Stem::Cifar, &[3, 1], &[4, 8]).unwrap()
}

fn methods() -> Vec<(&'static str, Method)> {
    let head = Head::Classifier { convolutions: 1, linears: 2 };
    let local = |modules| Method { modules, hidden: 8, head, ..Method::default() };
    let cascade = |span, independent| Some(Cascade { span, independent, cascaded: 1.0 - independent });
    let leap = |tie, on| Some(Leap { tie, on, ema: 0.6, ..Leap::default() });
    // As some of the authors' lists: later blocks, a module's own and earlier ones, of which the first block learns before the
    // mirrors of the fourth module follow. Every block is a module, and so is the stem.
    let sources = Some(vec![vec![0], vec![1, 0], vec![0, 3], vec![0, 1]]);
    let across = Some(Leap { sources, ema: 0.6, ..Leap::default() });
    let twin = leap(Tie::Twin, Branch::Cascaded);
    let late = |leap: &Option<Leap>| leap.clone().map(|l| Leap { lag: 1, ..l });
    vec![
        ("dgl", local(3)),
        ("infopro", Method { reconstruct: [5.0, 0.5], task: [0.5, 1.0], ..local(2) }),
        ("mlm", Method { cascade: cascade(3, 0.3), ..local(4) }),
        ("lam, pulled", Method { leap: leap(Tie::Pulled, Branch::Independent), ..local(3) }),
        ("lam, mirrors across", Method { leap: across.clone(), cascade: cascade(2, 0.5), ..local(5) }),
        ("lam, mirrors across, lag 1", Method { leap: late(&across), cascade: cascade(2, 0.5), ..local(5) }),
        (
            "mlaan-paper",
            Method { cascade: cascade(3, 0.5), leap: leap(Tie::Pulled, Branch::Independent), ..local(4) },
        ),
        ("mlaan-released", Method { cascade: cascade(2, 0.1), leap: twin.clone(), ..local(4) }),
        (
            "mlaan-released, half-size state, lag 1",
            Method {
                cascade: cascade(2, 0.1),
                leap: late(&twin).map(|l| Leap { state: LeapState::Bf16, ..l }),
                ..local(4)
            },
        ),
        (
            "half-size state",
            Method {
                leap: Some(Leap { state: LeapState::Bf16, ema: 0.6, tie: Tie::Twin, ..Leap::default() }),
                ..local(3)
            },
        ),
        (
            "untied, every second step",
            Method {
                leap: Some(Leap { tie: Tie::Untied, every: 2, ..Leap::default() }),
                cascade: cascade(2, 0.5),
                ..local(4)
            },
        ),
        (
            "two modules, recomputed",
            Method { leap: leap(Tie::Twin, Branch::Independent), recompute: Recompute::Module, ..local(2) },
        ),
    ]
}

fn offloaded(method: &Method) -> Method {
    Method { offload: Offload::Auxiliary, ..method.clone() }
}

/// A tensor's name and bits.
type Named = (String, Vec<u32>);

/// Every value that a network holds, with its name, as bits.
fn values(learner: &mut Learner) -> Vec<Named> {
    let mut all = Vec::new();
    learner
        .visit_averaged(&mut |device, p, average| {
            let mut add = |kind: &str, t: &mlaan_engine::Tensor| {
                let bits = device.download(t).unwrap().iter().map(|v: &f32| v.to_bits()).collect();
                all.push((format!("{}.{} {kind}", p.owner, p.leaf), bits));
            };
            add("value", p.value);
            average.iter().for_each(|t| add("average", t));
            p.state().iter().flat_map(|s| s.tensors()).for_each(|(kind, t)| add(kind, t));
            p.grad().iter().for_each(|g| add("gradient", g));
            Ok(())
        })
        .unwrap();
    all
}

fn images(device: &Device, step: usize) -> mlaan_engine::Tensor {
    let pixel = |i: usize| ((i * 37 + step * 11) % 101) as f32 / 50.0 - 1.0;
    let pixels: Vec<f32> = (0..BATCH * SIDE * SIDE * 3).map(pixel).collect();
    let mut images = device.alloc([BATCH, SIDE, SIDE, 3], DType::F32, MemoryCategory::Data).unwrap();
    device.upload(&mut images, &pixels).unwrap();
    images
}

/// How a network is trained.
#[derive(Clone, Copy, Default)]
struct How<'a> {
    cuts: &'a [usize],
    shards: usize,
    /// Whether the last pass leaves its gradients, and the network is asked for its heads' answers before.
    looks: bool,
    optimizer: Optimizer,
    /// Parts of the network that do not learn.
    frozen: &'a [&'a str],
    /// Whether an EMA of the weights is kept.
    averages: bool,
}

struct Found {
    reports: Vec<StepReport>,
    values: Vec<Named>,
    usages: Vec<Usage>,
    /// Bytes that came to the devices from host memory: in a step, and while all values were looked at.
    fetched: [u64; 2],
}

impl Found {
    /// What differs from another, if anything does.
    fn differs(&self, other: &Found) -> Option<String> {
        if format!("{:?}", self.reports) != format!("{:?}", other.reports) {
            return Some("losses".into());
        }
        assert_eq!(self.values.len(), other.values.len());
        self.values.iter().zip(&other.values).find(|(a, b)| a != b).map(|(a, _)| a.0.clone())
    }
}

/// Some steps on devices that `device` opens.
fn run(device: impl Fn() -> Device, method: &Method, how: How<'_>) -> Found {
    let devices: Vec<Device> = (0..=how.cuts.len()).map(|_| device()).collect();
    let frozen: Vec<String> = how.frozen.iter().map(ToString::to_string).collect();
    let net = Frozen::new(net(), &frozen);
    let mut learner =
        Learner::in_stages((&devices, how.cuts), &net, method, task(), 3, how.optimizer).unwrap();
    learner.cut_batches(how.shards).unwrap();
    if how.averages {
        learner.keep_average(0.75).unwrap();
    }
    let fetched = || devices.iter().map(Device::fetched).sum::<u64>();
    let mut of_step = 0;
    let first = &devices[0];
    let mut labels = first.alloc([BATCH], DType::U32, MemoryCategory::Data).unwrap();
    first.upload(&mut labels, &[0u32, 3]).unwrap();
    let mut reports = Vec::new();
    for step in 0..2 {
        let options =
            StepOptions { backbone: 0.05, independent: 0.04, cascaded: 0.03, step: 1 + step as u64 };
        let before = fetched();
        reports.push(learner.step(images(first, step), &labels, &options).unwrap().clone());
        of_step = fetched() - before;
    }
    if how.looks {
        learner.infer_heads(images(first, 7), &mut |_, _, _| ()).unwrap();
        reports.push(learner.gradients(images(first, 8), &labels).unwrap().clone());
    }
    learner.idle().unwrap();
    let before = fetched();
    let values = values(&mut learner);
    let fetched = [of_step, fetched() - before];
    Found { reports, values, usages: devices.iter().map(Device::usage).collect(), fetched }
}

fn cuda() -> Device {
    Device::cuda(0).unwrap()
}

#[test]
fn every_method_learns_the_same_in_any_order_of_streams() {
    let Some(_alone) = alone() else { return };
    for (i, (name, plain)) in methods().into_iter().enumerate() {
        let mut ways = vec![(How { shards: 1, looks: true, ..How::default() }, i as u64)];
        if plain.cascade.is_some() && plain.leap.is_some() {
            ways.push((How { cuts: &[2], shards: 1, ..How::default() }, 100));
        }
        if name.starts_with("mlaan-released") {
            ways.push((How { shards: 2, ..How::default() }, 200));
        }
        for (how, seed) in ways {
            shuffle_streams(None, None).unwrap();
            let expected = run(cuda, &plain, how);
            shuffle_streams(Some(seed), None).unwrap();
            let found = run(cuda, &offloaded(&plain), how);
            assert_eq!(found.differs(&expected), None, "{name}, {:?}, {} shards", how.cuts, how.shards);
            assert_eq!(found.fetched[1], 0, "{name}: values were moved to be looked at");
            let host = |f: &Found| f.usages.iter().map(|u| u.host).sum::<usize>();
            assert!(host(&found) > 0 && host(&expected) == 0, "{name}");
        }
    }
    shuffle_streams(None, None).unwrap();
}

#[test]
fn whatever_else_a_recipe_asks_for_stays_the_same() {
    let Some(_alone) = alone() else { return };
    let head = Head::Classifier { convolutions: 0, linears: 1 };
    let leap = Some(Leap { tie: Tie::Twin, on: Branch::Independent, ema: 0.6, ..Leap::default() });
    let method = Method { modules: 3, hidden: 8, head, leap, ..Method::default() };
    let contrastive = Method { loss: TaskLoss::Contrastive, ..method.clone() };
    let usual = How { shards: 1, ..How::default() };
    let with = |optimizer| How { optimizer, ..usual };
    let rule = |rule| with(Optimizer { rule, ..Optimizer::default() });
    let adamw = Rule::AdamW(AdamW { betas: [0.9, 0.999], eps: 1e-8 });
    let lars = Rule::Lars(Lars { momentum: 0.9, nesterov: false, trust: 0.02, eps: 1e-8 });
    // Small enough that gradients are scaled.
    let clipped = Optimizer { clip_grad_norm: Some(1e-3), ..Optimizer::default() };
    // The first block learns nothing, and is mirrored by others; the second learns in part.
    let frozen = How { frozen: &["stem", "layer1.0", "layer1.1.conv1"], ..usual };
    let cases = [
        ("clip_grad_norm", &method, with(clipped)),
        ("AdamW", &method, rule(adamw)),
        ("LARS", &method, rule(lars)),
        ("freeze", &method, frozen),
        ("EMA of the weights", &method, How { averages: true, ..usual }),
        ("contrastive", &contrastive, usual),
        ("shards", &method, How { shards: 2, averages: true, optimizer: clipped, ..usual }),
    ];
    let mut found = Vec::new();
    for (seed, (name, method, how)) in cases.into_iter().enumerate() {
        shuffle_streams(None, None).unwrap();
        let expected = run(cuda, method, how);
        shuffle_streams(Some(seed as u64), None).unwrap();
        let moved = run(cuda, &offloaded(method), how);
        assert_eq!(moved.differs(&expected), None, "{name}");
        assert!(moved.usages[0].host > 0 && moved.fetched[0] > 0, "{name}");
        found.push(expected.values);
    }
    shuffle_streams(None, None).unwrap();
    // Each did what it is called.
    assert!(found.iter().enumerate().all(|(i, a)| found[..i].iter().all(|b| a != b)));
}

#[test]
fn a_step_moves_what_is_planned_and_momentum_counts_as_the_optimisers() {
    let all = methods();
    for (name, plain) in all.iter().filter(|(name, _)| ["mlaan-released", "infopro"].contains(name)) {
        let dry = || Device::dry(DeviceKind::Cuda).unwrap();
        for shards in [1, 2] {
            let moved = run(dry, &offloaded(plain), How { shards, ..How::default() });
            let on_gpu = Sizes::of_steps(BATCH, Optimizer::default(), DeviceKind::Cuda);
            let planned = plan(&net(), &offloaded(plain), task(), Sizes { shards, ..on_gpu }).unwrap();
            assert_eq!(moved.fetched[0], planned.moved() as u64, "{name}, {shards} shards");
            assert_eq!(moved.usages[0].host, planned.host(), "{name}, {shards} shards");
            let kept = run(dry, plain, How { shards, ..How::default() });
            let optimiser = |f: &Found| f.usages[0].peak_by_category[MemoryCategory::Optimiser as usize];
            let rest = backbone_state(plain);
            assert!(optimiser(&moved) > rest, "{name}: of auxiliary networks, too");
            // Of one module with auxiliary networks they are there when memory is fullest.
            assert!(optimiser(&moved) <= optimiser(&kept), "{name}");
        }
    }
}

/// Bytes of momentum of a network without auxiliary networks.
fn backbone_state(method: &Method) -> usize {
    let device = Device::dry(DeviceKind::Cuda).unwrap();
    let mut learner = Learner::new(&device, &net(), method, task(), 0, Optimizer::default()).unwrap();
    let mut bytes = 0;
    learner
        .visit(&mut |p| {
            let own = !p.name().starts_with("aux.");
            bytes += if own && p.state().is_some() { (4 * p.value.len()).next_multiple_of(64) } else { 0 };
            Ok(())
        })
        .unwrap();
    bytes
}

#[test]
fn an_offloaded_tensor_is_read_and_written_where_it_is_and_not_computed_with() {
    let Some(_alone) = alone() else { return };
    let device = cuda();
    let mut t = device.full([5], 1.0, MemoryCategory::Parameters).unwrap();
    let mut half = device.alloc([2], DType::Bf16, MemoryCategory::Optimiser).unwrap();
    device.upload_floats(&mut half, &[1.0, 2.5]).unwrap();
    let all = |t: &mut mlaan_engine::Tensor,
               half: &mut mlaan_engine::Tensor,
               f: &mut dyn FnMut(&mut mlaan_engine::Tensor) -> mlaan_engine::Result<()>| {
        f(t).and_then(|()| f(half))
    };
    let mut group = device.offload::<mlaan_engine::Error>(&mut |f| all(&mut t, &mut half, f)).unwrap();
    assert_eq!(device.download(&t).unwrap(), [1.0; 5]);
    assert_eq!(device.download(&half).unwrap(), [1.0, 2.5]);
    device.upload(&mut t, &[2.0f32; 5]).unwrap();
    device.upload_floats(&mut half, &[4.0, 8.0]).unwrap();
    let mut bytes = [0; 20];
    device.download_bytes(&t, &mut bytes).unwrap();
    assert_eq!(bytes[..4], 2.0f32.to_le_bytes());
    assert!(device.upload(&mut t, &[1.0f32; 4]).is_err(), "sizes are looked at all the same");
    assert_eq!(device.fetched(), 0);
    // On its way to the device it can be read, and what is written would be lost.
    device.prefetch(&mut group).unwrap();
    assert_eq!(device.download(&t).unwrap(), [2.0; 5]);
    let refused = device.upload(&mut t, &[3.0f32; 5]).unwrap_err().to_string();
    assert!(refused.contains("while it is being copied to the device"), "{refused}");
    device.release(&mut group);
    device.upload(&mut t, &[3.0f32; 5]).unwrap();
    device.fetch::<mlaan_engine::Error>(&mut group, &mut |f| all(&mut t, &mut half, f)).unwrap();
    device.fill(&mut half, 0.5).unwrap();
    assert_eq!(device.download(&t).unwrap(), [3.0; 5]);
    device.store::<mlaan_engine::Error>(&mut group, &mut |f| all(&mut t, &mut half, f)).unwrap();
    assert_eq!(device.download(&half).unwrap(), [0.5, 0.5]);
    // Whoever computes with it is told, and nothing is computed.
    let other = device.full([5], 7.0, MemoryCategory::Parameters).unwrap();
    let done = device.copy(&mut t, &other).and_then(|()| device.synchronize());
    let said = done.unwrap_err().to_string();
    assert!(said.contains("offloaded to host memory and was not fetched"), "{said}");
    assert!(device.add_assign(&mut t, &other).and_then(|()| device.synchronize()).is_err());
}

#[test]
fn a_missing_event_shows() {
    let Some(_alone) = alone() else { return };
    let (_, plain) = methods().into_iter().find(|(name, _)| *name == "mlaan-released").unwrap();
    let how = How { shards: 1, ..How::default() };
    shuffle_streams(None, None).unwrap();
    let expected = run(cuda, &plain, how);
    let found = |seed: u64, without: Option<(i32, i32)>| {
        shuffle_streams(Some(seed), without).unwrap();
        run(cuda, &offloaded(&plain), how).differs(&expected)
    };
    for seed in 0..3 {
        assert_eq!(found(seed, None), None, "seed {seed}");
    }
    // The copy to the device behind the work, the work behind the copy, the copy back behind the work, the work behind that.
    for without in [(UP, WORK), (WORK, UP), (DOWN, WORK), (WORK, DOWN)] {
        let shown = (0..40).any(|seed| found(seed, Some(without)).is_some());
        assert!(
            shown,
            "without the waits of stream {} for stream {} nothing went wrong",
            without.0, without.1
        );
    }
    shuffle_streams(None, None).unwrap();
}

#[test]
fn what_is_fetched_twice_is_still_stored() {
    let Some(_alone) = alone() else { return };
    let device = cuda();
    let mut t = device.full([5], 1.0, MemoryCategory::Parameters).unwrap();
    let mut group = device.offload::<mlaan_engine::Error>(&mut |f| f(&mut t)).unwrap();
    for value in [2.0, 3.0] {
        for _ in 0..2 {
            device.fetch::<mlaan_engine::Error>(&mut group, &mut |f| f(&mut t)).unwrap();
        }
        device.upload(&mut t, &[value; 5]).unwrap();
        device.store::<mlaan_engine::Error>(&mut group, &mut |f| f(&mut t)).unwrap();
        device.release(&mut group);
        device.fetch::<mlaan_engine::Error>(&mut group, &mut |f| f(&mut t)).unwrap();
        assert_eq!(device.download(&t).unwrap(), [value; 5]);
    }
}

#[test]
fn a_visit_that_shows_more_the_second_time_is_refused() {
    let Some(_alone) = alone() else { return };
    let device = cuda();
    let mut tensors =
        [1, 2].map(|n: usize| device.full([n * 1000], 1.0, MemoryCategory::Parameters).unwrap());
    let mut visits = 0;
    let refused = device.offload::<mlaan_engine::Error>(&mut |f| {
        visits += 1;
        tensors.iter_mut().take(visits).try_for_each(&mut *f)
    });
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("not of the"), "{message}");
}

#[test]
fn memory_is_planned_to_the_byte_and_less() {
    let Some(_alone) = alone() else { return };
    let some =
        |name: &str| ["lam, mirrors across", "mlaan-released", "lam, mirrors across, lag 1"].contains(&name);
    for (name, plain) in methods().into_iter().filter(|(name, _)| some(name)) {
        let how = How { shards: 1, ..How::default() };
        let dry = || Device::dry(DeviceKind::Cuda).unwrap();
        let (kept, moved) = (run(dry, &plain, how), run(dry, &offloaded(&plain), how));
        let used = run(cuda, &offloaded(&plain), how);
        let bytes = |f: &Found| (f.usages[0].footprint, f.usages[0].peak_by_category, f.usages[0].host);
        assert_eq!(bytes(&used), bytes(&moved), "{name}");
        let peak = |f: &Found| f.usages[0].peak;
        assert!(peak(&moved) < peak(&kept), "{name}: {} and {}", peak(&moved), peak(&kept));
    }
}

#[test]
fn the_processor_refuses_and_says_why() {
    let device = Device::cpu(Some(1)).unwrap();
    let build = |method: &Method| Learner::new(&device, &net(), method, task(), 0, Optimizer::default());
    for (name, method) in methods() {
        let refused = build(&offloaded(&method)).err().unwrap_or_else(|| panic!("{name}")).to_string();
        let words = ["local.offload", "in the host's already", "\"none\""];
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
    // What only infers has nothing to move.
    Learner::for_inference(&device, &net(), &offloaded(&methods()[0].1), task(), 0).unwrap();
}

#[test]
fn halves_are_the_same_too() {
    let Some(_alone) = alone() else { return };
    let (_, plain) = methods().into_iter().find(|(name, _)| *name == "mlaan-released").unwrap();
    let how = How { shards: 1, looks: true, ..How::default() };
    let device = || cuda().with_precision(Precision::Bf16);
    let expected = run(device, &plain, how);
    shuffle_streams(Some(9), None).unwrap();
    assert_eq!(run(device, &offloaded(&plain), how).differs(&expected), None);
    shuffle_streams(None, None).unwrap();
}
