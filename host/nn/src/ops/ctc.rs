//! Connectionist temporal classification over stretches of rows, fused with the log-softmax.
//!
//! `loss = 1/n · Σ_segments -ln p(labels | logits[row, start..end]) / max(1, labels)`, where `p`
//! sums over every path that reads `labels` once repeats are merged and blanks (class 0) dropped
//! (Graves et al. 2006, section 4). Several segments may share a row of a long stream.
//! Gradient of a segment: `softmax[t, v] - occupancy[t, v]`, the posterior of emitting `v` at `t`.
//! Shapes: `logits [B, T, V]`, loss scalar.
//!
//! This is a custom operation because candle has no CTC, and candle's log-softmax alone costs more
//! than this whole operation. The recursions run in the log domain in f32. Each step is shifted to
//! maximum 0, and the sum of the shifts is kept in f64. Neither long segments nor confident
//! networks therefore lose precision. Occupancies are normalized per step and need no shifts.

use candle_core::{Result, Tensor, bail};

use super::{
    Reader,
    math::{add_scaled, exp, exp_shifted, ln, max},
    stored_gradient::scalar_loss,
};
use wakeling_core::simd;

/// Log-probability of an impossible state. It is finite, so differences do not become NaN.
const NEVER: f32 = -1e30;
/// Class of the blank, which represents no label.
const BLANK: u32 = 0;

/// Stretch of one row and the labels that were spoken in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Row of the batch.
    pub row: usize,
    /// First step.
    pub start: usize,
    /// One past the last step.
    pub end: usize,
    /// Classes in order, each in `1..V`; empty if nothing was spoken.
    pub labels: Vec<u32>,
}

/// Loss, and the number of segments that contributed to it.
#[derive(Debug)]
pub struct CtcLoss {
    /// Scalar, in nats per label; a constant 0 if no segment was feasible.
    pub loss: Tensor,
    /// Number of segments in the mean.
    pub used: usize,
    /// Number of segments that were left out, because they have fewer steps than labels plus the
    /// blanks that repeats need.
    pub infeasible: usize,
}

/// Computes the mean over segments of
/// `-ln p(labels | logits[row, start..end]) / max(1, labels.len())`.
///
/// `logits [B, T, V]` are unnormalized; class 0 is the blank. Segments may overlap. Infeasible ones
/// are left out of the mean and counted. Without a need for gradients only the forward recursion
/// runs.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wakeling_nn::ops::ctc::{Segment, ctc_loss};
///
/// // Three steps of a network that is sure of the path: 1, blank, 2.
/// let logits = [[[0f32, 20.0, 0.0], [20.0, 0.0, 0.0], [0.0, 0.0, 20.0]]];
/// let logits = Tensor::new(&logits, &Device::Cpu)?;
/// let spoken = |labels: &[u32]| Segment { row: 0, start: 0, end: 3, labels: labels.to_vec() };
/// let right = ctc_loss(&logits, &[spoken(&[1, 2])])?;
/// assert!(right.loss.to_scalar::<f32>()? < 1e-6);
/// assert!(ctc_loss(&logits, &[spoken(&[2, 1])])?.loss.to_scalar::<f32>()? > 10.0);
/// assert_eq!(ctc_loss(&logits, &[spoken(&[1, 1, 1, 1])])?.infeasible, 1); // too few steps
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If a segment exceeds the logits, a label is outside `1..V`, or the logits are not f32 on the
/// CPU.
pub fn ctc_loss(logits: &Tensor, segments: &[Segment]) -> Result<CtcLoss> {
    let (rows, steps, classes) = logits.dims3()?;
    for segment in segments {
        segment.validate(rows, steps, classes)?;
    }
    let feasible: Vec<&Segment> = segments.iter().filter(|s| s.is_feasible()).collect();
    let logits = logits.contiguous()?;
    let mut gradient = if logits.track_op() { Some(vec![0.0; logits.elem_count()]) } else { None };
    let mut total = 0.0;
    {
        let values = Reader::new(&logits);
        let values = values.values()?;
        let mut lattice = Lattice::default();
        for segment in &feasible {
            let offset = segment.row * steps;
            let range = (offset + segment.start) * classes..(offset + segment.end) * classes;
            let weight = 1.0 / (feasible.len() * segment.labels.len().max(1)) as f64;
            let gradient = gradient.as_mut().map(|g| &mut g[range.clone()]);
            let nats =
                lattice.run(&values[range], classes, &segment.labels, weight as f32, gradient);
            total += weight * nats;
        }
    }
    Ok(CtcLoss {
        loss: scalar_loss("ctc_loss", &logits, total, gradient)?,
        used: feasible.len(),
        infeasible: segments.len() - feasible.len(),
    })
}

