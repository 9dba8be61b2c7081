//! A network over a whole image. Its layers run one after another, each from one region of the
//! arena to another.
//!
//! A tensor is `(height, width, channels)`. A convolution gathers the pixels of a window into one
//! column and runs the pointwise kernel on it. A depthwise layer runs the kernel of the temporal
//! one, with pixels as columns.

use heapless::Vec;

use super::{
    ARENA_ALIGNMENT, ArenaTooSmall,
    kernels::{self, Columns},
};
use crate::{
    fixed::requantize,
    model::{Affine, ImageLayer, ImageModel, ImageOp, MAX_TAPS, Shape, Tensor, Tensors, Window},
};

/// Number of channels that are averaged at once.
const SUMS: usize = 16;
/// Number of convolution windows that are gathered at once; kernels run fastest on this many
/// columns.
const WINDOWS: usize = 4;

impl ImageModel<'_> {
    /// Number of channels in the widest column that a pointwise kernel reads.
    fn column_bytes(&self) -> usize {
        let inputs = self.layers.iter().map(|layer| match &layer.op {
            ImageOp::Convolution { affine, .. } => usize::from(affine.inputs),
            ImageOp::Depthwise { .. } | ImageOp::Average { .. } | ImageOp::Add { .. } => 0,
        });
        inputs.max().unwrap_or(0)
    }

    /// Size of the scratch memory for gathered columns or padding pixels, in bytes.
    fn patch_bytes(&self) -> usize {
        let tensors = self.tensors();
        let bytes = self.layers.iter().map(|layer| match &layer.op {
            ImageOp::Convolution { window, affine, .. } => {
                let shape = tensors.get(layer.input).map(|tensor| tensor.shape);
                let direct = shape.is_some_and(|shape| *window == Window::pixel(shape));
                if direct { 0 } else { WINDOWS * usize::from(affine.inputs) }
            }
            ImageOp::Depthwise { affine, .. } => usize::from(affine.inputs),
            ImageOp::Average { .. } | ImageOp::Add { .. } => 0,
        });
        bytes.max().unwrap_or(0)
    }

    /// Number of bytes that an [`ImageEngine`] needs for tensors and scratch memory.
    pub fn arena_bytes(&self) -> usize {
        let wide = size_of::<u32>() * kernels::wide_words_of_columns(self.column_bytes());
        ARENA_ALIGNMENT - 1 + wide + self.patch_bytes() + self.tensors().bytes()
    }

    /// Number of multiply-accumulates per image.
    pub fn macs(&self) -> usize {
        let layers = self.layers.iter().map(|layer| match &layer.op {
            ImageOp::Convolution { window, affine, .. } => {
                pixels(window) * usize::from(affine.inputs) * usize::from(affine.outputs)
            }
            ImageOp::Depthwise { window, affine, .. } => {
                pixels(window) * window.area() * usize::from(affine.outputs)
            }
            ImageOp::Average { .. } | ImageOp::Add { .. } => 0,
        });
        let logits = usize::from(self.logits.inputs) * usize::from(self.logits.outputs);
        layers.sum::<usize>() + logits
    }
}

/// Number of pixels that a layer writes.
fn pixels(window: &Window) -> usize {
    usize::from(window.rows) * usize::from(window.columns)
}

/// An image network with its arena.
pub struct ImageEngine<'m, 'a> {
    model: &'m ImageModel<'a>,
    tensors: Tensors,
    wide: &'m mut [u32],
    patch: &'m mut [i8],
    arena: &'m mut [i8],
}

impl<'m, 'a> ImageEngine<'m, 'a> {
    /// Creates an engine on the first [`ImageModel::arena_bytes`] of `arena`.
    ///
    /// # Errors
    /// [`ArenaTooSmall`] if the arena is smaller.
    pub fn new(model: &'m ImageModel<'a>, arena: &'m mut [i8]) -> Result<Self, ArenaTooSmall> {
        let expected = model.arena_bytes();
        let too_small = ArenaTooSmall { expected, found: arena.len() };
        let wide_bytes = size_of::<u32>() * kernels::wide_words_of_columns(model.column_bytes());
        let arena = super::aligned(arena, expected).ok_or(too_small)?;
        let (wide, arena) = arena.split_at_mut_checked(wide_bytes).ok_or(too_small)?;
        let wide = bytemuck::try_cast_slice_mut(wide).map_err(|_| too_small)?;
        let tensors = model.tensors();
        let (tensor_bytes, patch_bytes) = (tensors.bytes(), model.patch_bytes());
        let (arena, rest) = arena.split_at_mut_checked(tensor_bytes).ok_or(too_small)?;
        let patch = rest.get_mut(..patch_bytes).ok_or(too_small)?;
        Ok(Self { model, tensors, wide, patch, arena })
    }

    /// The image, row by row, to be written before each run. Layers may overwrite it.
    pub fn input(&mut self) -> &mut [i8] {
        let range = self.tensors.get(0).map_or(0..0, range);
        self.arena.get_mut(range).unwrap_or_default()
    }

