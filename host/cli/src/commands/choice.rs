//! Parser of options that take one of a few names.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use wakeling_core::choice::Choice;
use wakeling_device::board::esphome::{ESPHOME_BOARDS, EspHomeBoard};

/// Parses the name of a value; help and errors list the names.
pub fn choice<T: Choice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let values = T::CHOICES.iter().map(|&(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values)
        .try_map(|name| T::named(&name.to_lowercase()).ok_or("no such value"))
}

/// Parses the name of a board of ESPHome; help and errors list the names.
pub fn esphome_board() -> impl TypedValueParser<Value = &'static EspHomeBoard> {
    let values =
        ESPHOME_BOARDS.iter().map(|board| PossibleValue::new(board.name).help(board.title));
    PossibleValuesParser::new(values).try_map(|name| EspHomeBoard::named(&name))
}
