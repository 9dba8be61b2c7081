//! Picture of a take: its properties, the waveform, the spectrogram, and the sound itself.

use serde_json::{Value, json};
use wakeling_audio::{
    SAMPLE_RATE,
    features::{FrontendTables, NormalizationKind, log_mel, mel_powers},
    level::Level,
};
use wakeling_capture::take::{Recorded, trim};
use wakeling_train::evaluate::html::media;

use crate::takes::{Checked, verdict_name};

/// Columns of the waveform.
const WAVE_COLUMNS: usize = 240;
/// Longest sound of a picture, in seconds. A foreign file may be longer; its start is shown.
pub const LONGEST_S: f64 = 10.0;

/// Returns the picture of a take that is not kept yet.
pub fn of_recorded(recorded: &Recorded) -> Value {
    let judged = Judged {
        name: "",
        seconds: recorded.phrase_s,
        level: recorded.level,
        verdict: verdict_name(recorded.verdict),
        advice: recorded.verdict.advice(),
    };
    judged.json(&recorded.pcm)
}

/// Returns the picture of a kept take, with the result of its check.
pub fn of_kept(name: &str, pcm: &[i16], checked: &Checked) -> Value {
    let found = trim(pcm);
    let length_s = pcm.len() as f64 / f64::from(SAMPLE_RATE);
    let judged = Judged {
        name,
        seconds: found.as_ref().map_or(length_s, |recorded| recorded.phrase_s),
        level: found.map_or_else(|| Level::of(pcm), |recorded| recorded.level),
        verdict: checked.verdict,
        advice: checked.advice(),
    };
    judged.json(pcm)
}

/// Take with its judgement.
struct Judged<'a> {
    name: &'a str,
    /// Length of the phrase.
    seconds: f64,
    level: Level,
    verdict: &'static str,
    advice: &'a str,
}

impl Judged<'_> {
    fn json(&self, pcm: &[i16]) -> Value {
        let tables = FrontendTables::default();
        let frames = log_mel(&mel_powers(pcm, &tables.params(NormalizationKind::Log)));
        json!({
            "name": self.name,
            "seconds": self.seconds,
            "peak_db": self.level.peak_db,
            "good": self.verdict == "good",
            "verdict": self.verdict,
            "advice": self.advice,
            "wave": wave(pcm),
            "spectrogram": media::data_url("image/png", &media::spectrogram(&frames)),
            "sound": media::data_url("audio/wav", &media::wav(pcm)),
        })
    }
}

/// Returns minimum and maximum of each column of the waveform, −1 to 1.
fn wave(pcm: &[i16]) -> Vec<[f32; 2]> {
    let column = pcm.len().div_ceil(WAVE_COLUMNS).max(1);
    let extremes = |part: &[i16]| {
        let least = part.iter().min().copied().unwrap_or(0);
        let most = part.iter().max().copied().unwrap_or(0);
        [f32::from(least) / 32_768.0, f32::from(most) / 32_768.0]
    };
    pcm.chunks(column).map(extremes).collect()
}
