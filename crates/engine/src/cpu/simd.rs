//! Vectors of each instruction set behind one trait, and the choice among them at run time.
//!
//! A kernel is written once, generic over [`Simd`]; the `kernel!` macro compiles it for every instruction
//! set of the target and calls the one that this machine has. So one binary runs everywhere.

use crate::Bf16;

/// 32-bit lanes of the vectors of all instruction sets, ascending: those of this machine and of others.
pub(crate) const LANES: [usize; 3] = [4, 8, 16];

/// An instruction set that kernels are compiled for and that this machine has.
///
/// [`Isa::available`] alone makes one, so that whoever holds it may run its instructions:
///
/// ```compile_fail
/// let isa = mlaan_engine::Isa::Avx512;
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

/// The instruction sets of this target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// Nothing beyond the target's baseline.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F, and what AVX2 stands for.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Isa {
    /// What this machine can run, best first.
    pub fn available() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
            if avx2 && std::arch::is_x86_feature_detected!("avx512f") {
                all.push(Isa(Set::Avx512));
            }
            if avx2 {
                all.push(Isa(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Isa(Set::Neon));
        }
        all.push(Isa(Set::Portable));
        all
    }

    /// The first of [`Isa::available`].
    pub(crate) fn best() -> Isa {
        Isa::available().first().copied().unwrap_or(Isa(Set::Portable))
    }

    /// Which one it is.
    pub(crate) fn set(self) -> Set {
        self.0
    }

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
        }
    }

    /// 32-bit lanes of a vector, one of [`LANES`].
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Set::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => Neon::LANES,
        }
    }
}

/// A vector of 32-bit floats.
///
/// # Safety
/// Functions may only run where the instruction set is there; pointers must be valid for [`Simd::LANES`]
/// floats, without alignment.
pub(crate) trait Simd: Copy + 'static {
    /// The vector.
    type V: Copy;
    /// Its lanes.
    const LANES: usize;
    /// Rows of a register tile of two vectors: as many as the register file takes.
    const TILE: usize;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `v` where `x > 0`, else 0
    unsafe fn where_positive(x: Self::V, v: Self::V) -> Self::V;
    /// `v` where it is positive or not a number, else 0
    unsafe fn rectify(v: Self::V) -> Self::V;
    /// Floats whose upper halves are at `p`; the lower ones are 0.
    unsafe fn load_upper(p: *const u16) -> Self::V;
    /// Stores the upper halves.
    unsafe fn store_upper(p: *mut u16, v: Self::V);
    /// The nearest floats whose lower half is 0, the even one of two equally near; as [`Bf16::from_f32`].
    unsafe fn round_upper(v: Self::V) -> Self::V;

    unsafe fn zero() -> Self::V {
        // SAFETY: the caller runs where the instruction set is.
        unsafe { Self::splat(0.0) }
    }
}

