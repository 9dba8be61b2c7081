//! AdamW (Loshchilov & Hutter 2019, algorithm 2) whose state can be saved.
//!
//! It replaces [`candle_nn::AdamW`], whose moments are private: a checkpoint could not hold
//! them, and a resumed run would not continue bit for bit. This one also updates a parameter in one
//! pass, where candle's takes a dozen. Configuration and interface are candle's; a test compares
//! both.

use candle_core::{Device, Result, Var, backprop::GradStore};
use candle_nn::{Optimizer, ParamsAdamW};

use super::{ops::Reader, params::set};
use wakeling_core::simd;

/// Moments of the gradients of one parameter.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// Average of the gradients.
    pub first: Vec<f32>,
    /// Average of their squares.
    pub second: Vec<f32>,
}

/// Parameter, and its moments after its first gradient.
#[derive(Debug)]
struct Slot {
    var: Var,
    moments: Option<Moments>,
}

/// AdamW over some variables. Moments are in host memory.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, ParamsAdamW};
/// use wakeling_nn::adamw::AdamW;
///
/// let w = Var::new(&[5f32, -5.0], &Device::Cpu)?;
/// let config = ParamsAdamW { lr: 0.1, weight_decay: 0.0, ..ParamsAdamW::default() };
/// let mut optimizer = AdamW::new(vec![w.clone()], config)?;
/// for _ in 0..200 {
///     optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// }
/// assert!(w.to_vec1::<f32>()?.iter().all(|w| w.abs() < 0.1));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    step: usize,
    config: ParamsAdamW,
}

/// Coefficients of one step.
#[derive(Clone, Copy)]
struct Descent {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// Share of the weights that decays.
    decay: f32,
    step_size: f32,
    /// Correction of the bias of the second moment.
    correction2: f32,
}

simd! {
    fn descend(by: Descent, gradient: &[f32], weights: &mut [f32], moments: &mut Moments) {
        let Moments { first, second } = moments;
        let states = first.iter_mut().zip(second.iter_mut());
        for ((w, &g), (m, v)) in weights.iter_mut().zip(gradient).zip(states) {
            *m += (1.0 - by.beta1) * (g - *m);
            *v += (1.0 - by.beta2) * (g * g - *v);
            let deviation = (*v / by.correction2).sqrt() + by.epsilon;
            *w -= by.decay * *w + by.step_size * *m / deviation;
        }
    }
}

impl AdamW {
    /// Iterates over the variables, in the order in which they were given.
    pub fn vars(&self) -> impl Iterator<Item = &Var> {
        self.slots.iter().map(|slot| &slot.var)
    }

    /// Iterates over the moments of each variable; `None` before its first gradient.
    pub fn moments(&self) -> impl Iterator<Item = Option<&Moments>> {
        self.slots.iter().map(|slot| slot.moments.as_ref())
    }

    /// Continues after `step` steps with the moments of each variable.
    pub fn restore(&mut self, step: usize, moments: impl IntoIterator<Item = Option<Moments>>) {
        self.step = step;
        for (slot, moments) in self.slots.iter_mut().zip(moments) {
            slot.moments = moments;
        }
    }

    /// Counts a step without changing anything.
    pub fn skip(&mut self) {
        self.step += 1;
    }

    /// Performs one step, and passes the index and the new weights of each changed variable to
    /// `changed`.
    pub fn step_observed(
        &mut self,
        gradients: &GradStore,
        mut changed: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.step += 1;
        let descent = self.descent();
        for (index, Slot { var, moments }) in self.slots.iter_mut().enumerate() {
            let Some(gradient) = gradients.get(var) else { continue };
            let gradient = gradient.to_device(&Device::Cpu)?.contiguous()?;
            let mut weights: Vec<f32> = var.flatten_all()?.to_vec1()?;
            let zeros = || vec![0.0; weights.len()];
            let moments =
                moments.get_or_insert_with(|| Moments { first: zeros(), second: zeros() });
            descend(descent, Reader::new(&gradient).values()?, &mut weights, moments);
            changed(index, &weights);
            set(var, weights)?;
        }
        Ok(())
    }

    fn descent(&self) -> Descent {
        let ParamsAdamW { lr, beta1, beta2, eps, weight_decay } = self.config;
        let correction = |beta: f64| 1.0 - beta.powi(self.step as i32);
        Descent {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: eps as f32,
            decay: (lr * weight_decay) as f32,
            step_size: (lr / correction(beta1)) as f32,
            correction2: correction(beta2) as f32,
        }
    }
}

impl Optimizer for AdamW {
    type Config = ParamsAdamW;

    fn new(vars: Vec<Var>, config: ParamsAdamW) -> Result<Self> {
        let slots = vars.into_iter().map(|var| Slot { var, moments: None }).collect();
        Ok(Self { slots, step: 0, config })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.step_observed(gradients, |_, _| ())
    }

    fn learning_rate(&self) -> f64 {
        self.config.lr
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.config.lr = rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::random;
    use candle_core::Tensor;

    /// Trains with random gradients and returns the weights after each step. Every fourth step
    /// leaves one variable without a gradient.
    fn weights<O: Optimizer<Config = ParamsAdamW>>(config: &ParamsAdamW) -> Vec<Vec<f32>> {
        let vars: Vec<Var> = [vec![7, 5], vec![33], vec![1]]
            .into_iter()
            .enumerate()
            .map(|(i, shape)| {
                let values = random(shape.iter().product(), i as u64);
                Var::from_vec(values, shape, &Device::Cpu).unwrap()
            })
            .collect();
        let mut optimizer = O::new(vars.clone(), config.clone()).unwrap();
        let mut all = Vec::new();
        for step in 0..40u32 {
            optimizer.set_learning_rate(config.lr / (1.0 + f64::from(step)));
            let mut store = GradStore::default();
            for (i, var) in vars.iter().enumerate().skip(usize::from(step % 4 == 3)) {
                let gradient = random(var.elem_count(), 1_000 + u64::from(step) * 10 + i as u64);
                store.insert(var, Tensor::from_vec(gradient, var.shape(), &Device::Cpu).unwrap());
            }
            optimizer.step(&store).unwrap();
            let values = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            all.push(vars.iter().flat_map(values).collect());
        }
        all
    }

    #[test]
    fn weights_are_those_of_candle() {
        let default = ParamsAdamW::default();
        for config in [
            ParamsAdamW { lr: 0.1, ..default.clone() },
            ParamsAdamW { lr: 0.02, beta1: 0.9, beta2: 0.98, weight_decay: 0.3, ..default.clone() },
            ParamsAdamW { lr: 0.5, beta1: 0.5, beta2: 0.7, eps: 1e-3, weight_decay: 0.0 },
        ] {
            let (found, expected) =
                (weights::<AdamW>(&config), weights::<candle_nn::AdamW>(&config));
            let pairs = || found.iter().flatten().zip(expected.iter().flatten());
            // Candle rounds after each of its operations, and adds up 40 steps of that.
            let largest = pairs().map(|(f, e)| (f - e).abs() / (1.0 + e.abs())).fold(0.0, f32::max);
            assert!(largest < 2e-6, "{config:?}: {largest:e}");
            assert_ne!(found[0], found[39]);
        }
    }
}
