//! Mixer of training streams: noise, speech of others, rooms and channels.

use std::ops::Range;

use rand::{Rng, RngExt, seq::IndexedRandom};
use wakeling_shared::frontend::MEL_CHANNELS;

use super::{BackgroundMix, FeatureAugmentation, MelStream, NoisePool, Powers, exp2_q8, loudness};
use wakeling_audio::features::LogMel;

/// Half width of the range, in dB, from which the level of a talker in babble is sampled.
const TALKER_RANGE_DB: f32 = 6.0;
/// Length in frames from which on a clip counts as continuous talk. Shorter clips serve only where
/// there are no others.
const TALK_FRAMES: usize = 100;
/// Longest pause between two clips of a talker, in frames.
const LONGEST_PAUSE: usize = 50;
/// Frames beyond which a gap in a stream is filled with speech.
const LEAST_GAP_FRAMES: usize = 20;

/// Owner of what is mixed into training streams: recorded noise, clips of speech, the kinds of
/// backgrounds, and the augmentation of clips. Every random choice comes from the generator that a
/// method is given.
///
/// ```
/// use rand::{SeedableRng, rngs::StdRng};
/// use wakeling_data::mixing::{
///     BackgroundMix, FeatureAugmentation, MelStream, Mixer, NoisePool, loudness,
/// };
///
/// let (phrase, speech) = (vec![[24 * 256; 40]; 80], vec![[22 * 256; 40]; 200]);
/// let noise = NoisePool::new(vec![vec![[18 * 256; 40]; 500]]);
/// let mixer =
///     Mixer::new(noise, vec![&speech], BackgroundMix::NOISY, FeatureAugmentation::STRONG);
///
/// let mut rng = StdRng::seed_from_u64(1);
/// let mut stream = MelStream::new(560); // 5.6 seconds
/// let sound = mixer.augment(&phrase, &mut rng);
/// let level = loudness(&sound);
/// stream.add(300, &sound, 1.0);
/// mixer.add_context(&mut stream, 0..300, level, &mut rng); // speech before the phrase
/// let talkers = mixer.add_background(&mut stream, level, &mut rng);
/// assert!(talkers.iter().all(|&clip| clip == 0)); // babble names its clips
/// ```
#[derive(Clone, Debug)]
pub struct Mixer<'a> {
    noise: NoisePool,
    speech: Vec<&'a LogMel>,
    /// Indices into `speech` of the clips that serve as talk.
    talk: Vec<usize>,
    /// Kinds and levels of backgrounds.
    pub background: BackgroundMix,
    /// Augmentation of clips.
    pub augmentation: FeatureAugmentation,
}

impl<'a> Mixer<'a> {
    /// Creates a mixer of noise and clips of speech; both may be empty. Without speech, every
    /// background is noise.
    pub fn new(
        noise: NoisePool,
        speech: Vec<&'a LogMel>,
        background: BackgroundMix,
        augmentation: FeatureAugmentation,
    ) -> Self {
        let of_length = |least: usize| -> Vec<usize> {
            (0..speech.len()).filter(|&i| speech[i].len() >= least).collect()
        };
        let mut talk = of_length(TALK_FRAMES);
        if talk.is_empty() {
            talk = of_length(1);
        }
        Self { noise, speech, talk, background, augmentation }
    }

