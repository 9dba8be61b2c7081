//! Preparation of datasets of any size: index of labelled clips, and decoding of its clips.
//!
//! The datasets are scanned once per run, before the first training step. The folder of the run
//! then holds
//!
//! - `train.jsonl` and `dev.jsonl` (see [`DatasetIndex`]): each clip with its tokens, its word and the
//!   rarity of its text;
//! - `noise.jsonl`: the noise clips;
//! - `dataset.json`: the vocabularies;
//! - `skipped.txt`: a line with the reason for each clip that cannot be used.
//!
//! A resumed run reads these files instead of scanning again, so later changes to the datasets
//! cannot change its training data.
//!
//! Memory holds only counts of tokens, words and texts. When there are too many texts, rare ones
//! are dropped (lossy counting: Manku & Motwani 2002).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{LEAST_TOKEN_COUNT, LEAST_WORD_COUNT, Settings, Task, batch, texts, word_label};
use wakeling_audio::{
    Error as Audio,
    features::{FrontendTables, LogMel, NormalizationKind},
};
use wakeling_core::{Error as Core, files::write_atomic};

use crate::{Error, Result};
use wakeling_data::clip_features::decode_log_mel;
use wakeling_data::{
    dataset::{
        Example, Item, Skipped, index::DatasetIndex, nothing_usable, speaker_position, stream,
    },
    loader::{Decode, Unusable},
    remote,
    text::hash,
    tokens::{Tokenizer, Vocabulary},
};

/// Maximum number of texts that are counted at once.
const TEXTS_MAX: usize = 500_000;
/// Number of copies up to which a text keeps its full weight.
const COPIES: f32 = 20.0;
/// Number of chunks whose texts are tokenized in one call.
const CHUNKS_A_GO: usize = 32;
/// Share of the speakers that is held out if there is no separate held-out dataset.
const HELD_OUT: f64 = 0.05;
/// Longest part of a noise clip that is kept, in frames: 2 min.
const NOISE_FRAMES: usize = 12_000;
/// Maximum number of skipped clips that the terminal shows.
const LINES_SHOWN: u64 = 10;

/// Datasets of a run, as named by the user.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Datasets {
    /// Speech and words to train on.
    pub train: Vec<PathBuf>,
    /// Held-out dataset. Without it, one in twenty speakers of `train` is held out.
    pub dev: Option<PathBuf>,
    /// Noise to mix under the speech.
    pub noise: Vec<PathBuf>,
    /// Names of sources of `train` that are excluded.
    pub without: Vec<String>,
}

/// Clip with its labels: one line of an index.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    clip: Example,
    tokens: Vec<String>,
    word: Vec<String>,
    /// Weight of the text: 1 if it is rare, less if many clips share it.
    rarity: f32,
}

/// Decoded clip, ready for training.
pub struct Clip {
    /// Log-mel frames.
    pub log_mel: LogMel,
    /// Classes of the transcript's tokens.
    pub tokens: Vec<u32>,
    /// Class of the word; empty if the clip has none.
    pub words: Vec<u32>,
    /// Sampling weight.
    pub weight: f32,
    /// `true` if the clip is noise or music, without speech.
    pub is_noise: bool,
}

/// Content of `dataset.json`: results of the scan.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    /// Request that produced this result; a resumed run must match it.
    request: String,
    /// Tokens that are frequent enough to be learned.
    pub tokens: Vocabulary,
    /// Words that are frequent enough to be learned.
    pub words: Vocabulary,
    /// Names of the sources.
    pub sources: Vec<String>,
}

/// Dataset indices of a run.
pub struct PretrainIndex {
    /// Vocabularies and sources.
    pub found: Found,
    /// Training clips.
    pub train: Arc<DatasetIndex>,
    /// Held-out clips.
    pub dev: Arc<DatasetIndex>,
    /// Noise clips, not labelled.
    pub noise: Arc<DatasetIndex>,
    /// Path of the list of skipped clips.
    pub skipped: PathBuf,
}

