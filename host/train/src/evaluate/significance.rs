//! Tests for small counts.

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
}
