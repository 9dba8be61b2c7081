use std::path::PathBuf;

use wakeling_shared::detector::DetectorParams;

use super::*;
use crate::evaluate::{
    ModelRecord, Noise, Piece, ScoredClips, ScoredKeyword, ScoredStream, Scores, Source,
    SourceKind, TestConditions,
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

/// Returns a provenance of hostile texts.
fn provenance() -> Provenance {
    let hostile = || HOSTILE.to_owned();
    Provenance {
        made_at: 1_796_046_600,
        model: ModelRecord {
            file: hostile(),
            name: hostile(),
            bytes: 398_300,
            sha256: "5f".repeat(32),
            pretrained: hostile(),
            trained_on: hostile(),
        },
        command: format!("wakeling evaluate {HOSTILE}"),
        sources: vec![
            Source { kind: SourceKind::Recordings, name: hostile() },
            Source { kind: SourceKind::Negatives, name: hostile() },
        ],
        settings: vec![(hostile(), hostile())],
    }
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
            streams: [stream(at), stream(None), stream(Some(3))]
                .into_iter()
                .cycle()
                .take(place.recordings.len())
                .collect(),
        },
        spans: vec![100..162; place.recordings.len()],
        recordings: (0..place.recordings.len()).collect(),
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
    let clips = Noise::of(vec![vec![100; 16_000]]);
    let noise = TestConditions::Noise { noise: &clips, snr_db: 10.0, seed: 1 };
    let word = KeywordDetail {
        label,
        points: &[],
        scored_keywords: &[scored_keywords(&clean), scored_keywords(&noisy)],
        conditions: &[TestConditions::Silence, noise],
        recordings: &place.recordings,
        other: &other,
        negatives: &place.recordings,
        float: Some(scored_keywords(&clean)),
    };
    page(&provenance(), &[word])
}

#[test]
fn the_page_shows_verdict_counts_curves_groups_and_errors() {
    let place = place();
    let page = page_of(&place, "hey you");
    for part in [
        "detects “hey you”</h1>",
        // Three recordings and one false accept give no share and only a bound.
        "<p class='verdict'>In a quiet room it missed 2 of 3, too few recordings to estimate a share; \
         in noise all of 3; one false wake in 2 hours of other sound, so at most one every 25 minutes; \
         test with more takes.</p>",
        "This rests on 3 recordings and 2.0 h of sound",
        "<b>2 of 3</b><span>66.7 % (9.4–99.2 %)</span>",
        "<b>1 in 2.0 h</b><span>at most 2.4/h</span>",
        "1 in 2.0 h (at most 2.4/h)",
        "normal (the model's own)",
        "<h3>Misses and false accepts</h3>",
        "<h3>Choice of the threshold</h3>",
        "Dashed: the float network",
        "<h3>Misses by noise</h3>",
        "<th scope='row'>in noise at 10 dB</th><td>3 of 3</td>",
        "In numbers",
        "<strong>reached level 59, and 50 wakes it</strong>",
        "<strong>reached level 10 of 50</strong>",
        "<span class='badge bad'>missed in a quiet room</span>",
        "href='#w0-missed'",
        "id='w0-missed'",
        "30 November 2026, 13:50 UTC",
        "<code>5f5f5f",
        "398 KB",
    ] {
        assert!(page.contains(part), "no {part:?} in {}", without_data(&page));
    }
    // Two misses in silence and three in noise, and the six highest moments of negative speech, one
    // of them a false accept: each with an image, a sound and a score.
    assert_eq!(page.matches("<span class='badge bad'>false wake</span>").count(), 1);
    assert_eq!(page.matches("<span class='badge fair'>no wake</span>").count(), 5);
    for (part, count) in [("<audio ", 11), ("data:image/png;base64,", 11), ("class='trace'", 11)] {
        assert_eq!(page.matches(part).count(), count, "{part}");
    }
    assert_eq!(page, page_of(&place, "hey you"), "the same evaluation, another page");
}

/// Returns the page without its sounds and images, which may contain any letters.
fn without_data(page: &str) -> String {
    let parts = page.split("base64,");
    parts.map(|part| part.split_once('\'').map_or(part, |(_, rest)| rest)).collect()
}

