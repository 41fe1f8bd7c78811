//! What kernels may ask of a GPU, counted on the host's driver, and what they may be made of, as NVRTC compiles them: limits
//! that hold for all kernels of chosen operations, and the numbers of those that are known to break them.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/operation.rs"]
mod operation;

use mlaan_engine::{Device, Precision};
use mlaan_host_cuda::On;
use mlaan_host_cuda::counts::{Launch, of_test};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable that tells a counted process its operation.
const OPERATION: &str = "MLAAN_TEST_OPERATION";
/// Enough that no tile is cut off, at the shapes below.
const BATCH: usize = 2;

/// What is looked at: operations as a profile names them, in bf16.
const OPERATIONS: [&str; 8] = [
    "convolve 3x3 16→16 32x32",
    "convolve 3x3 64→64 8x8",
    "convolve 3x3/2 16→32 32x32",
    "convolve 1x1 64→256 8x8",
    "convolve_backward dx+dw 3x3 16→16 32x32",
    "convolve_backward dx+dw 3x3 64→64 8x8",
    "add 1x16x16x32",
    "add_backward 1x16x16x32",
];

/// The sets of kernels, as `MLAAN_CUDA_KERNELS` names them.
const KERNELS: [&str; 2] = ["proved", "new"];

/// Sectors of global memory and wavefronts of shared memory, both as parts of the least that the same instructions take.
const SECTORS: f64 = 1.1;
const WAVEFRONTS: f64 = 1.05;

/// Kernels that break a limit, with the most of the least that they take (sectors, wavefronts). What is here and keeps the
/// limits fails too, so that it is taken off the list.
const WORSE: [(&str, f64, f64); 8] = [
    // Each thread adds parts at one place, far from its neighbours' result.
    ("add_parts", 4.50, 1.00),
    // At stride 2 neighbouring threads write to pixels that lie apart.
    ("convolution", 1.08, 1.38),
    // Rows of a region begin beside the border of an image, within a sector.
    ("convolution_weights", 1.11, 1.00),
    ("convolve", 1.37, 3.45),
    ("add", 1.14, 1.00),
    // Threads in the order of the packed weights read those of the network eight sectors apart.
    ("pack_convolution", 8.00, 1.00),
    ("pack_weights", 5.67, 1.00),
    ("weight_gradient", 1.75, 1.10),
];

/// Kernels with what they hold of memory of single threads (bytes of stack, instructions that spill), and of divisions of
/// integers in loops without others within. As above.
const HEAVIER: [(&str, u64, u64, u64); 2] = [("convolve", 32, 28, 1), ("weight_gradient", 0, 0, 2)];

#[test]
#[ignore = "is told what to run by the tests below"]
fn one_operation() {
    assert_eq!(mlaan_host_cuda::tests_on(), Some(On::Host));
    let device = Device::cuda(0).unwrap().with_precision(Precision::Bf16);
    assert!(operation::run(&device, &std::env::var(OPERATION).unwrap(), BATCH).unwrap());
    device.synchronize().unwrap();
}

/// Launches of all operations, and a folder of their programs; nothing where there is no host's driver.
fn launches() -> Option<&'static (Vec<Launch>, PathBuf)> {
    static ALL: OnceLock<Option<(Vec<Launch>, PathBuf)>> = OnceLock::new();
    let run = || {
        match mlaan_host_cuda::tests_on() {
            Some(On::Host) => {}
            Some(On::Gpu) => {
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED on a GPU: what kernels ask for is counted on the host"
                );
                return None;
            }
            None => return None,
        }
        let programs =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("programs-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&programs);
        let of = |(name, kernels): (&str, &str)| {
            let folder = programs.to_str().unwrap();
            let variables =
                [(OPERATION, name), ("MLAAN_HOST_CUDA_PROGRAMS", folder), ("MLAAN_CUDA_KERNELS", kernels)];
            of_test("one_operation", &variables).unwrap()
        };
        let all = OPERATIONS.iter().flat_map(|name| KERNELS.map(|kernels| (*name, kernels)));
        Some((all.flat_map(of).collect(), programs))
    };
    ALL.get_or_init(run).as_ref()
}

