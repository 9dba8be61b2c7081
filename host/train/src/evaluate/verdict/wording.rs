//! Counts in plain words: shares as "1 in 8", rates as "every two hours".

use super::super::{interval, poisson_interval, upper_rate};
use wakeling_device::sensitivity::FalseAccepts;

/// Number of recordings below which their share is no statement.
pub(super) const FEWEST_RECORDINGS: usize = 10;
/// Ratio of the ends of an interval up to which one number stands for it: of the odds of a share,
/// or of a rate.
const NARROW: f64 = 5.0;
/// Number of false accepts up to which only an upper bound of their rate is given.
const FEW_EVENTS: usize = 3;

/// Shares above a third that have a name, with the name.
const LARGE_SHARES: [(f64, &str); 7] = [
    (0.4, "2 in 5"),
    (0.5, "half"),
    (0.6, "3 in 5"),
    (2.0 / 3.0, "2 in 3"),
    (0.75, "3 in 4"),
    (0.8, "4 in 5"),
    (0.9, "9 in 10"),
];
/// Largest share that is "1 in 3".
const LARGEST_UNIT: f64 = 0.36;

/// Formats misses of recordings, to follow "it misses": "about 1 in 8".
///
/// One number stands for a narrow interval, its ends for a wide one, and the counts for too few
/// recordings.
pub(super) fn misses(misses: usize, recordings: usize) -> String {
    let (low, high) = interval(misses, recordings);
    let share = misses as f64 / recordings.max(1) as f64;
    match misses {
        _ if recordings < FEWEST_RECORDINGS => counted(misses, recordings),
        0 => format!("none of {recordings} (at most {})", rounded_up(high)),
        all if all == recordings => format!("all of {recordings}"),
        _ => {
            let odds = |p: f64| p / (1.0 - p).max(1e-9);
            let (value, name) = nearest(share);
            if odds(high) <= NARROW * odds(low) && (low..=high).contains(&value) {
                format!("about {name}")
            } else {
                format!("between {} and {}", rounded_down(low), rounded_up(high))
            }
        }
    }
}

/// Formats a count of misses: "none of 4", "1 of 4", "all of 4".
pub(super) fn counted(misses: usize, recordings: usize) -> String {
    match misses {
        0 => format!("none of {recordings}"),
        all if all == recordings => format!("all of {recordings}"),
        some => format!("{some} of {recordings}"),
    }
}

/// Returns the nearest share that has a name, and its name.
fn nearest(share: f64) -> (f64, String) {
    if share <= LARGEST_UNIT {
        let number = rounded(1.0 / share);
        return (1.0 / number, format!("1 in {number}"));
    }
    let distance = |value: f64| (value - share).abs();
    let nearer = |a: (f64, &'static str), b: (f64, &'static str)| {
        if distance(b.0) < distance(a.0) { b } else { a }
    };
    let (value, name) = LARGE_SHARES.into_iter().fold(LARGE_SHARES[0], nearer);
    (value, name.to_owned())
}

/// Returns the name of a share that is at most `share`.
fn rounded_down(share: f64) -> String {
    let large = LARGE_SHARES.iter().rev().find(|(value, _)| *value <= share);
    match large {
        Some((_, name)) => (*name).to_owned(),
        None => format!("1 in {}", round_to((1.0 / share.max(1e-9)).ceil(), f64::ceil)),
    }
}

/// Returns the name of a share that is at least `share`.
fn rounded_up(share: f64) -> String {
    if share <= 1.0 / 3.0 {
        return format!("1 in {}", round_to((1.0 / share.max(1e-9)).floor(), f64::floor));
    }
    let large = LARGE_SHARES.iter().find(|(value, _)| *value >= share);
    large.map_or("all", |(_, name)| name).to_owned()
}

/// Rounds a number to about two digits.
fn rounded(number: f64) -> f64 {
    round_to(number.round(), f64::round)
}

/// Rounds a whole number from 20 on to multiples of five, and larger ones to two digits.
fn round_to(number: f64, round: fn(f64) -> f64) -> f64 {
    let unit = match number {
        n if n < 20.0 => 1.0,
        n if n < 100.0 => 5.0,
        n => 10f64.powf(n.log10().floor() - 1.0),
    };
    round(number / unit) * unit
}

/// Formats false accepts as a clause: "expect a false wake about every two hours".
pub(super) fn false_wakes(accepts: &FalseAccepts) -> String {
    let FalseAccepts { count, hours } = *accepts;
    if hours.is_nan() || hours <= 0.0 {
        return "false wakes were not measured".into();
    }
    let times = match count {
        0 => "no false wake".into(),
        1 => "one false wake".into(),
        n => format!("{} false wakes", number(n)),
    };
    let counted = format!("{times} in {} of other sound", length(hours));
    if !accepts.is_rate() {
        return format!("{counted}, too little to estimate how often");
    }
    if count <= FEW_EVENTS {
        let bound = 1.0 / upper_rate(count, hours);
        return format!("{counted}, so at most one every {}", period(bound, f64::floor));
    }
    let (low, high) = poisson_interval(count);
    if high <= NARROW * low {
        let every = period(hours / count as f64, f64::round);
        return format!("expect a false wake about every {every}");
    }
    let (often, rare) = (period(hours / high, f64::floor), period(hours / low, f64::ceil));
    format!("expect a false wake every {often} to {rare}")
}

