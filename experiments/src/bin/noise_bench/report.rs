//! Results of the benchmark's trials as CSV, as Markdown tables and as a chart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    fs,
    path::{Path, PathBuf},
};

use wakeling_core::{Error as Core, files::write_atomic};
use wakeling_experiments::{Error, Result};
use wakeling_train::{compare::mean, evaluate::chart};

use crate::data::CONDITIONS;

/// Key of a trial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// Name of the recipe.
    pub recipe: String,
    /// Number of recordings to train on.
    pub samples: usize,
    /// Seed of the sample of recordings and of the training.
    pub seed: u64,
    /// Keyword.
    pub word: String,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recipe, samples, seed, word } = self;
        write!(f, "{recipe}, {word}, {samples} recordings, seed {seed}")
    }
}

/// Counts of a trial.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Number of recordings tested in each condition.
    pub recordings: usize,
    /// Hours of speech without the keyword.
    pub hours: f64,
    /// Number of false accepts in that speech.
    pub false_accepts: usize,
    /// Number of misses in each condition.
    pub misses: [usize; CONDITIONS.len()],
    /// For noise and babble alone: hours, false accepts at the same threshold, and false accepts at
    /// the model's own threshold.
    pub alone: [(f64, usize, usize); 2],
    /// Number of misses in each condition, at the model's own threshold.
    pub own_misses: [usize; CONDITIONS.len()],
    /// Number of false accepts in the speech, at the model's own threshold.
    pub own_false_accepts: usize,
    /// CPU seconds of the training.
    pub train_s: f64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (condition, misses) in CONDITIONS.iter().zip(self.misses) {
            write!(f, "{} {:.1} %, ", condition.name, percent(misses, self.recordings))?;
        }
        let own = self.own_false_accepts as f64 / self.hours;
        write!(f, "own threshold {own:.2}/h, {:.0} CPU s", self.train_s)
    }
}

fn percent(misses: usize, recordings: usize) -> f64 {
    100.0 * misses as f64 / recordings.max(1) as f64
}

/// Trials in a CSV file that is complete at any time.
pub struct Table {
    path: PathBuf,
    trials: BTreeMap<Trial, Counts>,
    recipes: Vec<String>,
}

