//! Mixes recordings into training streams: locates the phrase and adds other sound around it.

use rand::{Rng, RngExt};
use wakeling_audio::phrase_span::{Phrase, phrase_in};
use wakeling_shared::frontend::MEL_CHANNELS;

use wakeling_audio::features::LogMel;
use wakeling_data::mixing::{MelStream, Mixer, loudness};

/// Length of a positive stream in frames: 5.6 s.
const STREAM_FRAMES: usize = 560;
/// Number of frames after the phrase.
const TAIL_FRAMES: usize = 110;

/// Training stream and the position of its phrase. The position is `None` if the stream holds only
/// a part of the phrase, or another one.
pub struct PositiveStream {
    /// The stream.
    pub stream: MelStream,
    /// Position of the whole phrase, if the stream holds it.
    pub phrase: Option<Phrase>,
}

/// Keyword: its label, recordings of it, and hard negatives.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeywordClips<'a> {
    /// Label of a detection. Clips whose transcripts contain it are no negatives.
    pub label: &'a str,
    /// Recordings of the phrase.
    pub positives: &'a [LogMel],
    /// Recordings of other phrases, such as the other keywords of a model.
    pub hard_negatives: &'a [LogMel],
}

impl<'a> KeywordClips<'a> {
    /// Creates a keyword without hard negatives.
    pub fn new(label: &'a str, positives: &'a [LogMel]) -> Self {
        Self { label, positives, hard_negatives: &[] }
    }
}

/// Mixes at least `count` streams with the phrase; each recording appears equally often. Adds a
/// third as many with partial phrases, the most frequent cause of false accepts in use. Adds a
/// third as many with hard negatives, if there are any.
pub fn mix_positives(
    keyword: KeywordClips<'_>,
    mixer: &Mixer<'_>,
    count: usize,
    rng: &mut impl Rng,
) -> Vec<PositiveStream> {
    let found: Vec<(&LogMel, Phrase)> =
        keyword.positives.iter().filter_map(|r| Some((r, phrase_in(r)?))).collect();
    let copies = count.div_ceil(found.len().max(1));
    let mut streams = Vec::new();
    for &(recording, phrase) in &found {
        for copy in 0..copies {
            streams.push(whole(recording, phrase, mixer, rng));
            if copy % 3 == 0 {
                streams.push(part(recording, phrase, mixer, rng));
            }
        }
    }
    if streams.is_empty() {
        return streams;
    }
    let others: Vec<(&LogMel, Phrase)> =
        keyword.hard_negatives.iter().filter_map(|r| Some((r, phrase_in(r)?))).collect();
    let copies = (count / 3).div_ceil(others.len().max(1));
    for &(recording, phrase) in others.iter().cycle().take(copies * others.len()) {
        let clip = recording.get(phrase.start..phrase.end).unwrap_or_default();
        streams.push(without(clip, mixer, rng));
    }
    streams
}

/// Mixes the phrase, with the sound around it in the recording, after a second or more of other
/// sound.
fn whole(
    recording: &LogMel,
    phrase: Phrase,
    mixer: &Mixer<'_>,
    rng: &mut impl Rng,
) -> PositiveStream {
    let margin = 25;
    let from = phrase.start.saturating_sub(margin);
    let to = (phrase.end + margin).min(recording.len());
    let sound = mixer.augment_or_keep(&recording[from..to], 0.25, rng);
    // Tempo changes the length, so positions within the sound scale with it.
    let scale = sound.len() as f32 / (to - from).max(1) as f32;
    let within = |t: usize| ((t - from) as f32 * scale) as usize;
    let room = STREAM_FRAMES.saturating_sub(TAIL_FRAMES + within(phrase.end));
    // One stream in eight begins with the phrase: the device may have just been switched on.
    let at = if rng.random_bool(0.125) { rng.random_range(0..20).min(room) } else { room };
    let mut stream = MelStream::new(STREAM_FRAMES);
    let level = loudness(&sound);
    if at > 60 {
        mixer.add_context(&mut stream, 0..at, level, rng);
    }
    stream.add(at, &sound, 1.0);
    let end = at + within(phrase.end);
    mixer.add_context(&mut stream, end + 15..STREAM_FRAMES, level, rng);
    mixer.add_background(&mut stream, level, rng);
    PositiveStream { stream, phrase: Some(Phrase { start: at + within(phrase.start), end }) }
}

