//! The network, one step at a time. Each temporal layer keeps the past columns that it needs in a
//! ring buffer, so a step computes only its newest column.
//!
//! A step takes `frames_per_step · 40` features and returns one logit per keyword. All state is in
//! one arena that the caller owns: first the input of a pointwise layer as `i16`, then [`BUFFERS`]
//! activation buffers of equal width, then the rings in the order of the layers, each of
//! `(taps − 1) · dilation` columns.

mod image;
pub mod kernels;

pub use image::ImageEngine;

use heapless::Vec;

use kernels::Columns;

use crate::model::{BUFFERS, Head, Layer, MAX_LAYERS, Model, Op, TfliteAffine};

/// Alignment in bytes of the first address in use.
const ARENA_ALIGNMENT: usize = 8;

/// Error for an arena smaller than [`Model::arena_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaTooSmall {
    /// Number of bytes required.
    pub expected: usize,
    /// Number of bytes in the arena.
    pub found: usize,
}

impl Model<'_> {
    /// Number of words to which the widest input of a pointwise layer is widened.
    fn wide_words(&self) -> usize {
        let inputs = self.layers.iter().map(|l| match &l.op {
            Op::Pointwise { affine }
            | Op::PointwiseTflite { affine: TfliteAffine { affine, .. } } => {
                usize::from(affine.inputs)
            }
            _ => 0,
        });
        kernels::wide_words(inputs.max().unwrap_or(0))
    }

    /// Number of bytes that an [`Engine`] needs for activations and rings. Saturates: with 32 bits, a
    /// hostile model could otherwise ask for 4 GiB more than it seems to.
    pub fn arena_bytes(&self) -> usize {
        let rings = self.layers.iter().fold(0, |sum: usize, layer| {
            // A ring alone is below 2²⁹.
            sum.saturating_add(layer.op.ring_bytes())
        });
        let wide = size_of::<u32>() * self.wide_words();
        rings.saturating_add(ARENA_ALIGNMENT - 1 + wide + BUFFERS * self.buffer_width())
    }
}

/// Returns the first `bytes` of an arena, from the first aligned address on. `bytes` includes the
/// loss to alignment.
fn aligned(arena: &mut [i8], bytes: usize) -> Option<&mut [i8]> {
    let start = arena.as_ptr().align_offset(ARENA_ALIGNMENT).min(ARENA_ALIGNMENT - 1);
    arena.get_mut(..bytes)?.get_mut(start..)
}

/// Width of a layer, and its position in time.
#[derive(Clone, Copy, Debug, Default)]
struct LayerState {
    /// Number of channels of the input.
    width: u16,
    /// Index of the oldest column in the ring, which is overwritten next.
    oldest: u16,
    /// Number of steps until a strided layer computes.
    wait: u8,
}

/// A model with its arena.
///
/// ```
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/loud.rs")); }
/// # let file = support::loud_model();
/// # let model = wakeling_shared::model::Model::load(&file).unwrap();
/// use wakeling_shared::engine::Engine;
///
/// let mut arena = vec![0; model.arena_bytes()];
/// let mut engine = Engine::new(&model, &mut arena).unwrap();
/// let mut logits = [0];
/// engine.input().fill(40); // the features of four frames, oldest first
/// assert!(engine.step(&mut logits)); // false where a stride skips the step
/// assert_eq!(logits, [1_000]); // Q8
/// assert!(Engine::new(&model, &mut []).is_err()); // too small an arena
/// ```
pub struct Engine<'m, 'a> {
    model: &'m Model<'a>,
    wide: &'m mut [u32],
    buffers: [&'m mut [i8]; BUFFERS],
    rings: &'m mut [i8],
    states: Vec<LayerState, MAX_LAYERS>,
}

impl<'m, 'a> Engine<'m, 'a> {
    /// Creates an engine on the first [`Model::arena_bytes`] of `arena`, and resets them.
    ///
    /// # Errors
    /// [`ArenaTooSmall`] if the arena is smaller; it is then unchanged.
    pub fn new(model: &'m Model<'a>, arena: &'m mut [i8]) -> Result<Self, ArenaTooSmall> {
        let expected = model.arena_bytes();
        let too_small = ArenaTooSmall { expected, found: arena.len() };
        let arena = aligned(arena, expected).ok_or(too_small)?;
        let wide_bytes = size_of::<u32>() * model.wide_words();
        let (wide, arena) = arena.split_at_mut_checked(wide_bytes).ok_or(too_small)?;
        let wide = bytemuck::try_cast_slice_mut(wide).map_err(|_| too_small)?;
        let width = model.buffer_width();
        let (activations, rings) = arena.split_at_mut_checked(BUFFERS * width).ok_or(too_small)?;
        // The width is never 0, but the compiler cannot prove it.
        let mut chunks = activations.chunks_exact_mut(width.max(1));
        let buffers = core::array::from_fn(|_| chunks.next().unwrap_or_default());
        let states = states(model);
        let mut engine = Self { model, wide, buffers, rings, states };
        engine.reset();
        Ok(engine)
    }

