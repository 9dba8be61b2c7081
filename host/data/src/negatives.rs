//! Negative data: speech without the keyword, and noise, as training streams.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use wakeling_shared::frontend::FrontendParams;

use crate::clip_features::load_log_mel;
use crate::{
    dataset::Example,
    mixing::{
        BackgroundMix, FRAMES_PER_SECOND, FeatureAugmentation, MelStream, Mixer, NoisePool,
        loudness,
    },
    text::{clean, contains_phrase},
};
use wakeling_audio::features::LogMel;

/// Length of a negative stream in frames: 60 s.
const STREAM_FRAMES: usize = 6_000;
/// Longest pause between clips, in frames.
const LONGEST_PAUSE: usize = 80;

/// Negative speech and noise, as cached log-mel frames.
///
/// ```
/// use wakeling_data::negatives::{Negatives, SpeechClip};
///
/// let clip = |text: &str| SpeechClip { frames: vec![[22 * 256; 40]; 300], text: text.into() };
/// let negatives = Negatives { speech: vec![clip("good morning"), clip("hey computer")], noise: vec![] };
/// let streams = negatives.streams(1); // of a minute each
/// assert_eq!((streams.streams.len(), streams.streams[0].len()), (1, 6_000));
/// // Streams whose transcripts contain the phrase are left out of its training.
/// assert!(negatives.speech[1].holds("Hey computer") && streams.texts[0].contains("hey computer"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Negatives {
    /// Speech, normally without the keyword.
    pub speech: Vec<SpeechClip>,
    /// Noise and music.
    pub noise: Vec<LogMel>,
}

/// Clip of speech and its transcript.
#[derive(Clone, Debug, Default)]
pub struct SpeechClip {
    /// Log-mel frames.
    pub frames: LogMel,
    /// Transcript; empty if unknown.
    pub text: String,
}

/// Loads every clip that can be read; the others are logged.
pub fn load_speech(
    examples: &[Example],
    frontend: &FrontendParams<'_>,
    title: &'static str,
) -> Vec<SpeechClip> {
    let loaded = load_log_mel(examples, frontend, title).into_iter().zip(examples);
    let speech = loaded.filter_map(|(frames, example)| {
        Some(SpeechClip { frames: frames?, text: example.text.clone().unwrap_or_default() })
    });
    speech.collect()
}

impl SpeechClip {
    /// Returns `true` if the transcript contains `phrase`.
    pub fn holds(&self, phrase: &str) -> bool {
        contains_phrase(&clean(&self.text), phrase)
    }
}

/// Converts a number of frames to hours.
pub fn hours(frames: usize) -> f64 {
    frames as f64 / f64::from(FRAMES_PER_SECOND) / 3600.0
}

/// Streams of negative data.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// The streams.
    pub streams: Vec<MelStream>,
    /// Concatenated transcripts of the clips in each stream.
    pub texts: Vec<String>,
}

impl Negatives {
    /// Returns the total hours of all clips.
    pub fn hours(&self) -> f64 {
        let speech = self.speech.iter().map(|s| s.frames.len());
        let frames: usize = speech.chain(self.noise.iter().map(Vec::len)).sum();
        hours(frames)
    }

