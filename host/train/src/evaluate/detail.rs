//! Details of an evaluation: latency of detections, misses per group of recordings, and the
//! recordings behind the worst errors.

use std::{collections::BTreeMap, ops::Range};

use wakeling_shared::{
    detector::{Detector, DetectorParams},
    frontend::{HOP_SAMPLES, WINDOW_SAMPLES},
    model::OperatingPoint,
};

use super::{ScoredKeyword, ScoredStream, Scores, TestConditions, detections, thresholds};
use wakeling_audio::phrase_span::phrase_in;
use wakeling_audio::{
    SAMPLE_RATE,
    features::{FrontendTables, NormalizationKind, log_mel, mel_powers},
};
use wakeling_data::dataset::Example;

/// Delay of a step in samples, because the analysis window is longer than its hop.
const STEP_DELAY: usize = WINDOW_SAMPLES - HOP_SAMPLES;
/// Samples of a clip before a false accept: 2.2 s, enough for a phrase and the sound before it.
const BEFORE_SAMPLES: usize = 35_200;
/// Samples of a clip after a false accept: 0.5 s.
const AFTER_SAMPLES: usize = 8_000;
/// Samples of a clip before and after a missed recording: 0.5 s.
const AROUND_SAMPLES: usize = 8_000;
/// Maximum length of a clip in samples: 4 s.
const LONGEST_SAMPLES: usize = 64_000;
/// Seconds after a detection in which its score may still rise.
const RISING_S: f64 = 0.4;
/// Maximum number of values of a label that form groups; with more, the values are names.
const MOST_GROUPS: usize = 12;

/// Measurements of a keyword that was played.
pub struct KeywordDetail<'a> {
    /// Label of the keyword.
    pub label: &'a str,
    /// Scores under each of the test conditions `conditions`; the first is silence.
    pub scored_keywords: &'a [ScoredKeyword<'a>],
    /// Table of operating points.
    pub points: &'a [OperatingPoint],
    /// Test conditions.
    pub conditions: &'a [TestConditions<'a>],
    /// Recordings of the keyword.
    pub recordings: &'a [Example],
    /// Negative audio.
    pub other: &'a ScoredStream,
    /// Clips of the negative audio.
    pub negatives: &'a [Example],
    /// Scores of the float network in silence, if they were measured.
    pub float: Option<ScoredKeyword<'a>>,
}

/// Recordings with the same value of a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Value of the label.
    pub value: String,
    /// Number of recordings.
    pub count: usize,
    /// Number of missed recordings.
    pub misses: usize,
}

/// Reason why a clip is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipKind {
    /// Recording of the keyword that was missed.
    Missed {
        /// Test condition, such as "in a quiet room".
        words: String,
    },
    /// Moment of the negatives, above or below the threshold.
    Negative,
}

/// Section of audio and the device's scores for it.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Name of the file.
    pub name: String,
    /// Reason why it is listed.
    pub kind: ClipKind,
    /// Highest smoothed logit (Q8).
    pub peak: i16,
    /// Details such as speaker, position and transcript.
    pub details: Vec<String>,
    /// Audio.
    pub pcm: Vec<i16>,
    /// Smoothed logit (Q8) of each step, from the start of the clip on.
    pub scores: Vec<i16>,
    /// Position of the recording in the clip, in samples; the rest is padding.
    pub recording: Range<usize>,
}