/// Configuration of the labels.
pub struct Labelling<'a> {
    /// Labels to train on.
    pub task: Task,
    /// Tokenizer of the transcripts.
    pub tokenizer: &'a Tokenizer,
    /// Seed for the choice of held-out speakers.
    pub seed: u64,
    /// `true` if clips without labels are kept as well, because voice activity is learned from
    /// them.
    pub voice: bool,
}

/// Scans the datasets, or loads the result of an earlier call in this folder.
///
/// # Errors
/// [`Error::Data`] if there is nothing to learn from, or if the folder holds a run on other
/// datasets; [`Error::NoLabel`] if no clip has a label for the task; [`Error::Core`] if reading or
/// writing fails.
pub fn prepare(
    datasets: &Datasets,
    labelling: &Labelling<'_>,
    folder: &Path,
) -> Result<PretrainIndex> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let at = |name: &str| folder.join(name);
    let voice = if labelling.voice { " voice" } else { "" };
    let request = serde_json::to_string(&(
        datasets,
        format!("{:?} {:?} {}{voice}", labelling.task, labelling.tokenizer, labelling.seed),
    ));
    let request = request.map_err(|e| Error::NameIsNoText { reason: e.to_string() })?;
    if let Some(index) = earlier(folder, &request)? {
        return Ok(index);
    }
    let mut config = LoaderConfig::begin(&at("skipped.txt"))?;
    let raw = config.list(&datasets.train, &datasets.without, &at("clips.tmp"), labelling.seed)?;
    let held_out = datasets.dev.is_none().then(|| config.threshold());
    let is_held =
        |clip: &Example| held_out.is_some_and(|t| speaker_position(clip, labelling.seed) <= t);
    let (mut counts, mut unlabelled) = (Counts::default(), 0u64);
    let mut label =
        |raw: &DatasetIndex, path: &Path, copies: &Copies, counts: &mut Counts, dev: bool| {
            DatasetIndex::write(path, |writer| {
                label_all(raw, labelling, copies, |entry| {
                    if entry.tokens.is_empty() && entry.word.is_empty() && !labelling.voice {
                        unlabelled += u64::from(!dev);
                    } else if is_held(&entry.clip) == dev {
                        counts.add(&entry);
                        writer.add(group(&entry.clip), &entry);
                    }
                })
            })
        };
    let train = label(&raw, &at("train.jsonl"), &config.copies, &mut counts, false)?;
    let mut ignored = Counts::default();
    let dev = match &datasets.dev {
        Some(path) => {
            let mut walked = LoaderConfig { copies: Copies::default(), ..config.again()? };
            let raw = walked.list(std::slice::from_ref(path), &[], &at("dev.tmp"), 0)?;
            label(&raw, &at("dev.jsonl"), &walked.copies, &mut ignored, false)?
        }
        None => label(&raw, &at("dev.jsonl"), &config.copies, &mut ignored, true)?,
    };
    let noise = config.list(&datasets.noise, &[], &at("noise.jsonl"), 0)?;
    if unlabelled > 0 {
        log::info!("{unlabelled} clips have no label for this task and are left out");
    }
    config.end()?;
    for temporary in ["clips.tmp", "dev.tmp"] {
        // If removal fails, only disk space is lost.
        let _ = std::fs::remove_file(at(temporary));
    }
    let found = counts.found(labelling, request, train.clips())?;
    found.write(&at("corpus.json"))?;
    let [train, dev, noise] = [train, dev, noise].map(Arc::new);
    Ok(PretrainIndex { found, train, dev, noise, skipped: at("skipped.txt") })
}

/// Loads the result of an earlier call in this folder, if its request was the same.
fn earlier(folder: &Path, request: &str) -> Result<Option<PretrainIndex>> {
    let Some(found) = Found::read(&folder.join("corpus.json"))? else { return Ok(None) };
    if found.request == request {
        let open = |name: &str| DatasetIndex::open(&folder.join(name)).map(Arc::new);
        let (train, dev) = (open("train.jsonl")?, open("dev.jsonl")?);
        let (noise, skipped) = (open("noise.jsonl")?, folder.join("skipped.txt"));
        return Ok(Some(PretrainIndex { found, train, dev, noise, skipped }));
    }
    if folder.join("checkpoint.safetensors").exists() {
        return Err(Error::OtherRequest { path: folder.to_owned() });
    }
    Ok(None)
}