impl Table {
    /// Opens a file of trials, or starts a new one.
    pub fn open(path: PathBuf) -> Result<Self> {
        let mut trials = BTreeMap::new();
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(Core::io(&path, "read"))?;
            let mut lines = text.lines();
            if lines.next() != Some(head().as_str()) {
                return Err(Error::new(format!(
                    "{}: not a table of this benchmark: choose another --out folder, or remove it",
                    path.display()
                )));
            }
            for (number, line) in lines.enumerate() {
                let (trial, counts) = parse(line).ok_or_else(|| {
                    let (path, line) = (path.display(), number + 2);
                    Error::new(format!("{path}: line {line}: not a trial: remove the line"))
                })?;
                trials.insert(trial, counts);
            }
        }
        Ok(Self { path, trials, recipes: Vec::new() })
    }

    /// Returns `true` if the table contains a trial.
    pub fn holds(&self, trial: &Trial) -> bool {
        self.trials.contains_key(trial)
    }

    /// Adds a trial and writes the file.
    pub fn add(&mut self, trial: Trial, counts: Counts) -> Result<()> {
        self.trials.insert(trial, counts);
        let lines = self.trials.iter().map(|(trial, counts)| line(trial, counts));
        let text: String = std::iter::once(head() + "\n").chain(lines).collect();
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(Core::io(folder, "create"))?;
        }
        Ok(write_atomic(&self.path, text.as_bytes())?)
    }

    /// Limits the report to these recipes, in this order.
    pub fn keep(&mut self, recipes: &[&str]) {
        self.recipes = recipes.iter().map(|&r| r.to_owned()).collect();
    }

    /// Writes `noise.md` and `noise.svg`.
    pub fn save(&self, folder: &Path) -> Result<()> {
        write_atomic(folder.join("noise.md"), self.markdown().as_bytes())?;
        Ok(write_atomic(folder.join("noise.svg"), self.image().as_bytes())?)
    }

    fn samples(&self) -> BTreeSet<usize> {
        self.trials.keys().map(|t| t.samples).collect()
    }

    fn of<'a>(
        &'a self,
        recipe: &'a str,
        samples: usize,
    ) -> impl Iterator<Item = (&'a Trial, &'a Counts)> {
        self.trials.iter().filter(move |(t, _)| t.recipe == recipe && t.samples == samples)
    }

    /// Returns the mean of a share in percent over keywords and seeds, and its interval over seeds.
    fn cell(&self, recipe: &str, samples: usize, share: impl Fn(&Counts) -> f64) -> Option<Cell> {
        let mut by_seed: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (trial, counts) in self.of(recipe, samples) {
            by_seed.entry(trial.seed).or_default().push(share(counts));
        }
        // An incomplete seed would give some keywords more weight than others.
        let complete = by_seed.values().map(Vec::len).max()?;
        let means: Vec<f64> =
            by_seed.values().filter(|v| v.len() == complete).map(|v| mean(v).0).collect();
        let (value, half) = mean(&means);
        Some(Cell { value, half })
    }

    /// Returns the mean difference to the first recipe over the trials that both have, and its
    /// interval over trials.
    fn difference(&self, recipe: &str, samples: usize, condition: usize) -> Option<Cell> {
        let first = self.recipes.first()?;
        let share = |c: &Counts| percent(c.misses[condition], c.recordings);
        let differences: Vec<f64> = self
            .of(recipe, samples)
            .filter_map(|(trial, counts)| {
                let same = Trial { recipe: first.clone(), ..trial.clone() };
                Some(share(counts) - share(self.trials.get(&same)?))
            })
            .collect();
        let (value, half) = mean(&differences);
        (!differences.is_empty()).then_some(Cell { value, half })
    }

    /// Formats the tables: means of each recipe, differences to the first recipe, and every
    /// keyword.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for samples in self.samples() {
            self.means(&mut text, samples);
            self.differences(&mut text, samples);
            self.words(&mut text, samples);
        }
        text
    }

    fn means(&self, text: &mut String, samples: usize) {
        let _ = writeln!(
            text,
            "{samples} recordings: misses in % at no more than 0.5 false accepts an hour; mean of the \
             words, 95 % interval over the seeds\n"
        );
        let names: Vec<&str> = CONDITIONS.iter().map(|c| c.name).collect();
        let _ = writeln!(
            text,
            "| recipe | words × seeds | {} | false accepts/h, noise alone | babble alone | own threshold: \
             false accepts/h | quiet | noise 10 dB | babble 10 dB | CPU s |",
            names.join(" | ")
        );
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(names.len() + 7));
        for recipe in &self.recipes {
            let of: Vec<&Trial> = self.of(recipe, samples).map(|(trial, _)| trial).collect();
            let words = of.iter().map(|t| &t.word).collect::<BTreeSet<_>>().len();
            let seeds = of.iter().map(|t| t.seed).collect::<BTreeSet<_>>().len();
            let _ = write!(text, "| {recipe} | {words} × {seeds} |");
            let mut cell = |share: &dyn Fn(&Counts) -> f64| {
                let cell = self.cell(recipe, samples, share);
                let _ = write!(text, " {} |", cell.map_or("–".into(), |c| c.to_string()));
            };
            for i in 0..CONDITIONS.len() {
                cell(&|c| percent(c.misses[i], c.recordings));
            }
            for i in 0..2 {
                cell(&|c| c.alone[i].1 as f64 / c.alone[i].0);
            }
            cell(&|c| c.own_false_accepts as f64 / c.hours);
            for i in [0, 1, 3] {
                cell(&|c| percent(c.own_misses[i], c.recordings));
            }
            cell(&|c| c.train_s);
            text.push('\n');
        }
        text.push('\n');
    }

    fn differences(&self, text: &mut String, samples: usize) {
        let Some(first) = self.recipes.first() else { return };
        if self.recipes.len() < 2 {
            return;
        }
        let names: Vec<&str> = CONDITIONS.iter().map(|c| c.name).collect();
        let _ = writeln!(
            text,
            "{samples} recordings: difference to {first:?} in points, same words and seeds; 95 % \
             interval over the trials\n"
        );
        let _ = writeln!(text, "| recipe | {} |", names.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
        for recipe in &self.recipes[1..] {
            let cells = (0..CONDITIONS.len()).map(|i| {
                let cell = self.difference(recipe, samples, i);
                cell.map_or(" – |".to_owned(), |c| format!(" {c:+} |"))
            });
            let _ = writeln!(text, "| {recipe} |{}", cells.collect::<String>());
        }
        text.push('\n');
    }

    fn words(&self, text: &mut String, samples: usize) {
        let words: BTreeSet<&String> =
            self.trials.keys().filter(|t| t.samples == samples).map(|t| &t.word).collect();
        let _ = writeln!(
            text,
            "{samples} recordings: misses in % of each word in {}; mean of the seeds\n",
            CONDITIONS.map(|c| c.name).join(" / ")
        );
        let _ = writeln!(text, "| word | {} |", self.recipes.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(self.recipes.len()));
        for word in words {
            let _ = write!(text, "| {word} |");
            for recipe in &self.recipes {
                let of: Vec<&Counts> = self
                    .of(recipe, samples)
                    .filter(|(t, _)| t.word == *word)
                    .map(|(_, c)| c)
                    .collect();
                let share = |i: usize| {
                    let shares = of.iter().map(|c| percent(c.misses[i], c.recordings));
                    format!("{:.1}", mean(&shares.collect::<Vec<_>>()).0)
                };
                let shares: Vec<String> = (0..CONDITIONS.len()).map(share).collect();
                let cell = if of.is_empty() { "–".into() } else { shares.join(" / ") };
                let _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
        text.push('\n');
    }

    /// Draws a bar chart of misses: a panel per number of recordings, a group per condition, a bar
    /// per recipe.
    fn image(&self) -> String {
        let samples = self.samples();
        let height = PANEL * samples.len() as f64 + 24.0;
        let mut svg = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' class='chart' viewBox='0 0 {WIDTH} {height}' \
             role='img' aria-label='Misses by condition'>"
        );
        for (i, recipe) in self.recipes.iter().enumerate() {
            let x = LEFT + 120.0 * i as f64;
            let name = chart_text(recipe);
            let _ = write!(
                svg,
                "<rect class='f{}' x='{x}' y='4' width='10' height='10'/>\
                 <text x='{}' y='13'>{name}</text>",
                i % 5,
                x + 14.0
            );
        }
        for (i, &samples) in samples.iter().enumerate() {
            self.panel(&mut svg, samples, 24.0 + PANEL * i as f64);
        }
        chart::standalone(&(svg + "</svg>"), "")
    }

    fn panel(&self, svg: &mut String, samples: usize, top: f64) {
        let bottom = top + PANEL - 34.0;
        let y = |share: f64| bottom - share / 100.0 * (bottom - top - 14.0);
        for share in [0.0, 25.0, 50.0, 75.0, 100.0] {
            let _ = write!(
                svg,
                "<path class='grid' d='M{LEFT} {y:.1}H{WIDTH}'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end'>{share}%</text>",
                LEFT - 5.0,
                y(share) + 4.0,
                y = y(share)
            );
        }
        let _ = write!(
            svg,
            "<text x='{:.1}' y='{:.1}' text-anchor='middle'>missed, from {samples} recordings</text>",
            (LEFT + WIDTH) / 2.0,
            bottom + 30.0
        );
        let step = (WIDTH - LEFT) / CONDITIONS.len() as f64;
        let width = 0.8 * step / self.recipes.len().max(1) as f64;
        for (i, condition) in CONDITIONS.iter().enumerate() {
            let left = LEFT + step * (i as f64 + 0.1);
            let _ = write!(
                svg,
                "<text x='{:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
                left + 0.4 * step,
                bottom + 15.0,
                condition.name
            );
            for (j, recipe) in self.recipes.iter().enumerate() {
                let share = |c: &Counts| percent(c.misses[i], c.recordings);
                let Some(Cell { value, half }) = self.cell(recipe, samples, share) else {
                    continue;
                };
                let (x, half) = (left + width * j as f64, half.unwrap_or(0.0));
                let _ = write!(
                    svg,
                    "<rect class='f{}' opacity='.75' x='{x:.1}' y='{:.1}' width='{:.1}' height='{:.1}'/>\
                     <path class='whisker ink' d='M{middle:.1} {:.1}V{:.1}'/>\
                     <text x='{middle:.1}' y='{:.1}' text-anchor='middle' font-size='9'>{value:.1}</text>",
                    j % 5,
                    y(value),
                    width - 1.0,
                    bottom - y(value),
                    y((value - half).max(0.0)),
                    y((value + half).min(100.0)),
                    y((value + half).min(100.0)) - 3.0,
                    middle = x + width / 2.0,
                );
            }
        }
    }
}

const WIDTH: f64 = 640.0;
const PANEL: f64 = 220.0;
const LEFT: f64 = 44.0;

fn chart_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Mean, and the half width of its interval if there are several values.
struct Cell {
    value: f64,
    half: Option<f64>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (f.sign_plus(), self.half) {
            (true, Some(half)) => write!(f, "{:+.1} ± {half:.1}", self.value),
            (true, None) => write!(f, "{:+.1}", self.value),
            (false, Some(half)) => write!(f, "{:.1} ± {half:.1}", self.value),
            (false, None) => write!(f, "{:.1}", self.value),
        }
    }
}

