//! Parser of options that take one of a few names.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use wakeling_core::choice::Choice;

/// Parses the name of a value; help and errors list the names.
pub fn choice<T: Choice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let values = T::CHOICES.iter().map(|&(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values)
        .try_map(|name| T::named(&name.to_lowercase()).ok_or("no such value"))
}