    /// Runs the network on the input and writes one logit (Q8) per label.
    pub fn run(&mut self, logits: &mut [i16]) {
        let model = self.model;
        for (number, layer) in (1..).zip(&model.layers) {
            self.layer(layer, number);
        }
        let last = self.tensors.get(model.layers.len() as u8).map_or(0..0, range);
        let x = self.arena.get(last).unwrap_or_default();
        kernels::logits(x, &model.logits, logits);
    }

    /// Runs the layer that writes tensor `number`.
    fn layer(&mut self, layer: &ImageLayer<'_>, number: u8) {
        let Self { tensors, wide, patch, arena, .. } = self;
        let (Some(input), Some(output)) = (tensors.get(layer.input), tensors.get(number)) else {
            return;
        };
        if let ImageOp::Add { other, x_scale, o_scale, x_zero, o_zero, zero } = layer.op {
            let ranges = [*input, *tensors.get(other).unwrap_or(input), *output];
            let scales = kernels::AddScales { x_scale, o_scale, x_zero, o_zero, zero };
            if let Ok([x, o, y]) = arena.get_disjoint_mut(ranges.each_ref().map(range)) {
                kernels::add(x, o, scales, y);
            }
            return;
        }
        // The loader checks that an output overlaps no input.
        let Ok([x, y]) = arena.get_disjoint_mut([range(input), range(output)]) else { return };
        let image = Image { bytes: x, shape: input.shape };
        match &layer.op {
            ImageOp::Convolution { window, affine, .. }
                if *window == Window::pixel(input.shape) =>
            {
                kernels::pointwise(x, affine, wide, y);
            }
            ImageOp::Convolution { window, input_zero, affine } => {
                let inputs = usize::from(affine.inputs);
                let mut positions = positions(window);
                for y in y.chunks_mut(WINDOWS * output.channels()) {
                    let mut windows = 0;
                    let places = positions.by_ref().take(y.len() / output.channels());
                    for (at, patch) in places.zip(patch.chunks_exact_mut(inputs)) {
                        image.gather(window, at, *input_zero, patch);
                        windows += 1;
                    }
                    let x = patch.get(..windows * inputs).unwrap_or_default();
                    kernels::pointwise(x, affine, wide, y);
                }
            }
            ImageOp::Depthwise { window, input_zero, affine } => {
                let padding = patch.get_mut(..output.channels()).unwrap_or_default();
                padding.fill(*input_zero);
                let offsets = image.offsets(window);
                let row_bytes = usize::from(window.columns) * output.channels();
                for (row, y) in y.chunks_exact_mut(row_bytes).enumerate() {
                    image.depthwise_row((window, row), &offsets, padding, affine, y);
                }
            }
            &ImageOp::Average { window, bias, multiplier, zero_point } => {
                for (at, y) in positions(&window).zip(y.chunks_exact_mut(output.channels())) {
                    for (block, y) in y.chunks_mut(SUMS).enumerate() {
                        let mut sums = [bias; SUMS];
                        image.sum(&window, at, block * SUMS, &mut sums);
                        for (y, sum) in y.iter_mut().zip(sums) {
                            *y = requantize(sum, multiplier, zero_point.into());
                        }
                    }
                }
            }
            ImageOp::Add { .. } => {}
        }
    }
}

impl Tensor {
    fn channels(&self) -> usize {
        usize::from(self.shape.channels)
    }
}

/// Returns the byte range of a tensor in the arena.
fn range(tensor: &Tensor) -> core::ops::Range<usize> {
    let start = tensor.offset as usize;
    start..start + tensor.shape.bytes()
}

/// Row and column of a pixel. Outside the image, which includes negative values, it is padding.
#[derive(Clone, Copy)]
struct Pixel {
    row: i32,
    column: i32,
}

/// Iterates over the first pixel of each window, row by row.
fn positions(window: &Window) -> impl Iterator<Item = Pixel> + use<> {
    let [stride_y, stride_x] = [window.stride_y, window.stride_x].map(i32::from);
    let left = -i32::from(window.left);
    let end = left + i32::from(window.columns) * stride_x;
    let mut next = Pixel { row: -i32::from(window.top), column: left };
    (0..pixels(window)).map(move |_| {
        let place = next;
        next.column += stride_x;
        if next.column == end {
            next = Pixel { row: place.row + stride_y, column: left };
        }
        place
    })
}

/// A tensor that a layer reads.
#[derive(Clone, Copy)]
struct Image<'x> {
    bytes: &'x [i8],
    shape: Shape,
}

