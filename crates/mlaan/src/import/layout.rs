//! Names of a ResNet's tensors, as torchvision gives them.

/// The first convolution; what stands before it stands before all names.
pub(super) const STEM: &str = "conv1.weight";
/// A name that every ResNet has.
pub(super) const FIRST: &str = "layer1.0.conv1.weight";
/// PyTorch's counters of batches, which nothing here reads.
pub(super) const BATCHES: &str = ".num_batches_tracked";

/// Whether a tensor of a network may be its classifier's or what comes in its place: it is no convolution's of torchvision's.
pub(super) fn is_behind(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    let stage = first.strip_prefix("layer").is_some_and(|n| n.parse::<usize>().is_ok());
    !(stage || first == "conv1" || first == "bn1")
}

/// Whether a tensor is called as one of a network's own.
pub(super) fn is_own(name: &str) -> bool {
    !is_behind(name) || name.starts_with("fc.")
}
