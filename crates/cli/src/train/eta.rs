//! How long a run will take.

/// What the time left follows from.
#[derive(Clone)]
pub struct Eta {
    /// Epochs of the run.
    pub epochs: usize,
    /// Training images of an epoch.
    pub images: usize,
    /// Images of a step.
    pub batch: usize,
    /// What the images are called that are evaluated after every epoch: `val` or `test`.
    pub held: &'static str,
    /// Whether the network is cut into several modules, of which each has an accuracy.
    pub in_modules: bool,
    /// Seconds of the last evaluation; the guess for those to come.
    pub testing: f64,
}

impl Eta {
    /// Seconds left of the epoch and of the run after `step` of `epoch`, both from 1, at `speed` images a second.
    pub fn after(&self, epoch: usize, step: usize, speed: f64) -> (f64, f64) {
        let seconds = |images: usize| images as f64 / speed.max(1e-9);
        let rest = seconds(self.images.saturating_sub(step * self.batch)) + self.testing;
        let later = self.epochs.saturating_sub(epoch) as f64;
        (rest, rest + later * (seconds(self.images) + self.testing))
    }
}
