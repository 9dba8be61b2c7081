//! Utterances and test recordings of a trial.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use wakeling_audio as audio;
use wakeling_audio::SAMPLE_RATE;
use wakeling_data::dataset::Example;
use wakeling_experiments::Keyword;

/// Maximum length of a recording of a keyword, in samples.
pub const MAX_SAMPLES: usize = 3 * SAMPLE_RATE as usize;
/// Number of spare recordings, for those that are too short or too faint to be detected.
const SPARE: usize = 2;
/// Least number of test recordings of one speaker.
const LEAST_TEST: usize = 2;
/// Largest number of test recordings of a trial.
const MOST_TEST: usize = 60;

/// Speakers of the utterances of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speakers {
    /// One, who also speaks the test recordings.
    One,
    /// As many as there are. Others speak the test recordings, where speakers are known.
    Several,
}

impl Speakers {
    /// Returns the name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Several => "several",
        }
    }

    /// Returns the recordings for enrollment, with spare ones, and those for testing. Each seed of
    /// `One` has another speaker, as long as there are more. `None` if there are too few.
    pub fn sample(
        self,
        clips: &Keyword,
        utterances: usize,
        seed: u64,
    ) -> Option<(Vec<Example>, Vec<Example>)> {
        let wanted = utterances + SPARE;
        match self {
            Self::Several => {
                let (enrol, mut test) = clips.sample(wanted, seed);
                test.shuffle(&mut StdRng::seed_from_u64(2_000 + seed));
                test.truncate(MOST_TEST);
                (enrol.len() == wanted && !test.is_empty()).then_some((enrol, test))
            }
            Self::One => {
                let mut by_speaker: BTreeMap<&str, Vec<&Example>> = BTreeMap::new();
                for clip in clips.enrol.iter().chain(&clips.test) {
                    let speaker = clip.speaker.as_deref();
                    by_speaker.entry(speaker.unwrap_or("")).or_default().push(clip);
                }
                by_speaker.remove("");
                let mut speakers: Vec<Vec<&Example>> = by_speaker.into_values().collect();
                speakers.retain(|clips| clips.len() >= wanted + LEAST_TEST);
                speakers.shuffle(&mut StdRng::seed_from_u64(999));
                let mut own = speakers.into_iter().nth(seed as usize)?;
                own.shuffle(&mut StdRng::seed_from_u64(1_000 + seed));
                let test = own.split_off(wanted);
                let cloned = |clips: Vec<&Example>| clips.into_iter().cloned().collect();
                Some((cloned(own), cloned(test)))
            }
        }
    }
}

/// Returns the first `samples` samples of each recording between two stretches of 2 s of quiet.
///
/// The quiet is the quietest 0.1 s of a recording, alternately forward and backward. Recordings of
/// one speaker have the quiet of the first, as in one room; if it changed with every recording, that
/// change would influence the result. Recordings of several have their own, since a recording that
/// starts in another noise would not end as an utterance. Faint noise is everywhere: some recordings
/// are digital silence in part, which no microphone is, and the quiet after it would count as loud.
pub fn in_a_room(
    examples: &[Example],
    samples: usize,
    speakers: Speakers,
    rng: &mut StdRng,
) -> Vec<Vec<i16>> {
    let read = |e: &Example| audio::read(&e.path).ok();
    let cut = |pcm: Vec<i16>| pcm.into_iter().take(samples).collect::<Vec<_>>();
    let clips: Vec<_> = examples.iter().filter_map(read).map(cut).collect();
    let first = clips.first().map_or(&[][..], Vec::as_slice);
    let mut faint = |&x: &i16| x.saturating_add(rng.random_range(-6..=6));
    let sound = clips.iter().map(|pcm| {
        let quiet = quietest(if speakers == Speakers::One { first } else { pcm });
        let forth_and_back = quiet.iter().chain(quiet.iter().rev()).cycle();
        let room: Vec<i16> = forth_and_back.take(2 * SAMPLE_RATE as usize).copied().collect();
        [&room, pcm, &room].into_iter().flatten().map(&mut faint).collect()
    });
    sound.collect()
}

/// Returns the quietest 0.1 s.
fn quietest(pcm: &[i16]) -> &[i16] {
    const QUIET: usize = SAMPLE_RATE as usize / 10;
    let power = |piece: &&[i16]| piece.iter().map(|&x| i64::from(x) * i64::from(x)).sum::<i64>();
    pcm.windows(QUIET).step_by(QUIET / 4).min_by_key(power).unwrap_or(&[0])
}
