//! Verdict on a keyword: one sentence in plain words, made from the counts.

mod wording;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    KeywordDetail, ScoredKeyword, TestConditions, clipped, interval, poisson_interval,
    significance::{got_worse, more_missed},
};
use wakeling_data::text::quoted;
use wakeling_device::sensitivity::{FalseAccepts, Preset};

/// Probability of chance below which a difference counts.
const SIGNIFICANT: f64 = 0.05;
/// Number of recordings below which more are advised.
const ENOUGH_RECORDINGS: usize = 20;
/// Share of misses in silence from which on more takes are advised, if the lower end of its interval
/// is above it.
const MOST_MISSED: f64 = 1.0 / 3.0;
/// Smallest increase of the share of misses for which training with noise is advised.
const NOISE_MATTERS: f64 = 0.1;
/// Lowest signal-to-noise ratio in dB for which it is advised: below it the noise is louder than the
/// voice.
const LOWEST_SNR_DB: f32 = 0.0;
/// Rate of false accepts per hour above which training with them is advised, if the lower end of
/// its interval is above it.
const MANY_PER_HOUR: f64 = 0.5;
/// Rate of false accepts per hour that a higher sensitivity may have, as the upper end of its
/// interval.
const MOST_PER_HOUR: f64 = 2.0;
/// Number of test conditions with noise that the sentence lists; of more, the mildest and the
/// loudest.
const LISTED_CONDITIONS: usize = 2;
/// Maximum number of characters of a value that the sentence contains.
const LONGEST_VALUE: usize = 40;

/// Misses under one test condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissCount {
    /// Signal-to-noise ratio in dB; `None` in silence.
    pub snr_db: Option<f32>,
    /// Number of missed recordings.
    pub missed: usize,
    /// Number of recordings.
    pub recordings: usize,
}

/// Advice that follows from the counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Advice {
    /// Recordings with this value of a label are missed more than the others.
    RecordGroup {
        /// Label, such as "style" or "speaker".
        field: String,
        /// Value of the label.
        value: String,
    },
    /// A third of the recordings or more is missed in silence.
    TrainWithMore,
    /// Far more is missed in noise than in silence.
    TrainWithNoise,
    /// There are more than 0.5 false accepts per hour.
    TrainWithFalseWakes,
    /// A lower threshold detects more and has no more false accepts.
    SetEager,
    /// There are too few recordings.
    MoreRecordings,
    /// There are too few negatives for a rate.
    MoreNegatives,
}

/// Verdict on a keyword, at the model's own threshold.
///
/// Its text states no more than the counts support: a number for a narrow 95 % interval, the ends
/// of a wide one, and the counts alone for fewer than ten recordings or less than half an hour of
/// negatives.
///
/// ```
/// use wakeling_train::evaluate::{Advice, FalseAccepts, MissCount, Verdict};
///
/// let misses = |snr_db, missed| MissCount { snr_db, missed, recordings: 400 };
/// let verdict = Verdict {
///     misses: vec![misses(None, 10), misses(Some(10.0), 50)],
///     false_accepts: FalseAccepts { count: 12, hours: 24.0 },
///     advice: vec![Advice::RecordGroup { field: "style".into(), value: "far".into() }],
/// };
/// assert_eq!(
///     verdict.to_string(),
///     "In a quiet room it misses about 1 in 40; in noise about 1 in 8; expect a false wake about \
///      every two hours; record more takes from across the room."
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Misses under each test condition.
    pub misses: Vec<MissCount>,
    /// False accepts in the negatives.
    pub false_accepts: FalseAccepts,
    /// Advice, the most useful first; empty if the counts support none.
    pub advice: Vec<Advice>,
}

impl Verdict {
    /// Composes the verdict on a keyword.
    pub fn new(keyword: &KeywordDetail<'_>) -> Self {
        let Some(clean) = keyword.scored_keywords.first() else { return Self::default() };
        let own = clean.detector.threshold;
        let conditions = keyword.scored_keywords.iter().zip(keyword.conditions);
        let misses = conditions.map(|(scored, conditions)| MissCount {
            snr_db: conditions.snr_db(),
            missed: scored.missed(own),
            recordings: scored.count(),
        });
        let false_accepts = clean.false_accepts(&clean.at(own));
        let mut verdict = Self { misses: misses.collect(), false_accepts, advice: Vec::new() };
        verdict.advice = advice(keyword, &verdict);
        verdict
    }