impl<'x> Image<'x> {
    /// Computes one row of outputs of a depthwise layer. Adjacent windows inside the image share
    /// one call.
    fn depthwise_row(
        &self,
        (window, row): (&Window, usize),
        offsets: &[usize],
        padding: &[i8],
        affine: &Affine<'_>,
        y: &mut [i8],
    ) {
        let Shape { height, width, channels } = self.shape;
        let (stride, left) = (usize::from(window.stride_x), usize::from(window.left));
        let channels = usize::from(channels);
        let columns = usize::from(window.columns);
        let top = row as i32 * i32::from(window.stride_y) - i32::from(window.top);
        let rows_inside = (0..=i32::from(height) - i32::from(window.height)).contains(&top);
        // Windows from `first` to `end` are inside the image.
        let last_start = (usize::from(width) + left).checked_sub(window.width.into());
        let (first, end) = match last_start {
            Some(last) if rows_inside => {
                let first = left.div_ceil(stride.max(1)).min(columns);
                (first, (last / stride.max(1) + 1).clamp(first, columns))
            }
            _ => (columns, columns),
        };
        let place = |column: usize| Pixel {
            row: top,
            column: column as i32 * i32::from(window.stride_x) - i32::from(window.left),
        };
        for (column, y) in y.chunks_exact_mut(channels).enumerate() {
            if !(first..end).contains(&column) {
                let mut columns = Columns::of(channels);
                self.under(window, place(column), padding, &mut columns);
                kernels::depthwise(&columns, affine, y);
            }
        }
        if let (Some(y), true) = (y.get_mut(first * channels..end * channels), first < end) {
            let start = (top as usize * usize::from(width) + first * stride - left) * channels;
            let x = self.bytes.get(start..).unwrap_or_default();
            kernels::depthwise_places(x, offsets, stride * channels, affine, y);
        }
    }

    /// Returns the byte offsets of a window's pixels from the first one.
    fn offsets(&self, window: &Window) -> Vec<usize, MAX_TAPS> {
        let Shape { width, channels, .. } = self.shape;
        let pixels = (0..usize::from(window.height))
            .flat_map(|y| (0..usize::from(window.width)).map(move |x| y * usize::from(width) + x));
        pixels.take(MAX_TAPS).map(|pixel| pixel * usize::from(channels)).collect()
    }

    /// Adds the pixels of a window to `columns`, row by row.
    fn under<'p>(&self, window: &Window, at: Pixel, padding: &'p [i8], columns: &mut Columns<'p>)
    where
        'x: 'p,
    {
        let Shape { height, width, channels } = self.shape;
        let bytes = usize::from(channels);
        for row in at.row..at.row + i32::from(window.height) {
            let inside = (0..i32::from(height)).contains(&row);
            // Outside the image the value is unused.
            let mut start = ((row * i32::from(width) + at.column) as usize).wrapping_mul(bytes);
            for column in at.column..at.column + i32::from(window.width) {
                let mut pixel = padding;
                if inside && (column as u32) < u32::from(width) {
                    pixel = self.bytes.get(start..start.wrapping_add(bytes)).unwrap_or(padding);
                }
                start = start.wrapping_add(bytes);
                columns.push(pixel);
            }
        }
    }

    /// Gathers the pixels of a window into one column in `patch`.
    fn gather(&self, window: &Window, at: Pixel, zero: i8, patch: &mut [i8]) {
        let Shape { height, width, channels } = self.shape;
        let bytes = usize::from(channels);
        let row_bytes = usize::from(window.width) * bytes;
        let image_row = usize::from(width) * bytes;
        // Number of the window's rows and columns before the image, and of those not after it.
        let [top, left] = [at.row, at.column].map(|first| first.min(0).unsigned_abs() as usize);
        let end = |first: i32, length: u16, size: u8| {
            (i32::from(length) - first).clamp(0, size.into()) as usize
        };
        let (bottom, right) =
            (end(at.row, height, window.height), end(at.column, width, window.width));
        let whole = top == 0
            && left == 0
            && bottom == usize::from(window.height)
            && right == usize::from(window.width);
        let start = at.row.max(0) as usize * image_row + at.column.max(0) as usize * bytes;
        let source = self.bytes.get(start..).unwrap_or_default();
        if whole {
            return kernels::gather_rows(source, image_row, row_bytes, patch);
        }
        patch.fill(zero);
        if bottom <= top || right <= left {
            return;
        }
        let rows = patch.chunks_exact_mut(row_bytes).take(bottom).skip(top);
        for (row, source) in rows.zip(source.chunks(image_row)) {
            let target = row.get_mut(left * bytes..right * bytes).unwrap_or_default();
            if let Some(source) = source.get(..target.len()) {
                target.copy_from_slice(source);
            }
        }
    }

    /// Adds the pixels of a window inside the image to `sums`, for its channels from `first` on.
    fn sum(&self, window: &Window, at: Pixel, first: usize, sums: &mut [i32]) {
        let channels = usize::from(self.shape.channels);
        let row_bytes = usize::from(self.shape.width) * channels;
        let skipped = at.column.unsigned_abs() as usize * channels;
        let rows = self.bytes.chunks(row_bytes.max(1)).skip(at.row.unsigned_abs() as usize);
        for row in rows.take(window.height.into()) {
            let pixels = row.get(skipped..).unwrap_or_default().chunks_exact(channels.max(1));
            for pixel in pixels.take(window.width.into()) {
                let channels = pixel.get(first..).unwrap_or_default();
                sums.iter_mut().zip(channels).for_each(|(sum, &x)| *sum += i32::from(x));
            }
        }
    }
}
