//! `wakeling finetune`: a tested model for a phrase, from a few recordings of it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use rand::{SeedableRng, rngs::StdRng, seq::IteratorRandom};

use super::{
    OtherSpeech, Training, WordPath, check_phrase, file_name, open_corpora, open_corpus,
    parse_word, quantize::write_model,
};
use crate::{
    Error, Result,
    base::Base,
    corpus::Example,
    features::{LogMel, load_log_mel},
    files,
    finetune::{Prepared, Recordings, Settings, Start, Train, features, finetune, tune},
    models,
    negatives::{
        Negatives, Speech, TrunkOutputs, load_speech, says, trunk_outputs, trunk_outputs_of,
    },
    quantize::QuantizedTrunk,
    recorder::{self, Event},
    sensitivity::{Evidence, Preset},
    synthesize,
    table::Table,
    tokens::clean,
    tuned::Tuned,
};

/// Below so many recordings a warning is due.
const FEW_RECORDINGS: usize = 5;
/// Copies of each false wake, all but a few distorted. Windows that score high are drawn more often
/// by themselves; this makes one recording a match for hours of other speech.
const FALSE_WAKE_COPIES: usize = 20;
/// Name of a base whose trunk moved.
const TUNED_BASE: &str = "base.safetensors";
/// Beside synthesized samples, each recording counts for up to so many and one more, so that people
/// weigh as much as programs do.
const MOST_REPEATS: usize = 9;

/// Fine-tune a wake word from a few recordings on a pretrained base
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling finetune --word \"hey computer=recordings/\" --out runs/computer
  wakeling finetune --word left=left/ --word right=right/ --negatives talk/ --out runs/steer
  wakeling finetune --samples speech/ --out runs/computer
  wakeling finetune --labels labels.csv --out runs/house
  wakeling finetune --word \"hey computer=recordings/\" --false-wakes alarms/ --out runs/v2

Ten to twenty recordings, of several people if several will use it, from near and far,
are a good start. What else a wake word must be told apart from ships with the base;
--negatives and --noise add to it. The folder then holds NAME.head (float weights),
model.wkl (the model for the device) and settings.json, and base.safetensors if the trunk
moved. `--train auto` trains new heads alone below 50 recordings of a word, and moves the whole
trunk from there on, which takes some minutes. `--train all` does so with fewer: with 20 it
made three words of twelve better, two of them over the telephone, and nine worse; `wakeling
compare` measures it on your words. The new head is three small networks, averaged; `--members 1
--head-channels 1 --head-layers 0` makes it a single node. Try the model:
  wakeling simulate FILE --model runs/computer/model.wkl")]
pub struct FinetuneArgs {
    /// A word and its recordings: a folder, a manifest or a file; may be given several times
    #[arg(long = "word", value_name = "NAME=PATH", required_unless_present_any = ["samples", "labels"],
        value_parser = parse_word)]
    words: Vec<WordPath>,
    /// A folder that `synthesize` made: samples of the word that its manifest names, beside the
    /// recordings of it, if there are any
    #[arg(long, value_name = "DIR")]
    samples: Vec<PathBuf>,
    /// A table of recordings (CSV): the first column is the file, every other a word, with 1 where it
    /// is said, 0 where it is not, ? where nobody knows
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Name of a shipped base, or path of one
    #[arg(long, default_value = models::DEFAULT_BASE)]
    base: String,
    #[command(flatten)]
    other: OtherSpeech,
    /// Recordings that woke a device and should not have, or what `wakeling device log` wrote; each
    /// counts 20 times in training, and not when thresholds are chosen
    #[arg(long, value_name = "DIR", num_args = 1..)]
    false_wakes: Vec<PathBuf>,
    /// What is trained: head (the pretrained trunk stays), last:K (its last K blocks move too), all,
    /// or auto, which goes by the number of recordings
    #[arg(long, value_name = "PART", default_value_t = Train::Auto)]
    train: Train,
    #[command(flatten)]
    training: Training,
}

