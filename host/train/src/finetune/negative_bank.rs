//! Embeddings of negative speech and noise, computed once for any number of keywords.

mod cache;

use std::path::Path;

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{TrainSettings, progress::Stages};
use crate::embeddings::{Embeddings, embed_streams, embed_with_progress};
use crate::quantize::{Backbone, QuantParams};
use crate::{Error, Result};
use wakeling_data::{
    mixing::MelStream,
    negatives::{Negatives, SpeechClip, Streams, hours},
    text::{clean, contains_phrase, is_spaced},
};
use wakeling_nn::pretrained::PretrainedModel;

/// One continuous clip in this many, of speech and of noise, is held out to choose thresholds.
const HELD_OUT_ONE_IN: usize = 3;
/// Number of words from which on a clip counts as continuous speech.
const WORDS_OF_TALK: usize = 3;
/// Minimum amount of negatives, in hours.
const LEAST_HOURS: f64 = 0.13;
/// Maximum number of times that a clip is mixed.
const MOST_COPIES: f64 = 4.0;

/// Negative streams in encoded form, and their transcripts.
pub struct EncodedNegatives {
    /// Embeddings or features of each stream.
    pub outputs: Embeddings,
    texts: Vec<String>,
}

impl EncodedNegatives {
    /// Returns the indices of the streams whose transcripts do not contain `phrase`.
    pub fn without(&self, phrase: &str) -> Vec<usize> {
        (0..self.texts.len()).filter(|&i| !contains_phrase(&self.texts[i], phrase)).collect()
    }

    fn extend(&mut self, other: Self) {
        self.outputs.streams.extend(other.outputs.streams);
        self.texts.extend(other.texts);
    }

    fn of(streams: Streams, embed: impl Fn(&[MelStream]) -> Result<Embeddings>) -> Result<Self> {
        Ok(Self { outputs: embed(&streams.streams)?, texts: streams.texts })
    }
}

/// Returns `true` for continuous speech, and for clips without a transcript. A Mandarin character
/// counts as half a word.
///
/// Some datasets hold thousands of isolated words, 2,000 per hour, each closer to a keyword than
/// continuous speech is. They are useful for training. Thresholds chosen on them hold only for word
/// lists: the miss rate was then more than twice that at the intended rate of false accepts
/// (docs/lab/fine-tuning.md).
fn is_talk(speech: &SpeechClip) -> bool {
    let halves = |word: &str| match word.chars().filter(|&c| !is_spaced(c)).count() {
        0 => 2,
        characters => characters,
    };
    let text = clean(&speech.text);
    text.is_empty() || text.split_whitespace().map(halves).sum::<usize>() >= 2 * WORDS_OF_TALK
}

/// Negatives split into training data and data for choosing thresholds. Every clip is in one part
/// only.
struct Parts {
    train: Negatives,
    held_out: Negatives,
}

impl Parts {
    fn of(negatives: &Negatives, seed: u64) -> Result<Self> {
        if negatives.hours() < LEAST_HOURS {
            return Err(Error::FewNegatives { minutes: 60.0 * negatives.hours() });
        }
        let mut parts = [Negatives::default(), Negatives::default()];
        let part = |i: usize| usize::from(i.is_multiple_of(HELD_OUT_ONE_IN));
        let mut speech: Vec<&SpeechClip> = negatives.speech.iter().collect();
        speech.shuffle(&mut StdRng::seed_from_u64(seed));
        let (mut talk, mut words): (Vec<_>, Vec<_>) = speech.into_iter().partition(|s| is_talk(s));
        if hours(talk.iter().map(|s| s.frames.len()).sum()) < LEAST_HOURS {
            talk.append(&mut words);
        }
        parts[0].speech.extend(words.into_iter().cloned());
        for (i, clip) in talk.into_iter().enumerate() {
            parts[part(i)].speech.push(clip.clone());
        }
        for (i, clip) in negatives.noise.iter().enumerate() {
            parts[part(i)].noise.push(clip.clone());
        }
        let [train, held_out] = parts;
        Ok(Self { train, held_out })
    }
}

/// Computes the features of the training streams, step by step.
///
/// # Errors
/// [`Error::FewNegatives`] if there are less than eight minutes of negatives.
pub fn features_to_train_on(
    pretrained: &PretrainedModel,
    negatives: &Negatives,
    settings: &TrainSettings,
    stages: &Stages<'_>,
) -> Result<EncodedNegatives> {
    let TrainSettings { seed, negative_background: mix, .. } = settings;
    let streams = Parts::of(negatives, *seed)?.train.streams_with(mix, *seed);
    EncodedNegatives::of(streams, |streams| features(pretrained, streams, stages))
}

