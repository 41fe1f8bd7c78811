//! The learning rate of every epoch or step (METHOD §7).

use crate::recipe::{Schedule, Train};
use std::f64::consts::PI;

/// The learning rate's course: linear warm-up to the peak, then the recipe's schedule, one value per epoch.
///
/// Epochs e are counted from 1 to E, w is the warm-up:
/// - e ≤ w: lr(e) = lr0 · e / w, so epoch w trains at the peak;
/// - e > w, with lr1 = `train.min_lr` or 0:
///   - `cosine`: lr1 + (lr0 - lr1) / 2 · (1 + cos(π · e / E));
///   - `linear`: lr1 + (lr0 - lr1) · (1 - e / E);
///   - `wsd`: lr0 until the last part D = `train.decay_fraction` · E, then lr1 + (lr0 - lr1) · (E - e) / D;
///   - `step`, `multistep`: lr0 · γ^n after n cuts, in the epoch after every `step_size` or milestone epochs;
///   - `constant`: lr0.
///
/// All count from the first epoch, not from the end of the warm-up, as in the authors' code, and those that decay reach
/// lr1 at the last epoch: there they are PyTorch's after e calls of `scheduler.step()`. w is `train.warmup`, but at most E / 5
/// rounded down unless `train.full_warmup` says otherwise. A run of a single epoch trains at the peak: the formula would give it lr1.
///
/// With `train.per_step`, e is not whole: step i of S of epoch e counts as e - 1 + i / S, so that every epoch ends at the
/// rate that it would have had.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRate {
    epochs: usize,
    warmup: usize,
    schedule: Schedule,
    /// Epochs after which the rate is cut, of `step` every so many.
    cuts: Cuts,
    gamma: f64,
    min: f64,
    decay: f64,
    per_step: bool,
    warmup_steps: Option<usize>,
    batch: usize,
    backbone: f64,
    auxiliary: f64,
    cascaded: f64,
}

/// When a rate is cut.
#[derive(Clone, Debug, PartialEq)]
enum Cuts {
    Every(usize),
    After(Vec<usize>),
}

impl Cuts {
    /// How often it has been, when so many epochs are over.
    fn after(&self, epochs: usize) -> usize {
        match self {
            Cuts::Every(size) => epochs / (*size).max(1),
            Cuts::After(milestones) => milestones.iter().filter(|&&m| m <= epochs).count(),
        }
    }
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
            cuts: match train.schedule {
                Schedule::Step => Cuts::Every(train.step_size.unwrap_or(usize::MAX)),
                _ => Cuts::After(train.milestones.clone().unwrap_or_default()),
            },
            gamma: train.gamma_used(),
            min: train.min_lr.unwrap_or(0.0),
            decay: train.decay_fraction_used(),
            per_step: train.moves_per_step(),
            warmup_steps: train.warmup_steps,
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

    /// The highest rate of the backbone in an epoch; none where rates move within epochs.
    pub fn highest(&self) -> Option<f64> {
        (!self.per_step).then(|| (1..=self.epochs).map(|epoch| self.at(epoch).backbone).fold(0.0, f64::max))
    }

    /// The rates of `epoch`, counted from 1; past the last epoch, those of the last. Where they move at every step, those
    /// of its last step, if a warm-up in steps is over by then.
    pub fn at(&self, epoch: usize) -> Rates {
        let epoch = epoch.min(self.epochs);
        self.point(epoch as f64, epoch.saturating_sub(1), self.warmup as f64)
    }

    /// The rates of step `step` (from 1) of `steps` of `epoch` (from 1).
    pub fn at_step(&self, epoch: usize, step: usize, steps: usize) -> Rates {
        if !self.per_step {
            return self.at(epoch);
        }
        let whole = epoch.saturating_sub(1);
        // From numbers of steps, so that the last of a warm-up is exactly at its end.
        let epochs = |n: usize| n as f64 / steps.max(1) as f64;
        let warmup = self.warmup_steps.map_or(self.warmup as f64, epochs);
        self.point(epochs(whole * steps + step), whole, warmup)
    }

    /// The rates when `at` epochs are over, of which `whole` are whole for what is cut, with so many of warm-up.
    fn point(&self, at: f64, whole: usize, warmup: f64) -> Rates {
        let warm = (at <= warmup).then(|| at / warmup.max(f64::MIN_POSITIVE));
        let cuts = || self.gamma.powi(i32::try_from(self.cuts.after(whole)).unwrap_or(i32::MAX));
        let rate = |peak: f64| match (warm, self.schedule) {
            (Some(part), _) => peak * part,
            (None, Schedule::Step | Schedule::MultiStep) => peak * cuts(),
            _ => {
                let min = self.min.min(peak);
                min + (peak - min) * self.left(at)
            }
        };
        Rates {
            backbone: rate(self.backbone),
            auxiliary: rate(self.auxiliary),
            cascaded: rate(self.cascaded),
        }
    }

