//! Stages side by side learn what one stage learns, to the bit; what ends one ends all.
#![allow(clippy::unwrap_used, clippy::panic)]

use mlaan::Error;
use mlaan::backbone::ResNet;
use mlaan::data::Classes;
use mlaan::local::{
    Branch, Cascade, Leap, LeapInit, LeapShare, LeapState, Learner, Method, Recompute, StageInput,
    StepOptions, StepReport, Task, Tie, ToDevice,
};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, MemoryCategory, Precision};
use std::sync::Arc;

const BATCH: usize = 4;
const SIDE: usize = 8;
const STEPS: usize = 4;

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: ImageShape::square(SIDE, 3), classes: 4, pixels }
}

fn options() -> StepOptions {
    options_of(1)
}

fn options_of(step: u64) -> StepOptions {
    StepOptions { backbone: 0.05, independent: 0.04, cascaded: 0.03, step }
}

fn methods() -> Vec<(&'static str, Method)> {
    let local = |modules| Method { modules, hidden: 8, ..Method::default() };
    let cascade = |span, independent| Some(Cascade { span, independent, cascaded: 1.0 - independent });
    let leap = |tie, on| Some(Leap { tie, on, ..Leap::default() });
    // As some of the authors' lists: later blocks, earlier ones and a module's own.
    let sources = Some(vec![vec![1, 0], vec![0, 2, 4], vec![3, 4], vec![3]]);
    let across = Some(Leap { sources, ..Leap::default() });
    let shared = |leap: Leap| Leap { share: LeapShare::Stage, ..leap };
    let late = |leap: Option<Leap>, lag| leap.map(|l| Leap { lag, ema: 0.5, ..l });
    let released = leap(Tie::Twin, Branch::Cascaded);
    let paper = leap(Tie::Pulled, Branch::Independent);
    vec![
        ("dgl", local(5)),
        ("infopro", Method { reconstruct: [5.0, 0.5], task: [0.5, 1.0], ..local(4) }),
        ("mlm, span 2", Method { cascade: cascade(2, 0.3), ..local(7) }),
        ("mlm, span 3", Method { cascade: cascade(3, 0.001), ..local(7) }),
        ("lam, pulled", Method { leap: paper.clone(), ..local(4) }),
        ("lam, twin", Method { leap: leap(Tie::Twin, Branch::Independent), ..local(4) }),
        ("lam, mirrors across", Method { leap: across.clone(), cascade: cascade(2, 0.5), ..local(5) }),
        ("mlaan-paper", Method { cascade: cascade(3, 0.5), leap: paper.clone(), ..local(5) }),
        ("mlaan-released", Method { cascade: cascade(2, 0.001), leap: released.clone(), ..local(5) }),
        ("lam, pulled, lag 1", Method { leap: late(paper.clone(), 1), ..local(4) }),
        (
            "lam, mirrors across, lag 2",
            Method { leap: late(across, 2), cascade: cascade(2, 0.5), ..local(5) },
        ),
        (
            "half-size state of mirrors",
            Method {
                leap: Some(Leap { tie: Tie::Twin, state: LeapState::Bf16, ema: 0.9, ..Leap::default() }),
                ..local(5)
            },
        ),
        (
            "half-size state of mirrors, lag 2",
            Method {
                leap: Some(Leap {
                    tie: Tie::Twin,
                    state: LeapState::Bf16,
                    ema: 0.9,
                    lag: 2,
                    ..Leap::default()
                }),
                ..local(5)
            },
        ),
        (
            "mlaan-released, lag 1",
            Method { cascade: cascade(2, 0.001), leap: late(released.clone(), 1), ..local(7) },
        ),
        ("mlaan-released, lag 3", Method { cascade: cascade(2, 0.001), leap: late(released, 3), ..local(7) }),
        (
            "a shared chain",
            Method {
                cascade: cascade(2, 0.001),
                leap: leap(Tie::Twin, Branch::Cascaded).map(shared),
                ..local(7)
            },
        ),
        ("a shared chain, lag 1", Method { leap: late(paper.map(shared), 1), ..local(7) }),
        (
            "untied, narrow, every second step",
            Method {
                leap: Some(Leap {
                    tie: Tie::Untied,
                    init: LeapInit::Random,
                    width: 0.5,
                    every: 2,
                    ..Leap::default()
                }),
                ..local(7)
            },
        ),
        ("recomputed", Method { cascade: cascade(3, 0.5), recompute: Recompute::Module, ..local(7) }),
    ]
}

