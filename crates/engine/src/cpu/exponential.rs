//! Exponentials in 32 bits, as plain arithmetic: in loops over arrays it becomes vectors of a kernel's instruction set.

/// `exp(x)` for x <= 0, to two units in the last place.
#[inline(always)]
pub(super) fn exp_below_zero(x: f32) -> f32 {
    // Adding it changes nothing.
    exp_of_sum(x, -0.0)
}

/// `exp(x + low)` for x <= 0 and a `low` that is small beside 1: 2^n · exp(r) with |r| <= ln 2 / 2 (Cody and Waite's
/// reduction).
#[inline(always)]
pub(super) fn exp_of_sum(x: f32, low: f32) -> f32 {
    /// Added and taken off again, it rounds to a whole number, whose bits it leaves at the end.
    const WHOLE: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few bits, so that n times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Below, the result is less than the least normal number.
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    let r = x - n * LN_2[0] - n * LN_2[1] + low;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let power = shifted.to_bits().wrapping_sub(WHOLE.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(power)
}