    /// What is left of the way from the peak to the least rate when so many epochs are over, from 1 to 0.
    fn left(&self, at: f64) -> f64 {
        let epochs = self.epochs as f64;
        match self.schedule {
            _ if self.epochs == 1 && !self.per_step => 1.0,
            Schedule::Cosine => (1.0 + (PI * at / epochs).cos()) / 2.0,
            Schedule::Linear => 1.0 - at / epochs,
            Schedule::Wsd => ((epochs - at) / (self.decay * epochs)).min(1.0),
            Schedule::Constant | Schedule::Step | Schedule::MultiStep => 1.0,
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

    /// What torch.optim.lr_scheduler gives in ten epochs from 0.4: StepLR(3, 0.5) and MultiStepLR([2, 6]) in each, and after
    /// each CosineAnnealingLR(10, 0.04), LinearLR(1, 0.1, 10), and ConstantLR for six and LinearLR(1, 0.1, 4) for four.
    #[rustfmt::skip]
    const TORCH: [(Schedule, [f64; 10]); 5] = [
        (Schedule::Step, [0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05]),
        (Schedule::MultiStep, [0.4, 0.4, 0.04, 0.04, 0.04, 0.04, 0.004, 0.004, 0.004, 0.004]),
        (Schedule::Cosine, [
            0.391_190_172_933, 0.365_623_058_987, 0.325_801_345_413, 0.275_623_058_987, 0.22,
            0.164_376_941_013, 0.114_198_654_587, 0.074_376_941_013, 0.048_809_827_067, 0.04,
        ]),
        (Schedule::Linear, [0.364, 0.328, 0.292, 0.256, 0.22, 0.184, 0.148, 0.112, 0.076, 0.04]),
        (Schedule::Wsd, [0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.31, 0.22, 0.13, 0.04]),
    ];

    fn as_torch(schedule: Schedule, epochs: usize) -> Train {
        let cut = matches!(schedule, Schedule::Step | Schedule::MultiStep);
        Train {
            epochs,
            schedule,
            lr: 0.4,
            warmup: 0,
            step_size: Some(3),
            gamma: Some(if schedule == Schedule::Step { 0.5 } else { 0.1 }),
            milestones: Some(vec![2, 6]),
            min_lr: (!cut).then_some(0.04),
            decay_fraction: Some(0.4),
            ..Train::default()
        }
    }

    #[test]
    fn courses_are_those_of_torch() {
        for (schedule, expected) in TORCH {
            let lr = LearningRate::new(&as_torch(schedule, 10));
            for (epoch, value) in (1..).zip(expected) {
                let found = lr.at(epoch).backbone;
                assert!(close(found, value), "{schedule:?}, epoch {epoch}: {found}, not {value}");
                // Within an epoch nothing moves.
                assert_eq!(lr.at_step(epoch, 1, 7), lr.at(epoch));
            }
        }
    }

    #[test]
    fn rates_of_every_step_are_those_of_torch_with_steps_for_epochs() {
        for (schedule, expected) in &TORCH[2..] {
            let mut train = Train { per_step: Some(true), ..as_torch(*schedule, 2) };
            let lr = LearningRate::new(&train);
            let at = |lr: &LearningRate, i: usize| lr.at_step(i / 5 + 1, i % 5 + 1, 5).backbone;
            for (i, value) in expected.iter().enumerate() {
                assert!(
                    close(at(&lr, i), *value),
                    "{schedule:?}, step {}: {}, not {value}",
                    i + 1,
                    at(&lr, i)
                );
            }
            // Epochs end where they did.
            assert_eq!(lr.at_step(1, 5, 5), lr.at(1));
            train.warmup_steps = Some(3);
            let warm = LearningRate::new(&train);
            for (i, value) in [0.4 / 3.0, 0.8 / 3.0, 0.4, expected[3], expected[4]].into_iter().enumerate() {
                assert!(close(at(&warm, i), value), "{schedule:?}, step {}: {}", i + 1, at(&warm, i));
            }
        }
        // What is cut is cut between epochs.
        let train = Train { per_step: Some(true), ..as_torch(Schedule::MultiStep, 10) };
        let lr = LearningRate::new(&train);
        let course = [(2, 5, 0.4), (3, 1, 0.04), (3, 5, 0.04), (6, 5, 0.04), (7, 1, 0.004)];
        assert!(course.iter().all(|&(epoch, step, value)| close(lr.at_step(epoch, step, 5).backbone, value)));
        // A warm-up in epochs rises with the steps.
        let train = Train { warmup: 2, full_warmup: Some(true), min_lr: None, ..train };
        let lr = LearningRate::new(&train);
        assert!(close(lr.at_step(1, 1, 5).backbone, 0.04) && close(lr.at_step(2, 5, 5).backbone, 0.4));
    }

    #[test]
    fn the_least_rate_is_never_above_a_peak() {
        let train = Train { lr_auxiliary: Some(0.01), min_lr: Some(0.05), ..as_torch(Schedule::Linear, 10) };
        let r = LearningRate::new(&train).at(10);
        assert!(close(r.backbone, 0.05) && close(r.auxiliary, 0.01), "{r:?}");
    }
}
