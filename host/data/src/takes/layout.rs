//! Finds the takes in one file.
//!
//! A file is split only if there is little doubt. It must be longer than a phrase may be, and hold
//! at least three stretches of speech that are of similar length and sound alike. The pauses
//! between them must be long enough to end a take in the recorder. A sentence, or a phrase with a
//! pause inside, stays whole.

use std::ops::Range;

use super::alike;
use wakeling_audio::activity::{FRAME, MARGIN_FRAMES};
use wakeling_audio::{
    SAMPLE_RATE,
    activity::{Activity, ONSET_WINDOW, PAUSE_FRAMES},
    level::{Level, SILENCE_DB},
};

/// Length in frames up to which a file is one take: a phrase of three seconds and the quiet around
/// it.
const SHORT_FRAMES: usize = 400;
/// Smallest number of stretches that count as takes.
const FEWEST: usize = 3;
/// Longest phrase, in frames.
const LONGEST_FRAMES: usize = 300;
/// Length in frames up to which a stretch is a click and not speech.
const CLICK_FRAMES: usize = 15;
/// Largest ratio between the lengths of a slow and a fast take.
const STRETCH: usize = 3;
/// Number of frames over which levels are averaged, since single frames of noise rise and fall.
const SMOOTH_FRAMES: usize = 5;

/// Takes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One take, or no sound.
    One,
    /// Several takes, with a margin around each, in samples.
    Several(Vec<Range<usize>>),
    /// Neither one take nor several of the same phrase, with a description for the user.
    Odd(String),
}

/// Finds the takes in 16 kHz sound.
pub fn layout(pcm: &[i16]) -> Layout {
    if pcm.len() <= SHORT_FRAMES * FRAME {
        return Layout::One;
    }
    let found = stretches(pcm);
    let seconds = |frames: usize| frames as f64 * FRAME as f64 / f64::from(SAMPLE_RATE);
    let lengths: Vec<usize> = found.iter().map(Range::len).collect();
    let (Some(&shortest), Some(&longest)) = (lengths.iter().min(), lengths.iter().max()) else {
        return Layout::One;
    };
    let advice = "only the loudest stretch is used; keep one take in each file";
    match found.len() {
        1 if longest <= LONGEST_FRAMES => Layout::One,
        1 => {
            let s = seconds(longest);
            Layout::Odd(format!("with {s:.1} s of sound without a pause: {advice}"))
        }
        n if n < FEWEST || longest > LONGEST_FRAMES || longest > STRETCH * shortest => {
            let (a, b) = (seconds(shortest), seconds(longest));
            Layout::Odd(format!("with {n} stretches of sound of {a:.1} to {b:.1} s: {advice}"))
        }
        n => {
            let sounds: Vec<&[i16]> =
                found.iter().map(|f| &pcm[f.start * FRAME..f.end * FRAME]).collect();
            if !alike::are_alike(&sounds) {
                let what = "stretches of sound that do not sound alike";
                return Layout::Odd(format!("with {n} {what}: {advice}"));
            }
            let margin = |f: &Range<usize>| {
                let from = f.start.saturating_sub(MARGIN_FRAMES) * FRAME;
                from..((f.end + MARGIN_FRAMES) * FRAME).min(pcm.len())
            };
            Layout::Several(found.iter().map(margin).collect())
        }
    }
}

/// Finds the stretches of sound between pauses, in frames, by the rule with which the recorder
/// begins and ends a take. Clicks are left out.
fn stretches(pcm: &[i16]) -> Vec<Range<usize>> {
    let levels = levels(pcm);
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    // The quietest fifth gives the level of the room.
    let floor_db = sorted.get(sorted.len() / 5).copied().unwrap_or(SILENCE_DB);
    let (mut found, mut begun) = (Vec::new(), None);
    let mut activity = Activity::over(floor_db);
    for (t, &level_db) in levels.iter().enumerate() {
        match begun {
            None if activity.begins(level_db) => begun = Some((t + 1).saturating_sub(ONSET_WINDOW)),
            None => {}
            Some(start) if activity.ends(level_db) => {
                found.push(start..t + 1 - PAUSE_FRAMES);
                (begun, activity) = (None, Activity::over(floor_db));
            }
            Some(_) => {}
        }
    }
    found.extend(begun.map(|start| start..levels.len()));
    found.retain(|stretch| stretch.len() > CLICK_FRAMES);
    found
}

/// Returns the level of each frame in dBFS, averaged over its neighbours.
fn levels(pcm: &[i16]) -> Vec<f32> {
    let each: Vec<f32> = pcm.chunks_exact(FRAME).map(|f| Level::of(f).rms_db).collect();
    let around = |t: usize| {
        let half = SMOOTH_FRAMES / 2;
        let near = &each[t.saturating_sub(half)..(t + half + 1).min(each.len())];
        near.iter().sum::<f32>() / near.len() as f32
    };
    (0..each.len()).map(around).collect()
}
