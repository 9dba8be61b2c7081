//! From corpora of any size to lists of labelled clips, and the clips of a list as features.
//!
//! The corpora are walked once per run, before the first update. The run's folder then holds
//! `train.jsonl` and `dev.jsonl` (see [`Listing`]), in which every clip has its tokens, its word and
//! how rare its text is; `corpus.json` with the vocabularies; and `skipped.txt`, a line and a reason
//! for everything that cannot be used. A run that continues reads these again and walks nothing, so
//! corpora that changed meanwhile cannot change what it learns from.
//!
//! Memory holds counts: of tokens, of words, and of texts, the rare ones of which are forgotten when
//! there are too many (Manku & Motwani 2002, lossy counting).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{LEAST_TOKEN_COUNT, LEAST_WORD_COUNT, Settings, Task, batch, texts, word_label};
use crate::{
    Error, Result,
    corpus::{Example, Item, Skipped, listing::Listing, nothing_usable, stream},
    features::{FrontendTables, LogMel, NormalizationKind, decode_log_mel},
    feed::{Load, Unusable, hash},
    files::write_atomic,
    remote,
    tokens::{Tokenizer, Vocabulary},
};

/// Texts that are counted at once.
const TEXTS_MAX: usize = 500_000;
/// Copies of a text up to which they do not count less.
const COPIES: f32 = 20.0;
/// Blocks whose texts are tokenized in one go.
const BLOCKS_A_GO: usize = 32;
/// Share of the speakers that is held out where there is no other held-out corpus.
const HELD_OUT: f64 = 0.05;
/// What of a noise is kept, in frames: 2 min.
const NOISE_FRAMES: usize = 12_000;
/// Lines about what was skipped that the terminal shows.
const LINES_SHOWN: u64 = 10;

/// What a run learns from, as the user names it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Corpora {
    /// Speech and words to learn from.
    pub train: Vec<PathBuf>,
    /// Held out; without it, one speaker in twenty of `train` is.
    pub dev: Option<PathBuf>,
    /// Noise to put under the speech.
    pub noise: Vec<PathBuf>,
    /// Sources of `train` that are left out.
    pub without: Vec<String>,
}

/// A clip with its labels, a line of a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    clip: Example,
    tokens: Vec<String>,
    word: Vec<String>,
    /// 1 for a text that is rare, less for one that many clips share.
    rarity: f32,
}

/// A clip ready for training.
pub struct Clip {
    /// Its frames.
    pub log_mel: LogMel,
    /// Classes of the transcript.
    pub tokens: Vec<u32>,
    /// The class of the word.
    pub words: Vec<u32>,
    /// How often it is drawn.
    pub weight: f32,
    /// Whether nobody speaks in it.
    pub is_noise: bool,
}

/// `corpus.json`: what the walk found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    /// What was asked for.
    request: String,
    /// Tokens that are frequent enough.
    pub tokens: Vocabulary,
    /// Words that are.
    pub words: Vocabulary,
    /// Names of the sources.
    pub sources: Vec<String>,
}

/// The lists and what is in them.
pub struct Prepared {
    /// Vocabularies and sources.
    pub found: Found,
    /// To learn from.
    pub train: Arc<Listing>,
    /// Held out.
    pub dev: Arc<Listing>,
    /// Noise; not labelled.
    pub noise: Arc<Listing>,
    /// Where what cannot be used is told.
    pub skipped: PathBuf,
}

/// How clips are labelled.
pub struct Labelling<'a> {
    /// Which labels count.
    pub task: Task,
    /// Texts to tokens.
    pub tokenizer: &'a Tokenizer,
    /// Seed of the speakers that are held out.
    pub seed: u64,
    /// Whether clips without labels teach too, when someone speaks.
    pub voice: bool,
}

