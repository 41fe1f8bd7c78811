//! Kernel launches, in the order of the stream.

use super::args::extent;
use super::context::{describe, lock};
use super::deferred::{self, Launch, Work};
use super::driver::Driver;
use super::functions::Function;
use super::geometry::Geometry;
use super::program::Program;
use cudarc::driver::sys::{self, CUresult};
use std::ffi::{c_int, c_void};

impl Driver {
    /// Runs a kernel in the order of the stream. `arguments` is the one value that the kernel takes.
    pub(super) fn launch<T: Copy>(
        &self,
        program: &'static Program,
        entry: &'static str,
        geometry: Geometry,
        arguments: &T,
    ) {
        self.ask(program, entry, geometry, arguments, false);
    }

    /// The same for a kernel whose blocks go on along the grid's first axis: no more of them than the device runs at once.
    pub(super) fn launch_resident<T: Copy>(
        &self,
        program: &'static Program,
        entry: &'static str,
        geometry: Geometry,
        arguments: &T,
    ) {
        self.ask(program, entry, geometry, arguments, true);
    }

    fn ask<T: Copy>(
        &self,
        program: &'static Program,
        entry: &'static str,
        geometry: Geometry,
        arguments: &T,
        resident: bool,
    ) {
        debug_assert!(program.entries.iter().any(|e| e.name == entry && e.bytes == size_of::<T>()));
        if geometry.grid.contains(&0) || lock(&self.fault).is_some() {
            return;
        }
        let loaded = if self.launches.deferred.waits() { None } else { self.function(program, entry) };
        match loaded {
            Some(f) => self.issue(f, entry, geometry, std::ptr::from_ref(arguments).cast(), resident),
            None => {
                let launch = Launch::new(program, entry, geometry, resident, arguments);
                self.launches.deferred.push(Work::Launch(launch));
            }
        }
    }

    /// Launches a kernel; `arguments` points to the one value that it takes.
    fn issue(&self, f: Function, entry: &str, geometry: Geometry, arguments: *const c_void, resident: bool) {
        self.bind();
        let [mut x, y, z] = geometry.grid;
        if resident {
            // Not one more: those that do not run at once run alone at the end.
            x = x.min((self.resident(f, geometry) / (y * z)).max(1));
        }
        self.recorder.record(self);
        let mut parameters = [arguments.cast_mut()];
        // SAFETY: the kernel takes one value of the arguments' layout (tested for each kernel). Addresses in it are those
        // of tensors that the operation borrowed when it was asked for. By now they may be dropped: what waits for its
        // kernels, updates that wait for others, and what was recorded run later. But they are on the stream before any
        // later operation (`Cuda::driver`, `Deferred`, `Recorder`), so before their memory is another's, and the memory
        // itself is freed only when no operation can come any more (`Driver::free`).
        let r = unsafe {
            let (shared, parameters) = (geometry.shared, parameters.as_mut_ptr());
            sys::cuLaunchKernel(
                f.0,
                x,
                y,
                z,
                geometry.threads,
                1,
                1,
                shared,
                self.stream,
                parameters,
                std::ptr::null_mut(),
            )
        };
        if r != CUresult::CUDA_SUCCESS {
            self.fail(format!("{entry} {geometry:?}: {}", describe("cuLaunchKernel", r)));
        }
    }

    /// Copies within the device.
    pub(super) fn copy(&self, to: u64, from: u64, bytes: usize) {
        if lock(&self.fault).is_some() {
            return;
        }
        if self.launches.deferred.waits() {
            return self.launches.deferred.push(Work::Copy { to, from, bytes });
        }
        self.issue_copy(to, from, bytes);
    }

    fn issue_copy(&self, to: u64, from: u64, bytes: usize) {
        self.bind();
        self.recorder.record(self);
        // SAFETY: both were tensors of that length when the copy was asked for; as for a launch.
        self.note("cuMemcpyDtoDAsync", unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, self.stream) });
    }

    /// Asks for what waits for its kernels, which are compiled first. What is asked for meanwhile waits, too.
    pub(super) fn settle(&self) {
        while let Some((_settling, waiting)) = self.launches.deferred.settle() {
            self.issue_all(waiting);
        }
    }

    fn issue_all(&self, waiting: Vec<Work>) {
        let mut missing: Vec<&'static Program> = Vec::new();
        for work in &waiting {
            if let Work::Launch(l) = work
                && self.function(l.program, l.entry).is_none()
                && !missing.iter().any(|p| std::ptr::eq(*p, l.program))
            {
                missing.push(l.program);
            }
        }
        let mut images = deferred::compile(self.properties.capability, &missing);
        for program in missing {
            let image = images.remove(&std::ptr::from_ref(program));
            let loaded = image.unwrap_or_else(|| program.compile(self.properties.capability));
            if let Err(message) = loaded.and_then(|image| self.load(program, &image)) {
                return self.fail(message);
            }
        }
        for work in waiting {
            match work {
                Work::Launch(l) => match self.function(l.program, l.entry) {
                    Some(f) => self.issue(f, l.entry, l.geometry, l.arguments.as_ptr().cast(), l.resident),
                    None => self.fail(format!("{} is not among the kernels of {}", l.entry, l.program.name)),
                },
                Work::Copy { to, from, bytes } => self.issue_copy(to, from, bytes),
                Work::Transfer(transfer) => self.issue_transfer(transfer),
            }
        }
    }

    /// Blocks of a kernel that the device runs at once; at least one a multiprocessor where it does not say.
    fn resident(&self, function: Function, geometry: Geometry) -> u32 {
        let key = (function.0 as usize, geometry.threads, geometry.shared);
        if let Some(known) = lock(&self.launches.resident).get(&key) {
            return *known;
        }
        let (mut blocks, threads) = (0, c_int::try_from(geometry.threads).unwrap_or(c_int::MAX));
        // SAFETY: a function of a loaded module, and a place for the answer.
        let r = unsafe {
            let (blocks, shared) = (&raw mut blocks, geometry.shared as usize);
            sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function.0, threads, shared)
        };
        self.note("cuOccupancyMaxActiveBlocksPerMultiprocessor", r);
        let found =
            u32::try_from(blocks).unwrap_or(0).max(1) * extent(self.properties.multiprocessors.max(1));
        lock(&self.launches.resident).insert(key, found);
        found
    }

    /// A kernel, where it is loaded.
    fn function(&self, program: &'static Program, entry: &'static str) -> Option<Function> {
        self.launches.function(program, entry)
    }

    /// Loads a program's machine code and knows its kernels from then on.
    fn load(&self, program: &'static Program, image: &[u8]) -> std::result::Result<(), String> {
        // Not while the stream records.
        self.recorder.run(self);
        self.launches.load(program, image)
    }
}