impl Found {
    fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read(path) {
            // An unreadable file comes from another version and is rebuilt.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path, "read")(e)),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self);
        Ok(write_atomic(path, &text.map_err(|e| Error::io(path, "write")(e.into()))?)?)
    }
}

/// Returns the key of clips that must be read together: the path of a remote shard, empty for local
/// files.
fn group(clip: &Example) -> &str {
    if remote::is_url(&clip.path) { clip.path.to_str().unwrap_or_default() } else { "" }
}

/// Number of occurrences of each text. Rare texts may be dropped.
#[derive(Default)]
struct Copies {
    counts: HashMap<u64, u32>,
    forgotten: u32,
}

impl Copies {
    fn add(&mut self, clip: &Example) {
        let text = clip.text.as_deref().unwrap_or_default();
        *self.counts.entry(hash(text)).or_default() += 1;
        if self.counts.len() > TEXTS_MAX {
            self.forgotten += 1;
            let least = self.forgotten;
            self.counts.retain(|_, count| *count > least);
        }
    }

    /// Returns the weight of a clip by the number of copies of its text. A word with a thousand
    /// recordings teaches less per clip than a sentence spoken once.
    fn rarity(&self, clip: &Example) -> f32 {
        let text = clip.text.as_deref().unwrap_or_default();
        let copies = self.counts.get(&hash(text)).copied().unwrap_or(1) as f32;
        (COPIES / copies).clamp(0.05, 1.0).sqrt()
    }
}

/// Scan over the datasets.
struct LoaderConfig {
    skipped: BufWriter<File>,
    skipped_path: PathBuf,
    count: u64,
    copies: Copies,
    lowest: u64,
}

impl LoaderConfig {
    fn begin(skipped_path: &Path) -> Result<Self> {
        let file = File::create(skipped_path).map_err(Error::io(skipped_path, "create"))?;
        let (skipped, skipped_path) = (BufWriter::new(file), skipped_path.to_owned());
        Ok(Self { skipped, skipped_path, count: 0, copies: Copies::default(), lowest: u64::MAX })
    }

    /// Starts another scan that continues the list of skipped clips.
    fn again(&mut self) -> Result<Self> {
        self.end()?;
        let file = File::options().append(true).open(&self.skipped_path);
        let file = file.map_err(Error::io(&self.skipped_path, "write"))?;
        let skipped_path = self.skipped_path.clone();
        let (skipped, copies) = (BufWriter::new(file), Copies::default());
        Ok(Self { skipped, skipped_path, count: self.count, copies, lowest: u64::MAX })
    }

    fn list(
        &mut self,
        paths: &[PathBuf],
        without: &[String],
        list: &Path,
        seed: u64,
    ) -> Result<DatasetIndex> {
        let unwanted =
            |clip: &Example| clip.source.as_ref().is_some_and(|source| without.contains(source));
        let index = DatasetIndex::write(list, |writer| {
            for path in paths {
                let (mut clips, mut first) = (0u64, None);
                let before = self.count;
                stream(path, None, &mut |item| {
                    match item {
                        Item::Clip(clip) => {
                            clips += 1;
                            if !unwanted(&clip) {
                                self.copies.add(&clip);
                                self.lowest = self.lowest.min(speaker_position(&clip, seed));
                                writer.add(group(&clip), &clip);
                            }
                        }
                        Item::Skipped(skipped) => {
                            self.skip(&skipped)?;
                            first.get_or_insert(skipped);
                        }
                    }
                    Ok(())
                })?;
                if clips == 0 {
                    let skipped = (self.count - before) as usize;
                    return Err(nothing_usable(path, skipped, first.as_ref()));
                }
            }
            Ok(())
        })?;
        Ok(index)
    }

