//! Backgrounds of training streams: noise, and babble of other talkers.
//!
//! Devices are used in rooms with running water or conversation. A network that was trained in
//! quiet misses its phrase there, most often when speech is mixed with speech. Streams with and
//! without the phrase get the same backgrounds; otherwise the network could distinguish them by the
//! background.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use wakeling_shared::frontend::MEL_CHANNELS;

use super::{MelStream, NoisePool, Powers, exp2_q8, loudness};
use wakeling_audio::features::LogMel;

/// Half width of the range, in dB, from which the level of a talker in babble is sampled.
const TALKER_RANGE_DB: f32 = 6.0;
/// Length in frames from which on a clip counts as continuous talk. Shorter clips serve only where
/// there are no others.
const TALK_FRAMES: usize = 100;
/// Longest pause between two clips of a talker, in frames.
const LONGEST_PAUSE: usize = 50;

/// Kinds and levels of backgrounds; every chance is a probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackgroundMix {
    /// Probability that a stream has a background.
    pub chance: f64,
    /// Range of the signal-to-noise ratio in dB: [`loudness`] of the speech relative to that of the
    /// background.
    pub snr_db: (f32, f32),
    /// Probability that a background is babble; otherwise it is noise.
    pub babble_chance: f64,
    /// Maximum number of talkers in babble; the minimum is one.
    pub most_talkers: usize,
}

impl BackgroundMix {
    /// Default backgrounds of phrases: noise below the speech, no babble.
    pub const PHRASE: Self =
        Self { chance: 0.8, snr_db: (0.0, 35.0), babble_chance: 0.0, most_talkers: 0 };
    /// Default backgrounds of negatives: noise below the speech, no babble.
    pub const NEGATIVE: Self =
        Self { chance: 0.75, snr_db: (0.0, 40.0), babble_chance: 0.0, most_talkers: 0 };
    /// No background.
    pub const NONE: Self =
        Self { chance: 0.0, snr_db: (0.0, 0.0), babble_chance: 0.0, most_talkers: 0 };
    /// Noise and babble, some of it louder than the speech. Not the default: with base M it misses
    /// fewer phrases in babble, and more in quiet and in noise (docs/lab/noise.md).
    pub const NOISY: Self =
        Self { chance: 0.8, snr_db: (-5.0, 25.0), babble_chance: 0.35, most_talkers: 6 };
}

/// Sources from which backgrounds are made.
pub struct Backgrounds<'a> {
    noise: NoisePool,
    talkers: Vec<&'a LogMel>,
    /// Indices into `talkers` of the clips that serve as talk.
    talk: Vec<usize>,
}

impl<'a> Backgrounds<'a> {
    /// Creates backgrounds from noise and from clips of speech.
    pub fn new(noise: NoisePool, talkers: Vec<&'a LogMel>) -> Self {
        let of_length = |least: usize| -> Vec<usize> {
            (0..talkers.len()).filter(|&i| talkers[i].len() >= least).collect()
        };
        let mut talk = of_length(TALK_FRAMES);
        if talk.is_empty() {
            talk = of_length(1);
        }
        Self { noise, talkers, talk }
    }

    /// Returns the noise pool.
    pub fn noise(&self) -> &NoisePool {
        &self.noise
    }

    /// Adds a background, sampled from `mix`, to a row whose speech has loudness `level`. The row
    /// may stay unchanged. Returns the indices of the speech clips that were mixed in.
    pub fn add(
        &self,
        stream: &mut MelStream,
        level: f32,
        mix: &BackgroundMix,
        rng: &mut impl Rng,
    ) -> Vec<usize> {
        if !rng.random_bool(mix.chance.clamp(0.0, 1.0)) {
            return Vec::new();
        }
        let (low, high) = mix.snr_db;
        let snr_db = if low < high { rng.random_range(low..high) } else { low };
        let may_babble = mix.babble_chance > 0.0 && mix.most_talkers > 0 && !self.talk.is_empty();
        if !(may_babble && rng.random_bool(mix.babble_chance.min(1.0))) {
            stream.add_noise_below(&self.noise, level, snr_db, rng);
            return Vec::new();
        }
        let talkers = rng.random_range(1..=mix.most_talkers);
        let (babble, clips) = self.babble(stream.len(), talkers, rng);
        stream.add_below(&babble, level, snr_db, 0);
        clips
    }

    /// Returns babble of `talkers` talkers and the indices of the clips in it. Each talker has one
    /// level and a sequence of clips; the first clip has already begun when the babble starts.
    fn babble(&self, frames: usize, talkers: usize, rng: &mut impl Rng) -> (Powers, Vec<usize>) {
        let mut sum = vec![[0.0; MEL_CHANNELS]; frames];
        let mut clips = Vec::new();
        for _ in 0..talkers {
            let gain_db = rng.random_range(-TALKER_RANGE_DB..=TALKER_RANGE_DB);
            let mut at = 0;
            while at < frames {
                let number = self.talk[rng.random_range(0..self.talk.len())];
                let clip = self.talkers[number];
                let skipped = if at == 0 { rng.random_range(0..clip.len()) } else { 0 };
                at += add_talk(&mut sum[at..], &clip[skipped..], gain_db);
                at += rng.random_range(1..=LONGEST_PAUSE);
                clips.push(number);
            }
        }
        (sum, clips)
    }
}

