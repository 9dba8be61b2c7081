// Support of the documentation's examples, which include this file.

use wakeling_shared::{
    detector::DetectorParams,
    frontend::{FrontendParams, MEL_CHANNELS, Normalization, Quantizer},
    model::{Affine, Card, Head, Keyword, Layer, Model, Op, write_header},
};

/// Encodes a model with one keyword, "loud", which any loud sound triggers: the logit is the mean feature
/// of a step of 40 ms.
pub fn loud_model() -> Vec<u8> {
    const STEP_FEATURES: usize = 4 * MEL_CHANNELS;
    // Bands of 12 bins each; a bin counts half for either of its two bands.
    let mel_starts: Vec<u8> = (0..42_u16).flat_map(|band| (1 + 6 * band).to_le_bytes()).collect();
    let mel_weights = 2_048_u16.to_le_bytes().repeat(6 * 41);
    // Multipliers are shares of 2³².
    let mean_scale = [[[0; 4], [((1_i64 << 32) / STEP_FEATURES as i64) as i32, 0, 0, 0]]];
    let logit_scale = [[[0; 4], [1 << 30, 0, 0, 0]]];
    let mean = Affine {
        inputs: STEP_FEATURES as u16,
        outputs: 1,
        zero_point: 0,
        weights: &[0x0001_0001; STEP_FEATURES],
        bias_scales: &mean_scale,
    };
    let logits = Affine {
        inputs: 1,
        outputs: 1,
        zero_point: 0,
        weights: &[100, 0, 0, 0, 0, 0, 0, 0],
        bias_scales: &logit_scale,
    };
    let quantizer = Quantizer { offset_q8: 31 * 256, scale_q16: 8 * 256 };
    let model = Model {
        card: Card { name: "example", ..Card::default() },
        frontend: FrontendParams {
            mel_starts: &mel_starts,
            mel_weights: &mel_weights,
            normalization: Normalization::Log { floor: 1 << 16, level: None, quantizer },
        },
        frames_per_step: 4,
        layers: [Layer { input: 0, output: 1, op: Op::Pointwise { affine: mean } }]
            .into_iter()
            .collect(),
        backbone_layers: 1,
        heads: [Head { layers: 0, input: 1, logits }].into_iter().collect(),
        words: [Keyword {
            label: "loud",
            detector: DetectorParams { smoothing_steps: 4, threshold: 0, refractory_steps: 100 },
            points: [].into_iter().collect(),
        }]
        .into_iter()
        .collect(),
        gate: None,
        statistics: None,
    };
    encode(&model)
}

/// Encodes a model file, as `wakeling_device::model_file` does.
fn encode(model: &Model<'_>) -> Vec<u8> {
    let description = postcard::to_allocvec(model).expect("a model this small can be written");
    let mut padded = description.clone();
    padded.resize(description.len().next_multiple_of(8), 0);
    let words = padded.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word));
    let mut body: Vec<u32> = words.collect();
    for words in model.arrays().flatten() {
        body.extend(words);
    }
    let mut file = write_header(description.len(), &body, 0).to_vec();
    file.extend(body.iter().flat_map(|word| word.to_le_bytes()));
    file
}

/// A sawtooth of 400 Hz, 16 kHz mono: loud over the whole spectrum.
pub fn sawtooth(samples: usize) -> Vec<i16> {
    (0..samples).map(|n| (n % 40) as i16 * 400 - 8_000).collect()
}