/// Formats a length of audio: "43 seconds", "12 minutes", "1.2 hours".
fn length(hours: f64) -> String {
    let seconds = hours * 3_600.0;
    let (value, unit) = match hours {
        h if h >= 1.95 => (h.round(), "hour"),
        h if h >= 0.95 => ((h * 10.0).round() / 10.0, "hour"),
        _ if seconds >= 119.5 => ((seconds / 60.0).floor(), "minute"),
        _ => (seconds.round(), "second"),
    };
    let plural = if value == 1.0 { "" } else { "s" };
    format!("{value} {unit}{plural}")
}

/// Formats a time between events, to follow "every": "hour", "two hours", "24 minutes".
fn period(hours: f64, round: fn(f64) -> f64) -> String {
    let (value, unit) = match hours {
        h if h >= 36.0 => (h / 24.0, "day"),
        h if h >= 1.75 => (h, "hour"),
        // A bound of 59.9 minutes is an hour only if it may be rounded up.
        h if round(h * 60.0) == 60.0 => (1.0, "hour"),
        h if h >= 1.0 / 60.0 => (h * 60.0, "minute"),
        h => (h * 3_600.0, "second"),
    };
    let value = round_to(round(value), round).max(1.0);
    if value == 1.0 { unit.to_owned() } else { format!("{} {unit}s", number(value as usize)) }
}

/// Formats a number, in words from two to nine.
fn number(n: usize) -> String {
    const WORDS: [&str; 8] = ["two", "three", "four", "five", "six", "seven", "eight", "nine"];
    match n.checked_sub(2).and_then(|i| WORDS.get(i)) {
        Some(word) => (*word).to_owned(),
        None => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wakes(count: usize, hours: f64) -> String {
        false_wakes(&FalseAccepts { count, hours })
    }

    #[test]
    fn misses_are_as_precise_as_their_count() {
        for ((missed, of), text) in [
            ((0, 0), "none of 0"),
            ((0, 4), "none of 4"),
            ((1, 4), "1 of 4"),
            ((9, 9), "all of 9"),
            ((0, 10), "none of 10 (at most 1 in 3)"),
            ((0, 72), "none of 72 (at most 1 in 20)"),
            ((0, 5_000), "none of 5000 (at most 1 in 1300)"),
            ((1, 20), "between 1 in 800 and 1 in 4"),
            ((3, 20), "between 1 in 35 and 2 in 5"),
            ((6, 20), "between 1 in 9 and 3 in 5"),
            ((10, 20), "between 1 in 4 and 3 in 4"),
            ((20, 40), "about half"),
            ((9, 100), "about 1 in 11"),
            ((25, 1_000), "about 1 in 40"),
            ((10, 10_000), "about 1 in 1000"),
            ((35, 100), "about 1 in 3"),
            ((64, 100), "about 2 in 3"),
            ((90, 100), "about 9 in 10"),
            ((19, 20), "between 3 in 4 and all"),
            ((40, 40), "all of 40"),
        ] {
            assert_eq!(misses(missed, of), text, "{missed} of {of}");
        }
    }

    #[test]
    fn named_bounds_contain_the_interval() {
        // The name of a share, as a number.
        let value = |name: &str| match name {
            "all" => 1.0,
            "half" => 0.5,
            name => {
                let (some, of) = name.split_once(" in ").unwrap();
                some.parse::<f64>().unwrap() / of.parse::<f64>().unwrap()
            }
        };
        for of in (10..200).step_by(7) {
            for missed in 1..of {
                let (low, high) = interval(missed, of);
                let text = misses(missed, of);
                if let Some((rare, often)) =
                    text.strip_prefix("between ").and_then(|ends| ends.split_once(" and "))
                {
                    assert!(value(rare) <= low + 1e-9, "{missed} of {of}: {text}");
                    assert!(value(often) >= high - 1e-9, "{missed} of {of}: {text}");
                } else {
                    let about = value(text.strip_prefix("about ").unwrap());
                    assert!((low..=high).contains(&about), "{missed} of {of}: {text}");
                }
            }
        }
    }

    #[test]
    fn rates_are_as_precise_as_their_count() {
        for ((count, hours), text) in [
            ((0, 0.0), "false wakes were not measured"),
            ((0, f64::NAN), "false wakes were not measured"),
            (
                (0, 43.0 / 3_600.0),
                "no false wake in 43 seconds of other sound, too little to estimate how often",
            ),
            (
                (1, 43.0 / 3_600.0),
                "one false wake in 43 seconds of other sound, too little to estimate how often",
            ),
            (
                (7, 0.4),
                "seven false wakes in 24 minutes of other sound, too little to estimate how often",
            ),
            (
                (0, 1.2),
                "no false wake in 1.2 hours of other sound, so at most one every 20 minutes",
            ),
            ((0, 3.0), "no false wake in 3 hours of other sound, so at most one every hour"),
            ((0, 6.0), "no false wake in 6 hours of other sound, so at most one every two hours"),
            (
                (0, 300.0),
                "no false wake in 300 hours of other sound, so at most one every four days",
            ),
            ((1, 6.0), "one false wake in 6 hours of other sound, so at most one every 75 minutes"),
            (
                (3, 6.0),
                "three false wakes in 6 hours of other sound, so at most one every 45 minutes",
            ),
            ((5, 6.0), "expect a false wake every 30 minutes to four hours"),
            ((10, 20.0), "expect a false wake about every two hours"),
            ((12, 12.0), "expect a false wake about every hour"),
            ((100, 1.0), "expect a false wake about every 35 seconds"),
            ((100_000, 1.0), "expect a false wake about every second"),
        ] {
            assert_eq!(wakes(count, hours), text, "{count} in {hours} h");
        }
    }
}