/// Adds as much of a clip as fits into `sum`, scaled to a loudness of `gain_db` above 1. Returns
/// the number of frames added.
fn add_talk(sum: &mut [[f32; MEL_CHANNELS]], clip: &[[i16; MEL_CHANNELS]], gain_db: f32) -> usize {
    let sound: Powers =
        clip.iter().take(sum.len()).map(|frame| frame.map(|x| exp2_q8(f32::from(x)))).collect();
    let gain = 10f32.powf(gain_db / 10.0) / loudness(&sound).max(1e-3);
    for (sum, sound) in sum.iter_mut().zip(&sound) {
        sum.iter_mut().zip(sound).for_each(|(sum, s)| *sum += gain * s);
    }
    sound.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    /// Returns a clip with power in one band only.
    fn tone(band: usize, frames: usize) -> LogMel {
        let frame = std::array::from_fn(|c| if c == band { 20 * 256 } else { 0 });
        vec![frame; frames]
    }

    fn pool(clips: &[LogMel]) -> Backgrounds<'_> {
        Backgrounds::new(NoisePool::default(), clips.iter().collect())
    }

    const BABBLE: BackgroundMix =
        BackgroundMix { chance: 1.0, snr_db: (3.0, 3.0), babble_chance: 1.0, most_talkers: 6 };

    #[test]
    fn babble_lies_below_the_speech_by_the_ratio_asked_for() {
        let clips: Vec<LogMel> = (0..40).map(|band| tone(band, 150 + band)).collect();
        let pool = pool(&clips);
        for seed in 0..20 {
            let mut stream = MelStream::new(600);
            pool.add(&mut stream, 1e6, &BABBLE, &mut StdRng::seed_from_u64(seed));
            let ratio = 10.0 * (1e6 / loudness(stream.powers())).log10();
            assert!((ratio - 3.0).abs() < 0.01, "seed {seed}: {ratio} dB");
        }
    }

    #[test]
    fn every_clip_of_a_babble_is_named_and_no_other() {
        let clips: Vec<LogMel> = (0..40).map(|band| tone(band, 150)).collect();
        let pool = pool(&clips);
        let mut counts = Vec::new();
        for seed in 0..30 {
            let mut stream = MelStream::new(400);
            let named = pool.add(&mut stream, 1e6, &BABBLE, &mut StdRng::seed_from_u64(seed));
            for band in 0..MEL_CHANNELS {
                let peak = stream.powers().iter().map(|f| f[band]).fold(0.0, f32::max);
                assert_eq!(peak > 10.0, named.contains(&band), "seed {seed}, band {band}: {peak}");
            }
            // One talker fits about three clips into four seconds; six talkers fit eighteen.
            counts.push(named.len());
        }
        assert!(counts.iter().min() < Some(&5) && counts.iter().max() > Some(&14), "{counts:?}");
    }

    #[test]
    fn single_words_serve_only_where_there_is_no_talk() {
        let clips = [tone(1, 30), tone(2, 200)];
        let named = |pool: &Backgrounds<'_>| {
            pool.add(&mut MelStream::new(900), 1e6, &BABBLE, &mut StdRng::seed_from_u64(4))
        };
        assert!(named(&pool(&clips)).iter().all(|&i| i == 1));
        assert!(named(&pool(&clips[..1])).iter().all(|&i| i == 0));
        // Without any clip the background is noise.
        let none = pool(&[]);
        let mut stream = MelStream::new(50);
        assert!(none.add(&mut stream, 1e6, &BABBLE, &mut StdRng::seed_from_u64(4)).is_empty());
        assert!(loudness(stream.powers()) > 1e5);
    }

    #[test]
    fn backgrounds_are_as_frequent_as_asked() {
        let clips = [tone(3, 200)];
        let pool = pool(&clips);
        let mix = BackgroundMix { chance: 0.5, babble_chance: 0.4, ..BABBLE };
        let mut rng = StdRng::seed_from_u64(9);
        let (mut quiet, mut babble) = (0, 0);
        for _ in 0..1_000 {
            let mut stream = MelStream::new(20);
            babble += usize::from(!pool.add(&mut stream, 1e6, &mix, &mut rng).is_empty());
            quiet += usize::from(loudness(stream.powers()) == 0.0);
        }
        assert!(quiet.abs_diff(500) < 60 && babble.abs_diff(200) < 50, "{quiet} {babble}");
    }
}