impl KeywordDetail<'_> {
    /// Returns the latency of each recording detected at `threshold` in silence, in milliseconds
    /// from the end of the phrase. The end is located by energy. A negative latency is a detection
    /// before the end.
    pub fn latencies_ms(&self, threshold: i16) -> Vec<f64> {
        let Some(scored_keyword) = self.scored_keywords.first() else { return Vec::new() };
        let tables = FrontendTables::default();
        let frontend = tables.params(NormalizationKind::Log);
        let scored = scored_keyword.scored;
        let mut latencies = Vec::new();
        for (i, step) in scored_keyword.detected_at(threshold).into_iter().enumerate() {
            let example = scored.recordings.get(i).and_then(|&r| self.recordings.get(r));
            let (Some(step), Some(example)) = (step, example) else { continue };
            let Ok(pcm) = example.load() else { continue };
            let Some(phrase) = phrase_in(&log_mel(&mel_powers(&pcm, &frontend))) else { continue };
            let step_samples = scored.scores.step_samples();
            let end = scored.spans[i].start * step_samples + phrase.end * HOP_SAMPLES + STEP_DELAY;
            let at = (step + 1) * step_samples + STEP_DELAY;
            latencies.push((at as f64 - end as f64) * 1e3 / f64::from(SAMPLE_RATE));
        }
        latencies
    }

    /// Counts misses at `threshold` in silence, as [`KeywordDetail::groups_in`].
    pub fn groups(&self, threshold: i16) -> Vec<(String, Vec<Group>)> {
        let clean = self.scored_keywords.first();
        clean.map_or_else(Vec::new, |clean| self.groups_in(clean, threshold))
    }

    /// Counts misses at `threshold` for each label with 2 to 12 values, and for each known speaker,
    /// the largest share of misses first.
    ///
    /// Speakers guessed from file names are left out, since one guess may cover several people, and
    /// so are empty values and values such as "unknown". A label whose recordings all have the same
    /// value forms no groups.
    pub fn groups_in(
        &self,
        scored_keyword: &ScoredKeyword<'_>,
        threshold: i16,
    ) -> Vec<(String, Vec<Group>)> {
        let mut fields: BTreeMap<&str, BTreeMap<&str, Group>> = BTreeMap::new();
        let detected = scored_keyword.detected_at(threshold);
        for (step, &recording) in detected.iter().zip(&scored_keyword.scored.recordings) {
            let Some(example) = self.recordings.get(recording) else { continue };
            for (field, value) in labels(example) {
                let groups = fields.entry(field).or_default();
                let group = groups.entry(value).or_insert_with(|| Group {
                    value: value.to_owned(),
                    count: 0,
                    misses: 0,
                });
                group.count += 1;
                group.misses += usize::from(step.is_none());
            }
        }
        let distinguishes =
            |field: &str, count: usize| count > 1 && (field == "speaker" || count <= MOST_GROUPS);
        let fields =
            fields.into_iter().filter(|(field, groups)| distinguishes(field, groups.len()));
        let listed = fields.map(|(field, groups)| {
            let mut groups: Vec<Group> = groups.into_values().collect();
            let share = |g: &Group| g.misses as f64 / g.count as f64;
            groups.sort_by(|a, b| {
                let by_share = share(b).total_cmp(&share(a));
                by_share.then(b.count.cmp(&a.count)).then_with(|| a.value.cmp(&b.value))
            });
            (field.to_owned(), groups)
        });
        listed.collect()
    }

    /// Returns up to `count` recordings that are missed at `threshold`, lowest scores first: in
    /// silence, then in each noise.
    pub fn worst_misses(&self, threshold: i16, count: usize) -> Vec<Clip> {
        let mut clips = Vec::new();
        for (scored_keyword, conditions) in self.scored_keywords.iter().zip(self.conditions) {
            let mut missed: Vec<(i16, usize, Vec<i16>)> = Vec::new();
            for (i, step) in scored_keyword.detected_at(threshold).into_iter().enumerate() {
                if step.is_none() {
                    let scores = smoothed(
                        &scored_keyword.scored.scores,
                        i,
                        scored_keyword.index,
                        &scored_keyword.detector,
                    );
                    let span = &scored_keyword.scored.spans[i];
                    let last = (span.end + scored_keyword.scored.scores.late_steps() + 1)
                        .min(scores.len());
                    let best = scores[span.start.min(last)..last].iter().copied().max();
                    missed.push((best.unwrap_or(i16::MIN), i, scores));
                }
            }
            missed.sort_by_key(|(best, i, _)| (*best, *i));
            for (best, i, scores) in missed.into_iter().take(count - clips.len()) {
                clips.extend(self.missed_clip(scored_keyword, conditions, i, &scores, best));
            }
        }
        clips
    }

    fn missed_clip(
        &self,
        scored_keyword: &ScoredKeyword<'_>,
        conditions: &TestConditions<'_>,
        i: usize,
        scores: &[i16],
        best: i16,
    ) -> Option<Clip> {
        let number = *scored_keyword.scored.recordings.get(i)?;
        let example = self.recordings.get(number)?;
        let placed = conditions.place(&example.load().ok()?, number);
        let within = placed.recording;
        // The clip begins at a whole step, so that scores and audio stay aligned.
        let step_samples = scored_keyword.scored.scores.step_samples();
        let from = within.start.saturating_sub(AROUND_SAMPLES) / step_samples * step_samples;
        let to = (within.end + AROUND_SAMPLES).min(placed.pcm.len()).min(from + LONGEST_SAMPLES);
        let speaker = known_speaker(example).map(|name| format!("speaker {name}"));
        let style = example.labels.get("style").filter(|style| is_known(style));
        let style = style.map(|style| format!("style {style}"));
        Some(Clip {
            name: example.path.display().to_string(),
            kind: ClipKind::Missed { words: conditions.words() },
            peak: best,
            details: speaker.into_iter().chain(style).collect(),
            scores: steps(scores, from..to, step_samples),
            recording: within.start - from..within.end.min(to) - from,
            pcm: placed.pcm[from..to].to_vec(),
        })
    }

    /// Returns the `count` highest-scoring moments of the negative audio, above or below the
    /// model's threshold.
    pub fn worst_false_accepts(&self, threshold: i16, count: usize) -> Vec<Clip> {
        let Some(scored_keyword) = self.scored_keywords.first() else { return Vec::new() };
        let lowest = thresholds(scored_keyword).last().copied().unwrap_or(threshold).min(threshold);
        let rising_steps = (RISING_S * scored_keyword.other.steps_per_second) as usize;
        let mut found: Vec<(i16, usize, usize)> = Vec::new();
        for (stream, fired) in
            detections(scored_keyword.other, scored_keyword.index, &scored_keyword.detector, lowest)
                .iter()
                .enumerate()
        {
            let scores = smoothed(
                scored_keyword.other,
                stream,
                scored_keyword.index,
                &scored_keyword.detector,
            );
            for &step in fired {
                let rising = &scores[step..(step + rising_steps).min(scores.len())];
                found.push((rising.iter().copied().max().unwrap_or(i16::MIN), stream, step));
            }
        }
        found.sort_by_key(|(peak, ..)| std::cmp::Reverse(*peak));
        let clip = |(peak, stream, step)| self.false_clip(scored_keyword, stream, step, peak);
        found.into_iter().take(count).filter_map(clip).collect()
    }

    fn false_clip(
        &self,
        scored_keyword: &ScoredKeyword<'_>,
        stream: usize,
        step: usize,
        peak: i16,
    ) -> Option<Clip> {
        let step_samples = scored_keyword.other.step_samples();
        let at = step * step_samples;
        let pieces = self.other.pieces.get(stream)?;
        let piece = pieces.iter().rev().find(|p| p.start <= at)?;
        let example = self.negatives.get(piece.recording)?;
        let within = at - piece.start;
        // The clip begins at a whole step of the stream.
        let from =
            (piece.start + within.saturating_sub(BEFORE_SAMPLES)).next_multiple_of(step_samples);
        let to = (piece.start + (within + AFTER_SAMPLES).min(piece.samples)).max(from);
        let seconds = within as f64 / f64::from(SAMPLE_RATE) + example.offset_s;
        let transcript = example.text.iter().map(|text| format!("\u{201c}{text}\u{201d}"));
        let scores =
            smoothed(scored_keyword.other, stream, scored_keyword.index, &scored_keyword.detector);
        Some(Clip {
            name: example.path.display().to_string(),
            kind: ClipKind::Negative,
            peak,
            details: std::iter::once(format!("at {seconds:.1} s")).chain(transcript).collect(),
            scores: steps(&scores, from..to, step_samples),
            recording: 0..to - from,
            pcm: example.load_samples(from - piece.start..to - piece.start).ok()?,
        })
    }
}

