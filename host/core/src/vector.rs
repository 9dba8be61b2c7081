//! Run-time dispatch over vector widths, with one function body for all.
//!
//! A plain build targets baseline x86-64, which is four floats wide. [`simd!`] also compiles its
//! function for AVX2 + FMA and for AVX-512, and selects one by a cached CPU feature flag. The
//! program is therefore fast without build flags. The bodies are ordinary safe Rust over slices,
//! written so that the compiler vectorizes them. Architectures other than x86-64 run the plain
//! body.

/// Defines functions whose body is compiled per instruction set and dispatched at run time.
#[macro_export]
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
                    // SAFETY: the check above has found AVX-512F on this processor.
                    return unsafe { avx512($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: the checks above have found AVX2 and FMA on this processor.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    )*};
}
