//! Fit of a model to a board, known before the model is trained.

use std::{fmt, path::Path};

use rand::{SeedableRng, rngs::StdRng};

use super::{Keyword, RATES_PER_HOUR, Recipe, Settings};
use crate::{
    Error, Result,
    head_checkpoint::{HeadCheckpoint, HeadMetadata, fingerprint},
    models,
    quantize::{Backbone, QuantizedModel},
};
use wakeling_device::{
    board::{ARENA_BYTES, Board},
    cost::BoardLoad,
    flash::{Source, needs_plain},
};
use wakeling_nn::{
    backbone::{BackboneConfig, Tier},
    params::Params,
};
use wakeling_shared::model::OperatingPoint;

/// Names of the shipped pretrained models to choose from, the largest first.
const CANDIDATES: [&str; 2] = ["base-m", "base-s"];

/// Bytes in a KB, as documents count them.
const KB: f64 = 1_000.0;

/// Fit of the model that a [`Recipe`] makes to a board.
#[derive(Clone, Debug)]
pub struct BoardFit {
    /// Board that was checked.
    pub board: &'static Board,
    /// Whether the model needs firmware without slots, since it is too large for one.
    pub needs_plain: bool,
    /// Size of the model file in bytes.
    pub model_bytes: usize,
    /// Size of its state in bytes.
    pub state_bytes: usize,
    /// Computed load of the board's processor with one keyword; `None` for a backbone of another shape than
    /// those that were measured.
    pub load: Option<BoardLoad>,
}

impl BoardFit {
    /// Checks a model of the same shape with random heads, as `wakeling flash` checks the trained one. `path` is
    /// that of the model to be, for messages.
    ///
    /// # Errors
    /// [`Error::Device`] if the board has no room for the model or for its state; as
    /// [`QuantizedModel::of_heads`].
    pub fn of(recipe: &Recipe, board: &'static Board, path: &Path) -> Result<Self> {
        let model = outline(recipe)?;
        let bytes = model.bytes()?;
        Ok(Self {
            board,
            needs_plain: needs_plain(board, Source { path, bytes: &bytes })?,
            model_bytes: bytes.len(),
            state_bytes: model.view().arena_bytes(),
            load: load(recipe.backbone.config(), board),
        })
    }

    /// Returns whether the processor keeps up with the sound, as far as its load was computed.
    pub fn keeps_up(&self) -> bool {
        self.load.is_none_or(|load| load.keeps_up())
    }
}

/// Formats sizes and load: `380 of 520 KB for a model, 12 of 33 KB of state, 22 % of 64 MHz (computed)`.
impl fmt::Display for BoardFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.board.model.len() as f64;
        let slot = self.load.map_or(region, |load| load.room as f64);
        let room = if self.needs_plain { region } else { slot };
        let [model, room, state, arena] =
            [self.model_bytes as f64, room, self.state_bytes as f64, ARENA_BYTES as f64]
                .map(|bytes| bytes / KB);
        write!(f, "{model:.0} of {room:.0} KB for a model, {state:.0} of {arena:.0} KB of state")?;
        if let Some(load) = self.load {
            write!(f, ", {:.0} % of {} MHz (computed)", load.percent, self.board.clock_mhz)?;
        }
        Ok(())
    }
}

/// Returns the load by the tier that has the shape of the backbone.
fn load(config: &BackboneConfig, board: &Board) -> Option<BoardLoad> {
    let tiers = [(Tier::S, "S"), (Tier::M, "M")];
    let (_, name) = tiers.into_iter().find(|&(tier, _)| BackboneConfig::of(tier) == *config)?;
    board.loads().find(|load| load.cost.model == name)
}

/// Pretrained model that was chosen for a board.
#[derive(Clone, Debug)]
pub struct BoardChoice {
    /// Name of the pretrained model.
    pub pretrained: &'static str,
    /// Pretrained model.
    pub backbone: Backbone,
    /// Fit of the model on it.
    pub fit: BoardFit,
    /// Explanation of the choice, in one line.
    pub reason: String,
}

