//! The device that computes nothing: a run on it is the memory plan.

use crate::DeviceKind;
use crate::backend::Backend;
use crate::conv2d_params::Conv2dParams;
use crate::cpu::{self, Cpu};
use crate::cuda::{self, Cuda};
use crate::operation::{Kernel, Operation};

/// Takes the scratch sizes of the device it stands for.
pub(crate) struct Dry {
    model: Model,
    /// What the device is said to have failed with.
    #[cfg(test)]
    pub(crate) failed: Option<&'static str>,
}

enum Model {
    Cpu(cpu::Model),
    Cuda(cuda::Model),
}

impl Dry {
    pub(crate) fn new(kind: DeviceKind) -> Self {
        let model = match kind {
            DeviceKind::Cpu { threads } => Model::Cpu(cpu::Model::new(threads)),
            DeviceKind::Cuda => Model::Cuda(cuda::Model),
        };
        Dry {
            model,
            #[cfg(test)]
            failed: None,
        }
    }

    /// As [`Kernel::scratch`] of the device it stands for.
    pub(crate) fn scratch<O: Operation>(&self, operation: &O) -> Option<usize>
    where
        Cpu: Kernel<O>,
        Cuda: Kernel<O>,
    {
        match &self.model {
            Model::Cpu(model) => <Cpu as Kernel<O>>::scratch(model, operation),
            Model::Cuda(model) => <Cuda as Kernel<O>>::scratch(model, operation),
        }
    }
}

impl Backend for Dry {
    fn packed(&self, window: Conv2dParams, x: [usize; 4], out: usize) -> usize {
        match &self.model {
            Model::Cpu(model) => model.packed(window, x, out),
            Model::Cuda(_) => 0,
        }
    }

    fn order(&self) -> usize {
        match &self.model {
            Model::Cpu(model) => model.order(),
            Model::Cuda(_) => 0,
        }
    }

    fn threads(&self) -> usize {
        match &self.model {
            Model::Cpu(model) => model.threads,
            Model::Cuda(_) => crate::cores(),
        }
    }

    #[cfg(test)]
    fn fault(&self) -> Option<crate::Error> {
        self.failed.map(|m| crate::Error::Failed { device: "dry".into(), message: m.into() })
    }

    fn computes(&self) -> bool {
        false
    }
}
