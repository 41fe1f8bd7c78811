//! Tensors that are kept in pinned host memory and come to the device by turns (offloading).
//!
//! Tensors that are used together are a *group* ([`Offloaded`]): they lie one after the other in host memory, and in one block of
//! the device while they are used. A group is fetched, used, stored, and its block released; the copies go beside the
//! device's work, on streams of their own. The block is of the pool as any other: whoever had its memory before and has it next
//! are operations of the device's own stream. So four events order all of it: the copy to the device comes behind the operations so
//! far, the operations that use the group behind that copy, the copy to the host behind these, and what is asked for when the block is
//! released behind that. A group is released before it is fetched again, which orders the host's memory, too.

use crate::backend::Order;
use crate::memory::{ALIGN, Block, Keeper, MemoryCategory};
use crate::{Device, Error, Result, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shows the tensors of a group, always in the same order.
pub type Tensors<'a, E> = &'a mut dyn FnMut(
    &mut dyn FnMut(&mut Tensor) -> std::result::Result<(), E>,
) -> std::result::Result<(), E>;

/// Pinned host memory of a group. Its tensors hold it, too, while they are not on the device.
struct Locked {
    device: Device,
    /// Null where nothing is computed.
    address: *mut u8,
    bytes: usize,
    /// Whether it is being copied to the device for whoever computes next: what is written now would not get there.
    leaves: AtomicBool,
}

// SAFETY: plain memory. Copies of the device write it only while no tensor is kept in it (between `fetch` and the end of what `store`
// asked for, which is waited for below), and one tensor's part is written through `&mut` of that tensor.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        if !self.address.is_null() {
            self.device.backend().unlock(self.address);
        }
        self.device.pool().count_host(-(self.bytes as isize));
    }
}

impl std::fmt::Debug for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locked").field("bytes", &self.bytes).finish()
    }
}

impl Locked {
    /// Where `bytes` bytes from `offset` on lie, behind all copies; none where nothing is computed.
    fn at(&self, offset: usize, bytes: usize) -> Result<Option<*mut u8>> {
        self.device.synchronize()?;
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            let message = format!("{bytes} bytes at {offset} are not of the {} that are kept", self.bytes);
            return Err(Error::Failed { device: self.device.name().into(), message });
        }
        Ok((!self.address.is_null()).then(|| self.address.wrapping_add(offset)))
    }
}

impl Keeper for Locked {
    fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        if let Some(from) = self.at(offset, bytes.len())? {
            // SAFETY: within the memory, as was just looked at; no copy writes it any more, and the caller borrows the tensor that is kept there.
            unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        }
        Ok(())
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        if self.leaves.load(Ordering::Acquire) {
            let message = "a tensor is written in host memory while it is being copied to the device".into();
            return Err(Error::Failed { device: self.device.name().into(), message });
        }
        if let Some(to) = self.at(offset, bytes.len())? {
            // SAFETY: as above; the caller borrows the tensor to write.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        }
        Ok(())
    }

    fn misused(&self) {
        let message =
            "an operation was asked for with a tensor that is offloaded to host memory and was not fetched";
        self.device.backend().fail(message.into());
    }
}

/// Where a group's values are.
#[derive(Debug)]
enum Place {
    /// In host memory alone.
    Host,
    /// On their way to the device.
    Coming(Block),
    /// On the device, in the tensors.
    Here(Arc<Block>),
    /// On their way back.
    Going(Arc<Block>),
}

/// Tensors that are kept in host memory. See the module.
pub struct Offloaded {
    // Dropped in this order: the block after the copies to and from it.
    order: Ordered,
    place: Place,
    memory: Arc<Locked>,
    /// Bytes of its block, and how many of them are of what an optimiser keeps.
    room: usize,
    optimiser: usize,
}

/// Events of a device.
struct Ordered(Device, Order);

impl Drop for Ordered {
    fn drop(&mut self) {
        self.0.backend().end_order(&self.1);
    }
}

impl std::fmt::Debug for Offloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offloaded").field("bytes", &self.memory.bytes).field("place", &self.place).finish()
    }
}

impl Offloaded {
    /// Bytes that it takes in host memory, and that are copied.
    pub fn bytes(&self) -> usize {
        self.memory.bytes
    }

    /// From now on it takes so many bytes of the device while it is there, or its own where these are more. Groups that come by turns and
    /// take equal room lie where others went: none of nearly their size leaves a hole that is too small for the next.
    pub fn take_room(&mut self, bytes: usize) {
        self.room = bytes.max(self.memory.bytes);
    }

    /// Lets tensors be kept in host memory, in the order of `visit`.
    fn keep<E: From<Error>>(&self, visit: Tensors<'_, E>) -> std::result::Result<(), E> {
        let mut at = 0;
        visit(&mut |t| {
            self.check(t, at)?;
            t.lie_with(Arc::clone(&self.memory) as Arc<dyn Keeper>, at);
            at += room(t);
            Ok(())
        })
    }

    /// Whether a tensor that a visit shows `at` so many bytes is one that the first visit showed.
    fn check(&self, t: &Tensor, at: usize) -> Result<()> {
        let bytes = self.memory.bytes;
        if at + room(t) <= bytes {
            return Ok(());
        }
        let message = format!("a tensor of {:?} is not of the {bytes} bytes that are moved", t.shape());
        Err(Error::Failed { device: self.memory.device.name().into(), message })
    }
}

