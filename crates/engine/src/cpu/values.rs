//! Values in and out of tensors, copies and sums.

use super::Cpu;
use super::parallel::Shared;
use super::simd::Isa;
use super::update::{mix, ranges};
use super::value::{Value, typed, widen};
use crate::Element;
use crate::backend::Scratch;
use crate::ops::{AddAssign, CopyTensor, Download, DownloadBytes, Fill, Kernel, Upload, UploadBytes};

impl<T: Element> Kernel<Upload<'_, T>> for Cpu {
    fn launch(&self, Upload { tensor, values }: Upload<'_, T>, (): &mut (), _: Scratch<'_>) {
        // A tensor of another device has no host memory.
        let host = tensor.host_mut();
        if host.len() == values.len() {
            host.copy_from_slice(values);
        }
    }
}

impl Kernel<Download<'_>> for Cpu {
    fn launch(&self, Download { tensor, values }: Download<'_>, (): &mut (), _: Scratch<'_>) {
        typed!(tensor.dtype(), X => widen(tensor.host::<X>(), values));
    }
}

impl Kernel<UploadBytes<'_>> for Cpu {
    fn launch(&self, UploadBytes { tensor, bytes }: UploadBytes<'_>, (): &mut (), _: Scratch<'_>) {
        let host = tensor.host_bytes_mut();
        if host.len() == bytes.len() {
            host.copy_from_slice(bytes);
        }
    }
}

impl Kernel<DownloadBytes<'_>> for Cpu {
    fn launch(&self, DownloadBytes { tensor, bytes }: DownloadBytes<'_>, (): &mut (), _: Scratch<'_>) {
        let host = tensor.host_bytes();
        if host.len() == bytes.len() {
            bytes.copy_from_slice(host);
        }
    }
}

impl Kernel<Fill<'_>> for Cpu {
    fn launch(&self, Fill { tensor, value }: Fill<'_>, (): &mut (), _: Scratch<'_>) {
        typed!(tensor.dtype(), X => {
            let t = tensor.host_mut::<X>();
            self.run(|| fill(t, value));
        });
    }
}

impl Kernel<CopyTensor<'_>> for Cpu {
    fn launch(&self, op: CopyTensor<'_>, (): &mut (), _: Scratch<'_>) {
        typed!(op.target.dtype(), X => {
            let (t, s) = (op.target.host_mut::<X>(), op.source.host());
            self.run(|| copy(t, s));
        });
    }
}

impl Kernel<AddAssign<'_>> for Cpu {
    fn launch(&self, op: AddAssign<'_>, (): &mut (), _: Scratch<'_>) {
        typed!(op.target.dtype(), X => {
            let (t, s) = (op.target.host_mut::<X>(), op.source.host());
            self.run(|| add(self.isa(), t, s));
        });
    }
}

fn add<E: Value>(isa: Isa, target: &mut [E], source: &[E]) {
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(source.len(), 1, |r| mix(isa, unsafe { shared.part(r.clone()) }, &source[r], 1.0, 1.0));
}

fn fill<E: Value>(target: &mut [E], value: f32) {
    let len = target.len();
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(len, 1, |r| unsafe { shared.part(r) }.fill(E::narrow(value)));
}

fn copy<E: Value>(target: &mut [E], source: &[E]) {
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(source.len(), 1, |r| unsafe { shared.part(r.clone()) }.copy_from_slice(&source[r]));
}
