//! Updates of a group of parameters, whose gradients are first clipped by their common norm (METHOD §7).
//!
//! The gradients of a network never exist all at once, so groups are what does: a module's own part of the network, the last
//! one's with the classifier, and an auxiliary network. Norms stay on the device: nothing is waited for.

use crate::Result;
use crate::nn::optim::Rate;
use crate::nn::{Optimizer, Param};
use mlaan_engine::ops::square_sums;
use mlaan_engine::{DType, Device, MemoryCategory};

/// Shows every parameter of a group, in a fixed order.
pub(super) type Group<'a> = &'a mut dyn FnMut(&mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()>;

/// Clips the gradients of a group, where the optimiser does, and applies them.
///
/// # Errors
/// From the device.
pub(super) fn update(device: &Device, optimizer: &Optimizer, rate: Rate, group: Group<'_>) -> Result<()> {
    clipped(device, optimizer, group)?;
    group(&mut |p| optimizer.update(device, p, rate))
}

/// Clips the gradients of a group, where the optimiser does.
///
/// # Errors
/// From the device.
pub(super) fn clipped(device: &Device, optimizer: &Optimizer, group: Group<'_>) -> Result<()> {
    optimizer.clip_grad_norm.map_or(Ok(()), |most| clip(device, most, group))
}

/// Multiplies the gradients of a group by min(1, most / (norm + 1e-6)).
fn clip(device: &Device, most: f32, group: Group<'_>) -> Result<()> {
    let mut count = 0;
    group(&mut |p| {
        count += p.grad().map_or(0, |g| square_sums(g.len()));
        Ok(())
    })?;
    if count == 0 {
        return Ok(());
    }
    let mut sums = device.alloc([count], DType::F32, MemoryCategory::Gradients)?;
    let mut first = 0;
    group(&mut |p| {
        let Some(grad) = p.grad() else { return Ok(()) };
        device.sum_squares(grad, &mut sums, first)?;
        first += square_sums(grad.len());
        Ok(())
    })?;
    let mut coefficient = device.alloc([1], DType::F32, MemoryCategory::Gradients)?;
    device.clip_coefficient(&sums, most, &mut coefficient)?;
    group(&mut |p| match p.learned.and_then(|l| l.grad.as_mut()) {
        Some(grad) => Ok(device.scale(grad, &coefficient)?),
        None => Ok(()),
    })
}