impl Segment {
    fn validate(&self, rows: usize, steps: usize, classes: usize) -> Result<()> {
        let Self { row, start, end, labels } = self;
        if *row >= rows || start > end || *end > steps {
            bail!("ctc: segment row {row}, steps {start}..{end} is outside [{rows}, {steps}]")
        }
        match labels.iter().find(|&&l| l == BLANK || l as usize >= classes) {
            Some(label) => bail!("ctc: expected labels in 1..{classes}, found {label}"),
            None => Ok(()),
        }
    }

    /// Returns `true` if a path of this length can read the labels: one step per label, and one
    /// more between equal neighbours.
    fn is_feasible(&self) -> bool {
        self.end - self.start >= steps_needed(&self.labels).max(1)
    }
}

/// Returns the number of steps that a path needs to read `labels`: one per label, and a blank
/// between equal neighbours.
pub fn steps_needed(labels: &[u32]) -> usize {
    let repeats = labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
    labels.len() + repeats
}

/// Buffers of the recursions over `S = 2·labels + 1` states (blank, label, blank, …, blank), reused
/// for every segment.
#[derive(Default)]
struct Lattice {
    /// Class of each state, `S`.
    classes: Vec<u32>,
    /// Values of 0 where a state may be entered from two states before, else `NEVER`; `S + 2`.
    skip: Vec<f32>,
    /// Log-probability of each state's class, `T x S`.
    emission: Vec<f32>,
    /// Forward variables up to a constant per step, `T x S`.
    alpha: Vec<f32>,
    /// One step of a recursion between two impossible states at either end, `S + 4`.
    current: Vec<f32>,
    /// Scratch space of `max(S, V)` values.
    scratch: Vec<f32>,
}

impl Lattice {
    /// Returns `-ln p(labels | logits)` and adds `weight` times its gradient to `gradient`.
    ///
    /// `logits` and `gradient` are `T x V` with `V = classes`; the segment must be feasible.
    fn run(
        &mut self,
        logits: &[f32],
        classes: usize,
        labels: &[u32],
        weight: f32,
        mut gradient: Option<&mut [f32]>,
    ) -> f64 {
        self.prepare(labels, classes);
        self.emit(logits, classes, weight, gradient.as_deref_mut());
        let nats = self.forward();
        if let Some(gradient) = gradient {
            self.backward(classes, weight, gradient);
        }
        nats
    }

    fn states(&self) -> usize {
        self.classes.len()
    }

    fn prepare(&mut self, labels: &[u32], classes: usize) {
        self.classes.clear();
        self.classes.push(BLANK);
        self.classes.extend(labels.iter().flat_map(|&label| [label, BLANK]));
        let states = self.states();
        self.skip.clear();
        self.skip.resize(states + 2, NEVER);
        for s in (3..states).step_by(2) {
            if self.classes[s] != self.classes[s - 2] {
                self.skip[s] = 0.0;
            }
        }
        self.current.clear();
        self.current.resize(states + 4, NEVER);
        self.scratch.clear();
        self.scratch.resize(states.max(classes), 0.0);
    }

    /// Fills `emission` from the log-softmax and adds `weight · softmax` to the gradient.
    fn emit(
        &mut self,
        logits: &[f32],
        classes: usize,
        weight: f32,
        mut gradient: Option<&mut [f32]>,
    ) {
        self.emission.clear();
        for (t, row) in logits.chunks_exact(classes).enumerate() {
            let largest = max(row);
            let sum = exp_shifted(row, largest, &mut self.scratch[..classes]);
            if let Some(gradient) = gradient.as_deref_mut() {
                let row = &mut gradient[t * classes..][..classes];
                add_scaled(row, weight / sum, &self.scratch[..classes]);
            }
            let normalizer = largest + sum.ln();
            self.emission.extend(self.classes.iter().map(|&c| row[c as usize] - normalizer));
        }
    }

