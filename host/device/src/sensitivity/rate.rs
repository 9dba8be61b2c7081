//! Counts of false accepts and the rates that they support.

use std::fmt;

use serde::{Deserialize, Serialize};
use wakeling_shared::model::OperatingPoint;

/// Hours of audio below which a count gives no rate.
const FEWEST_HOURS: f64 = 0.5;
/// Number of events from which on the bound is computed by an approximation.
const MANY_EVENTS: usize = 200;
/// The same for the interval of a count.
const MANY_EVENTS_IN_INTERVAL: usize = 400;

/// Number of false accepts in audio without the keyword.
///
/// Formatted as `none in 1.2 h (at most 2.5/h)` or `1 in 1.2 h (at most 4.0/h)`: the count, and the
/// upper bound of the rate, [`upper_rate`]. Below half an hour of audio a rate would mislead, so
/// the text is `1 in 43 s: too short for a rate`.
///
/// ```
/// use wakeling_device::sensitivity::FalseAccepts;
///
/// let none = FalseAccepts { count: 0, hours: 1.2 };
/// assert_eq!(none.to_string(), "none in 1.2 h (at most 2.5/h)"); // 3 / 1.2 h, at 95 %
/// let short = FalseAccepts { count: 1, hours: 0.012 };
/// assert_eq!(short.at_most_per_hour(), None); // 43 s show no rate
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FalseAccepts {
    /// Number of false accepts.
    pub count: usize,
    /// Hours of audio.
    pub hours: f64,
}

impl From<&OperatingPoint> for FalseAccepts {
    fn from(point: &OperatingPoint) -> Self {
        let hours = f64::from(point.audio_seconds) / 3_600.0;
        Self { count: point.false_accepts as usize, hours }
    }
}

impl FalseAccepts {
    /// Returns `true` if there is enough audio for a rate.
    pub fn is_rate(&self) -> bool {
        self.hours >= FEWEST_HOURS
    }

    /// Returns the upper 95 % bound of the rate per hour; `None` if the audio is too short for a
    /// rate.
    pub fn at_most_per_hour(&self) -> Option<f64> {
        self.is_rate().then(|| upper_rate(self.count, self.hours))
    }

    /// Formats the bound, such as `at most 2.5/h`, or the reason for its absence.
    pub fn bound(&self) -> String {
        match self.at_most_per_hour() {
            Some(bound) => format!("at most {}/h", round_up(bound)),
            None => "too short for a rate".into(),
        }
    }
}

impl fmt::Display for FalseAccepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => write!(f, "none in {}", duration(self.hours))?,
            count => write!(f, "{count} in {}", duration(self.hours))?,
        }
        if self.is_rate() {
            write!(f, " ({})", self.bound())
        } else {
            write!(f, ": {}", self.bound())
        }
    }
}

/// Formats a length of audio as seconds, minutes, or hours with one decimal.
pub fn duration(hours: f64) -> String {
    let seconds = hours * 3_600.0;
    if hours >= FEWEST_HOURS {
        format!("{hours:.1} h")
    } else if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", (seconds / 60.0).floor())
    }
}

/// Formats a bound with two digits, rounded up so that it stays a bound.
fn round_up(bound: f64) -> String {
    let digits: usize = match bound {
        b if b < 0.0995 => 3,
        b if b < 0.995 => 2,
        b if b < 9.95 => 1,
        _ => 0,
    };
    let unit = 10f64.powi(digits as i32);
    // The binary rounding error of a decimal fraction must not raise the result.
    format!("{:.digits$}", (bound * unit - 1e-3).ceil() / unit)
}

/// Returns the upper 95 % bound of a rate per hour after `events` in `hours`: the one-sided exact
/// Poisson limit. For no events this is 3/T ("rule of three", Hanley and Lippman-Hand 1983). From
/// 200 events on the approximation of Wilson and Hilferty (1931) is used, which is then accurate to
/// five digits.
pub fn upper_rate(events: usize, hours: f64) -> f64 {
    let mean = if events < MANY_EVENTS { exact_limit(events) } else { approximate_limit(events) };
    mean / hours.max(1e-9)
}

/// Returns the mean of a Poisson variable that is at most `events` with a probability of 5 %.
fn exact_limit(events: usize) -> f64 {
    bisect(highest_mean(events), |mean| poisson_at_most(events, mean) > 0.05)
}

fn approximate_limit(events: usize) -> f64 {
    // 95 % quantile of the standard normal distribution.
    const QUANTILE: f64 = 1.644_853_627;
    wilson_hilferty(events as f64 + 1.0, QUANTILE)
}

/// Returns the two-sided 95 % interval of the mean of a Poisson variable of which `events` were
/// counted (Garwood 1936).
///
/// From 400 events on, the approximation of Byar is used, which is then accurate to four digits.
pub fn poisson_interval(events: usize) -> (f64, f64) {
    const TAIL: f64 = 0.025;
    /// 97.5 % quantile of the standard normal distribution.
    const QUANTILE: f64 = 1.959_963_985;
    if events >= MANY_EVENTS_IN_INTERVAL {
        let n = events as f64;
        return (wilson_hilferty(n, -QUANTILE), wilson_hilferty(n + 1.0, QUANTILE));
    }
    let solve = |is_below: &dyn Fn(f64) -> bool| bisect(highest_mean(events), is_below);
    let low = match events {
        0 => 0.0,
        n => solve(&|mean| 1.0 - poisson_at_most(n - 1, mean) < TAIL),
    };
    (low, solve(&|mean| poisson_at_most(events, mean) > TAIL))
}

/// Returns a mean above every limit of a count of `events`.
fn highest_mean(events: usize) -> f64 {
    10.0 + 3.0 * events as f64
}