    /// Returns the sentence without the advice.
    pub fn counts(&self) -> String {
        let mut clauses = Vec::new();
        let (noisy, quiet): (Vec<&MissCount>, Vec<_>) =
            self.misses.iter().partition(|count| count.snr_db.is_some());
        let quiet = quiet.first().filter(|count| count.recordings > 0);
        if let Some(MissCount { missed, recordings, .. }) = quiet {
            let text = wording::misses(*missed, *recordings);
            clauses.push(if *recordings < wording::FEWEST_RECORDINGS {
                format!("in a quiet room it missed {text}, too few recordings to estimate a share")
            } else {
                // The result of a test is past; what it shows holds on.
                let verb = if *missed == 0 || missed == recordings { "missed" } else { "misses" };
                format!("in a quiet room it {verb} {text}")
            });
        }
        clauses.extend(in_noise(&noisy));
        clauses.push(wording::false_wakes(&self.false_accepts));
        clauses.join("; ")
    }
}

/// Formats the misses in noise, loudest last.
fn in_noise(counts: &[&MissCount]) -> Option<String> {
    let mut counts: Vec<&MissCount> = counts.iter().copied().filter(|c| c.recordings > 0).collect();
    counts.sort_by(|a, b| b.snr_db.partial_cmp(&a.snr_db).unwrap_or(std::cmp::Ordering::Equal));
    if let [only] = counts[..] {
        return Some(format!("in noise {}", wording::misses(only.missed, only.recordings)));
    }
    if counts.len() > LISTED_CONDITIONS {
        counts = vec![counts[0], counts[counts.len() - 1]];
    }
    let listed = counts.iter().map(|count| {
        let snr_db = count.snr_db.unwrap_or_default();
        format!("at {snr_db} dB {}", wording::misses(count.missed, count.recordings))
    });
    let listed: Vec<String> = listed.collect();
    (!listed.is_empty()).then(|| format!("in noise {}", listed.join(", ")))
}

/// Formats the sentence, which begins with a capital letter and ends with a full stop.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let mut letters = counts.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        write!(f, "{first}{}", letters.as_str())?;
        for (i, advice) in self.advice.iter().enumerate() {
            f.write_str(if i == 0 { "; " } else { " and " })?;
            advice.fmt(f)?;
        }
        f.write_str(".")
    }
}

/// Formats the advice as a clause in the imperative.
impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordGroup { field, value } => match (field.as_str(), style(value)) {
                ("style", Some(words)) => write!(f, "record more takes {words}"),
                ("speaker", _) => write!(f, "record more takes of speaker {}", shown(value)),
                _ => write!(f, "record more takes with {} {}", plain(field), shown(value)),
            },
            Self::TrainWithMore => f.write_str("train with more takes, of more people"),
            Self::TrainWithNoise => f.write_str("train with noise of this kind"),
            Self::TrainWithFalseWakes => f.write_str("train with the false wakes"),
            Self::SetEager => f.write_str("set the sensitivity to eager"),
            Self::MoreRecordings => f.write_str("test with more takes"),
            Self::MoreNegatives => f.write_str("test with more sound without the phrase"),
        }
    }
}

/// Returns words for a style of speech in which the recorder asks for takes.
fn style(value: &str) -> Option<&'static str> {
    Some(match value {
        "plain" => "spoken as every day",
        "near" => "from close to the microphone",
        "far" => "from across the room",
        "fast" => "spoken fast",
        "slow" => "spoken slowly",
        "soft" => "spoken softly",
        "loud" => "spoken loudly",
        "away" => "with your back to the microphone",
        "other" => "of other people",
        _ => return None,
    })
}

/// Quotes a value of at most 40 characters, with escapes for what a terminal would act upon.
fn shown(value: &str) -> String {
    let mut short = clipped(value, LONGEST_VALUE);
    short.retain(|c| !c.is_control());
    quoted(&short).to_string()
}

/// Returns the letters and digits of a name of a label, at most 40.
fn plain(field: &str) -> String {
    let is_plain = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    field.chars().filter(is_plain).take(LONGEST_VALUE).collect()
}

/// Returns what would help: at most one change of the model, and what the measurement lacks.
fn advice(keyword: &KeywordDetail<'_>, verdict: &Verdict) -> Vec<Advice> {
    let accepts = verdict.false_accepts;
    let recordings = verdict.misses.first().map_or(0, |count| count.recordings);
    let has_many =
        accepts.is_rate() && poisson_interval(accepts.count).0 > MANY_PER_HOUR * accepts.hours;
    let misses_most = verdict.misses.first().is_some_and(|count| {
        count.snr_db.is_none() && interval(count.missed, count.recordings).0 > MOST_MISSED
    });
    let change = missed_group(keyword)
        .or_else(|| is_worse_in_noise(keyword).then_some(Advice::TrainWithNoise))
        .or_else(|| has_many.then_some(Advice::TrainWithFalseWakes))
        .or_else(|| gains_by_eager(keyword, &accepts).then_some(Advice::SetEager))
        .or_else(|| misses_most.then_some(Advice::TrainWithMore));
    let lacks_recordings = (recordings < ENOUGH_RECORDINGS && !verdict.misses.is_empty())
        .then_some(Advice::MoreRecordings);
    let lacks_negatives = (!accepts.is_rate()).then_some(Advice::MoreNegatives);
    change.into_iter().chain(lacks_recordings).chain(lacks_negatives).collect()
}

