//! What layers hold: parameters, which learn, and buffers, which do not. [`Layer::visit`](super::Layer::visit) shows them by name, as
//! torch's `named_parameters` and `named_buffers` do, together its `state_dict`.

use super::optim::State;
use mlaan_engine::{Shape, Tensor};
use serde::{Deserialize, Serialize};

/// A tensor that learns, or follows one that does, as a layer keeps it; made by [`Builder::parameter`](super::Builder::parameter).
#[derive(Debug)]
pub struct Parameter {
    /// Its values.
    pub value: Tensor,
    /// The gradient of this step, between backward and update.
    pub grad: Option<Tensor>,
    /// What the optimiser keeps of it; none for a parameter that does not learn by itself.
    pub state: Option<State>,
}

impl Parameter {
    /// Whether it learns: only then a backward pass leaves a gradient in it.
    pub fn learns(&self) -> bool {
        self.state.is_some()
    }

    /// Leaves a gradient, if it learns.
    pub(super) fn leave(&mut self, grad: Option<Tensor>) {
        self.grad = grad.filter(|_| self.learns());
    }
}

/// What a parameter is for. Recipes name these in `train.no_decay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The factors of a convolution or linear layer.
    Weight,
    /// What is added to its results.
    Bias,
    /// Scale and offset of a normalisation.
    Norm,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Weight, Role::Bias, Role::Norm];
}

/// A set of roles; recipes write it as a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Role>", into = "Vec<Role>")]
pub struct Roles([bool; Role::ALL.len()]);

impl Roles {
    /// Whether `role` is among them.
    pub fn contains(&self, role: Role) -> bool {
        self.0[role as usize]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        let mut set = Roles::default();
        roles.into_iter().for_each(|role| set.0[role as usize] = true);
        set
    }
}

impl From<Vec<Role>> for Roles {
    fn from(roles: Vec<Role>) -> Self {
        roles.into_iter().collect()
    }
}

impl From<Roles> for Vec<Role> {
    fn from(set: Roles) -> Self {
        Role::ALL.into_iter().filter(|role| set.contains(*role)).collect()
    }
}

/// Whether a tensor belongs to a network itself, or to a copy of one of its blocks (METHOD §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// To the network, or to a head or decoder.
    Own,
    /// To a mirror of a block, which learns.
    Mirror,
    /// To the shadow beside a mirror, which only follows its source.
    Shadow,
}

/// A named tensor of a layer, shown by [`Layer::visit`](super::Layer::visit).
#[derive(Debug)]
pub struct Param<'a> {
    /// The layer's part, as `layer1.0.conv1`.
    pub owner: &'a str,
    /// The tensor within it, as `weight`.
    pub leaf: &'static str,
    /// The sizes in checkpoints.
    pub shape: Shape,
    /// Whose it is.
    pub origin: Origin,
    /// Its values.
    pub value: &'a mut Tensor,
    /// Of a parameter, what it learns with; none of a buffer, as running statistics.
    pub learned: Option<Learned<'a>>,
}

/// What a parameter has and a buffer has not.
#[derive(Debug)]
pub struct Learned<'a> {
    /// What it is for.
    pub role: Role,
    /// As [`Parameter::grad`].
    pub grad: &'a mut Option<Tensor>,
    /// As [`Parameter::state`].
    pub state: &'a mut Option<State>,
}

impl<'a> Param<'a> {
    /// A parameter called `owner.leaf`, of shape `shape` in checkpoints.
    pub fn parameter(
        (owner, leaf): (&'a str, &'static str),
        shape: impl Into<Shape>,
        role: Role,
        p: &'a mut Parameter,
    ) -> Self {
        let learned = Some(Learned { role, grad: &mut p.grad, state: &mut p.state });
        Param { owner, leaf, shape: shape.into(), origin: Origin::Own, value: &mut p.value, learned }
    }

    /// A buffer, likewise.
    pub fn buffer(
        (owner, leaf): (&'a str, &'static str),
        shape: impl Into<Shape>,
        value: &'a mut Tensor,
    ) -> Self {
        Param { owner, leaf, shape: shape.into(), origin: Origin::Own, value, learned: None }
    }

    /// Its name in checkpoints.
    pub fn name(&self) -> String {
        format!("{}.{}", self.owner, self.leaf)
    }

    /// Whether it is a buffer.
    pub fn is_buffer(&self) -> bool {
        self.learned.is_none()
    }

    /// Its gradient, between backward and update.
    pub fn grad(&self) -> Option<&Tensor> {
        self.learned.as_ref()?.grad.as_ref()
    }

    /// What the optimiser keeps of it.
    pub fn state(&self) -> Option<&State> {
        self.learned.as_ref()?.state.as_ref()
    }
}