/// Computes the features of streams, `(steps, channels)` each. Frames that do not fill a step are
/// dropped.
///
/// # Errors
/// [`Error::Core`].
pub fn features(
    pretrained: &PretrainedModel,
    streams: &[MelStream],
    stages: &Stages<'_>,
) -> Result<Embeddings> {
    let frontend = pretrained.tables.params(pretrained.info.normalization);
    let channels = pretrained.info.backbone.inputs();
    let whole = |stream: &MelStream| {
        stages.check()?;
        let mut features = stream.features(&frontend);
        features.truncate(features.len() / channels * channels);
        Ok(features)
    };
    Ok(Embeddings {
        channels,
        steps_per_second: pretrained.info.backbone.steps_per_second(),
        streams: streams.iter().map(whole).collect::<Result<_>>()?,
    })
}

/// Embeddings of the negatives, for any number of keywords.
pub struct NegativeBank {
    /// Training streams.
    pub train: EncodedNegatives,
    /// Streams for choosing thresholds.
    held_out: EncodedNegatives,
    /// Root mean square of each channel over the training streams.
    pub rms: Vec<f32>,
}

impl NegativeBank {
    /// Computes the embeddings of every negative stream. Clips are mixed several times if that is
    /// needed to reach about `settings.negative_hours`.
    ///
    /// # Errors
    /// [`Error::FewNegatives`] if there are less than eight minutes of negatives; [`Error::Core`].
    pub fn new(
        backbone: &Backbone,
        negatives: &Negatives,
        settings: &TrainSettings,
        stages: &Stages<'_>,
    ) -> Result<Self> {
        let TrainSettings { negative_hours: hours, negative_background: mix, seed, .. } = *settings;
        let parts = Parts::of(negatives, seed)?;
        let embed = |streams: &[MelStream]| {
            embed_with_progress(backbone, streams, &|stream| stages.embedded(stream.minutes()))
        };
        let copies = (hours / negatives.hours()).round().clamp(1.0, MOST_COPIES) as u64;
        stages.begin("mixing and embedding negatives");
        let mut train = EncodedNegatives::of(parts.train.streams_with(&mix, seed), embed)?;
        for copy in 1..copies {
            let streams = parts.train.streams_with(&mix, seed.wrapping_add(copy));
            train.extend(EncodedNegatives::of(streams, embed)?);
        }
        let rms = root_mean_squares(&train.outputs, backbone.int8.output);
        Ok(Self {
            train,
            held_out: EncodedNegatives::of(parts.held_out.streams(seed), embed)?,
            rms,
        })
    }

    /// As [`NegativeBank::new`], with the result kept in a file in `folder` for the next run with the
    /// same backbone, negatives and settings. Without that file the result is the same.
    ///
    /// # Errors
    /// As [`NegativeBank::new`]. If the file cannot be written, this is logged.
    pub fn cached(
        backbone: &Backbone,
        negatives: &Negatives,
        settings: &TrainSettings,
        stages: &Stages<'_>,
        folder: &Path,
    ) -> Result<Self> {
        let probe = |few: &Negatives| {
            let streams = few.streams_with(&settings.negative_background, settings.seed);
            embed_streams(backbone, &streams.streams)
        };
        let path = folder.join(cache::name(backbone, negatives, settings, probe)?);
        if let Some(bank) = cache::read(&path) {
            let hours = bank.train.outputs.hours() + bank.held_out.outputs.hours();
            stages.embedded(60.0 * hours)?;
            return Ok(bank);
        }
        let bank = Self::new(backbone, negatives, settings, stages)?;
        if let Err(error) = cache::write(&path, &bank) {
            log::warn!("the embedded negatives are not kept: {error}");
        }
        Ok(bank)
    }

    /// Returns the held-out streams whose transcripts do not contain `phrase`.
    pub fn held_out_without(&self, phrase: &str) -> Embeddings {
        let all = &self.held_out.outputs;
        let kept = self.held_out.without(phrase);
        let streams = kept.iter().filter_map(|&i| all.streams.get(i).cloned()).collect();
        Embeddings { streams, ..*all }
    }

    /// Adds embeddings of more streams for training only. Thresholds are not chosen on them.
    pub fn train_also(&mut self, outputs: Embeddings) {
        self.train.texts.extend(vec![String::new(); outputs.streams.len()]);
        self.train.outputs.streams.extend(outputs.streams);
    }
}

