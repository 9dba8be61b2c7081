//! Microphone health: detects a stuck value, clipping and a wrong zero level. The network detects
//! nothing in such sound, and a user needs the reason.
//!
//! Sound is judged in periods of 2 s, counted from the first sample, by every 13th sample. That is
//! enough for lasting faults, and costs at most 2 % of the smallest model's work. The result
//! depends on the samples alone, not on how they are divided into blocks. The pipeline keeps
//! running meanwhile, and the end of a fault is reported as well.
//!
//! In: `i16`. Out: a [`MicIssue`] at the end of a period whose state differs from the one before.

use core::fmt::{self, Display, Formatter};

use crate::{
    decimal::{Decimal, Verbatim},
    timebase::SAMPLE_RATE_HZ,
};

/// Length of a period in samples: 2 s.
pub const PERIOD_SAMPLES: usize = 2 * SAMPLE_RATE_HZ;
/// Distance between two samples that are checked. It does not divide the sample rate, so a tone of
/// a whole number of Hertz does not look like one value.
const STRIDE: usize = 13;
/// Least magnitude of a clipped sample.
const CLIPPED: i16 = 32_700;
/// A period is clipping if more than one of this many samples is clipped. Speech that is slightly
/// too loud stays below that.
const CLIPPED_ONE_OF: u32 = 32;
/// A window is at full scale if at most one sample per this many clipped ones is not clipped. That
/// is a square wave, or a wire that came off. Clipped speech keeps more of its shape; the front end
/// must follow its level, or more keywords are missed.
const FULL_SCALE_ALL_BUT_ONE_OF: usize = 16;
/// Magnitude above which a mean counts as an offset: −24 dB of full scale. Converters have
/// offsets of some hundreds.
const OFFSET: u32 = 2_048;

/// State of the microphone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MicIssueKind {
    /// No fault detected.
    #[default]
    None,
    /// One value for a whole period, digital silence included. A real microphone always has noise.
    Stuck,
    /// More than one sample in 32 is at the end of the scale.
    Clipping,
    /// The mean of a period is more than 2,048 away from 0.
    Offset,
}

impl MicIssueKind {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::None, "none"),
        (Self::Stuck, "stuck"),
        (Self::Clipping, "clipping"),
        (Self::Offset, "offset"),
    ];

    /// Name in the event line.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("none", |(_, name)| name)
    }

    /// Returns the kind with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// Change of the microphone's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicIssue {
    /// Number of samples from the start to the end of the period that showed the change.
    pub end_samples: u64,
    /// The new state.
    pub kind: MicIssueKind,
}

impl Display for MicIssue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "fault {} {}", Decimal::of(self.end_samples), Verbatim(self.kind.name()))
    }
}

/// Checks the microphone's health period by period.
///
/// ```
/// use wakeling_shared::mic_health::{MicIssueKind, MicMonitor};
///
/// let mut health = MicMonitor::new();
/// let pcm = [0; 40_000]; // 2.5 s of digital silence: the wire came off
/// let (mut rest, mut issues) = (&pcm[..], Vec::new());
/// while !rest.is_empty() {
///     let (count, issue) = health.push(rest); // stops at the end of a period
///     rest = &rest[count..];
///     issues.extend(issue);
/// }
/// assert_eq!(issues.len(), 1);
/// assert_eq!((issues[0].end_samples, issues[0].kind), (32_000, MicIssueKind::Stuck));
/// ```
#[derive(Clone, Debug)]
pub struct MicMonitor {
    periods: u64,
    /// Number of samples of the current period so far.
    pushed: usize,
    reported: MicIssueKind,
    sum: i32,
    least: i16,
    most: i16,
    clipped: u32,
}

/// Returns whether a sample is at the end of the scale.
#[inline(always)]
fn is_clipped(sample: i16) -> bool {
    sample.saturating_abs() >= CLIPPED
}

/// Returns whether nearly all samples of a window are at the end of the scale. Checks every 13th
/// sample.
///
/// The front end does not adapt its level to such a window: it results from a defect and carries no
/// information about the room.
#[inline]
pub fn is_full_scale(window: &[i16]) -> bool {
    let clipped = window.iter().step_by(STRIDE).filter(|&&x| is_clipped(x)).count();
    let others = window.len().div_ceil(STRIDE) - clipped;
    clipped != 0 && others <= clipped / FULL_SCALE_ALL_BUT_ONE_OF
}

impl Default for MicMonitor {
    fn default() -> Self {
        Self::new()
    }
}

impl MicMonitor {
    /// Creates a detector before the first sample, without a fault.
    #[inline(always)]
    pub const fn new() -> Self {
        Self {
            periods: 0,
            pushed: 0,
            reported: MicIssueKind::None,
            sum: 0,
            least: i16::MAX,
            most: i16::MIN,
            clipped: 0,
        }
    }

