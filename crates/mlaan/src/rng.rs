//! Randomness that depends only on what it is for.
//!
//! Every random number is derived from `(seed, stream, a, b)` (say, epoch and sample index), never
//! drawn from a shared stream, so that resumed runs and any number of threads see the same values.
//! The generator is SplitMix64 (Steele, Lea, Flood 2014): its values are part of the file format of a
//! run, so they must not change with a dependency's version; that is why no crate is used here.

/// What a random number is for; different streams give independent values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum RandomStream {
    /// Initial values of parameters.
    Initialise = 1,
    /// The order of the training samples in an epoch.
    Shuffle = 2,
    /// Crops and flips.
    Augment = 3,
    /// The built-in image set.
    Synthetic = 4,
    /// Which images `--limit` keeps.
    Limit = 5,
    /// Changes of colours.
    Colour = 6,
    /// Erased rectangles.
    Erase = 7,
    /// Squares that are cut out.
    Cutout = 8,
    /// Shares of mixed images.
    Mixup = 9,
    /// Which training images are held out, to validate or to test on.
    HeldOut = 10,
    /// Boxes of CutMix.
    Cutmix = 11,
    /// Which mixture a batch is.
    MixSwitch = 12,
    /// Operations of RandAugment.
    RandAugment = 13,
    /// Images drawn with replacement.
    Sample = 14,
    /// Values that are rounded stochastically.
    Round = 15,
}

/// A small deterministic generator for one use.
#[derive(Clone, Debug)]
pub struct Rng(u64);

/// FNV-1a, for names.
pub(crate) fn hash(name: impl IntoIterator<Item = u8>) -> u64 {
    name.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The generator of `(seed, stream, a, b)`; `a` and `b` are, for example, epoch and sample index.
    pub fn new(seed: u64, stream: RandomStream, a: u64, b: u64) -> Self {
        let mut s = mix(seed ^ 0x9E37_79B9_7F4A_7C15);
        for x in [stream as u64, a, b] {
            s = mix(s.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ x.wrapping_mul(0xD1B5_4A32_D192_ED03));
        }
        Rng(s)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A whole number below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let r = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        r * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_indices_are_independent_and_repeatable() {
        let first = |p, a, b| Rng::new(7, p, a, b).bits();
        assert_eq!(first(RandomStream::Augment, 1, 2), first(RandomStream::Augment, 1, 2));
        assert_ne!(first(RandomStream::Augment, 1, 2), first(RandomStream::Augment, 2, 1));
        assert_ne!(first(RandomStream::Augment, 1, 2), first(RandomStream::Shuffle, 1, 2));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut r = Rng::new(1, RandomStream::Initialise, 0, 0);
        let n = 100_000;
        let (mut u, mut m, mut v) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            u += r.uniform();
            let x = r.normal();
            m += x;
            v += x * x;
        }
        let n = n as f64;
        assert!((u / n - 0.5).abs() < 0.005);
        assert!((m / n).abs() < 0.015);
        assert!((v / n - 1.0).abs() < 0.02);
    }
}