/// Returns P(X <= `most`) for X ~ Poisson(`mean`), which falls as the mean rises.
fn poisson_at_most(most: usize, mean: f64) -> f64 {
    let (mut term, mut sum) = ((-mean).exp(), (-mean).exp());
    for i in 1..=most {
        term *= mean / i as f64;
        sum += term;
    }
    sum
}

/// Returns the approximate quantile of a gamma variable of shape `n`, which is the limit of a Poisson
/// mean, from that of the standard normal distribution.
fn wilson_hilferty(n: f64, quantile: f64) -> f64 {
    n * (1.0 - 1.0 / (9.0 * n) + quantile / (3.0 * n.sqrt())).powi(3)
}

/// Returns the value between 0 and `highest` up to which `is_below` holds.
fn bisect(highest: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, highest);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if is_below(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Returns the exact 95 % binomial interval of `misses` of `trials`, as shares (Clopper & Pearson
/// 1934).
///
/// ```
/// use wakeling_device::sensitivity::interval;
///
/// let (low, high) = interval(3, 20); // 15 % of 20 recordings were missed
/// assert!((low - 0.032).abs() < 0.001 && (high - 0.379).abs() < 0.001);
/// assert!(interval(0, 20).1 < 0.17); // none missed is no proof of 0
/// ```
pub fn interval(misses: usize, trials: usize) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    // P(X <= k) for X ~ Binomial(n, p), computed from the logarithms of its terms.
    let cumulative = |k: usize, p: f64| -> f64 {
        let (n, mut log_term) = (trials as f64, trials as f64 * (1.0 - p).ln());
        let mut sum = log_term.exp();
        for i in 1..=k {
            log_term += ((n - i as f64 + 1.0) / i as f64).ln() + (p / (1.0 - p)).ln();
            sum += log_term.exp();
        }
        sum
    };
    let lower = match misses {
        0 => 0.0,
        k => bisect(1.0, |p| 1.0 - cumulative(k - 1, p) < 0.025),
    };
    let upper = if misses == trials { 1.0 } else { bisect(1.0, |p| cumulative(misses, p) > 0.025) };
    (lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(count: usize, hours: f64) -> String {
        FalseAccepts { count, hours }.to_string()
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        for ((k, n), (low, high)) in
            [((0, 10), (0.0, 0.3085)), ((5, 10), (0.1871, 0.8129)), ((3, 100), (0.0062, 0.0852))]
        {
            let found = interval(k, n);
            assert!((found.0 - low).abs() < 1e-3 && (found.1 - high).abs() < 1e-3, "{found:?}");
        }
    }

    #[test]
    fn poisson_intervals_are_those_of_the_tables() {
        for (events, (low, high)) in [
            (0, (0.0, 3.689)),
            (1, (0.0253, 5.572)),
            (5, (1.623, 11.668)),
            (10, (4.795, 18.390)),
            (100, (81.364, 121.627)),
        ] {
            let found = poisson_interval(events);
            assert!((found.0 - low).abs() < 2e-3 && (found.1 - high).abs() < 2e-3, "{found:?}");
        }
        let (exact, approximate) = (
            poisson_interval(MANY_EVENTS_IN_INTERVAL - 1),
            poisson_interval(MANY_EVENTS_IN_INTERVAL),
        );
        // The ends of n − 1.96 √n and n + 1.96 √n move by 1 − 0.98 / √n and 1 + 0.98 / √n.
        assert!((approximate.0 - exact.0 - 0.951).abs() < 2e-3, "{exact:?} {approximate:?}");
        assert!((approximate.1 - exact.1 - 1.049).abs() < 2e-3, "{exact:?} {approximate:?}");
    }

    #[test]
    fn counts_have_one_form() {
        assert_eq!(shown(0, 1.2), "none in 1.2 h (at most 2.5/h)");
        assert_eq!(shown(1, 1.2), "1 in 1.2 h (at most 4.0/h)");
        assert_eq!(shown(0, 100.0), "none in 100.0 h (at most 0.030/h)");
        assert_eq!(shown(0, 6.0), "none in 6.0 h (at most 0.50/h)");
        assert_eq!(shown(30, 1.0), "30 in 1.0 h (at most 41/h)");
    }

    #[test]
    fn seconds_give_no_rate() {
        assert_eq!(shown(1, 43.0 / 3_600.0), "1 in 43 s: too short for a rate");
        assert_eq!(shown(0, 0.49), "none in 29 min: too short for a rate");
        assert_eq!(shown(0, 0.0), "none in 0 s: too short for a rate");
        assert_eq!(FalseAccepts { count: 1, hours: 0.1 }.at_most_per_hour(), None);
        assert!(shown(2, 0.5).starts_with("2 in 0.5 h (at most 13/h)"));
    }

    #[test]
    fn no_event_in_t_hours_bounds_the_rate_by_three_over_t() {
        assert!((upper_rate(0, 6.0) - 3.0 / 6.0).abs() < 1e-3);
        // Poisson tables: 5 events, one-sided 95 %: 10.513.
        assert!((upper_rate(5, 1.0) - 10.513).abs() < 1e-2);
    }

    #[test]
    fn the_bound_lies_above_many_events_too() {
        for events in [MANY_EVENTS - 1, MANY_EVENTS] {
            let ratio = exact_limit(events) / approximate_limit(events);
            assert!((ratio - 1.0).abs() < 1e-5, "{ratio}");
        }
        // Beyond 745 the exact form would underflow.
        for events in [700, 1_000, 100_000] {
            let bound = upper_rate(events, 1.0);
            let expected = events as f64 + 1.645 * (events as f64).sqrt();
            assert!((bound / expected - 1.0).abs() < 0.01, "{events}: {bound}");
        }
    }
}
