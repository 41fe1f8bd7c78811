//! The 1-D transforms of F(4, 3), on vectors.

use crate::cpu::simd::Simd;

/// The points of interpolation are 0, ±P, ±Q and infinity.
pub(super) const P: f32 = 0.75;
pub(super) const Q: f32 = 1.5;
const PP: f32 = P * P;
const QQ: f32 = Q * Q;

/// `Bᵀ`: six values of the input.
///
/// # Safety
/// S must exist on this machine.
#[inline(always)]
pub(super) unsafe fn input<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: the caller's promise.
    unsafe {
        let times = |x: f32, a: S::V, b: S::V| S::fma(S::splat(x), a, b);
        let [d0, d1, d2, d3, d4, d5] = d;
        let (even_p, odd_p) = (times(-QQ, d2, d4), times(-QQ, d1, d3));
        let (even_q, odd_q) = (times(-PP, d2, d4), times(-PP, d1, d3));
        [
            times(PP * QQ, d0, times(-PP - QQ, d2, d4)),
            times(P, odd_p, even_p),
            times(-P, odd_p, even_p),
            times(Q, odd_q, even_q),
            times(-Q, odd_q, even_q),
            times(PP * QQ, d1, times(-PP - QQ, d3, d5)),
        ]
    }
}

/// `Aᵀ`: six values to four of the output.
///
/// # Safety
/// S must exist on this machine.
#[inline(always)]
pub(super) unsafe fn output<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let times = |x: f32, a: S::V, b: S::V| S::fma(S::splat(x), a, b);
        let [m0, m1, m2, m3, m4, m5] = m;
        let (sum_p, difference_p) = (S::add(m1, m2), S::sub(m1, m2));
        let (sum_q, difference_q) = (S::add(m3, m4), S::sub(m3, m4));
        let zero = S::zero();
        [
            S::add(S::add(m0, sum_p), sum_q),
            times(P, difference_p, times(Q, difference_q, zero)),
            times(PP, sum_p, times(QQ, sum_q, zero)),
            times(P * PP, difference_p, times(Q * QQ, difference_q, m5)),
        ]
    }
}

/// `A`: four values of the output's gradient to six.
///
/// # Safety
/// S must exist on this machine.
#[inline(always)]
pub(super) unsafe fn gradient<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
    // SAFETY: the caller's promise.
    unsafe {
        let times = |x: f32, a: S::V, b: S::V| S::fma(S::splat(x), a, b);
        let [y0, y1, y2, y3] = y;
        let zero = S::zero();
        let (even_p, odd_p) = (times(PP, y2, y0), times(P, y1, times(P * PP, y3, zero)));
        let (even_q, odd_q) = (times(QQ, y2, y0), times(Q, y1, times(Q * QQ, y3, zero)));
        [y0, S::add(even_p, odd_p), S::sub(even_p, odd_p), S::add(even_q, odd_q), S::sub(even_q, odd_q), y3]
    }
}

/// Factors of `G` at ±P and ±Q.
const AT_P: f32 = 1.0 / (2.0 * PP * (PP - QQ));
const AT_Q: f32 = 1.0 / (2.0 * QQ * (QQ - PP));

/// `G`: three weights to six.
#[inline(always)]
pub(super) fn weights<const N: usize>(g: [[f32; N]; 3]) -> [[f32; N]; 6] {
    let mut out = [[0.0; N]; 6];
    for n in 0..N {
        let [g0, g1, g2] = [g[0][n], g[1][n], g[2][n]];
        let (even_p, odd_p) = ((g0 + PP * g2) * AT_P, g1 * (P * AT_P));
        let (even_q, odd_q) = ((g0 + QQ * g2) * AT_Q, g1 * (Q * AT_Q));
        out[0][n] = g0 * (1.0 / (PP * QQ));
        out[1][n] = even_p + odd_p;
        out[2][n] = even_p - odd_p;
        out[3][n] = even_q + odd_q;
        out[4][n] = even_q - odd_q;
        out[5][n] = g2;
    }
    out
}

/// `Gᵀ`: six values to the gradients of three weights.
#[inline(always)]
pub(super) fn weights_gradient<const N: usize>(w: [[f32; N]; 6]) -> [[f32; N]; 3] {
    let mut out = [[0.0; N]; 3];
    for n in 0..N {
        let (sum_p, difference_p) = ((w[1][n] + w[2][n]) * AT_P, (w[1][n] - w[2][n]) * AT_P);
        let (sum_q, difference_q) = ((w[3][n] + w[4][n]) * AT_Q, (w[3][n] - w[4][n]) * AT_Q);
        out[0][n] = w[0][n] * (1.0 / (PP * QQ)) + sum_p + sum_q;
        out[1][n] = P * difference_p + Q * difference_q;
        out[2][n] = PP * sum_p + QQ * sum_q + w[5][n];
    }
    out
}
