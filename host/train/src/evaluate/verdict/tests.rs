use super::*;
use crate::evaluate::{ScoredClips, ScoredStream, Scores};
use wakeling_data::dataset::Example;
use wakeling_shared::detector::DetectorParams;

fn count(snr_db: Option<f32>, missed: usize, recordings: usize) -> MissCount {
    MissCount { snr_db, missed, recordings }
}

fn verdict(misses: &[MissCount], accepts: (usize, f64), advice: &[Advice]) -> String {
    let false_accepts = FalseAccepts { count: accepts.0, hours: accepts.1 };
    Verdict { misses: misses.to_vec(), false_accepts, advice: advice.to_vec() }.to_string()
}

#[test]
fn sentence_states_what_the_counts_support() {
    let quiet = |missed, recordings| count(None, missed, recordings);
    let noise = |snr_db, missed, recordings| count(Some(snr_db), missed, recordings);
    for (misses, accepts, text) in [
        (vec![], (0, 0.0), "False wakes were not measured."),
        (
            vec![quiet(0, 5)],
            (0, 0.01),
            "In a quiet room it missed none of 5, too few recordings to estimate a share; no false \
             wake in 36 seconds of other sound, too little to estimate how often.",
        ),
        (
            vec![quiet(0, 24)],
            (0, 0.38),
            "In a quiet room it missed none of 24 (at most 1 in 7); no false wake in 22 minutes of \
             other sound, too little to estimate how often.",
        ),
        (
            vec![quiet(1, 24), noise(10.0, 5, 24)],
            (1, 6.0),
            "In a quiet room it misses between 1 in 950 and 1 in 4; in noise between 1 in 15 and \
             half; one false wake in 6 hours of other sound, so at most one every 75 minutes.",
        ),
        (
            vec![quiet(10, 400), noise(10.0, 50, 400), noise(0.0, 130, 400)],
            (12, 24.0),
            "In a quiet room it misses about 1 in 40; in noise at 10 dB about 1 in 8, at 0 dB about \
             1 in 3; expect a false wake about every two hours.",
        ),
        // Of many, the mildest and the loudest, in whatever order they were measured.
        (
            vec![quiet(10, 400), noise(5.0, 60, 400), noise(-5.0, 400, 400), noise(20.0, 0, 400)],
            (30, 300.0),
            "In a quiet room it misses about 1 in 40; in noise at 20 dB none of 400 (at most 1 \
             in 100), at -5 dB all of 400; expect a false wake about every 10 hours.",
        ),
        (
            vec![quiet(20, 20)],
            (100, 1.0),
            "In a quiet room it missed all of 20; expect a false wake about every 35 seconds.",
        ),
    ] {
        assert_eq!(verdict(&misses, accepts, &[]), text);
    }
}

#[test]
fn advice_is_in_plain_words() {
    let group =
        |field: &str, value: &str| Advice::RecordGroup { field: field.into(), value: value.into() };
    for (advice, text) in [
        (vec![group("style", "far")], "record more takes from across the room."),
        (vec![group("style", "soft")], "record more takes spoken softly."),
        (vec![group("style", "singing")], "record more takes with style \"singing\"."),
        (vec![group("speaker", "Ann")], "record more takes of speaker \"Ann\"."),
        (vec![group("speaker", "far")], "record more takes of speaker \"far\"."),
        (vec![group("lang", "de")], "record more takes with lang \"de\"."),
        (vec![Advice::TrainWithMore], "train with more takes, of more people."),
        (vec![Advice::TrainWithNoise], "train with noise of this kind."),
        (vec![Advice::TrainWithFalseWakes], "train with the false wakes."),
        (vec![Advice::SetEager], "set the sensitivity to eager."),
        (
            vec![Advice::MoreRecordings, Advice::MoreNegatives],
            "test with more takes and test with more sound without the phrase.",
        ),
    ] {
        let found = verdict(&[count(None, 1, 4)], (0, 1.0), &advice);
        assert!(found.ends_with(&format!("; {text}")), "{found}");
    }
    // A terminal acts upon no value, and a long one is cut.
    let hostile = format!("\u{1b}[31m\u{202e}{}", "x".repeat(500));
    let found = verdict(&[count(None, 1, 4)], (0, 1.0), &[group(&hostile, &hostile)]);
    assert!(!found.contains('\u{1b}') && !found.contains('\u{202e}'), "{found}");
    assert!(found.chars().count() < 400, "{found}");
}

/// Logits of a recording that is detected by a threshold of 0, or missed.
const DETECTED: i16 = 600;
const MISSED: i16 = -300;

