//! Which images a limited run keeps.

use crate::rng::{RandomStream, Rng};

/// At most `limit` of the images with these labels, in ascending order: of each class as many as of the
/// others, as far as there are, chosen by `(seed, split, class)`.
pub(super) fn choose(labels: &[u32], limit: Option<usize>, seed: u64, split: u64) -> Vec<usize> {
    let limit = match limit {
        Some(limit) if limit < labels.len() => limit,
        _ => return (0..labels.len()).collect(),
    };
    let classes = labels.iter().max().map_or(0, |l| *l as usize + 1);
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        members[label as usize].push(index);
    }
    // A random class order too: when the limit is no multiple of the classes, some get one more.
    let mut ranked = Vec::with_capacity(labels.len());
    let mut turn: Vec<usize> = (0..classes).collect();
    Rng::new(seed, RandomStream::Limit, split, u64::MAX).shuffle(&mut turn);
    for (position, &class) in turn.iter().enumerate() {
        Rng::new(seed, RandomStream::Limit, split, class as u64).shuffle(&mut members[class]);
        let indices = members[class].iter().enumerate();
        ranked.extend(indices.map(|(rank, &index)| (rank, position, index)));
    }
    ranked.sort_unstable();
    let mut chosen: Vec<usize> = ranked.iter().take(limit).map(|r| r.2).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_balanced_as_far_as_possible_and_the_choice_repeats() {
        // 50 of class 0, 30 of class 1, 2 of class 2.
        let labels: Vec<u32> = [vec![0; 50], vec![1; 30], vec![2; 2]].concat();
        let chosen = choose(&labels, Some(20), 1, 0);
        let count = |c| chosen.iter().filter(|i| labels[**i] == c).count();
        assert_eq!((count(0), count(1), count(2)), (9, 9, 2));
        assert!(chosen.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(chosen, choose(&labels, Some(20), 1, 0));
        assert_ne!(chosen, choose(&labels, Some(20), 2, 0));
        // A larger limit keeps what a smaller one had.
        let more = choose(&labels, Some(40), 1, 0);
        assert!(chosen.iter().all(|i| more.contains(i)));
    }

    #[test]
    fn no_limit_or_a_large_one_keeps_everything() {
        assert_eq!(choose(&[0, 1, 0], None, 1, 0), [0, 1, 2]);
        assert_eq!(choose(&[0, 1, 0], Some(3), 1, 0), [0, 1, 2]);
        assert!(choose(&[0, 1, 0], Some(0), 1, 0).is_empty());
        assert!(choose(&[], Some(5), 1, 0).is_empty());
    }
}
