//! The learning rate of every epoch (METHOD §7).

use crate::recipe::{Schedule, Train};
use std::f64::consts::PI;

/// The learning rate's course: linear warm-up to the peak, then half a cosine (or a constant), one
/// value per epoch.
///
/// Epochs e are counted from 1 to E, w is the warm-up:
/// - e ≤ w: lr(e) = lr0 · e / w, so epoch w trains at the peak;
/// - e > w: lr(e) = lr0 / 2 · (1 + cos(π · e / E)), or lr0 for `constant`.
///
/// The cosine counts from the first epoch, not from the end of the warm-up, as in the authors' code, and
/// reaches 0 at the last epoch. w is `train.warmup`, but at most E / 5 rounded down unless `train.full_warmup` says otherwise.
/// A run of a single epoch trains at the peak: the formula would give it 0.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRate {
    epochs: usize,
    warmup: usize,
    schedule: Schedule,
    batch: usize,
    backbone: f64,
    auxiliary: f64,
    cascaded: f64,
}

/// The learning rates of one epoch, one per kind of network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of the backbone, η_l.
    pub backbone: f64,
    /// Of the independent auxiliary networks, η_a.
    pub auxiliary: f64,
    /// Of the cascaded auxiliary networks, η_c.
    pub cascaded: f64,
}

impl LearningRate {
    /// The course that a recipe asks for, with steps of `train.batch` images.
    pub fn new(train: &Train) -> Self {
        Self::with_batch(train, train.batch)
    }

    /// The course that a recipe asks for, with steps of `batch` images: `train.lr_batch` is for what is taken, which is
    /// less than `train.batch` where there are fewer images.
    pub fn with_batch(train: &Train, batch: usize) -> Self {
        let scale = train.lr_batch.map_or(1.0, |b| batch as f64 / b as f64);
        LearningRate {
            epochs: train.epochs,
            warmup: train.warmup_used(),
            schedule: train.schedule,
            batch,
            backbone: scale * train.lr,
            auxiliary: scale * train.lr_auxiliary.unwrap_or(train.lr),
            cascaded: scale * train.lr_cascaded.unwrap_or(train.lr),
        }
    }

    /// Images of a step that they are for.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Epochs of warm-up in use.
    pub fn warmup(&self) -> usize {
        self.warmup
    }

    /// The highest rates, after the warm-up.
    pub fn peak(&self) -> Rates {
        Rates { backbone: self.backbone, auxiliary: self.auxiliary, cascaded: self.cascaded }
    }

    /// The rates of `epoch`, counted from 1; past the last epoch, those of the last.
    pub fn at(&self, epoch: usize) -> Rates {
        let factor = self.factor(epoch);
        Rates {
            backbone: self.backbone * factor,
            auxiliary: self.auxiliary * factor,
            cascaded: self.cascaded * factor,
        }
    }

    /// Part of the peak at `epoch`, from 0 to 1.
    fn factor(&self, epoch: usize) -> f64 {
        let epoch = epoch.min(self.epochs);
        if epoch <= self.warmup {
            return epoch as f64 / self.warmup.max(1) as f64;
        }
        match self.schedule {
            Schedule::Cosine if self.epochs == 1 => 1.0,
            Schedule::Constant => 1.0,
            Schedule::Cosine => (1.0 + (PI * epoch as f64 / self.epochs as f64).cos()) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(epochs: usize, warmup: usize, schedule: Schedule) -> LearningRate {
        LearningRate::new(&Train { epochs, warmup, schedule, ..Train::default() })
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_papers_course_is_as_written_out() {
        let lr = rates(400, 10, Schedule::Cosine);
        // Warm-up to 0.8 in ten equal steps, then 0.4 (1 + cos(pi e / 400)).
        for (epoch, value) in [
            (1, 0.08),
            (5, 0.4),
            (10, 0.8),
            (11, 0.798_508_150_6),
            (100, 0.682_842_712_5),
            (200, 0.4),
            (300, 0.117_157_287_5),
            (399, 0.000_012_337_0),
            (400, 0.0),
        ] {
            let found = lr.at(epoch).backbone;
            assert!(close(found, value), "epoch {epoch}: {found}, not {value}");
        }
    }

    #[test]
    fn short_runs_warm_up_for_at_most_a_fifth() {
        assert_eq!(rates(8, 10, Schedule::Cosine).warmup(), 1);
        assert_eq!(rates(4, 10, Schedule::Cosine).warmup(), 0);
        assert_eq!(rates(400, 10, Schedule::Cosine).warmup(), 10);
        // The only epoch must learn something.
        assert!(close(rates(1, 10, Schedule::Cosine).at(1).backbone, 0.8));
        assert!(close(rates(1, 0, Schedule::Cosine).at(1).backbone, 0.8));
        // No warm-up: the cosine from the first epoch on.
        assert!(close(rates(4, 10, Schedule::Cosine).at(2).backbone, 0.4));
        assert!(close(rates(4, 0, Schedule::Cosine).at(1).backbone, 0.682_842_712_474_619));
    }

    #[test]
    fn constant_stays_at_the_peak_after_the_warm_up() {
        let lr = rates(20, 4, Schedule::Constant);
        let course: Vec<f64> = (1..=6).map(|e| lr.at(e).backbone).collect();
        for (found, value) in course.iter().zip([0.2, 0.4, 0.6, 0.8, 0.8, 0.8]) {
            assert!(close(*found, value), "{course:?}");
        }
        assert!(close(lr.at(20).backbone, 0.8));
    }

    #[test]
    fn rates_change_in_proportion_to_the_batch_they_are_meant_for() {
        let train = Train { batch: 128, lr_batch: Some(1024), lr_cascaded: Some(0.4), ..Train::default() };
        let r = LearningRate::new(&train).at(10);
        assert!(close(r.backbone, 0.1) && close(r.auxiliary, 0.1) && close(r.cascaded, 0.05), "{r:?}");
    }

    #[test]
    fn rates_follow_the_images_that_a_step_takes() {
        let train = Train { batch: 100_000, lr_batch: Some(1024), ..Train::default() };
        assert!(close(LearningRate::with_batch(&train, 128).peak().backbone, 0.1));
        let own = Train { lr_batch: None, lr: 0.01, ..train };
        assert_eq!(LearningRate::with_batch(&own, 128).peak().backbone, 0.01);
    }

    #[test]
    fn a_full_warm_up_is_taken_whole() {
        let train = Train { epochs: 6, warmup: 5, full_warmup: Some(true), ..Train::default() };
        let lr = LearningRate::new(&train);
        assert_eq!(lr.warmup(), 5);
        assert!(
            close(lr.at(1).backbone, 0.16) && close(lr.at(5).backbone, 0.8) && close(lr.at(6).backbone, 0.0)
        );
        assert_eq!(LearningRate::new(&Train { full_warmup: None, ..train }).warmup(), 1);
    }

    #[test]
    fn auxiliary_rates_follow_the_backbones_unless_given() {
        let mut train = Train::default();
        assert_eq!(LearningRate::new(&train).at(10).auxiliary, 0.8);
        train.lr_auxiliary = Some(0.2);
        train.lr_cascaded = Some(0.1);
        let r = LearningRate::new(&train).at(200);
        assert!(close(r.backbone, 0.4) && close(r.auxiliary, 0.1) && close(r.cascaded, 0.05));
    }
}
