//! Ranges of the numbers on the command line, checked while the arguments are parsed.
//!
//! Every numeric option has a range; a test over all commands holds them to that. Upper bounds are far
//! above what is useful, and keep a slip of the keyboard from starting thousands of threads.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// Largest number of threads.
pub const MOST_WORKERS: usize = 256;
/// Largest number of training steps.
pub const MOST_STEPS: usize = 10_000_000;
/// Highest rate of false accepts per hour.
pub const MOST_PER_HOUR: f64 = 10_000.0;
/// Learning rates.
pub const LEARNING_RATES: RangeInclusive<f64> = 1e-9..=10.0;

/// Returns a parser of numbers in `range`. A number that is not one, `nan` and infinities are refused
/// with a message that names the range.
///
/// The type of the range must be that of the option's field. clap finds a difference only when it parses,
/// so literals of whole numbers need a suffix (`1..=8_usize`).
pub fn within<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| match text.trim().parse() {
        // Not a number is in no range.
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
