//! Tests and intervals for small counts.

/// Number of events from which on the interval of a count is computed by an approximation.
const MANY_EVENTS: usize = 400;

/// Returns the one-sided p-value of Fisher's exact test that a group misses more than the others:
/// the probability of at least `misses` in the group if `all_misses` of `all` recordings were
/// spread at random.
///
/// `group` and `all` are `(misses, recordings)`; `all` includes the group. The result is 1 if the
/// counts contradict each other.
pub fn more_missed(group: (usize, usize), all: (usize, usize)) -> f64 {
    let ((misses, size), (all_misses, count)) = (group, all);
    if size > count || misses > size || misses > all_misses || all_misses > count {
        return 1.0;
    }
    let log_binomial =
        |n: usize, k: usize| log_factorial(n) - log_factorial(k) - log_factorial(n - k);
    let total = log_binomial(count, size);
    let probability = |k: usize| {
        // A group cannot hold more detections than there are.
        let is_possible = size - k <= count - all_misses;
        let log =
            || log_binomial(all_misses, k) + log_binomial(count - all_misses, size - k) - total;
        if is_possible { log().exp() } else { 0.0 }
    };
    (misses..=size.min(all_misses)).map(probability).sum::<f64>().min(1.0)
}

/// Returns the one-sided p-value of the sign test (exact McNemar test): `worse` of the pairs got
/// worse, `better` got better, and the others are equal.
pub fn got_worse(worse: usize, better: usize) -> f64 {
    let pairs = worse + better;
    let log = |k: usize| log_factorial(pairs) - log_factorial(k) - log_factorial(pairs - k);
    let term = |k: usize| (log(k) - pairs as f64 * std::f64::consts::LN_2).exp();
    (worse..=pairs).map(term).sum::<f64>().min(1.0)
}

fn log_factorial(n: usize) -> f64 {
    (2..=n).map(|i| (i as f64).ln()).sum()
}

/// Returns the two-sided 95 % interval of the mean of a Poisson variable of which `events` were
/// counted (Garwood 1936).
///
/// From 400 events on, the approximation of Byar is used, which is then accurate to four digits.
pub fn poisson_interval(events: usize) -> (f64, f64) {
    const TAIL: f64 = 0.025;
    /// 97.5 % quantile of the standard normal distribution.
    const QUANTILE: f64 = 1.959_963_985;
    let n = events as f64;
    if events >= MANY_EVENTS {
        let byar = |n: f64, sign: f64| {
            n * (1.0 - 1.0 / (9.0 * n) + sign * QUANTILE / (3.0 * n.sqrt())).powi(3)
        };
        return (byar(n, -1.0), byar(n + 1.0, 1.0));
    }
    // P(X <= k), which falls as the mean rises.
    let at_most = |k: usize, mean: f64| {
        let (mut term, mut sum) = ((-mean).exp(), (-mean).exp());
        for i in 1..=k {
            term *= mean / i as f64;
            sum += term;
        }
        sum
    };
    let solve = |is_below: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 10.0 + 3.0 * n);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if is_below(middle) { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    };
    let low = if events == 0 { 0.0 } else { solve(&|m| 1.0 - at_most(events - 1, m) < TAIL) };
    (low, solve(&|m| at_most(events, m) > TAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fishers_test_is_that_of_the_tea_lady() {
        // Fisher (1935): all four cups right has the probability 1/70, three or more 17/70.
        assert!((more_missed((4, 4), (4, 8)) - 1.0 / 70.0).abs() < 1e-12);
        assert!((more_missed((3, 4), (4, 8)) - 17.0 / 70.0).abs() < 1e-12);
        assert!((more_missed((0, 4), (4, 8)) - 1.0).abs() < 1e-12);
        // A group that holds everything differs from nothing.
        assert!((more_missed((3, 9), (3, 9)) - 1.0).abs() < 1e-12);
        assert_eq!(more_missed((5, 4), (4, 8)), 1.0);
    }

    #[test]
    fn sign_test_counts_coins() {
        assert!((got_worse(5, 0) - 1.0 / 32.0).abs() < 1e-12);
        assert!((got_worse(4, 1) - 6.0 / 32.0).abs() < 1e-12);
        assert_eq!(got_worse(0, 0), 1.0);
        assert!((got_worse(600, 400) - 1.4e-10).abs() < 1e-10);
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
        let (exact, approximate) =
            (poisson_interval(MANY_EVENTS - 1), poisson_interval(MANY_EVENTS));
        // The ends of n − 1.96 √n and n + 1.96 √n move by 1 − 0.98 / √n and 1 + 0.98 / √n.
        assert!((approximate.0 - exact.0 - 0.951).abs() < 2e-3, "{exact:?} {approximate:?}");
        assert!((approximate.1 - exact.1 - 1.049).abs() < 2e-3, "{exact:?} {approximate:?}");
    }
}
