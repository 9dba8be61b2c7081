//! Turns nodes into layers on the buffers of a device.

use std::ops::Range;

use wakeling_device::model_file::{PackedTflite, TfliteScales};
use wakeling_shared::model::{BUFFERS, Layer, MAX_LAYERS, MAX_TAPS, Op, TfliteAdd, TfliteScale};

use super::{
    graph::Network,
    kernels::{check_size, doubled},
    nodes::{Affine, Columns, Group, Node, NodeOp},
};
use crate::{ImportError, error::unsupported, tflite::arithmetic::Factor};

/// Largest number of bytes of an activation.
const MAX_WIDTH: usize = 1 << 15;

/// Layer with its arrays.
#[derive(Debug)]
pub struct OwnedLayer {
    input: u8,
    output: u8,
    op: OwnedOp,
}

#[derive(Debug)]
enum OwnedOp {
    Window { history: u16, outputs: u16, input_zero: i8 },
    Table { table: Vec<u8> },
    Join { other: u8, outputs: u16 },
    Depthwise { taps: u8, dilation: u8, input_zero: i8, affine: PackedTflite },
    Pointwise { affine: PackedTflite },
    Add { other: u8, scales: TfliteAdd },
}

impl OwnedLayer {
    /// Returns a borrowed view for a model.
    pub fn layer(&self) -> Layer<'_> {
        let op = match &self.op {
            &OwnedOp::Window { history, outputs, input_zero } => {
                Op::Window { history, outputs, input_zero }
            }
            OwnedOp::Table { table } => Op::Table { table },
            &OwnedOp::Join { other, outputs } => Op::Join { other, outputs },
            OwnedOp::Depthwise { taps, dilation, input_zero, affine } => Op::DepthwiseTflite {
                taps: *taps,
                dilation: *dilation,
                input_zero: *input_zero,
                affine: affine.affine(),
            },
            OwnedOp::Pointwise { affine } => Op::PointwiseTflite { affine: affine.affine() },
            &OwnedOp::Add { other, scales } => Op::AddTflite { other, scales },
        };
        Layer { input: self.input, output: self.output, op }
    }
}

/// Place of a stream's new columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Index of the buffer.
    pub buffer: u8,
    /// Number of bytes of a column.
    pub width: usize,
    /// Byte of each channel in a column.
    pub positions: Vec<usize>,
}

/// Layers of a network, and the place of its output.
#[derive(Debug)]
pub struct Lowered {
    /// The layers in the order of computation.
    pub layers: Vec<OwnedLayer>,
    /// Place of the output.
    pub output: Allocation,
}

/// Turns a network into layers.
///
/// # Errors
/// [`ImportError::Unsupported`], if it is larger than a device's.
pub fn lower(network: &Network) -> Result<Lowered, ImportError> {
    let nodes = &network.nodes;
    // Index of the last node that reads each node; `None` where none of them is needed.
    let mut last_use = vec![None; nodes.len()];
    last_use[network.output] = Some(nodes.len());
    for (index, node) in nodes.iter().enumerate().rev() {
        if last_use[index].is_some() {
            for input in inputs(&node.op) {
                last_use[input.stream] = last_use[input.stream].max(Some(index));
            }
        }
    }
    let mut lowering =
        Lowering { nodes, last_use, allocated: vec![None; nodes.len()], layers: Vec::new() };
    for (index, node) in nodes.iter().enumerate() {
        if lowering.last_use[index].is_some() {
            lowering.node(index, node)?;
        }
    }
    let output = lowering.allocated[network.output].take();
    let Some(output) = output.filter(|_| !lowering.layers.is_empty()) else {
        return unsupported("output", "it is not computed");
    };
    Ok(Lowered { layers: lowering.layers, output })
}

/// Returns the columns that a node reads.
fn inputs(op: &NodeOp) -> Vec<&Columns> {
    match op {
        NodeOp::Input => Vec::new(),
        NodeOp::Dense { input, .. } | NodeOp::Table { input, .. } => vec![input],
        NodeOp::Depthwise { groups } => groups.iter().map(|group| &group.input).collect(),
        NodeOp::Add { inputs } => inputs.iter().collect(),
        NodeOp::Join { inputs } => inputs.iter().collect(),
    }
}