    /// Fills `alpha` and returns `-ln p`.
    fn forward(&mut self) -> f64 {
        let states = self.states();
        self.alpha.clear();
        self.alpha.resize(self.emission.len(), 0.0);
        let mut log_scale = 0.0f64;
        let rows = self.emission.chunks_exact(states).zip(self.alpha.chunks_exact_mut(states));
        for (t, (emission, alpha)) in rows.enumerate() {
            if t == 0 {
                alpha.fill(NEVER);
                alpha[..states.min(2)].copy_from_slice(&emission[..states.min(2)]);
            } else {
                let previous = &self.current;
                enter(
                    [&previous[2..][..states], &previous[1..][..states], &previous[..states]],
                    &self.skip[..states],
                    alpha,
                );
                add_scaled(alpha, 1.0, emission);
            }
            let largest = max(alpha);
            log_scale += f64::from(largest);
            shift(alpha, largest);
            self.current[..2].fill(NEVER);
            self.current[2..][..states].copy_from_slice(alpha);
        }
        // The end states may lie so far below the likeliest state that `exp` alone would give 0, and
        // the loss would be infinite: a long transcript in hardly more steps than it needs, and a
        // network that expects blanks.
        let ends = &self.current[2..][states.saturating_sub(2)..states];
        let largest = f64::from(max(ends));
        let end: f64 = ends.iter().map(|&e| (f64::from(e) - largest).exp()).sum();
        -(log_scale + largest + end.ln())
    }

    /// Subtracts `weight · occupancy` from the gradient, last step first.
    fn backward(&mut self, classes: usize, weight: f32, gradient: &mut [f32]) {
        let states = self.states();
        self.current.fill(NEVER);
        let mut beta = vec![NEVER; states];
        beta[states.saturating_sub(2)..].fill(0.0);
        let steps = self.emission.len() / states;
        for t in (0..steps).rev() {
            let range = t * states..(t + 1) * states;
            if t + 1 < steps {
                let next = &self.current;
                enter(
                    [&next[..states], &next[1..][..states], &next[2..][..states]],
                    &self.skip[2..][..states],
                    &mut beta,
                );
            }
            let occupancy = &mut self.scratch[..states];
            occupancy.copy_from_slice(&beta);
            add_scaled(occupancy, 1.0, &self.alpha[range.clone()]);
            let largest = max(occupancy);
            let sum = exponentiate(occupancy, largest);
            let row = &mut gradient[t * classes..][..classes];
            for (&class, &o) in self.classes.iter().zip(occupancy.iter()) {
                row[class as usize] -= weight * (o / sum);
            }
            let next = &mut self.current[..states];
            next.copy_from_slice(&beta);
            add_scaled(next, 1.0, &self.emission[range]);
            let largest = max(next);
            shift(next, largest);
        }
    }
}