/// Runs the command.
pub fn run(args: FinetuneArgs) -> Result<()> {
    let base = models::base(&args.base)?;
    let trunk = QuantizedTrunk::of(&base)?;
    let frontend = base.tables.params(base.info.normalization);
    let load =
        |examples: &[_], title| load_log_mel(examples, &frontend, title).into_iter().flatten();
    // What the user gave is looked at before anything long begins.
    let words = args.load_words(|examples| load(examples, "recordings").collect())?;
    let _claim = files::claim(&args.out)?;

    let negatives = args.other.load(&frontend)?;
    let (events, sounds) = args.events()?;
    let false_wakes = load_speech(&open_corpora(&sounds)?, &frontend, "false wakes");
    if false_wakes.is_empty() && events.is_empty() && !args.false_wakes.is_empty() {
        let remedy = "see the lines above; give the recordings that a device saved";
        return Err(Error::input(&args.false_wakes[0], "no recording in it can be read", remedy));
    }
    let settings = args.training.settings();
    let (base, trunk) = args.move_trunk(base, trunk, (&negatives, &words), &settings)?;
    let mut prepared = Prepared::new(&base, &trunk, &negatives, &settings)?;
    if !false_wakes.is_empty() {
        let speech = vec![false_wakes; FALSE_WAKE_COPIES].concat();
        let streams = Negatives { speech, noise: Vec::new() }.streams(settings.seed);
        prepared.train_also(trunk_outputs(&base, &trunk, &streams.rows)?);
    }
    if !events.is_empty() {
        prepared.train_also(recorded(&base, &trunk, (&events, &negatives), settings.seed)?);
    }
    let mut heads = Vec::new();
    for word in &words {
        let Word { label, different, .. } = word;
        let against = word.against(&words);
        let recordings = word.all(&against);
        let mut tuned =
            finetune(&base, &trunk, &negatives, &prepared, label, recordings, &settings)?;
        tuned.info.recordings = *different;
        let path = args.out.join(format!("{}.head", file_name(label)));
        tuned.save(&path)?;
        report(&tuned, &path);
        heads.push(tuned);
    }
    save_settings(&args.out.join("settings.json"), &args, &settings)?;
    let model = args.out.join("model.wkl");
    write_model(&model, &base, &trunk, (&heads, None))?;
    println!("{}", model.display());
    Ok(())
}

/// What the trunk says of events that a device recorded.
fn recorded(
    base: &Base,
    trunk: &QuantizedTrunk,
    (events, negatives): (&[Event], &Negatives),
    seed: u64,
) -> Result<TrunkOutputs> {
    /// Clips of other speech, parts of which are heard around the events.
    const CONTEXT_CLIPS: usize = 200;
    let mut rng = StdRng::seed_from_u64(seed);
    let speech = negatives.speech.iter().sample(&mut rng, CONTEXT_CLIPS);
    let speech: Vec<Speech> = speech.into_iter().cloned().collect();
    let contexts = Negatives { speech, noise: Vec::new() }.streams(seed);
    let mut heard = features(base, &contexts.rows);
    let shape = (base.info.trunk.inputs(), FALSE_WAKE_COPIES);
    heard.streams = recorder::streams(events, &heard.streams, shape, &mut rng)?;
    trunk_outputs_of(base, trunk, &heard.streams)
}

/// A word and all that is heard of it.
struct Word {
    label: String,
    /// By people.
    recordings: Vec<LogMel>,
    /// By programs.
    synthesized: Vec<LogMel>,
    /// How many people's recordings there are, once all of them are weighed.
    recorded: usize,
    /// How many different ones, of both kinds.
    different: usize,
    /// Recordings in which it is known not to be said.
    against: Vec<LogMel>,
    /// The table it is from.
    table: Option<PathBuf>,
}

impl Word {
    fn new(label: String, recordings: Vec<LogMel>) -> Self {
        Self {
            label,
            recordings,
            synthesized: Vec::new(),
            recorded: 0,
            different: 0,
            against: Vec::new(),
            table: None,
        }
    }

    /// With all of its recordings in one list, in which people's repeat until they weigh as much as
    /// programs'.
    fn weighed(mut self) -> Self {
        self.recorded = self.recordings.len();
        self.different = self.recorded + self.synthesized.len();
        if let Some(times) = self.synthesized.len().checked_div(self.recorded) {
            let real = self.recordings.clone();
            self.recordings.extend(std::iter::repeat_n(real, times.min(MOST_REPEATS)).flatten());
        }
        self.recordings.append(&mut self.synthesized);
        self
    }