/// Returns the group that is missed more than the others by more than chance, allowing for the
/// number of groups that are compared. Silence is considered first, then each noise.
fn missed_group(keyword: &KeywordDetail<'_>) -> Option<Advice> {
    let fields: Vec<_> = keyword
        .scored_keywords
        .iter()
        .map(|scored| keyword.groups_in(scored, scored.detector.threshold))
        .collect();
    let compared: usize = fields.iter().flatten().map(|(_, groups)| groups.len()).sum();
    for fields in &fields {
        let mut best: Option<(f64, Advice)> = None;
        for (field, groups) in fields {
            let all = groups.iter().fold((0, 0), |all, g| (all.0 + g.misses, all.1 + g.count));
            for group in groups {
                let p = more_missed((group.misses, group.count), all) * compared as f64;
                if p < SIGNIFICANT && best.as_ref().is_none_or(|(least, _)| p < *least) {
                    let (field, value) = (field.clone(), group.value.clone());
                    best = Some((p, Advice::RecordGroup { field, value }));
                }
            }
        }
        if let Some((_, advice)) = best {
            return Some(advice);
        }
    }
    None
}

/// Compares each noise with silence, recording by recording.
fn is_worse_in_noise(keyword: &KeywordDetail<'_>) -> bool {
    let Some(clean) = keyword.scored_keywords.first() else { return false };
    let all = keyword.scored_keywords.iter().zip(keyword.conditions);
    let is_moderate = |c: &TestConditions<'_>| c.snr_db().is_some_and(|db| db >= LOWEST_SNR_DB);
    let noisy: Vec<_> = all.filter(|(_, c)| is_moderate(c)).map(|(scored, _)| scored).collect();
    noisy.iter().any(|scored| {
        let (worse, better) = changes(clean, scored, clean.detector.threshold);
        let increase = (worse as f64 - better as f64) / clean.count().max(1) as f64;
        got_worse(worse, better) * noisy.len() as f64 <= SIGNIFICANT && increase >= NOISE_MATTERS
    })
}

/// Returns the number of recordings that are detected under the first condition and missed under
/// the second, and of those for which it is the other way round.
fn changes(a: &ScoredKeyword<'_>, b: &ScoredKeyword<'_>, threshold: i16) -> (usize, usize) {
    let missed = |scored: &ScoredKeyword<'_>| -> std::collections::BTreeMap<usize, bool> {
        let steps = scored.detected_at(threshold);
        let missed = steps.iter().map(Option::is_none);
        scored.scored.recordings.iter().copied().zip(missed).collect()
    };
    let (a, b) = (missed(a), missed(b));
    let pairs =
        a.iter().filter_map(|(recording, is_missed)| Some((*is_missed, *b.get(recording)?)));
    pairs.fold((0, 0), |(worse, better), pair| match pair {
        (false, true) => (worse + 1, better),
        (true, false) => (worse, better + 1),
        _ => (worse, better),
    })
}

/// Compares the preset `eager` with the model's own threshold.
fn gains_by_eager(keyword: &KeywordDetail<'_>, accepts: &FalseAccepts) -> bool {
    let Some(clean) = keyword.scored_keywords.first() else { return false };
    let own = clean.detector.threshold;
    let eager = Preset::Eager.threshold(keyword.points, own);
    let gained = clean.missed(own).saturating_sub(clean.missed(eager));
    accepts.is_rate()
        && got_worse(gained, 0) < SIGNIFICANT
        && clean.at(eager).false_accepts <= accepts.count
        && poisson_interval(accepts.count).1 < MOST_PER_HOUR * accepts.hours
}

impl TestConditions<'_> {
    /// Returns the signal-to-noise ratio in dB; `None` in silence.
    pub fn snr_db(&self) -> Option<f32> {
        match self {
            Self::Silence => None,
            Self::Noise { snr_db, .. } => Some(*snr_db),
        }
    }

    /// Returns the name in a sentence: "in a quiet room", "in noise at 10 dB".
    pub fn words(&self) -> String {
        match self.snr_db() {
            None => "in a quiet room".into(),
            Some(snr_db) => format!("in noise at {snr_db} dB"),
        }
    }
}

#[cfg(test)]
mod tests;
