//! The whole recipe of fine-tuning, from recordings and negatives to a model file.

use std::path::{Path, PathBuf};

use rand::{SeedableRng, rngs::StdRng, seq::IteratorRandom};
use serde_json::{Value, json};

use super::{
    Init, Keyword, KeywordClips, NegativeBank, Settings, Strategy, Trainable,
    keyword::{check_labels, warnings},
    negative_bank::features,
    progress::{Costs, Stages, Work},
    train_backbone, train_head,
};
use crate::{Error, Result};
use crate::{
    embeddings::{Embeddings, embed_features, embed_with_progress},
    head_checkpoint::{HeadCheckpoint, fingerprint},
    models,
    quantize::{Backbone, QuantizedModel},
};
use wakeling_audio::features::LogMel;
use wakeling_core::{files, progress::Progress};
use wakeling_data::{
    mixing::MelStream,
    negatives::{Negatives, SpeechClip},
    takes::record::TrainedOn,
    text::{file_names, quoted},
};
use wakeling_device::{
    recorder::{self, Event},
    sensitivity::{Evidence, Preset},
};
use wakeling_nn::pretrained::PretrainedModel;

/// Copies of each recorded false accept, all but a few with augmentation. High-scoring windows are
/// sampled more often anyway; the copies balance one recording against hours of negatives.
const FALSE_WAKE_COPIES: usize = 20;
/// Number of clips of negative speech that serve as context around recorded events.
const CONTEXT_CLIPS: usize = 200;
/// File name of a fine-tuned backbone.
const UNFROZEN_BACKBONE: &str = "base.safetensors";
/// File name of the model for the device.
pub const MODEL_FILE: &str = "model.wkl";

/// Fine-tuning of a pretrained model on keywords. The fields can be changed before it is run.
///
/// ```no_run
/// use wakeling_core::progress::Bars;
/// use wakeling_train::{finetune::{Keyword, Recipe}, models};
/// # fn recordings() -> Vec<wakeling_audio::features::LogMel> { Vec::new() }
///
/// let backbone = models::backbone(models::DEFAULT_PRETRAINED)?;
/// let keyword = Keyword::of_clips("hey computer", recordings());
/// let mut recipe = Recipe::new(backbone, vec![keyword])?;
/// recipe.settings.train.seed = 7;
/// let result = recipe.run(&Bars::default())?;
/// std::fs::write("model.wkl", result.model.bytes()?).unwrap();
/// # Ok::<(), wakeling_train::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Pretrained model.
    pub backbone: Backbone,
    keywords: Vec<Keyword>,
    /// Speech and noise without the keywords, added to the shipped negatives.
    pub negatives: Negatives,
    /// Leaves out the shipped negatives.
    pub only_own: bool,
    /// False accepts of an earlier model.
    pub false_wakes: FalseWakes,
    /// Layers to train.
    pub train: Trainable,
    /// Settings of the training.
    pub settings: Settings,
    /// Folder that keeps the embedded negatives for the next run; they are computed each time
    /// without one. A file has about 250 MB.
    pub cache: Option<PathBuf>,
    /// Folder that keeps checkpoints, from which a run with the same data, settings and pretrained model goes
    /// on; its result is the same. The caller removes the folder, after the run or when anything changes.
    pub checkpoints: Option<PathBuf>,
}

/// False accepts of an earlier model. Each counts twenty times in training, and not
/// in the choice of thresholds.
#[derive(Clone, Debug, Default)]
pub struct FalseWakes {
    /// Recordings.
    pub clips: Vec<SpeechClip>,
    /// Events of a device's flight recorder.
    pub events: Vec<Event>,
}

/// Result of a [`Recipe`].
#[derive(Clone, Debug)]
pub struct FinetunedModel {
    /// Backbone of the heads: fine-tuned, or that of the recipe.
    pub backbone: Backbone,
    /// Layers that were trained; never [`Trainable::Auto`].
    pub trained: Trainable,
    /// Float heads, one per keyword.
    pub heads: Vec<HeadCheckpoint>,
    /// Model for the device.
    pub model: QuantizedModel,
    /// Warnings, what was left out, and what was decided and why, a line each.
    pub messages: Vec<String>,
    requested: Trainable,
    settings: Settings,
    trained_on: TrainedOn,
}

