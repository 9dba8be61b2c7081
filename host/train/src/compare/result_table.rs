//! Table of trials, stored after each trial so that an interrupted run can resume, and summarized
//! as a table and a chart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use super::{TrialResult, mean};
use crate::evaluate::{
    chart::{Curve, growth, standalone},
    interval,
};
use crate::{Error, Result};
use wakeling_core::files::write_atomic;
use wakeling_device::sensitivity::{FalseAccepts, duration};

/// Parameters of a trial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// Keyword.
    pub word: String,
    /// Training strategy, as `--train` takes it, and `joint` if several keywords are trained
    /// together.
    pub strategy: String,
    /// Number of training recordings.
    pub samples: usize,
    /// Seed of the sampled recordings.
    pub seed: u64,
}

/// Result of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// Number of recordings played.
    pub recordings: usize,
    /// Hours of negative speech.
    pub hours: f64,
    /// Number of recordings missed at each of the grid's rates.
    pub missed: Vec<usize>,
}

impl From<&TrialResult> for Counts {
    fn from(metrics: &TrialResult) -> Self {
        let TrialResult { recordings, hours, clean, .. } = metrics;
        Self { recordings: *recordings, hours: *hours, missed: clean.clone() }
    }
}

/// Trials and their results, in one CSV file that is written atomically.
pub struct ResultTable {
    path: PathBuf,
    rates: Vec<f64>,
    trials: BTreeMap<Trial, Counts>,
}

impl ResultTable {
    /// Opens or creates a file of trials at these rates of false accepts per hour.
    ///
    /// # Errors
    /// [`Error::OtherTable`] if the file has other rates or is no such file.
    pub fn open(path: PathBuf, rates: &[f64]) -> Result<Self> {
        let mut results = Self { path, rates: rates.to_vec(), trials: BTreeMap::new() };
        if results.path.exists() {
            let text =
                fs::read_to_string(&results.path).map_err(Error::io(&results.path, "read"))?;
            let path = results.path.clone();
            let refused = |line: usize, problem: &str| Error::OtherTable {
                path: path.clone(),
                line: line + 1,
                problem: problem.to_owned(),
            };
            let mut lines = text.lines().enumerate();
            if lines.next().map(|(_, l)| l) != Some(results.head().as_str()) {
                return Err(refused(0, "not the table of a comparison at these rates"));
            }
            for (number, line) in lines {
                let row = parse(line, rates.len());
                let (trial, counts) = row.ok_or_else(|| refused(number, "not a trial"))?;
                results.trials.insert(trial, counts);
            }
        }
        Ok(results)
    }

    /// Returns `true` if the file already holds this trial.
    pub fn holds(&self, trial: &Trial) -> bool {
        self.trials.contains_key(trial)
    }

    /// Adds a trial and writes the file.
    pub fn add(&mut self, trial: Trial, counts: Counts) -> Result<()> {
        self.trials.insert(trial, counts);
        let mut text = self.head() + "\n";
        for (trial, counts) in &self.trials {
            let Trial { word, strategy, samples, seed } = trial;
            let Counts { recordings, hours, missed } = counts;
            let missed: Vec<String> = missed.iter().map(usize::to_string).collect();
            let word = word.replace('"', "\"\"");
            let _ = writeln!(
                text,
                "\"{word}\",{strategy},{samples},{seed},{recordings},{hours:.4},{}",
                missed.join(",")
            );
        }
        Ok(write_atomic(&self.path, text.as_bytes())?)
    }

    fn head(&self) -> String {
        let rates: Vec<String> = self.rates.iter().map(|r| format!("missed at {r}/h")).collect();
        format!("word,train,samples,draw,recordings,hours,{}", rates.join(","))
    }

    /// Returns the shares of missed recordings at rate index `rate`, one per keyword and seed.
    fn shares(&self, strategy: &str, samples: usize, rate: usize) -> Vec<f64> {
        let of = |(t, c): (&Trial, &Counts)| {
            let missed = *c.missed.get(rate)? as f64;
            (t.strategy == strategy && t.samples == samples)
                .then(|| missed / c.recordings.max(1) as f64)
        };
        self.trials.iter().filter_map(of).collect()
    }

