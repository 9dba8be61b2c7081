//! Trials, their CSV, and the table of their means.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter, Write},
    fs,
    path::{Path, PathBuf},
};

use wakeling_core::{Error as CoreError, files};
use wakeling_experiments::{Error, Result};

const HEAD: &str = "base,form,word,speakers,utterances,seed,outcome,recordings,hours,misses,\
                    false_accepts,misses_at_2,misses_at_half";

/// Identity of a trial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// Pretrained model.
    pub pretrained: String,
    /// Form of the head.
    pub form: String,
    /// Keyword.
    pub word: String,
    /// `one` or `several`.
    pub speakers: String,
    /// Number of utterances.
    pub utterances: usize,
    /// Seed of the sample.
    pub seed: u64,
}

impl Display for Trial {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { pretrained, form, word, speakers, utterances, seed } = self;
        write!(f, "{pretrained},{form},{word},{speakers},{utterances},{seed}")
    }
}

/// Acceptance of an enrollment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    /// There is a head.
    #[default]
    Accepted,
    /// The utterances have too little in common.
    Unlike,
    /// Fewer utterances than needed were detected.
    Undetected,
}

impl Acceptance {
    const ALL: [Self; 3] = [Self::Accepted, Self::Unlike, Self::Undetected];

    fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unlike => "unlike",
            Self::Undetected => "undetected",
        }
    }
}

/// Result of a trial.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Acceptance of the enrollment. If there is no head, the rest is 0.
    pub outcome: Acceptance,
    /// Number of test recordings.
    pub recordings: usize,
    /// Hours of speech without the keyword.
    pub hours: f64,
    /// Misses at the device's own threshold.
    pub misses: usize,
    /// False accepts at the device's own threshold.
    pub false_accepts: usize,
    /// Misses at 2 false accepts an hour.
    pub at_2: usize,
    /// Misses at 0.5 false accepts an hour.
    pub at_half: usize,
}

impl Counts {
    /// Creates the counts of a trial without a head.
    pub fn of(outcome: Acceptance) -> Self {
        Self { outcome, ..Self::default() }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let &Self { outcome, recordings, hours, misses, false_accepts, at_2, at_half } = self;
        let outcome = outcome.name();
        write!(f, "{outcome},{recordings},{hours:.3},{misses},{false_accepts},{at_2},{at_half}")
    }
}

/// All trials of a file.
pub struct Table {
    path: PathBuf,
    trials: BTreeMap<Trial, Counts>,
}

impl Table {
    /// Reads the trials of a file, if it exists.
    pub fn open(path: PathBuf) -> Result<Self> {
        let mut trials = BTreeMap::new();
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(CoreError::io(&path, "read"))?;
            for line in text.lines().skip(1) {
                let row = parsed(line).ok_or_else(|| {
                    Error::new(format!("{}: {line:?} is not a trial", path.display()))
                })?;
                trials.insert(row.0, row.1);
            }
        }
        Ok(Self { path, trials })
    }

    /// Returns whether a trial is in the table.
    pub fn holds(&self, trial: &Trial) -> bool {
        self.trials.contains_key(trial)
    }

    /// Adds a trial, and writes the file.
    pub fn add(&mut self, trial: Trial, counts: Counts) -> Result<()> {
        self.trials.insert(trial, counts);
        let rows = self.trials.iter().map(|(trial, counts)| format!("{trial},{counts}\n"));
        let text = format!("{HEAD}\n{}", rows.collect::<String>());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(CoreError::io(folder, "create"))?;
        }
        Ok(files::write_atomic(&self.path, text.as_bytes())?)
    }

    /// Writes the table of means to a folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(CoreError::io(folder, "create"))?;
        Ok(files::write_atomic(folder.join("enroll.md"), self.markdown().as_bytes())?)
    }

    /// Formats the means over keywords, and each keyword.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| pretrained, form | utterances | speakers | word | accepted, refused | own threshold: missed | false \
             accepts per hour | missed at 2/h | at 0.5/h |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        type Words<'a> = BTreeMap<&'a str, Vec<&'a Counts>>;
        let mut groups: BTreeMap<_, Words<'_>> = BTreeMap::new();
        for (trial, counts) in &self.trials {
            let Trial { pretrained, form, speakers, utterances, .. } = trial;
            let words = groups.entry((pretrained, form, utterances, speakers)).or_default();
            words.entry(&trial.word).or_default().push(counts);
        }
        for ((pretrained, form, utterances, speakers), words) in groups {
            let head = format!("| {pretrained}, {form} | {utterances} | {speakers}");
            let rows: Vec<Row> = words.values().map(|counts| Row::of(counts)).collect();
            let mean = Row::mean(&rows);
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{head} | **mean of {}** | {mean} |", rows.len());
            for (word, row) in words.keys().zip(&rows) {
                let _ = writeln!(text, "{head} | {word} | {row} |");
            }
        }
        text
    }
}

