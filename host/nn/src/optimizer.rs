//! Learning rate schedule of a training run, and the optimizer that follows it.

use std::{collections::BTreeMap, f64::consts::PI};

use candle_core::{Device, Tensor, Var, backprop::GradStore};
use candle_nn::{Optimizer, ParamsAdamW};

use super::{
    adamw::{AdamW, Moments},
    params::Params,
};
use wakeling_core::simd;

use crate::Result;

/// Configuration of the optimizer and its learning rate.
///
/// ```
/// use wakeling_nn::optimizer::Schedule;
///
/// let schedule = Schedule {
///     steps: 1_000,
///     warmup_steps: 100,
///     peak_rate: 4e-3,
///     weight_decay: 0.01,
///     clip_norm: 1.0,
///     average_decay: 0.99,
///     backbone_rate_share: 1.0,
/// };
/// assert_eq!(schedule.rate(49), 2e-3); // half of the way up
/// assert_eq!(schedule.rate(100), 4e-3);
/// assert!(schedule.rate(999) < 1e-7); // half a cosine down
/// ```
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

/// Returns the norm of all gradients together.
fn norm(gradients: &Gradients) -> f64 {
    gradients.values().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt()
}

/// Parameters with the same share of the learning rate and the same weight decay.
#[derive(Debug)]
struct Group {
    names: Vec<String>,
    rate_share: f64,
    adam: AdamW,
}

/// Optimizer of a training run: AdamW under a [`Schedule`], with clipped gradients and averaged
/// weights.
///
/// ```
/// use wakeling_nn::{optimizer::{Gradients, Schedule, ScheduledAdamW}, params::Params};
///
/// let mut params = Params::default();
/// params.insert("w", &[2], vec![3.0, -3.0])?;
/// # let schedule = Schedule { steps: 300, warmup_steps: 10, peak_rate: 0.1, weight_decay: 0.0, clip_norm: 1.0, average_decay: 0.0, backbone_rate_share: 1.0 };
/// let mut optimizer = ScheduledAdamW::new(schedule, &params)?; // under a `Schedule` of 300 steps
/// while optimizer.steps_done() < 300 {
///     let gradient = params.values("w")?.iter().map(|w| 2.0 * w).collect(); // of w²
///     optimizer.update(Gradients::from([("w".to_owned(), gradient)]))?;
/// }
/// assert!(params.values("w")?.iter().all(|w| w.abs() < 0.1));
/// # Ok::<(), wakeling_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct ScheduledAdamW {
    schedule: Schedule,
    step: usize,
    groups: Vec<Group>,
    /// Exponential averages of the weights, by parameter name.
    averages: BTreeMap<String, Vec<f32>>,
}

impl ScheduledAdamW {
    /// Configuration of AdamW, but for the learning rate and the decay.
    const CONFIG: ParamsAdamW =
        ParamsAdamW { lr: 0.0, beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.0 };

    /// Creates an optimizer of `params` before its first step.
    pub fn new(schedule: Schedule, params: &Params) -> Result<Self> {
        let mut groups = Vec::new();
        for (is_backbone, rate_share) in [(true, schedule.backbone_rate_share), (false, 1.0)] {
            for (decays, weight_decay) in [(true, schedule.weight_decay), (false, 0.0)] {
                let (names, vars): (Vec<String>, Vec<Var>) = params
                    .vars()
                    .filter(|(name, _)| name.starts_with("trunk.") == is_backbone)
                    .filter(|(_, var)| (var.dims().len() > 1) == decays)
                    .unzip();
                let adam = AdamW::new(vars, ParamsAdamW { weight_decay, ..Self::CONFIG })?;
                groups.push(Group { names, rate_share, adam });
            }
        }
        Ok(Self { schedule, step: 0, groups, averages: BTreeMap::new() })
    }

    /// Number of training steps done.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// Performs one training step. Parameters without a gradient stay unchanged. Returns the norm
    /// of the gradients before clipping; if it is not finite, the step counts but the weights stay.
    pub fn update(&mut self, mut gradients: Gradients) -> Result<f64> {
        let norm = norm(&gradients);
        let rate = self.schedule.rate(self.step);
        self.step += 1;
        if !norm.is_finite() {
            self.groups.iter_mut().for_each(|group| group.adam.skip());
            return Ok(norm);
        }
        let scale = (self.schedule.clip_norm / norm.max(1e-12)).min(1.0) as f32;
        if scale < 1.0 {
            gradients.values_mut().flatten().for_each(|g| *g *= scale);
        }
        // The average follows closely at first, so the random initialization does not linger.
        let average =
            self.schedule.average_decay.min((self.step as f64 + 1.0) / (self.step as f64 + 10.0));
        let mut store = GradStore::default();
        for Group { names, rate_share, adam } in &mut self.groups {
            for (name, var) in names.iter().zip(adam.vars()) {
                let Some(gradient) = gradients.remove(name) else { continue };
                store.insert(var, Tensor::from_vec(gradient, var.shape(), &Device::Cpu)?);
                if !self.averages.contains_key(name) {
                    self.averages.insert(name.clone(), var.flatten_all()?.to_vec1()?);
                }
            }
            adam.set_learning_rate(rate * *rate_share);
            let averages = &mut self.averages;
            adam.step_observed(&store, |index, weights| {
                if let Some(averages) = names.get(index).and_then(|name| averages.get_mut(name)) {
                    follow(average as f32, weights, averages);
                }
            })?;
        }
        Ok(norm)
    }

