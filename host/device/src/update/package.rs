//! Signed packages: the content of a device's slot and of a `.wku` file.

use std::path::Path;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakeling_shared::{
    engine::Engine,
    model::Model,
    update::{
        crc32_of,
        package::{HEADER_BYTES, Header, SIGNED_BYTES, Signature},
    },
};

use super::keys::Key;
use crate::model_file;

use crate::{Error, Result};

/// Steps of a self-test: 1.3 s with steps of 40 ms, longer than the receptive field of any
/// backbone.
const TEST_STEPS: usize = 32;

/// Packs a model for a device. The self-test holds the output of the same engine on the host, and
/// `key` signs everything.
///
/// # Errors
/// [`Error::InvalidModel`] if `model` is not a model for audio.
pub fn pack(path: &Path, model: &[u8], version: u32, key: Option<&Key>) -> Result<Vec<u8>> {
    let loaded = model_file::load(path, model)?;
    let mut body = model.to_vec();
    body.resize(body.len().next_multiple_of(8), 0);
    let model_bytes = body.len() as u32;
    body.extend(self_test(&loaded));
    let mut header = Header {
        version,
        model_bytes,
        test_bytes: body.len() as u32 - model_bytes,
        body_crc: crc32_of(&body),
        signature: None,
        enrolled: false,
    };
    if let Some(key) = key {
        header.signature = Some(Signature { key: key.public(), bytes: [0; 64] });
        let mut message = header.encode()[..SIGNED_BYTES].to_vec();
        message.extend(&body);
        header.signature = Some(Signature { key: key.public(), bytes: key.sign(&message) });
    }
    let mut package = header.encode().to_vec();
    package.extend(body);
    Ok(package)
}

/// Generates features by a random walk, and the engine's logits for them, in the format of
/// `wakeling_shared::update::self_test`.
fn self_test(model: &Model<'_>) -> Vec<u8> {
    let (width, words) = (usize::from(model.step_width()), model.words.len());
    let mut random = StdRng::seed_from_u64(1);
    let mut arena = vec![0; model.arena_bytes()];
    let mut features = vec![0i8; width];
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    // A loaded model always fits an arena of its own size.
    if let Ok(mut engine) = Engine::new(model, &mut arena) {
        let mut logits = vec![0; words];
        for _ in 0..TEST_STEPS {
            for feature in &mut features {
                *feature = feature.saturating_add(random.random_range(-30..=30));
            }
            engine.input().copy_from_slice(&features);
            engine.step(&mut logits);
            inputs.extend(features.iter().map(|&feature| feature as u8));
            outputs.extend(logits.iter().flat_map(|logit: &i16| logit.to_le_bytes()));
        }
    }
    let front = [TEST_STEPS, width, words, 0].map(|count| count as u16);
    let mut test: Vec<u8> = front.iter().flat_map(|count| count.to_le_bytes()).collect();
    test.extend(inputs);
    test.extend(outputs);
    test
}

/// Signed package with its decoded header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Decoded header.
    pub header: Header,
    /// Bytes of header, model and self-test.
    pub bytes: Vec<u8>,
}

impl Package {
    /// Reads a package.
    ///
    /// # Errors
    /// [`Error::NotAPackage`] if it is not a package, or was changed; [`Error::Core`] if it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
        Self::of(bytes).ok_or_else(|| Error::NotAPackage { path: path.to_owned() })
    }

    /// Parses a package; `None` if the bytes are not a complete one.
    pub fn of(bytes: Vec<u8>) -> Option<Self> {
        let (front, body) = bytes.split_at_checked(HEADER_BYTES)?;
        let header = Header::decode(front).ok()?;
        let whole = header.body_bytes() as usize == body.len();
        (whole && header.body_crc == crc32_of(body)).then_some(Self { header, bytes })
    }

    /// Returns model and self-test.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }
}