#[test]
fn seconds_of_audio_make_no_rate() {
    let page = page_of_hours(&place(), "hey you", 43.0 / 3_600.0);
    for part in [
        "<b>1 in 43 s</b>",
        "too short for a rate",
        "1 in 43 s: too short for a rate",
        "one false wake in 43 seconds of other sound, too little to estimate how often",
        "test with more takes and test with more sound without the phrase",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    let text = without_data(&page);
    assert!(!text.contains("/h)") && !text.contains("/h<") && !text.contains(" / h"), "a rate");
    assert!(!page.contains("per hour"), "an axis of rates");
}

/// Six recordings by each of two speakers.
fn speakers() -> Folder {
    let mut place = place();
    place.recordings = place.recordings.iter().cloned().cycle().take(12).collect();
    for (i, recording) in place.recordings.iter_mut().enumerate() {
        recording.speaker = Some(if i < 6 { "ann".into() } else { "ben".into() });
    }
    place
}

#[test]
fn groups_of_few_recordings_make_no_table() {
    let mut place = speakers();
    for recording in &mut place.recordings[10..] {
        recording.speaker = Some("ann".into());
    }
    let page = page_of(&place, "hey you");
    assert!(!page.contains("Misses by speaker"), "ben has four recordings");
    place.recordings[10].speaker = Some("ben".into());
    place.recordings[11].speaker = Some("eve".into());
    let page = page_of(&place, "hey you");
    assert!(page.contains("Misses by speaker") && !page.contains("<th scope='row'>eve"));
    assert!(page.contains("Left out: 1 with fewer than 5 recordings."));
}

#[test]
fn speakers_are_listed_only_where_they_are_known() {
    let mut place = speakers();
    let page = page_of(&place, "hey you");
    assert!(page.contains("<h3>Misses by speaker</h3>"), "{}", without_data(&page));
    assert!(page.contains("<th scope='row'>ann</th><td>4 of 6</td>"));
    place.recordings.iter_mut().for_each(|recording| recording.is_speaker_guessed = true);
    let page = page_of(&place, "hey you");
    assert!(!page.contains("Misses by speaker") && !page.contains("speaker ann"));
}

#[test]
fn unknown_values_and_single_groups_make_no_table() {
    for others in ["", " ", "unknown", "Unknown", "?", "ann"] {
        let mut place = speakers();
        for recording in &mut place.recordings[6..] {
            recording.speaker = Some(others.into());
        }
        let page = page_of(&place, "hey you");
        assert!(!page.contains("Misses by speaker"), "{others:?}");
        assert!(page.contains(" · speaker ann<"), "the known one is shown");
        let unknown = format!(" · speaker {others}<");
        assert!(page.contains(&unknown) == (others == "ann"), "{others:?}");
    }
}

#[test]
fn every_table_has_a_caption_and_headers() {
    let page = page_of(&place(), "hey you");
    let tables: Vec<&str> = page.split("<table>").skip(1).collect();
    assert!(tables.len() >= 4, "{}", tables.len());
    for table in tables {
        let table = table.split("</table>").next().unwrap();
        assert!(
            table.starts_with("<caption><span>") && table.contains("<th scope='col'>"),
            "{table}"
        );
        let rows = table.split("<tbody>").nth(1).unwrap();
        for row in rows.split("<tr").skip(1) {
            assert!(row.split_once('>').unwrap().1.starts_with("<th scope='row'>"), "{row}");
        }
    }
    // Every target of a link exists, and no identifier twice.
    let ids: Vec<&str> = page.split(" id='").skip(1).filter_map(|p| p.split('\'').next()).collect();
    for target in page.split("href='#").skip(1).filter_map(|part| part.split('\'').next()) {
        assert_eq!(ids.iter().filter(|id| **id == target).count(), 1, "{target} in {ids:?}");
    }
}

#[test]
fn size_of_the_page_is_bounded() {
    // Loud noise compresses badly, and texts are long.
    let mut place = place();
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as i16
    };
    let pcm: Vec<i16> = (0..128_000).map(|_| noise()).collect();
    for (i, recording) in place.recordings.iter_mut().enumerate() {
        audio::write_wav(&recording.path, &pcm).unwrap();
        recording.text = Some("<".repeat(100_000));
        recording.speaker = Some(format!("{i}{}", "&".repeat(100_000)));
        for field in 0..50 {
            recording.labels.insert(format!("{field}{}", "'".repeat(10_000)), format!("{i}"));
        }
    }
    let page = page_of(&place, &"<".repeat(10_000));
    assert_eq!(page.matches("<audio ").count(), 11);
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    assert!(page.len() > 500_000, "{} bytes: the clips are shorter than they may be", page.len());
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
