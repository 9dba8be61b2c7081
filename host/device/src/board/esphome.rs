//! Boards on which ESPHome runs an exported network: their microphone and its pins.

use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::table;
use crate::{Error, Result};

/// Number of a GPIO.
pub type Pin = u8;

/// Number of GPIOs of an ESP32-S3 (its datasheet, 2.3).
const PINS: Pin = 49;

/// Analog-to-digital converter between microphone and I²S.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Converter {
    /// ES7210: four channels, for microphones only.
    Es7210,
    /// ES8311: one channel, and one for a speaker.
    Es8311,
}

/// Connection of a microphone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// One bit per sample at a clock.
    Pdm {
        /// Clock.
        clock: Pin,
    },
    /// I²S frames of two samples.
    I2s {
        /// Clock of the bits.
        bit_clock: Pin,
        /// Word select.
        word_select: Pin,
        /// Master clock, if there is a converter that needs one.
        master_clock: Option<Pin>,
    },
}

/// Mode of the external RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Psram {
    /// Four data lines.
    Quad,
    /// Eight data lines.
    Octal,
}

/// Channel of an I²S frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Word select is low.
    Left,
    /// Word select is high.
    Right,
}

/// Lines of the I²C bus that sets up a converter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Converter.
    pub converter: Converter,
    /// I²C data.
    pub data: Pin,
    /// I²C clock.
    pub clock: Pin,
}

/// A board with an ESP32-S3. Its pins were read from [`source`](Self::source), not tried.
///
/// ```
/// use wakeling_device::board::esphome::{Bus, EspHomeBoard};
///
/// let board = EspHomeBoard::named("xiao-s3-sense")?;
/// assert_eq!((board.bus, board.data), (Bus::Pdm { clock: 42 }, 41));
/// # Ok::<(), wakeling_device::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EspHomeBoard {
    /// Name on the command line.
    pub name: &'static str,
    /// Name that its maker gives it.
    pub title: &'static str,
    /// Name of the board in ESPHome.
    pub board: &'static str,
    /// Size of the flash in MB.
    pub flash_mb: u32,
    /// External RAM.
    pub psram: Option<Psram>,
    /// Connection of the microphone.
    pub bus: Bus,
    /// Data from the microphone or its converter.
    pub data: Pin,
    /// Channel of the microphone.
    pub channel: Channel,
    /// Bits of a sample.
    pub bits: u32,
    /// Converter and its set-up, if the microphone is analog.
    pub setup: Option<Setup>,
    /// Document that the pins were read from.
    pub source: &'static str,
}

/// All of them, from `boards.toml`. The first is the default: a microphone wired to a development board.
pub static ESPHOME_BOARDS: LazyLock<&[EspHomeBoard]> = LazyLock::new(table::esphome_boards);

impl EspHomeBoard {
    /// The board of that name.
    ///
    /// # Errors
    /// [`Error::UnknownBoard`], with the names that there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        ESPHOME_BOARDS.iter().find(|board| board.name == name).ok_or_else(|| {
            let known = ESPHOME_BOARDS.iter().map(|board| board.name).collect();
            Error::UnknownBoard { name: name.to_owned(), known }
        })
    }

    /// Returns all its pins.
    pub fn pins(&self) -> Vec<Pin> {
        let mut pins = vec![self.data];
        match self.bus {
            Bus::Pdm { clock } => pins.push(clock),
            Bus::I2s { bit_clock, word_select, master_clock } => {
                pins.extend([bit_clock, word_select]);
                pins.extend(master_clock);
            }
        }
        pins.extend(self.setup.iter().flat_map(|setup| [setup.data, setup.clock]));
        pins
    }
}

/// A board as it is written in the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: &'static str,
    title: &'static str,
    board: &'static str,
    flash_mb: u32,
    psram: Option<Psram>,
    bit_clock: Option<Pin>,
    word_select: Pin,
    master_clock: Option<Pin>,
    data: Pin,
    channel: Channel,
    bits: u32,
    converter: Option<Converter>,
    i2c_data: Option<Pin>,
    i2c_clock: Option<Pin>,
    source: &'static str,
}

impl<'de: 'static> Deserialize<'de> for EspHomeBoard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Entry::deserialize(deserializer)?;
        let setup = match (entry.converter, entry.i2c_data, entry.i2c_clock) {
            (Some(converter), Some(data), Some(clock)) => Some(Setup { converter, data, clock }),
            (None, None, None) => None,
            _ => return Err(D::Error::custom("a converter has i2c_data and i2c_clock")),
        };
        let (word_select, master_clock) = (entry.word_select, entry.master_clock);
        let bus = match entry.bit_clock {
            Some(bit_clock) => Bus::I2s { bit_clock, word_select, master_clock },
            None if setup.is_none() && master_clock.is_none() => Bus::Pdm { clock: word_select },
            None => return Err(D::Error::custom("a PDM microphone has no converter")),
        };
        let board = Self {
            name: entry.name,
            title: entry.title,
            board: entry.board,
            flash_mb: entry.flash_mb,
            psram: entry.psram,
            bus,
            data: entry.data,
            channel: entry.channel,
            bits: entry.bits,
            setup,
            source: entry.source,
        };
        let mut pins = board.pins();
        pins.sort_unstable();
        if pins.iter().any(|&pin| pin >= PINS) || pins.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(D::Error::custom("pins differ, and are those of an ESP32-S3"));
        }
        Ok(board)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for board in ESPHOME_BOARDS.iter() {
            let found = EspHomeBoard::named(board.name).expect("its name");
            assert!(std::ptr::eq(found, board), "{}", board.name);
        }
        let error = EspHomeBoard::named("pico").expect_err("no ESP32");
        let Error::UnknownBoard { known, .. } = error else { panic!("{error}") };
        assert_eq!(known.len(), ESPHOME_BOARDS.len());
    }

    #[test]
    fn rejects_wrong_entries() {
        for (from, to) in [
            ("word_select = 42", "word_select = 41"),
            ("bit_clock = 17", "bit_clock = 49"),
            ("i2c_clock = 0\n", ""),
            ("bit_clock = 9\n", ""),
            ("converter = \"es7210\"", "converter = \"es7211\""),
            ("psram = \"octal\"", "pram = \"octal\""),
        ] {
            assert!(table::rejects(from, to), "{from} → {to}");
        }
    }
}