impl BoardChoice {
    /// Chooses the largest shipped model with which the keywords fit a slot of the board, or else its whole
    /// region of models, and with which its processor keeps up.
    ///
    /// # Errors
    /// [`Error::Device`] if none fits; as [`models::backbone`].
    pub fn new(
        board: &'static Board,
        keywords: &[Keyword],
        settings: &Settings,
        path: &Path,
    ) -> Result<Self> {
        let (mut plain, mut slow, mut refused) = (None, None, None);
        let mut passed = Vec::new();
        for pretrained in CANDIDATES {
            let mut recipe = Recipe::new(models::backbone(pretrained)?, keywords.to_vec())?;
            recipe.settings = settings.clone();
            let fit = match BoardFit::of(&recipe, board, path) {
                Ok(fit) => fit,
                Err(error @ Error::Device(_)) => {
                    passed.push(format!("{pretrained} does not fit"));
                    refused = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let found = (pretrained, recipe.backbone, fit);
            if !found.2.keeps_up() {
                passed.push(format!("{pretrained} is too slow there"));
                slow = slow.or(Some(found));
            } else if found.2.needs_plain {
                passed.push(format!("{pretrained} fits only without slots (--base {pretrained})"));
                plain = plain.or(Some(found));
            } else {
                return Ok(Self::of(found, board, &passed));
            }
        }
        // The smallest is the fastest.
        match (plain.or(slow), refused) {
            (Some(found), _) => Ok(Self::of(found, board, &[])),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::defect("no pretrained model to choose from")),
        }
    }

    fn of(
        (pretrained, backbone, fit): (&'static str, Backbone, BoardFit),
        board: &Board,
        passed: &[String],
    ) -> Self {
        let mut reason = format!("{pretrained} for {}: {fit}", board.name);
        passed.iter().for_each(|other| reason += &format!("; {other}"));
        Self { pretrained, backbone, fit, reason }
    }
}

/// Makes a model of the shape of a recipe's result, with random heads.
fn outline(recipe: &Recipe) -> Result<QuantizedModel> {
    let heads = recipe.labels().map(|label| random_head(&recipe.backbone, label, &recipe.settings));
    QuantizedModel::of_heads(&recipe.backbone, &heads.collect::<Result<Vec<_>>>()?)
}

fn random_head(backbone: &Backbone, label: &str, settings: &Settings) -> Result<HeadCheckpoint> {
    let rate = backbone.steps_per_second();
    let config = settings.head.config(rate);
    let mut rng = StdRng::seed_from_u64(settings.train.seed);
    let mut ensemble_members = Vec::new();
    for _ in 0..settings.head.ensemble_members.max(1) {
        let mut params = Params::default();
        config.init(&mut params, vec![1.0; backbone.config().channels], 1, &mut rng)?;
        ensemble_members.push(params);
    }
    let (head, params) = config.side_by_side(&ensemble_members)?;
    // As large as those of a trained head can be.
    let points = RATES_PER_HOUR.map(|_| OperatingPoint {
        false_accepts: u32::MAX,
        audio_seconds: u32::MAX,
        threshold: i16::MAX,
    });
    let info = HeadMetadata {
        label: label.to_owned(),
        pretrained: backbone.pretrained.info.name.clone(),
        pretrained_fingerprint: fingerprint(&backbone.pretrained)?,
        ranges: head.layers().into_iter().map(|layer| (layer.name, 0.0, 1.0)).collect(),
        head,
        detector: settings.detector.params(i16::MAX, rate),
        points: points.to_vec(),
        // The card of a model has the sum of all keywords.
        recordings: 1_000_000,
    };
    Ok(HeadCheckpoint { info, params })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_device::board::BOARDS;

    fn choose(board: &str, count: usize, settings: &Settings) -> Result<BoardChoice> {
        let keywords: Vec<_> = (0..count).map(|i| Keyword::new(format!("word {i}"))).collect();
        BoardChoice::new(Board::named(board)?, &keywords, settings, Path::new("model.wkl"))
    }

    #[test]
    fn the_largest_model_that_fits_a_slot_is_chosen() -> Result<()> {
        for (board, expected) in [
            ("nano33", "base-m"),
            ("pico2", "base-m"),
            ("pico", "base-s"),
            ("microbit-v2", "base-s"),
            ("stm32f4-discovery", "base-s"),
        ] {
            let choice = choose(board, 1, &Settings::default())?;
            assert_eq!(choice.pretrained, expected, "{board}: {}", choice.reason);
            assert!(!choice.fit.needs_plain, "{board}");
            let explanations =
                ["base-m fits only without slots", "base-m does not fit", "base-m is too slow"];
            let is_explained = explanations.iter().any(|text| choice.reason.contains(text));
            assert_eq!(is_explained, expected == "base-s", "{}", choice.reason);
        }
        for board in BOARDS.iter() {
            let choice = choose(board.name, 1, &Settings::default())?;
            assert!(choice.reason.starts_with(&format!("{} for ", choice.pretrained)));
        }
        Ok(())
    }

    #[test]
    fn many_keywords_need_a_smaller_model() -> Result<()> {
        let settings = Settings::default();
        assert_eq!(choose("nano33", 1, &settings)?.pretrained, "base-m");
        let choice = choose("nano33", 4, &settings)?;
        assert_eq!(choice.pretrained, "base-s", "{}", choice.reason);
        assert!(choice.reason.contains("base-m fits only without slots"), "{}", choice.reason);
        Ok(())
    }

    #[test]
    fn state_beyond_the_arena_is_refused() {
        let mut settings = Settings::default();
        settings.head.hidden = 2_000;
        let refused = choose("esp32-c3", 1, &settings);
        assert!(matches!(refused, Err(Error::Device(_))), "{refused:?}");
    }
}
