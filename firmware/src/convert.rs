//! Conversion of microphone readings to 16-bit samples around zero.
//!
//! | microphone | output | conversion |
//! |---|---|---|
//! | I²S (INMP441, ICS-43434, SPH0645) | 24 bits on top of a slot of 32 | [`from_i2s`] |
//! | analog, through the chip's converter | voltage around about half the supply | [`Analog`] |

/// Converts an I²S slot: takes its upper 16 bits with a gain of four bits.
///
/// These microphones give −26 dB of full scale at 94 dB SPL (data sheet of the INMP441, DS-000069).
/// Speech at one metre would thus use six bits of 16. Sound above 96 dB SPL saturates.
pub fn from_i2s(slot: u32) -> i16 {
    const GAIN_BITS: u32 = 4;
    let value = slot.cast_signed() >> (16 - GAIN_BITS);
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Converter for an analog signal: removes its direct voltage and amplifies it.
///
/// `y[n] = sat16((x[n] − d[n]) · 2^gain)`, `d[n+1] = d[n] + (x[n] − d[n]) / 2¹⁰`. This is a
/// high-pass filter with its corner at 16,000 / (2π · 1,024) = 2.5 Hz.
#[derive(Clone, Copy, Debug)]
pub struct Analog {
    /// The value `d` with 10 fractional bits; `None` before the first sample.
    level: Option<i32>,
    gain_bits: u32,
}

impl Analog {
    const TRACK_BITS: u32 = 10;

    /// Creates a converter. `gain_bits` is clamped to at most 8.
    pub fn new(gain_bits: u32) -> Self {
        Self { level: None, gain_bits: gain_bits.min(8) }
    }

    /// Converts one sample.
    pub fn sample(&mut self, reading: i16) -> i16 {
        let reading = i32::from(reading);
        // The first reading is the best estimate; otherwise a step of half a second would be
        // audible.
        let level = self.level.get_or_insert(reading << Self::TRACK_BITS);
        let difference = reading - (*level >> Self::TRACK_BITS);
        *level += difference;
        (difference << self.gain_bits).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_slot_loses_its_low_bits_and_saturates() {
        for (slot, sample) in [
            (0, 0),
            (0x0000_1000, 1),
            (0x0000_0fff, 0),
            (0xffff_f000, -1),
            (0xffff_ffff, -1),
            (0x07ff_ffff, i16::MAX),
            (0x0800_0000, i16::MAX),
            (0x7fff_ffff, i16::MAX),
            (0xf800_0000, i16::MIN),
            (0x8000_0000, i16::MIN),
        ] {
            assert_eq!(from_i2s(slot), sample, "{slot:#010x}");
        }
    }

    #[test]
    fn a_direct_voltage_is_silence_at_once_and_a_new_one_after_a_while() {
        let mut analog = Analog::new(2);
        assert!((0..100).all(|_| analog.sample(9_000) == 0));
        let after: Vec<i16> = (0..16_000).map(|_| analog.sample(9_100)).collect();
        assert_eq!(after[0], 400);
        assert!(after[1_024] < 160 && after[1_024] > 130, "one time constant: {}", after[1_024]);
        assert!(after[15_999].abs() <= 4, "{}", after[15_999]);
    }

    #[test]
    fn a_tone_goes_through_at_its_gain() {
        let mut analog = Analog::new(3);
        let tone = |n: i32| 8_000 + if n / 8 % 2 == 0 { 500 } else { -500 };
        let converted: Vec<i16> = (0..16_000).map(|n| analog.sample(tone(n) as i16)).collect();
        let settled = &converted[8_000..];
        assert!(settled.iter().all(|s| (3_900..4_100).contains(&s.unsigned_abs())));
    }

    #[test]
    fn extremes_saturate() {
        let mut analog = Analog::new(99);
        assert_eq!(analog.sample(i16::MIN), 0);
        assert_eq!(analog.sample(i16::MAX), i16::MAX);
        let mut analog = Analog::new(8);
        assert_eq!(analog.sample(i16::MAX), 0);
        assert_eq!(analog.sample(i16::MIN), i16::MIN);
    }
}