    /// Returns a mixer of the noise, and of the speech whose transcripts do not contain `phrase`. A
    /// network must not learn the phrase as a negative.
    pub fn mixer_without(
        &self,
        phrase: &str,
        background: &BackgroundMix,
        augmentation: &FeatureAugmentation,
    ) -> Mixer<'_> {
        let speech = self.speech.iter().filter(|s| !s.holds(phrase));
        self.mixer(speech, background, augmentation)
    }

    fn mixer<'a>(
        &self,
        speech: impl Iterator<Item = &'a SpeechClip>,
        background: &BackgroundMix,
        augmentation: &FeatureAugmentation,
    ) -> Mixer<'a> {
        let noise = NoisePool::new(self.noise.clone());
        Mixer::new(noise, speech.map(|s| &s.frames).collect(), *background, *augmentation)
    }

    /// Mixes every clip once into streams, with augmentation, and with noise under three of four
    /// streams. Adds streams of noise alone.
    pub fn streams(&self, seed: u64) -> Streams {
        self.streams_with(&BackgroundMix::NEGATIVE, seed)
    }

    /// As [`Negatives::streams`], with other backgrounds. Babble is made of the same speech.
    pub fn streams_with(&self, mix: &BackgroundMix, seed: u64) -> Streams {
        let mut rng = StdRng::seed_from_u64(seed);
        let mixer = self.mixer(self.speech.iter(), mix, &FeatureAugmentation::STRONG);
        let mut order: Vec<&SpeechClip> = self.speech.iter().collect();
        order.shuffle(&mut rng);
        let mut streams = Streams::default();
        while !order.is_empty() {
            let mut stream = MelStream::new(STREAM_FRAMES);
            let mut at = rng.random_range(0..LONGEST_PAUSE);
            let mut level = None;
            let mut text = String::new();
            while let Some(speech) = order.last() {
                let clip = &speech.frames;
                if at > 0 && at + clip.len() > STREAM_FRAMES && clip.len() < STREAM_FRAMES {
                    break;
                }
                let sound = mixer.augment_or_keep(clip, 0.4, &mut rng);
                level.get_or_insert_with(|| loudness(&sound));
                stream.add(at, &sound, 1.0);
                at += sound.len() + rng.random_range(5..LONGEST_PAUSE);
                // The separator keeps a phrase from matching across two clips.
                text = format!("{text} | {}", clean(&speech.text));
                order.pop();
            }
            for talker in mixer.add_background(&mut stream, level.unwrap_or(1e6), &mut rng) {
                text = format!("{text} | {}", clean(&self.speech[talker].text));
            }
            streams.streams.push(stream);
            streams.texts.push(text);
        }
        for _ in 0..(self.noise.iter().map(Vec::len).sum::<usize>() / STREAM_FRAMES) {
            let mut stream = MelStream::new(STREAM_FRAMES);
            for _ in 0..8 {
                let clip = &self.noise[rng.random_range(0..self.noise.len())];
                let at = rng.random_range(0..STREAM_FRAMES);
                stream.add(at, &mixer.augment(clip, &mut rng), 1.0);
            }
            let snr_db = rng.random_range(-10.0..20.0);
            mixer.add_noise(&mut stream, 1e7, snr_db, &mut rng);
            streams.streams.push(stream);
            streams.texts.push(String::new());
        }
        streams
    }
}

#[cfg(test)]
mod tests {
    use wakeling_shared::frontend::MEL_CHANNELS;

    use super::*;

    #[test]
    fn a_phrase_is_found_as_whole_words_or_as_characters() {
        let collect_embeddings =
            |text: &str, phrase| SpeechClip { frames: Vec::new(), text: text.into() }.holds(phrase);
        assert!(collect_embeddings("Please OPEN, the door!", "open"));
        assert!(collect_embeddings("hey, floyd.", "Hey Floyd"));
        assert!(
            !collect_embeddings("the opener", "open")
                && !collect_embeddings("", "open")
                && !collect_embeddings("anything", "")
        );
        assert!(collect_embeddings("我住在北京市", "北京") && !collect_embeddings("背景", "北京"));
    }

    #[test]
    fn babble_carries_its_transcripts() {
        let speech = |text: &str, frames| SpeechClip {
            frames: vec![[9_000; MEL_CHANNELS]; frames],
            text: text.into(),
        };
        // Every clip fills a stream, so the second text can only come from babble.
        let speech = vec![speech("hey", 5_990), speech("floyd", 5_990)];
        let negatives = Negatives { speech, noise: Vec::new() };
        let mix =
            BackgroundMix { chance: 1.0, snr_db: (0.0, 1.0), babble_chance: 1.0, most_talkers: 9 };
        let both = |streams: Streams| {
            streams
                .texts
                .iter()
                .filter(|t| contains_phrase(t, "hey") && contains_phrase(t, "floyd"))
                .count()
        };
        let streams = |mix| (0..9).map(|seed| both(negatives.streams_with(mix, seed))).sum();
        let (without, with): (usize, usize) = (streams(&BackgroundMix::NEGATIVE), streams(&mix));
        assert!(without == 0 && with > 9, "{without} {with}");
    }

    #[test]
    fn streams_carry_their_transcripts() {
        let speech =
            |text: &str| SpeechClip { frames: vec![[9_000; MEL_CHANNELS]; 200], text: text.into() };
        let negatives =
            Negatives { speech: vec![speech("hey"), speech("floyd")], noise: Vec::new() };
        let streams = negatives.streams(1);
        assert_eq!(streams.streams.len(), 1);
        let text = &streams.texts[0];
        assert!(
            contains_phrase(text, "floyd")
                && !contains_phrase(text, "hey floyd")
                && !contains_phrase(text, "floyd hey")
        );
    }
}