/// A batch that a stage brings to its device, as a run does it.
struct Batch {
    number: usize,
    mixed: bool,
    /// The stage that is to fail in this batch.
    fails: Option<(usize, Fault)>,
}

#[derive(Clone, Copy)]
enum Fault {
    Memory,
    Panic,
}

impl Batch {
    fn images(&self, device: &Device) -> mlaan::Result<mlaan_engine::Tensor> {
        let pixel = |i: usize| ((i * 37 + self.number * 11) % 101) as f32 / 50.0 - 1.0;
        let pixels: Vec<f32> = (0..BATCH * SIDE * SIDE * 3).map(pixel).collect();
        let mut images = device.alloc([BATCH, SIDE, SIDE, 3], DType::F32, MemoryCategory::Data)?;
        device.upload(&mut images, &pixels)?;
        Ok(images)
    }

    fn classes(&self, device: &Device) -> mlaan::Result<Classes> {
        let label = |i: usize| ((i + self.number) % 4) as u32;
        let labels = |from: usize| -> mlaan::Result<_> {
            let mut tensor = device.alloc([BATCH], DType::U32, MemoryCategory::Data)?;
            device.upload(&mut tensor, &(from..from + BATCH).map(label).collect::<Vec<_>>())?;
            Ok(tensor)
        };
        let mixed = match self.mixed {
            true => Some((labels(1)?, device.full([BATCH], 0.75, MemoryCategory::Data)?)),
            false => None,
        };
        Ok(Classes { own: labels(0)?, mixed })
    }
}

impl ToDevice for Batch {
    fn to_device(&self, stage: usize, device: &Device, images: bool) -> mlaan::Result<StageInput> {
        match self.fails.filter(|f| f.0 == stage) {
            Some((_, Fault::Memory)) => {
                let wrong =
                    mlaan_engine::Error::OutOfMemory { device: "this one".into(), requested: 8, in_use: 0 };
                return Err(wrong.into());
            }
            Some((_, Fault::Panic)) => panic!("a fault of the test"),
            None => {}
        }
        let images = if images { Some(self.images(device)?) } else { None };
        Ok(StageInput { images, targets: Box::new(self.classes(device)?) })
    }
}

/// A learner in stages that end before the modules `cuts`.
fn learner(method: &Method, cuts: &[usize], precision: Precision) -> Learner {
    let device = || Device::cpu(Some(1)).unwrap().with_precision(precision);
    let devices: Vec<Device> = (0..=cuts.len()).map(|_| device()).collect();
    let net = ResNet::cifar(14, 4).unwrap();
    Learner::in_stages((&devices, cuts), &net, method, task(), 3, Optimizer::default()).unwrap()
}

/// Every value that a network holds, with its name, as bits.
fn values(learner: &mut Learner) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    learner
        .visit_on(&mut |device, p| {
            let mut add = |kind: &str, t: &mlaan_engine::Tensor| {
                let bits = device.download(t).unwrap().iter().map(|v: &f32| v.to_bits()).collect();
                all.push((format!("{} {kind}", p.name()), bits));
            };
            add("value", p.value);
            p.grad().iter().for_each(|g| add("gradient", g));
            p.state().into_iter().flat_map(|s| s.tensors()).for_each(|(kind, t)| add(kind, t));
            Ok(())
        })
        .unwrap();
    all
}

