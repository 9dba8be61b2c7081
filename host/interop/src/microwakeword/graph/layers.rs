//! Operators that compute: convolutions, dense layers, sums, and functions of one element.

use super::{
    super::{
        kernels,
        nodes::{Group, NodeOp},
    },
    Follower, Value, quantization,
};
use crate::{
    ImportError,
    error::unsupported,
    tflite::{
        arithmetic,
        read::{Operator, Options, Tensor, element},
    },
};

/// Tensors of a layer with weights.
struct Kernel<'f, 'a> {
    /// Index of the input.
    input: usize,
    filter: &'f Tensor<'a>,
    bias: Option<&'f Tensor<'a>>,
    /// Index of the output.
    output: usize,
}

impl<'f, 'a> Follower<'f, 'a> {
    pub(super) fn convolution(
        &mut self,
        place: &str,
        operator: &Operator<'a>,
    ) -> Result<(), ImportError> {
        let Options::Conv2d(options) = operator.options else {
            return unsupported(place, "it has no options");
        };
        let over_time = kernels::OverTime {
            padding: options.padding(),
            strides: [options.stride_h(), options.stride_w()],
            dilations: [options.dilation_h(), options.dilation_w()],
        };
        let activation = options.activation().unwrap_or(0);
        let Kernel { input, filter, bias, output } = self.kernel(place, operator)?;
        let &[outputs, taps, 1, width] = &filter.shape[..] else {
            let shape = &filter.shape;
            return unsupported(
                place,
                format!("filter {shape:?}; (outputs, time, 1, inputs) is supported"),
            );
        };
        let columns = self.columns(place, input)?.clone();
        let scales = self.scales(place, [input, output], false)?;
        let affine = kernels::affine(place, filter, bias, &scales, (outputs, taps * width))?;
        // Columns that a reshape has made one column of all their channels.
        let is_one = self.graph.tensors[input].shape[..] == [1, 1, 1, width];
        if taps == 1 && is_one && columns.count * columns.width() == width {
            self.add(place, output, NodeOp::Dense { input: columns, affine })?;
            return self.activate(place, output, activation);
        }
        if width != columns.width() {
            return unsupported(place, format!("groups: {width} of {} inputs", columns.width()));
        }
        let ages = over_time.ages(place, taps, &columns)?;
        // Taps with gaps become a window with weights of 0 between them.
        let (input, affine) = kernels::spread(place, columns, &ages, affine)?;
        self.add(place, output, NodeOp::Dense { input, affine })?;
        self.activate(place, output, activation)
    }

    pub(super) fn depthwise(
        &mut self,
        place: &str,
        operator: &Operator<'a>,
    ) -> Result<(), ImportError> {
        let Options::Depthwise(options) = operator.options else {
            return unsupported(place, "it has no options");
        };
        let over_time = kernels::OverTime {
            padding: options.padding(),
            strides: [options.stride_h(), options.stride_w()],
            dilations: [options.dilation_h(), options.dilation_w()],
        };
        let activation = options.activation().unwrap_or(0);
        let Kernel { input: index, filter, bias, output } = self.kernel(place, operator)?;
        let &[1, taps, 1, width] = &filter.shape[..] else {
            let shape = &filter.shape;
            return unsupported(
                place,
                format!("filter {shape:?}; (1, time, 1, channels) is supported"),
            );
        };
        let input = self.columns(place, index)?.clone();
        if width != input.width() || !matches!(options.depth_multiplier(), None | Some(0 | 1)) {
            return unsupported(place, "several outputs per channel");
        }
        let ages = over_time.ages(place, taps, &input)?;
        let scales = self.scales(place, [index, output], false)?;
        let affine = kernels::depthwise(place, filter, bias, &scales, (taps, width))?;
        let group = Group { input, ages, affine };
        self.add(place, output, NodeOp::Depthwise { groups: vec![group] })?;
        self.activate(place, output, activation)
    }

    pub(super) fn dense(
        &mut self,
        place: &str,
        operator: &Operator<'a>,
    ) -> Result<(), ImportError> {
        let Options::FullyConnected(options) = operator.options else {
            return unsupported(place, "it has no options");
        };
        if options.weights_format().unwrap_or(0) != 0 {
            return unsupported(place, "weights in a special layout");
        }
        let activation = options.activation().unwrap_or(0);
        let Kernel { input: index, filter, bias, output } = self.kernel(place, operator)?;
        let &[outputs, inputs] = &filter.shape[..] else {
            return unsupported(place, format!("filter {:?}", filter.shape));
        };
        let input = self.columns(place, index)?.clone();
        if inputs != input.count * input.width() {
            return unsupported(
                place,
                format!("a batch: {inputs} inputs of {}", input.count * input.width()),
            );
        }
        let scales = self.scales(place, [index, output], true)?;
        let affine = kernels::affine(place, filter, bias, &scales, (outputs, inputs))?;
        self.add(place, output, NodeOp::Dense { input, affine })?;
        self.activate(place, output, activation)
    }

