//! Recordings behind the worst errors, to see and to listen to.

use super::super::detail::{Clip, ClipKind};
use super::{clipped, escape, media};
use wakeling_audio::{
    SAMPLE_RATE,
    features::{FrontendTables, NormalizationKind, log_mel, mel_powers},
};
use wakeling_device::sensitivity::DetectionLevel;

/// Height of a clip's score chart, in its own units; its width is 100.
const SCORE_HEIGHT: f64 = 40.0;
/// Number of characters of a name, and of a detail such as a transcript.
const LONGEST_NAME: usize = 80;
const LONGEST_DETAIL: usize = 160;

/// Builds a list of clips with a heading.
pub(super) fn list(id: &str, title: &str, note: &str, clips: &[Clip], threshold: i16) -> String {
    let (title, note) = (escape(title), escape(note));
    let all: String = clips.iter().map(|clip| figure(clip, threshold)).collect();
    let all =
        if clips.is_empty() { String::new() } else { format!("<div class='clips'>{all}</div>") };
    format!("<h3 id='{id}'>{title}</h3><p class='soft'>{note}</p>{all}")
}

/// Returns what happened: a class for its colour, its name, and the sentence.
fn event(clip: &Clip, threshold: i16) -> (&'static str, String, String) {
    let level = DetectionLevel::of(clip.peak, threshold);
    match &clip.kind {
        ClipKind::Missed { words } if clip.peak < threshold => {
            ("bad", format!("missed {words}"), format!("reached level {level} of 50"))
        }
        // The level was reached, but too early, too late, or right after another detection.
        ClipKind::Missed { words } => (
            "bad",
            format!("missed {words}"),
            format!("reached level {level}, but at the wrong time"),
        ),
        ClipKind::Negative if clip.peak >= threshold => {
            ("bad", "false wake".into(), format!("reached level {level}, and 50 wakes it"))
        }
        ClipKind::Negative => ("fair", "no wake".into(), format!("reached level {level} of 50")),
    }
}

fn figure(clip: &Clip, threshold: i16) -> String {
    let tables = FrontendTables::default();
    let frames = log_mel(&mel_powers(&clip.pcm, &tables.params(NormalizationKind::Log)));
    let image = media::data_url("image/png", &media::spectrogram(&frames));
    let sound = media::data_url("audio/wav", &media::wav(&clip.pcm));
    let name = clip.name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = escape(&clipped(name, LONGEST_NAME));
    let (class, badge, text) = event(clip, threshold);
    let details: String = clip
        .details
        .iter()
        .map(|detail| format!(" · {}", escape(&clipped(detail, LONGEST_DETAIL))))
        .collect();
    let seconds = clip.pcm.len() as f64 / f64::from(SAMPLE_RATE);
    format!(
        "<figure class='clip card'><figcaption><span class='badge {class}'>{}</span> \
         <strong>{}</strong><br>{name}{details}</figcaption>\
         <div><img alt='spectrogram of {name}, {seconds:.1} seconds' src='{image}'>{}</div>\
         <audio controls preload='metadata' aria-label='sound of {name}' src='{sound}'></audio></figure>",
        escape(&badge),
        escape(&text),
        trace(clip, threshold)
    )
}

/// Draws the level over a clip, with the threshold at mid-height and the recording shaded.
fn trace(clip: &Clip, threshold: i16) -> String {
    let y = |logit: i16| {
        let share = DetectionLevel::of(logit, threshold).share();
        SCORE_HEIGHT / 2.0 * (1.0 - 0.94 * (2.0 * share - 1.0))
    };
    let steps = clip.scores.len().max(2) as f64 - 1.0;
    let points: Vec<String> = clip
        .scores
        .iter()
        .enumerate()
        .map(|(i, &logit)| format!("{:.1} {:.1}", 100.0 * i as f64 / steps, y(logit)))
        .collect();
    let place = |sample: usize| 100.0 * sample as f64 / clip.pcm.len().max(1) as f64;
    let (from, to) = (place(clip.recording.start), place(clip.recording.end));
    let limit = y(threshold);
    format!(
        "<svg class='score' viewBox='0 0 100 {SCORE_HEIGHT}' preserveAspectRatio='none' role='img' \
         aria-label='level over time, highest {}, threshold 50'>\
         <path class='within' d='M{from:.1} 0H{to:.1}V{SCORE_HEIGHT}H{from:.1}Z'/>\
         <path class='limit' d='M0 {limit:.1}H100'/><path class='trace' d='M{}'/></svg>",
        DetectionLevel::of(clip.peak, threshold),
        if points.is_empty() { "0 0".into() } else { points.join("L") }
    )
}
