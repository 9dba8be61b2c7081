//! What is wrong with the microphone, as far as samples tell: it says one value for ever, it clips, or
//! its zero is somewhere else. The network hears nothing in such sound, and a user should know why.
//!
//! Sound is judged in periods of 2 s, counted from the first sample, by every thirteenth sample: faults
//! that last are seen as well in a few of the samples, and a judgement costs at most two percent of
//! what the smallest model does. What is said depends on the samples alone, not on how they are
//! cut. Listening goes on meanwhile: a fault that ends is told as well.
//!
//! In: `i16`. Out: a [`Fault`] at the end of a period that differs from the one before.

use core::fmt::{self, Display, Formatter};

use crate::{
    decimal::{Decimal, Verbatim},
    timebase::SAMPLE_RATE_HZ,
};

/// Samples that are judged together: 2 s.
pub const PERIOD_SAMPLES: usize = 2 * SAMPLE_RATE_HZ;
/// Of so many samples one is looked at. Not a divisor of the rate, so that a tone of a whole number of
/// Hertz does not look like one value.
const STRIDE: usize = 13;
/// Samples of this magnitude count as clipped.
const CLIPPED: i16 = 32_700;
/// A period clips where one of so many samples does. Speech that is a little too loud does not.
const CLIPPED_ONE_OF: u32 = 32;
/// A window is at full scale where all samples but one of so many are clipped: a square wave, a wire that
/// came off. Clipped speech keeps more of its shape, and must move the level, or it is missed more often.
const FULL_SCALE_ALL_BUT_ONE_OF: usize = 16;
/// A mean beyond this, −24 dB of full scale, is an offset. Converters have some hundreds.
const OFFSET: u32 = 2_048;

/// What is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing that can be seen.
    #[default]
    None,
    /// One value for a whole period, digital silence too: a real microphone flickers.
    Stuck,
    /// More than one sample of 32 is at the end of the scale.
    Clipping,
    /// The mean of a period is further from 0 than 2,048.
    Offset,
}

impl FaultKind {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::None, "none"),
        (Self::Stuck, "stuck"),
        (Self::Clipping, "clipping"),
        (Self::Offset, "offset"),
    ];

    /// As the event line has it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("none", |(_, name)| name)
    }

    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// From here on something else is wrong than before, or nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Samples heard up to the end of the period that showed it.
    pub end_samples: u64,
    /// What is wrong.
    pub kind: FaultKind,
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "fault {} {}", Decimal::of(self.end_samples), Verbatim(self.kind.name()))
    }
}

/// Judges period after period.
#[derive(Clone, Debug)]
pub struct FaultDetector {
    periods: u64,
    /// Samples of the period that were heard.
    heard: usize,
    told: FaultKind,
    sum: i32,
    least: i16,
    most: i16,
    clipped: u32,
}

/// Whether a sample is at the end of the scale.
#[inline(always)]
fn is_clipped(sample: i16) -> bool {
    sample.saturating_abs() >= CLIPPED
}

/// Whether nearly all samples of a window are at the end of the scale, as every thirteenth tells.
///
/// The front end does not follow the level of such a window: what it says is that something is broken, and
/// nothing of the room.
#[inline]
pub fn is_full_scale(window: &[i16]) -> bool {
    let clipped = window.iter().step_by(STRIDE).filter(|&&x| is_clipped(x)).count();
    let others = window.len().div_ceil(STRIDE) - clipped;
    clipped != 0 && others <= clipped / FULL_SCALE_ALL_BUT_ONE_OF
}

impl Default for FaultDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultDetector {
    /// Before the first sample; nothing is wrong.
    #[inline(always)]
    pub const fn new() -> Self {
        Self {
            periods: 0,
            heard: 0,
            told: FaultKind::None,
            sum: 0,
            least: i16::MAX,
            most: i16::MIN,
            clipped: 0,
        }
    }

    /// Takes samples, up to the end of the period at most; returns how many, and what is wrong from
    /// here on if that has changed. Call it again with the rest until nothing is left.
    pub fn push(&mut self, pcm: &[i16]) -> (usize, Option<Fault>) {
        let count = pcm.len().min(PERIOD_SAMPLES - self.heard.min(PERIOD_SAMPLES));
        // The next sample of the period whose number is a multiple of the stride.
        let first = self.heard.next_multiple_of(STRIDE) - self.heard;
        let looked_at = pcm.get(first..count).unwrap_or_default();
        for &sample in looked_at.iter().step_by(STRIDE) {
            // At most 2,462 samples of 2¹⁵: the sum stays below 2²⁷.
            self.sum += i32::from(sample);
            self.least = self.least.min(sample);
            self.most = self.most.max(sample);
            self.clipped += u32::from(is_clipped(sample));
        }
        self.heard += count;
        if self.heard < PERIOD_SAMPLES {
            return (count, None);
        }
        (count, self.judge())
    }

