//! Tensors that are kept in page-locked host memory and come to the device by turns (offloading).
//!
//! Tensors that are used together are a *group* ([`Offloaded`]): they lie one after the other in host memory, and in one block of
//! the device while they are used. A group is fetched, used, stored, and its block released; the copies go beside the
//! device's work, on streams of their own. The block is of the pool as any other: whoever had its memory before and has it next
//! are operations of the device's own stream. So four events order all of it: the copy to the device comes behind the operations so
//! far, the operations that use the group behind that copy, the copy to the host behind these, and what is asked for when the block is
//! released behind that. A group is released before it is fetched again, which orders the host's memory, too.

use crate::backend::Order;
use crate::memory::{ALIGN, Block, MemoryCategory};
use crate::{Device, Error, Result, Tensor};
use std::sync::Arc;

/// Shows the tensors of a group, always in the same order.
pub type Tensors<'a, E> = &'a mut dyn FnMut(
    &mut dyn FnMut(&mut Tensor) -> std::result::Result<(), E>,
) -> std::result::Result<(), E>;

/// Page-locked host memory.
struct Locked {
    device: Device,
    /// Null where nothing is computed.
    address: *mut u8,
    bytes: usize,
}

// SAFETY: plain memory, touched through `&mut` of its owner, and by copies that the device orders.
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
    memory: Locked,
    /// Bytes of its block.
    room: usize,
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
}

impl Device {
    /// Moves tensors to host memory, where they stay until they are [fetched](Device::fetch): meanwhile they have sizes and
    /// no values.
    ///
    /// # Errors
    /// On a device whose memory is the host's; where the system locks no more memory; what `visit` returns.
    pub fn offload<E: From<Error>>(&self, visit: Tensors<'_, E>) -> std::result::Result<Offloaded, E> {
        if !self.kind().has_own_memory() {
            let message = "its memory is the host's: there is nowhere to move tensors to".into();
            return Err(Error::Unavailable { device: self.name().into(), message }.into());
        }
        let mut bytes = 0;
        visit(&mut |t| {
            bytes += room(t);
            Ok(())
        })?;
        let memory = self.locked(bytes)?;
        let mut at = 0;
        visit(&mut |t| {
            if at + room(t) > bytes {
                return Err(self.not_of(t, bytes).into());
            }
            if !memory.address.is_null() {
                // SAFETY: the memory has room for this tensor, as was looked at above, and nobody else uses it; any bytes may be
                // overwritten.
                let to = unsafe { std::slice::from_raw_parts_mut(memory.address.add(at), t.bytes()) };
                self.download_bytes(t, to)?;
            }
            at += room(t);
            t.lie_in(Block::away(self.pool()));
            Ok(())
        })?;
        let order = Ordered(self.clone(), self.backend().new_order());
        Ok(Offloaded { order, place: Place::Host, memory, room: bytes })
    }

    /// Another visit than the first one shows other tensors.
    fn not_of(&self, t: &Tensor, bytes: usize) -> Error {
        let message = format!("a tensor of {:?} is not of the {bytes} bytes that are moved", t.shape());
        Error::Failed { device: self.name().into(), message }
    }

    fn locked(&self, bytes: usize) -> Result<Locked> {
        let address = if bytes == 0 { Some(std::ptr::null_mut()) } else { self.backend().lock(bytes) };
        let address = address.ok_or_else(|| Error::Unavailable {
            device: self.name().into(),
            message: format!(
                "cannot page-lock {:.1} MiB of host memory to keep tensors in; free some, or keep them on the device \
                 (local.offload=none)",
                bytes as f64 / (1 << 20) as f64
            ),
        })?;
        self.pool().count_host(bytes as isize);
        Ok(Locked { device: self.clone(), address, bytes })
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
            let block = self.take(group.room, MemoryCategory::Parameters)?;
            let (to, from) = (block.device_address(), group.memory.address);
            self.backend().fetch(&group.order.1, to, from, group.memory.bytes);
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
        let (mut at, bytes) = (0, group.bytes());
        visit(&mut |t| {
            if at + room(t) > bytes {
                return Err(self.not_of(t, bytes).into());
            }
            t.lie_in(block.part(at, t.bytes()));
            at += room(t);
            Ok(())
        })
    }

    /// Copies the tensors of a group back to host memory, beside the work to come, behind what was asked for so far. They have no
    /// values until they are fetched again, and their memory on the device is theirs until it is [released](Device::release). Does
    /// nothing to a group that was not fetched.
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
                self.backend().store(
                    &group.order.1,
                    block.device_address(),
                    group.memory.address,
                    group.memory.bytes,
                );
                group.place = Place::Going(block);
            }
            other => {
                group.place = other;
                return Ok(());
            }
        }
        visit(&mut |t| {
            t.lie_in(Block::away(self.pool()));
            Ok(())
        })
    }

    /// Gives a group's memory on the device back, for what is asked for from here on: behind the copy to the host, or where it was only
    /// on its way, behind that. Does nothing while it is used.
    pub fn release(&self, group: &mut Offloaded) {
        match std::mem::replace(&mut group.place, Place::Host) {
            Place::Coming(_block) => self.backend().await_fetch(&group.order.1),
            Place::Going(_block) => self.backend().await_store(&group.order.1),
            other => group.place = other,
        }
    }
}

/// What a tensor takes of a group.
fn room(tensor: &Tensor) -> usize {
    tensor.bytes().max(1).next_multiple_of(ALIGN)
}