/// Walks the corpora, or takes up what an earlier call in this folder found.
///
/// # Errors
/// [`Error::Input`] if there is nothing to learn from, or if the folder holds a run on other
/// corpora; [`Error::Usage`] if no clip has a label for the task; [`Error::Io`].
pub fn prepare(corpora: &Corpora, labelling: &Labelling<'_>, folder: &Path) -> Result<Prepared> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let at = |name: &str| folder.join(name);
    let voice = if labelling.voice { " voice" } else { "" };
    let request = serde_json::to_string(&(
        corpora,
        format!("{:?} {:?} {}{voice}", labelling.task, labelling.tokenizer, labelling.seed),
    ));
    let request =
        request.map_err(|e| Error::usage(format!("a name is not text: {e}"), "rename"))?;
    if let Some(prepared) = earlier(folder, &request)? {
        return Ok(prepared);
    }
    let mut walk = Walk::begin(&at("skipped.txt"))?;
    let raw = walk.list(&corpora.train, &corpora.without, &at("clips.tmp"), labelling.seed)?;
    let held_out = corpora.dev.is_none().then(|| walk.threshold());
    let is_held = |clip: &Example| held_out.is_some_and(|t| place(clip, labelling.seed) <= t);
    let (mut counts, mut unlabelled) = (Counts::default(), 0u64);
    let mut label =
        |raw: &Listing, path: &Path, copies: &Copies, counts: &mut Counts, dev: bool| {
            Listing::write(path, |writer| {
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
    let train = label(&raw, &at("train.jsonl"), &walk.copies, &mut counts, false)?;
    let mut ignored = Counts::default();
    let dev = match &corpora.dev {
        Some(path) => {
            let mut walked = Walk { copies: Copies::default(), ..walk.again()? };
            let raw = walked.list(std::slice::from_ref(path), &[], &at("dev.tmp"), 0)?;
            label(&raw, &at("dev.jsonl"), &walked.copies, &mut ignored, false)?
        }
        None => label(&raw, &at("dev.jsonl"), &walk.copies, &mut ignored, true)?,
    };
    let noise = walk.list(&corpora.noise, &[], &at("noise.jsonl"), 0)?;
    if unlabelled > 0 {
        crate::log!("{unlabelled} clips have no label for this task and are left out");
    }
    walk.end()?;
    for temporary in ["clips.tmp", "dev.tmp"] {
        // Only room is lost if they stay.
        let _ = std::fs::remove_file(at(temporary));
    }
    let found = counts.found(labelling, request, train.clips())?;
    found.write(&at("corpus.json"))?;
    let [train, dev, noise] = [train, dev, noise].map(Arc::new);
    Ok(Prepared { found, train, dev, noise, skipped: at("skipped.txt") })
}

/// What an earlier call found in this folder, if it was asked for the same.
fn earlier(folder: &Path, request: &str) -> Result<Option<Prepared>> {
    let Some(found) = Found::read(&folder.join("corpus.json"))? else { return Ok(None) };
    if found.request == request {
        let open = |name: &str| Listing::open(&folder.join(name)).map(Arc::new);
        let (train, dev) = (open("train.jsonl")?, open("dev.jsonl")?);
        let (noise, skipped) = (open("noise.jsonl")?, folder.join("skipped.txt"));
        return Ok(Some(Prepared { found, train, dev, noise, skipped }));
    }
    if folder.join("checkpoint.safetensors").exists() {
        return Err(Error::input(
            folder,
            "the run in this folder learns from other corpora, tasks or tokens",
            "choose another --out folder, or remove this one",
        ));
    }
    Ok(None)
}

impl Found {
    fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read(path) {
            // One that cannot be understood is of another version; it is made anew.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path, "read")(e)),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self);
        write_atomic(path, &text.map_err(|e| Error::io(path, "write")(e.into()))?)
    }
}

/// What a clip must be read together with: the rest of its shard, if that is far away.
fn group(clip: &Example) -> &str {
    if remote::is_url(&clip.path) { clip.path.to_str().unwrap_or_default() } else { "" }
}

/// Where between 0 and 2⁶⁴ a clip's speaker falls, or its file if the speaker is unknown.
fn place(clip: &Example, seed: u64) -> u64 {
    let name = clip.speaker.clone().unwrap_or_else(|| format!("\0{}", clip.name()));
    // The finalizer of SplitMix64 (Steele et al. 2014).
    let mut x = hash(&name) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// How often each text occurs; those that are rare may be forgotten.
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

    /// A word spoken a thousand times teaches less a clip than a sentence spoken once.
    fn rarity(&self, clip: &Example) -> f32 {
        let text = clip.text.as_deref().unwrap_or_default();
        let copies = self.counts.get(&hash(text)).copied().unwrap_or(1) as f32;
        (COPIES / copies).clamp(0.05, 1.0).sqrt()
    }
}

/// The first look at the corpora.
struct Walk {
    skipped: BufWriter<File>,
    skipped_path: PathBuf,
    count: u64,
    copies: Copies,
    lowest: u64,
}

impl Walk {
    fn begin(skipped_path: &Path) -> Result<Self> {
        let file = File::create(skipped_path).map_err(Error::io(skipped_path, "create"))?;
        let (skipped, skipped_path) = (BufWriter::new(file), skipped_path.to_owned());
        Ok(Self { skipped, skipped_path, count: 0, copies: Copies::default(), lowest: u64::MAX })
    }

    /// Another look, which continues the list of what was skipped.
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
    ) -> Result<Listing> {
        let unwanted =
            |clip: &Example| clip.source.as_ref().is_some_and(|source| without.contains(source));
        let listing = Listing::write(list, |writer| {
            for path in paths {
                let (mut clips, mut first) = (0u64, None);
                let before = self.count;
                stream(path, None, &mut |item| {
                    match item {
                        Item::Clip(clip) => {
                            clips += 1;
                            if !unwanted(&clip) {
                                self.copies.add(&clip);
                                self.lowest = self.lowest.min(place(&clip, seed));
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
        Ok(listing)
    }

    fn skip(&mut self, skipped: &Skipped) -> Result<()> {
        self.count += 1;
        if self.count <= LINES_SHOWN {
            crate::log!("skipped: {skipped}");
        } else if self.count == LINES_SHOWN + 1 {
            crate::log!("skipped: more, see {}", self.skipped_path.display());
        }
        writeln!(self.skipped, "{skipped}").map_err(Error::io(&self.skipped_path, "write"))
    }

    fn end(&mut self) -> Result<()> {
        self.skipped.flush().map_err(Error::io(&self.skipped_path, "write"))
    }

    /// Speakers up to which place are held out: a share of them, and at least one.
    fn threshold(&self) -> u64 {
        ((HELD_OUT * u64::MAX as f64) as u64).max(self.lowest)
    }
}

/// Hands every clip of a raw list to `take`, labelled.
fn label_all(
    raw: &Listing,
    labelling: &Labelling<'_>,
    copies: &Copies,
    mut take: impl FnMut(Entry),
) -> Result<()> {
    for blocks in raw.blocks().chunks(BLOCKS_A_GO) {
        let mut clips: Vec<Example> = Vec::new();
        for block in blocks {
            clips.extend(raw.read::<Example>(*block)?);
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

/// How often each label occurs.
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
            return Err(Error::usage(
                "every clip is of one speaker, so none can be held out",
                "give clips of other speakers with --dev",
            ));
        }
        if tokens.outputs() + words.outputs() == 2 && !labelling.voice {
            return Err(Error::usage(
                "no example has a label that this task can learn from",
                "give a manifest with `text`, or a folder of words with at least 40 clips each",
            ));
        }
        Ok(Found { request, tokens, words, sources: self.sources.into_keys().collect() })
    }
}

/// Reads clips on the feed's threads.
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
    /// For clips with these labels.
    pub fn new(found: &Found, settings: &Settings) -> Self {
        Self {
            tables: FrontendTables::default(),
            normalization: settings.normalization,
            tokens: found.tokens.clone(),
            words: found.words.clone(),
            frames_per_step: settings.trunk.frames_per_step,
            longest_s: settings.longest_s,
            voice: settings.weights.voice > 0.0,
        }
    }

    /// Why a clip of so many frames and tokens cannot be used.
    fn objection(&self, frames: usize, tokens: &[u32]) -> Option<String> {
        if frames < batch::LEAST_FRAMES {
            return Some(format!("{frames} frames of 10 ms; at least {}", batch::LEAST_FRAMES));
        }
        if frames as f64 > 100.0 * self.longest_s {
            let longest_s = self.longest_s;
            return Some(format!("longer than the {longest_s} s that are used, see --longest"));
        }
        let repeats = tokens.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let steps = batch::steps_for(frames, self.frames_per_step);
        (tokens.len() + repeats > steps)
            .then(|| format!("{} tokens, and only {steps} steps to say them in", tokens.len()))
    }
}

impl Load for ClipLoader {
    type Entry = Entry;
    type Clip = Clip;

    fn load(&self, entry: Entry) -> Result<Clip, Unusable> {
        let (tokens, words) = (self.tokens.encode(&entry.tokens), self.words.encode(&entry.word));
        let skip = |why: String| Unusable::Skip(format!("{}: {why}", entry.clip.name()));
        if tokens.is_empty() && words.is_empty() && !self.voice {
            return Err(skip("no label that this run learns from".into()));
        }
        // What is too long is not read at all, if its length is known.
        let frames = entry.clip.duration_s.map_or(0, |s| (100.0 * s.max(0.0)) as usize);
        if frames as f64 > 100.0 * (self.longest_s + 0.1) {
            return Err(skip(self.objection(frames, &tokens).unwrap_or_default()));
        }
        // One frame more than is used, so that a clip that is too long is known as such.
        let most = (100.0 * self.longest_s) as usize + 1;
        let (log_mel, shortfall) = frames_of(&entry.clip, &self.tables, self.normalization, most)?;
        if let Some(what) = shortfall {
            // Its labels are of the whole.
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

/// Reads noise on the feed's threads.
pub struct NoiseLoader {
    normalization: NormalizationKind,
    tables: FrontendTables,
}

impl NoiseLoader {
    /// For features of this kind.
    pub fn new(normalization: NormalizationKind) -> Self {
        Self { normalization, tables: FrontendTables::default() }
    }
}

impl Load for NoiseLoader {
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
    decode_log_mel(clip, &tables.params(normalization), most_frames).map_err(|error| match &error {
        Error::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                Unusable::Skip(format!("{}: {source}", clip.name()))
            }
            _ => Unusable::Stop(error),
        },
        Error::Input { problem, .. } => Unusable::Skip(format!("{}: {problem}", clip.name())),
        Error::Usage { .. } | Error::Device { .. } | Error::Tensor(_) | Error::Defect(_) => {
            Unusable::Stop(error)
        }
    })
}