/// Steps whose losses are read at the end, then gradients: reports and values.
fn run(mut learner: Learner, mixed: bool) -> (Vec<StepReport>, Vec<(String, Vec<u32>)>) {
    let mut reports = Vec::new();
    for number in 0..STEPS {
        let options = options_of(number as u64 + 1);
        learner.step_from(Arc::new(Batch { number, mixed, fails: None }), &options).unwrap();
        reports.extend_from_slice(learner.finished().unwrap());
    }
    reports.extend_from_slice(learner.reports().unwrap());
    let device = learner.device().clone();
    // A step that is waited for, and gradients.
    let batch = |number| Batch { number, mixed, fails: None };
    let (images, labels) = (batch(8).images(&device).unwrap(), batch(8).classes(&device).unwrap());
    reports.push(learner.step(images, &labels, &options_of(STEPS as u64 + 1)).unwrap().clone());
    let (images, labels) = (batch(9).images(&device).unwrap(), batch(9).classes(&device).unwrap());
    reports.push(learner.gradients(images, &labels).unwrap().clone());
    (reports, values(&mut learner))
}

/// Where stages may end: not between modules that share a chain.
fn cuts_of(method: &Method) -> [Vec<usize>; 4] {
    let n = method.modules;
    match shares(method) {
        // Seven modules of three stages of two blocks, the stem in the first.
        true => [vec![3], vec![5], vec![6], vec![3, 5]],
        false => [vec![1], vec![n / 2], vec![n - 1], vec![n / 3, n - 2]],
    }
}

fn shares(method: &Method) -> bool {
    method.leap.as_ref().is_some_and(|leap| leap.share == LeapShare::Stage)
}

fn compare(name: &str, method: &Method, precision: Precision, mixed: bool) {
    let expected = run(learner(method, &[], precision), mixed);
    assert_eq!(expected.0.len(), STEPS + 2);
    assert!(expected.1.iter().any(|(n, _)| n.ends_with("gradient")), "{name}");
    for cuts in cuts_of(method) {
        let found = run(learner(method, &cuts, precision), mixed);
        assert_eq!(found.0, expected.0, "{name}, cuts {cuts:?}: losses");
        for (a, b) in found.1.iter().zip(&expected.1) {
            assert!(a == b, "{name}, cuts {cuts:?}: {} and {}", a.0, b.0);
        }
        assert_eq!(found.1.len(), expected.1.len());
    }
}

#[test]
fn every_method_learns_in_stages_what_it_learns_in_one() {
    for (name, method) in methods() {
        compare(name, &method, Precision::F32, false);
    }
}

#[test]
fn in_bf16_and_of_mixtures_too() {
    for (name, method) in
        methods().into_iter().filter(|(name, _)| name.contains("span 3") || name.contains("infopro"))
    {
        compare(name, &method, Precision::Bf16, false);
        compare(name, &method, Precision::F32, true);
    }
}

#[test]
fn inference_goes_up_through_the_stages() {
    let (_, method) = methods().swap_remove(3);
    let found: Vec<_> = [vec![], vec![3], vec![2, 5]]
        .iter()
        .map(|cuts| {
            let mut learner = learner(&method, cuts, Precision::F32);
            for number in 0..2 {
                learner.step_from(Arc::new(Batch { number, mixed: false, fails: None }), &options()).unwrap();
            }
            let batch = Batch { number: 5, mixed: false, fails: None };
            let images = || batch.images(learner.device()).unwrap();
            let (a, b) = (images(), images());
            let (mut heads, mut places) = (Vec::new(), Vec::new());
            learner
                .infer_heads(a, &mut |j, branch, logits| heads.push((j, branch, logits.to_vec())))
                .unwrap();
            let logits = learner.infer_seen(b, &mut |place, _| {
                places.push(place);
                Ok(())
            });
            (logits.unwrap(), heads, places)
        })
        .collect();
    assert!(found[0].2 == [0, 1, 2, 3, 4, 5, 6] && found[0].1.len() == 13);
    assert!(found[1] == found[0] && found[2] == found[0]);
}

/// The error that a run of several batches ends with when one of them fails in a stage; after it, the learner goes on.
fn failing(method: &Method, stage: usize, fault: Fault) -> String {
    let mut learner = learner(method, &[2, 4], Precision::F32);
    let mut ended = None;
    for number in 0..8 {
        let fails = (number == 2).then_some((stage, fault));
        let given = learner.step_from(Arc::new(Batch { number, mixed: false, fails }), &options());
        if let Err(e) = given.and_then(|()| learner.finished().map(drop)) {
            ended = Some(e);
            break;
        }
    }
    let e = ended.unwrap_or_else(|| learner.reports().map(drop).unwrap_err());
    assert!(!matches!(e, Error::StageEnded { .. }), "the cause is told: {e}");
    assert!(learner.reports().unwrap().len() <= 2, "of the batches before");
    learner.step_from(Arc::new(Batch { number: 9, mixed: false, fails: None }), &options()).unwrap();
    assert_eq!(learner.reports().unwrap().len(), 1);
    values(&mut learner);
    e.to_string()
}

