//! Test of the way from recordings to a working model, on data from the repository: a shipped
//! pretrained model, one pack of negative speech, and the demo's synthetic voices.

use std::{ops::Range, path::Path};

use wakeling::{
    Result, artifact,
    compose::Row,
    corpus::{Corpus, Example},
    evaluate::{Heard, Played, Point, Scores, Surroundings, float_scores, head_scores, play_clips},
    features::{LogMel, load_log_mel},
    finetune::{Prepared, Settings, finetune},
    models,
    negatives::{Negatives, trunk_outputs},
    pack,
    quantize::{CardText, QuantizedTrunk, with_model},
    tuned::Tuned,
};
use wakeling_shared::artifact::Model;

const LABEL: &str = "hey wakeling";

fn demo(folder: &str) -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(folder);
    Corpus::open(path).expect("the demo's samples are in the repository").examples
}

fn packed(number: u32) -> Result<Negatives> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/negatives");
    pack::read(&folder.join(format!("{number}.pack")))
}

#[test]
fn twenty_voices_make_a_model_that_hears_twelve_others() -> Result<()> {
    let base = models::base(models::DEFAULT_BASE)?;
    let trunk = QuantizedTrunk::of(&base)?;
    let frontend = base.tables.params(base.info.normalization);
    let load = |folder| -> Vec<LogMel> {
        load_log_mel(&demo(folder), &frontend, "demo").into_iter().flatten().collect()
    };
    let negatives = packed(1)?;
    let settings = Settings {
        steps: 200,
        positive_rows: 200,
        negative_hours: 0.0,
        workers: 2,
        ..Settings::default()
    };
    let prepared = Prepared::new(&base, &trunk, &negatives, &settings)?;
    let tuned = finetune(
        &base,
        &trunk,
        &negatives,
        &prepared,
        LABEL,
        load("train").as_slice().into(),
        &settings,
    )?;

    let rate = base.info.trunk.steps_per_second();
    let (positives, spans) = Surroundings::Silence.rows(&demo("test"), &frontend, rate);
    let other = Negatives { noise: Vec::new(), ..packed(2)? }.streams(3).rows;
    let entry = [tuned.entry(&trunk)?];
    let int8 = |rows: &[Row]| -> Result<Scores> {
        head_scores(&base, &trunk, &entry, &trunk_outputs(&base, &trunk, rows)?)
    };
    let float = |rows: &[Row]| float_scores(&base, &tuned, rows);
    let int8 = at_five_an_hour(&tuned, &int8(&positives)?, &spans, &int8(&other)?);
    let float = at_five_an_hour(&tuned, &float(&positives)?, &spans, &float(&other)?);
    eprintln!("int8 {int8:?}, float {float:?}, of {}", spans.len());
    assert!(int8.misses <= 6, "{} of {} missed: {int8:?}", int8.misses, spans.len());
    assert!(int8.misses.abs_diff(float.misses) <= 1, "int8 {int8:?}, float {float:?}");
    the_artifact_hears_the_same(&base, &trunk, &tuned)
}

fn at_five_an_hour(
    tuned: &Tuned,
    positives: &Scores,
    spans: &[Range<usize>],
    other: &Scores,
) -> Point {
    let detector = tuned.info.detector;
    let played = Played::new("clean".into(), positives.clone(), spans.to_vec());
    let hours = other.hours();
    let heard = Heard { played: &played, other, hours, index: 0, detector };
    let allowed = (5.0 * hours) as usize;
    let (threshold, _) = wakeling::evaluate::threshold_for(other, 0, &detector, allowed);
    heard.at(threshold)
}

/// After writing and reading, and on audio through the whole pipeline, the model gives the scores
/// that the trainer computed from cached features, except for the rounding of the cache.
fn the_artifact_hears_the_same(
    base: &wakeling::base::Base,
    trunk: &QuantizedTrunk,
    tuned: &Tuned,
) -> Result<()> {
    let entry = [tuned.entry(trunk)?];
    let bytes = with_model(base, trunk, &entry, &CardText::default(), artifact::encode)?;
    let model = Model::load(&bytes).expect("what quantize makes, a device loads");
    assert_eq!(model.words[0].label, LABEL);
    let examples = demo("test");
    let played = play_clips(&model, &examples, Surroundings::Silence)?.scores;
    let frontend = base.tables.params(base.info.normalization);
    let rate = base.info.trunk.steps_per_second();
    let (rows, _) = Surroundings::Silence.rows(&examples, &frontend, rate);
    let cached = head_scores(base, trunk, &entry, &trunk_outputs(base, trunk, &rows)?)?;
    let best = |scores: &Scores| -> Vec<i32> {
        scores.streams.iter().map(|s| i32::from(s.iter().copied().max().unwrap_or(0))).collect()
    };
    let differences: Vec<i32> =
        best(&played).iter().zip(best(&cached)).map(|(a, b)| (a - b).abs()).collect();
    let mean = differences.iter().sum::<i32>() / differences.len() as i32;
    // Half a logit unit in Q8, on average.
    assert!(mean < 128, "the best logits differ by {differences:?}");
    Ok(())
}
