//! Kernels, written once and compiled for every instruction set.

/// Compiles a kernel, generic over `S: Simd` (and perhaps one type of stored values), for every instruction set and calls the machine's.
///
/// The function is the only way in, and safe: the instruction set was checked when its [`Isa`] was made, and a body that goes by
/// sizes where slices would be checked at every access first compares these with the slices' lengths, once a launch. The body
/// itself is not safe: it uses the instructions of whatever `S` it is given.
macro_rules! kernel {
    ($(#[$meta:meta])* fn $name:ident<$S:ident $(, $E:ident)?>($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)] // Kernels take raw sizes.
        pub(crate) fn $name$(<$E: $crate::cpu::value::Value>)?(isa: $crate::cpu::simd::Isa, $($arg: $ty),*) {
            /// # Safety
            /// Only where S exists.
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn body<$S: $crate::cpu::simd::Simd $(, $E: $crate::cpu::value::Value)?>($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512$(<$E: $crate::cpu::value::Value>)?($($arg: $ty),*) {
                // SAFETY: this function has the instructions.
                unsafe { body::<$crate::cpu::simd::Avx512 $(, $E)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2$(<$E: $crate::cpu::value::Value>)?($($arg: $ty),*) {
                // SAFETY: this function has the instructions.
                unsafe { body::<$crate::cpu::simd::Avx2 $(, $E)?>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            #[allow(clippy::too_many_arguments)]
            fn neon$(<$E: $crate::cpu::value::Value>)?($($arg: $ty),*) {
                // SAFETY: this function has the instructions.
                unsafe { body::<$crate::cpu::simd::Neon $(, $E)?>($($arg),*) }
            }
            match isa.set() {
                // SAFETY: an `Isa` is made for instruction sets alone that were detected.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::simd::Set::Avx512 => unsafe { avx512$(::<$E>)?($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::simd::Set::Avx2 => unsafe { avx2$(::<$E>)?($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::cpu::simd::Set::Neon => unsafe { neon$(::<$E>)?($($arg),*) },
                // SAFETY: it needs no instructions of its own.
                $crate::cpu::simd::Set::Portable => unsafe { body::<$crate::cpu::simd::Portable $(, $E)?>($($arg),*) },
            }
        }
    };
}
pub(crate) use kernel;