/// What the faulty batch ends with when no batch follows it: the stages below are through with it by then.
fn failing_last(method: &Method, stage: usize, fault: Fault) -> String {
    let mut learner = learner(method, &[2, 4], Precision::F32);
    for number in 0..3 {
        let fails = (number == 2).then_some((stage, fault));
        if let Err(e) = learner.step_from(Arc::new(Batch { number, mixed: false, fails }), &options()) {
            return e.to_string();
        }
    }
    learner.reports().map(drop).unwrap_err().to_string()
}

/// What `work` gives, which must not wait for ever.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || done.send(work()));
    match wait.recv_timeout(std::time::Duration::from_secs(60)) {
        Ok(value) => value,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it waits for a stage that has ended"),
        // It panicked.
        Err(_) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

#[test]
fn a_fault_in_the_last_batch_is_told() {
    for (name, method) in methods().into_iter().filter(|(_, m)| m.modules >= 5 && !shares(m)) {
        for stage in 0..3 {
            let method = method.clone();
            let message = in_time(move || failing_last(&method, stage, Fault::Memory));
            assert!(message.contains("this one"), "{name}, stage {stage}: {message}");
        }
    }
    let (_, method) = methods().swap_remove(3);
    for stage in 0..3 {
        let method = method.clone();
        let caught = std::panic::catch_unwind(|| in_time(move || failing_last(&method, stage, Fault::Panic)));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"a fault of the test"), "stage {stage}");
    }
}

#[test]
fn an_error_in_one_stage_ends_all_with_its_message() {
    for (name, method) in methods().into_iter().filter(|(_, m)| m.modules >= 5 && !shares(m)) {
        for stage in 0..3 {
            let message = failing(&method, stage, Fault::Memory);
            assert!(message.contains("this one"), "{name}, stage {stage}: {message}");
        }
    }
}

#[test]
fn a_panic_in_one_stage_ends_all_and_is_raised_in_the_caller() {
    let (_, method) = methods().swap_remove(3);
    for stage in 0..3 {
        let caught = std::panic::catch_unwind(|| failing(&method, stage, Fault::Panic)).unwrap_err();
        assert_eq!(caught.downcast_ref::<&str>(), Some(&"a fault of the test"), "stage {stage}");
    }
}

#[test]
fn a_learner_can_be_dropped_at_work() {
    let (_, method) = methods().swap_remove(3);
    let mut learner = learner(&method, &[2, 4], Precision::F32);
    for number in 0..3 {
        learner.step_from(Arc::new(Batch { number, mixed: false, fails: None }), &options()).unwrap();
    }
    assert!(learner.unread() > 0 && learner.deferrable() == 4);
}

#[test]
fn stages_that_cannot_be_are_refused_with_what_to_do() {
    let net = ResNet::cifar(8, 4).unwrap();
    let device = || Device::cpu(Some(1)).unwrap();
    let two = [device(), device()];
    let refused = |devices: &[Device], cuts: &[usize], modules| {
        let method = Method { modules, hidden: 8, ..Method::default() };
        let made = Learner::in_stages((devices, cuts), &net, &method, task(), 0, Optimizer::default());
        made.map(|_| ()).unwrap_err().to_string()
    };
    let message = refused(&two, &[1], 1);
    assert!(message.contains("backpropagation") && message.contains("local.modules"), "{message}");
    assert!(refused(&[device(), device(), device()], &[1, 2], 2).contains("3 stages of 2 modules"));
    assert!(refused(&two[..1], &[1], 3).contains("1 devices for 2 stages"));
    assert!(refused(&[two[0].clone(), two[0].clone()], &[1], 3).contains("have one device"));
    assert!(refused(&two, &[3], 3).contains("not ascending"));
}