    /// Resets the state: every ring holds zeros again, that is, its layer's zero point.
    pub fn reset(&mut self) {
        self.buffers.iter_mut().for_each(|b| b.fill(0));
        self.states
            .iter_mut()
            .for_each(|p| *p = LayerState { width: p.width, ..LayerState::default() });
        let mut rest = &mut *self.rings;
        for layer in &self.model.layers {
            let Some((ring, others)) = rest.split_at_mut_checked(layer.op.ring_bytes()) else {
                return;
            };
            ring.fill(layer.op.input_zero());
            rest = others;
        }
    }

    /// The features of the next step, to be written before it, oldest frame first.
    pub fn input(&mut self) -> &mut [i8] {
        let width = usize::from(self.model.step_width());
        self.buffers[0].get_mut(..width).unwrap_or_default()
    }

    /// Runs the backbone on the input; returns `None` at steps that a strided layer skips.
    pub fn backbone(&mut self) -> Option<&[i8]> {
        let backbone = usize::from(self.model.backbone_layers);
        if !self.layers(0, 0, backbone) {
            return None;
        }
        let output = usize::from(self.model.backbone_output());
        self.buffers.get(output)?.get(..self.model.backbone_width())
    }

    /// Output of the backbone, which [`Engine::heads`] reads. Write to it to run heads on stored
    /// embeddings.
    pub fn backbone_output(&mut self) -> &mut [i8] {
        let width = self.model.backbone_width();
        let output = usize::from(self.model.backbone_output());
        let buffer = self.buffers.get_mut(output).and_then(|b| b.get_mut(..width));
        buffer.unwrap_or_default()
    }

    /// Returns the contents of a buffer after a step, as wide as the widest; empty if there is no
    /// such buffer.
    pub fn buffer(&self, index: u8) -> &[i8] {
        self.buffers.get(usize::from(index)).map_or(&[], |buffer| buffer)
    }

    /// Runs every head on the output of the backbone, and writes one logit (Q8) per keyword.
    pub fn heads(&mut self, logits: &mut [i16]) {
        let model = self.model;
        let mut first = usize::from(model.backbone_layers);
        let backbone_bytes: usize =
            model.layers.iter().take(first).map(|l| l.op.ring_bytes()).sum();
        let mut ring = backbone_bytes;
        let mut rest = logits;
        for head in &model.heads {
            let count = usize::from(head.layers);
            self.layers(ring, first, count);
            let own = model.layers.iter().skip(first).take(count);
            ring += own.map(|l| l.op.ring_bytes()).sum::<usize>();
            first += count;
            rest = self.logits(head, rest);
        }
    }

    /// Runs the backbone, then the heads. Returns `false` at steps that a strided layer skips;
    /// `logits` is then unchanged.
    pub fn step(&mut self, logits: &mut [i16]) -> bool {
        let computed = self.backbone().is_some();
        if computed {
            self.heads(logits);
        }
        computed
    }

    fn logits<'l>(&self, head: &Head<'_>, out: &'l mut [i16]) -> &'l mut [i16] {
        let count = usize::from(head.logits.outputs);
        let input = self.buffers.get(usize::from(head.input)).map_or(&[][..], |b| b);
        let x = input.get(..usize::from(head.logits.inputs)).unwrap_or_default();
        let (own, rest) = match out.split_at_mut_checked(count) {
            Some(parts) => parts,
            None => return &mut [],
        };
        kernels::logits(x, &head.logits, own);
        rest
    }

