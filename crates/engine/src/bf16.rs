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

#[cfg(test)]
mod tests {
    use super::*;

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
