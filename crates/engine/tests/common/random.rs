//! Deterministic pseudo-random values (SplitMix64).

/// A generator; the same seed gives the same values.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(0x9E37_79B9))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Yes with probability 1 in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A value in (-1, 1), at least 0.02 away from 0.
    pub fn double(&mut self) -> f64 {
        let part = 0.02 + 0.98 * (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        if self.one_in(2) { part } else { -part }
    }

    pub fn doubles(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.double()).collect()
    }

    /// Values in [-1, 1], multiples of 1/64 and not 0: so that equal values occur, and unequal ones differ.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        let float = |r: usize| (r as f32 - 64.0 + f32::from(u8::from(r >= 64))) / 64.0;
        (0..n).map(|_| float(self.below(128))).collect()
    }
}