/// Mixes a partial phrase among negative speech: the first part, the last part, or both swapped.
fn part(
    recording: &LogMel,
    phrase: Phrase,
    mixer: &Mixer<'_>,
    rng: &mut impl Rng,
) -> PositiveStream {
    let length = phrase.end - phrase.start;
    let cut = phrase.start + (length as f32 * rng.random_range(0.4..0.6f32)) as usize;
    let mut clip = Vec::new();
    match rng.random_range(0..3) {
        0 => clip.extend_from_slice(&recording[phrase.start..cut]),
        1 => clip.extend_from_slice(&recording[cut..phrase.end]),
        _ => {
            clip.extend_from_slice(&recording[cut..phrase.end]);
            clip.extend_from_slice(&recording[phrase.start..cut]);
        }
    }
    without(&clip, mixer, rng)
}

/// Mixes a clip that is not the phrase among negative speech.
fn without(clip: &[[i16; MEL_CHANNELS]], mixer: &Mixer<'_>, rng: &mut impl Rng) -> PositiveStream {
    let mut stream = MelStream::new(STREAM_FRAMES);
    let at = rng.random_range(120..220);
    let sound = mixer.augment(clip, rng);
    let level = loudness(&sound);
    mixer.add_context(&mut stream, 0..at, level, rng);
    stream.add(at, &sound, 1.0);
    mixer.add_context(&mut stream, at + sound.len()..STREAM_FRAMES, level, rng);
    mixer.add_background(&mut stream, level, rng);
    PositiveStream { stream, phrase: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use wakeling_data::{
        mixing::{BackgroundMix, FeatureAugmentation},
        negatives::{Negatives, SpeechClip},
    };

    fn recording(silence: usize, phrase: usize) -> LogMel {
        let mut frames = vec![[4_000; 40]; silence];
        frames.extend(vec![[8_000; 40]; phrase]);
        frames.extend(vec![[4_100; 40]; silence]);
        frames
    }

    #[test]
    fn the_phrase_is_found_between_silences_and_without() {
        let found = phrase_in(&recording(60, 70)).unwrap();
        assert!(found.start.abs_diff(60) <= 3 && found.end.abs_diff(130) <= 3, "{found:?}");
        assert_eq!(phrase_in(&recording(0, 70)), Some(Phrase { start: 0, end: 70 }));
        assert_eq!(phrase_in(&recording(60, 5)), None);
        assert_eq!(phrase_in(&Vec::new()), None);
    }

    #[test]
    fn streams_hold_whole_phrases_and_parts() {
        let mut rng = StdRng::seed_from_u64(1);
        let negatives = Negatives {
            speech: vec![SpeechClip { frames: recording(5, 200), text: String::new() }],
            noise: Vec::new(),
        };
        let recordings = [recording(40, 80), recording(10, 60)];
        let (background, augmentation) = (BackgroundMix::NOISY, FeatureAugmentation::STRONG);
        let mixer = negatives.mixer_without("", &background, &augmentation);
        let streams = mix_positives(KeywordClips::new("", &recordings), &mixer, 30, &mut rng);
        let whole: Vec<Phrase> = streams.iter().filter_map(|r| r.phrase).collect();
        assert_eq!((whole.len(), streams.len()), (30, 40));
        for phrase in whole {
            assert!(phrase.start < phrase.end && phrase.end + 40 < STREAM_FRAMES, "{phrase:?}");
        }
        let hard_negatives = [recording(30, 70), recording(0, 50), recording(3, 2)];
        let both =
            KeywordClips { hard_negatives: &hard_negatives, ..KeywordClips::new("", &recordings) };
        let streams = mix_positives(both, &mixer, 30, &mut rng);
        let whole = streams.iter().filter(|r| r.phrase.is_some()).count();
        // Ten partial phrases, and five copies of each of two hard negatives; the third is too
        // short.
        assert_eq!((whole, streams.len()), (30, 50));
    }
}