impl Recipe {
    /// Creates the recipe with default settings and the shipped negatives.
    ///
    /// # Errors
    /// [`Error::KeywordTwice`] if a keyword is given twice.
    pub fn new(backbone: Backbone, keywords: Vec<Keyword>) -> Result<Self> {
        check_labels(&keywords)?;
        Ok(Self {
            backbone,
            keywords,
            negatives: Negatives::default(),
            only_own: false,
            false_wakes: FalseWakes::default(),
            train: Trainable::Auto,
            settings: Settings::default(),
            cache: None,
            checkpoints: None,
        })
    }

    /// Returns the labels of the keywords.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.keywords.iter().map(Keyword::label)
    }

    /// Trains, chooses thresholds and quantizes. Reports messages and progress, and stops at the
    /// next training step or stream after `progress` is cancelled. Nothing is written.
    ///
    /// # Errors
    /// [`Error::NoPhrase`] if no recording of a keyword holds a phrase;
    /// [`Error::FewNegatives`] if there are too few negatives, too many
    /// keywords, or fewer blocks than are to be trained;
    /// [`Error::Core`].
    pub fn run(&self, progress: &dyn Progress) -> Result<FinetunedModel> {
        let mut messages = warnings(&self.keywords);
        let (trained, reason) = self.decide();
        messages.extend(reason);
        messages.iter().for_each(|line| progress.line(line));
        progress.check()?;
        let negatives = models::negatives(&self.negatives, self.only_own)?;
        let clips = Clips::of(&self.keywords);
        let stages = Stages::new(self.work(&negatives, trained), &self.settings, progress)
            .with_checkpoints(self.checkpoints.as_deref());
        let backbone = match trained {
            Trainable::Head => self.backbone.clone(),
            train => Backbone::new(train_backbone(
                &self.backbone.pretrained,
                Strategy { init: Init::Pretrained, train },
                &negatives,
                &clips.keywords(&self.keywords),
                &self.settings,
                &stages,
            )?)?,
        };
        let bank = self.bank(&backbone, &negatives, &stages)?;
        let mut heads = Vec::new();
        for (keyword, clips) in self.keywords.iter().zip(clips.keywords(&self.keywords)) {
            let mut head =
                train_head(&backbone, &negatives, &bank, clips, &self.settings, &stages)?;
            head.info.recordings = keyword.different();
            heads.push(head);
        }
        let model = QuantizedModel::of_heads(&backbone, &heads)?;
        stages.finish();
        Ok(FinetunedModel {
            backbone,
            trained,
            heads,
            model,
            messages,
            requested: self.train,
            settings: self.settings.clone(),
            trained_on: TrainedOn { words: self.keywords.iter().map(Keyword::record).collect() },
        })
    }

    /// Resolves the layers to train by the keyword with the fewest recordings, and returns the
    /// reason.
    fn decide(&self) -> (Trainable, Option<String>) {
        // Synthesized samples do not count: a backbone fine-tuned on them would fit synthetic
        // voices.
        self.train.decide(self.keywords.iter().map(Keyword::recorded).min().unwrap_or(0))
    }

    fn work(&self, negatives: &Negatives, train: Trainable) -> Work {
        let costs = Costs::of(self.backbone.config());
        Work { words: self.keywords.len(), hours: negatives.hours(), train, costs }
    }

    /// Embeds the negatives and the false accepts.
    fn bank(
        &self,
        backbone: &Backbone,
        negatives: &Negatives,
        stages: &Stages<'_>,
    ) -> Result<NegativeBank> {
        let settings = &self.settings.train;
        // The embeddings of a fine-tuned backbone serve one run only.
        let is_shared =
            fingerprint(&backbone.pretrained)? == fingerprint(&self.backbone.pretrained)?;
        let mut bank = match &self.cache {
            Some(folder) if is_shared => {
                NegativeBank::cached(backbone, negatives, settings, stages, folder)?
            }
            _ => NegativeBank::new(backbone, negatives, settings, stages)?,
        };
        let FalseWakes { clips, events } = &self.false_wakes;
        if !clips.is_empty() {
            let speech = vec![clips.clone(); FALSE_WAKE_COPIES].concat();
            let streams = Negatives { speech, noise: Vec::new() }.streams(settings.seed);
            let check = |_: &MelStream| stages.check();
            bank.train_also(embed_with_progress(backbone, &streams.streams, &check)?);
        }
        if !events.is_empty() {
            bank.train_also(embed_events(backbone, events, negatives, settings.seed, stages)?);
        }
        Ok(bank)
    }
}

