//! Error rates of a backbone and its heads on held-out clips.

use candle_core::{D, Tensor};

use super::{batch::Batch, train_step::Head};
use crate::Result;
use crate::trainer::Metric;
use wakeling_data::tokens::{collapse, edit_distance};
use wakeling_nn::{ops::ctc::Segment, params::Params};

/// Error counts of each task: errors and total.
#[derive(Debug, Default)]
pub struct Score {
    loss: f64,
    batches: usize,
    tokens: (usize, usize),
    words: (usize, usize),
    voice: (usize, usize),
    /// Squared errors of the teacher's standardized outputs, and their number: in quiet, in noise
    /// and in babble. An error of 1 is that of predicting the mean.
    teacher: [(f64, f64); 3],
}

impl Score {
    /// Adds the network's errors on a batch. `backbone` holds the embeddings
    /// `[streams, steps, channels]`.
    pub fn add(
        &mut self,
        params: &Params,
        backbone: &Tensor,
        batch: &Batch,
        loss: Option<&Tensor>,
    ) -> Result<()> {
        if let Some(loss) = loss {
            self.loss += f64::from(loss.to_scalar::<f32>()?);
            self.batches += 1;
        }
        add(&mut self.tokens, path_errors(params, Head::Tokens, backbone, &batch.tokens)?);
        add(&mut self.words, path_errors(params, Head::Words, backbone, &batch.words)?);
        if let (true, Some((targets, weights))) = (Head::Voice.is_in(params), &batch.voice) {
            let values = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_vec1()?) };
            let logit = values(&Head::Voice.logits(params, backbone)?)?;
            let labels = values(targets)?.into_iter().zip(values(weights)?);
            for (logit, (target, weight)) in logit.into_iter().zip(labels) {
                if weight > 0.0 {
                    add(&mut self.voice, (usize::from((logit > 0.0) != (target > 0.5)), 1));
                }
            }
        }
        Ok(())
    }

    /// Adds the errors of the teacher's outputs under background `index`.
    pub fn add_targets(
        &mut self,
        params: &Params,
        backbone: &Tensor,
        batch: &Batch,
        index: usize,
    ) -> Result<()> {
        let (true, Some((targets, weights))) = (Head::TeacherTargets.is_in(params), &batch.teacher)
        else {
            return Ok(());
        };
        let values = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_vec1()?) };
        let predicted = values(&Head::TeacherTargets.logits(params, backbone)?)?;
        let targets = values(targets)?;
        let width = targets.len() / weights.len().max(1);
        let rows = predicted.chunks_exact(width).zip(targets.chunks_exact(width));
        for ((predicted, target), _) in rows.zip(weights).filter(|(_, weight)| **weight > 0.0) {
            let errors = predicted.iter().zip(target).map(|(p, t)| f64::from(p - t).powi(2));
            self.teacher[index].0 += errors.sum::<f64>();
            self.teacher[index].1 += width as f64;
        }
        Ok(())
    }

    /// Returns the loss and the error rates of the heads that exist.
    pub fn metrics(&self, params: &Params) -> Vec<Metric> {
        let mut metrics = vec![Metric::mean("dev_loss", self.loss, self.batches as f64)];
        let heads = [
            (Head::Tokens, "token_error_rate", self.tokens),
            (Head::Words, "word_error_rate", self.words),
            (Head::Voice, "voice_error_rate", self.voice),
        ];
        let present = heads.into_iter().filter(|(head, ..)| head.is_in(params));
        metrics.extend(present.map(|(_, name, (errors, of))| Metric::errors(name, errors, of)));
        let names = ["teacher_error", "teacher_error_noise", "teacher_error_babble"];
        let known = names.into_iter().zip(self.teacher).filter(|(_, (_, of))| *of > 0.0);
        metrics.extend(known.map(|(name, (sum, of))| Metric::mean(name, sum, of)));
        metrics
    }
}

fn add(sum: &mut (usize, usize), (errors, of): (usize, usize)) {
    sum.0 += errors;
    sum.1 += of;
}

/// Returns the edit distance between best-path decodings and labels, and the number of labels.
fn path_errors(
    params: &Params,
    head: Head,
    backbone: &Tensor,
    segments: &[Segment],
) -> Result<(usize, usize)> {
    if segments.is_empty() || !head.is_in(params) {
        return Ok((0, 0));
    }
    let best: Vec<Vec<u32>> = head.logits(params, backbone)?.argmax(D::Minus1)?.to_vec2()?;
    let mut errors = 0;
    for segment in segments {
        let path = &best[segment.row][segment.start..segment.end];
        errors += edit_distance(&collapse(path), &segment.labels);
    }
    Ok((errors, segments.iter().map(|s| s.labels.len()).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn every_task_is_counted_where_it_has_labels() -> Result<()> {
        let mut params = Params::default();
        // The backbone's three channels are the logits of the tokens; the last one also signals
        // voice.
        let identity = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        params.insert("ctc.weight", &[3, 3], identity)?;
        params.insert("ctc.bias", &[3], vec![0.0; 3])?;
        params.insert("voice.weight", &[3, 1], vec![0.0, 0.0, 1.0])?;
        params.insert("voice.bias", &[1], vec![-0.5])?;
        let one_hot = [0u32, 1, 1, 0, 2, 2].map(|c| [0, 1, 2].map(|k| f32::from(u8::from(k == c))));
        let backbone = Tensor::from_vec(one_hot.concat(), (1, 6, 3), &Device::Cpu)?;
        let of = |values: [f32; 6]| Tensor::from_vec(values.to_vec(), (1, 6, 1), &Device::Cpu);
        let batch = Batch {
            features: backbone.clone(),
            tokens: vec![Segment { row: 0, start: 0, end: 6, labels: vec![1, 1, 2] }],
            words: vec![Segment { row: 0, start: 0, end: 6, labels: vec![1] }],
            teacher: None,
            voice: Some((of([0.0, 1.0, 0.0, 0.0, 1.0, 1.0])?, of([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])?)),
        };
        let mut score = Score::default();
        score.add(&params, &backbone, &batch, Some(&Tensor::new(3.0f32, &Device::Cpu)?))?;
        let metrics = score.metrics(&params);
        assert_eq!(
            metrics,
            [
                Metric::mean("dev_loss", 3.0, 1.0),
                Metric::errors("token_error_rate", 1, 3),
                Metric::errors("voice_error_rate", 1, 5),
            ]
        );
        Ok(())
    }
}
