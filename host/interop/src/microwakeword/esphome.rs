//! What a person with an ESPHome device needs beside the network: a configuration for the board, and a
//! page that gives the expected false accepts.

use std::fmt::Write as _;

use wakeling_device::{
    board::esphome::{Bus, Channel, Converter, EspHomeBoard, Pin, Psram, Setup},
    sensitivity::{Evidence, FalseAccepts as CountedRate},
};
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

/// Pins that set the chip's mode at a reset (ESP32-S3 datasheet, 3). ESPHome warns of them.
const STRAPPING: [Pin; 4] = [0, 3, 45, 46];

/// Pins of the USB port that ESPHome logs to (ESP32-S3 datasheet, 3).
const USB: [Pin; 2] = [19, 20];

/// Formats the logger: a serial port if the USB port's pins have another use.
fn logger(board: &EspHomeBoard) -> &'static str {
    let is_usb_taken = board.pins().iter().any(|pin| USB.contains(pin));
    if is_usb_taken { "logger:\n  hardware_uart: UART0\n" } else { "logger:\n" }
}

/// Returns the value of a field for a pin; `indent` is that of the field.
fn pin(pin: Pin, indent: usize) -> String {
    if !STRAPPING.contains(&pin) {
        return format!("GPIO{pin}");
    }
    let indent = " ".repeat(indent + 2);
    format!("\n{indent}number: GPIO{pin}\n{indent}ignore_strapping_warning: true")
}

/// Formats the external RAM, where ESPHome then keeps the network's memory.
fn psram(mode: Option<Psram>) -> &'static str {
    match mode {
        Some(Psram::Octal) => "psram:\n  mode: octal\n  speed: 80MHz\n",
        Some(Psram::Quad) => "psram:\n  mode: quad\n  speed: 80MHz\n",
        None => {
            "# Modules with PSRAM (N16R8 and others) keep the network's memory there.\n\
             # psram:\n#   mode: octal\n#   speed: 80MHz\n"
        }
    }
}

/// Formats the converter and the bus that sets it up.
fn converter(setup: Option<Setup>, bits: u32) -> String {
    let Some(Setup { converter, data, clock }) = setup else { return String::new() };
    let (component, platform, more) = match converter {
        Converter::Es7210 => ("audio_adc", "es7210", ""),
        // ESPHome lists it as a converter for speakers.
        Converter::Es8311 => ("audio_dac", "es8311", "    use_microphone: true\n"),
    };
    format!(
        "\
i2c:
  - id: converter_bus
    sda: {}
    scl: {}

{component}:
  - platform: {platform}
    id: converter
    i2c_id: converter_bus
    sample_rate: 16000
    bits_per_sample: {bits}bit
{more}
",
        pin(data, 4),
        pin(clock, 4),
    )
}

/// Formats the bus of the microphone.
fn bus(bus: Bus) -> String {
    match bus {
        Bus::Pdm { clock } => format!("    i2s_lrclk_pin: {}\n", pin(clock, 4)),
        Bus::I2s { bit_clock, word_select, master_clock } => {
            let mut text = format!(
                "    i2s_lrclk_pin: {}\n    i2s_bclk_pin: {}\n",
                pin(word_select, 4),
                pin(bit_clock, 4),
            );
            if let Some(clock) = master_clock {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "    i2s_mclk_pin: {}", pin(clock, 4));
            }
            text
        }
    }
}

/// Returns the configuration of a board with an ESP32-S3 that runs the network.
///
/// `manifest` is the file name of the manifest, in the folder of the configuration.
pub fn configuration(keyword: &str, manifest: &str, board: &EspHomeBoard) -> String {
    // A comment ends at the end of its line, and a name of a file has none.
    let label = quoted(keyword);
    let manifest = quoted(manifest);
    let channel = match board.channel {
        Channel::Left => "left",
        Channel::Right => "right",
    };
    format!(
        "\
# The wake word {label} on {title} with ESPHome.
#
# Pins: {source}.
# If you have a configuration already, take over only `micro_wake_word` and give it the id of your
# microphone.

esphome:
  name: wake-word
  friendly_name: {label}

esp32:
  board: {name}
  flash_size: {flash}MB
  framework:
    type: esp-idf

{psram}
{logger}
# For updates over the air and for Home Assistant:
# wifi:
#   ssid: !secret wifi_ssid
#   password: !secret wifi_password
# ota:
#   platform: esphome
# api:

{converter}i2s_audio:
  - id: i2s_input
{bus}
microphone:
  - platform: i2s_audio
    id: board_microphone
    i2s_audio_id: i2s_input
    i2s_din_pin: {data}
    adc_type: external
    channel: {channel}
    pdm: {pdm}
    sample_rate: 16000
    bits_per_sample: {bits}bit

micro_wake_word:
  id: wake_word
  microphone: board_microphone
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
",
        title = board.title,
        source = board.source,
        name = board.board,
        flash = board.flash_mb,
        psram = psram(board.psram),
        logger = logger(board),
        converter = converter(board.setup, board.bits),
        bus = bus(board.bus),
        data = pin(board.data, 4),
        pdm = matches!(board.bus, Bus::Pdm { .. }),
        bits = board.bits,
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