    fn skip(&mut self, skipped: &Skipped) -> wakeling_core::Result<()> {
        self.count += 1;
        if self.count <= LINES_SHOWN {
            log::info!("skipped: {skipped}");
        } else if self.count == LINES_SHOWN + 1 {
            log::info!("skipped: more, see {}", self.skipped_path.display());
        }
        writeln!(self.skipped, "{skipped}").map_err(Core::io(&self.skipped_path, "write"))
    }

    fn end(&mut self) -> Result<()> {
        self.skipped.flush().map_err(Error::io(&self.skipped_path, "write"))
    }

    /// Returns the largest value of [`speaker_position`] that is held out: a fixed share of the speakers, and
    /// at least one speaker.
    fn threshold(&self) -> u64 {
        ((HELD_OUT * u64::MAX as f64) as u64).max(self.lowest)
    }
}

/// Labels every clip of a raw list and passes it to `take`.
fn label_all(
    raw: &DatasetIndex,
    labelling: &Labelling<'_>,
    copies: &Copies,
    mut take: impl FnMut(Entry),
) -> wakeling_data::Result<()> {
    for chunks in raw.chunks().chunks(CHUNKS_A_GO) {
        let mut clips: Vec<Example> = Vec::new();
        for chunk in chunks {
            clips.extend(raw.read::<Example>(*chunk)?);
        }
        let tokens = match labelling.task {
            Task::Words => vec![Vec::new(); clips.len()],
            _ => labelling.tokenizer.tokenize(&texts(&clips))?,
        };
        for (clip, tokens) in clips.into_iter().zip(tokens) {
            let word = match labelling.task {
                Task::Transcripts => Vec::new(),
                _ => word_label(&clip),
            };
            let rarity = copies.rarity(&clip);
            take(Entry { clip, tokens, word, rarity });
        }
    }
    Ok(())
}

/// Number of occurrences of each label and source.
#[derive(Default)]
struct Counts {
    tokens: BTreeMap<String, usize>,
    words: BTreeMap<String, usize>,
    sources: BTreeMap<String, usize>,
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        let count = |counts: &mut BTreeMap<String, usize>, label: &String| {
            if let Some(count) = counts.get_mut(label) {
                *count += 1;
            } else {
                counts.insert(label.clone(), 1);
                if counts.len() > TEXTS_MAX {
                    counts.retain(|_, count| *count > 1);
                }
            }
        };
        entry.tokens.iter().for_each(|token| count(&mut self.tokens, token));
        entry.word.iter().for_each(|word| count(&mut self.words, word));
        entry.clip.source.iter().for_each(|source| count(&mut self.sources, source));
    }

    fn found(self, labelling: &Labelling<'_>, request: String, clips: u64) -> Result<Found> {
        let task = labelling.task;
        let tokens = match task {
            Task::Words => Vocabulary::default(),
            _ => Vocabulary::frequent(self.tokens, LEAST_TOKEN_COUNT),
        };
        let words = match task {
            Task::Transcripts => Vocabulary::default(),
            _ => Vocabulary::frequent(self.words, LEAST_WORD_COUNT),
        };
        if clips == 0 {
            return Err(Error::OneSpeaker);
        }
        if tokens.outputs() + words.outputs() == 2 && !labelling.voice {
            return Err(Error::NoLabel);
        }
        Ok(Found { request, tokens, words, sources: self.sources.into_keys().collect() })
    }
}

/// Decodes clips on the data loader's threads.
pub struct ClipLoader {
    tables: FrontendTables,
    normalization: NormalizationKind,
    tokens: Vocabulary,
    words: Vocabulary,
    frames_per_step: usize,
    longest_s: f64,
    voice: bool,
}

impl ClipLoader {
    /// Creates a decoder for clips with the labels in `found`.
    pub fn new(found: &Found, settings: &Settings) -> Self {
        Self {
            tables: FrontendTables::default(),
            normalization: settings.normalization,
            tokens: found.tokens.clone(),
            words: found.words.clone(),
            frames_per_step: settings.backbone.frames_per_step,
            longest_s: settings.longest_s,
            voice: settings.weights.voice > 0.0,
        }
    }

