//! Cost of the base models on every board, from the figures of emulated processors.
//!
//! `./x bench accept` measures the instructions and writes `costs.toml`, which is part of the
//! program. A board names the machine that has its processor, and the frequency that its program
//! sets. Cycles are computed, not measured: instructions times the factor of the processor, which
//! `docs/lab/power.md` explains.

use std::sync::LazyLock;

use serde::Deserialize;
use wakeling_shared::update::{journal, package};

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
    /// Size of the model file in bytes.
    pub model_bytes: u64,
    /// Size of the arena for the model's state in bytes.
    pub state_bytes: u64,
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

/// A model on a board.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Cost on the board's processor.
    pub cost: &'static Cost,
    /// Cycles for a second of audio, computed.
    pub cycles_per_second: u64,
    /// Share of the processor's cycles in percent, computed; more than 100 if it cannot keep up.
    pub percent: f64,
    /// Number of bytes for a model file: a slot without its header, or the region of a board without
    /// slots.
    pub room: u64,
}

impl Load {
    /// Returns whether flash and arena of the board have room for the model.
    pub fn fits(&self) -> bool {
        self.cost.model_bytes <= self.room && self.cost.state_bytes <= ARENA_BYTES as u64
    }

    /// Returns whether the processor keeps up with the sound, by the computed cycles.
    pub fn keeps_up(&self) -> bool {
        self.percent < 100.0
    }
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
    pub fn loads(&self) -> impl Iterator<Item = Load> {
        let machine = table::machines().iter().find(|machine| machine.name == self.costs_of);
        let factor = machine.map_or(0, |machine| u64::from(machine.cycles_percent));
        let costs = costs().iter().filter(|cost| cost.machine == self.costs_of);
        costs.map(move |cost| {
            let cycles_per_second = cost.instructions_per_second * factor / 100;
            let percent = cycles_per_second as f64 / (1e4 * f64::from(self.clock_mhz));
            Load { cost, cycles_per_second, percent, room: self.room() }
        })
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
            let tiers: Vec<&str> = board.loads().map(|load| load.cost.model.as_str()).collect();
            assert_eq!(tiers, ["S", "M"], "{}", board.name);
            assert!(board.loads().all(|load| load.cycles_per_second > 1_000_000), "{}", board.name);
        }
    }

    #[test]
    fn a_model_that_fills_its_slot_fits_and_a_larger_one_does_not() {
        let board = Board::named("microbit-v2").expect("it is a board");
        let load = board.loads().last().expect("it has costs");
        // 188 KiB without the header of the package.
        assert_eq!(load.room, 188 * 1024 - 128);
        assert!(!load.fits(), "base M needs two thirds of the flash");
        assert!(board.loads().next().is_some_and(|load| load.fits()));
    }
}
