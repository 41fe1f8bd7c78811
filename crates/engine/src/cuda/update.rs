//! Updates of parameters, copies and sums.

use super::args::{extent, kind};
use super::driver::{Driver, lock};
use super::launch::Geometry;
use super::program::{Program, entry};
use super::table::{Entry, PIECE, THREADS, Table};
use crate::Tensor;
use crate::ops;
use std::sync::Mutex;

pub(super) static UPDATE: Program = Program {
    name: "update.cu",
    source: include_str!("kernels/update.cu"),
    defines: &[],
    entries: &[
        entry::<Table<Sgd, SgdOptions>>("sgd_many"),
        entry::<Table<Ema, EmaOptions>>("ema_many"),
        entry::<Flat>("add"),
        entry::<Flat>("fill"),
    ],
    shared: 0,
};

/// `struct SgdEntry` of `kernels/update.cu`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Sgd {
    parameter: u64,
    grad: u64,
    velocity: u64,
    length: u64,
}

/// The options in `struct SgdMany`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
struct SgdOptions {
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    nesterov: u32,
}

/// `struct EmaEntry` of `kernels/update.cu`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Ema {
    target: u64,
    source: u64,
    length: u64,
}

/// The options in `struct EmaMany`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
struct EmaOptions {
    kept: f32,
    added: f32,
}

/// `struct Flat` of `kernels/update.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Flat {
    target: u64,
    source: u64,
    length: u64,
    kind: u32,
    value: f32,
}

impl Entry for Sgd {
    fn changed(&self) -> [u64; 2] {
        [self.parameter, self.velocity]
    }

    fn read(&self) -> u64 {
        self.grad
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}

impl Entry for Ema {
    fn changed(&self) -> [u64; 2] {
        [self.target; 2]
    }

    fn read(&self) -> u64 {
        self.source
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}

/// What waits; of the two tables one is empty.
#[derive(Default)]
struct Waiting {
    sgd: Table<Sgd, SgdOptions>,
    ema: Table<Ema, EmaOptions>,
}

/// Updates that wait to be asked for together: a network has hundreds of small parameters.
#[derive(Default)]
pub(super) struct Pending(Mutex<Waiting>);

impl Pending {
    /// Asks for all that waits.
    pub(super) fn flush(&self, driver: &Driver) {
        let mut waiting = lock(&self.0);
        launch(driver, "sgd_many", &mut waiting.sgd);
        launch(driver, "ema_many", &mut waiting.ema);
    }

    pub(super) fn sgd(
        &self,
        driver: &Driver,
        parameter: &mut Tensor,
        grad: &Tensor,
        velocity: &mut Tensor,
        options: ops::Sgd,
    ) {
        let entry = Sgd {
            parameter: parameter.device_address(),
            grad: grad.device_address(),
            velocity: velocity.device_address(),
            length: grad.len() as u64,
        };
        let ops::Sgd { lr, momentum, weight_decay, nesterov } = options;
        let options = SgdOptions { lr, momentum, weight_decay, nesterov: nesterov.into() };
        let mut waiting = lock(&self.0);
        launch(driver, "ema_many", &mut waiting.ema);
        add_to(&mut waiting.sgd, entry, options, |table| launch(driver, "sgd_many", table));
    }

    pub(super) fn ema(&self, driver: &Driver, target: &mut Tensor, source: &Tensor, m: f32) {
        let (target, length) = (target.device_address(), source.len() as u64);
        let entry = Ema { target, source: source.device_address(), length };
        let mut waiting = lock(&self.0);
        launch(driver, "sgd_many", &mut waiting.sgd);
        let options = EmaOptions { kept: m, added: 1.0 - m };
        add_to(&mut waiting.ema, entry, options, |table| launch(driver, "ema_many", table));
    }
}

/// Lets an entry wait, after `flush` where it cannot stand beside those that wait already.
fn add_to<E: Entry, O: Copy + PartialEq>(
    table: &mut Table<E, O>,
    entry: E,
    options: O,
    flush: impl FnOnce(&mut Table<E, O>),
) {
    if !table.takes(&entry, options) {
        flush(table);
    }
    table.push(entry, options);
}

fn launch<E: Entry, O: Copy + PartialEq>(driver: &Driver, name: &'static str, table: &mut Table<E, O>) {
    if let Some(blocks) = table.blocks() {
        driver.launch(&UPDATE, name, Geometry { grid: [blocks, 1, 1], threads: THREADS, shared: 0 }, table);
        table.clear();
    }
}

fn flat(length: usize) -> Geometry {
    Geometry { grid: [extent(length.div_ceil(PIECE)), 1, 1], threads: THREADS, shared: 0 }
}

pub(super) fn add(driver: &Driver, target: &mut Tensor, source: &Tensor) {
    let args = Flat {
        target: target.device_address(),
        source: source.device_address(),
        length: source.len() as u64,
        kind: kind(source.dtype()),
        value: 0.0,
    };
    driver.launch(&UPDATE, "add", flat(source.len()), &args);
}

pub(super) fn fill(driver: &Driver, tensor: &mut Tensor, value: f32) {
    let (target, length) = (tensor.device_address(), tensor.len());
    let args = Flat { target, source: 0, length: length as u64, kind: kind(tensor.dtype()), value };
    driver.launch(&UPDATE, "fill", flat(length), &args);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sgd(parameter: u64, grad: u64, velocity: u64) -> Sgd {
        Sgd { parameter, grad, velocity, length: 5 }
    }

    #[test]
    fn what_depends_on_what_waits_does_not_wait_beside_it() {
        let first = sgd(1, 2, 3);
        assert!(!first.conflicts(&sgd(4, 5, 6)));
        assert!(!first.conflicts(&sgd(4, 2, 6)), "one gradient may serve two");
        for other in [sgd(1, 5, 6), sgd(4, 5, 3), sgd(3, 5, 6), sgd(4, 1, 6), sgd(2, 5, 6), sgd(4, 5, 2)] {
            assert!(first.conflicts(&other) && other.conflicts(&first), "{other:?}");
        }
        let first = Ema { target: 1, source: 2, length: 5 };
        let ema = |target, source| Ema { target, source, length: 5 };
        assert!(!first.conflicts(&ema(3, 4)) && !first.conflicts(&ema(3, 2)));
        for other in [ema(1, 4), ema(2, 4), ema(3, 1)] {
            assert!(first.conflicts(&other) && other.conflicts(&first), "{other:?}");
        }
    }

    #[test]
    fn blocks_cover_what_is_flat() {
        let grid = |n| flat(n).grid[0];
        assert_eq!([0, 1, PIECE, PIECE + 1].map(grid), [0, 1, 1, 2]);
        // More elements than 32 bits count.
        assert_eq!(grid(1 << 33), 1 << 22);
    }
}
