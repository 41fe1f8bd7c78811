//! The method against an independent PyTorch implementation, `golden/oracle.py`: losses, gradients, three
//! steps, logits. Runs every `*.safetensors` file of the folder `MLAAN_GOLDEN` (default: `golden` beside this
//! file); what a file tests stands in its metadata.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "golden/file.rs"]
mod file;

use common::devices;
use file::Golden;
use mlaan::local::Learner;
use mlaan::nn::Param;
use mlaan::rng::{self, Rng};
use mlaan_engine::{Device, DeviceKind, Precision};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum difference over maximum magnitude; differences below 1e-6 count as none where all is below that.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let max = |x: &mut dyn Iterator<Item = f32>| {
        x.fold(0f32, |m, v| if v.is_nan() { f32::INFINITY } else { m.max(v) })
    };
    let most = max(&mut theirs.iter().map(|x| x.abs()));
    let off = max(&mut ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()));
    if most < 1e-6 { if off <= 1e-6 { 0.0 } else { f32::INFINITY } } else { off / most }
}

struct Check {
    file: String,
    worst: Vec<(f32, f32, String)>,
}

impl Check {
    fn compare(&mut self, name: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
        self.worst.push((difference(ours, theirs), tolerance, name.to_string()));
    }

    fn failures(&self) -> Vec<String> {
        let bad = |(d, t, _): &&(f32, f32, String)| d.is_nan() || d > t;
        self.worst.iter().filter(bad).map(|(d, t, n)| format!("{}: {n}: {d:e} > {t:e}", self.file)).collect()
    }
}

fn value(device: &Device, p: Param<'_>) -> (String, Vec<f32>) {
    (p.name(), device.download(p.value).unwrap())
}

/// Takes a name, our values and the file's.
type Found<'a> = &'a mut dyn FnMut(&str, &[f32], &[f32]);

