//! The streams of copies beside the device's work: one for each way, since the bus goes both ways at once.

use super::context::Context;
use cudarc::driver::sys;
use std::sync::OnceLock;

/// Of a stream that does not wait for the default one (`CU_STREAM_NON_BLOCKING`).
const NON_BLOCKING: u32 = 1;

/// The streams of copies to the device and from it, made when the first is asked for.
#[derive(Default)]
pub(super) struct Transfers(OnceLock<Streams>);

#[derive(Clone, Copy)]
pub(super) struct Streams {
    pub(super) up: sys::CUstream,
    pub(super) down: sys::CUstream,
}

// SAFETY: handles of the driver, which takes them from any thread.
unsafe impl Send for Streams {}
// SAFETY: as above; they do not change.
unsafe impl Sync for Streams {}

impl Transfers {
    /// Both; the context is bound.
    pub(super) fn streams(&self, context: &Context) -> Streams {
        *self.0.get_or_init(|| {
            let mut made = Streams { up: std::ptr::null_mut(), down: std::ptr::null_mut() };
            // SAFETY: places for the handles; the context is bound.
            unsafe {
                context.note("cuStreamCreate", sys::cuStreamCreate(&raw mut made.up, NON_BLOCKING));
                context.note("cuStreamCreate", sys::cuStreamCreate(&raw mut made.down, NON_BLOCKING));
            }
            made
        })
    }

    /// Waits until all copies are done.
    pub(super) fn wait(&self, context: &Context) {
        let Some(Streams { up, down }) = self.0.get().copied() else { return };
        // SAFETY: streams of our own; the context is bound.
        unsafe {
            context.note("cuStreamSynchronize", sys::cuStreamSynchronize(up));
            context.note("cuStreamSynchronize", sys::cuStreamSynchronize(down));
        }
    }

    /// Destroys the streams, when they are empty.
    pub(super) fn clear(&self) {
        let Some(Streams { up, down }) = self.0.get().copied() else { return };
        // SAFETY: made in `streams`, and `Driver` asks for nothing after its drop.
        unsafe {
            let _ = sys::cuStreamDestroy_v2(up);
            let _ = sys::cuStreamDestroy_v2(down);
        }
    }
}
