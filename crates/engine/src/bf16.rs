//! Half-size floats: the upper half of a 32-bit float.

/// A bfloat16: sign, eight bits of exponent, seven of fraction. Values are stored in it, never computed in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The nearest value, the even one of two equally near; what is not a number stays so.
    #[inline(always)]
    pub fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        // Rounding could carry out of the fraction of what is not a number.
        let bits = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
        Bf16((bits >> 16) as u16)
    }

    /// One of the two values beside `x`, chosen by 16 random bits: the one farther from 0 for as many of them as `x` is 65536ths
    /// of the way there. What has a value of its own stays, and so does what is not a number.
    #[inline(always)]
    pub fn from_f32_by(x: f32, random: u32) -> Self {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(random & 0xffff);
        let bits = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
        Bf16((bits >> 16) as u16)
    }

    /// The same value.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// The bits.
    pub fn to_bits(self) -> u16 {
        self.0
    }

    /// From bits.
    pub const fn from_bits(bits: u16) -> Self {
        Bf16(bits)
    }
}

/// 32 random bits for element `index` under `keys`: two rounds of a mixing function of 32 bits (the finaliser of MurmurHash3 with the
/// constants "lowbias32" of C. Wellons, 2018), a key before each. Counter-based: nothing is drawn from a stream.
#[inline(always)]
pub(crate) fn random_bits(keys: [u32; 2], index: u32) -> u32 {
    mixed(mixed(index ^ keys[0]) ^ keys[1])
}

#[inline(always)]
fn mixed(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_the_way_is_the_part_of_the_choices() {
        for (low, sign) in [(0u32, 0u32), (1, 0), (0x4000, 0), (0x8000, 1), (0xffff, 1)] {
            let x = f32::from_bits((sign << 31) | 0x3f80_0000 | low);
            let (near, far) = (Bf16::from_f32_by(x, 0), Bf16(((sign << 15) | 0x3f81) as u16));
            let away = (0..=0xffff).filter(|&r| Bf16::from_f32_by(x, r) != near);
            assert_eq!(away.count(), low as usize, "{x}");
            assert!((0..=0xffff).all(|r| [near, far].contains(&Bf16::from_f32_by(x, r))));
        }
        for x in [f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 3.5] {
            assert_eq!(Bf16::from_f32_by(x, 0xffff).to_f32().to_bits(), x.to_bits());
        }
        assert!(Bf16::from_f32_by(f32::from_bits(0x7fff_ffff), 0xffff).to_f32().is_nan());
    }

    #[test]
    fn random_bits_are_even_and_independent_of_neighbours() {
        let n = 1 << 16;
        for keys in [[0, 0], [1, 0], [0, 1], [0xdead_beef, 7]] {
            let all: Vec<u32> = (0..n).map(|i| random_bits(keys, i)).collect();
            let ones =
                |f: &dyn Fn(usize) -> u32| (0..n as usize - 1).map(|i| f(i).count_ones() as f64).sum::<f64>();
            // Of 32 bits a half, within six standard deviations of the mean over all.
            let most = 6.0 * (32.0 * 0.25 / n as f64).sqrt();
            let means = [
                ones(&|i| all[i]),
                ones(&|i| all[i] ^ all[i + 1]),
                ones(&|i| all[i] ^ random_bits([keys[0], keys[1] + 1], i as u32)),
            ];
            for mean in means.map(|m| m / (n - 1) as f64) {
                assert!((mean - 16.0).abs() < most, "{mean}");
            }
        }
    }

    #[test]
    fn every_value_comes_back_and_midpoints_go_to_the_even_one() {
        for bits in 0..=u16::MAX {
            let (half, x) = (Bf16(bits), Bf16(bits).to_f32());
            if x.is_nan() {
                assert!(Bf16::from_f32(x).to_f32().is_nan());
                continue;
            }
            assert_eq!(Bf16::from_f32(x), half);
            if x.is_infinite() {
                continue;
            }
            let between = |part: u32| f32::from_bits((u32::from(bits) << 16) + part);
            let (even, up) = (bits & 1 == 0, Bf16(bits + 1));
            assert_eq!(Bf16::from_f32(between(0x7fff)), half);
            assert_eq!(Bf16::from_f32(between(0x8000)), if even { half } else { up });
            assert_eq!(Bf16::from_f32(between(0x8001)), up);
        }
    }

    #[test]
    fn no_payload_turns_into_a_number() {
        for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff, 0x7fbf_8000] {
            assert!(Bf16::from_f32(f32::from_bits(bits)).to_f32().is_nan());
        }
    }
}
