//! Auxiliary networks in host memory: the same bits in every order that streams may work in, less memory on the device, planned to
//! the byte.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use mlaan::backbone::{BlockKind, ResNet, Stem};
use mlaan::local::{
    Branch, Cascade, Head, Leap, LeapState, Learner, Method, Offload, Recompute, StepOptions, StepReport,
    Task, Tie,
};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::Recipe;
use mlaan::train::{Outcome, Progress, Trainer};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory, Precision, Usage};
use mlaan_host_cuda::{On, shuffle_streams, tests_on};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::tempdir;

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
        .visit_on(&mut |device, p| {
            let mut add = |kind: &str, t: &mlaan_engine::Tensor| {
                let bits = device.download(t).unwrap().iter().map(|v: &f32| v.to_bits()).collect();
                all.push((format!("{}.{} {kind}", p.owner, p.leaf), bits));
            };
            add("value", p.value);
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
}

struct Found {
    reports: Vec<StepReport>,
    values: Vec<Named>,
    usages: Vec<Usage>,
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
    let mut learner =
        Learner::in_stages((&devices, how.cuts), &net(), method, task(), 3, Optimizer::default()).unwrap();
    learner.cut_batches(how.shards).unwrap();
    let first = &devices[0];
    let mut labels = first.alloc([BATCH], DType::U32, MemoryCategory::Data).unwrap();
    first.upload(&mut labels, &[0u32, 3]).unwrap();
    let mut reports = Vec::new();
    for step in 0..2 {
        let options =
            StepOptions { backbone: 0.05, independent: 0.04, cascaded: 0.03, step: 1 + step as u64 };
        reports.push(learner.step(images(first, step), &labels, &options).unwrap().clone());
    }
    if how.looks {
        learner.infer_heads(images(first, 7), &mut |_, _, _| ()).unwrap();
        reports.push(learner.gradients(images(first, 8), &labels).unwrap().clone());
    }
    let values = values(&mut learner);
    Found { reports, values, usages: devices.iter().map(Device::usage).collect() }
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
            let host = |f: &Found| f.usages.iter().map(|u| u.host).sum::<usize>();
            assert!(host(&found) > 0 && host(&expected) == 0, "{name}");
        }
    }
    shuffle_streams(None, None).unwrap();
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

/// The recipe of a small run.
fn recipe(keys: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let small = ["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=4"];
    r.set_all(small.iter().chain(&["data.limit=6", "data.size=8", "train.epochs=2"]).chain(keys).copied())
        .unwrap();
    r
}

fn train(recipe: &Recipe, folder: &Path, stop_after: Option<usize>) {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let is_new = !folder.join("checkpoints").exists();
    let mut trainer = Trainer::from_recipe(recipe, &cuda()).unwrap();
    let planned = trainer.plan().allocated() as u64;
    let outcome = trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    });
    // What goes on within the last epoch has no whole batch left.
    if let (Outcome::Finished(summary), true) = (outcome.unwrap(), is_new) {
        assert_eq!(summary.peak_allocated_bytes, planned);
    }
}

/// All tensors of a run's last checkpoint.
fn tensors(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("checkpoints")).unwrap().flatten().collect();
    files.retain(|f| f.path().extension().is_some_and(|e| e == "safetensors"));
    files.sort_by_key(std::fs::DirEntry::file_name);
    let read =
        |f: &std::fs::DirEntry| (f.file_name().into_string().unwrap(), std::fs::read(f.path()).unwrap());
    files.iter().map(read).collect()
}

#[test]
fn checkpoints_are_the_same_and_runs_go_on_with_and_without() {
    let Some(_alone) = alone() else { return };
    shuffle_streams(Some(5), None).unwrap();
    let [here, there, both] = [0; 3].map(|_| tempdir().unwrap());
    let (plain, moved) = (recipe(&[]), recipe(&["local.offload=auxiliary"]));
    train(&plain, here.path(), None);
    train(&moved, there.path(), None);
    assert!(!tensors(here.path()).is_empty());
    assert!(tensors(here.path()) == tensors(there.path()), "the files of checkpoints");
    // Within the second epoch from one to the other.
    train(&moved, both.path(), Some(3));
    train(&plain, both.path(), None);
    assert!(tensors(here.path()) == tensors(both.path()), "the files of checkpoints, changed midway");
    shuffle_streams(None, None).unwrap();
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