    /// State at the end of the last period.
    pub const fn state(&self) -> MicIssueKind {
        self.reported
    }

    /// Processes samples up to the end of the period at most. Returns their number, and the new
    /// state if it changed. The caller repeats the call with the rest until nothing is left.
    pub fn push(&mut self, pcm: &[i16]) -> (usize, Option<MicIssue>) {
        let count = pcm.len().min(PERIOD_SAMPLES - self.pushed.min(PERIOD_SAMPLES));
        // Index of the next sample whose number in the period is a multiple of the stride.
        let first = self.pushed.next_multiple_of(STRIDE) - self.pushed;
        let looked_at = pcm.get(first..count).unwrap_or_default();
        for &sample in looked_at.iter().step_by(STRIDE) {
            // At most 2,462 samples of 2¹⁵, so the sum stays below 2²⁷.
            self.sum += i32::from(sample);
            self.least = self.least.min(sample);
            self.most = self.most.max(sample);
            self.clipped += u32::from(is_clipped(sample));
        }
        self.pushed += count;
        if self.pushed < PERIOD_SAMPLES {
            return (count, None);
        }
        (count, self.judge())
    }

    /// Judges the period and starts the next one.
    #[inline(never)]
    fn judge(&mut self) -> Option<MicIssue> {
        const LOOKED_AT: u32 = PERIOD_SAMPLES.div_ceil(STRIDE) as u32;
        let kind = if self.least == self.most {
            MicIssueKind::Stuck
        } else if self.clipped > LOOKED_AT / CLIPPED_ONE_OF {
            MicIssueKind::Clipping
        } else if self.sum.unsigned_abs() > OFFSET * LOOKED_AT {
            MicIssueKind::Offset
        } else {
            MicIssueKind::None
        };
        let (periods, reported) = (self.periods + 1, self.reported);
        *self = Self { periods, reported: kind, ..Self::new() };
        let end_samples = periods * PERIOD_SAMPLES as u64;
        (kind != reported).then_some(MicIssue { end_samples, kind })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{string::ToString, vec, vec::Vec};

    /// Returns the changes of state for sound in blocks of this many samples.
    fn issues(pcm: &[i16], block: usize) -> Vec<(u64, MicIssueKind)> {
        let mut detector = MicMonitor::new();
        let mut mic_issues = Vec::new();
        for mut rest in pcm.chunks(block) {
            while !rest.is_empty() {
                let (count, mic_issue) = detector.push(rest);
                rest = &rest[count..];
                mic_issues.extend(mic_issue.map(|f| (f.end_samples, f.kind)));
            }
        }
        mic_issues
    }

    /// A tone of 440 Hz with this amplitude around `zero`.
    fn tone(amplitude: f64, zero: f64) -> Vec<i16> {
        let angle = core::f64::consts::TAU * 440.0 / 16_000.0;
        (0..PERIOD_SAMPLES).map(|n| (zero + amplitude * (angle * n as f64).sin()) as i16).collect()
    }

    #[test]
    fn reports_each_issue_and_its_end_once() {
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
        use MicIssueKind::*;
        let expected = [(2, Stuck), (4, None), (5, Clipping), (7, Offset), (8, Stuck), (9, None)];
        let expected = expected.map(|(n, kind)| (n * PERIOD_SAMPLES as u64, kind));
        let pcm = parts.concat();
        for block in [1, 7, 160, 333, 32_000, pcm.len()] {
            assert_eq!(issues(&pcm, block), expected, "{block}");
        }
    }

    #[test]
    fn loud_and_quiet_sound_are_no_mic_issues() {
        assert_eq!(issues(&tone(32_600.0, 0.0), 320), []);
        assert_eq!(issues(&tone(1.5, 0.0), 320), []);
        // A tone whose period is a multiple of the stride, nearly.
        let angle = core::f64::consts::TAU * 1_231.0 / 16_000.0;
        let tone: Vec<i16> =
            (0..PERIOD_SAMPLES).map(|n| (900.0 * (angle * n as f64).sin()) as i16).collect();
        assert_eq!(issues(&tone, 320), []);
        // One sample in fifty clips.
        let mut peaks = tone;
        peaks.iter_mut().step_by(50).for_each(|x| *x = i16::MAX);
        assert_eq!(issues(&peaks, 320), []);
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
        for (kind, name) in MicIssueKind::NAMES {
            assert_eq!((MicIssueKind::of(name), kind.name()), (Some(kind), name));
        }
        assert_eq!(MicIssueKind::of("broken"), None);
        let mic_issue = MicIssue { end_samples: 32_000, kind: MicIssueKind::Stuck };
        assert_eq!(mic_issue.to_string(), "fault 32000 stuck");
    }
}
