//! Warm-ups that end no earlier than training.

use crate::recipe::Train;

/// Says that the learning rate only rises in epochs of so many steps, and what to do about it.
pub fn unreached(train: &Train, steps: usize) -> Option<String> {
    let (epochs, per_step) = (train.epochs, train.moves_per_step());
    let (warmup, all, unit, key) = match train.warmup_steps.filter(|_| per_step) {
        Some(warmup) => (warmup, epochs.saturating_mul(steps), "step", "train.warmup_steps"),
        None => (train.warmup_used(), epochs, "epoch", "train.warmup"),
    };
    // One epoch at the peak is all that was asked for.
    let rises = warmup > 0 && warmup >= all && (per_step || epochs > 1);
    let several = |n: usize| format!("{n} {unit}{}", if n == 1 { "" } else { "s" });
    rises.then(|| {
        format!(
            "the learning rate rises until training ends: its warm-up of {} ({key}) leaves nothing of {}; shorten it, or train \
             longer (--epochs)",
            several(warmup),
            several(all)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_ups_as_long_as_the_training_are_told_with_a_remedy() {
        let of = |epochs, warmup| Train { epochs, warmup, full_warmup: Some(true), ..Train::default() };
        let steps = |warmup| Train { per_step: Some(true), warmup_steps: Some(warmup), ..of(4, 0) };
        for (train, words) in [
            (of(5, 5), "warm-up of 5 epochs (train.warmup) leaves nothing of 5 epochs; shorten it"),
            (
                Train { per_step: Some(true), ..of(1, 1) },
                "of 1 epoch (train.warmup) leaves nothing of 1 epoch;",
            ),
            (steps(40), "warm-up of 40 steps (train.warmup_steps) leaves nothing of 40 steps"),
            (steps(80), "warm-up of 80 steps (train.warmup_steps) leaves nothing of 40 steps"),
        ] {
            let found = unreached(&train, 10).unwrap();
            assert!(found.contains(words), "{found}");
        }
        for train in [of(5, 4), of(1, 0), of(1, 1), of(8, 0), steps(39), steps(0)] {
            assert_eq!(unreached(&train, 10), None, "{train:?}");
        }
        // Inherited ones are shortened.
        assert_eq!(unreached(&Train { epochs: 2, warmup: 10, ..Train::default() }, 10), None);
    }
}