    /// Returns the mean share and its interval for a cell: over keywords and seeds, or from the
    /// counts of a single trial.
    fn cell(&self, strategy: &str, samples: usize, rate: usize) -> Option<(f64, (f64, f64))> {
        let shares = self.shares(strategy, samples, rate);
        let (share, half) = mean(&shares);
        if shares.is_empty() {
            return None;
        }
        let range = match half {
            Some(half) => ((share - half).max(0.0), (share + half).min(1.0)),
            None => {
                let only =
                    |(t, _): &(&Trial, &Counts)| t.strategy == strategy && t.samples == samples;
                let (_, counts) = self.trials.iter().find(only)?;
                interval(*counts.missed.get(rate)?, counts.recordings)
            }
        };
        Some((share, range))
    }

    fn strategies(&self) -> Vec<String> {
        // From untrained to fully trained, as readers expect; `sort_by_key` keeps the order of
        // names otherwise.
        let set: BTreeSet<&String> = self.trials.keys().map(|t| &t.strategy).collect();
        let rank = |strategy: &str| match strategy.split([' ', ':']).next() {
            Some("scratch") => 0,
            Some("head") => 1,
            Some("all") => 3,
            _ => 2,
        };
        let mut strategies: Vec<String> = set.into_iter().cloned().collect();
        strategies.sort_by_key(|strategy| rank(strategy));
        strategies
    }

    fn counts_of_samples(&self) -> BTreeSet<usize> {
        self.trials.keys().map(|t| t.samples).collect()
    }

    /// Formats tables in Markdown, one per rate: strategies as rows, numbers of recordings as
    /// columns.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        let samples = self.counts_of_samples();
        let words: BTreeSet<&String> = self.trials.keys().map(|t| &t.word).collect();
        let hours = self.trials.values().map(|c| c.hours).fold(f64::INFINITY, f64::min);
        for (rate, per_hour) in self.rates.iter().enumerate() {
            let allowed = match (per_hour * hours).floor() {
                0.0 => "without a false accept".to_owned(),
                n => format!("with at most {n:.0} false accepts"),
            };
            let audio = match (FalseAccepts { count: 0, hours }).is_rate() {
                true => format!("{hours:.2} h"),
                false => duration(hours),
            };
            let _ = writeln!(
                text,
                "Missed {allowed} in {audio} of negatives, mean of {} keywords and 95 % interval:\n",
                words.len()
            );
            let heads: Vec<String> = samples.iter().map(|n| format!(" {n} |")).collect();
            let _ = writeln!(text, "| trained, with recordings: |{}", heads.concat());
            let _ = writeln!(text, "|---|{}", "---|".repeat(samples.len()));
            for strategy in self.strategies() {
                let cell = |&n: &usize| match self.cell(&strategy, n, rate) {
                    None => " – |".to_owned(),
                    Some((share, (low, high))) => format!(
                        " {:.1} % ({:.1}–{:.1}) |",
                        100.0 * share,
                        100.0 * low,
                        100.0 * high
                    ),
                };
                let cells: Vec<String> = samples.iter().map(cell).collect();
                let _ = writeln!(text, "| {strategy} |{}", cells.concat());
            }
            text.push('\n');
        }
        text
    }

    /// Draws misses at rate index `rate` over the number of recordings, one curve per strategy, as
    /// SVG.
    pub fn image(&self, rate: usize) -> String {
        let curve = |strategy: String| Curve {
            points: self
                .counts_of_samples()
                .into_iter()
                .filter_map(|n| {
                    self.cell(&strategy, n, rate).map(|(s, range)| (n as f64, s, range))
                })
                .collect(),
            name: strategy,
            mark: None,
            is_dashed: false,
        };
        let curves: Vec<Curve> = self.strategies().into_iter().map(curve).collect();
        let title = self.title(self.rates.get(rate).copied().unwrap_or(0.0));
        standalone(&growth(&title, &format!("recordings; {title}"), &curves), "")
    }

    /// Returns the title of a chart. It names a count where the negative speech is too short for a
    /// rate.
    fn title(&self, per_hour: f64) -> String {
        let hours = self.trials.values().map(|c| c.hours).fold(f64::INFINITY, f64::min);
        if (FalseAccepts { count: 0, hours }).is_rate() {
            return format!("misses at {per_hour} false accepts per hour");
        }
        let allowed = (per_hour * hours).floor();
        format!("misses at {allowed} false accepts in {}", duration(hours))
    }

    /// Writes `compare-RATE.svg` for each rate into a folder.
    pub fn save_images(&self, folder: &Path) -> Result<()> {
        for (number, rate) in self.rates.iter().enumerate() {
            let path = folder.join(format!("compare-{rate}.svg"));
            write_atomic(&path, self.image(number).as_bytes())?;
        }
        Ok(())
    }
}