    /// Returns a mixer with other clips of speech, and the same noise and settings.
    pub fn with_speech<'b>(&self, speech: Vec<&'b LogMel>) -> Mixer<'b> {
        Mixer::new(self.noise.clone(), speech, self.background, self.augmentation)
    }

    /// Augments a clip: tempo, channel, and a room. See [`FeatureAugmentation::apply`].
    pub fn augment(&self, clip: &[[i16; MEL_CHANNELS]], rng: &mut impl Rng) -> Powers {
        self.augmentation.apply(clip, rng)
    }

    /// Augments a clip, or keeps it as recorded with probability `plain_chance`, 0 to 1.
    pub fn augment_or_keep(
        &self,
        clip: &[[i16; MEL_CHANNELS]],
        plain_chance: f64,
        rng: &mut impl Rng,
    ) -> Powers {
        let plain = rng.random_bool(plain_chance);
        let augmentation = if plain { &FeatureAugmentation::NONE } else { &self.augmentation };
        augmentation.apply(clip, rng)
    }

    /// Adds a background to a stream whose speech has [`loudness`] `level`. The stream may stay
    /// unchanged. Returns the indices of the speech clips that were mixed in.
    pub fn add_background(
        &self,
        stream: &mut MelStream,
        level: f32,
        rng: &mut impl Rng,
    ) -> Vec<usize> {
        let mix = &self.background;
        let clips = match mix.babble_snr_db {
            Some(range) if self.samples_babble(rng) => self.add_babble(stream, level, range, rng),
            _ => Vec::new(),
        };
        if !rng.random_bool(mix.chance.clamp(0.0, 1.0)) {
            return clips;
        }
        let snr_db = within(mix.snr_db, rng);
        if mix.babble_snr_db.is_none() && self.samples_babble(rng) {
            return self.add_babble(stream, level, (snr_db, snr_db), rng);
        }
        self.add_noise(stream, level, snr_db, rng);
        clips
    }

    /// Returns `true` with the probability of babble, if there is speech to make it of.
    fn samples_babble(&self, rng: &mut impl Rng) -> bool {
        let BackgroundMix { babble_chance, most_talkers, .. } = self.background;
        let may_babble = babble_chance > 0.0 && most_talkers > 0 && !self.talk.is_empty();
        may_babble && rng.random_bool(babble_chance.min(1.0))
    }

    fn add_babble(
        &self,
        stream: &mut MelStream,
        level: f32,
        snr_db: (f32, f32),
        rng: &mut impl Rng,
    ) -> Vec<usize> {
        let snr_db = within(snr_db, rng);
        let talkers = rng.random_range(1..=self.background.most_talkers);
        let (babble, clips) = self.babble(stream.len(), talkers, rng);
        stream.add_below(&babble, level, snr_db, 0);
        clips
    }

    /// Adds noise over the whole stream, `snr_db` below `level`.
    pub fn add_noise(&self, stream: &mut MelStream, level: f32, snr_db: f32, rng: &mut impl Rng) {
        stream.add_noise_below(&self.noise, level, snr_db, rng);
    }

    /// Adds speech somewhere in the frames `gap`, in two of three cases, at -12 to 6 dB of `level`.
    /// It is strongly augmented, and cut to the gap.
    pub fn add_context(
        &self,
        stream: &mut MelStream,
        gap: Range<usize>,
        level: f32,
        rng: &mut impl Rng,
    ) {
        let Some(clip) = self.speech.choose(rng) else { return };
        if gap.end <= gap.start + LEAST_GAP_FRAMES || !rng.random_bool(0.66) {
            return;
        }
        let speech = FeatureAugmentation::STRONG.apply(clip, rng);
        let excess = speech.len().saturating_sub(gap.len());
        let skip = if excess > 0 { rng.random_range(0..=excess) } else { 0 };
        let kept = &speech[skip..(skip + gap.len()).min(speech.len())];
        let free = gap.len() - kept.len();
        let at = gap.start + if free > 0 { rng.random_range(0..=free) } else { 0 };
        let gain_db = rng.random_range(-12.0..6.0f32);
        let gain = level / loudness(kept).max(1.0) * 10f32.powf(gain_db / 10.0);
        stream.add(at, kept, gain);
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
                let clip = self.speech[number];
                let skipped = if at == 0 { rng.random_range(0..clip.len()) } else { 0 };
                at += add_talk(&mut sum[at..], &clip[skipped..], gain_db);
                at += rng.random_range(1..=LONGEST_PAUSE);
                clips.push(number);
            }
        }
        (sum, clips)
    }
}

