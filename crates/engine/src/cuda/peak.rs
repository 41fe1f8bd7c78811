//! The most that tensor cores can do, in bfloat16.

use super::args::extent;
use super::driver::Driver;
use super::geometry::Geometry;
use super::program::{Program, entry};

pub(super) static PEAK: Program = Program {
    name: "peak.cu",
    source: include_str!("kernels/peak.cu"),
    defines: &[],
    entries: &[entry::<Args>("multiply_adds")],
    shared: 0,
};

/// `struct Peak` of `kernels/peak.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    sums: u64,
    rounds: u32,
    unused: u32,
}

/// Does products in number proportional to `rounds` and waits for them; returns their floating-point operations.
pub(super) fn run(driver: &Driver, rounds: usize) -> u64 {
    let (blocks, warps, chains) = (4 * driver.properties.multiprocessors, 8, 4);
    // What takes one thread of a processor a while, takes this device a hundredth of it.
    let rounds = extent(rounds.div_ceil(64));
    let geometry = Geometry { grid: [extent(blocks), 1, 1], threads: 256, shared: 0 };
    driver.launch(&PEAK, "multiply_adds", geometry, &Args { sums: 0, rounds, unused: 0 });
    driver.wait();
    let products = u64::from(rounds) * (blocks * warps * chains) as u64;
    products * 2 * 16 * 16 * 8
}
