//! The engine against the reference: what a case gives on a device, and what it must give.

use super::cuda;
use super::random::Random;
use super::values::{Input, Sums, Uploaded, rounded, stored, stored_target, wide};
use mlaan_engine::ops::Outgoing;
use mlaan_engine::reference;
use mlaan_engine::{Device, Isa, MemoryCategory, Precision, Tensor};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Relative error allowed in results of forward operations.
pub const FORWARD: f64 = 2e-5;
/// Relative error allowed in gradients.
pub const GRADIENT: f64 = 1e-4;

/// Half the distance of neighbouring values in bfloat16, relative to the smaller.
pub const HALF_ULP: f64 = 1.0 / 256.0;

/// Results of a case, by name.
pub type Results = Vec<(String, Vec<f32>)>;

/// A result that a case must have.
pub struct Expected {
    name: String,
    values: Vec<f64>,
    tolerance: f64,
    /// The least size that errors are compared with, for results that may cancel to nothing.
    size: f64,
    /// What storing may change, relative to each value.
    storing: f64,
    /// What is allowed in addition.
    slack: f64,
}

impl Expected {
    /// Sums of `terms` products of values around 1: where the sum happens to be next to nothing, errors
    /// are compared with a tenth of what such sums are.
    pub fn sums(name: &str, values: Vec<f64>, tolerance: f64, terms: usize) -> Self {
        let size = 0.1 * (terms as f64).sqrt();
        Expected { name: name.into(), values, tolerance, size, storing: 0.0, slack: 0.0 }
    }

    /// Values to compare with the largest of them.
    pub fn new(name: &str, values: Vec<f64>, tolerance: f64) -> Self {
        Expected { name: name.into(), values, tolerance, size: 0.0, storing: 0.0, slack: 0.0 }
    }

    /// The values are rounded to `precision` when they are stored.
    pub fn stored(self, precision: Precision) -> Self {
        Expected { storing: if precision == Precision::Bf16 { HALF_ULP } else { 0.0 }, ..self }
    }

    /// The values are sums over others that are rounded to `precision`, up to `largest`. Where one of those lies
    /// next to the middle between its neighbours it may go to either: two such are allowed, times `factor`.
    pub fn over_stored(self, precision: Precision, largest: f64, factor: f64) -> Self {
        let ulp = if precision == Precision::Bf16 { 2.0 * HALF_ULP } else { 0.0 };
        Expected { slack: 2.0 * ulp * largest * factor, ..self }
    }

    /// What is wrong with `actual`.
    fn fault(&self, actual: &[f32]) -> Option<String> {
        if actual.len() != self.values.len() {
            return Some(format!("{}: {} values, expected {}", self.name, actual.len(), self.values.len()));
        }
        let largest = self.values.iter().fold(self.size, |a, b| a.max(b.abs()));
        let bound = (self.tolerance * largest).max(1e-6) + self.slack;
        let wrong = |i: &usize| {
            (f64::from(actual[*i]) - self.values[*i]).abs() - self.storing * self.values[*i].abs()
        };
        // Not `>`: a NaN is wrong.
        let all: Vec<usize> = (0..actual.len()).filter(|i| !matches!(wrong(i), e if e <= bound)).collect();
        let worst = all.iter().copied().max_by(|a, b| wrong(a).total_cmp(&wrong(b)))?;
        Some(format!(
            "{}: {} of {} values differ; element {worst} is {}, expected {} (within {bound:.1e})",
            self.name,
            all.len(),
            actual.len(),
            actual[worst],
            self.values[worst]
        ))
    }
}

/// A device of every instruction set, and a CUDA device where there is one, by name.
pub fn devices() -> Vec<(String, Device)> {
    let cpu = |isa: Isa| (format!("{isa:?}"), Device::cpu_with(Some(2), isa).unwrap());
    let cuda = cuda::device().map(|d| (CUDA.to_string(), d));
    Isa::available().into_iter().map(cpu).chain(cuda).collect()
}

const CUDA: &str = "cuda";

/// Leaves NaN where the next tensors will lie.
fn poison(device: &Device) {
    drop(device.full([1 << 20], f32::NAN, MemoryCategory::Data).unwrap());
}

fn run_case<C: Debug>(
    device: &Device,
    case: &C,
    run: impl Fn(&Device, &C) -> Results,
) -> Result<Results, String> {
    poison(device);
    catch_unwind(AssertUnwindSafe(|| run(device, case))).map_err(|_| "panicked".to_string())
}

fn faults(results: &Results, expected: &[Expected]) -> Vec<String> {
    let missing = (results.len() != expected.len()).then(|| format!("{} results", results.len()));
    let pairs = results.iter().zip(expected);
    let wrong = pairs.filter_map(|((name, values), e)| {
        assert_eq!(*name, e.name, "the test itself is wrong");
        e.fault(values)
    });
    missing.into_iter().chain(wrong).collect()
}

/// Fails with the first of the faults found and their number.
fn report(found: &[String]) {
    let first: Vec<&String> = found.iter().take(12).collect();
    assert!(found.is_empty(), "{} faults, the first of them:\n{first:#?}", found.len());
}