    /// Returns the tensors of a layer with weights.
    fn kernel(&self, place: &str, operator: &Operator<'a>) -> Result<Kernel<'f, 'a>, ImportError> {
        let bias = operator.inputs.get(2).copied().flatten();
        Ok(Kernel {
            input: self.input_of(place, operator, 0)?,
            filter: self.tensor_of(place, operator, 1)?,
            bias: bias.map(|index| &self.graph.tensors[index]),
            output: self.output_of(place, operator)?,
        })
    }

    fn scales(
        &self,
        place: &str,
        [input, output]: [usize; 2],
        is_dense: bool,
    ) -> Result<kernels::Scales, ImportError> {
        Ok(kernels::Scales {
            input: quantization(place, &self.graph.tensors[input])?,
            output: quantization(place, &self.graph.tensors[output])?,
            is_dense,
        })
    }

    /// Adds the activation function of the operator that wrote a tensor, unless saturation is all
    /// of it.
    fn activate(&mut self, place: &str, output: usize, activation: i8) -> Result<(), ImportError> {
        let quantization = quantization(place, &self.graph.tensors[output])?;
        let Some(table) = kernels::activation(place, activation, quantization)? else {
            return Ok(());
        };
        let input = self.columns(place, output)?.clone();
        self.add(place, output, NodeOp::Table { input, table: Box::new(table) })
    }

    pub(super) fn sum(&mut self, place: &str, operator: &Operator<'a>) -> Result<(), ImportError> {
        let activation = match operator.options {
            Options::Add(options) => options.activation().unwrap_or(0),
            _ => 0,
        };
        let output = self.output_of(place, operator)?;
        let mut inputs = Vec::new();
        for at in 0..2 {
            let input = self.columns(place, self.input_of(place, operator, at)?)?;
            inputs.push(input.clone());
        }
        let [a, b] = &inputs[..] else { return unsupported(place, "it has no two inputs") };
        if a.width() != b.width() || (a.count, b.count) != (1, 1) {
            return unsupported(place, "inputs of different shape, or of several columns");
        }
        let inputs = [a.clone(), b.clone()];
        self.add(place, output, NodeOp::Add { inputs })?;
        self.activate(place, output, activation)
    }

    pub(super) fn logistic(
        &mut self,
        place: &str,
        operator: &Operator<'a>,
    ) -> Result<(), ImportError> {
        let output = self.output_of(place, operator)?;
        let input = self.input_of(place, operator, 0)?;
        let from = quantization(place, &self.graph.tensors[input])?;
        let to = quantization(place, &self.graph.tensors[output])?;
        if (to.scale, to.zero_point) != (1.0 / 256.0, -128) {
            return unsupported(place, "an output scale other than 1/256");
        }
        let Some(table) = arithmetic::logistic(from.scale, from.zero_point) else {
            return unsupported(place, format!("an input scale of {}", from.scale));
        };
        let input = self.columns(place, input)?.clone();
        self.add(place, output, NodeOp::Table { input, table: Box::new(table) })
    }

    pub(super) fn quantize(
        &mut self,
        place: &str,
        operator: &Operator<'a>,
    ) -> Result<(), ImportError> {
        let output = self.output_of(place, operator)?;
        let input = self.input_of(place, operator, 0)?;
        let tensors = [&self.graph.tensors[input], &self.graph.tensors[output]];
        let stated = |tensor: &Tensor<'_>, lowest: i32| {
            let quantization = quantization(place, tensor)?;
            Ok::<_, ImportError>((quantization.scale, quantization.zero_point + lowest + 128))
        };
        let [from, to] = tensors.map(|t| if t.element == element::UINT8 { 0 } else { -128 });
        if from == 0 {
            return unsupported(place, "an input of uint8");
        }
        let table = arithmetic::requantize(stated(tensors[0], from)?, stated(tensors[1], to)?, to);
        let Some(table) = table else { return unsupported(place, "its scales") };
        let input = self.columns(place, input)?.clone();
        if table.iter().zip(i8::MIN..=i8::MAX).all(|(&y, x)| y == x) {
            // Only the name of the values changes, as from int8 to uint8.
            self.values[output] = Some(Value::Columns(input));
            return Ok(());
        }
        self.add(place, output, NodeOp::Table { input, table: Box::new(table) })
    }
}
