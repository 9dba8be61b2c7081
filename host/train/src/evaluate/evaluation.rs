//! Evaluation of a model's keywords: recordings under each test condition, and negatives.

use wakeling_shared::model::Model;

use super::{
    KeywordDetail, KeywordSummary, Provenance, ScoredClips, ScoredKeyword, ScoredStream, Scores,
    Summary, TestConditions, Verdict, page, score_clips, score_float, score_stream,
};
use crate::Result;
use crate::head_checkpoint::HeadCheckpoint;
use wakeling_core::progress::Progress;
use wakeling_data::{
    dataset::Example,
    text::{name_key, quoted},
};
use wakeling_nn::pretrained::PretrainedModel;

/// Scores of a model's keywords and of negatives.
pub struct Evaluation<'a> {
    model: &'a Model<'a>,
    conditions: &'a [TestConditions<'a>],
    keywords: Vec<EvaluatedKeyword>,
    negatives: Vec<Example>,
    other: ScoredStream,
}

/// Recordings of a keyword and their scores.
struct EvaluatedKeyword {
    label: String,
    /// Index in the model.
    index: usize,
    recordings: Vec<Example>,
    /// Scores under each test condition.
    scored: Vec<ScoredClips>,
    /// Scores of the float network in silence, and of the negatives.
    float: Option<(ScoredClips, Scores)>,
}

/// Returns the index of a keyword in a model. Names are compared in NFC, since old models may hold
/// decomposed ones.
pub fn keyword_index(model: &Model<'_>, label: &str) -> Option<usize> {
    model.words.iter().position(|word| name_key(word.label) == name_key(label))
}

impl<'a> Evaluation<'a> {
    /// Creates an evaluation without keywords. The first test condition is silence.
    pub fn new(model: &'a Model<'a>, conditions: &'a [TestConditions<'a>]) -> Self {
        let scores =
            Scores { words: model.words.len(), steps_per_second: 1.0, streams: Vec::new() };
        let other = ScoredStream { scores, pieces: Vec::new(), hours: 0.0 };
        Self { model, conditions, keywords: Vec::new(), negatives: Vec::new(), other }
    }

    /// Plays recordings of the model's keyword `index` under each test condition. Returns `false`
    /// if none can be read.
    ///
    /// # Errors
    /// As [`score_clips`].
    pub fn add_keyword(
        &mut self,
        (label, index): (&str, usize),
        recordings: Vec<Example>,
        progress: &dyn Progress,
    ) -> Result<bool> {
        let scored = self
            .conditions
            .iter()
            .map(|conditions| score_clips(self.model, &recordings, *conditions, progress))
            .collect::<Result<Vec<_>>>()?;
        let is_any = scored.iter().any(|scored| !scored.spans.is_empty());
        let label = label.to_owned();
        self.keywords.push(EvaluatedKeyword { label, index, recordings, scored, float: None });
        Ok(is_any)
    }

    /// Plays negatives as one long stream. Returns `false` if none can be read.
    ///
    /// # Errors
    /// As [`score_stream`].
    pub fn add_negatives(
        &mut self,
        negatives: Vec<Example>,
        progress: &dyn Progress,
    ) -> Result<bool> {
        self.other = score_stream(self.model, &negatives, progress)?;
        self.negatives = negatives;
        Ok(!self.other.pieces.is_empty())
    }

    /// Plays the recordings in silence and the negatives to the float networks of `heads`, for
    /// comparison. Keywords without a head are left out.
    ///
    /// # Errors
    /// As [`score_float`].
    pub fn add_float(
        &mut self,
        pretrained: &PretrainedModel,
        heads: &[HeadCheckpoint],
    ) -> Result<()> {
        for keyword in &mut self.keywords {
            let is_it = |h: &&HeadCheckpoint| name_key(&h.info.label) == name_key(&keyword.label);
            if let Some(head) = heads.iter().find(is_it) {
                let (recordings, other) = (&keyword.recordings, &self.other);
                let scored = score_float(pretrained, head, recordings, other, &self.negatives)?;
                keyword.float = Some(scored);
            }
        }
        Ok(())
    }

    /// Returns the scores of each keyword under each test condition.
    pub fn scored(&self) -> Vec<Vec<ScoredKeyword<'_>>> {
        self.keywords.iter().map(|keyword| self.scored_keyword(keyword)).collect()
    }

    fn scored_keyword<'s>(&'s self, keyword: &'s EvaluatedKeyword) -> Vec<ScoredKeyword<'s>> {
        let ScoredStream { scores, hours, .. } = &self.other;
        let (index, detector) = (keyword.index, self.model.words[keyword.index].detector);
        let under =
            |scored| ScoredKeyword { scored, other: scores, hours: *hours, index, detector };
        keyword.scored.iter().map(under).collect()
    }

    /// Returns the details of each keyword; `scored` is the result of [`Evaluation::scored`].
    pub fn details<'s>(&'s self, scored: &'s [Vec<ScoredKeyword<'s>>]) -> Vec<KeywordDetail<'s>> {
        let detail = |(keyword, scored): (&'s EvaluatedKeyword, &'s Vec<ScoredKeyword<'s>>)| {
            let float = keyword.float.as_ref().zip(scored.first());
            KeywordDetail {
                label: &keyword.label,
                scored_keywords: scored,
                points: &self.model.words[keyword.index].points,
                conditions: self.conditions,
                recordings: &keyword.recordings,
                other: &self.other,
                negatives: &self.negatives,
                float: float.map(|((scored, other), clean)| ScoredKeyword {
                    scored,
                    other,
                    index: 0,
                    ..*clean
                }),
            }
        };
        self.keywords.iter().zip(scored).map(detail).collect()
    }

    /// Returns the verdict on each keyword, in order.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.details(&self.scored()).iter().map(Verdict::new).collect()
    }

    /// Returns the verdict in plain words: one sentence, or one for each keyword, with its name.
    pub fn verdict(&self) -> String {
        verdict_text(&self.labelled_verdicts())
    }

    fn labelled_verdicts(&self) -> Vec<(&str, Verdict)> {
        let labels = self.keywords.iter().map(|keyword| keyword.label.as_str());
        labels.zip(self.verdicts()).collect()
    }

    /// Summarizes the results at the model's own thresholds.
    pub fn summary(&self, provenance: &Provenance) -> Summary {
        let verdicts = self.labelled_verdicts();
        let verdict = verdict_text(&verdicts);
        let keywords =
            self.keywords.iter().zip(verdicts).map(|(keyword, (_, verdict))| KeywordSummary {
                label: keyword.label.clone(),
                threshold_q8: self.model.words[keyword.index].detector.threshold,
                text: verdict.to_string(),
                verdict,
            });
        Summary {
            version: env!("CARGO_PKG_VERSION").into(),
            made_at: provenance.made_at,
            model: provenance.model.clone(),
            verdict,
            keywords: keywords.collect(),
        }
    }

    /// Builds the page of the report.
    pub fn page(&self, provenance: &Provenance) -> String {
        page(provenance, &self.details(&self.scored()))
    }
}

/// Joins the verdicts; each of several begins with its keyword.
fn verdict_text(verdicts: &[(&str, Verdict)]) -> String {
    if let [(_, verdict)] = verdicts {
        return verdict.to_string();
    }
    let named = |(label, verdict): &(&str, Verdict)| format!("{}: {verdict}", quoted(label));
    verdicts.iter().map(named).collect::<Vec<_>>().join(" ")
}
