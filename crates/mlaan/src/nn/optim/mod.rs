//! Optimisers: how parameters follow their gradients. Each has a page of its own, and what it keeps of a parameter
//! (its state) is named, made and used here alone; checkpoints, plans and summaries take it as it comes.

mod adamw;
pub(crate) mod halves;
mod lars;
mod objective;
mod sgd;
mod state;
mod update;

pub use adamw::AdamW;
pub use lars::Lars;
pub use objective::Objective;
pub use sgd::Sgd;
pub use state::State;
pub use update::Rate;

use super::{Learned, Param, Role, Roles};
use crate::Result;
use mlaan_engine::{DType, Device, MemoryCategory, Precision, Shape, Tensor};
use update::Update;

/// An optimiser with its settings, but for the learning rate, which changes from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// The rule of an update.
    pub rule: Rule,
    /// Weight decay.
    pub weight_decay: f32,
    /// Roles of parameters without it.
    pub no_decay: Roles,
    /// Largest norm of the gradients of a group of parameters, which are scaled down to it.
    pub clip_grad_norm: Option<f32>,
    /// What is minimised.
    pub objective: Objective,
    /// What optimiser state of weights is stored in, as momentum; that of vectors is 32 bits either way. In bfloat16 it is computed in
    /// 32 bits, and rounded stochastically.
    pub state_precision: Precision,
}

/// The optimisers there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent with momentum.
    Sgd(Sgd),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Layer-wise adaptive rates.
    Lars(Lars),
}

/// The paper's (METHOD §7).
impl Default for Optimizer {
    fn default() -> Self {
        let rule = Rule::Sgd(Sgd { momentum: 0.9, nesterov: true });
        Optimizer {
            rule,
            weight_decay: 1e-4,
            no_decay: Roles::default(),
            clip_grad_norm: None,
            objective: Objective::default(),
            state_precision: Precision::F32,
        }
    }
}

impl Optimizer {
    /// Names of the tensors that it keeps of every parameter.
    pub fn state_names(&self) -> &'static [&'static str] {
        match self.rule {
            Rule::Sgd(_) => Sgd::STATE,
            Rule::AdamW(_) => AdamW::STATE,
            Rule::Lars(_) => Lars::STATE,
        }
    }

    /// What it keeps of a parameter with these values, before the first step.
    ///
    /// # Errors
    /// Out of memory.
    pub fn state(&self, device: &Device, of: &Tensor) -> Result<State> {
        let names = self.state_names();
        let dtype = if of.shape().dims().len() > 1 { self.state_precision.dtype() } else { DType::F32 };
        let zeros = |_: &&str| zeros(device, of.shape(), dtype);
        Ok(State { names, tensors: names.iter().map(zeros).collect::<mlaan_engine::Result<_>>()? })
    }

    /// Weight decay of parameters of this role.
    pub fn weight_decay(&self, role: Role) -> f32 {
        if self.no_decay.contains(role) { 0.0 } else { self.weight_decay }
    }

    /// Applies the gradient of a parameter and frees it. Buffers, and parameters that do not learn or were not
    /// reached, stay as they are.
    ///
    /// # Errors
    /// State of another optimiser; from the device.
    pub fn update(&self, device: &Device, param: Param<'_>, rate: Rate) -> Result<()> {
        let Param { owner, leaf, value, learned: Some(Learned { role, grad, state }), .. } = param else {
            return Ok(());
        };
        let (Some(grad), Some(state)) = (grad.take(), state) else { return Ok(()) };
        let weight_decay = self.weight_decay(role);
        let mut apply = |state: &mut [Tensor]| {
            let update = Update { value: &mut *value, grad: &grad, state, rate, weight_decay, role };
            match self.rule {
                Rule::Sgd(sgd) => sgd.update(device, update),
                Rule::AdamW(adamw) => adamw.update(device, update),
                Rule::Lars(lars) => lars.update(device, update),
            }
        };
        match state.tensors.iter().any(|t| t.dtype() == DType::Bf16) {
            true => halves::widened(device, &mut state.tensors, halves::key(owner, leaf, rate.step), apply),
            false => apply(&mut state.tensors),
        }
    }
}

fn zeros(device: &Device, shape: Shape, dtype: DType) -> mlaan_engine::Result<Tensor> {
    let mut t = device.alloc(shape, dtype, MemoryCategory::Optimiser)?;
    device.fill(&mut t, 0.0)?;
    Ok(t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Builder;

    #[test]
    fn state_is_named_updated_and_known_again() {
        let device = Device::cpu(Some(1)).unwrap();
        let rule = Rule::Sgd(Sgd { momentum: 0.5, nesterov: true });
        let no_decay = [Role::Bias].into_iter().collect();
        let optimizer = Optimizer { rule, weight_decay: 0.25, no_decay, ..Optimizer::default() };
        let b = Builder { device: &device, seed: 0, optimizer: Some(optimizer) };
        let rate = Rate { lr: 0.5, step: 1 };
        // g = 0.25 · 2, v = g, p = 2 - 0.5 (g + 0.5 v).
        for (role, value, momentum) in [(Role::Weight, 1.625, 0.5), (Role::Bias, 2.0, 0.0)] {
            let mut p = b.parameter(b.constant(3, 2.0).unwrap()).unwrap();
            assert!(p.learns());
            p.grad = Some(b.constant(3, 0.0).unwrap());
            optimizer.update(&device, Param::parameter(("a", "b"), [3], role, &mut p), rate).unwrap();
            assert!(p.grad.is_none());
            assert_eq!(device.download(&p.value).unwrap(), [value; 3]);
            let state: Vec<_> = p.state.iter().flat_map(State::tensors).collect();
            assert_eq!(state.len(), 1);
            assert_eq!((state[0].0, device.download(state[0].1).unwrap()), ("momentum", vec![momentum; 3]));

            p.grad = Some(b.constant(3, 0.0).unwrap());
            p.state = Some(State { names: &[], tensors: Vec::new() });
            let other = optimizer.update(&device, Param::parameter(("a", "b"), [3], role, &mut p), rate);
            assert!(other.unwrap_err().to_string().contains("0 tensors of state"));
        }
        let still = Builder { optimizer: None, ..b };
        let mut p = still.parameter(b.constant(3, 2.0).unwrap()).unwrap();
        assert!(!p.learns());
        p.grad = Some(b.constant(3, 1.0).unwrap());
        optimizer.update(&device, Param::parameter(("a", "b"), [3], Role::Weight, &mut p), rate).unwrap();
        assert_eq!(device.download(&p.value).unwrap(), [2.0; 3]);
    }
}
