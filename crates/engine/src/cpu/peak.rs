//! The most that a processor's arithmetic can do: multiply-adds that never leave the registers.

use super::kernel::kernel;
use super::simd::{Isa, Set};

/// Registers at the most that multiply-adds go round in.
const REGISTERS: usize = 16;

/// Floating-point operations of `spin`, by one thread.
pub(crate) fn operations(isa: Isa, rounds: usize) -> u64 {
    (2 * rounds * chains(isa) * isa.lanes()) as u64
}

/// Independent sums: as many as the register tile of the convolutions has, enough to hide a multiply-add's latency.
fn chains(isa: Isa) -> usize {
    match isa.set() {
        Set::Portable => 4,
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => 12,
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => REGISTERS,
        #[cfg(target_arch = "aarch64")]
        Set::Neon => REGISTERS,
    }
}

kernel! {
    /// `rounds` multiply-adds in each of the chains; writes their sum, so that they are done.
    fn spin<S>(rounds: usize, factor: f32, sum: &mut [f32; REGISTERS]) {
        // SAFETY: the instruction set is there (see `kernel!`); `sum` holds a vector of any instruction set.
        unsafe {
            let (a, b) = (S::splat(factor), S::splat(1.0 - factor));
            let mut all = [S::zero(); REGISTERS];
            // Unequal, or they could all be computed as one.
            for (i, x) in all.iter_mut().enumerate() {
                *x = S::splat(i as f32);
            }
            // The constant is `chains`: two vectors a row of the tile.
            for _ in 0..rounds {
                for x in all.iter_mut().take(2 * S::TILE) {
                    *x = S::fma(*x, a, b);
                }
            }
            let mut total = S::zero();
            for x in all {
                total = S::add(total, x);
            }
            S::store(sum.as_mut_ptr(), total);
        }
    }
}

/// As `spin`, with a factor that the compiler does not know.
pub(crate) fn work(isa: Isa, rounds: usize) {
    let mut sum = [0.0; REGISTERS];
    spin(isa, rounds, std::hint::black_box(0.999), &mut sum);
    std::hint::black_box(sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{Portable, Simd};

    fn of_loop<S: Simd>() -> u64 {
        (2 * 3 * 2 * S::TILE * S::LANES) as u64
    }

    #[test]
    fn operations_are_those_of_the_loop() {
        for isa in Isa::available() {
            let expected = match isa.set() {
                Set::Portable => of_loop::<Portable>(),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => of_loop::<crate::cpu::simd::Avx2>(),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => of_loop::<crate::cpu::simd::Avx512>(),
                #[cfg(target_arch = "aarch64")]
                Set::Neon => of_loop::<crate::cpu::simd::Neon>(),
            };
            assert_eq!(operations(isa, 3), expected, "{isa:?}");
        }
    }
}
