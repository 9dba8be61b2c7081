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

/// Returns the first `samples` samples of each recording between two stretches of 2 s of quiet. The
/// quiet is the quietest 0.1 s of the first recording, alternately forward and backward, with faint
/// noise. A device stays in one room; if the quiet changed with every recording, that change would
/// influence the result.
pub fn in_a_room(examples: &[Example], samples: usize, rng: &mut StdRng) -> Vec<Vec<i16>> {
    const QUIET: usize = SAMPLE_RATE as usize / 10;
    let read = |e: &Example| audio::read(&e.path).ok();
    let cut = |pcm: Vec<i16>| pcm.into_iter().take(samples).collect::<Vec<_>>();
    let clips: Vec<_> = examples.iter().filter_map(read).map(cut).collect();
    let power = |piece: &&[i16]| piece.iter().map(|&x| i64::from(x) * i64::from(x)).sum::<i64>();
    let first = clips.first().map_or(&[][..], Vec::as_slice);
    let quiet = first.windows(QUIET).step_by(QUIET / 4).min_by_key(power).unwrap_or(&[0]).to_vec();
    let mut room = || -> Vec<i16> {
        let forth_and_back = quiet.iter().chain(quiet.iter().rev()).cycle();
        let faint = |&x: &i16| x.saturating_add(rng.random_range(-6..=6));
        forth_and_back.take(2 * SAMPLE_RATE as usize).map(faint).collect()
    };
    clips.into_iter().map(|pcm| [room(), pcm, room()].concat()).collect()
}