    /// Returns the reason why a clip of this length with these tokens cannot be used, if there is
    /// one.
    fn objection(&self, frames: usize, tokens: &[u32]) -> Option<String> {
        if frames < batch::LEAST_FRAMES {
            return Some(format!("{frames} frames of 10 ms; at least {}", batch::LEAST_FRAMES));
        }
        if frames as f64 > 100.0 * self.longest_s {
            let longest_s = self.longest_s;
            return Some(format!("longer than the {longest_s} s that are used, see --longest"));
        }
        let steps = batch::steps_for(frames, self.frames_per_step);
        batch::steps_beyond(tokens, steps)
            .map(|_| format!("{} tokens, and only {steps} steps for them", tokens.len()))
    }
}

impl Decode for ClipLoader {
    type Entry = Entry;
    type Clip = Clip;

    fn load(&self, entry: Entry) -> Result<Clip, Unusable> {
        let (tokens, words) = (self.tokens.encode(&entry.tokens), self.words.encode(&entry.word));
        let skip = |why: String| Unusable::Skip(format!("{}: {why}", entry.clip.name()));
        if tokens.is_empty() && words.is_empty() && !self.voice {
            return Err(skip("no label that this run trains on".into()));
        }
        // Skips clips whose known length is too large without reading them.
        let frames = entry.clip.duration_s.map_or(0, |s| (100.0 * s.max(0.0)) as usize);
        if frames as f64 > 100.0 * (self.longest_s + 0.1) {
            return Err(skip(self.objection(frames, &tokens).unwrap_or_default()));
        }
        // One frame more than allowed, so that a clip that is too long is detected.
        let most = (100.0 * self.longest_s) as usize + 1;
        let (log_mel, shortfall) = frames_of(&entry.clip, &self.tables, self.normalization, most)?;
        if let Some(what) = shortfall {
            // The labels describe the whole file, so a truncated one cannot be used.
            return Err(skip(format!("the file is truncated: {what}")));
        }
        if let Some(objection) = self.objection(log_mel.len(), &tokens) {
            return Err(skip(objection));
        }
        let weight = entry.rarity * (log_mel.len() as f32).sqrt();
        let is_noise = matches!(entry.clip.kind.as_deref(), Some("noise" | "music"));
        Ok(Clip { log_mel, tokens, words, weight, is_noise })
    }
}

/// Decodes noise on the data loader's threads.
pub struct NoiseLoader {
    normalization: NormalizationKind,
    tables: FrontendTables,
}

impl NoiseLoader {
    /// Creates a decoder for features with this normalization.
    pub fn new(normalization: NormalizationKind) -> Self {
        Self { normalization, tables: FrontendTables::default() }
    }
}

impl Decode for NoiseLoader {
    type Entry = Example;
    type Clip = LogMel;

    fn load(&self, entry: Example) -> Result<LogMel, Unusable> {
        Ok(frames_of(&entry, &self.tables, self.normalization, NOISE_FRAMES)?.0)
    }
}

fn frames_of(
    clip: &Example,
    tables: &FrontendTables,
    normalization: NormalizationKind,
    most_frames: usize,
) -> Result<(LogMel, Option<String>), Unusable> {
    decode_log_mel(clip, &tables.params(normalization), most_frames)
        .map_err(|error| unusable(clip, error))
}

/// Decides whether training goes on without a clip that cannot be read.
fn unusable(clip: &Example, error: wakeling_data::Error) -> Unusable {
    use wakeling_data::Error as Data;
    let problem = match &error {
        Data::Audio(Audio::File(file)) => file.described(),
        Data::Core(Core::Io { source, .. }) | Data::Audio(Audio::Core(Core::Io { source, .. }))
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            source.to_string()
        }
        Data::S3Server { problem, .. } => problem.clone(),
        Data::NoBucket { .. } => "there is no bucket in it".to_owned(),
        _ => return Unusable::Stop(error),
    };
    Unusable::Skip(format!("{}: {problem}", clip.name()))
}
