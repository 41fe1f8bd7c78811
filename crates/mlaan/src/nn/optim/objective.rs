//! What is minimised, where it is not the plain mean of cross-entropies.

/// Changes to every cross-entropy that is trained with; evaluations have plain ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Objective {
    /// Part of every target that is spread evenly over all classes.
    pub label_smoothing: f32,
    /// Whether classes have weights; 1 each until a learner is given them
    /// ([`Learner::weigh_classes`](crate::local::Learner::weigh_classes)).
    pub class_weights: bool,
}
