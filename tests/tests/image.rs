//! Tests of image networks: the engine against layers transcribed from their formulas, hostile
//! files, and the emulated chip against the laptop.

use wakeling_device::{
    emulator::{Emulator, IMAGE, Machine},
    model_file::encode_image,
};
use wakeling_shared::{
    engine::ImageEngine,
    fixed::{requantize, requantize_logit},
    model::{
        Affine, HEADER_BYTES, ImageModel, ImageOp, LoadError, Model, Shape, ShapeError, Window,
        write_header,
    },
};
use wakeling_tests::{
    Random, Tier, device, forms,
    image::{Network, random_image_model, tier_model},
    random_model,
};
use wakeling_vision::{
    file::ImageNetwork,
    metrics::measure,
    network::{NetworkConfig, Tier as ImageTier},
    pixels::quantized,
    quantize, simulate,
    training::{Settings, train},
};

const NETWORKS: [Network; 3] = [Network::Small, Network::KeywordSpotting, Network::VisualWakeWords];

fn image(seed: u64, shape: Shape) -> Vec<i8> {
    let mut random = Random::new(seed);
    (0..shape.bytes()).map(|_| (100.0 * random.unit()) as i8).collect()
}

fn run(model: &ImageModel<'_>, image: &[i8]) -> Vec<i16> {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = ImageEngine::new(model, &mut arena).expect("the arena fits");
    engine.input().copy_from_slice(image);
    let mut logits = vec![0; model.labels.len()];
    engine.run(&mut logits);
    logits
}

/// Returns the pixels of the window at `(y, x)`: row and column, or `None` outside the image.
fn under(window: &Window, shape: Shape, y: usize, x: usize) -> Vec<Option<(usize, usize)>> {
    let mut pixels = Vec::new();
    for ky in 0..usize::from(window.height) {
        for kx in 0..usize::from(window.width) {
            let row = (y * usize::from(window.stride_y) + ky).checked_sub(window.top.into());
            let column = (x * usize::from(window.stride_x) + kx).checked_sub(window.left.into());
            let pixel = row.zip(column);
            pixels.push(pixel.filter(|&(row, column)| {
                row < usize::from(shape.height) && column < usize::from(shape.width)
            }));
        }
    }
    pixels
}

/// Transcription of one layer.
fn layer(op: &ImageOp<'_>, x: &[i8], o: &[i8], shape: Shape) -> Vec<i8> {
    let output = op.output(shape);
    let channels = usize::from(shape.channels);
    let value = |pixel: Option<(usize, usize)>, c: usize, zero: i8| {
        let at = |(row, column)| (row * usize::from(shape.width) + column) * channels + c;
        i32::from(pixel.map_or(zero, |pixel| x[at(pixel)]))
    };
    let bias = |affine: &Affine<'_>, o: usize| affine.bias_scales[o / 4][0][o % 4];
    let finish = |affine: &Affine<'_>, o: usize, acc| {
        requantize(acc, affine.bias_scales[o / 4][1][o % 4], affine.zero_point.into())
    };
    let mut y = Vec::new();
    for row in 0..usize::from(output.height) {
        for column in 0..usize::from(output.width) {
            for out in 0..usize::from(output.channels) {
                y.push(match op {
                    ImageOp::Convolution { window, input_zero, affine } => {
                        let pixels = under(window, shape, row, column);
                        let product = |i: usize| {
                            let x = value(pixels[i / channels], i % channels, *input_zero);
                            affine.pointwise_weight(out, i) * x
                        };
                        let sum: i32 = (0..pixels.len() * channels).map(product).sum();
                        finish(affine, out, bias(affine, out) + sum)
                    }
                    ImageOp::Depthwise { window, input_zero, affine } => {
                        let pixels = under(window, shape, row, column);
                        let product = |(k, &pixel): (usize, &Option<(usize, usize)>)| {
                            let w = affine.depthwise_weight(pixels.len(), k, out);
                            w * value(pixel, out, *input_zero)
                        };
                        let sum: i32 = pixels.iter().enumerate().map(product).sum();
                        finish(affine, out, bias(affine, out) + sum)
                    }
                    ImageOp::Average { window, bias, multiplier, zero_point } => {
                        let pixels = under(window, shape, row, column);
                        let sum: i32 = pixels.iter().map(|&p| value(p, out, 0)).sum();
                        requantize(bias + sum, *multiplier, (*zero_point).into())
                    }
                    ImageOp::Add { x_scale, o_scale, x_zero, o_zero, zero, .. } => {
                        let at = (row * usize::from(shape.width) + column) * channels + out;
                        let scaled = |value: i8, zero: i8, scale: i32| {
                            (i64::from(value) - i64::from(zero)) * i64::from(scale)
                        };
                        let sum =
                            scaled(x[at], *x_zero, *x_scale) + scaled(o[at], *o_zero, *o_scale);
                        let sum = i64::from(*zero) + ((sum + (1 << 19)) >> 20);
                        sum.clamp(-128, 127) as i8
                    }
                });
            }
        }
    }
    y
}

