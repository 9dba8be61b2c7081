//! Ranges of numeric options, checked while the arguments are parsed.
//!
//! A test over all commands checks that every numeric option has a range. Upper bounds are far
//! above useful values; they keep a typing error from starting thousands of threads.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// Maximum number of threads.
pub const MOST_WORKERS: usize = 256;
/// Maximum number of training steps.
pub const MOST_STEPS: usize = 10_000_000;
/// Maximum rate of false accepts per hour.
pub const MOST_PER_HOUR: f64 = 10_000.0;
/// Range of learning rates.
pub const LEARNING_RATES: RangeInclusive<f64> = 1e-9..=10.0;

/// Returns a parser of numbers in `range`. Text that is no number, `nan` and infinities are
/// rejected with a message that names the range.
///
/// The type of the range must be that of the option's field. clap checks this only while parsing,
/// so literals of whole numbers need a suffix (`1..=8_usize`).
pub fn within<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| match text.trim().parse() {
        // No range contains `nan`.
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {} to {}", range.start(), range.end())),
    }
}

/// Returns a parser of seeds: every whole number of 64 bits.
pub fn seed() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(0..=u64::MAX)
}

/// Returns a parser of numbers of worker threads.
pub fn workers() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(1..=MOST_WORKERS)
}

/// Returns a parser of numbers of training steps.
pub fn steps() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(1..=MOST_STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_outside_and_what_is_no_number() {
        let hours = within(0.0..=10.0);
        assert_eq!((hours("0"), hours("2.5"), hours(" 10 ")), (Ok(0.0), Ok(2.5), Ok(10.0)));
        for wrong in ["nan", "inf", "-inf", "-0.1", "10.1", "1e300", "", "ten", "1,5"] {
            assert_eq!(hours(wrong), Err("expected a number from 0 to 10".into()), "{wrong}");
        }
        for wrong in ["0", "-1", "257", "1.5", "18446744073709551616"] {
            assert!(workers()(wrong).unwrap_err().contains("1 to 256"), "{wrong}");
        }
        assert_eq!(seed()("18446744073709551615"), Ok(u64::MAX));
    }
}
