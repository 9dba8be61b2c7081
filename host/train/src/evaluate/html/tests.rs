use std::path::PathBuf;

use wakeling_shared::detector::DetectorParams;

use super::*;
use crate::evaluate::{
    ModelRecord, Piece, Provenance, ScoredClips, ScoredStream, Scores, TestConditions,
};
use wakeling_audio as audio;
use wakeling_data::dataset::Example;

/// Content of a hostile file name, label or transcript.
const HOSTILE: &str = "<img src='http://evil' onerror=\"alert(1)\">&amp;\u{202e}";

struct Folder {
    folder: tempfile::TempDir,
    recordings: Vec<Example>,
}

/// Three recordings by two speakers, in files with hostile names.
fn place() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let recordings = (0..3)
        .map(|i| {
            let name = HOSTILE.replace('/', "%");
            let path: PathBuf = folder.path().join(format!("{name}{i}.wav"));
            let loud = |t: usize| if (4_000..14_000).contains(&t) { 9_000.0 } else { 20.0 };
            let pcm: Vec<i16> = (0..20_000)
                .map(|t| (loud(t) * (t as f32 * (0.1 + 0.05 * i as f32)).sin()) as i16)
                .collect();
            audio::write_wav(&path, &pcm).unwrap();
            let mut example = Example::unlabelled(path);
            example.speaker = Some(if i == 0 { "ann".into() } else { HOSTILE.into() });
            example.text = Some(HOSTILE.into());
            example.labels.insert(HOSTILE.into(), format!("{i}"));
            example
        })
        .collect();
    Folder { folder, recordings }
}

/// Builds a page: the first recording is detected, the others are not; two moments of negative
/// speech score high.
fn page_of(place: &Folder, label: &str) -> String {
    page_of_hours(place, label, 2.0)
}

fn page_of_hours(place: &Folder, label: &str, hours: f64) -> String {
    let stream = |at: Option<usize>| -> Vec<i16> {
        (0..220).map(|t| if at == Some(t) { 1_500 } else { -1_000 - (t % 7) as i16 }).collect()
    };
    let scored = |conditions: &str, at| ScoredClips {
        conditions: conditions.into(),
        scores: Scores {
            words: 1,
            steps_per_second: 50.0,
            streams: vec![stream(at), stream(None), stream(Some(3))],
        },
        spans: vec![100..162; 3],
        recordings: vec![0, 1, 2],
    };
    let (clean, noisy) = (scored("clean", Some(150)), scored("10 dB", None));
    let scores = Scores { words: 1, steps_per_second: 50.0, streams: vec![stream(Some(40))] };
    let pieces = vec![vec![
        Piece { recording: 1, start: 0, samples: 20_000 },
        Piece { recording: 2, start: 24_800, samples: 20_000 },
    ]];
    let other = ScoredStream { scores: scores.clone(), pieces, hours };
    let detector = DetectorParams { smoothing_steps: 1, threshold: 1_000, refractory_steps: 20 };
    let scored_keywords =
        |scored| ScoredKeyword { scored, other: &other.scores, hours, index: 0, detector };
    let word = KeywordDetail {
        label,
        points: &[],
        scored_keywords: &[scored_keywords(&clean), scored_keywords(&noisy)],
        conditions: &[TestConditions::Silence, TestConditions::Silence],
        recordings: &place.recordings,
        other: &other,
        negatives: &place.recordings,
        float: Some(scored_keywords(&clean)),
    };
    let model = ModelRecord { file: HOSTILE.into(), ..ModelRecord::default() };
    page(&Provenance { model, ..Provenance::default() }, &[word])
}

