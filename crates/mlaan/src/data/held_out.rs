//! Which images of a training split are held out of training, to validate or to test on.

use super::OpenOptions;
use super::limit::choose;
use crate::rng::{RandomStream, Rng};

/// Numbers of the splits, for what is random about them.
pub(super) mod split {
    /// Training images.
    pub const TRAIN: u64 = 0;
    /// Test images.
    pub const TEST: u64 = 1;
    /// Validation images.
    pub const VALIDATION: u64 = 2;
}

/// What is held out of a training split, as shares of its images.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shares {
    pub validation: Option<f64>,
    pub test: Option<f64>,
}

/// The images of a training split that are used, each list in ascending order and none in two of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub train: Vec<usize>,
    pub validation: Option<Vec<usize>>,
    pub test: Option<Vec<usize>>,
}

/// Draws from images with these labels. Test images come first, the same for every seed and limit, so that networks of all
/// seeds are tested on the same images, and none on what another was trained on. Of the others `limit` keeps some, and
/// validation images are a share of these.
pub(super) fn draw(labels: &[u32], shares: Shares, options: &OpenOptions) -> Drawn {
    let all: Vec<usize> = (0..labels.len()).collect();
    let total = counts(labels, &all);
    let (rest, test) = match shares.test {
        None => (all, None),
        Some(share) => {
            let held = |class: usize, n: usize| held(share * total[class] as f64, n);
            let random = |class| Rng::new(0, RandomStream::HeldOut, split::TEST, class);
            let [rest, test] = part(labels, &all, &held, &random);
            (rest, Some(limited(labels, test, options, split::TEST)))
        }
    };
    let left = counts(labels, &rest);
    let chosen = limited(labels, rest, options, split::TRAIN);
    let Some(share) = shares.validation else {
        return Drawn { train: chosen, validation: None, test };
    };
    // A share of the images before any were taken for testing.
    let of = |class: usize, n: usize| n as f64 * total[class] as f64 / left[class].max(1) as f64;
    let held = |class: usize, n: usize| held(share * of(class, n), n);
    let random = |class| Rng::new(options.seed, RandomStream::HeldOut, split::VALIDATION, class);
    let [train, validation] = part(labels, &chosen, &held, &random);
    Drawn { train, validation: Some(validation), test }
}

/// How many of `n` images of a class are held out where it should be `wanted`: one at least and not all, but none of one alone.
fn held(wanted: f64, n: usize) -> usize {
    if n < 2 { 0 } else { (wanted.round() as usize).clamp(1, n - 1) }
}

/// Images of each class among `among`.
fn counts(labels: &[u32], among: &[usize]) -> Vec<usize> {
    let classes = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut counts = vec![0; classes];
    among.iter().for_each(|&index| counts[labels[index] as usize] += 1);
    counts
}

/// Those of `among` that a limit keeps.
fn limited(labels: &[u32], among: Vec<usize>, options: &OpenOptions, split: u64) -> Vec<usize> {
    let own: Vec<u32> = among.iter().map(|&index| labels[index]).collect();
    choose(&own, options.limit, options.seed, split).into_iter().map(|at| among[at]).collect()
}