struct Lowering<'n> {
    nodes: &'n [Node],
    last_use: Vec<Option<usize>>,
    allocated: Vec<Option<Allocation>>,
    layers: Vec<OwnedLayer>,
}

impl Lowering<'_> {
    fn node(&mut self, index: usize, node: &Node) -> Result<(), ImportError> {
        let allocated = match &node.op {
            NodeOp::Input => {
                Allocation { buffer: 0, width: node.width, positions: (0..node.width).collect() }
            }
            NodeOp::Dense { input, affine } => self.dense((index, node), input, affine)?,
            NodeOp::Depthwise { groups } => self.depthwise((index, node), groups)?,
            NodeOp::Add { inputs } => self.sum((index, node), inputs)?,
            NodeOp::Table { input, table } => {
                let from = self.newest(&node.place, input)?;
                let table = table.iter().map(|&y| y as u8).collect();
                let buffer =
                    self.push((index, node), from.buffer, &[], OwnedOp::Table { table })?;
                Allocation { buffer, ..from }
            }
            NodeOp::Join { inputs } => self.join((index, node), inputs)?,
        };
        self.allocated[index] = Some(allocated);
        Ok(())
    }

    /// Adds a layer, in a buffer that no later node needs. `held` are buffers of this node.
    fn push(
        &mut self,
        (index, node): (usize, &Node),
        input: u8,
        held: &[u8],
        op: OwnedOp,
    ) -> Result<u8, ImportError> {
        let other = match op {
            OwnedOp::Join { other, .. } | OwnedOp::Add { other, .. } => Some(other),
            _ => None,
        };
        let is_live = |buffer: u8| {
            let needed = |(allocated, last): (&Option<Allocation>, &Option<usize>)| {
                allocated.as_ref().is_some_and(|allocated| allocated.buffer == buffer)
                    && *last > Some(index)
            };
            self.allocated.iter().zip(&self.last_use).any(needed)
        };
        let reads = |buffer: u8| input == buffer || other == Some(buffer) || held.contains(&buffer);
        let free = (0..BUFFERS as u8).rev().find(|&buffer| !is_live(buffer) && !reads(buffer));
        let Some(output) = free else {
            return unsupported(&node.place, format!("more than {BUFFERS} activations at once"));
        };
        if self.layers.len() == MAX_LAYERS {
            return unsupported(&node.place, format!("more than {MAX_LAYERS} layers"));
        }
        self.layers.push(OwnedLayer { input, output, op });
        Ok(output)
    }

    /// Returns where a stream is.
    fn allocation_of(&self, place: &str, stream: usize) -> Result<&Allocation, ImportError> {
        match &self.allocated[stream] {
            Some(allocated) => Ok(allocated),
            None => unsupported(place, "its input is not computed"),
        }
    }

    /// Returns the place of columns that are the newest of their stream, with their channels.
    fn newest(&self, place: &str, input: &Columns) -> Result<Allocation, ImportError> {
        let allocated = self.allocation_of(place, input.stream)?;
        if input.lag != 0 || input.count != self.nodes[input.stream].rate {
            return unsupported(place, "its input is not the newest columns");
        }
        let positions = allocated.positions[input.channels.clone()].to_vec();
        Ok(Allocation { positions, ..allocated.clone() })
    }

    /// Adds what brings columns into one buffer. Returns the buffer, and the number of columns in
    /// it.
    fn window(&mut self, at: (usize, &Node), input: &Columns) -> Result<(u8, usize), ImportError> {
        let place = &at.1.place;
        let rate = self.nodes[input.stream].rate;
        let allocated = self.allocation_of(place, input.stream)?;
        let (buffer, width) = (allocated.buffer, allocated.width);
        if input.reach() <= rate {
            return Ok((buffer, rate));
        }
        let Some(input_zero) = input.initial else {
            return unsupported(place, "columns that no variable keeps");
        };
        let count = input.reach();
        let outputs = bytes(place, count, width)?;
        let history = bytes(place, count - rate, width)?;
        let op = OwnedOp::Window { history, outputs, input_zero };
        Ok((self.push(at, buffer, &[], op)?, count))
    }

    fn dense(
        &mut self,
        at: (usize, &Node),
        input: &Columns,
        affine: &Affine,
    ) -> Result<Allocation, ImportError> {
        let node = at.1;
        let (buffer, count) = self.window(at, input)?;
        let allocated = self.allocation_of(&node.place, input.stream)?;
        let inputs = usize::from(bytes(&node.place, count, allocated.width)?);
        check_size(&node.place, node.width, inputs)?;
        let first = count - input.reach();
        let mut weights = vec![0; node.width * inputs];
        let rows = affine.weights.chunks_exact(input.count * input.width());
        for (row, from) in weights.chunks_exact_mut(inputs).zip(rows) {
            for (column, from) in from.chunks_exact(input.width()).enumerate() {
                for (channel, &weight) in input.channels.clone().zip(from) {
                    let position = allocated.positions[channel];
                    row[(first + column) * allocated.width + position] = weight;
                }
            }
        }
        let affine = PackedTflite::pointwise(&weights, scales(affine, node));
        let buffer = self.push(at, buffer, &[], OwnedOp::Pointwise { affine })?;
        Ok(Allocation { buffer, width: node.width, positions: (0..node.width).collect() })
    }

    fn depthwise(
        &mut self,
        at: (usize, &Node),
        groups: &[Group],
    ) -> Result<Allocation, ImportError> {
        let (place, Some(first)) = (&at.1.place, groups.first()) else {
            return unsupported(&at.1.place, "it has no channels");
        };
        if self.nodes[first.input.stream].rate != 1 {
            let width = self.nodes[first.input.stream].width;
            let reach = groups.iter().map(|group| group.input.reach()).max().unwrap_or(1);
            check_size(place, at.1.width, reach.saturating_mul(width))?;
            let (input, affine) = as_dense(groups, reach, width);
            return self.dense(at, &input, &affine);
        }
        let from = self.allocation_of(place, first.input.stream)?.clone();
        let ages = || groups.iter().flat_map(|group| &group.ages).copied();
        let step = ages().fold(0, greatest_common_divisor).max(1);
        let taps = ages().max().unwrap_or(0) / step + 1;
        let Some(dilation) = u8::try_from(step).ok().filter(|_| taps <= MAX_TAPS) else {
            return unsupported(
                place,
                format!("{taps} taps, {step} steps apart; {MAX_TAPS} taps are supported"),
            );
        };
        let input_zero = match first.input.initial {
            Some(initial) => initial,
            None if taps == 1 => 0,
            None => return unsupported(place, "columns that no variable keeps"),
        };
        let width = from.width;
        let mut weights = vec![0_i16; taps * width];
        let (mut biases, mut multipliers, mut shifts) =
            (vec![0; width], vec![i32::MIN; width], vec![0; width]);
        let mut positions = Vec::new();
        for Group { input, ages, affine } in groups {
            for (i, channel) in input.channels.clone().enumerate() {
                let position = from.positions[channel];
                positions.push(position);
                biases[position] = affine.biases[i];
                multipliers[position] = affine.multipliers[i];
                shifts[position] = affine.shifts[i];
                for (age, row) in ages.iter().zip(affine.weights.chunks_exact(input.width())) {
                    weights[age / step * width + position] = row[i].into();
                }
            }
        }
        let zero_point = at.1.quantization.zero_point as i8;
        let scales = TfliteScales {
            biases: &biases,
            multipliers: &multipliers,
            shifts: &shifts,
            zero_point,
        };
        let affine = PackedTflite::depthwise(&weights, scales);
        let op = OwnedOp::Depthwise { taps: taps as u8, dilation, input_zero, affine };
        let buffer = self.push(at, from.buffer, &[], op)?;
        Ok(Allocation { buffer, width, positions })
    }

    fn sum(
        &mut self,
        at: (usize, &Node),
        inputs: &[Columns; 2],
    ) -> Result<Allocation, ImportError> {
        let place = &at.1.place;
        let [x, o] = [self.newest(place, &inputs[0])?, self.newest(place, &inputs[1])?];
        if (x.width, &x.positions) != (o.width, &o.positions) {
            return unsupported(place, "channels in different order");
        }
        let quantizations = inputs.each_ref().map(|input| self.nodes[input.stream].quantization);
        let [x_scale, o_scale] = quantizations.map(|quantization| f64::from(quantization.scale));
        let y_scale = f64::from(at.1.quantization.scale);
        // `add.cc`: both inputs have 20 fractional bits, on the scale of twice the larger step.
        let twice = 2.0 * x_scale.max(o_scale);
        let real = [x_scale / twice, o_scale / twice, twice / (f64::from(1 << 20) * y_scale)];
        let factors = real.map(|real| Factor::of(real).and_then(scale));
        let [Some(x_scale), Some(o_scale), Some(y_scale)] = factors else {
            return unsupported(place, "scales that are too far apart");
        };
        let [x_zero, o_zero] = quantizations.map(|quantization| quantization.zero_point as i8);
        let zero = at.1.quantization.zero_point as i8;
        let scales = TfliteAdd { x_scale, o_scale, y_scale, x_zero, o_zero, zero };
        let buffer = self.push(at, x.buffer, &[], OwnedOp::Add { other: o.buffer, scales })?;
        Ok(Allocation { buffer, ..x })
    }

    fn join(&mut self, at: (usize, &Node), inputs: &[Columns]) -> Result<Allocation, ImportError> {
        let place = &at.1.place;
        let parts = inputs.iter().map(|input| self.newest(place, input));
        let mut parts = parts.collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(mut joined) = parts.next() else { return unsupported(place, "it has no inputs") };
        let held: Vec<u8> = parts.clone().map(|part| part.buffer).collect();
        for part in parts {
            let outputs = bytes(place, 1, joined.width + part.width)?;
            let op = OwnedOp::Join { other: part.buffer, outputs };
            let buffer = self.push(at, joined.buffer, &held, op)?;
            let shifted = part.positions.iter().map(|position| position + joined.width);
            let positions = joined.positions.iter().copied().chain(shifted).collect();
            joined = Allocation { buffer, width: outputs.into(), positions };
        }
        Ok(joined)
    }
}

