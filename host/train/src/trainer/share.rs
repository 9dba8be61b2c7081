//! Sum of loss and gradients over the shards of a training step.

use rand::rngs::StdRng;

use super::{ProcessGroup, Rank, TrainStep};
use crate::Result;
use wakeling_nn::{mode::LayerMoments, optimizer::Gradients, params::Params};

/// Sum of loss and gradients over shards.
#[derive(Default)]
pub(super) struct ShardSum {
    pub(super) loss: f64,
    pub(super) examples: usize,
    pub(super) gradients: Gradients,
    /// Statistics of batch norm, one set per shard.
    pub(super) moments: Vec<Vec<LayerMoments>>,
}

impl ShardSum {
    /// Computes the loss and gradients of one shard.
    pub(super) fn of(
        stage: &dyn TrainStep,
        params: &Params,
        worker: usize,
        rng: &mut StdRng,
    ) -> Result<Self> {
        let output = stage.loss(params, worker, rng)?;
        let store = output.loss.backward()?;
        let mut gradients = Gradients::new();
        for (name, var) in params.vars() {
            if let Some(gradient) = store.get(var.as_tensor()) {
                gradients.insert(name, gradient.flatten_all()?.to_vec1()?);
            }
        }
        let loss = f64::from(output.loss.to_scalar::<f32>()?);
        Ok(Self { loss, examples: output.examples, gradients, moments: vec![output.moments] })
    }

    /// Scales loss and gradients by `weight`.
    pub(super) fn scaled(mut self, weight: f32) -> Self {
        self.loss *= f64::from(weight);
        if weight != 1.0 {
            self.gradients.values_mut().flatten().for_each(|g| *g *= weight);
        }
        self
    }

    /// Adds another shard's loss and gradients, scaled by `weight`, and all of its statistics.
    pub(super) fn add(&mut self, other: Self, weight: f32) {
        self.loss += f64::from(weight) * other.loss;
        self.examples += other.examples;
        for (name, gradient) in other.gradients {
            let entry = self.gradients.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
            entry.iter_mut().zip(&gradient).for_each(|(s, g)| *s += weight * g);
        }
        self.moments.extend(other.moments);
    }

    /// Sums over all processes, with the same result in each. A parameter has a gradient if it has
    /// one in any process.
    pub(super) fn exchange(mut self, group: &ProcessGroup, params: &Params) -> Result<Self> {
        if group.rank() == Rank::ONLY {
            return Ok(self);
        }
        let mut sums = vec![self.loss, self.examples as f64];
        let mut values: Vec<f32> = Vec::with_capacity(params.count());
        for (name, var) in params.vars() {
            let gradient = self.gradients.get(&name);
            sums.push(f64::from(u8::from(gradient.is_some())));
            match gradient {
                Some(gradient) => values.extend(gradient),
                None => values.resize(values.len() + var.elem_count(), 0.0),
            }
        }
        group.sum(&mut sums);
        group.sum(&mut values);
        (self.loss, self.examples) = (sums[0], sums[1] as usize);
        self.gradients.clear();
        let mut rest = values.as_slice();
        for ((name, var), &found) in params.vars().zip(&sums[2..]) {
            let (gradient, after) = rest.split_at(var.elem_count());
            rest = after;
            if found > 0.0 {
                self.gradients.insert(name, gradient.to_vec());
            }
        }
        self.moments = exchange_moments(&self.moments, group);
        Ok(self)
    }
}

/// Gathers the statistics of all workers, in order. Every worker has the same layers.
fn exchange_moments(moments: &[Vec<LayerMoments>], group: &ProcessGroup) -> Vec<Vec<LayerMoments>> {
    let own: Vec<f32> = moments
        .iter()
        .flatten()
        .flat_map(|(_, mean, variance)| mean.iter().chain(variance).copied())
        .collect();
    let all = group.gather(&own);
    let mut rest = all.as_slice();
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at(count);
        rest = after;
        taken.to_vec()
    };
    let layer = |(name, mean, variance): &LayerMoments, take: &mut dyn FnMut(usize) -> Vec<f32>| {
        (name.clone(), take(mean.len()), take(variance.len()))
    };
    (0..group.rank().count)
        .flat_map(|_| moments)
        .map(|worker| worker.iter().map(|l| layer(l, &mut take)).collect())
        .collect()
}
