//! The processor: kernels for every instruction set, pieces of work over a pool of threads.

mod activation;
mod add;
mod blocks;
mod channel;
mod class_loss;
mod clipping;
mod conv;
mod convolution;
mod exponential;
mod images;
mod kernel;
mod lars;
mod load;
mod loss;
mod normalise;
mod operand;
mod parallel;
mod peak;
mod pool;
mod reconstruction;
mod resize;
mod rounding;
mod simd;
mod update;
mod value;
mod values;

pub use simd::Isa;

use crate::backend::Backend;
use crate::operation::Planned;
use crate::ops::Conv2dParams;
use crate::{Error, Result, Tensor};

/// See the module.
pub(crate) struct Cpu {
    model: Model,
    pool: rayon::ThreadPool,
}

/// What plans and results depend on: all of a processor but its threads themselves.
pub(crate) struct Model {
    pub(crate) threads: usize,
    isa: Isa,
}

impl Model {
    /// With the best instruction set that there is.
    pub(crate) fn new(threads: Option<usize>) -> Self {
        Model { threads: threads.unwrap_or_else(crate::cores).max(1), isa: Isa::best() }
    }

    /// Scratch slots, one a thread; rounded up, so that few threads more or less do not change a plan.
    fn slots(&self) -> usize {
        self.threads.next_multiple_of(8)
    }

    /// As [`Backend::packed`].
    pub(crate) fn packed(&self, window: Conv2dParams, x: [usize; 4], out: usize) -> usize {
        conv::packed(x, out, window)
    }

    /// As [`Backend::order`].
    pub(crate) fn order(&self) -> usize {
        self.isa.lanes()
    }
}

impl Cpu {
    pub(crate) fn new(threads: Option<usize>) -> Result<Self> {
        Self::of(Model::new(threads))
    }

    pub(crate) fn with_isa(threads: Option<usize>, isa: Isa) -> Result<Self> {
        Self::of(Model { isa, ..Model::new(threads) })
    }

    fn of(model: Model) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(model.threads)
            .thread_name(|i| format!("mlaan-{i}"))
            .build()
            .map_err(|e| {
                unavailable(format!("{} threads could not be started ({e}); ask for fewer", model.threads))
            })?;
        Ok(Cpu { model, pool })
    }

    pub(crate) fn isa(&self) -> Isa {
        self.model.isa
    }

    /// Runs `f` on the pool.
    fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.pool.install(f)
    }
}

fn unavailable(message: String) -> Error {
    Error::Unavailable { device: "cpu".into(), message }
}

impl Planned for Cpu {
    type Model = Model;

    fn model(&self) -> &Model {
        &self.model
    }
}

impl Backend for Cpu {
    fn threads(&self) -> usize {
        self.model.threads
    }

    fn scope(&self, f: &mut (dyn FnMut() + Send)) {
        self.run(f);
    }

    fn multiply_adds(&self, rounds: usize) -> u64 {
        self.pool.broadcast(|_| peak::work(self.isa(), rounds));
        peak::operations(self.isa(), rounds) * self.model.threads as u64
    }

    fn packed(&self, window: Conv2dParams, x: [usize; 4], out: usize) -> usize {
        self.model.packed(window, x, out)
    }

    fn order(&self) -> usize {
        self.model.order()
    }

    fn prepack(&self, window: Conv2dParams, x: [usize; 4], w: &Tensor, to: &mut Tensor) {
        let extents = (x, w.shape().dims().first().copied().unwrap_or(0), window);
        self.run(|| conv::prepack(self.isa(), extents, w.host(), to.host_mut()));
    }
}