/// Every loss of the first step and every gradient, by name, ours and the file's.
fn first_step(golden: &Golden, device: &Device, mut learner: Learner, found: Found<'_>) {
    let (images, labels) = golden.batch(device);
    let report = learner.gradients(images, &labels).unwrap().clone();
    for (j, pair) in report.modules.iter().enumerate() {
        for (branch, loss) in ["ind", "cas"].iter().zip(pair) {
            let theirs = golden.f32(&format!("loss/{branch}/{j}"));
            assert_eq!(loss.is_some(), theirs.is_some(), "loss/{branch}/{j}");
            if let (Some(ours), Some(theirs)) = (loss, theirs) {
                found(&format!("loss/{branch}/{j}"), &[ours.loss], &theirs);
            }
        }
    }
    let mut gradients = 0;
    learner
        .visit(&mut |p| {
            let name = format!("grad/{}", p.name());
            let theirs = golden.f32(&name);
            let ours = p.grad().map(|g| device.download(g).unwrap());
            assert_eq!(ours.is_some(), theirs.is_some(), "{name}");
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                found(&name, &ours, &theirs);
                gradients += 1;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(gradients, golden.names().iter().filter(|n| n.starts_with("grad/")).count());
}

fn run(path: &Path, device: &Device) -> Check {
    let golden = Golden::open(path);
    let mut check = Check { file: path.file_stem().unwrap().to_string_lossy().into(), worst: vec![] };
    first_step(&golden, device, golden.learner(device), &mut |name, ours, theirs| {
        check.compare(name, ours, theirs, if name.starts_with("loss/") { 1e-5 } else { 1e-4 });
    });

    all_steps(&golden, device, golden.learner(device), &mut check);
    check
}

/// All steps, then every parameter and buffer, and what is said of the batch.
fn all_steps(golden: &Golden, device: &Device, mut learner: Learner, check: &mut Check) {
    for step in 0..golden.case.steps {
        let (images, labels) = golden.batch(device);
        learner.step(images, &labels, &golden.options(step)).unwrap();
    }
    learner
        .visit(&mut |p| {
            let (name, ours) = value(device, p);
            let name = format!("after{}/{name}", golden.case.steps);
            check.compare(&name, &ours, &golden.f32(&name).unwrap(), 1e-4);
            Ok(())
        })
        .unwrap();
    let logits = learner.infer(golden.batch(device).0).unwrap();
    check.compare("logits", &logits, &golden.f32("logits").unwrap(), 1e-3);
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn files() -> Vec<PathBuf> {
    let folder = std::env::var_os("MLAAN_GOLDEN").map_or_else(own, PathBuf::from);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no golden file in {}", folder.display());
    files
}

/// What differs of a file on a device; how far anything strays is printed.
fn failures(path: &Path, device: &Device) -> Vec<String> {
    let check = run(path, device);
    let worst = |prefix: &str| {
        let of = check.worst.iter().filter(|w| w.2.starts_with(prefix));
        of.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(String::from("-"), |w| format!("{:.1e} ({})", w.0, w.2))
    };
    println!(
        "{} on {}: {}, {}, {}, {}",
        check.file,
        device.name(),
        worst("loss"),
        worst("grad"),
        worst("after"),
        worst("logits")
    );
    check.failures()
}

fn assert_none(failures: &[String]) {
    assert!(failures.is_empty(), "{} values differ:\n{}", failures.len(), failures.join("\n"));
}

/// Files that together have all that a device computes: other files have the same operations in another order, which the
/// processor shows to be right. Of our own they are enough for the host's CUDA driver, which is slow.
const OF_EVERY_OPERATION: [&str; 10] = [
    "bp_mixed",
    "bp_clipped",
    "bp_shards",
    "bp_wide",
    "dgl_adamw",
    "dgl_head",
    "dgl_lars",
    "dgl_weighted",
    "infopro_contrastive",
    "mlaan_released",
];

/// Those of them that together have every kernel that is another one in bf16; a bottleneck's convolutions are in the tests of
/// kernels.
const OF_EVERY_OPERATION_IN_BF16: [&str; 4] =
    ["bp_mixed", "dgl_head", "infopro_contrastive", "mlaan_released"];

/// Files for sweeps that take long: all from elsewhere, and of our own those that together have every operation (all with
/// `MLAAN_TEST_CUDA=host`).
fn files_of_every_operation() -> impl Iterator<Item = PathBuf> {
    let listed = |path: &PathBuf| {
        OF_EVERY_OPERATION.iter().any(|name| own().join(name).with_extension("safetensors") == *path)
    };
    files()
        .into_iter()
        .filter(move |path| listed(path) || mlaan_host_cuda::thorough() || !path.starts_with(own()))
}

/// The devices that a file is run on, where the host's CUDA driver takes only those of `names`.
fn devices_for(path: &Path, names: &[&str]) -> Vec<Device> {
    let of_all = names.iter().any(|name| path == own().join(name).with_extension("safetensors"));
    let skip = !mlaan_host_cuda::thorough() && !of_all && path.starts_with(own());
    if skip { vec![Device::cpu(None).unwrap()] } else { devices() }
}

#[test]
fn every_golden_file_is_reproduced() {
    let of = |path: &PathBuf| {
        devices_for(path, &OF_EVERY_OPERATION).iter().flat_map(|d| failures(path, d)).collect::<Vec<_>>()
    };
    // The host's CUDA driver computes with few threads, so files are taken side by side.
    let (files, next) = (files(), AtomicUsize::new(0));
    let some = || {
        let taken = std::iter::from_fn(|| files.get(next.fetch_add(1, Ordering::Relaxed)));
        taken.flat_map(of).collect::<Vec<String>>()
    };
    let found = std::thread::scope(|scope| {
        let both = [scope.spawn(some), scope.spawn(some)];
        both.map(|half| half.join().unwrap()).concat()
    });
    assert_none(&found);
}

/// A rectifier within rounding of zero makes a gradient jump, and then no tolerance tells right from wrong. The oracle
/// takes no such case, says so in the file, and what it says holds here: parameters that are moved by the last bits of
/// f32 stay within the tolerances too. Files from elsewhere need not say it.
#[test]
fn golden_files_are_well_conditioned() {
    let device = Device::cpu(None).unwrap();
    let foreign = std::env::var_os("MLAAN_GOLDEN").is_some_and(|folder| Path::new(&folder) != own());
    for path in files() {
        let golden = Golden::open(&path);
        let Some(well) = &golden.well else {
            assert!(
                foreign,
                "{} does not say how it is conditioned: golden/oracle.py writes it",
                path.display()
            );
            continue;
        };
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        // Half of what is allowed here; gradients of the first step show what becomes of them after three.
        assert!(well.perturbation >= 1e-6 && well.runs >= 8, "{file}: {} runs", well.runs);
        let strayed = [(well.after, 5e-5), (well.logits, 5e-4), (well.grad, 1e-4)];
        assert!(strayed.iter().all(|(found, most)| found <= most && *found > 0.0), "{file}: {strayed:?}");
        for seed in 0..if mlaan_host_cuda::thorough() { 2 } else { 1 } {
            let mut check = Check { file: file.clone(), worst: vec![] };
            all_steps(&golden, &device, moved_by(&golden, &device, seed, 5e-7), &mut check);
            assert!(check.failures().is_empty(), "moved with seed {seed}: {}", check.failures().join("\n"));
        }
    }
}

/// Loss by loss the relative difference from the file, at the most; and the Euclidean length of the difference of all
/// gradients together over that of the file's.
fn distances(golden: &Golden, device: &Device, learner: Learner) -> (f64, f64) {
    let (mut loss, mut off, mut length) = (0f64, 0.0, 0.0);
    first_step(golden, device, learner, &mut |name, ours, theirs| {
        let pairs = || ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        if name.starts_with("loss/") {
            loss = pairs().fold(loss, |worst, (a, b)| worst.max((a - b).abs() / b.abs()));
        } else {
            off += pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            length += pairs().map(|(_, b)| b * b).sum::<f64>();
        }
    });
    (loss, (off / length).sqrt())
}

/// The file's parameters, each moved by up to half of what lies between neighbours in bfloat16.
fn moved(golden: &Golden, device: &Device, seed: u64) -> Learner {
    moved_by(golden, device, seed, 0.5 / 128.0)
}

/// The file's parameters, each moved by up to this part of it.
fn moved_by(golden: &Golden, device: &Device, seed: u64, part: f64) -> Learner {
    let (mut learner, mut rng) =
        (golden.learner(device), Rng::new(seed, rng::RandomStream::Initialise, 0, 0));
    learner
        .visit(&mut |p| {
            if !p.is_buffer() {
                let mut values = device.download(p.value)?;
                for v in &mut values {
                    *v *= 1.0 + rng.range(-part, part) as f32;
                }
                device.upload(p.value, &values)?;
            }
            Ok(())
        })
        .unwrap();
    learner.restart_versions().unwrap();
    learner
}

/// Where rounding takes a value across a rectifier's zero a whole element of the gradient comes or goes, so that in
/// networks and batches as small as these gradients differ by a tenth and more (in PyTorch's bf16 autocast too), and
/// by a half where one element outweighs the others. So they are held against what becomes of them in 32 bits when
/// parameters are moved as little as bfloat16 does, in eight ways.
fn check_in_bf16(path: &Path, devices: &[Device]) {
    let (golden, single) = (Golden::open(path), Device::cpu(None).unwrap());
    let noise = (0..8).map(|seed| distances(&golden, &single, moved(&golden, &single, seed)).1);
    let noise = noise.fold(0.0, f64::max);
    for device in devices {
        let half = device.with_precision(Precision::Bf16);
        let (loss, off) = distances(&golden, &half, golden.learner(&half));
        let file = path.file_stem().unwrap().to_string_lossy();
        let found = format!("losses {loss:.1e}, gradients {off:.1e}, from moved parameters {noise:.1e}");
        println!("{file} on {}: {found}", device.name());
        // A GPU rounds what it multiplies, too.
        let most = if device.kind() == DeviceKind::Cuda { 3e-2 } else { 1e-2 };
        assert!(loss < most && off < 2.0 * noise, "{file} on {}: {found}", device.name());
    }
}

#[test]
fn activations_in_bf16_keep_losses_and_gradients() {
    // Each is taken nine times.
    let check = |path: PathBuf| check_in_bf16(&path, &devices_for(&path, &OF_EVERY_OPERATION_IN_BF16));
    files_of_every_operation().for_each(check);
}

/// Files whose networks are small and together have what the new kernels do: windows of 3x3 with strides 1 and 2 and of
/// 1x1, linear layers, leaps and a decoder; and channels for tensor cores. The kernels of each shape are compiled, which
/// takes the most time by far on the host's driver: so they are few.
const FOR_NEW_KERNELS: [(&str, Precision); 2] =
    [("mlaan_infopro", Precision::F32), ("bp_wide", Precision::Bf16)];

#[test]
fn new_kernels_reproduce_golden_files() {
    if !mlaan_host_cuda::with_new_kernels("new_kernels_reproduce_golden_files") {
        return;
    }
    let device = common::cuda().unwrap();
    assert_eq!(device.kernels(), Some("new"));
    for (name, precision) in FOR_NEW_KERNELS {
        let path = own().join(name).with_extension("safetensors");
        match precision {
            Precision::F32 => assert_none(&failures(&path, &device)),
            Precision::Bf16 => check_in_bf16(&path, std::slice::from_ref(&device)),
        }
    }
}

#[test]
fn every_thread_count_gives_the_same_bits() {
    for path in files_of_every_operation() {
        let golden = Golden::open(&path);
        let trained = |threads| {
            let device = Device::cpu(Some(threads)).unwrap();
            let mut learner = golden.learner(&device);
            for step in 0..3 {
                let (images, labels) = golden.batch(&device);
                learner.step(images, &labels, &golden.options(step)).unwrap();
            }
            let mut all: Vec<(String, Vec<u32>)> = vec![];
            learner
                .visit(&mut |p| {
                    let (name, values) = value(&device, p);
                    all.push((name, values.iter().map(|v| v.to_bits()).collect()));
                    Ok(())
                })
                .unwrap();
            all
        };
        let one = trained(1);
        for threads in [2, 3] {
            for (a, b) in one.iter().zip(trained(threads)) {
                assert!(*a == b, "{} of {} with {threads} threads", a.0, path.display());
            }
        }
    }
}