    /// What is known to be something else, and the recordings of the other words, but for words in
    /// which this one is said ("computer" is in "hey computer"), and for those of its own table,
    /// which says of each recording what is known.
    fn against(&self, words: &[Self]) -> Vec<LogMel> {
        let others = words.iter().filter(|w| {
            let same_table = w.table.is_some() && w.table == self.table;
            !same_table && !says(&clean(&w.label), &self.label)
        });
        let others = others.flat_map(|w| &w.recordings);
        self.against.iter().chain(others).cloned().collect()
    }

    fn all<'w>(&'w self, against: &'w [LogMel]) -> Recordings<'w> {
        Recordings { of: &self.recordings, against }
    }
}

impl FinetuneArgs {
    /// What `--false-wakes` names: events of a flight recorder, and what holds recordings.
    fn events(&self) -> Result<(Vec<Event>, Vec<PathBuf>)> {
        let (mut events, mut sounds) = (Vec::new(), Vec::new());
        for path in &self.false_wakes {
            let found = recorder::load_events(path)?;
            if found.is_empty() {
                sounds.push(path.clone());
            }
            events.extend(found);
        }
        Ok((events, sounds))
    }

    /// The base that heads are trained on: the one given, or, where its trunk moves, a new one, which
    /// is written beside the heads.
    fn move_trunk(
        &self,
        base: Base,
        trunk: QuantizedTrunk,
        (negatives, words): (&Negatives, &[Word]),
        settings: &Settings,
    ) -> Result<(Base, QuantizedTrunk)> {
        // What programs say moves a trunk towards programs.
        let fewest = words.iter().map(|w| w.recorded).min().unwrap_or(0);
        let (train, why) = self.train.decide(fewest);
        if let Some(why) = why {
            crate::log!("{why}");
        }
        if train == Train::Head {
            return Ok((base, trunk));
        }
        let against: Vec<_> = words.iter().map(|word| word.against(words)).collect();
        let pairs = words.iter().zip(&against);
        let words: Vec<_> = pairs.map(|(w, others)| (w.label.as_str(), w.all(others))).collect();
        let base = tune(&base, Start::Pretrained, train, negatives, &words, settings)?;
        let path = self.out.join(TUNED_BASE);
        base.save(&path)?;
        crate::log!("{}: the base that moved, for `wakeling quantize --base`", path.display());
        let trunk = QuantizedTrunk::of(&base)?;
        Ok((base, trunk))
    }

    /// Reads recordings and synthesized samples, word by word.
    fn load_words(&self, load: impl Fn(&[Example]) -> Vec<LogMel>) -> Result<Vec<Word>> {
        let mut words = Vec::new();
        for WordPath { label, path } in &self.words {
            let recordings = load(&open_corpus(path)?);
            if recordings.is_empty() {
                return Err(none_readable(path));
            }
            words.push(Word::new(label.clone(), recordings));
        }
        for path in &self.labels {
            words.extend(labelled(path, &load)?);
        }
        for (i, word) in words.iter().enumerate() {
            if words[..i].iter().any(|w| clean(&w.label) == clean(&word.label)) {
                let problem = format!("the word {:?} is given twice", word.label);
                return Err(Error::usage(problem, "put all its recordings in one folder or table"));
            }
        }
        for folder in &self.samples {
            let manifest = folder.join(synthesize::MANIFEST);
            let examples = open_corpus(if manifest.is_file() { &manifest } else { folder })?;
            let label = label_of(folder, &examples)?;
            // What `listen` saved as missed lies in such a folder too, and people said that.
            let (spoken, said): (Vec<_>, Vec<_>) =
                examples.into_iter().partition(|e| e.source.as_deref() == Some(synthesize::SOURCE));
            let (spoken, said) = (load(&spoken), load(&said));
            if spoken.is_empty() && said.is_empty() {
                return Err(none_readable(folder));
            }
            let i =
                words.iter().position(|w| clean(&w.label) == clean(&label)).unwrap_or_else(|| {
                    words.push(Word::new(label, Vec::new()));
                    words.len() - 1
                });
            words[i].recordings.extend(said);
            words[i].synthesized.extend(spoken);
        }
        for word in &words {
            check_phrase::warn(&word.label, None);
            let recorded = word.recordings.len();
            if word.synthesized.is_empty() && recorded < FEW_RECORDINGS {
                crate::log!(
                    "warning: {recorded} recordings of {:?} are few; from {FEW_RECORDINGS} on it gets good",
                    word.label
                );
            }
        }
        Ok(words.into_iter().map(Word::weighed).collect())
    }
}

