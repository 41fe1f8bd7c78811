//! What to compute with.

use super::values::{DEVICES, parse_threads};
use crate::device::Place;
use anyhow::Result;
use clap::Args;
use mlaan_engine::{Device, Kind};

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
    pub fn kind(&self) -> Kind {
        self.device.kind(self.threads())
    }

    /// Threads as asked for.
    pub fn threads(&self) -> Option<usize> {
        self.processor.threads
    }
}