fn parsed(line: &str) -> Option<(Trial, Counts)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [pretrained, form, word, speakers, utterances, seed, counts @ ..] = fields.as_slice()
    else {
        return None;
    };
    let [outcome, recordings, hours, misses, false_accepts, at_2, at_half] = counts else {
        return None;
    };
    let text = |field: &str| field.to_owned();
    let trial = Trial {
        pretrained: text(pretrained),
        form: text(form),
        word: text(word),
        speakers: text(speakers),
        utterances: utterances.parse().ok()?,
        seed: seed.parse().ok()?,
    };
    let counts = Counts {
        outcome: Acceptance::ALL.into_iter().find(|found| found.name() == *outcome)?,
        recordings: recordings.parse().ok()?,
        hours: hours.parse().ok()?,
        misses: misses.parse().ok()?,
        false_accepts: false_accepts.parse().ok()?,
        at_2: at_2.parse().ok()?,
        at_half: at_half.parse().ok()?,
    };
    Some((trial, counts))
}

/// One row: sets accepted, and shares of recordings or rates over the accepted ones.
struct Row {
    accepted: usize,
    unlike: usize,
    sets: usize,
    values: Option<[f64; 4]>,
}

impl Row {
    fn of(counts: &[&Counts]) -> Self {
        let accepted: Vec<_> =
            counts.iter().filter(|c| c.outcome == Acceptance::Accepted).collect();
        let sum = |value: fn(&Counts) -> f64| accepted.iter().map(|c| value(c)).sum::<f64>();
        let recordings = sum(|c| c.recordings as f64).max(1.0);
        let values = [
            100.0 * sum(|c| c.misses as f64) / recordings,
            sum(|c| c.false_accepts as f64) / sum(|c| c.hours).max(1e-9),
            100.0 * sum(|c| c.at_2 as f64) / recordings,
            100.0 * sum(|c| c.at_half as f64) / recordings,
        ];
        let values = (!accepted.is_empty()).then_some(values);
        let unlike = counts.iter().filter(|c| c.outcome == Acceptance::Unlike).count();
        Self { accepted: accepted.len(), unlike, sets: counts.len(), values }
    }

    fn mean(rows: &[Self]) -> Self {
        let kept: Vec<[f64; 4]> = rows.iter().filter_map(|row| row.values).collect();
        let mean = |i: usize| kept.iter().map(|v| v[i]).sum::<f64>() / kept.len() as f64;
        Self {
            accepted: rows.iter().map(|row| row.accepted).sum(),
            unlike: rows.iter().map(|row| row.unlike).sum(),
            sets: rows.iter().map(|row| row.sets).sum(),
            values: (!kept.is_empty()).then(|| [0, 1, 2, 3].map(mean)),
        }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} of {} | ", self.accepted, self.unlike, self.sets)?;
        match self.values {
            Some([misses, rate, at_2, at_half]) => {
                write!(f, "{misses:.1} % | {rate:.2} | {at_2:.1} % | {at_half:.1} %")
            }
            None => f.write_str("– | – | – | –"),
        }
    }
}
