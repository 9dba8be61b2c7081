//! Advice on whether transfer learning should help a keyword, before anything is trained.
//!
//! Three conditions are checked (Pan & Yang 2010; the lecture this project comes from). The
//! pretrained model and the keyword have the same input. The pretrained model was trained on far
//! more data than the keyword has. Its features carry over to the keyword. The last condition is
//! measured by decoding the recordings into the tokens of the pretrained model. If recordings of
//! the phrase resemble each other much more than negative speech, a head has something to build on.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::Result;
use crate::finetune::Trainable;
use candle_core::D;
use candle_nn::Module;
use wakeling_audio::features::{LogMel, band_center_hz};
use wakeling_audio::phrase_span::phrase_in;
use wakeling_data::{
    mixing::{FRAMES_PER_SECOND, MelStream},
    negatives::Negatives,
    tokens::{collapse, edit_distance},
};
use wakeling_nn::{layers::Linear, pretrained::PretrainedModel};
use wakeling_shared::frontend::MEL_CHANNELS;

/// Maximum number of pairs of recordings that are compared.
const MOST_PAIRS: usize = 400;
/// Frames of background before a phrase, so that the state of the network has settled.
const WARM_FRAMES: usize = 100;
/// Distance below the loudest band, in octaves of power, at which a band counts as empty: 50 dB.
const EMPTY_OCTAVES: f32 = 16.6;
/// Ratio of the pretrained model's speech to the recordings' from which it counts as far more.
const FAR_MORE: f64 = 50.0;

/// Properties of a keyword's recordings, and the advice that follows from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Number of recordings that contain a phrase.
    pub usable: usize,
    /// Total length of the phrases, in seconds.
    pub phrase_s: f64,
    /// Number of distinct speakers that are named; 0 if no recording names one.
    pub speakers: usize,
    /// Median level of the phrase above the sound before and after it, in dB.
    pub level_db: f64,
    /// Median upper frequency limit of the recordings in Hz, if they have one.
    pub limit_hz: Option<f32>,
    /// Hours of speech that the pretrained model was trained on, if recorded in its metadata.
    pub pretrained_hours: Option<f64>,
    /// Comparison of the recordings by the tokens of the pretrained model; `None` if it has no
    /// tokens or too little data.
    pub carries: Option<Carries>,
    /// Layers to train.
    pub train: Trainable,
}

/// Mean normalized edit distances between decoded token sequences; 0 means equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Carries {
    /// Distance between two recordings of the phrase.
    pub within: f64,
    /// Distance between a recording and a piece of negative speech of similar length.
    pub hard_negatives: f64,
    /// Tokens of the recording that is closest to all others.
    pub example: String,
}

impl Carries {
    /// Returns `true` if recordings of the phrase are clearly closer to each other than to negative
    /// speech.
    pub fn is_clear(&self) -> bool {
        self.within < 0.85 * self.hard_negatives
    }
}

impl Advice {
    /// Analyzes recordings. `speakers` is the number of distinct speakers named with them.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) if the pretrained model is defective.
    pub fn of(
        pretrained: &PretrainedModel,
        recordings: &[LogMel],
        speakers: usize,
        other: &Negatives,
        seed: u64,
    ) -> Result<Self> {
        let phrases: Vec<&[[i16; MEL_CHANNELS]]> = recordings
            .iter()
            .filter_map(|r| phrase_in(r).and_then(|p| r.get(p.start..p.end)))
            .collect();
        let frames: usize = phrases.iter().map(|p| p.len()).sum();
        Ok(Self {
            usable: phrases.len(),
            phrase_s: frames as f64 / f64::from(FRAMES_PER_SECOND),
            speakers,
            level_db: median(recordings.iter().filter_map(level_db).collect()).unwrap_or(0.0),
            limit_hz: limit_hz(&phrases),
            pretrained_hours: pretrained.info.hours(),
            carries: carries(pretrained, &phrases, other, seed)?,
            train: Trainable::Auto.decide(phrases.len()).0,
        })
    }

