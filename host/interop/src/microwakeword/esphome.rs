//! What a person with an ESPHome device needs beside the network: a configuration for an ESP32-S3,
//! and a page that gives the expected false accepts.

use std::fmt::Write as _;

use wakeling_device::sensitivity::{Evidence, FalseAccepts as CountedRate};
use wakeling_shared::model::{Keyword, Model};

use super::{
    counts::FalseAccepts,
    export::Network,
    score::{LOGIT_UNITS, probability},
};

/// Quotes a text as a scalar of YAML, which has the strings of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the configuration of an ESP32-S3 with an I²S microphone that runs the network.
///
/// `manifest` is the file name of the manifest, in the folder of the configuration.
pub fn configuration(keyword: &str, manifest: &str) -> String {
    // A comment ends at the end of its line, and a name of a file has none.
    let label = quoted(keyword);
    let manifest = quoted(manifest);
    format!(
        "\
# The wake word {label} on an ESP32-S3 with ESPHome.
#
# Change the pins to those of your microphone. If you have a configuration already, take over only
# `micro_wake_word` and give it the id of your microphone.

esphome:
  name: wake-word
  friendly_name: {label}

esp32:
  board: esp32-s3-devkitc-1
  framework:
    type: esp-idf

# Modules with PSRAM (N16R8 and others) keep the network's memory there.
# psram:
#   mode: octal
#   speed: 80MHz

logger:

# For updates over the air and for Home Assistant:
# wifi:
#   ssid: !secret wifi_ssid
#   password: !secret wifi_password
# ota:
#   platform: esphome
# api:

i2s_audio:
  - id: i2s_input
    i2s_lrclk_pin: GPIO3
    i2s_bclk_pin: GPIO2

microphone:
  - platform: i2s_audio
    id: i2s_microphone
    i2s_audio_id: i2s_input
    i2s_din_pin: GPIO4
    adc_type: external
    channel: left
    pdm: false
    sample_rate: 16000
    bits_per_sample: 32bit

micro_wake_word:
  id: wake_word
  microphone: i2s_microphone
  stop_after_detection: false
  models:
    - model: {manifest}
  on_wake_word_detected:
    - logger.log:
        format: \"Detected: %s\"
        args: [\"wake_word.c_str()\"]

# Listens from the start on.
interval:
  - interval: 1s
    then:
      - if:
          condition:
            not: micro_wake_word.is_running
          then:
            - micro_wake_word.start:
"
    )
}

/// Returns the page about an exported keyword. `counted` are detections in audio without the
/// keyword.
pub fn page(
    model: &Model<'_>,
    keyword: &Keyword<'_>,
    network: &Network,
    counted: Option<&FalseAccepts>,
) -> String {
    let scale = &network.scale;
    let card = &model.card;
    let mut text = format!(
        "# {} for ESPHome\n\n\
         Exported by Wakeling. Model: {}. Licence: {}.\n\n\
         The score of this network is linear in the logit: 0 is −12, 1 is +12. It is no probability. \
         The device averages {} scores ({} ms) and detects above {}.\n\n\
         ## Expected false accepts\n\n",
        keyword.label,
        card.name,
        card.licence,
        scale.window(),
        u32::from(scale.window()) * u32::from(network.frames_per_step) * 10,
        scale.probability_cutoff(),
    );
    let evidence = Evidence::of(&keyword.points, scale.threshold());
    let _ = writeln!(text, "At this cutoff: {evidence}. Counted when the word was trained.\n");
    if !keyword.points.is_empty() {
        text += "| `probability_cutoff` | false accepts |\n|---|---|\n";
        for point in &keyword.points {
            let cutoff = scale.cutoff_for(point.threshold);
            let rate = CountedRate::from(point);
            let _ = writeln!(text, "| {} | {rate} |", probability(cutoff));
        }
        text += "\nWrite another cutoff beside `model:` in the configuration. A step of 0.01 is ";
        let _ = writeln!(text, "{:.2} log-odds.\n", 2.55 * LOGIT_UNITS / 256.0);
    }
    if let Some(counted) = counted {
        let _ = writeln!(
            text,
            "Detections in {:.1} hours of negatives, on part of which the word was trained: {} by our \
             detector, {} by ESPHome's rule on these scores.\n",
            counted.hours(),
            counted.ours,
            counted.esphome,
        );
    }
    let _ = write!(
        text,
        "## Expected misses\n\n\
         `wakeling evaluate` measures them on recordings of yours. The device decides as `wakeling \
         simulate` does, within one step of the score, and except in the first second after a start or \
         a detection.\n\n\
         ## Memory\n\n\
         | part | bytes |\n|---|---|\n\
         | network, flash | {} |\n\
         | activations | {} |\n\
         | ESP-NN's kernels | {} |\n\
         | past of the layers | {} |\n\
         | interpreter, at most | {} |\n\
         | `tensor_arena_size`, RAM | {} |\n",
        network.file.len(),
        network.arena.activations,
        network.arena.kernels,
        network.arena.variables,
        network.arena.structures,
        network.arena.total(),
    );
    text
}
