//! Endpoint detection: the span of the phrase in a recording, from log-mel frames.

use crate::features::LogMel;

/// Minimum length of a phrase in frames: 0.15 s.
const SHORTEST_FRAMES: usize = 15;
/// Maximum length of a phrase in frames: 3 s.
const LONGEST_FRAMES: usize = 300;

/// Position of a phrase in a recording or a stream, in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// First frame.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

/// Locates the phrase in a recording by its energy. It spans from the first to the last frame that
/// rises 35 % of the way from the background to the peak, in dB, around the loudest frame. Pauses
/// of up to 0.35 s are part of it. Returns `None` if the phrase is shorter than 0.15 s; a phrase is
/// cut at 3 s.
///
/// ```
/// use wakeling_audio::{features::{FrontendTables, NormalizationKind, log_mel, mel_powers}, phrase_span::phrase_in};
///
/// // A quiet second with a tone of half a second in it.
/// let sound = |n: usize| if (4_000..12_000).contains(&n) { 8_000.0 } else { 20.0 };
/// let pcm: Vec<i16> = (0..16_000).map(|n| (sound(n) * (n as f32 * 0.3).sin()) as i16).collect();
/// let tables = FrontendTables::default();
/// let frames = log_mel(&mel_powers(&pcm, &tables.params(NormalizationKind::Log)));
/// let phrase = phrase_in(&frames).unwrap();
/// assert!(phrase.start.abs_diff(25) <= 5 && phrase.end.abs_diff(75) <= 5); // in 10 ms
/// ```
pub fn phrase_in(recording: &LogMel) -> Option<Phrase> {
    const LONGEST_PAUSE: usize = 35;
    let level = |frame: &[i16; 40]| {
        let sum: f32 = frame.iter().map(|&x| (f32::from(x) / 256.0).exp2()).sum();
        sum.max(1.0).log2()
    };
    let levels: Vec<f32> = recording.iter().map(level).collect();
    let smooth: Vec<f32> = (0..levels.len())
        .map(|t| {
            let around = &levels[t.saturating_sub(2)..(t + 3).min(levels.len())];
            around.iter().sum::<f32>() / around.len() as f32
        })
        .collect();
    let mut sorted = smooth.clone();
    sorted.sort_by(f32::total_cmp);
    let (floor, peak) = (*sorted.get(sorted.len() / 10)?, *sorted.last()?);
    // A recording cut tight around the phrase has no background, so 30 dB below the peak is used.
    let floor = floor.min(peak - 10.0);
    let threshold = floor + 0.35 * (peak - floor);
    let loudest = (0..smooth.len()).max_by(|&a, &b| smooth[a].total_cmp(&smooth[b]))?;
    let reach = |order: &mut dyn Iterator<Item = usize>| {
        let (mut last, mut pause) = (loudest, 0);
        for t in order {
            pause = if smooth[t] >= threshold { 0 } else { pause + 1 };
            if pause > LONGEST_PAUSE {
                break;
            }
            if pause == 0 {
                last = t;
            }
        }
        last
    };
    let start = reach(&mut (0..=loudest).rev());
    let end = reach(&mut (loudest..smooth.len())) + 1;
    (end - start >= SHORTEST_FRAMES)
        .then_some(Phrase { start, end: end.min(start + LONGEST_FRAMES) })
}
