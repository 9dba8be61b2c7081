//! Cost of the base models on every board, from the figures of emulated processors.
//!
//! `./x bench accept` measures the instructions and writes `costs.toml`, which is part of the
//! program. A board names the machine that has its processor, and the frequency that its program
//! sets. Cycles are computed, not measured: instructions times the factor of the processor, which
//! `docs/lab/power.md` explains.

use std::sync::LazyLock;

use serde::Deserialize;
use wakeling_shared::{
    model::{MAX_KEYWORDS, Model},
    update::{journal, package},
};

use crate::board::{ARENA_BYTES, Board, table};

/// The file in the root of the repository.
const TEXT: &str = include_str!("../costs.toml");

/// The parsed file. A test parses it, so the program does not fail here.
static COSTS: LazyLock<Vec<Cost>> =
    LazyLock::new(|| parse(TEXT).unwrap_or_else(|error| panic!("costs.toml: {error}")));

/// Cost of a model with one word on one processor.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Cost {
    /// Processor: the name of an emulated machine.
    pub machine: String,
    /// Tier of the model, such as `S`.
    pub model: String,
    /// Instructions for a second of audio, without a gate.
    pub instructions_per_second: u64,
    /// Instructions of the network for a step.
    pub step_instructions: u64,
    /// Audio of a step in milliseconds.
    pub step_ms: u64,
    /// Instructions before the first sample.
    pub setup_instructions: u64,
    /// Instructions of the check of the model, in the first second or two.
    pub check_instructions: u64,
    /// Size of the model file in bytes.
    pub model_bytes: u64,
    /// Size of the arena for the model's state in bytes.
    pub state_bytes: u64,
    /// Cost of a further word; `None` if the model has one word only.
    pub further_word: Option<FurtherWord>,
}

/// What a further word with a head of its own adds to a model.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct FurtherWord {
    /// Instructions for a second of audio, without a gate.
    pub instructions_per_second: u64,
    /// Bytes of the model file.
    pub model_bytes: u64,
    /// Bytes of the arena.
    pub state_bytes: u64,
}

impl Cost {
    /// Returns the cost of the model with this number of words, at least 1.
    pub fn with_words(&self, words: u64) -> Self {
        let (mut cost, further) = (self.clone(), words.saturating_sub(1));
        if let Some(word) = self.further_word {
            cost.instructions_per_second += further * word.instructions_per_second;
            cost.model_bytes += further * word.model_bytes;
            cost.state_bytes += further * word.state_bytes;
        }
        cost
    }
}

#[derive(Deserialize)]
struct Costs {
    cost: Vec<Cost>,
}

fn parse(text: &str) -> Result<Vec<Cost>, toml::de::Error> {
    toml::from_str(text).map(|costs: Costs| costs.cost)
}

/// All of them, by machine and model.
pub fn costs() -> &'static [Cost] {
    &COSTS
}

/// A model with one word on a board.
#[derive(Clone, Copy, Debug)]
pub struct BoardLoad {
    /// Cost on the board's processor.
    pub cost: &'static Cost,
    /// Cycles for a second of audio, computed.
    pub cycles_per_second: u64,
    /// Share of the processor's cycles in percent, computed; more than 100 if it cannot keep up.
    pub percent: f64,
    /// Number of bytes for a model file: a slot without its header, or the region of a board without
    /// slots.
    pub room: u64,
    /// Number of bytes of the whole region of models.
    pub region: u64,
}

impl BoardLoad {
    /// Returns whether flash and arena of the board have room for the model.
    pub fn fits(&self) -> bool {
        has_room(self.cost, self.room)
    }

    /// Returns whether the board has room with firmware without slots, whose model has the whole region.
    pub fn fits_plain(&self) -> bool {
        has_room(self.cost, self.region)
    }

    /// Returns whether the processor keeps up with the sound, by the computed cycles.
    pub fn keeps_up(&self) -> bool {
        keeps_up(self.percent)
    }
}

/// Returns whether a processor keeps up with the sound, by the share of its cycles in percent.
pub fn keeps_up(percent: f64) -> bool {
    percent < 100.0
}

fn has_room(cost: &Cost, room: u64) -> bool {
    cost.model_bytes <= room && cost.state_bytes <= ARENA_BYTES as u64
}

impl Board {
    /// Cost of every base model on this board, smallest model first.
    ///
    /// ```
    /// use wakeling_device::board::Board;
    ///
    /// let nano = Board::named("nano33")?;
    /// for load in nano.loads() {
    ///     println!("{}: {:.0} %, fits: {}", load.cost.model, load.percent, load.fits());
    /// }
    /// assert!(nano.loads().all(|load| load.fits() && load.keeps_up()));
    /// # Ok::<(), wakeling_device::Error>(())
    /// ```
    pub fn loads(&self) -> impl Iterator<Item = BoardLoad> {
        self.all_loads().filter(|load| load.cost.further_word.is_some())
    }