fn root_mean_squares(outputs: &Embeddings, params: QuantParams) -> Vec<f32> {
    let mut sums = vec![0f64; outputs.channels];
    for column in outputs.streams.iter().flat_map(|s| s.chunks_exact(outputs.channels)) {
        for (sum, &q) in sums.iter_mut().zip(column) {
            *sum += f64::from(params.value(q)).powi(2);
        }
    }
    let steps = outputs.steps().max(1) as f64;
    // A channel that is almost constant over the negatives must not be amplified without limit.
    let floor = sums.iter().sum::<f64>() / (steps * sums.len().max(1) as f64) * 0.05;
    sums.iter().map(|sum| (sum / steps).max(floor).sqrt() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negatives(clips: usize) -> Negatives {
        let frames = |i: usize| vec![[4_000 + i as i16; 40]; 3_000];
        let speech = |i: usize| SpeechClip { frames: frames(i), text: format!("clip {i}") };
        Negatives { speech: (0..clips).map(speech).collect(), noise: (0..8).map(frames).collect() }
    }

    #[test]
    fn held_out_data_is_never_trained_on() {
        let all = negatives(40);
        let parts = Parts::of(&all, 7).unwrap();
        assert_eq!((parts.train.speech.len(), parts.held_out.speech.len()), (26, 14));
        assert_eq!((parts.train.noise.len(), parts.held_out.noise.len()), (5, 3));
        let texts = |n: &Negatives| n.speech.iter().map(|s| s.text.clone()).collect::<Vec<_>>();
        let held_out = texts(&parts.held_out);
        assert!(texts(&parts.train).iter().all(|text| !held_out.contains(text)));
    }

    #[test]
    fn thresholds_are_chosen_by_talk_if_there_is_some() {
        let mut all = negatives(60);
        for (i, clip) in all.speech.iter_mut().enumerate() {
            clip.text = ["lantern", "上海", "the lamp is on", "我们去上海吧", ""][i % 5].into();
        }
        let parts = Parts::of(&all, 7).unwrap();
        assert_eq!((parts.train.speech.len(), parts.held_out.speech.len()), (48, 12));
        assert!(parts.held_out.speech.iter().all(is_talk));
        assert_eq!(all.speech.iter().filter(|s| is_talk(s)).count(), 36);
    }

    #[test]
    fn a_kept_bank_is_the_same_bank_and_a_damaged_one_is_computed_anew() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io(".", "create"))?;
        let backbone = crate::models::backbone("base-s")?;
        let all = negatives(40);
        let stages = Stages::silent();
        let bank = |settings: &TrainSettings| {
            NegativeBank::cached(&backbone, &all, settings, &stages, folder.path())
        };
        let files = || -> Vec<std::path::PathBuf> {
            let mut files: Vec<_> = std::fs::read_dir(folder.path())
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            files.sort();
            files
        };
        let content = |bank: &NegativeBank| {
            let parts = [&bank.train, &bank.held_out];
            (parts.map(|p| (p.outputs.streams.clone(), p.texts.clone())), bank.rms.clone())
        };
        let settings = TrainSettings { negative_hours: 0.4, ..TrainSettings::default() };
        let computed = NegativeBank::new(&backbone, &all, &settings, &stages)?;
        assert_eq!(content(&bank(&settings)?), content(&computed));
        let kept = files();
        assert_eq!(kept.len(), 1);
        let time = || std::fs::metadata(&kept[0]).unwrap().len();
        let before = time();
        assert_eq!(content(&bank(&settings)?), content(&computed));
        assert_eq!((files(), time()), (kept.clone(), before));
        // One flipped bit, and a file that was cut short.
        let bytes = std::fs::read(&kept[0]).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        for damaged in [&flipped[..], &bytes[..bytes.len() / 3], &[]] {
            std::fs::write(&kept[0], damaged).unwrap();
            assert_eq!(content(&bank(&settings)?), content(&computed));
            assert_eq!(std::fs::read(&kept[0]).unwrap(), bytes, "it is written anew");
        }
        // Other settings have another file.
        bank(&TrainSettings { seed: 2, ..settings })?;
        assert_eq!(files().len(), 2);
        Ok(())
    }

    #[test]
    fn a_few_minutes_are_refused() {
        let error = Parts::of(&negatives(2), 1).err().unwrap();
        assert!(matches!(error, Error::FewNegatives { .. }), "{error}");
    }
}
