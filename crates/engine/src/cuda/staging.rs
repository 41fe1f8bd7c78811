//! Pinned host memory through which bytes go to the device and come back: a copy from it is asked for like a kernel, where
//! one from other memory may wait for the stream first, and one to it goes at the speed of the bus.
//!
//! On the way up blocks serve in turn, small copies and large ones apart. An event behind each copy says when its block is free
//! again: whoever comes before that waits, with all that was asked for since still before the device. On the way down there are
//! two blocks: the device fills one while the processor empties the other.

use super::context::{Context, lock};
use cudarc::driver::sys::{self, CUresult};
use std::sync::Mutex;

/// Bytes of a small copy at the most: labels and draws of a batch.
const SMALL: usize = 64 << 10;
/// Bytes that are staged at the most, as a batch of images; more than that, as a whole data set, is brought once.
const LARGEST: usize = 128 << 20;
/// Blocks of small copies, a few for each step that is asked for ahead, and of large ones.
const BLOCKS: [usize; 2] = [96, 3];
/// Bytes that come down at a time, and blocks for them.
const PIECE: usize = 4 << 20;
const DOWN: usize = 2;
/// Blocks are as large as a multiple of this.
const ROUNDED: usize = 4 << 10;

/// Of an event that is not to be timed (`CU_EVENT_DISABLE_TIMING`).
const UNTIMED: u32 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct Staging {
    up: Mutex<[Ring; 2]>,
    down: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    blocks: Vec<Block>,
    next: usize,
    /// Whether the system locks no more memory: what does not fit is copied the usual way.
    refused: bool,
}

struct Block {
    address: *mut u8,
    bytes: usize,
    /// Reached when the last copy from it is done.
    event: sys::CUevent,
}

// SAFETY: memory and a handle of the driver, used behind a mutex.
unsafe impl Send for Block {}

impl Staging {
    /// Copies bytes to the device in the order of the stream, without waiting for it; false where this memory cannot
    /// serve. The context is bound and the stream records nothing.
    pub(super) fn upload(&self, context: &Context, address: u64, bytes: &[u8]) -> bool {
        if bytes.is_empty() || bytes.len() > LARGEST {
            return false;
        }
        let mut rings = lock(&self.up);
        let which = usize::from(bytes.len() > SMALL);
        let Some(block) = rings[which].take(context, BLOCKS[which], bytes.len()) else { return false };
        // SAFETY: the block is as large and no copy reads it any more; the caller owns a tensor of that length there.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.address, bytes.len());
            let r = sys::cuMemcpyHtoDAsync_v2(address, block.address.cast(), bytes.len(), context.stream);
            context.note("cuMemcpyHtoDAsync", r);
            context.note("cuEventRecord", sys::cuEventRecord(block.event, context.stream));
        }
        true
    }

    /// Copies bytes from the device behind what was asked for so far, and waits for them; false where this memory cannot serve.
    /// The context is bound and the stream records nothing.
    pub(super) fn download(&self, context: &Context, address: u64, bytes: &mut [u8]) -> bool {
        let mut ring = lock(&self.down);
        let pieces = bytes.len().div_ceil(PIECE);
        if pieces == 0 || !ring.has(pieces.min(DOWN), bytes.len().min(PIECE)) {
            return false;
        }
        let (mut from, mut asked) = (address, 0);
        for k in 0..pieces {
            // The next one, too, into the block that was emptied last.
            while asked < pieces.min(k + DOWN) {
                let length = PIECE.min(bytes.len() - asked * PIECE);
                ring.blocks[asked % DOWN].fill(context, from, length);
                (from, asked) = (from + length as u64, asked + 1);
            }
            let part = &mut bytes[k * PIECE..];
            let length = part.len().min(PIECE);
            ring.blocks[k % DOWN].empty(context, &mut part[..length]);
        }
        true
    }

    /// Gives everything back; the stream must be empty.
    pub(super) fn clear(&self) {
        for ring in lock(&self.up).iter_mut().chain([&mut *lock(&self.down)]) {
            ring.blocks.drain(..).for_each(Block::free);
        }
    }
}

impl Ring {
    /// The next of `count` blocks, with room for so many bytes; none where there is none to have.
    fn take(&mut self, context: &Context, count: usize, bytes: usize) -> Option<&Block> {
        // Where the system locks no more, those that are there serve alone.
        let at = if self.refused && self.next >= self.blocks.len() { 0 } else { self.next };
        if let Some(block) = self.blocks.get(at) {
            // SAFETY: an event of our own.
            context.note("cuEventSynchronize", unsafe { sys::cuEventSynchronize(block.event) });
        }
        if self.blocks.get(at).is_none_or(|b| b.bytes < bytes) {
            let made = if self.refused { None } else { Block::new(bytes.next_multiple_of(ROUNDED)) };
            self.refused = made.is_none();
            let block = made?;
            match self.blocks.get_mut(at) {
                Some(old) => std::mem::replace(old, block).free(),
                None => self.blocks.push(block),
            }
        }
        self.next = (at + 1) % count;
        self.blocks.get(at)
    }

    /// Whether there are `count` blocks with room for so many bytes each, which nobody copies to or from.
    fn has(&mut self, count: usize, bytes: usize) -> bool {
        for at in 0..count {
            if self.blocks.get(at).is_some_and(|b| b.bytes >= bytes) {
                continue;
            }
            let made = if self.refused { None } else { Block::new(bytes.next_multiple_of(ROUNDED)) };
            self.refused = made.is_none();
            match (made, self.blocks.get_mut(at)) {
                (None, _) => return false,
                (Some(block), Some(old)) => std::mem::replace(old, block).free(),
                (Some(block), None) => self.blocks.push(block),
            }
        }
        true
    }
}

impl Block {
    fn new(bytes: usize) -> Option<Self> {
        let (mut address, mut event): (*mut std::ffi::c_void, sys::CUevent) =
            (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: places for the results, both given back in `free`.
        unsafe {
            if sys::cuMemHostAlloc(&raw mut address, bytes, 0) != CUresult::CUDA_SUCCESS {
                return None;
            }
            if sys::cuEventCreate(&raw mut event, UNTIMED) != CUresult::CUDA_SUCCESS {
                let _ = sys::cuMemFreeHost(address);
                return None;
            }
        }
        Some(Block { address: address.cast(), bytes, event })
    }

    /// Asks for a copy of `length` bytes from the device, which [`Block::empty`] waits for.
    fn fill(&self, context: &Context, from: u64, length: usize) {
        let length = length.min(self.bytes);
        // SAFETY: the block is as large and was emptied; `download`'s caller owns a tensor there with so many bytes left.
        unsafe {
            let r = sys::cuMemcpyDtoHAsync_v2(self.address.cast(), from, length, context.stream);
            context.note("cuMemcpyDtoHAsync", r);
            context.note("cuEventRecord", sys::cuEventRecord(self.event, context.stream));
        }
    }

    /// Waits for what it was filled with, and takes it.
    fn empty(&self, context: &Context, to: &mut [u8]) {
        let length = to.len().min(self.bytes);
        // SAFETY: an event of our own, behind the copy; after it nobody else touches the block, which is as large.
        unsafe {
            context.note("cuEventSynchronize", sys::cuEventSynchronize(self.event));
            std::ptr::copy_nonoverlapping(self.address, to.as_mut_ptr(), length);
        }
    }

    fn free(self) {
        // SAFETY: made in `new`, and no copy reads or writes it any more.
        unsafe {
            let _ = sys::cuEventDestroy_v2(self.event);
            let _ = sys::cuMemFreeHost(self.address.cast());
        }
    }
}