fn head() -> String {
    let names = CONDITIONS.map(|c| c.name.replace(' ', "_"));
    let own = names.clone().map(|name| format!("own_{name}"));
    format!(
        "recipe,word,samples,seed,recordings,hours,false_accepts,{},noise_hours,noise_false_accepts,\
         own_noise_false_accepts,babble_hours,babble_false_accepts,own_babble_false_accepts,{},\
         own_false_accepts,train_cpu_s",
        names.join(","),
        own.join(",")
    )
}

fn line(trial: &Trial, counts: &Counts) -> String {
    let Trial { recipe, samples, seed, word } = trial;
    let Counts { recordings, hours, false_accepts, own_false_accepts, train_s, .. } = counts;
    let list = |numbers: &[usize]| numbers.iter().map(|n| format!("{n},")).collect::<String>();
    let alone =
        |&(hours, at_rate, own): &(f64, usize, usize)| format!("{hours:.4},{at_rate},{own},");
    format!(
        "{recipe},{word},{samples},{seed},{recordings},{hours:.4},{false_accepts},{}{}{}\
         {own_false_accepts},{train_s:.1}\n",
        list(&counts.misses),
        counts.alone.iter().map(alone).collect::<String>(),
        list(&counts.own_misses)
    )
}

fn parse(line: &str) -> Option<(Trial, Counts)> {
    let fields: Vec<&str> = line.split(',').collect();
    if fields.len() != head().split(',').count() {
        return None;
    }
    let count = |i: usize| fields[i].parse::<usize>().ok();
    let number = |i: usize| fields[i].parse::<f64>().ok();
    let trial = Trial {
        recipe: fields[0].into(),
        word: fields[1].into(),
        samples: count(2)?,
        seed: fields[3].parse().ok()?,
    };
    let mut counts = Counts {
        recordings: count(4)?,
        hours: number(5)?,
        false_accepts: count(6)?,
        own_false_accepts: count(fields.len() - 2)?,
        train_s: number(fields.len() - 1)?,
        ..Counts::default()
    };
    let n = CONDITIONS.len();
    for i in 0..n {
        counts.misses[i] = count(7 + i)?;
        counts.own_misses[i] = count(13 + n + i)?;
    }
    for i in 0..2 {
        let at = 7 + n + 3 * i;
        counts.alone[i] = (number(at)?, count(at + 1)?, count(at + 2)?);
    }
    Some((trial, counts))
}
