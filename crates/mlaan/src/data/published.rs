//! How many images sets of the literature have as they are published.
//!
//! A file that is cut between two images, or lacks some, is a smaller set by its form alone: only the counts show it.

use super::Known;
use super::formats::Format;

/// What a set has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    name: &'static str,
    /// Training and test images.
    images: [usize; 2],
}

impl Published {
    /// Of the set that a format says it is. ImageNet is used in parts, so it has none.
    pub fn of(format: &Format, known: Option<Known>, classes: usize) -> Option<Self> {
        let (name, images) = match known {
            Some(Known::Cifar10) => ("CIFAR-10", [50_000, 10_000]),
            Some(Known::Cifar100) => ("CIFAR-100", [50_000, 10_000]),
            Some(Known::Svhn) => ("SVHN", [73_257, 26_032]),
            Some(Known::Stl10) => ("STL-10", [5_000, 8_000]),
            Some(Known::Imagenet) => return None,
            // Fashion-MNIST and KMNIST too.
            None if format.name == super::formats::MNIST && classes == 10 => ("MNIST", [60_000, 10_000]),
            None => return None,
        };
        Some(Published { name, images })
    }

    /// What differs in the numbers of training and test images, as problems.
    pub fn differences(&self, found: [usize; 2]) -> Vec<String> {
        let differing =
            ["training", "test"].into_iter().zip(found).zip(self.images).filter(|((_, n), m)| n != m);
        let text = |((split, found), published)| {
            format!(
                "{} {split} images; {} as published has {}: fetch the set again, unless another number is meant",
                grouped(found),
                self.name,
                grouped(published)
            )
        };
        differing.map(text).collect()
    }
}

/// A number in groups of three digits.
pub(crate) fn grouped(n: usize) -> String {
    match n / 1000 {
        0 => n.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), n % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_differ_are_told_for_each_split() {
        let cifar = Published { name: "CIFAR-10", images: [50_000, 10_000] };
        assert!(cifar.differences([50_000, 10_000]).is_empty());
        let told = cifar.differences([48_000, 10_000]);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("48,000 training images; CIFAR-10 as published has 50,000"), "{told:?}");
        assert!(
            cifar.differences([50_000, 7])[0].starts_with("7 test images; CIFAR-10 as published has 10,000")
        );
    }
}