simd! {
    /// Computes `out[s] = ln(e^near[s] + e^middle[s] + e^(far[s] + skip[s]))`.
    fn enter(from: [&[f32]; 3], skip: &[f32], out: &mut [f32]) {
        let [near, middle, far] = from;
        let from = near.iter().zip(middle).zip(far).zip(skip);
        for (o, (((&near, &middle), &far), &skip)) in out.iter_mut().zip(from) {
            let far = far + skip;
            let largest = if middle > near { middle } else { near };
            let largest = if far > largest { far } else { largest };
            *o = largest + ln(exp(near - largest) + exp(middle - largest) + exp(far - largest));
        }
    }

    /// Computes `x -= by`.
    fn shift(x: &mut [f32], by: f32) {
        x.iter_mut().for_each(|x| *x -= by);
    }

    /// Computes `x = e^(x - by)` in place, and returns the sum.
    fn exponentiate(x: &mut [f32], by: f32) -> f32 {
        let mut sum = 0.0;
        x.iter_mut().for_each(|x| *x = exp(*x - by));
        x.iter().for_each(|x| sum += x);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, check};
    use super::*;
    use candle_core::{Device, Var};

    fn softmax(row: &[f64]) -> Vec<f64> {
        let sum: f64 = row.iter().map(|v| v.exp()).sum();
        row.iter().map(|v| v.exp() / sum).collect()
    }

    #[test]
    fn a_transcript_in_just_enough_steps_has_a_finite_loss() -> Result<()> {
        // 200 labels in 200 steps, each 30 nats less likely than the blank: 6,000 nats, whose
        // exponential no float holds.
        let (steps, classes) = (200, 3);
        let logits = [30f32, 0.0, 0.0].repeat(steps);
        let logits = Tensor::from_vec(logits, (1, steps, classes), &Device::Cpu)?;
        let labels: Vec<u32> = (0..steps as u32).map(|i| 1 + i % 2).collect();
        let segment = Segment { row: 0, start: 0, end: steps, labels };
        let logits = Var::from_tensor(&logits)?;
        let ctc = ctc_loss(&logits, &[segment])?;
        assert_eq!((ctc.used, ctc.infeasible), (1, 0));
        assert!((ctc.loss.to_scalar::<f32>()? - 30.0).abs() < 1e-3);
        let gradients = ctc.loss.backward()?;
        let gradient: Vec<f32> =
            gradients.get(&logits).expect("a gradient").flatten_all()?.to_vec1()?;
        assert!(gradient.iter().all(|g| g.is_finite()) && gradient.iter().any(|g| *g != 0.0));
        Ok(())
    }

    /// Returns p(labels) in the linear domain, indexed by the number of labels read and by whether
    /// the last step was a blank. This formulation is independent of the lattice above.
    fn probability(logits: &[Vec<f64>], labels: &[u32]) -> f64 {
        let mut p = vec![[0.0; 2]; labels.len() + 1];
        p[0][1] = 1.0;
        for row in logits {
            let row = softmax(row);
            let mut next = vec![[0.0; 2]; labels.len() + 1];
            for n in 0..=labels.len() {
                next[n][1] = (p[n][0] + p[n][1]) * row[0];
                if n > 0 {
                    let label = labels[n - 1];
                    let fresh = if n > 1 && labels[n - 2] == label { 0.0 } else { p[n - 1][0] };
                    next[n][0] = (p[n][0] + p[n - 1][1] + fresh) * row[label as usize];
                }
            }
            p = next;
        }
        p[labels.len()][0] + p[labels.len()][1]
    }

    /// Returns p(labels) by the definition: the sum over all `V^T` paths that collapse to `labels`.
    fn enumerated(logits: &[Vec<f64>], labels: &[u32]) -> f64 {
        let classes = logits[0].len();
        let rows: Vec<Vec<f64>> = logits.iter().map(|r| softmax(r)).collect();
        let mut total = 0.0;
        for code in 0..classes.pow(logits.len() as u32) {
            let path: Vec<usize> =
                (0..logits.len()).map(|t| code / classes.pow(t as u32) % classes).collect();
            let mut read = path.clone();
            read.dedup();
            read.retain(|&c| c != 0);
            if read.iter().map(|&c| c as u32).eq(labels.iter().copied()) {
                total += rows.iter().zip(&path).map(|(row, &c)| row[c]).product::<f64>();
            }
        }
        total
    }

    fn reference(values: &[f64], shape: [usize; 3], segments: &[Segment]) -> Vec<f64> {
        let [_, steps, classes] = shape;
        let usable: Vec<_> = segments.iter().filter(|s| s.is_feasible()).collect();
        let nats = usable.iter().map(|s| {
            let rows: Vec<Vec<f64>> = (s.start..s.end)
                .map(|t| values[(s.row * steps + t) * classes..][..classes].to_vec())
                .collect();
            -probability(&rows, &s.labels).ln() / s.labels.len().max(1) as f64
        });
        vec![nats.sum::<f64>() / usable.len() as f64]
    }

    fn segment(row: usize, start: usize, end: usize, labels: &[u32]) -> Segment {
        Segment { row, start, end, labels: labels.to_vec() }
    }

    #[test]
    fn the_reference_agrees_with_the_definition() {
        let input = Input::new(&[6, 3], 9).map(|v| 2.0 * v);
        let rows: Vec<Vec<f64>> =
            input.values.chunks(3).map(|r| r.iter().map(|&v| f64::from(v)).collect()).collect();
        for labels in [&[][..], &[1], &[2, 2], &[1, 2, 1], &[1, 1, 2, 2]] {
            let (found, expected) = (probability(&rows, labels), enumerated(&rows, labels));
            assert!((found - expected).abs() < 1e-12, "{labels:?}: {found} {expected}");
        }
    }

    #[test]
    fn value_and_gradient_match_the_reference() {
        let cases = [
            ([1, 1, 2], vec![segment(0, 0, 1, &[1])]),
            ([1, 1, 3], vec![segment(0, 0, 1, &[])]),
            ([1, 5, 3], vec![segment(0, 0, 5, &[1, 1, 2])]),
            ([1, 4, 3], vec![segment(0, 0, 4, &[1, 1, 2]), segment(0, 1, 3, &[2])]),
            (
                [3, 23, 7],
                vec![
                    segment(0, 2, 13, &[3, 3, 5, 1]),
                    segment(0, 13, 23, &[6, 2, 6]),
                    segment(2, 0, 23, &[1, 2, 3, 4, 5, 6, 6, 5, 4]),
                    segment(1, 7, 9, &[]),
                ],
            ),
            // Overlapping segments, and more classes than one vector holds.
            ([1, 9, 70], vec![segment(0, 0, 6, &[69, 1]), segment(0, 3, 9, &[5, 5, 69])]),
        ];
        for (seed, (shape, segments)) in cases.into_iter().enumerate() {
            for spread in [1.0, 8.0] {
                let logits = Input::new(&shape, seed as u64).map(|v| spread * v);
                check(
                    &[logits],
                    |t| Ok(ctc_loss(&t[0], &segments)?.loss),
                    |v| reference(&v[0], shape, &segments),
                );
            }
        }
    }

    #[test]
    fn a_network_sure_of_nothing_but_blanks_still_learns() {
        let shape = [1, 40, 5];
        let mut logits = Input::new(&shape, 3);
        logits.values.iter_mut().step_by(5).for_each(|blank| *blank += 40.0);
        let segments = [segment(0, 0, 40, &[1, 2, 3, 4, 4, 3, 2, 1, 1, 2, 3, 4])];
        check(
            &[logits],
            |t| Ok(ctc_loss(&t[0], &segments)?.loss),
            |v| reference(&v[0], shape, &segments),
        );
    }

    #[test]
    fn infeasible_segments_are_counted_and_bad_ones_refused() -> Result<()> {
        let logits = Var::from_vec(super::super::testing::random(24, 1), (2, 4, 3), &Device::Cpu)?;
        let infeasible = [segment(0, 0, 3, &[1, 1, 2]), segment(0, 2, 2, &[])];
        let found = ctc_loss(&logits, &infeasible)?;
        assert_eq!((found.used, found.infeasible), (0, 2));
        assert_eq!(found.loss.to_scalar::<f32>()?, 0.0);
        found.loss.backward()?;
        for bad in [segment(2, 0, 1, &[]), segment(0, 3, 5, &[]), segment(0, 0, 2, &[3])] {
            assert!(ctc_loss(&logits, &[bad]).is_err());
        }
        assert!(ctc_loss(&logits, &[segment(0, 0, 2, &[0])]).is_err());
        Ok(())
    }

    #[test]
    fn a_diverged_network_is_not_hidden() -> Result<()> {
        let mut values = super::super::testing::random(24, 1);
        values[7] = f32::NAN;
        let logits = Tensor::from_vec(values, (2, 4, 3), &Device::Cpu)?;
        let loss = ctc_loss(&logits, &[segment(0, 0, 4, &[1, 2])])?.loss;
        assert!(loss.to_scalar::<f32>()?.is_nan());
        Ok(())
    }
}
