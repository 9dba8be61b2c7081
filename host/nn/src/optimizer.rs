//! AdamW with warm-up and cosine decay, and an exponential average of the weights.
//!
//! The state is plain vectors by parameter name. A checkpoint can hold it, and a resumed run
//! continues bit for bit.

use std::{collections::BTreeMap, f64::consts::PI};

use super::params::Params;
use wakeling_core::{Result, simd};

/// Configuration of the optimizer and its learning rate.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Schedule {
    /// Training steps of the whole run.
    pub steps: usize,
    /// Training steps over which the rate rises linearly from 0.
    pub warmup_steps: usize,
    /// Peak learning rate.
    pub peak_rate: f64,
    /// Decoupled weight decay (Loshchilov & Hutter 2019), on weights of two dimensions and more.
    pub weight_decay: f64,
    /// Maximum norm of the gradients; larger ones are scaled down to it.
    pub clip_norm: f64,
    /// Decay of the averaged weights; with 0 no average is used.
    pub average_decay: f64,
    /// Learning rate of the backbone as a share of the others', for a pretrained backbone.
    #[serde(rename = "trunk_rate_share")]
    pub backbone_rate_share: f64,
}

impl Schedule {
    /// Returns the learning rate of training step `step`, counted from 0: linear rise, then a half
    /// cosine to 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let span = self.steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / span as f64).min(1.0);
        self.peak_rate * 0.5 * (1.0 + (PI * progress).cos())
    }
}

/// Gradients by parameter name.
pub type Gradients = BTreeMap<String, Vec<f32>>;

#[derive(Clone, Debug, Default)]
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
    average: Vec<f32>,
}

/// Coefficients of one training step for one parameter.
#[derive(Clone, Copy)]
struct Descent {
    /// Factor of the gradient.
    scale: f32,
    decay: f32,
    step_size: f32,
    correction2: f32,
    /// Decay of the averaged weights.
    average: f32,
}

simd! {
    fn descend(by: Descent, gradient: &[f32], weights: &mut [f32], moments: &mut Moments) {
        let Moments { first, second, average } = moments;
        let states = first.iter_mut().zip(second.iter_mut()).zip(average.iter_mut());
        for ((w, &g), ((m, v), a)) in weights.iter_mut().zip(gradient).zip(states) {
            let g = g * by.scale;
            *m += (1.0 - AdamW::BETA1 as f32) * (g - *m);
            *v += (1.0 - AdamW::BETA2 as f32) * (g * g - *v);
            let deviation = (*v / by.correction2).sqrt() + AdamW::EPSILON as f32;
            *w -= by.decay * *w + by.step_size * *m / deviation;
            *a += (1.0 - by.average) * (*w - *a);
        }
    }
}

/// State of AdamW.
#[derive(Clone, Debug)]
pub struct AdamW {
    schedule: Schedule,
    step: usize,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    const BETA1: f64 = 0.9;
    const BETA2: f64 = 0.98;
    const EPSILON: f64 = 1e-8;

    /// Creates an optimizer before its first step.
    pub fn new(schedule: Schedule) -> Self {
        Self { schedule, step: 0, moments: BTreeMap::new() }
    }

