//! Updates of parameters.

use super::Cuda;
use super::program::{Program, entry};
use super::table::{Entry, Table};
use crate::backend::Scratch;
use crate::ops::{self, AdamWFactors, AdamWStep, EmaStep, Kernel, SgdStep};

pub(super) static UPDATE: Program = Program {
    name: "update.cu",
    source: include_str!("kernels/update.cu"),
    defines: &[],
    entries: &[
        entry::<Table<Sgd>>("sgd_many"),
        entry::<Table<AdamW>>("adamw_many"),
        entry::<Table<Ema>>("ema_many"),
        entry::<Flat>("add"),
        entry::<Flat>("fill"),
    ],
    shared: 0,
};

/// `struct Flat` of `kernels/update.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Flat {
    pub(super) target: u64,
    pub(super) source: u64,
    pub(super) length: u64,
    pub(super) kind: u32,
    pub(super) value: f32,
}

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
pub(super) struct SgdOptions {
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    nesterov: u32,
}

/// `struct AdamWEntry` of `kernels/update.cu`; its options are [`AdamWFactors`].
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct AdamW {
    parameter: u64,
    grad: u64,
    moments: [u64; 2],
    length: u64,
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
pub(super) struct EmaOptions {
    kept: f32,
    added: f32,
}

impl Entry for Sgd {
    type Options = SgdOptions;

    const KERNEL: (&'static Program, &'static str) = (&UPDATE, "sgd_many");

    fn changed(&self) -> [u64; 3] {
        [self.parameter, self.velocity, self.velocity]
    }

    fn read(&self) -> u64 {
        self.grad
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}

impl Entry for AdamW {
    type Options = AdamWFactors;

    const KERNEL: (&'static Program, &'static str) = (&UPDATE, "adamw_many");

    fn changed(&self) -> [u64; 3] {
        [self.parameter, self.moments[0], self.moments[1]]
    }

    fn read(&self) -> u64 {
        self.grad
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}

impl Entry for Ema {
    type Options = EmaOptions;

    const KERNEL: (&'static Program, &'static str) = (&UPDATE, "ema_many");

    fn changed(&self) -> [u64; 3] {
        [self.target; 3]
    }

    fn read(&self) -> u64 {
        self.source
    }

    fn length(&self) -> usize {
        self.length as usize
    }
}

impl Kernel<SgdStep<'_>> for Cuda {
    fn launch(&self, op: SgdStep<'_>, (): &mut (), _: Scratch<'_>) {
        let entry = Sgd {
            parameter: op.parameter.device_address(),
            grad: op.grad.device_address(),
            velocity: op.velocity.device_address(),
            length: op.grad.len() as u64,
        };
        let ops::Sgd { lr, momentum, weight_decay, nesterov } = op.options;
        let options = SgdOptions { lr, momentum, weight_decay, nesterov: nesterov.into() };
        self.updates.add(&self.driver, entry, options);
    }
}

impl Kernel<AdamWStep<'_>> for Cuda {
    fn launch(&self, op: AdamWStep<'_>, (): &mut (), _: Scratch<'_>) {
        let entry = AdamW {
            parameter: op.parameter.device_address(),
            grad: op.grad.device_address(),
            moments: op.moments.map(|t| t.device_address()),
            length: op.grad.len() as u64,
        };
        self.updates.add(&self.driver, entry, op.options.factors());
    }
}

impl Kernel<EmaStep<'_>> for Cuda {
    fn launch(&self, EmaStep { target, source, m }: EmaStep<'_>, (): &mut (), _: Scratch<'_>) {
        let (target, length) = (target.device_address(), source.len() as u64);
        let entry = Ema { target, source: source.device_address(), length };
        self.updates.add(&self.driver, entry, EmaOptions { kept: m, added: 1.0 - m });
    }
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
}
