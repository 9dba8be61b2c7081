//! Test of the way from recordings to a working model, on data from the repository: a shipped
//! pretrained model, one pack of negative speech, and the demo's synthetic voices.

use std::{ops::Range, path::Path};

use wakeling_audio::features::LogMel;
use wakeling_core::progress::NoProgress;
use wakeling_data::clip_features::load_log_mel;
use wakeling_data::{
    dataset::{Dataset, Example},
    mixing::MelStream,
    negatives::Negatives,
    pack,
};
use wakeling_shared::model::Model;
use wakeling_train::embeddings::embed_streams;
use wakeling_train::{
    Result,
    evaluate::{
        Point, ScoredClips, ScoredKeyword, Scores, TestConditions, float_scores, head_scores,
        score_clips,
    },
    finetune::{KeywordClips, NegativeBank, Settings, TrainSettings, progress::Stages, train_head},
    head_checkpoint::HeadCheckpoint,
    models,
    quantize::{Backbone, CardText, QuantizedModel},
};

const LABEL: &str = "hey wakeling";

fn demo(folder: &str) -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(folder);
    Dataset::open(path).expect("the demo's samples are in the repository").examples
}

fn packed(number: u32) -> Result<Negatives> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/negatives");
    Ok(pack::read(&folder.join(format!("{number}.pack")))?)
}

#[test]
fn twenty_voices_give_a_model_that_detects_twelve_others() -> Result<()> {
    let backbone = models::backbone(models::DEFAULT_PRETRAINED)?;
    let frontend = backbone.frontend();
    let load = |folder| -> Vec<LogMel> {
        load_log_mel(&demo(folder), &frontend, "demo").into_iter().flatten().collect()
    };
    let negatives = packed(1)?;
    let train = TrainSettings {
        steps: 200,
        positive_streams: 200,
        negative_hours: 0.0,
        workers: 2,
        ..TrainSettings::default()
    };
    let settings = Settings { train, ..Settings::default() };
    let stages = Stages::silent();
    let bank = NegativeBank::new(&backbone, &negatives, &settings.train, &stages)?;
    let recordings = load("train");
    let keyword = KeywordClips::new(LABEL, &recordings);
    let head = train_head(&backbone, &negatives, &bank, keyword, &settings, &stages)?;

    let rate = backbone.steps_per_second();
    let (positives, spans) = TestConditions::Silence.streams(&demo("test"), &frontend, rate);
    let other = Negatives { noise: Vec::new(), ..packed(2)? }.streams(3).streams;
    let entry = [head.entry(&backbone)?];
    let int8 = |streams: &[MelStream]| -> Result<Scores> {
        head_scores(&backbone, &entry, &embed_streams(&backbone, streams)?)
    };
    let float = |streams: &[MelStream]| float_scores(&backbone.pretrained, &head, streams);
    let int8 = at_five_an_hour(&head, &int8(&positives)?, &spans, &int8(&other)?);
    let float = at_five_an_hour(&head, &float(&positives)?, &spans, &float(&other)?);
    eprintln!("int8 {int8:?}, float {float:?}, of {}", spans.len());
    assert!(int8.misses <= 6, "{} of {} missed: {int8:?}", int8.misses, spans.len());
    assert!(int8.misses.abs_diff(float.misses) <= 1, "int8 {int8:?}, float {float:?}");
    model_file_detects_the_same(&backbone, &head)
}

fn at_five_an_hour(
    head: &HeadCheckpoint,
    positives: &Scores,
    spans: &[Range<usize>],
    other: &Scores,
) -> Point {
    let detector = head.info.detector;
    let scored = ScoredClips::new("clean".into(), positives.clone(), spans.to_vec());
    let hours = other.hours();
    let keyword = ScoredKeyword { scored: &scored, other, hours, index: 0, detector };
    let allowed = (5.0 * hours) as usize;
    let (threshold, _) = wakeling_train::evaluate::threshold_for(other, 0, &detector, allowed);
    keyword.at(threshold)
}

/// After writing and reading, and on audio through the whole pipeline, the model gives the scores
/// that the trainer computed from cached features, except for the rounding of the cache.
fn model_file_detects_the_same(backbone: &Backbone, head: &HeadCheckpoint) -> Result<()> {
    let entry = [head.entry(backbone)?];
    let bytes = QuantizedModel::new(backbone, entry.to_vec(), CardText::default())?.bytes()?;
    let model = Model::load(&bytes).expect("what quantize makes, a device loads");
    assert_eq!(model.words[0].label, LABEL);
    let examples = demo("test");
    let scored = score_clips(&model, &examples, TestConditions::Silence, &NoProgress)?.scores;
    let (frontend, rate) = (backbone.frontend(), backbone.steps_per_second());
    let (streams, _) = TestConditions::Silence.streams(&examples, &frontend, rate);
    let cached = head_scores(backbone, &entry, &embed_streams(backbone, &streams)?)?;
    let best = |scores: &Scores| -> Vec<i32> {
        scores.streams.iter().map(|s| i32::from(s.iter().copied().max().unwrap_or(0))).collect()
    };
    let differences: Vec<i32> =
        best(&scored).iter().zip(best(&cached)).map(|(a, b)| (a - b).abs()).collect();
    let mean = differences.iter().sum::<i32>() / differences.len() as i32;
    // Half a logit unit in Q8, on average.
    assert!(mean < 128, "the best logits differ by {differences:?}");
    Ok(())
}