/// The most of the least that a kernel's launches take: sectors, wavefronts.
fn worst(launches: &[Launch]) -> BTreeMap<&str, (f64, f64)> {
    let mut all = BTreeMap::new();
    for l in launches {
        let of: &mut (f64, f64) = all.entry(l.kernel.as_str()).or_default();
        *of = (of.0.max(l.global().of_least()), of.1.max(l.shared_memory().of_least()));
    }
    all
}

/// Kernels of a list that are launched no more.
fn gone<'a>(list: impl Iterator<Item = &'a &'a str>, launched: impl Fn(&str) -> bool) -> Vec<String> {
    list.filter(|k| !launched(k)).map(|k| format!("{k} is launched no more")).collect()
}

#[test]
fn accesses_are_as_few_as_can_be() {
    let Some((launches, _)) = launches() else { return };
    let known: BTreeMap<&str, (f64, f64)> = WORSE.iter().map(|(k, s, w)| (*k, (*s, *w))).collect();
    let found = worst(launches);
    let mut wrong: Vec<String> = gone(known.keys(), |k| found.contains_key(k));
    for (kernel, (sectors, wavefronts)) in found {
        let keeps = sectors <= SECTORS && wavefronts <= WAVEFRONTS;
        let (most_sectors, most_wavefronts) = known.get(kernel).copied().unwrap_or((SECTORS, WAVEFRONTS));
        // Compilers differ a little in the order of blocks.
        let slack = if known.contains_key(kernel) { 1.05 } else { 1.0 };
        let allowed = sectors <= most_sectors * slack && wavefronts <= most_wavefronts * slack;
        if !allowed || (keeps && known.contains_key(kernel)) {
            wrong.push(format!("(\"{kernel}\", {sectors:.2}, {wavefronts:.2}),"));
        }
    }
    assert!(wrong.is_empty(), "other than WORSE says:\n{}", wrong.join("\n"));
}

/// What `bench/kernels.py` says of the programs of a folder; nothing, which is said, where it lacks a compiler or a
/// disassembler.
fn made_of(programs: &Path) -> Option<serde_json::Value> {
    let python = std::env::var("MLAAN_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/kernels.py");
    // The lists hold the most of both architectures. Unless all is asked for, the one that was timed (H100) is looked at.
    let architectures = if mlaan_host_cuda::thorough() { "sm_80,sm_90" } else { "sm_90" };
    let out =
        Command::new(python).arg(script).arg(programs).args(["--json", "--arch", architectures]).output();
    let why = match out {
        Ok(out) if out.status.success() => return Some(serde_json::from_slice(&out.stdout).unwrap()),
        Ok(out) if out.status.code() == Some(3) => String::from_utf8_lossy(&out.stderr).into_owned(),
        Ok(out) => panic!("{}", String::from_utf8_lossy(&out.stderr)),
        Err(why) => format!("python3: {why}"),
    };
    let _ = writeln!(std::io::stderr(), "SKIPPED: machine code was not looked at: {}", why.trim());
    None
}

#[test]
fn machine_code_has_no_divisions_in_loops_and_no_memory_of_threads() {
    let Some((_, programs)) = launches() else { return };
    let Some(found) = made_of(programs) else { return };
    let known: BTreeMap<&str, [u64; 3]> = HEAVIER.iter().map(|(k, a, b, c)| (*k, [*a, *b, *c])).collect();
    let mut most: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for kernel in found["kernels"].as_array().unwrap() {
        let of = most.entry(kernel["kernel"].as_str().unwrap()).or_default();
        for (most, name) in of.iter_mut().zip(["stack", "spills", "inner_loop_divisions"]) {
            *most = kernel[name].as_u64().unwrap().max(*most);
        }
    }
    let mut wrong: Vec<String> = gone(known.keys(), |k| most.contains_key(k));
    for (kernel, has) in most {
        let may = known.get(kernel).copied().unwrap_or_default();
        if has.iter().zip(may).any(|(has, may)| *has > may)
            || (mlaan_host_cuda::thorough() && has == [0; 3] && known.contains_key(kernel))
        {
            wrong.push(format!("(\"{kernel}\", {}, {}, {}),", has[0], has[1], has[2]));
        }
    }
    assert!(wrong.is_empty(), "other than HEAVIER says:\n{}", wrong.join("\n"));
}
