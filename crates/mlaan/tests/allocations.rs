//! A training step allocates nothing new after the first: counted at the allocator.
#![allow(clippy::unwrap_used)]

use mlaan::backbone::ResNet;
use mlaan::local::{Branch, Cascade, Leap, LeapShare, Learner, Method, Recompute, StepOptions, Task, Tie};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan_engine::ops::{Labels, Mixed, PixelScale};
use mlaan_engine::{DType, Device, MemoryCategory, Precision};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn methods() -> Vec<(&'static str, Method)> {
    let leap = |tie, on| Some(Leap { tie, on, ..Leap::default() });
    let cascade = |span| Some(Cascade { span, independent: 0.3, cascaded: 0.7 });
    let local = |modules| Method { modules, hidden: 16, ..Method::default() };
    vec![
        ("bp", Method::default()),
        ("infopro", Method { reconstruct: [5.0, 0.5], task: [0.5, 1.0], ..local(4) }),
        ("mlm", Method { cascade: cascade(3), ..local(4) }),
        ("mlaan", Method { cascade: cascade(2), leap: leap(Tie::Twin, Branch::Cascaded), ..local(4) }),
        ("bp again", Method { recompute: Recompute::Module, ..Method::default() }),
        ("mlm again", Method { cascade: cascade(3), recompute: Recompute::Module, ..local(4) }),
        ("pulled", Method { leap: leap(Tie::Pulled, Branch::Independent), ..local(3) }),
        (
            "shared",
            Method {
                leap: Some(Leap { share: LeapShare::Stage, tie: Tie::Twin, ..Leap::default() }),
                ..local(4)
            },
        ),
    ]
}

#[test]
fn steps_allocate_nothing_after_the_first() {
    let options = StepOptions::uniform(0.05, 1);
    let task = Task {
        image: ImageShape::square(16, 3),
        classes: 10,
        pixels: PixelScale { mean: [0.5; 3], std: [0.25; 3] },
    };
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 0, "the counter is not in use");
    // Of mixtures of two classes once, too.
    let ways = [(Precision::F32, false), (Precision::Bf16, false), (Precision::F32, true)];
    for ((name, method), (precision, mixed)) in
        methods().into_iter().flat_map(|m| ways.map(|w| (m.clone(), w)))
    {
        let device = Device::cpu(Some(2)).unwrap().with_precision(precision);
        let net = ResNet::cifar(8, 8).unwrap();
        let mut learner = Learner::new(&device, &net, &method, task, 1, Optimizer::default()).unwrap();
        let values: Vec<f32> = (0..8 * 16 * 16 * 3).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        // Inside one scope: handing work to the threads allocates now and then, steps must not.
        let counts = device
            .scope(|| {
                let mut step = || {
                    let mut images = device.alloc([8, 16, 16, 3], DType::F32, MemoryCategory::Data).unwrap();
                    device.upload(&mut images, &values).unwrap();
                    let mut labels = device.alloc([8], DType::U32, MemoryCategory::Data).unwrap();
                    device.upload(&mut labels, &[0u32, 1, 2, 3, 0, 1, 2, 3]).unwrap();
                    let mut share = device.alloc([8], DType::F32, MemoryCategory::Data).unwrap();
                    device.upload(&mut share, &[0.75f32; 8]).unwrap();
                    let mixed = mixed.then_some(Mixed { other: &labels, share: &share });
                    let before = (ALLOCATIONS.load(Ordering::Relaxed), device.usage().held);
                    learner.step(images, Labels { own: &labels, mixed }, &options).unwrap();
                    (ALLOCATIONS.load(Ordering::Relaxed) - before.0, device.usage().held - before.1)
                };
                (0..6).map(|_| step()).collect::<Vec<_>>()
            })
            .unwrap();
        assert!(counts[0].1 > 0, "{name}: the first step takes its memory: {counts:?}");
        assert_eq!(&counts[1..], &[(0, 0); 5], "{name}: allocations and bytes of memory, step by step");
    }
}