fn none_readable(path: &Path) -> Error {
    let remedy = "see the lines above; record again, or give another folder";
    Error::input(path, "no recording in it can be read", remedy)
}

/// The words of a table of recordings.
fn labelled(path: &Path, load: &impl Fn(&[Example]) -> Vec<LogMel>) -> Result<Vec<Word>> {
    let table = Table::open(path, None)?;
    table.skipped.iter().for_each(|skipped| crate::log!("skipped: {skipped}"));
    let recordings: Vec<(LogMel, &[Option<bool>])> = table
        .rows
        .iter()
        .filter_map(|(file, answers)| {
            let recording = load(&[Example::unlabelled(file)]).pop()?;
            Some((recording, answers.as_slice()))
        })
        .collect();
    let mut words = Vec::new();
    for (column, label) in table.labels.iter().enumerate() {
        let where_it_is = |wanted: bool| -> Vec<LogMel> {
            let rows = recordings.iter().filter(|(_, a)| a.get(column) == Some(&Some(wanted)));
            rows.map(|(recording, _)| recording.clone()).collect()
        };
        let mut word = Word::new(label.clone(), where_it_is(true));
        if word.recordings.is_empty() {
            let problem = format!("no recording that can be read has a 1 under {label:?}");
            return Err(Error::input(path, problem, "see the lines above; or drop the column"));
        }
        word.against = where_it_is(false);
        word.table = Some(path.to_owned());
        words.push(word);
    }
    Ok(words)
}

/// The one text of a folder of samples.
fn label_of(folder: &Path, examples: &[Example]) -> Result<String> {
    let texts: BTreeSet<&str> = examples.iter().filter_map(|e| e.text.as_deref()).collect();
    let mut texts = texts.into_iter();
    match (texts.next(), texts.next()) {
        (Some(text), None) => Ok(text.to_owned()),
        (None, _) => Err(Error::input(
            folder,
            "no manifest in it names the word",
            format!("give --word NAME={}", folder.display()),
        )),
        (Some(a), Some(b)) => Err(Error::input(
            folder,
            format!("its manifest names several texts, {a:?} and {b:?}"),
            "give --samples a folder of one phrase; what it must be told apart from is --negatives",
        )),
    }
}

/// Logs the named sensitivities of a word, and the false accepts that were counted for each.
fn report(tuned: &Tuned, path: &Path) {
    let info = &tuned.info;
    crate::log!("{}: {} recordings of {:?}", path.display(), info.recordings, info.label);
    crate::log!("  sensitivity  false accepts in other speech that it was not trained on");
    let own = info.detector.threshold;
    for preset in Preset::ALL {
        let evidence = Evidence::of(&info.points, preset.threshold(&info.points, own));
        let mark = if preset == Preset::Normal { "; in force" } else { "" };
        crate::log!("  {preset:<11}  {evidence}{mark}");
    }
    if !info.points.iter().any(|p| p.threshold == own) {
        crate::log!(
            "  the threshold of normal is estimated for 0.5 false accepts per hour; more --negatives would show it"
        );
    }
}

fn save_settings(path: &Path, args: &FinetuneArgs, settings: &Settings) -> Result<()> {
    let words: Vec<_> =
        args.words.iter().map(|w| serde_json::json!({"label": w.label, "path": w.path})).collect();
    let record = serde_json::json!({
        "base": args.base,
        "words": words,
        "samples": args.samples,
        "labels": args.labels,
        "negatives": args.other.negatives,
        "noise": args.other.noise,
        "false_wakes": args.false_wakes,
        "only_own": args.other.only_own,
        "train": args.train.to_string(),
        "settings": settings,
        "version": env!("CARGO_PKG_VERSION"),
    });
    files::write_atomic(path, format!("{record:#}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_weigh_as_much_as_programs_and_only_they_are_counted_as_recorded() {
        let mut word = Word::new("amelia".into(), vec![LogMel::default(); 3]);
        word.synthesized = vec![LogMel::default(); 60];
        let word = word.weighed();
        assert_eq!((word.recorded, word.different), (3, 63));
        assert_eq!(word.recordings.len(), 3 * (1 + MOST_REPEATS) + 60);
        assert_eq!(Train::Auto.decide(word.recorded).0, Train::Head);

        let mut word = Word::new("amelia".into(), Vec::new());
        word.synthesized = vec![LogMel::default(); 60];
        let word = word.weighed();
        assert_eq!((word.recorded, word.recordings.len()), (0, 60));
    }
}