/// Returns the number of bytes of `count` columns.
fn bytes(place: &str, count: usize, width: usize) -> Result<u16, ImportError> {
    let bytes = count.checked_mul(width).filter(|&bytes| bytes <= MAX_WIDTH);
    match bytes.and_then(|bytes| u16::try_from(bytes).ok()) {
        Some(bytes) => Ok(bytes),
        None => unsupported(
            place,
            format!("{count} columns of {width} bytes; {MAX_WIDTH} bytes are supported"),
        ),
    }
}

fn scales<'a>(affine: &'a Affine, node: &Node) -> TfliteScales<'a> {
    TfliteScales {
        biases: &affine.biases,
        multipliers: &affine.multipliers,
        shifts: &affine.shifts,
        zero_point: node.quantization.zero_point as i8,
    }
}

/// Represents a factor for a device; `None` if it is 0, or 1 or more.
fn scale(factor: Factor) -> Option<TfliteScale> {
    let shift = u8::try_from(-factor.shift).ok()?;
    (factor.multiplier > 0).then(|| TfliteScale { multiplier: doubled(factor.multiplier), shift })
}

/// Turns a depthwise layer over several new columns a step into one with every weight.
fn as_dense(groups: &[Group], reach: usize, width: usize) -> (Columns, Affine) {
    let outputs: Vec<(&Group, usize)> =
        groups.iter().flat_map(|group| (0..group.input.width()).map(move |i| (group, i))).collect();
    let mut weights = vec![0; outputs.len() * reach * width];
    for ((group, i), row) in outputs.iter().zip(weights.chunks_exact_mut(reach * width)) {
        let channel = group.input.channels.start + i;
        let taps = group.affine.weights.chunks_exact(group.input.width());
        for (age, tap) in group.ages.iter().zip(taps) {
            row[(reach - 1 - age) * width + channel] = tap[*i];
        }
    }
    let of = |values: fn(&Affine) -> &[i32]| {
        outputs.iter().map(|(group, i)| values(&group.affine)[*i]).collect()
    };
    let affine = Affine {
        weights,
        biases: of(|affine| &affine.biases),
        multipliers: of(|affine| &affine.multipliers),
        shifts: of(|affine| &affine.shifts),
    };
    let first = groups.first().map(|group| group.input.clone());
    let all: Range<usize> = 0..width;
    let (stream, initial) = first.map_or((0, None), |input| (input.stream, input.initial));
    (Columns { stream, count: reach, lag: 0, channels: all, initial }, affine)
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
