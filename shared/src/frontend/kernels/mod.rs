//! The inner loops of the spectrum and of the mel bands.
//!
//! [`plain`] is the reference. On processors with the DSP instructions of Cortex-M4, [`dsp`]
//! replaces it with bit-equal results; `build.rs` selects it. [`short`] has the parts of [`plain`]
//! for Cortex-M0.
//!
//! | kernel | in | out |
//! |---|---|---|
//! | `window` | 480 samples | windowed, reordered, in transforms of 4 points |
//! | `pass_4`, `pass_16`, `pass_64` | transforms of 4, 16, 64 points | transforms 4 times as long |
//! | `powers` | the complex transform | powers of the real one |
//! | `mel_powers` | powers | their weighted sums in mel bands |
//! | `advance` | 480 samples | the last 320 of them in front |

#[cfg(any(wakeling_dsp, wakeling_mve))]
mod dsp;
#[cfg(not(any(wakeling_dsp, wakeling_mve)))]
#[cfg_attr(wakeling_short_product, allow(dead_code, reason = "`short` has counterparts of some"))]
mod plain;
#[cfg(any(wakeling_short_product, all(test, not(any(wakeling_dsp, wakeling_mve)))))]
mod short;

#[cfg(any(wakeling_dsp, wakeling_mve))]
pub(super) use dsp::{advance, mel_powers, pass_4, pass_16, pass_64, powers, window};
#[cfg(not(any(wakeling_dsp, wakeling_mve)))]
pub(super) use plain::{advance, mel_powers, pass_4, pass_16, pass_64, powers, window};