    /// Returns a copy of `params` with the averaged weights, if an average is kept.
    pub fn averaged(&self, params: &Params) -> Result<Params> {
        let copy = params.detached()?;
        if self.schedule.average_decay > 0.0 {
            for (name, average) in &self.averages {
                copy.set(name, average.clone())?;
            }
        }
        Ok(copy)
    }

    /// Returns the state as buffers `first.NAME`, `second.NAME`, `average.NAME`, for a checkpoint.
    pub fn state(&self) -> Result<Params> {
        let mut state = Params::default();
        for Group { names, adam, .. } in &self.groups {
            for (name, moments) in names.iter().zip(adam.moments()) {
                let (Some(moments), Some(average)) = (moments, self.averages.get(name)) else {
                    continue;
                };
                state.track(&format!("first.{name}"), moments.first.clone())?;
                state.track(&format!("second.{name}"), moments.second.clone())?;
                state.track(&format!("average.{name}"), average.clone())?;
            }
        }
        Ok(state)
    }

    /// Restores the state from a checkpoint of the parameters `params` after `step` training steps.
    pub fn restore(
        schedule: Schedule,
        step: usize,
        params: &Params,
        state: &Params,
    ) -> Result<Self> {
        let mut restored = Self { step, ..Self::new(schedule, params)? };
        for Group { names, adam, .. } in &mut restored.groups {
            let mut moments = Vec::new();
            for name in names.iter() {
                let part = |kind: &str| state.tracked(&format!("{kind}.{name}"));
                let (first, second) = (part("first")?, part("second")?);
                if first.is_empty() {
                    moments.push(None);
                    continue;
                }
                restored.averages.insert(name.clone(), part("average")?);
                moments.push(Some(Moments { first, second }));
            }
            adam.restore(step, moments);
        }
        Ok(restored)
    }
}

simd! {
    /// Moves `averages` toward `weights`.
    fn follow(decay: f32, weights: &[f32], averages: &mut [f32]) {
        for (a, &w) in averages.iter_mut().zip(weights) {
            *a += (1.0 - decay) * (w - *a);
        }
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
    fn finds_the_minimum_and_resumes_bit_for_bit() -> Result<()> {
        let gradient = |p: &Params| -> Result<Gradients> {
            // f(w) = Σ (w − i)²
            let values = p.values("w")?;
            let g = values.iter().enumerate().map(|(i, w)| 2.0 * (w - i as f32)).collect();
            Ok(Gradients::from([("w".to_owned(), g)]))
        };
        let run = |cut: usize| -> Result<Vec<f32>> {
            let mut params = Params::default();
            params.insert("w", &[3], vec![5.0, -5.0, 0.0])?;
            let mut adam = ScheduledAdamW::new(SCHEDULE, &params)?;
            for step in 0..200 {
                if step == cut {
                    params = params.detached()?;
                    adam = ScheduledAdamW::restore(SCHEDULE, step, &params, &adam.state()?)?;
                }
                adam.update(gradient(&params)?)?;
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

    #[test]
    fn groups_differ_in_rate_and_decay() -> Result<()> {
        let schedule = Schedule {
            warmup_steps: 0,
            peak_rate: 0.1,
            weight_decay: 0.5,
            backbone_rate_share: 0.25,
            ..SCHEDULE
        };
        let mut params = Params::default();
        for name in ["trunk.w", "head.w"] {
            params.insert(name, &[1, 1], vec![2.0])?;
            params.insert(format!("{name}.bias"), &[1], vec![2.0])?;
        }
        params.insert("head.unused", &[1, 1], vec![2.0])?;
        let mut adam = ScheduledAdamW::new(schedule, &params)?;
        let gradients = params.vars().filter(|(name, _)| name != "head.unused");
        adam.update(gradients.map(|(name, _)| (name, vec![0.5])).collect())?;
        // The first step of Adam has the length of the rate.
        for (name, rate, decay) in [
            ("trunk.w", 0.025, 0.025),
            ("trunk.w.bias", 0.025, 0.0),
            ("head.w", 0.1, 0.1),
            ("head.w.bias", 0.1, 0.0),
            ("head.unused", 0.0, 0.0),
        ] {
            let found = params.values(name)?[0];
            assert!((found - (2.0 - rate - decay)).abs() < 1e-5, "{name}: {found}");
        }
        assert!(adam.state()?.tracked("first.head.unused")?.is_empty());
        Ok(())
    }

    #[test]
    fn gradients_that_are_not_finite_change_nothing_but_the_count() -> Result<()> {
        let mut params = Params::default();
        params.insert("w", &[2], vec![1.0, 2.0])?;
        let mut adam = ScheduledAdamW::new(SCHEDULE, &params)?;
        let norm = adam.update(Gradients::from([("w".to_owned(), vec![f32::NAN, 1.0])]))?;
        assert!(norm.is_nan());
        assert_eq!((params.values("w")?, adam.steps_done()), (vec![1.0, 2.0], 1));
        Ok(())
    }
}