impl Device {
    /// Moves tensors to host memory, where they stay until they are [fetched](Device::fetch): meanwhile they can be
    /// [read](Device::download) and [written](Device::upload) there, and an operation on one lets the device fail.
    ///
    /// # Errors
    /// On a device whose memory is the host's; where the system locks no more memory; what `visit` returns.
    pub fn offload<E: From<Error>>(&self, visit: Tensors<'_, E>) -> std::result::Result<Offloaded, E> {
        if !self.kind().has_own_memory() {
            let message = "its memory is the host's: there is nowhere to move tensors to".into();
            return Err(Error::Unavailable { device: self.name().into(), message }.into());
        }
        let (mut bytes, mut optimiser) = (0, 0);
        visit(&mut |t| {
            bytes += room(t);
            optimiser += if t.category() == MemoryCategory::Optimiser { room(t) } else { 0 };
            Ok(())
        })?;
        let (memory, order) = (Arc::new(self.locked(bytes)?), self.backend().new_order());
        let order = Ordered(self.clone(), order);
        let group = Offloaded { order, place: Place::Host, memory, room: bytes, optimiser };
        let mut at = 0;
        visit(&mut |t| {
            group.check(t, at)?;
            let mut values = vec![0; if self.computes() { t.bytes() } else { 0 }];
            if self.computes() {
                self.download_bytes(t, &mut values)?;
            }
            group.memory.write(at, &values)?;
            at += room(t);
            Ok(())
        })?;
        group.keep(visit)?;
        Ok(group)
    }

    fn locked(&self, bytes: usize) -> Result<Locked> {
        let address = if bytes == 0 { Some(std::ptr::null_mut()) } else { self.backend().lock(bytes) };
        let address = address.ok_or_else(|| Error::Unavailable {
            device: self.name().into(),
            message: format!(
                "cannot pin {:.1} MiB of host memory to keep tensors in; free some, or keep them on the device \
                 (local.offload=none)",
                bytes as f64 / (1 << 20) as f64
            ),
        })?;
        self.pool().count_host(bytes as isize);
        Ok(Locked { device: self.clone(), address, bytes, leaves: AtomicBool::new(false) })
    }

    /// Has a group copied to the device, beside the work to come, so that [`Device::fetch`] need not wait for it. Does nothing where
    /// it is there or on its way.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn prefetch(&self, group: &mut Offloaded) -> Result<()> {
        if let Place::Going(_) = group.place {
            self.release(group);
        }
        if let Place::Host = group.place {
            let optimiser = (MemoryCategory::Optimiser, group.optimiser);
            let block = self.take_for(group.room, MemoryCategory::Parameters, optimiser)?;
            let (to, from) = (block.device_address(), group.memory.address);
            group.memory.leaves.store(true, Ordering::Release);
            self.backend().fetch(&group.order.1, to, from, group.memory.bytes);
            self.count_fetched(group.memory.bytes);
            group.place = Place::Coming(block);
        }
        Ok(())
    }

    /// Brings the tensors of a group to the device, for the operations that are asked for from here on.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; tensors that are not the group's; what `visit` returns.
    pub fn fetch<E: From<Error>>(
        &self,
        group: &mut Offloaded,
        visit: Tensors<'_, E>,
    ) -> std::result::Result<(), E> {
        self.prefetch(group)?;
        let block = match std::mem::replace(&mut group.place, Place::Host) {
            Place::Coming(block) => block,
            // Its tensors are here already.
            other => {
                group.place = other;
                return Ok(());
            }
        };
        self.backend().await_fetch(&group.order.1);
        let block = Arc::new(block);
        group.place = Place::Here(Arc::clone(&block));
        let mut at = 0;
        visit(&mut |t| {
            group.check(t, at)?;
            t.lie_in(block.part(at, t.bytes(), t.category()));
            at += room(t);
            Ok(())
        })
    }

    /// Copies the tensors of a group back to host memory, beside the work to come, behind what was asked for so far. From now on they are
    /// kept there, and their memory on the device is theirs until it is [released](Device::release). Does nothing to a group that
    /// was not fetched.
    ///
    /// # Errors
    /// What `visit` returns.
    pub fn store<E: From<Error>>(
        &self,
        group: &mut Offloaded,
        visit: Tensors<'_, E>,
    ) -> std::result::Result<(), E> {
        match std::mem::replace(&mut group.place, Place::Host) {
            Place::Here(block) => {
                let (from, to) = (block.device_address(), group.memory.address);
                self.backend().store(&group.order.1, from, to, group.memory.bytes);
                group.memory.leaves.store(false, Ordering::Release);
                group.place = Place::Going(block);
            }
            other => {
                group.place = other;
                return Ok(());
            }
        }
        group.keep(visit)
    }

    /// Gives a group's memory on the device back, for what is asked for from here on: behind the copy to the host, or where it was only
    /// on its way, behind that. Does nothing while it is used.
    pub fn release(&self, group: &mut Offloaded) {
        match std::mem::replace(&mut group.place, Place::Host) {
            Place::Coming(_block) => {
                self.backend().await_fetch(&group.order.1);
                group.memory.leaves.store(false, Ordering::Release);
            }
            Place::Going(_block) => self.backend().await_store(&group.order.1),
            other => group.place = other,
        }
    }
}

/// What a tensor takes of a group.
fn room(tensor: &Tensor) -> usize {
    tensor.bytes().max(1).next_multiple_of(ALIGN)
}
