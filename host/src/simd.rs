//! One body, compiled for each vector width, chosen when it runs.
//!
//! A plain build targets baseline x86-64, four floats wide. [`simd!`] compiles its function also
//! for AVX2 + FMA and for AVX-512, and picks by what the processor reports (a cached flag), so the
//! program needs no build flags to be fast. The bodies are ordinary safe Rust over slices, written
//! so that the compiler vectorizes them; elsewhere than on x86-64 the plain body runs.

/// Defines functions whose body is compiled per instruction set and dispatched at run time.
macro_rules! simd {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {$(
        $(#[$meta])*
        #[allow(unsafe_code, reason = "calls of functions for the vectors that the processor was found to have")]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor was just found to have AVX-512F.
                    return unsafe { avx512($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: the processor was just found to have AVX2 and FMA.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    )*};
}

pub(crate) use simd;
