//! CIC filter: pulse density to samples, for boards with a PDM microphone and a chip without a
//! filter.
//!
//! It is a cascaded integrator–comb filter (Hogenauer 1981, "An economical class of digital filters
//! for decimation and interpolation", figure 1): three integrators at the bits' rate, every 64th
//! value kept, and three combs. It only adds, with wrapping. As long as the output fits, internal
//! overflows cancel. Bits at 1.024 MHz become samples at 16 kHz, with a gain of 64³ = 2¹⁸, that is
//! 18 bits and a sign.
//!
//! The attenuation is 2.7 dB at 4 kHz and 10 dB at 7.5 kHz, which matters little to features with
//! one level per band. The alias of 4 kHz (12 kHz) is 31 dB down, but that of 7.5 kHz only 13 dB.
//!
//! Shapes: 4 words of 16 bits, the first bit on top, for each `i16`.

/// Number of bits per sample.
pub const DECIMATION: usize = 64;
/// Number of 16-bit words per sample.
pub const WORDS_PER_SAMPLE: usize = DECIMATION / 16;
/// Number of integrators, and of combs.
const ORDER: usize = 3;
/// Bits of gain beyond those of `i16`: the value of all ones is 64³ = 2¹⁸, and that of all zeros
/// its negative.
const GAIN_BITS: u32 = 18 - 15;

/// State of the filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cic {
    integrators: [i32; ORDER],
    combs: [i32; ORDER],
}

impl Cic {
    /// Computes one sample from its words, from −32,768 for zeros alone to 32,767 for ones alone.
    /// Only all ones saturate, since no microphone is louder than its bits.
    pub fn sample(&mut self, words: &[u16; WORDS_PER_SAMPLE]) -> i16 {
        let [first, second, third] = &mut self.integrators;
        for &word in words {
            for bit in (0..16).rev() {
                // The value is ±1.
                *first = first.wrapping_add((i32::from(word >> bit & 1) << 1) - 1);
                *second = second.wrapping_add(*first);
                *third = third.wrapping_add(*second);
            }
        }
        let mut value = self.integrators[ORDER - 1];
        for comb in &mut self.combs {
            let difference = value.wrapping_sub(*comb);
            *comb = value;
            value = difference;
        }
        let rounded = (value + (1 << (GAIN_BITS - 1))) >> GAIN_BITS;
        rounded.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }

    /// Fills `samples` from their words; the rest of the longer slice is ignored.
    pub fn fill(&mut self, words: &[u16], samples: &mut [i16]) {
        let (words, _) = words.as_chunks();
        for (words, sample) in words.iter().zip(samples) {
            *sample = self.sample(words);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{f64::consts::PI, vec, vec::Vec};

    /// Modulates a tone into words by a first-order sigma–delta converter, like a microphone.
    fn modulated(hertz: f64, amplitude: f64, samples: usize) -> Vec<u16> {
        let mut error = 0.0;
        let mut words = vec![0; samples * WORDS_PER_SAMPLE];
        for n in 0..samples * DECIMATION {
            error += amplitude * (2.0 * PI * hertz * n as f64 / 1_024_000.0).sin();
            let one = error >= 0.0;
            error -= if one { 1.0 } else { -1.0 };
            words[n / 16] |= u16::from(one) << (15 - n % 16);
        }
        words
    }

    /// Computes the formula: the bits convolved three times with 64 ones, every 64th value kept.
    fn reference(words: &[u16]) -> Vec<i16> {
        let bit = |n: usize| 2 * i64::from(words[n / 16] >> (15 - n % 16) & 1) - 1;
        let mut values: Vec<i64> = (0..words.len() * 16).map(bit).collect();
        for _ in 0..ORDER {
            let sum = |n: usize| values[n.saturating_sub(DECIMATION - 1)..=n].iter().sum();
            values = (0..values.len()).map(sum).collect();
        }
        let kept = values.iter().skip(DECIMATION - 1).step_by(DECIMATION);
        kept.map(|&value| ((value + 4) >> 3).clamp(-32_768, 32_767) as i16).collect()
    }

    fn decimated(words: &[u16]) -> Vec<i16> {
        let mut samples = vec![0; words.len() / WORDS_PER_SAMPLE];
        Cic::default().fill(words, &mut samples);
        samples
    }

    #[test]
    fn equals_three_running_sums() {
        let words = modulated(997.0, 0.7, 200);
        assert_eq!(decimated(&words), reference(&words));
        let noise: Vec<u16> =
            (0u32..400).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as u16).collect();
        assert_eq!(decimated(&noise), reference(&noise));
    }

    #[test]
    fn extremes_stay_at_the_rails() {
        // After six seconds the integrators have overflowed many times.
        let mut cic = Cic::default();
        for (word, rail) in [(u16::MAX, i16::MAX), (0, i16::MIN)] {
            let last = (0..100_000).map(|_| cic.sample(&[word; WORDS_PER_SAMPLE])).last();
            assert_eq!(last, Some(rail));
        }
    }

    #[test]
    fn a_tone_keeps_its_amplitude_and_its_pitch() {
        let samples = decimated(&modulated(500.0, 0.5, 1_600));
        let settled = &samples[160..];
        let peak = settled.iter().map(|s| s.unsigned_abs()).max();
        assert!(peak.is_some_and(|p| (16_000..16_700).contains(&p)), "{peak:?}");
        let rises = settled.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        assert!((44..=46).contains(&rises), "{rises} periods in 90 ms of 500 Hz");
    }

    #[test]
    fn blocks_change_nothing() {
        let words = modulated(440.0, 0.9, 320);
        let whole = decimated(&words);
        let mut cic = Cic::default();
        let mut samples = Vec::new();
        for words in words.chunks(WORDS_PER_SAMPLE * 33) {
            let mut block = vec![0; words.len() / WORDS_PER_SAMPLE];
            cic.fill(words, &mut block);
            samples.extend(block);
        }
        assert_eq!(samples, whole);
    }
}