    /// Runs `count` layers from `first`, whose rings start at byte `ring`. Returns `false` if a
    /// strided layer skipped the step.
    fn layers(&mut self, ring: usize, first: usize, count: usize) -> bool {
        let model = self.model;
        let mut rings = self.rings.get_mut(ring..).unwrap_or_default();
        let layers = model.layers.iter().skip(first).take(count);
        for (layer, place) in layers.zip(self.states.iter_mut().skip(first)) {
            let Some((own, others)) = rings.split_at_mut_checked(layer.op.ring_bytes()) else {
                return false;
            };
            rings = others;
            if !run_layer(layer, (&mut *self.wide, &mut self.buffers), own, place) {
                return false;
            }
        }
        true
    }
}

/// Returns every layer's width and initial position.
fn states(model: &Model<'_>) -> Vec<LayerState, MAX_LAYERS> {
    let mut widths = [0; BUFFERS];
    widths[0] = model.step_width();
    let mut states = Vec::new();
    for layer in &model.layers {
        let found = widths.get(usize::from(layer.input)).copied().unwrap_or(0);
        let width = layer.op.affine().map_or(found, |affine| affine.inputs);
        // The list has room for the largest number of layers.
        let _ = states.push(LayerState { width, ..LayerState::default() });
        if let Some(output) = widths.get_mut(usize::from(layer.output)) {
            *output = layer.op.outputs().map_or(width, |outputs| outputs as u16);
        }
    }
    states
}

/// Runs one layer. Returns `false` if its stride skips this step.
fn run_layer(
    layer: &Layer<'_>,
    (wide, buffers): (&mut [u32], &mut [&mut [i8]; BUFFERS]),
    ring: &mut [i8],
    place: &mut LayerState,
) -> bool {
    let output = usize::from(layer.output);
    // The output leaves the array while the layer runs, so that inputs can be borrowed.
    let Some(slot) = buffers.get_mut(output) else { return false };
    let y = core::mem::take(slot);
    let input: &[i8] = buffers.get(usize::from(layer.input)).map_or(&[], |b| b);
    let x = input.get(..usize::from(place.width)).unwrap_or_default();
    let computed = match &layer.op {
        Op::Depthwise { dilation, stride, affine, .. } => {
            let due = place.wait == 0;
            place.wait = if due { stride - 1 } else { place.wait - 1 };
            if due {
                let mut columns = Columns::of(x.len());
                past(x, ring, (place.oldest, *dilation), &mut columns);
                kernels::depthwise(&columns, affine, y);
            }
            remember(x, ring, &mut place.oldest);
            due
        }
        Op::Pointwise { affine } => {
            kernels::pointwise_column(x, affine, wide, y);
            true
        }
        Op::Add { other, x_scale, o_scale, x_zero, o_zero, zero } => {
            let o: &[i8] = buffers.get(usize::from(*other)).map_or(&[], |b| b);
            let scales = kernels::AddScales {
                x_scale: *x_scale,
                o_scale: *o_scale,
                x_zero: *x_zero,
                o_zero: *o_zero,
                zero: *zero,
            };
            kernels::add(x, o, scales, y);
            true
        }
        op => {
            let o = match op {
                Op::Join { other, .. } | Op::AddTflite { other, .. } => {
                    buffers.get(usize::from(*other))
                }
                _ => None,
            };
            run_tflite(op, (x, o.map_or(&[], |o| o)), (ring, wide, place), y);
            true
        }
    };
    if let Some(slot) = buffers.get_mut(output) {
        *slot = y;
    }
    computed
}

/// Runs a layer that was converted from TensorFlow Lite, with the inputs `x` and `o`.
#[inline(never)]
fn run_tflite(
    op: &Op<'_>,
    (x, o): (&[i8], &[i8]),
    (ring, wide, place): (&mut [i8], &mut [u32], &mut LayerState),
    y: &mut [i8],
) {
    match op {
        Op::DepthwiseTflite { dilation, affine, .. } => {
            let mut columns = Columns::of(x.len());
            past(x, ring, (place.oldest, *dilation), &mut columns);
            kernels::tflite::depthwise(&columns, affine, y);
            remember(x, ring, &mut place.oldest);
        }
        Op::PointwiseTflite { affine } => kernels::tflite::pointwise(x, affine, wide, y),
        Op::AddTflite { scales, .. } => kernels::tflite::add(x, o, scales, y),
        Op::Window { .. } => {
            join(ring, x, y);
            // The newest bytes of the window are the history of the next.
            let newest = y.get(x.len()..).unwrap_or_default();
            ring.iter_mut().zip(newest).for_each(|(kept, &new)| *kept = new);
        }
        Op::Join { outputs, .. } => {
            let second = usize::from(*outputs).saturating_sub(x.len());
            join(x, o.get(..second).unwrap_or_default(), y);
        }
        Op::Table { table } => kernels::tflite::table(x, table, y),
        Op::Depthwise { .. } | Op::Pointwise { .. } | Op::Add { .. } => {}
    }
}

/// Writes `front`, then `back` to `y`.
fn join(front: &[i8], back: &[i8], y: &mut [i8]) {
    if let Some((first, rest)) = y.split_at_mut_checked(front.len())
        && let Some(second) = rest.get_mut(..back.len())
    {
        first.copy_from_slice(front);
        second.copy_from_slice(back);
    }
}

/// Adds the columns at the taps of a depthwise layer: `x`, then every `dilation`-th before it.
/// `ring` holds the `(taps − 1) · dilation` columns before `x`, the first of them at column
/// `oldest`.
fn past<'c>(x: &'c [i8], ring: &'c [i8], (oldest, dilation): (u16, u8), columns: &mut Columns<'c>) {
    let width = x.len();
    let back = (usize::from(dilation) * width).max(1);
    columns.push(x);
    let (mut at, mut left) = (usize::from(oldest) * width, ring.len());
    while left >= back {
        left -= back;
        at = if at >= back { at } else { at + ring.len() }.wrapping_sub(back);
        columns.push(ring.get(at..at.wrapping_add(width)).unwrap_or_default());
    }
}

/// Writes `x` over the oldest column of a ring.
fn remember(x: &[i8], ring: &mut [i8], oldest: &mut u16) {
    let start = usize::from(*oldest) * x.len();
    let end = start + x.len();
    if let Some(column) = ring.get_mut(start..end) {
        column.copy_from_slice(x);
        *oldest = if end < ring.len() { *oldest + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests;