/// Computes the embeddings of events that a device recorded, among negative speech.
fn embed_events(
    backbone: &Backbone,
    events: &[Event],
    negatives: &Negatives,
    seed: u64,
    stages: &Stages<'_>,
) -> Result<Embeddings> {
    let mut rng = StdRng::seed_from_u64(seed);
    let speech = negatives.speech.iter().sample(&mut rng, CONTEXT_CLIPS);
    let speech: Vec<SpeechClip> = speech.into_iter().cloned().collect();
    let contexts = Negatives { speech, noise: Vec::new() }.streams(seed);
    let contexts = features(&backbone.pretrained, &contexts.streams, stages)?.streams;
    let shape = (backbone.config().inputs(), FALSE_WAKE_COPIES);
    let streams = recorder::streams(events, &contexts, shape, &mut rng)?;
    embed_features(backbone, &streams)
}

/// Clips of all keywords: recordings by weight, and hard negatives.
struct Clips {
    positives: Vec<Vec<LogMel>>,
    hard_negatives: Vec<Vec<LogMel>>,
}

impl Clips {
    fn of(keywords: &[Keyword]) -> Self {
        let positives: Vec<_> = keywords.iter().map(Keyword::weighed).collect();
        let hard_negatives =
            keywords.iter().map(|keyword| keyword.hard_negatives(keywords, &positives)).collect();
        Self { positives, hard_negatives }
    }

    fn keywords<'a>(&'a self, keywords: &'a [Keyword]) -> Vec<KeywordClips<'a>> {
        let clips = self.positives.iter().zip(&self.hard_negatives);
        let all = keywords.iter().zip(clips);
        all.map(|(keyword, (positives, hard_negatives))| KeywordClips {
            label: keyword.label(),
            positives,
            hard_negatives,
        })
        .collect()
    }
}

impl FinetunedModel {
    /// Writes `NAME.head` for each keyword, `model.wkl`, `recordings.json`, `settings.json`, and
    /// `base.safetensors` if the backbone was trained. `record` describes the data in
    /// `settings.json`. Each file is written atomically, the model last. Reports each result to
    /// `progress`.
    ///
    /// # Errors
    /// [`Error::Core`] if a file cannot be written.
    pub fn save(&self, folder: &Path, record: Value, progress: &dyn Progress) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        if self.trained != Trainable::Head {
            save_backbone(&self.backbone.pretrained, &folder.join(UNFROZEN_BACKBONE), progress)?;
        }
        let labels = self.heads.iter().map(|head| head.info.label.as_str());
        for (head, name) in self.heads.iter().zip(file_names(labels)) {
            let path = folder.join(format!("{name}.head"));
            head.save(&path)?;
            report(head, &path).iter().for_each(|line| progress.line(line));
        }
        self.save_settings(&folder.join("settings.json"), record)?;
        self.trained_on.save(folder)?;
        let path = folder.join(MODEL_FILE);
        self.model.write(&path)?;
        progress.line(&format!("{}: {}", path.display(), self.model.costs()?));
        Ok(())
    }

    fn save_settings(&self, path: &Path, mut record: Value) -> Result<()> {
        record["train"] = json!(self.requested.to_string());
        record["settings"] = json!(self.settings);
        record["version"] = json!(env!("CARGO_PKG_VERSION"));
        Ok(files::write_atomic(path, format!("{record:#}\n").as_bytes())?)
    }
}

fn save_backbone(pretrained: &PretrainedModel, path: &Path, progress: &dyn Progress) -> Result<()> {
    pretrained.save(path)?;
    let path = path.display();
    progress.line(&format!("{path}: the base that moved, for `wakeling quantize --base`"));
    Ok(())
}

/// Lists the named sensitivities of a keyword, with the false accepts that were counted for each.
fn report(head: &HeadCheckpoint, path: &Path) -> Vec<String> {
    let info = &head.info;
    let (path, label) = (path.display(), quoted(&info.label));
    let mut lines = vec![
        format!("{path}: {} recordings of {label}", info.recordings),
        "  sensitivity  false accepts in held-out negatives".to_owned(),
    ];
    let own = info.detector.threshold;
    for preset in Preset::ALL {
        let evidence = Evidence::of(&info.points, preset.threshold(&info.points, own));
        let mark = if preset == Preset::Normal { "; in force" } else { "" };
        lines.push(format!("  {preset:<11}  {evidence}{mark}"));
    }
    if !info.points.iter().any(|p| p.threshold == own) {
        lines.push(
            "  the threshold of normal is estimated for 0.5 false accepts per hour; more --negatives would show it"
                .to_owned(),
        );
    }
    lines
}