/// Transcription of the whole network, with a vector for each tensor.
fn reference(model: &ImageModel<'_>, image: &[i8]) -> Vec<i16> {
    let mut tensors = vec![(image.to_vec(), model.shape)];
    for l in &model.layers {
        let (x, shape) = &tensors[usize::from(l.input)];
        let o = match l.op {
            ImageOp::Add { other, .. } => &tensors[usize::from(other)].0,
            _ => x,
        };
        let y = layer(&l.op, x, o, *shape);
        let mut seen = y.clone();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 5, "a tensor of {} values: a test of nothing", seen.len());
        tensors.push((y, l.op.output(*shape)));
    }
    let (x, _) = tensors.last().expect("there is the input");
    let logit = |o: usize| {
        let products = x.iter().enumerate();
        let sum: i32 =
            products.map(|(i, &x)| model.logits.pointwise_weight(o, i) * i32::from(x)).sum();
        let [biases, multipliers] = &model.logits.bias_scales[o / 4];
        requantize_logit(biases[o % 4] + sum, multipliers[o % 4])
    };
    (0..model.labels.len()).map(logit).collect()
}

#[test]
fn the_engine_is_its_formulas() {
    for (network, seeds) in NETWORKS.into_iter().zip([20, 3, 1]) {
        for seed in 0..seeds {
            let file = random_image_model(seed, network);
            let model = ImageModel::load(&file).expect("the model is valid");
            let image = image(seed + 1, model.shape);
            assert_eq!(run(&model, &image), reference(&model, &image), "{network:?} {seed}");
        }
    }
}

#[test]
fn the_shapes_are_those_of_the_benchmark() {
    let expected = [
        (Network::KeywordSpotting, 2_656_768, 16_000),
        (Network::VisualWakeWords, 7_489_664, 55_296),
    ];
    for (network, macs, peak) in expected {
        let file = random_image_model(1, network);
        let model = ImageModel::load(&file).expect("the model is valid");
        assert_eq!((model.macs(), model.tensors().bytes()), (macs, peak), "{network:?}");
    }
}

#[test]
fn a_second_run_forgets_the_first() {
    let file = random_image_model(3, Network::Small);
    let model = ImageModel::load(&file).expect("the model is valid");
    let images = [image(1, model.shape), image(2, model.shape)];
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = ImageEngine::new(&model, &mut arena).expect("the arena fits");
    for image in [&images[0], &images[1], &images[0]] {
        engine.input().copy_from_slice(image);
        let mut logits = vec![0; model.labels.len()];
        engine.run(&mut logits);
        assert_eq!(logits, run(&model, image));
    }
}