/// Parts images in those that stay and those that are held out, of each class as many as `held` says of its number and the
/// number of its images.
fn part(
    labels: &[u32],
    among: &[usize],
    held: &dyn Fn(usize, usize) -> usize,
    random: &dyn Fn(u64) -> Rng,
) -> [Vec<usize>; 2] {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); counts(labels, among).len()];
    among.iter().for_each(|&index| members[labels[index] as usize].push(index));
    let (mut stay, mut out) = (Vec::new(), Vec::new());
    for (class, mut members) in members.into_iter().enumerate() {
        random(class as u64).shuffle(&mut members);
        let (held, others) = members.split_at(held(class, members.len()));
        out.extend_from_slice(held);
        stay.extend_from_slice(others);
    }
    stay.sort_unstable();
    out.sort_unstable();
    [stay, out]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[usize]) -> Vec<u32> {
        counts.iter().enumerate().flat_map(|(class, n)| vec![class as u32; *n]).collect()
    }

    fn validate(labels: &[u32], share: f64, seed: u64, limit: Option<usize>) -> Drawn {
        let shares = Shares { validation: Some(share), test: None };
        draw(labels, shares, &OpenOptions { seed, limit, ..OpenOptions::default() })
    }

    #[test]
    fn every_class_gives_its_share_rounded_one_at_least_and_never_all() {
        let labels = of(&[100, 14, 15, 2, 1, 0, 3]);
        for seed in 0..20 {
            let drawn = validate(&labels, 0.1, seed, None);
            let validation = drawn.validation.clone().unwrap();
            assert_eq!(counts(&labels, &validation), [10, 1, 2, 1, 0, 0, 1]);
            assert_eq!(counts(&labels, &drawn.train), [90, 13, 13, 1, 1, 0, 2]);
            let mut all = [drawn.train, validation].concat();
            all.sort_unstable();
            assert_eq!(all, (0..labels.len()).collect::<Vec<_>>(), "every image once");
        }
        assert_eq!(counts(&labels, &validate(&labels, 0.99, 0, None).train), [1, 1, 1, 1, 1, 0, 1]);
    }

    #[test]
    fn the_seed_draws_and_says_all() {
        let labels = of(&[50, 50]);
        assert_eq!(validate(&labels, 0.2, 1, None), validate(&labels, 0.2, 1, None));
        assert_ne!(validate(&labels, 0.2, 1, None), validate(&labels, 0.2, 2, None));
        // Classes are drawn apart.
        let drawn = validate(&labels, 0.2, 1, None).validation.unwrap();
        let (a, b) = drawn.split_at(10);
        assert!(a.iter().zip(b).any(|(a, b)| a + 50 != *b));
    }

    #[test]
    fn a_limit_chooses_as_without_validation_and_validation_is_a_share_of_that() {
        let labels = of(&[50, 50, 20]);
        let drawn = validate(&labels, 0.25, 3, Some(48));
        let mut all = [drawn.train.clone(), drawn.validation.clone().unwrap()].concat();
        all.sort_unstable();
        assert_eq!(all, choose(&labels, Some(48), 3, split::TRAIN));
        assert_eq!(counts(&labels, &drawn.validation.unwrap()), [4, 4, 4]);
    }

    #[test]
    fn test_images_are_the_same_for_every_seed_and_limit_and_shares_are_of_all() {
        let labels = of(&[100, 10, 3, 2, 1]);
        let both = Shares { validation: Some(0.1), test: Some(0.2) };
        let with = |seed, limit| draw(&labels, both, &OpenOptions { seed, limit, ..OpenOptions::default() });
        let (first, second) = (with(0, None), with(1, None));
        let test = first.test.clone().unwrap();
        assert_eq!(Some(&test), second.test.as_ref());
        assert_eq!(counts(&labels, &test), [20, 2, 1, 1, 0]);
        assert_eq!(counts(&labels, first.validation.as_ref().unwrap()), [10, 1, 1, 0, 0]);
        assert_eq!(counts(&labels, &first.train), [70, 7, 1, 1, 1]);
        assert_ne!(first.validation, second.validation);
        let few = with(0, Some(20));
        assert!(few.test.unwrap().iter().all(|index| test.contains(index)));
        assert!(few.train.iter().chain(&few.validation.unwrap()).all(|index| !test.contains(index)));
    }

    #[test]
    fn nothing_held_out_is_what_was_chosen_before() {
        let labels = of(&[9, 9]);
        let options = OpenOptions { limit: Some(5), seed: 4, ..OpenOptions::default() };
        let drawn = draw(&labels, Shares::default(), &options);
        let train = choose(&labels, Some(5), 4, 0);
        assert_eq!(drawn, Drawn { train, validation: None, test: None });
    }
}