    /// Cost of every measured model on this board: the base models, then those of other systems.
    pub fn all_loads(&self) -> impl Iterator<Item = BoardLoad> {
        let costs = costs().iter().filter(|cost| cost.machine == self.costs_of);
        costs.map(|cost| BoardLoad {
            cost,
            cycles_per_second: self.cycles_per_second(cost),
            percent: self.percent(cost),
            room: self.room(),
            region: self.model.len() as u64,
        })
    }

    /// Share of the processor's cycles in percent that a model takes, computed. `None` for a backbone of
    /// another shape than those that were measured: width and frames in a step tell the tiers apart.
    pub fn percent_of(&self, model: &Model<'_>) -> Option<f64> {
        let tier = match (model.backbone_width(), model.frames_per_step) {
            (96, 4) => "S",
            (192, 4) => "M",
            _ => return None,
        };
        let load = self.loads().find(|load| load.cost.model == tier)?;
        Some(self.percent(&load.cost.with_words(model.words.len() as u64)))
    }

    /// Returns the cost of a model with as many words as fit this board, and their number. It is 1 if
    /// not even one fits.
    pub fn with_all_words(&self, cost: &Cost) -> (u64, Cost) {
        let most = if cost.further_word.is_some() { MAX_KEYWORDS as u64 } else { 1 };
        let costs = (2..=most).rev().map(|words| (words, cost.with_words(words)));
        let mut fitting = costs.filter(|(_, cost)| has_room(cost, self.room()));
        fitting.next().unwrap_or_else(|| (1, cost.clone()))
    }

    /// Share of the processor's cycles in percent that a model takes, computed.
    pub fn percent(&self, cost: &Cost) -> f64 {
        self.cycles_per_second(cost) as f64 / (1e4 * f64::from(self.clock_mhz))
    }

    /// Cycles of the board's processor for a second of audio, computed.
    pub fn cycles_per_second(&self, cost: &Cost) -> u64 {
        // Weights do not fit a cache: each step reads all of them anew.
        let bytes = cost.model_bytes * 1_000 / cost.step_ms.max(1);
        self.cycles(cost.instructions_per_second, bytes)
    }

    /// Cycles of the board's processor for a number of instructions and of bytes read from flash, computed.
    pub fn cycles(&self, instructions: u64, flash_bytes: u64) -> u64 {
        let machine = table::machines().iter().find(|machine| machine.name == self.costs_of);
        let factor = machine.map_or(0, |machine| u64::from(machine.cycles_percent));
        instructions * factor / 100 + flash_bytes * u64::from(self.flash_byte_cycles)
    }

    /// Number of bytes for a model file.
    fn room(&self) -> u64 {
        let region = u64::from(self.model.end - self.model.start);
        self.page_bytes.map_or(region, |page| {
            let slots = region / u64::from(page) - journal::PAGES as u64;
            slots / 2 * u64::from(page) - package::HEADER_BYTES as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use wakeling_shared::model::HEADER_BYTES;

    use super::*;
    use crate::board::BOARDS;

    #[test]
    fn every_board_has_the_costs_of_every_tier() {
        let parsed = parse(TEXT).expect("costs.toml is valid");
        assert!(parsed.iter().all(|cost| cost.model_bytes > HEADER_BYTES as u64));
        for board in BOARDS.iter() {
            let of = |loads: &mut dyn Iterator<Item = BoardLoad>| -> Vec<&str> {
                loads.map(|load| load.cost.model.as_str()).collect()
            };
            assert_eq!(of(&mut board.loads()), ["S", "M"], "{}", board.name);
            let all = of(&mut board.all_loads());
            assert_eq!(all, ["S", "M", "microWakeWord alexa"], "{}", board.name);
            assert!(board.loads().all(|load| load.cycles_per_second > 1_000_000), "{}", board.name);
        }
    }

    /// The emulated Pico, whose flash has a cache, is busy for 48 % of the time with base S, and misses real
    /// time with base M (docs/lab/pico.md).
    #[test]
    fn waiting_for_flash_counts() {
        let board = Board::named("pico").expect("it is a board");
        let loads: Vec<BoardLoad> = board.loads().collect();
        assert!((38.0..55.0).contains(&loads[0].percent), "{}", loads[0].percent);
        assert!(loads[0].keeps_up() && !loads[1].keeps_up(), "{}", loads[1].percent);
    }

    #[test]
    fn a_model_that_fills_its_slot_fits_and_a_larger_one_does_not() {
        let board = Board::named("microbit-v2").expect("it is a board");
        let loads: Vec<BoardLoad> = board.loads().collect();
        // 188 KiB without the header of the package.
        assert_eq!(loads[0].room, 188 * 1024 - 128);
        assert!(loads[0].fits() && !loads[1].fits(), "base M takes two thirds of the flash");
        let (words, most) = board.with_all_words(loads[0].cost);
        assert!(words > 1 && board.percent(&most) > loads[0].percent);
        assert!(has_room(&most, loads[0].room));
        assert!(!has_room(&loads[0].cost.with_words(words + 1), loads[0].room) || words == 16);
        assert_eq!(board.with_all_words(loads[1].cost).0, 1);
    }
}