#[test]
fn the_page_shows_counts_curves_groups_latency_and_mistakes() {
    let place = place();
    let page = page_of(&place, "hey you");
    for part in [
        "<h2>hey you</h2>",
        "66.7 %",                     // two of three missed
        "2 of 3; 9.4–99.2 %",         // with their interval
        "<b>1 in 2.0 h</b>",          // one false accept in two hours
        "at most 2.4/h",              // and its bound
        "1 in 2.0 h (at most 2.4/h)", // in one form with the table of numbers
        "normal (the model's own)",
        "Misses against false accepts",
        "float, clean",
        "Misses by signal-to-noise ratio",
        "Detection latency",
        "Misses by speaker",
        "In numbers",
        "a false accept, level 59",
        "clean, highest level 10",
        "role='region' aria-label='In numbers: hey you'",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    // Two misses in silence and three in noise, and the six highest moments of negative speech, one
    // of them a false accept: each with an image, a sound and a score.
    assert_eq!(page.matches("a false accept, level").count(), 1);
    assert_eq!(page.matches("below the threshold, level").count(), 5);
    for (part, count) in [("<audio ", 11), ("data:image/png;base64,", 11), ("class='trace'", 11)] {
        assert_eq!(page.matches(part).count(), count, "{part}");
    }
}

#[test]
fn seconds_of_audio_make_no_rate() {
    let page = page_of_hours(&place(), "hey you", 43.0 / 3_600.0);
    for part in ["<b>1 in 43 s</b>", "too short for a rate", "1 in 43 s: too short for a rate"] {
        assert!(page.contains(part), "no {part:?}");
    }
    // Encoded sounds and images may contain any letters.
    let text: String = page
        .split("base64,")
        .map(|part| part.split_once('\'').map_or(part, |(_, rest)| rest))
        .collect();
    assert!(!text.contains("/h)") && !text.contains("/h<") && !text.contains(" / h"), "a rate");
    assert!(!page.contains("per hour"), "an axis of rates");
}

#[test]
fn speakers_are_listed_only_where_they_are_known() {
    let mut place = place();
    assert!(page_of(&place, "hey you").contains("Misses by speaker"));
    place.recordings.iter_mut().for_each(|recording| recording.is_speaker_guessed = true);
    let page = page_of(&place, "hey you");
    assert!(!page.contains("Misses by speaker") && !page.contains("speaker ann"));
}

#[test]
fn a_time_before_the_end_is_not_a_negative_time_after_it() {
    assert_eq!(from_end(-60.2), ("60 ms".into(), "before the end"));
    assert_eq!(from_end(120.0), ("120 ms".into(), "after the end"));
}

#[test]
fn page_is_self_contained_and_escapes_its_input() {
    let place = place();
    let page = page_of(&place, HOSTILE);
    drop(place.folder);
    assert!(!page.contains("<img src='http") && !page.contains("onerror=\""), "not escaped");
    assert!(page.contains("&lt;img src=&#39;http"), "not shown");
    assert!(!page.contains('\u{202e}'));
    for forbidden in ["<script", "<link rel='style", "@import", "url(", "<iframe", "<object"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for attribute in ["src", "href"] {
        for quote in ['\'', '"'] {
            for value in page.split(&format!(" {attribute}={quote}")).skip(1) {
                let value = value.split(quote).next().unwrap();
                assert!(
                    value.starts_with("data:") || value.starts_with('#'),
                    "{attribute}={value}"
                );
            }
        }
    }
    assert!(page.contains("default-src 'none'"));
    balanced(&page);
}

/// Checks that every element is closed in order.
fn balanced(page: &str) {
    const VOID: [&str; 6] = ["meta", "link", "img", "br", "!doctype", "input"];
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let end = tag
            .find(|c: char| c.is_whitespace() || c == '>' || (c == '/' && !tag.starts_with('/')));
        let name = &tag[..end.unwrap_or(tag.len())];
        let closes_itself = tag.split('>').next().is_some_and(|t| t.ends_with('/'));
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(
                open.pop(),
                Some(name),
                "closed out of order near {}",
                &tag[..tag.len().min(60)]
            );
        } else if !VOID.contains(&name) && !closes_itself {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}