    /// Number of training steps done.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// Performs one training step (Loshchilov & Hutter 2019, algorithm 2). Parameters without a
    /// gradient stay unchanged. Returns the norm of the gradients before clipping; if it is not
    /// finite, the step counts but the weights stay.
    pub fn update(&mut self, params: &Params, gradients: &Gradients) -> Result<f64> {
        let squares = gradients.values().flatten().map(|&g| f64::from(g).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        let rate = self.schedule.rate(self.step);
        self.step += 1;
        if !norm.is_finite() {
            return Ok(norm);
        }
        let scale = (self.schedule.clip_norm / norm.max(1e-12)).min(1.0);
        let correction1 = 1.0 - Self::BETA1.powi(self.step as i32);
        let correction2 = 1.0 - Self::BETA2.powi(self.step as i32);
        // The average follows closely at first, so the random initialization does not linger.
        let average =
            self.schedule.average_decay.min((self.step as f64 + 1.0) / (self.step as f64 + 10.0));
        for (name, var) in params.vars() {
            let Some(gradient) = gradients.get(name) else { continue };
            let is_backbone = name.starts_with("trunk.");
            let rate = rate * if is_backbone { self.schedule.backbone_rate_share } else { 1.0 };
            let step_size = (rate / correction1) as f32;
            let mut weights = params.values(name)?;
            let moments = self.moments.entry(name.to_owned()).or_insert_with(|| Moments {
                first: vec![0.0; weights.len()],
                second: vec![0.0; weights.len()],
                average: weights.clone(),
            });
            let decay = if var.dims().len() > 1 { rate * self.schedule.weight_decay } else { 0.0 };
            let descent = Descent {
                scale: scale as f32,
                decay: decay as f32,
                step_size,
                correction2: correction2 as f32,
                average: average as f32,
            };
            descend(descent, gradient, &mut weights, moments);
            params.set(name, weights)?;
        }
        Ok(norm)
    }

    /// Returns a copy of `params` with the averaged weights, if an average is kept.
    pub fn averaged(&self, params: &Params) -> Result<Params> {
        let copy = params.detached()?;
        if self.schedule.average_decay > 0.0 {
            for (name, moments) in &self.moments {
                copy.set(name, moments.average.clone())?;
            }
        }
        Ok(copy)
    }

    /// Returns the state as parameters `first.NAME`, `second.NAME`, `average.NAME`, for a
    /// checkpoint.
    pub fn state(&self) -> Params {
        let mut state = Params::default();
        for (name, m) in &self.moments {
            state.track(format!("first.{name}"), m.first.clone());
            state.track(format!("second.{name}"), m.second.clone());
            state.track(format!("average.{name}"), m.average.clone());
        }
        state
    }

    /// Restores the state from a checkpoint of the parameters `params` after `step` training steps.
    pub fn restore(schedule: Schedule, step: usize, params: &Params, state: &Params) -> Self {
        let mut moments = BTreeMap::new();
        for (name, _) in params.vars() {
            let part = |kind: &str| state.tracked(&format!("{kind}.{name}")).to_vec();
            let entry =
                Moments { first: part("first"), second: part("second"), average: part("average") };
            if !entry.first.is_empty() {
                moments.insert(name.to_owned(), entry);
            }
        }
        Self { schedule, step, moments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        steps: 200,
        warmup_steps: 10,
        peak_rate: 0.1,
        weight_decay: 0.0,
        clip_norm: 1.0,
        average_decay: 0.0,
        backbone_rate_share: 1.0,
    };

    #[test]
    fn the_rate_rises_and_falls() {
        assert!((SCHEDULE.rate(0) - 0.01).abs() < 1e-12);
        assert!((SCHEDULE.rate(10) - 0.1).abs() < 1e-12);
        assert!(SCHEDULE.rate(199) < 1e-4);
    }

    #[test]
    fn it_finds_the_minimum_and_resumes_bit_for_bit() -> Result<()> {
        let gradient = |p: &Params| -> Result<Gradients> {
            // f(w) = Σ (w − i)²
            let values = p.values("w")?;
            let g = values.iter().enumerate().map(|(i, w)| 2.0 * (w - i as f32)).collect();
            Ok(Gradients::from([("w".to_owned(), g)]))
        };
        let run = |cut: usize| -> Result<Vec<f32>> {
            let mut params = Params::default();
            params.insert("w", &[3], vec![5.0, -5.0, 0.0])?;
            let mut adam = AdamW::new(SCHEDULE);
            for step in 0..200 {
                if step == cut {
                    params = params.detached()?;
                    adam = AdamW::restore(SCHEDULE, step, &params, &adam.state());
                }
                adam.update(&params, &gradient(&params)?)?;
            }
            params.values("w")
        };
        let whole = run(usize::MAX)?;
        for (i, w) in whole.iter().enumerate() {
            assert!((w - i as f32).abs() < 0.05, "{w}");
        }
        assert_eq!(whole, run(77)?);
        Ok(())
    }
}
