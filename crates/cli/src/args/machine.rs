//! What to compute with.

use super::values::{DEVICES, parse_positive, parse_threads};
use crate::device::Place;
use crate::places::Places;
use anyhow::Result;
use clap::Args;
use mlaan_engine::{Device, DeviceKind};

/// Where to compute, and with how much of the processor.
#[derive(Args, Clone, Copy, Debug)]
pub struct Machine {
    /// Where to compute (`mlaan devices` lists what there is)
    #[arg(long, value_name = DEVICES, default_value = "cpu", value_parser = Place::parse)]
    pub device: Place,
    /// How much of the processor.
    #[command(flatten)]
    pub processor: Processor,
}

/// Where the stages of a run compute, and with how much of the processor.
#[derive(Args, Clone, Debug)]
pub struct Machines {
    /// Where to compute (`mlaan devices` lists what there is)
    #[arg(long, value_name = DEVICES, default_value = "cpu", value_parser = Places::parse)]
    pub device: Places,
    /// Pipeline parallelism: cut the modules into N stages of about the same compute, which work side by side on
    /// successive batches; results are the same. Each has a device (--device cuda:0,cuda:1), or on the processor its part
    /// of the threads [default: one per device]
    #[arg(long, value_name = "N", value_parser = parse_positive, conflicts_with = "memory")]
    pub stages: Option<usize>,
    /// How much of the processor.
    #[command(flatten)]
    pub processor: Processor,
}

impl Machines {
    /// A device per stage.
    ///
    /// # Errors
    /// As [`Places::open`].
    pub fn open(&self) -> Result<Vec<Device>> {
        self.device.open(self.stages, self.processor.threads)
    }

    /// The device of a rank, by its number on this machine; `threads`: those that it has unless others are asked for.
    ///
    /// # Errors
    /// As [`Places::open`].
    pub fn open_rank(&self, local: usize, threads: usize) -> Result<Device> {
        self.device.open_rank(local, self.processor.threads.unwrap_or(threads))
    }

    /// What a plan has to know of them.
    ///
    /// # Errors
    /// As [`Places::open`].
    pub fn kinds(&self) -> Result<Vec<DeviceKind>> {
        self.device.kinds(self.stages, self.processor.threads)
    }

    /// What a plan for one stage has to know, with all threads.
    pub fn kind(&self) -> DeviceKind {
        self.device.first().kind(self.processor.threads)
    }
}

/// How much of the processor.
#[derive(Args, Clone, Copy, Debug)]
pub struct Processor {
    /// Threads to compute with, or beside a GPU to load images with; results do not depend on it [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub threads: Option<usize>,
}

impl Machine {
    /// The device.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn open(&self) -> Result<Device> {
        self.device.open(self.threads())
    }

    /// What a plan has to know of it.
    pub fn kind(&self) -> DeviceKind {
        self.device.kind(self.threads())
    }

    /// Threads as asked for.
    pub fn threads(&self) -> Option<usize> {
        self.processor.threads
    }
}
