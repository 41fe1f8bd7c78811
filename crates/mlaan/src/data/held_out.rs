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

/// What is held out of a training split: for validation a share of the images that would train without it, for testing a
/// share of all.
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
/// validation images are a share of these, as `train_test_split(stratify=…)` of scikit-learn would hold out of what is left.
pub(super) fn draw(labels: &[u32], shares: Shares, options: &OpenOptions) -> Drawn {
    let all: Vec<usize> = (0..labels.len()).collect();
    let (rest, test) = match shares.test {
        None => (all, None),
        Some(share) => {
            let held: Vec<usize> = counts(labels, &all).into_iter().map(|n| held(share, n)).collect();
            let random = |class| Rng::new(0, RandomStream::HeldOut, split::TEST, class);
            let [rest, test] = part(labels, &all, &held, &random);
            (rest, Some(limited(labels, test, options, split::TEST)))
        }
    };
    let chosen = limited(labels, rest, options, split::TRAIN);
    let Some(share) = shares.validation else {
        return Drawn { train: chosen, validation: None, test };
    };
    let random = |class| Rng::new(options.seed, RandomStream::HeldOut, split::VALIDATION, class);
    let held = stratified(share, &counts(labels, &chosen), &random);
    let [train, validation] = part(labels, &chosen, &held, &random);
    Drawn { train, validation: Some(validation), test }
}

/// How many of `n` images of a class are held out for testing: the share, one at least and not all, but none of one alone.
fn held(share: f64, n: usize) -> usize {
    if n < 2 { 0 } else { ((share * n as f64).round() as usize).clamp(1, n - 1) }
}

/// How many of `n` training images a share holds out to validate on.
pub fn validation_images(share: f64, n: usize) -> usize {
    if share > 0.0 && n > 1 { ((share * n as f64).round() as usize).clamp(1, n - 1) } else { 0 }
}

/// How many images of each class are held out, of `counts`: together the share of all, however small the classes are. What
/// is left of it when every class has given its whole part goes to classes that have given none, if there is enough for all
/// of these, and then to those with the largest remainders; which of equals, is random. Each class keeps one.
fn stratified(share: f64, counts: &[usize], random: &dyn Fn(u64) -> Rng) -> Vec<usize> {
    let whole = |n: usize| ((share * n as f64).floor() as usize).min(n.saturating_sub(1));
    let mut held: Vec<usize> = counts.iter().map(|&n| whole(n)).collect();
    let mut left = validation_images(share, counts.iter().sum()).saturating_sub(held.iter().sum());
    let mut order: Vec<usize> = (0..counts.len()).collect();
    random(u64::MAX).shuffle(&mut order);
    let remainder = |class: usize| share * counts[class] as f64 - whole(counts[class]) as f64;
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)));
    let none = |held: &[usize], class: usize| held[class] == 0 && counts[class] > 1;
    let empty = (0..counts.len()).filter(|&class| none(&held, class)).count();
    if empty <= left {
        order.sort_by_key(|&class| !none(&held, class));
    }
    // A second round where classes of one image have nothing to give.
    while left > 0 {
        let before = left;
        for &class in &order {
            if left > 0 && held[class] + 1 < counts[class] {
                held[class] += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    held
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

/// Parts images in those that stay and those that are held out, of each class as many as `held` says.
fn part(labels: &[u32], among: &[usize], held: &[usize], random: &dyn Fn(u64) -> Rng) -> [Vec<usize>; 2] {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); counts(labels, among).len()];
    among.iter().for_each(|&index| members[labels[index] as usize].push(index));
    let (mut stay, mut out) = (Vec::new(), Vec::new());
    for (class, mut members) in members.into_iter().enumerate() {
        random(class as u64).shuffle(&mut members);
        let (held, others) = members.split_at(held.get(class).map_or(0, |n| *n.min(&members.len())));
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
    fn classes_give_the_share_of_all_images_together_and_none_gives_all() {
        let labels = of(&[100, 14, 15, 2, 1, 0, 3]);
        for seed in 0..20 {
            let drawn = validate(&labels, 0.1, seed, None);
            let validation = drawn.validation.clone().unwrap();
            // 13.5 of 135: 10, 1 and 1 whole ones, then one each of those that gave none.
            assert_eq!(counts(&labels, &validation), [10, 1, 1, 1, 0, 0, 1]);
            assert_eq!(counts(&labels, &drawn.train), [90, 13, 14, 1, 1, 0, 2]);
            let mut all = [drawn.train, validation].concat();
            all.sort_unstable();
            assert_eq!(all, (0..labels.len()).collect::<Vec<_>>(), "every image once");
        }
        assert_eq!(counts(&labels, &validate(&labels, 0.99, 0, None).train), [1, 1, 1, 1, 1, 0, 1]);
    }

    #[test]
    fn small_classes_do_not_raise_the_share() {
        // Ten classes of two: 0.2 of twenty are four, not one of each.
        let labels = of(&[2; 10]);
        let four = |seed| validate(&labels, 0.2, seed, None).validation.unwrap();
        for seed in 0..20 {
            assert_eq!(four(seed).len(), 4);
        }
        assert!((0..20).any(|seed| counts(&labels, &four(seed)) != counts(&labels, &four(0))), "drawn");
        // Not enough for each class that gives none: the largest remainders.
        let found = validate(&of(&[100, 3, 3, 4, 3, 3, 3]), 0.1, 5, None).validation.unwrap();
        let found = counts(&of(&[100, 3, 3, 4, 3, 3, 3]), &found);
        assert_eq!((found[0], found[3], found.iter().sum::<usize>()), (10, 1, 12));
        // What classes of one image cannot give, others do.
        let labels = of(&[1, 1, 1, 1, 6]);
        let found = validate(&labels, 0.5, 0, None).validation.unwrap();
        assert_eq!(counts(&labels, &found), [0, 0, 0, 0, 5]);
        assert_eq!(
            [(0.2, 20), (0.0, 9), (0.01, 9), (0.99, 2), (0.5, 1)].map(|(s, n)| validation_images(s, n)),
            [4, 0, 1, 1, 0]
        );
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
        assert_eq!(counts(&labels, &drawn.validation.unwrap()), [4, 4, 4], "12 of 48");
    }

    #[test]
    fn test_images_are_the_same_for_every_seed_and_limit_and_validation_is_a_share_of_the_others() {
        let labels = of(&[100, 10, 3, 2, 1]);
        let both = Shares { validation: Some(0.1), test: Some(0.2) };
        let with = |seed, limit| draw(&labels, both, &OpenOptions { seed, limit, ..OpenOptions::default() });
        let (first, second) = (with(0, None), with(1, None));
        let test = first.test.clone().unwrap();
        assert_eq!(Some(&test), second.test.as_ref());
        assert_eq!(counts(&labels, &test), [20, 2, 1, 1, 0]);
        // 9 of the 92 that are left, not 12 of all.
        assert_eq!(counts(&labels, first.validation.as_ref().unwrap()), [8, 1, 0, 0, 0]);
        assert_eq!(counts(&labels, &first.train), [72, 7, 2, 1, 1]);
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