/// Compares `run` with `expect` in every case on every device.
pub fn check<C: Debug>(
    cases: &[C],
    run: impl Fn(&Device, &C) -> Results,
    expect: impl Fn(&C) -> Vec<Expected>,
) {
    check_in(&[Precision::F32], cases, 1, run, |case, _, _| expect(case));
}

/// As [`check`], with activations in every precision.
pub fn check_stored<C: Debug>(
    cases: &[C],
    run: impl Fn(&Device, &C) -> Results,
    expect: impl Fn(&C, Precision) -> Vec<Expected>,
) {
    check_in(&PRECISIONS, cases, each_on_cuda(cases), run, |case, precision, _| expect(case, precision));
}

/// As [`check_stored`], of an operation with products.
pub fn check_products<C: Debug>(
    cases: &[C],
    run: impl Fn(&Device, &C) -> Results,
    expect: impl Fn(&C, Precision, Products) -> Vec<Expected>,
) {
    check_in(&PRECISIONS, cases, 1, run, expect);
}

/// As [`check_products`], of a sweep: on the host's CUDA driver every seventh case, unless all are asked for.
pub fn check_sweep<C: Debug>(
    cases: &[C],
    run: impl Fn(&Device, &C) -> Results,
    expect: impl Fn(&C, Precision, Products) -> Vec<Expected>,
) {
    check_in(&PRECISIONS, cases, each_on_cuda(cases), run, expect);
}

/// Cases that are chosen by hand stand behind those of a sweep, and are never left out.
const CHOSEN: usize = 12;

/// Every so many cases run on the host's CUDA driver, which is slow: all of a few, every seventh of a sweep (which has nothing
/// that comes back every seven cases).
fn each_on_cuda<C>(cases: &[C]) -> usize {
    if mlaan_host_cuda::thorough() || cases.len() < 50 { 1 } else { 7 }
}

/// Every `each`th case, and the last dozen.
fn some<C>(cases: &[C], each: usize) -> impl Iterator<Item = &C> {
    let last = cases.len().saturating_sub(CHOSEN);
    cases.iter().enumerate().filter(move |(i, _)| i.is_multiple_of(each) || *i >= last).map(|(_, case)| case)
}

/// What a device multiplies where activations are in bfloat16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Values as they were loaded, in 32 bits.
    Loaded,
    /// Values rounded to bfloat16, as tensor cores do.
    Rounded,
}

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

fn check_in<C: Debug>(
    precisions: &[Precision],
    cases: &[C],
    each_on_cuda: usize,
    run: impl Fn(&Device, &C) -> Results,
    expect: impl Fn(&C, Precision, Products) -> Vec<Expected>,
) {
    let (cuda, cpu): (Vec<_>, Vec<_>) = devices().into_iter().partition(|(name, _)| name == CUDA);
    let mut found = Vec::new();
    let numbered = cases.iter().enumerate();
    let last = cases.len().saturating_sub(CHOSEN);
    for (i, case, &precision) in numbered.flat_map(|(i, c)| precisions.iter().map(move |p| (i, c, p))) {
        for (devices, products) in [(&cpu, Products::Loaded), (&cuda, Products::Rounded)] {
            let left_out = products == Products::Rounded && !i.is_multiple_of(each_on_cuda) && i < last;
            if devices.is_empty() || left_out {
                continue;
            }
            let expected = expect(case, precision, products);
            for (name, device) in devices {
                let faults = match run_case(&device.with_precision(precision), case, &run) {
                    Ok(results) => faults(&results, &expected),
                    Err(panicked) => vec![panicked],
                };
                found.extend(faults.into_iter().map(|f| format!("{name} {precision:?} {case:?}: {f}")));
            }
        }
    }
    report(&found);
}

/// Demands the same bits from `run` with 1, 2 and 3 threads, on every instruction set, in every precision: in all of a few cases, in
/// every third of a sweep.
pub fn check_threads<C: Debug>(cases: &[C], run: impl Fn(&Device, &C) -> Results) {
    let mut found = Vec::new();
    let each = if cases.len() < 50 { 1 } else { 3 };
    for isa in Isa::available() {
        let devices: Vec<Device> = (1..=3).map(|t| Device::cpu_with(Some(t), isa).unwrap()).collect();
        for (case, precision) in some(cases, each).flat_map(|c| PRECISIONS.map(|p| (c, p))) {
            let results: Vec<_> =
                devices.iter().map(|d| run_case(&d.with_precision(precision), case, &run)).collect();
            for (threads, other) in (2..).zip(&results[1..]) {
                if let Some(name) = first_difference(&results[0], other) {
                    found.push(format!(
                        "{isa:?} {precision:?} {case:?}: {name} differs between 1 and {threads} threads"
                    ));
                }
            }
        }
    }
    report(&found);
}