/// Plain arrays, which the compiler maps to the baseline's vectors.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    type V = [f32; 8];
    const LANES: usize = 8;
    const TILE: usize = 2;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction a fused multiply-add is a library call.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn where_positive(x: Self::V, v: Self::V) -> Self::V {
        std::array::from_fn(|i| if x[i] > 0.0 { v[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn rectify(v: Self::V) -> Self::V {
        v.map(|x| if x <= 0.0 { 0.0 } else { x })
    }
    #[inline(always)]
    unsafe fn load_upper(p: *const u16) -> Self::V {
        // SAFETY: the caller's promise.
        let upper = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
        upper.map(|u| Bf16::from_bits(u).to_f32())
    }
    #[inline(always)]
    unsafe fn store_upper(p: *mut u16, v: Self::V) {
        let upper = v.map(|x| (x.to_bits() >> 16) as u16);
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u16; 8]>().write_unaligned(upper) }
    }
    #[inline(always)]
    unsafe fn round_upper(v: Self::V) -> Self::V {
        v.map(|x| Bf16::from_f32(x).to_f32())
    }
}

/// Implements [`Simd`] with one intrinsic per function.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! simd {
    ($name:ident, $doc:literal, $v:ty, $lanes:literal, $tile:literal, $splat:path, $load:path, $store:path,
     $add:path, $sub:path, |$a:ident, $b:ident, $c:ident| $fma:expr, |$x:ident, $y:ident| $positive:expr,
     |$r:ident| $rectify:expr, |$p:ident| $load_upper:expr, |$q:ident, $u:ident| $store_upper:expr,
     |$w:ident| $round_upper:expr) => {
        #[doc = $doc]
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Simd for $name {
            type V = $v;
            const LANES: usize = $lanes;
            const TILE: usize = $tile;
            #[inline(always)]
            unsafe fn splat(x: f32) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(p: *const f32) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn store(p: *mut f32, v: $v) {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $store(p, v) }
            }
            #[inline(always)]
            unsafe fn add(a: $v, b: $v) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: $v, b: $v) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn fma($a: $v, $b: $v, $c: $v) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $fma }
            }
            #[inline(always)]
            unsafe fn where_positive($x: $v, $y: $v) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $positive }
            }
            #[inline(always)]
            unsafe fn rectify($r: $v) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $rectify }
            }
            #[inline(always)]
            unsafe fn load_upper($p: *const u16) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $load_upper }
            }
            #[inline(always)]
            unsafe fn store_upper($q: *mut u16, $u: $v) {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $store_upper }
            }
            #[inline(always)]
            unsafe fn round_upper($w: $v) -> $v {
                // SAFETY: the caller keeps the contract of the trait.
                unsafe { $round_upper }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    simd!(
        Avx2,
        "Eight lanes, sixteen registers.",
        __m256,
        8,
        6,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        |a, b, c| _mm256_fmadd_ps(a, b, c),
        |x, v| _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps()), v),
        // The second operand is the result where one is not a number.
        |v| _mm256_max_ps(_mm256_setzero_ps(), v),
        |p| {
            let upper = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(upper))
        },
        |p, v| {
            let upper = _mm256_srli_epi32::<16>(_mm256_castps_si256(v));
            let (low, high) = (_mm256_castsi256_si128(upper), _mm256_extracti128_si256::<1>(upper));
            _mm_storeu_si128(p.cast(), _mm_packus_epi32(low, high))
        },
        |v| {
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0x0040_0000)));
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(v, v);
            let all = _mm256_blendv_ps(_mm256_castsi256_ps(up), quiet, nan);
            _mm256_and_ps(all, _mm256_castsi256_ps(_mm256_set1_epi32(-0x1_0000)))
        }
    );
    simd!(
        Avx512,
        "Sixteen lanes, thirty-two registers.",
        __m512,
        16,
        8,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        |a, b, c| _mm512_fmadd_ps(a, b, c),
        |x, v| _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps()), v),
        |v| _mm512_max_ps(_mm512_setzero_ps(), v),
        |p| {
            let upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(upper))
        },
        |p, v| {
            let upper = _mm512_srli_epi32::<16>(_mm512_castps_si512(v));
            _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(upper))
        },
        |v| {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let all = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x0040_0000));
            _mm512_castsi512_ps(_mm512_and_si512(all, _mm512_set1_epi32(-0x1_0000)))
        }
    );
}
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Simd;
    use std::arch::aarch64::*;

    simd!(
        Neon,
        "Four lanes, thirty-two registers.",
        float32x4_t,
        4,
        8,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vaddq_f32,
        vsubq_f32,
        |a, b, c| vfmaq_f32(c, a, b),
        |x, v| vreinterpretq_f32_u32(vandq_u32(vcgtzq_f32(x), vreinterpretq_u32_f32(v))),
        |v| vmaxq_f32(v, vdupq_n_f32(0.0)),
        |p| vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p))),
        |p, v| vst1_u16(p, vshrn_n_u32::<16>(vreinterpretq_u32_f32(v))),
        |v| {
            let bits = vreinterpretq_u32_f32(v);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
            let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
            let all = vbslq_u32(vceqq_f32(v, v), up, quiet);
            vreinterpretq_f32_u32(vandq_u32(all, vdupq_n_u32(0xffff_0000)))
        }
    );
}
#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_planned_for_the_lanes_of_every_instruction_set() {
        assert!(Isa::available().into_iter().all(|isa| LANES.contains(&isa.lanes())));
        assert!(Isa::available().contains(&Isa::best()));
        assert_eq!(Isa::available().last().map(|isa| isa.name()), Some("portable"));
    }
}