    /// Judges the period and begins the next.
    #[inline(never)]
    fn judge(&mut self) -> Option<Fault> {
        const LOOKED_AT: u32 = PERIOD_SAMPLES.div_ceil(STRIDE) as u32;
        let kind = if self.least == self.most {
            FaultKind::Stuck
        } else if self.clipped > LOOKED_AT / CLIPPED_ONE_OF {
            FaultKind::Clipping
        } else if self.sum.unsigned_abs() > OFFSET * LOOKED_AT {
            FaultKind::Offset
        } else {
            FaultKind::None
        };
        let (periods, told) = (self.periods + 1, self.told);
        *self = Self { periods, told: kind, ..Self::new() };
        let end_samples = periods * PERIOD_SAMPLES as u64;
        (kind != told).then_some(Fault { end_samples, kind })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{string::ToString, vec, vec::Vec};

    /// What is said of sound in blocks of so many samples.
    fn said(pcm: &[i16], block: usize) -> Vec<(u64, FaultKind)> {
        let mut detector = FaultDetector::new();
        let mut faults = Vec::new();
        for mut rest in pcm.chunks(block) {
            while !rest.is_empty() {
                let (count, fault) = detector.push(rest);
                rest = &rest[count..];
                faults.extend(fault.map(|f| (f.end_samples, f.kind)));
            }
        }
        faults
    }

    /// A tone of 440 Hz and of that amplitude around `zero`.
    fn tone(amplitude: f64, zero: f64) -> Vec<i16> {
        let angle = core::f64::consts::TAU * 440.0 / 16_000.0;
        (0..PERIOD_SAMPLES).map(|n| (zero + amplitude * (angle * n as f64).sin()) as i16).collect()
    }

    #[test]
    fn each_fault_is_told_once_and_so_is_its_end() {
        let good = tone(3_000.0, 100.0);
        let square = (0..PERIOD_SAMPLES).map(|n| [i16::MIN, i16::MAX][n / 20 % 2]).collect();
        let parts: [Vec<i16>; 9] = [
            good.clone(),
            vec![0; PERIOD_SAMPLES],
            vec![0; PERIOD_SAMPLES],
            good.clone(),
            square,
            tone(40_000.0, 0.0),
            tone(3_000.0, -6_000.0),
            vec![-6_000; PERIOD_SAMPLES],
            good,
        ];
        use FaultKind::*;
        let expected = [(2, Stuck), (4, None), (5, Clipping), (7, Offset), (8, Stuck), (9, None)];
        let expected = expected.map(|(n, kind)| (n * PERIOD_SAMPLES as u64, kind));
        let pcm = parts.concat();
        for block in [1, 7, 160, 333, 32_000, pcm.len()] {
            assert_eq!(said(&pcm, block), expected, "{block}");
        }
    }

    #[test]
    fn loud_and_quiet_sound_are_no_faults() {
        assert_eq!(said(&tone(32_600.0, 0.0), 320), []);
        assert_eq!(said(&tone(1.5, 0.0), 320), []);
        // A tone whose period is a multiple of the stride, nearly.
        let angle = core::f64::consts::TAU * 1_231.0 / 16_000.0;
        let tone: Vec<i16> =
            (0..PERIOD_SAMPLES).map(|n| (900.0 * (angle * n as f64).sin()) as i16).collect();
        assert_eq!(said(&tone, 320), []);
        // One sample in fifty clips.
        let mut peaks = tone;
        peaks.iter_mut().step_by(50).for_each(|x| *x = i16::MAX);
        assert_eq!(said(&peaks, 320), []);
    }

    #[test]
    fn a_window_is_at_full_scale_where_nearly_all_of_it_is_clipped() {
        let window = |clipped: usize| -> Vec<i16> {
            (0..480)
                .map(|n| if n < clipped { [i16::MIN, i16::MAX][n / 20 % 2] } else { 5 })
                .collect()
        };
        assert!(is_full_scale(&window(480)) && is_full_scale(&window(460)));
        assert!(!is_full_scale(&window(430)) && !is_full_scale(&window(0)) && !is_full_scale(&[]));
        // A tone 18 dB too loud is at the end for 92 % of the time.
        assert!(!is_full_scale(&tone(260_000.0, 0.0)[..480]));
    }

    #[test]
    fn names_read_back() {
        for (kind, name) in FaultKind::NAMES {
            assert_eq!((FaultKind::of(name), kind.name()), (Some(kind), name));
        }
        assert_eq!(FaultKind::of("broken"), None);
        let fault = Fault { end_samples: 32_000, kind: FaultKind::Stuck };
        assert_eq!(fault.to_string(), "fault 32000 stuck");
    }
}