/// Demands the same bits from `run` twice on a CUDA device, in every precision.
pub fn check_again<C: Debug>(cases: &[C], run: impl Fn(&Device, &C) -> Results) {
    let Some(device) = cuda::device() else { return };
    let mut found = Vec::new();
    for (case, precision) in some(cases, each_on_cuda(cases)).flat_map(|c| PRECISIONS.map(|p| (c, p))) {
        let [first, again] = [0, 1].map(|_| run_case(&device.with_precision(precision), case, &run));
        if let Some(name) = first_difference(&first, &again) {
            found.push(format!("{precision:?} {case:?}: {name} differs between two runs"));
        }
    }
    report(&found);
}

fn first_difference(a: &Result<Results, String>, b: &Result<Results, String>) -> Option<String> {
    let (Ok(a), Ok(b)) = (a, b) else {
        return Some("a panic".into());
    };
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    a.iter().zip(b).find(|((_, a), (_, b))| bits(a) != bits(b)).map(|((name, _), _)| name.clone())
}

/// How the gradient of an operand is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub accumulate: bool,
    /// Sums of the operand's normalisation.
    pub sums: bool,
}

/// Runs `backward` with an [`Outgoing`] for `x` and reads what it wrote: `dx` and the sums.
pub fn outgoing(
    device: &Device,
    x: &Input,
    wanted: Wanted,
    before: &[f32],
    backward: impl FnOnce(&Uploaded, Outgoing<'_>),
) -> Results {
    let uploaded = x.upload(device);
    let mut grad: Tensor =
        if wanted.accumulate { stored(device, x.extents, before) } else { stored_target(device, x.extents) };
    let mut sums = Sums::new(device, x.extents[3]);
    let norm = wanted.sums.then(|| sums.grad());
    backward(&uploaded, Outgoing { grad: &mut grad, accumulate: wanted.accumulate, norm });
    let mut results = vec![("dx".to_string(), device.download(&grad).unwrap())];
    if wanted.sums {
        results.extend(read_sums(device, "", &sums));
    }
    results
}

/// What the sums of a normalisation hold; the rows of coefficients apart, as their sizes differ.
pub fn read_sums(device: &Device, prefix: &str, sums: &Sums) -> Results {
    let read = |t| device.download(t).unwrap();
    let coefficients = read(&sums.coefficients);
    let rows = coefficients.chunks(coefficients.len() / 3).map(<[f32]>::to_vec);
    let values = [read(&sums.weight), read(&sums.bias)].into_iter().chain(rows);
    SUMS.iter().zip(values).map(|(name, v)| (format!("{prefix}{name}"), v)).collect()
}

const SUMS: [&str; 5] = ["norm weight", "norm bias", "coefficient a", "coefficient b", "coefficient c"];

/// What [`outgoing`] must give when the gradient of the operand's value is `dvalue`, a sum of `terms`, and is
/// stored in `precision`.
pub fn expected_outgoing(
    x: &Input,
    wanted: Wanted,
    before: &[f32],
    dvalue: &[f64],
    terms: usize,
    precision: Precision,
) -> Vec<Expected> {
    let (raw, norm) = (wide(&x.raw), x.normalisation());
    let mut dx = reference::load_backward(&raw, norm.as_ref(), x.relu, dvalue);
    if wanted.accumulate {
        dx.iter_mut().zip(before).for_each(|(dx, before)| *dx += f64::from(*before));
    }
    let mut expected = vec![Expected::sums("dx", dx.clone(), GRADIENT, terms).stored(precision)];
    if wanted.sums {
        let largest = dx.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let over = |e: Expected, factor| e.over_stored(precision, largest, factor);
        let sums = expected_sums("", x, &rounded(&dx, precision), terms);
        // By how much one value of the gradient moves each of the sums, at the most.
        let mean = 6.0 / x.pixels() as f64;
        expected.extend(sums.into_iter().zip([3.0, 1.0, 0.0, mean, mean]).map(|(e, f)| over(e, f)));
    }
    expected
}

/// The sums of the normalisation of `x` for the gradient `dx`, itself a sum of `terms`.
pub fn expected_sums(prefix: &str, x: &Input, dx: &[f64], terms: usize) -> Vec<Expected> {
    let norm = x.normalisation().unwrap();
    let sums = norm.sums(&wide(&x.raw), dx);
    let coefficients = norm.coefficients(&sums, x.pixels());
    let rows = coefficients.chunks(norm.scale.len()).map(<[f64]>::to_vec);
    let values = [sums.weight, sums.bias].into_iter().chain(rows);
    let (all, mean) = (terms * x.pixels(), (terms / x.pixels()).max(1));
    let sizes = [all, all, 1, mean, mean];
    let named = SUMS.iter().zip(values).zip(sizes);
    named.map(|((name, v), size)| Expected::sums(&format!("{prefix}{name}"), v, GRADIENT, size)).collect()
}

/// Gradients to start from when accumulating: what another reader left that loads the operand alike, so
/// 0 where it is rectified.
pub fn before(random: &mut Random, x: &Input) -> Vec<f32> {
    let passes = x.loaded();
    let left = random.floats(x.raw.len());
    left.into_iter().zip(passes).map(|(g, v)| if x.relu && v <= 0.0 { 0.0 } else { g }).collect()
}
