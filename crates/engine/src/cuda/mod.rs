//! NVIDIA GPUs: own kernels, compiled for the device at hand when it is opened.
//!
//! Nothing of CUDA is needed to build: driver and compiler are loaded at run time ([`devices`] says what is missing).
//! Operations are asked for in order on one stream and return at once; values are waited for when they are read.
//! How work is cut into blocks depends on sizes, and in `specialised` on the kind of device. Plans need no GPU: they
//! count the most of all kinds. Results are the same from run to run.

mod activation;
mod add;
mod args;
mod cache;
mod class_loss;
mod clipping;
mod context;
mod contrastive;
mod conv;
mod convolution;
mod deferred;
pub mod devices;
mod driver;
mod functions;
mod geometry;
mod graph;
mod images;
mod kernel_choice;
mod lars;
mod launch;
mod loss;
mod normalise;
mod nvrtc;
mod peak;
mod plane;
mod pool;
mod program;
mod resize;
mod rounding;
mod specialised;
mod staging;
mod streams;
mod sums;
mod table;
mod template;
mod tiles;
mod transfer;
mod update;
mod values;
mod weight_gradient;

use crate::backend::{Backend, Order};
use crate::memory::Memory;
use crate::operation::Planned;
use crate::{Error, Result};
use deferred::Transfer;
use driver::Driver;
use std::sync::Arc;

/// See the module.
pub(crate) struct Cuda {
    driver: Arc<Driver>,
    updates: table::Pending,
    /// Of the processor, for what is done beside the device.
    threads: usize,
}

/// The device's memory.
#[derive(Debug)]
struct DeviceMemory(Arc<Driver>);

impl Memory for DeviceMemory {
    fn allocate(&self, bytes: usize) -> Option<*mut u8> {
        self.0.allocate(bytes).map(|address| address as *mut u8)
    }

    fn free(&self, address: *mut u8, _: usize) {
        self.0.free(address as u64);
    }

    fn on_host(&self) -> bool {
        false
    }
}

impl Cuda {
    /// Device `ordinal`, counted from 0, and threads of the processor (all cores when `None`).
    ///
    /// # Errors
    /// [`Error::Unavailable`] with what is missing and how to get it.
    pub(crate) fn new(ordinal: usize, threads: Option<usize>) -> Result<Self> {
        let driver = Arc::new(Driver::open(ordinal)?);
        nvrtc::load().map_err(|message| Error::Unavailable { device: format!("cuda:{ordinal}"), message })?;
        let threads = threads.unwrap_or_else(crate::cores).max(1);
        Ok(Cuda { driver, updates: table::Pending::default(), threads })
    }

    /// The device's memory.
    pub(crate) fn memory(&self) -> impl Memory + use<> {
        DeviceMemory(Arc::clone(&self.driver))
    }

    /// The driver, with everything asked for that waits to be asked for together.
    fn driver(&self) -> &Driver {
        self.updates.flush(&self.driver);
        &self.driver
    }
}

/// Every program, for tests of the sources.
#[cfg(test)]
fn programs() -> Vec<&'static program::Program> {
    let mut all: Vec<&'static program::Program> = vec![&peak::PEAK, &normalise::NORMALISE, &add::ADD];
    all.extend([&activation::ACTIVATION, &pool::POOL, &resize::RESIZE]);
    all.extend([&loss::LOSS, &contrastive::CONTRASTIVE, &update::UPDATE, &lars::LARS, &images::IMAGES]);
    all.extend([&class_loss::CLASS_LOSS, &clipping::CLIPPING, &rounding::ROUNDING]);
    [all, convolution::programs(), weight_gradient::programs(), specialised::programs()].concat()
}

/// All GPUs need the same scratch.
pub(crate) struct Model;

impl Planned for Cuda {
    type Model = Model;

    fn model(&self) -> &Model {
        &Model
    }
}

impl Backend for Cuda {
    fn threads(&self) -> usize {
        self.threads
    }

    fn warning(&self) -> Option<&str> {
        cache::warning()
    }

    fn kernels(&self) -> Option<&'static str> {
        Some(self.driver.kernels.name())
    }

    fn scope(&self, f: &mut (dyn FnMut() + Send)) {
        self.driver.recorder.begin();
        f();
        let driver = self.driver();
        // Whatever device the thread worked with last.
        driver.bind();
        driver.settle();
        driver.recorder.end(driver);
    }

    fn multiply_adds(&self, rounds: usize) -> u64 {
        peak::run(self.driver(), rounds)
    }

    fn synchronize(&self) {
        let driver = self.driver();
        driver.wait();
        driver.transfers.wait(driver);
    }

    fn fault(&self) -> Option<Error> {
        self.driver.fault()
    }

    fn fail(&self, message: String) {
        self.driver.fail(message);
    }

    fn free_memory(&self) -> Option<usize> {
        self.driver.free_memory()
    }

    fn uuid(&self) -> Option<String> {
        self.driver.uuid()
    }

    fn lock(&self, bytes: usize) -> Option<*mut u8> {
        self.driver.lock_memory(bytes)
    }

    fn unlock(&self, address: *mut u8) {
        self.driver().unlock_memory(address);
    }

    fn new_order(&self) -> Order {
        self.driver.new_order()
    }

    fn end_order(&self, order: &Order) {
        self.driver().end_order(order);
    }

    fn fetch(&self, order: &Order, to: u64, from: *const u8, bytes: usize) {
        let Order { free, filled, .. } = *order;
        self.driver().transfer(Transfer::Fetch { free, filled, to, from: from as usize, bytes });
    }

    fn await_fetch(&self, order: &Order) {
        self.driver().transfer(Transfer::Await { event: order.filled });
    }

    fn await_store(&self, order: &Order) {
        self.driver().transfer(Transfer::Await { event: order.stored });
    }

    fn store(&self, order: &Order, from: u64, to: *mut u8, bytes: usize) {
        let Order { used, stored, .. } = *order;
        self.driver().transfer(Transfer::Store { used, stored, from, to: to as usize, bytes });
    }
}
