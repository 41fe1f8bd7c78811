//! What a comparison works on.

use crate::args::CompareArgs;
use mlaan::Device;
use mlaan::compare::{Cost, Run, Store, Table};

/// A table, its folder and what is in it.
pub struct Work {
    pub table: Table,
    pub seeds: Vec<u64>,
    pub store: Store,
    pub runs: Vec<Run>,
    pub costs: Vec<Cost>,
}

/// Opens the device that was asked for, as often as it is called.
pub fn opener(args: &CompareArgs) -> impl Fn() -> mlaan::Result<Device> {
    let (device, threads) = (args.machine.device, args.machine.threads());
    move || device.open_plainly(threads)
}
