//! The memory of a command that uses a trained network: planned and checked before, told after.

use crate::{format, output};
use anyhow::Result;
use mlaan::Device;
use mlaan::memory::limit::Limits;
use mlaan::plan::Needs;
use mlaan::process::Status;
use serde_json::{Value, json};

/// What a plan of a process is made of: tensors and images are known to the byte, the rest is what processes were found to take.
pub fn parts(planned: u64, allocated: u64) -> String {
    let rest = format::bytes(planned.saturating_sub(allocated));
    format!("{} of tensors and images, about {rest} for code, stacks and buffers", format::bytes(allocated))
}

/// What a command planned.
pub struct Planned {
    needs: Needs,
    device: Option<Device>,
}

impl Planned {
    /// Refuses what cannot fit, and makes room on the device for what is planned there.
    ///
    /// # Errors
    /// With both numbers, when it does not fit; when the system gives less than it said.
    pub fn begin(needs: Needs, device: &Device) -> Result<Self> {
        if let Some(warning) = Limits::of(device).check_use(&needs)? {
            output::note(&format!("warning: {warning}"));
        }
        device.pool().reserve(&needs.usage)?;
        Ok(Planned { needs, device: Some(device.clone()) })
    }

    /// As [`Planned::begin`], for a command that needs no device of its own.
    ///
    /// # Errors
    /// With both numbers, when it does not fit.
    pub fn process(needs: Needs) -> Result<Self> {
        Limits::of_this_process().check_use(&needs)?;
        Ok(Planned { needs, device: None })
    }

    /// Bytes of tensors and images at the most so far.
    fn allocated(&self) -> Option<u64> {
        self.device.as_ref().map(|d| d.usage().footprint as u64)
    }

    /// Bytes of the process at the most so far; none where they are not known, or not what was planned.
    fn peak(&self) -> Option<u64> {
        let elsewhere = self.device.as_ref().is_some_and(|d| d.kind().has_own_memory());
        Status::read().map(|s| s.peak).filter(|_| !elsewhere)
    }

    /// The peak so far, and the plan.
    pub fn text(&self) -> String {
        let planned = format!("planned {}", format::bytes(self.needs.memory() as u64));
        let allocated = self.allocated();
        match (self.peak(), allocated) {
            (Some(peak), Some(n)) => {
                format!("{} ({planned}; {} of tensors and images)", format::bytes(peak), format::bytes(n))
            }
            (Some(n), None) | (None, Some(n)) => format!("{} ({planned})", format::bytes(n)),
            (None, None) => planned,
        }
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        json!({
            "planned_bytes": self.needs.memory(),
            "peak_memory_bytes": self.peak(),
            "peak_allocated_bytes": self.allocated(),
        })
    }
}