#[test]
fn distinguishes_audio_from_image_models() {
    let (image, sound) = (random_image_model(1, Network::Small), random_model(1, Tier::Tiny));
    assert_eq!(Model::load(&image).err(), Some(LoadError::Kind { image: true }));
    assert_eq!(ImageModel::load(&sound).err(), Some(LoadError::Kind { image: false }));
}

#[test]
fn file_survives_a_round_trip() {
    for network in NETWORKS {
        let file = random_image_model(5, network);
        let model = ImageModel::load(&file).expect("the model is valid");
        assert!(encode_image(&model).expect("it can be written") == file);
    }
}

#[test]
fn every_truncation_and_flipped_bit_is_refused() {
    let file = random_image_model(2, Network::Small);
    for length in 0..file.len() {
        assert!(ImageModel::load(&file[..length]).is_err(), "{length}");
    }
    for bit in 0..8 * file.len() {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(ImageModel::load(&damaged).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

/// Returns the approximate cost of a network, since a forged one may be valid and run for a day.
fn work(model: &ImageModel<'_>) -> usize {
    let tensors = model.tensors();
    let layers = model.layers.iter().zip(tensors.iter().skip(1)).map(|(layer, tensor)| {
        let area = match &layer.op {
            ImageOp::Average { window, .. } => window.area(),
            ImageOp::Convolution { affine, .. } => usize::from(affine.inputs),
            ImageOp::Depthwise { .. } | ImageOp::Add { .. } => 32,
        };
        area * tensor.shape.bytes()
    });
    layers.sum::<usize>() + model.arena_bytes()
}

#[test]
fn a_forged_checksum_leads_to_refusal_or_to_a_model_that_runs() {
    let (mut accepted, mut refused) = (0, 0);
    let file = random_image_model(4, Network::Small);
    let described = u32::from_le_bytes(file[12..16].try_into().expect("four bytes")) as usize;
    let random = &mut Random::new(9);
    for round in 0..12_000 {
        let mut body = file[HEADER_BYTES..].to_vec();
        // Changes mostly the description, in several bytes.
        let places = if round < 6_000 { described } else { body.len() };
        for _ in 0..1 + random.below(3) {
            body[random.below(places)] = random.bits() as u8;
        }
        let words: Vec<u32> =
            body.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        let mut forged = write_header(described, &words, 2).to_vec();
        forged.extend(body);
        match ImageModel::load(&forged) {
            Ok(model) if work(&model) < 1 << 20 => {
                let image = image(1, model.shape);
                assert_eq!(run(&model, &image).len(), model.labels.len());
                accepted += 1;
            }
            Ok(_) => {}
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_tensor_that_was_written_over_cannot_be_read() {
    let file = random_image_model(6, Network::Small);
    let mut model = ImageModel::load(&file).expect("the model is valid");
    // Layer 3 adds tensor 2, so layer 2 must not overwrite it.
    model.layers[2].offset = model.layers[1].offset;
    let forged = encode_image(&model).expect("it can be written");
    let expected = ShapeError::Buffer { layer: 2, buffer: 2 };
    assert_eq!(ImageModel::load(&forged).err(), Some(LoadError::Shape(expected)));
}

/// Returns the emulator with the firmware for image networks.
fn emulator(machine: Machine) -> Option<Emulator> {
    device::emulator(machine, IMAGE)
}

/// Returns the number after `name=`.
fn value(stats: &str, name: &str) -> u64 {
    let found = stats.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.and_then(|value| value.parse().ok()).expect("the statistic is there")
}

#[test]
fn chip_prints_the_same_as_the_laptop() {
    let Some(emulator) = emulator(Machine::CORTEX_M4) else { return };
    // The limits compare with 7.70 M and 24.10 M of TensorFlow Lite Micro with CMSIS-NN.
    for (network, limit) in NETWORKS.into_iter().zip([u64::MAX, 3_900_000, 13_000_000]) {
        let file = random_image_model(7, network);
        let model = ImageModel::load(&file).expect("the model is valid");
        let image = image(8, model.shape);
        // A sample holds two bytes of the image.
        let samples: Vec<i16> = image
            .chunks(2)
            .map(|pair| i16::from_le_bytes([pair[0] as u8, pair.get(1).map_or(0, |&x| x as u8)]))
            .collect();
        let text = emulator.run(&file, &samples, false).expect("it runs");
        let (lines, stats) = text.trim_end().split_once('\n').expect("logits, then statistics");
        let logits: Vec<String> = run(&model, &image).iter().map(i16::to_string).collect();
        assert_eq!(lines, format!("logits {}", logits.join(" ")), "{network:?}");
        let instructions = value(stats, "audio_instructions");
        println!("{network:?}: {} MAC, {instructions} instructions; {stats}", model.macs());
        assert!(instructions <= limit, "{network:?}: {instructions} instructions");
    }
}

/// Trains a model on generated images, so that weights, ranges and scales are realistic.
fn trained() -> Vec<u8> {
    let images = forms::forms(1, 120, 16);
    let config = NetworkConfig::new(0.5, 16, 1);
    let fresh = ImageNetwork::fresh(config, images.labelling, &images.labels, 1);
    let settings = Settings::new(400, 4e-3, 1, 1);
    let network = train(fresh.expect("a network"), &images, None, &settings);
    quantize::encode(&network.expect("it trains")).expect("a model")
}

#[test]
fn trained_network_equals_its_formulas_and_the_chip() {
    let file = trained();
    let model = ImageModel::load(&file).expect("the model is valid");
    let test = forms::forms(2, 60, 16);
    let logits = simulate::logits(&model, &test).expect("it runs");
    let measured = measure(&test, &logits);
    assert!(measured.accuracy.right >= 54, "{:?}", measured.accuracy);
    let emulator = emulator(Machine::CORTEX_M4);
    for example in &test.all[..6] {
        let image: Vec<i8> = example.pixels.iter().map(|&p| quantized(p)).collect();
        let expected = reference(&model, &image);
        assert_eq!(simulate::run(&model, &example.pixels).expect("it runs"), expected);
        if emulator.is_some() {
            let lines = simulate::emulated_lines(Machine::CORTEX_M4, &file, &example.pixels);
            let lines = lines.expect("the board runs it");
            let line = simulate::line(&model, &example.pixels).expect("it runs");
            assert_eq!(lines.lines().next(), Some(line.as_str()));
        }
    }
}

#[test]
fn image_of_96_by_96_costs_half_of_the_anchor() {
    // TensorFlow Lite Micro with CMSIS-NN takes 24.10 M instructions and 100.7 KB on a Cortex-M4,
    // and 6.56 M on a Cortex-M55, for MLPerf Tiny's visual wake words, 96 × 96 × 3.
    for (machine, tier, limit) in [
        (Machine::CORTEX_M4, ImageTier::S, 24_100_000 / 2),
        (Machine::CORTEX_M4, ImageTier::M, 24_100_000 / 2),
        (Machine::CORTEX_M55, ImageTier::S, 6_560_000 / 2),
        (Machine::CORTEX_M55, ImageTier::M, 6_560_000 / 2),
    ] {
        let Some(emulator) = emulator(machine) else { continue };
        let file = tier_model(1, tier, 96);
        let model = ImageModel::load(&file).expect("the model is valid");
        let samples = simulate::samples(&vec![77; model.shape.bytes()]);
        let text = emulator.run(&file, &samples, false).expect("it runs");
        let stats = text.trim_end().lines().last().expect("statistics");
        let instructions = value(stats, "audio_instructions");
        let (name, macs) = (machine.name, model.macs());
        println!("{tier:?} on {name}: {macs} MAC, {} bytes; {stats}", file.len());
        assert!(instructions <= limit, "{tier:?} on {name}: {instructions}");
    }
}