/// Recordings with styles, and their logits in silence and in noise; hours and logits of negatives.
struct Case {
    recordings: Vec<(&'static str, i16, i16)>,
    hours: f64,
    accepts: Vec<i16>,
}

impl Case {
    fn advice(&self) -> Vec<Advice> {
        let scores = |streams| Scores { words: 1, steps_per_second: 25.0, streams };
        let stream = |peak: i16| vec![-2_000, -2_000, peak, -2_000];
        let scored = |logit: fn(&(&str, i16, i16)) -> i16| {
            let streams: Vec<_> = self.recordings.iter().map(|r| stream(logit(r))).collect();
            let spans = vec![1..3; streams.len()];
            ScoredClips::new("t".into(), scores(streams), spans)
        };
        let (clean, noisy) = (scored(|r| r.1), scored(|r| r.2));
        let other = scores(self.accepts.iter().map(|peak| stream(*peak)).collect());
        let other = ScoredStream { scores: other, pieces: Vec::new(), hours: self.hours };
        let detector = DetectorParams { smoothing_steps: 1, threshold: 0, refractory_steps: 1 };
        let keyword = |scored| ScoredKeyword {
            scored,
            other: &other.scores,
            hours: self.hours,
            index: 0,
            detector,
        };
        let recordings = self.recordings.iter().map(|(style, ..)| {
            let mut example = Example::unlabelled("a.wav");
            example.labels.insert("style".into(), (*style).into());
            example
        });
        let recordings: Vec<Example> = recordings.collect();
        let noise = crate::evaluate::Noise::of(vec![vec![1; 100]]);
        let noise = TestConditions::Noise { noise: &noise, snr_db: 10.0, seed: 1 };
        let detail = KeywordDetail {
            label: "a",
            scored_keywords: &[keyword(&clean), keyword(&noisy)],
            points: &[],
            conditions: &[TestConditions::Silence, noise],
            recordings: &recordings,
            other: &other,
            negatives: &[],
            float: None,
        };
        Verdict::new(&detail).advice
    }
}

#[test]
fn advice_follows_from_the_counts() {
    let takes = |style, count: usize, clean, noisy| vec![(style, clean, noisy); count];
    let good = || takes("plain", 30, DETECTED, DETECTED);
    let case =
        |more: Vec<_>| Case { recordings: [good(), more].concat(), hours: 6.0, accepts: vec![] };
    let far = || Advice::RecordGroup { field: "style".into(), value: "far".into() };
    // Nothing is wrong.
    assert_eq!(case(takes("far", 10, DETECTED, DETECTED)).advice(), []);
    // Far takes are missed, in silence or only in noise; two of them may be chance.
    assert_eq!(case(takes("far", 6, MISSED, MISSED)).advice(), [far()]);
    assert_eq!(case(takes("far", 6, DETECTED, MISSED)).advice(), [far()]);
    let few = [takes("far", 1, MISSED, MISSED), takes("far", 5, DETECTED, DETECTED)].concat();
    assert_eq!(case(few).advice(), []);
    // All styles are missed in noise.
    let all = [takes("plain", 6, DETECTED, MISSED), takes("far", 6, DETECTED, MISSED)].concat();
    let noisy = Case {
        recordings: [
            all,
            takes("far", 20, DETECTED, DETECTED),
            takes("plain", 20, DETECTED, DETECTED),
        ]
        .concat(),
        ..case(vec![])
    };
    assert_eq!(noisy.advice(), [Advice::TrainWithNoise]);
    // Many false wakes; four in six hours may be half of that in the long run.
    let wakes = |count| Case { accepts: vec![500; count], ..case(vec![]) };
    assert_eq!(wakes(20).advice(), [Advice::TrainWithFalseWakes]);
    assert_eq!(wakes(4).advice(), []);
    // Misses just below the threshold, and nothing else there.
    let close = || {
        [
            takes("plain", 6, -100, -100),
            takes("far", 6, -100, -100),
            takes("far", 30, DETECTED, DETECTED),
        ]
        .concat()
    };
    assert_eq!(case(close()).advice(), [Advice::SetEager]);
    let crowded = Case { accepts: vec![-100; 3], ..case(close()) };
    assert_eq!(crowded.advice(), []);
    // Most are missed, whatever the style; of three that may be chance.
    let useless = Case { recordings: takes("plain", 30, MISSED, MISSED), ..case(vec![]) };
    assert_eq!(useless.advice(), [Advice::TrainWithMore]);
    let three = Case { recordings: takes("plain", 3, MISSED, MISSED), ..case(vec![]) };
    assert_eq!(three.advice(), [Advice::MoreRecordings]);
    // Too little was measured.
    let few =
        Case { recordings: takes("plain", 5, DETECTED, DETECTED), hours: 0.2, accepts: vec![] };
    assert_eq!(few.advice(), [Advice::MoreRecordings, Advice::MoreNegatives]);
}

#[test]
fn summary_keeps_its_fields() {
    let summary = crate::evaluate::KeywordSummary {
        label: "a".into(),
        threshold_q8: -7,
        text: "It.".into(),
        verdict: Verdict {
            misses: vec![count(None, 1, 4), count(Some(10.0), 2, 4)],
            false_accepts: FalseAccepts { count: 3, hours: 1.5 },
            advice: vec![Advice::RecordGroup { field: "style".into(), value: "far".into() }],
        },
    };
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "label": "a", "threshold_q8": -7, "text": "It.",
            "misses": [
                { "snr_db": null, "missed": 1, "recordings": 4 },
                { "snr_db": 10.0, "missed": 2, "recordings": 4 },
            ],
            "false_accepts": { "count": 3, "hours": 1.5 },
            "advice": [{ "kind": "record_group", "field": "style", "value": "far" }],
        })
    );
    let again: crate::evaluate::KeywordSummary = serde_json::from_value(json).unwrap();
    assert_eq!(again.missed().map(|m| (m.missed, m.recordings)), Some((1, 4)));
    assert_eq!(again, summary);
}