/// Returns the scores of the steps within a range of samples.
fn steps(scores: &[i16], samples: Range<usize>, step_samples: usize) -> Vec<i16> {
    let range = samples.start / step_samples..(samples.end / step_samples).min(scores.len());
    scores.get(range).unwrap_or_default().to_vec()
}

/// Computes the detector's smoothed logits over one stream.
fn smoothed(scores: &Scores, stream: usize, word: usize, params: &DetectorParams) -> Vec<i16> {
    let mut detector = Detector::new(*params);
    let stream = scores.streams.get(stream).map_or(&[][..], Vec::as_slice);
    scores.logits(stream, word).map(|logit| detector.step(logit).smoothed).collect()
}

/// Returns the labels of a recording that can form groups.
fn labels(example: &Example) -> impl Iterator<Item = (&str, &str)> {
    let known = [
        ("speaker", known_speaker(example)),
        ("lang", example.lang.as_deref()),
        ("source", example.source.as_deref()),
    ];
    let known = known.into_iter().filter_map(|(field, value)| Some((field, value?)));
    let all =
        known.chain(example.labels.iter().map(|(field, value)| (field.as_str(), value.as_str())));
    all.filter(|(_, value)| is_known(value))
}

/// Returns `false` for the ways in which manifests write that a value is missing.
fn is_known(value: &str) -> bool {
    const MISSING: [&str; 8] = ["", "unknown", "none", "null", "nan", "n/a", "-", "?"];
    !MISSING.contains(&value.trim().to_lowercase().as_str())
}

/// Returns the speaker, unless it was guessed from a file name.
fn known_speaker(example: &Example) -> Option<&str> {
    example.speaker.as_deref().filter(|name| !example.is_speaker_guessed && is_known(name))
}