/// Samples from a range, or returns its only value.
fn within((low, high): (f32, f32), rng: &mut impl Rng) -> f32 {
    if low < high { rng.random_range(low..high) } else { low }
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

    fn mixer(clips: &[LogMel], background: BackgroundMix) -> Mixer<'_> {
        let speech = clips.iter().collect();
        Mixer::new(NoisePool::default(), speech, background, FeatureAugmentation::NONE)
    }

    const BABBLE: BackgroundMix = BackgroundMix {
        chance: 1.0,
        snr_db: (3.0, 3.0),
        babble_chance: 1.0,
        babble_snr_db: None,
        most_talkers: 6,
    };

    #[test]
    fn babble_lies_below_the_speech_by_the_ratio_asked_for() {
        let clips: Vec<LogMel> = (0..40).map(|band| tone(band, 150 + band)).collect();
        let mixer = mixer(&clips, BABBLE);
        for seed in 0..20 {
            let mut stream = MelStream::new(600);
            mixer.add_background(&mut stream, 1e6, &mut StdRng::seed_from_u64(seed));
            let ratio = 10.0 * (1e6 / loudness(stream.powers())).log10();
            assert!((ratio - 3.0).abs() < 0.01, "seed {seed}: {ratio} dB");
        }
    }

    #[test]
    fn every_clip_of_a_babble_is_named_and_no_other() {
        let clips: Vec<LogMel> = (0..40).map(|band| tone(band, 150)).collect();
        let mixer = mixer(&clips, BABBLE);
        let mut counts = Vec::new();
        for seed in 0..30 {
            let mut stream = MelStream::new(400);
            let named = mixer.add_background(&mut stream, 1e6, &mut StdRng::seed_from_u64(seed));
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
        let named = |mixer: &Mixer<'_>| {
            mixer.add_background(&mut MelStream::new(900), 1e6, &mut StdRng::seed_from_u64(4))
        };
        assert!(named(&mixer(&clips, BABBLE)).iter().all(|&i| i == 1));
        assert!(named(&mixer(&clips[..1], BABBLE)).iter().all(|&i| i == 0));
        // Without any clip the background is noise.
        let none = mixer(&[], BABBLE);
        let mut stream = MelStream::new(50);
        assert!(none.add_background(&mut stream, 1e6, &mut StdRng::seed_from_u64(4)).is_empty());
        assert!(loudness(stream.powers()) > 1e5);
    }

    #[test]
    fn babble_of_its_own_level_comes_beside_the_noise() {
        let clips = [tone(3, 200)];
        let mix = BackgroundMix {
            snr_db: (0.0, 0.0),
            babble_chance: 0.5,
            babble_snr_db: Some((20.0, 20.0)),
            ..BABBLE
        };
        let mixer = mixer(&clips, mix);
        let mut rng = StdRng::seed_from_u64(2);
        let mut babble = 0;
        for _ in 0..400 {
            let mut stream = MelStream::new(100);
            let level = 1e6;
            let is_babble = !mixer.add_background(&mut stream, level, &mut rng).is_empty();
            babble += usize::from(is_babble);
            // Noise at 0 dB, and babble at 20 dB below the speech.
            let ratio = 10.0 * (level / loudness(stream.powers())).log10();
            assert!(ratio < if is_babble { 0.0 } else { 0.01 } && ratio > -0.5, "{ratio} dB");
        }
        assert!(babble.abs_diff(200) < 40, "{babble}");
    }

    #[test]
    fn backgrounds_are_as_frequent_as_asked() {
        let clips = [tone(3, 200)];
        let mix = BackgroundMix { chance: 0.5, babble_chance: 0.4, ..BABBLE };
        let mixer = mixer(&clips, mix);
        let mut rng = StdRng::seed_from_u64(9);
        let (mut quiet, mut babble) = (0, 0);
        for _ in 0..1_000 {
            let mut stream = MelStream::new(20);
            babble += usize::from(!mixer.add_background(&mut stream, 1e6, &mut rng).is_empty());
            quiet += usize::from(loudness(stream.powers()) == 0.0);
        }
        assert!(quiet.abs_diff(500) < 60 && babble.abs_diff(200) < 50, "{quiet} {babble}");
    }
}