fn parse(line: &str, rates: usize) -> Option<(Trial, Counts)> {
    let rest = line.strip_prefix('"')?;
    // The keyword may contain any text except an unescaped quotation mark.
    let end = rest.rfind("\",")?;
    let word = rest.get(..end)?.replace("\"\"", "\"");
    let mut fields = rest.get(end + 2..)?.split(',');
    let strategy = fields.next()?.to_owned();
    let samples = fields.next()?.parse().ok()?;
    let seed = fields.next()?.parse().ok()?;
    let recordings = fields.next()?.parse().ok()?;
    let hours: f64 = fields.next()?.parse().ok().filter(|h: &f64| h.is_finite())?;
    let missed: Vec<usize> = fields.map(|f| f.parse().ok()).collect::<Option<_>>()?;
    let whole = missed.len() == rates && missed.iter().all(|&m| m <= recordings);
    whole.then_some((Trial { word, strategy, samples, seed }, Counts { recordings, hours, missed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(word: &str, strategy: &str, samples: usize) -> Trial {
        Trial { word: word.into(), strategy: strategy.into(), samples, seed: 0 }
    }

    fn counts(missed: usize) -> Counts {
        Counts { recordings: 50, hours: 6.26, missed: vec![missed, 2 * missed] }
    }

    #[test]
    fn trials_are_saved_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compare.csv");
        let mut results = ResultTable::open(path.clone(), &[0.5, 0.0]).unwrap();
        let odd = trial("say \"a, b\"", "last:2", 5);
        results.add(odd.clone(), counts(7)).unwrap();
        results.add(trial("one", "head", 5), counts(3)).unwrap();
        let again = ResultTable::open(path.clone(), &[0.5, 0.0]).unwrap();
        assert!(again.holds(&odd) && !again.holds(&trial("one", "all", 5)));
        assert_eq!(again.trials, results.trials);
        assert!(ResultTable::open(path.clone(), &[0.5, 1.0]).is_err());
        let cut = fs::read_to_string(&path).unwrap();
        fs::write(&path, &cut[..cut.len() - 4]).unwrap();
        let error = ResultTable::open(path, &[0.5, 0.0]).err().unwrap().to_string();
        assert!(error.contains("compare.csv") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn cells_are_means_over_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut results = ResultTable::open(folder.path().join("c.csv"), &[0.5, 0.0]).unwrap();
        for (word, missed) in [("one", 5), ("two", 15)] {
            results.add(trial(word, "head", 20), counts(missed)).unwrap();
        }
        results.add(trial("one", "scratch", 20), counts(25)).unwrap();
        let table = results.tables();
        let expected = "| head | 20.0 % (0.4–39.6) |";
        assert!(table.contains(expected), "{table}");
        assert!(table.find("scratch").unwrap() < table.find("| head").unwrap());
        assert!(table.contains("at most 3 false accepts in 6.26 h"), "{table}");
        // A single trial has the interval of its counts.
        assert!(table.contains("| scratch | 50.0 % (35.5–64.5) |"), "{table}");
        let image = results.image(0);
        assert!(image.contains("head") && image.starts_with("<svg"), "{image}");
        assert!(image.contains("misses at 0.5 false accepts per hour"), "{image}");
        // A rate cannot be estimated from 43 s.
        let short = Counts { hours: 43.0 / 3_600.0, ..counts(4) };
        results.add(trial("one", "all", 5), short).unwrap();
        let (table, image) = (results.tables(), results.image(0));
        assert!(table.contains("without a false accept in 43 s"), "{table}");
        assert!(image.contains("misses at 0 false accepts in 43 s"), "{image}");
        assert!(!image.contains("per hour"), "{image}");
    }
}