    /// Returns `true` if the pretrained model was trained on far more speech than the recordings
    /// hold; `None` if its hours are unknown.
    pub fn has_far_more(&self) -> Option<bool> {
        self.pretrained_hours.map(|hours| hours * 3600.0 > FAR_MORE * self.phrase_s)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Returns the mean of the bands' logarithms, in octaves of power.
fn octaves(frame: &[i16; MEL_CHANNELS]) -> f64 {
    frame.iter().map(|&x| f64::from(x) / 256.0).sum::<f64>() / MEL_CHANNELS as f64
}

/// Returns the level of the phrase above the rest of a recording, in dB; `None` if there is no
/// rest.
fn level_db(recording: &LogMel) -> Option<f64> {
    let phrase = phrase_in(recording)?;
    let mean = |frames: &mut dyn Iterator<Item = &[i16; MEL_CHANNELS]>| {
        let values: Vec<f64> = frames.map(octaves).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let inside = mean(&mut recording.get(phrase.start..phrase.end)?.iter())?;
    let before = recording.iter().take(phrase.start);
    let outside = mean(&mut before.chain(recording.iter().skip(phrase.end)))?;
    Some((inside - outside) * 3.0103)
}

/// Returns the frequency in Hz above which most recordings are empty; `None` if there is no such
/// limit.
fn limit_hz(phrases: &[&[[i16; MEL_CHANNELS]]]) -> Option<f32> {
    let limit = |phrase: &&[[i16; MEL_CHANNELS]]| {
        let loudest = |c: usize| phrase.iter().map(|f| f[c]).max().unwrap_or(0);
        let peaks: Vec<f32> = (0..MEL_CHANNELS).map(|c| f32::from(loudest(c)) / 256.0).collect();
        let top = peaks.iter().fold(0f32, |m, &p| m.max(p));
        let last = peaks.iter().rposition(|&p| p > top - EMPTY_OCTAVES)?;
        Some(f64::from(band_center_hz(last)))
    };
    let limit = median(phrases.iter().filter_map(limit).collect())? as f32;
    (limit < band_center_hz(MEL_CHANNELS - 2)).then_some(limit)
}

/// Compares the token sequences of the recordings; `None` if the pretrained model has no tokens, or
/// if there are fewer than two phrases or no negative speech.
fn carries(
    pretrained: &PretrainedModel,
    phrases: &[&[[i16; MEL_CHANNELS]]],
    other: &Negatives,
    seed: u64,
) -> Result<Option<Carries>> {
    if pretrained.info.tokens.outputs() < 2 || phrases.len() < 2 || other.speech.is_empty() {
        return Ok(None);
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let decoded: Vec<Vec<u32>> =
        phrases.iter().map(|p| tokens(pretrained, p)).collect::<Result<_>>()?;
    let mut others = Vec::new();
    for _ in 0..decoded.len().min(40) {
        let length = phrases.choose(&mut rng).map_or(0, |p| p.len());
        let Some(speech) = other.speech.choose(&mut rng) else { break };
        if speech.frames.len() > length {
            let at = rng.random_range(0..speech.frames.len() - length);
            others.push(tokens(pretrained, &speech.frames[at..at + length])?);
        }
    }
    let difference =
        |a: &[u32], b: &[u32]| edit_distance(a, b) as f64 / a.len().max(b.len()).max(1) as f64;
    let (mut within, mut hard_negatives) = (Vec::new(), Vec::new());
    while within.len() < MOST_PAIRS.min(decoded.len() * (decoded.len() - 1)) {
        let (a, b) = (rng.random_range(0..decoded.len()), rng.random_range(0..decoded.len()));
        if a != b {
            within.push(difference(&decoded[a], &decoded[b]));
            if let Some(other) = others.choose(&mut rng) {
                hard_negatives.push(difference(&decoded[a], other));
            }
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let apart = |a: &[u32]| decoded.iter().map(|b| difference(a, b)).sum::<f64>();
    let typical = decoded.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)));
    let names = typical.into_iter().flatten().filter_map(|&t| pretrained.info.tokens.name(t));
    let names: Vec<&str> = names.map(|n| n.strip_prefix("zh:").unwrap_or(n)).collect();
    Ok(Some(Carries {
        within: mean(&within),
        hard_negatives: mean(&hard_negatives),
        example: names.join(" "),
    }))
}

/// Decodes a piece of sound into tokens of the pretrained model, by the best path.
fn tokens(pretrained: &PretrainedModel, sound: &[[i16; MEL_CHANNELS]]) -> Result<Vec<u32>> {
    // The sound is preceded by its own first frame, repeated, which acts as silence of the same
    // kind.
    let mut frames = vec![*sound.first().unwrap_or(&[0; MEL_CHANNELS]); WARM_FRAMES];
    frames.extend_from_slice(sound);
    let mut stream = MelStream::new(frames.len() + WARM_FRAMES / 4);
    stream.add_clip(0, &frames);
    let head = Linear::existing(&pretrained.params.builder().pp("ctc"))?;
    let logits = head.forward(&pretrained.embed(&stream)?)?;
    let path: Vec<u32> = logits.squeeze(0)?.argmax(D::Minus1)?.to_vec1()?;
    let first = WARM_FRAMES / pretrained.info.backbone.frames_per_step;
    Ok(collapse(path.get(first..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(bands: usize) -> LogMel {
        let frame = |level: i16| std::array::from_fn(|c| if c < bands { level } else { 100 });
        let mut frames: LogMel = vec![frame(3_000); 60];
        frames.extend(vec![frame(7_000); 70]);
        frames.extend(vec![frame(3_000); 60]);
        frames
    }

    #[test]
    fn a_level_is_the_rise_over_what_is_around() {
        let level = level_db(&phrase(40)).unwrap();
        // A value of 256 is an octave of power.
        assert!((level - 4_000.0 / 256.0 * 3.0103).abs() < 3.0, "{level}");
        assert_eq!(level_db(&vec![[4_000; 40]; 5]), None);
    }

    #[test]
    fn a_telephone_has_an_upper_limit() {
        let (wide, narrow) = (phrase(40), phrase(25));
        assert_eq!(limit_hz(&[&wide[60..130]]), None);
        assert_eq!(limit_hz(&[&narrow[60..130]]), Some(band_center_hz(24)));
        assert_eq!(limit_hz(&[]), None);
    }
}
