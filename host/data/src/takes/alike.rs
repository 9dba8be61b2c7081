//! Compares stretches of sound, to find out if they are the same words.
//!
//! Two sounds are aligned by dynamic time warping (Sakoe & Chiba 1978) over log-mel frames. The
//! distance between two takes of a phrase depends on speaker and room. It is therefore compared
//! with the distance to the same sound in another order: backwards, and with its halves swapped.
//! Two takes are nearer to each other than to those; different words are not.

use wakeling_shared::frontend::MEL_CHANNELS;

use wakeling_audio::features::{FrontendTables, NormalizationKind, log_mel, mel_powers};

/// Largest number of stretches that are compared in pairs, from the start of a file.
const COMPARED: usize = 12;
/// Largest median distance of alike stretches, as a share of the distance to another order. Of 25
/// people who recorded one word at least four times, 21 are within it; all medians are between 0.50
/// and 0.92. Of 25 people who recorded five different words each, none is (0.83 to 0.97).
const NEAR: f32 = 0.82;
/// Number of frames in one step of the comparison: 20 ms.
const STEP: usize = 2;
/// Power below the loudest band at which a band counts as silent, in octaves: 36 dB.
const SILENT_OCTAVES: f32 = 12.0;

type Sound = Vec<[f32; MEL_CHANNELS]>;

/// Returns true if stretches are takes of the same words.
pub fn are_alike(stretches: &[&[i16]]) -> bool {
    nearness(stretches).is_some_and(|near| near <= NEAR)
}

/// Returns the distance of two stretches, as a share of that to the same sound in another order.
/// The result is the median over all pairs; none if there is no pair.
pub fn nearness(stretches: &[&[i16]]) -> Option<f32> {
    let sounds: Vec<Sound> = stretches.iter().take(COMPARED).map(|pcm| sound(pcm)).collect();
    let mut shares = Vec::new();
    for (i, a) in sounds.iter().enumerate() {
        for b in sounds.iter().skip(i + 1) {
            let other = (distance(a, &reversed(b)) + distance(a, &swapped(b))) / 2.0;
            shares.push(if other > 0.0 { distance(a, b) / other } else { 1.0 });
        }
    }
    shares.sort_by(f32::total_cmp);
    shares.get(shares.len() / 2).copied()
}

/// Returns log-mel steps in octaves. The mean of each band, which is speaker and room, is
/// subtracted.
fn sound(pcm: &[i16]) -> Sound {
    let tables = FrontendTables::default();
    let frames = log_mel(&mel_powers(pcm, &tables.params(NormalizationKind::Log)));
    let octaves = |x: i16| f32::from(x) / 256.0;
    let step = |frames: &[[i16; MEL_CHANNELS]]| -> [f32; MEL_CHANNELS] {
        let sum = |c: usize| frames.iter().map(|frame| octaves(frame[c])).sum::<f32>();
        std::array::from_fn(|c| sum(c) / frames.len() as f32)
    };
    let mut steps: Sound = frames.chunks(STEP).map(step).collect();
    let top = steps.iter().flatten().fold(f32::MIN, |top, &x| top.max(x));
    steps.iter_mut().flatten().for_each(|x| *x = x.max(top - SILENT_OCTAVES));
    for c in 0..MEL_CHANNELS {
        let mean = steps.iter().map(|step| step[c]).sum::<f32>() / steps.len().max(1) as f32;
        steps.iter_mut().for_each(|step| step[c] -= mean);
    }
    steps
}

fn reversed(sound: &Sound) -> Sound {
    sound.iter().rev().copied().collect()
}

fn swapped(sound: &Sound) -> Sound {
    let (first, second) = sound.split_at(sound.len() / 2);
    [second, first].concat()
}

/// Returns the mean distance along the best alignment. The weights are symmetric, so a diagonal
/// step counts twice.
fn distance(a: &Sound, b: &Sound) -> f32 {
    let local = |x: &[f32; MEL_CHANNELS], y: &[f32; MEL_CHANNELS]| {
        x.iter().zip(y).map(|(x, y)| (x - y).abs()).sum::<f32>() / MEL_CHANNELS as f32
    };
    let mut row = vec![f32::INFINITY; b.len() + 1];
    row[0] = 0.0;
    for x in a {
        let mut diagonal = std::mem::replace(&mut row[0], f32::INFINITY);
        for (j, y) in b.iter().enumerate() {
            let cost = local(x, y);
            let best = (diagonal + 2.0 * cost).min(row[j] + cost).min(row[j + 1] + cost);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()] / (a.len() + b.len()).max(1) as f32
}
