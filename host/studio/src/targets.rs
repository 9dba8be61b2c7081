//! Places that a model can go to: drives of boards, ESPHome, C, browsers, and the file itself.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::{Value, json};
use wakeling_device::{
    board::{BOARDS, Board, Family, Loader, esphome::ESPHOME_BOARDS},
    cost::keeps_up,
    flash::{Plan, Source, needs_plain, shipped::Shipped, uf2},
    model_file,
    sensitivity::{Evidence, FalseAccepts, SensitivityScale, Setting},
};
use wakeling_interop::{ExportError, microwakeword::export::network};
use wakeling_shared::model::Model;

use crate::{Error, Explain, Result, exports::browser_package};

/// Answers about a model, which are computed once for each model.
#[derive(Default)]
pub struct Targets(Option<Known>);

/// Answers about the model at a path, while the file stays unchanged.
struct Known {
    path: PathBuf,
    modified: Option<SystemTime>,
    settings: Value,
    targets: Value,
}

impl Targets {
    /// Returns the answers for a model, or for none.
    fn known(&mut self, model: Option<&Path>, explain: Explain) -> &Known {
        let path = model.map(Path::to_owned).unwrap_or_default();
        let modified = std::fs::metadata(&path).and_then(|m| m.modified()).ok();
        let is_it = |known: &Known| known.path == path && known.modified == modified;
        let known = self.0.take().filter(is_it).unwrap_or_else(|| {
            let read = || -> Result<(Value, Value)> {
                let bytes = model_file::read(model.ok_or(Error::NoModel)?)?;
                let loaded = model_file::load(&path, &bytes)?;
                let source = Source { path: &path, bytes: &bytes };
                let scale = SensitivityScale::of(&loaded);
                Ok((settings(&scale), targets(&Fit { source, model: &loaded, explain })))
            };
            let (settings, targets) = read()
                .unwrap_or_else(|error| (json!([]), none_fits(&Obstacle::of(&error, explain))));
            Known { path, modified, settings, targets }
        });
        self.0.insert(known)
    }

    /// Returns the targets of a model: `id`, `fits`, `why` it does not with the `obstacle`, and its
    /// `boards`. See [`Obstacle`].
    pub fn of(&mut self, model: Option<&Path>, explain: Explain) -> Value {
        self.known(model, explain).targets.clone()
    }

    /// Returns the named sensitivities of a model: `name` and `counted` of each.
    pub fn settings(&mut self, model: Option<&Path>, explain: Explain) -> Value {
        self.known(model, explain).settings.clone()
    }
}

/// Returns the named sensitivities of a scale: `name` and, for each keyword, what was `counted`.
pub fn settings(scale: &SensitivityScale) -> Value {
    let setting = |s: &Setting| {
        let counted: Vec<Value> = s.keywords().iter().map(|(_, found)| counted(found)).collect();
        json!({ "name": s.name(), "counted": counted })
    };
    scale.settings().iter().map(setting).collect()
}

/// Returns false accepts as `bound` (`counted`, `up_to`, `more_than` or `unmeasured`), `count`,
/// `hours`, and the upper end of the rate's interval as `at_most`, if that applies.
fn counted(found: &Evidence) -> Value {
    let (bound, accepts) = match found {
        Evidence::Counted(accepts) => ("counted", *accepts),
        Evidence::UpTo(accepts) => ("up_to", *accepts),
        Evidence::MoreThan(accepts) => ("more_than", *accepts),
        Evidence::Unmeasured => ("unmeasured", FalseAccepts::default()),
    };
    let at_most = accepts.at_most_per_hour().filter(|_| bound != "more_than");
    json!({ "bound": bound, "count": accepts.count, "hours": accepts.hours, "at_most": at_most })
}

/// Model and what is needed to find where it fits.
struct Fit<'m> {
    source: Source<'m>,
    model: &'m Model<'m>,
    explain: Explain,
}

/// Reason why a model does not go somewhere.
#[derive(Clone)]
struct Obstacle {
    /// Word for the page, which has a text for it: `slow`, `large`, `features`, `files`, or `other`.
    /// Another training helps against the first three.
    kind: &'static str,
    /// Needed share of the board's processor in percent; 0 if that is not the reason.
    percent: f64,
    /// Text of the program.
    text: String,
}

impl Obstacle {
    fn of(error: &Error, explain: Explain) -> Self {
        use wakeling_device::Error as Device;
        let (kind, percent) = match error {
            Error::TooSlow { percent, .. } => ("slow", percent.round()),
            Error::Device(
                Device::OutsideRegion { what: "model", .. }
                | Device::TooMuchMemory { .. }
                | Device::NotForSlot { .. },
            ) => ("large", 0.0),
            Error::Interop(wakeling_interop::Error::Export {
                reason: ExportError::NotPcan { .. },
                ..
            }) => ("features", 0.0),
            Error::NoBrowserPackage { .. }
            | Error::Device(
                Device::NoShippedFirmware { .. }
                | Device::NotAManifest { .. }
                | Device::ShippedDamaged { .. }
                | Device::ShippedUnreadable { .. }
                | Device::OtherVersion { .. }
                | Device::OtherLayout { .. }
                | Device::NotShipped { .. },
            ) => ("files", 0.0),
            _ => ("other", 0.0),
        };
        Self { kind, percent, text: explain(error).text }
    }

    /// Returns `fits` and what is in the way, if anything is.
    fn json(found: &Result<(), Self>) -> Value {
        match found {
            Ok(()) => json!({ "fits": true, "why": "", "obstacle": "", "percent": 0 }),
            Err(Self { kind, percent, text }) => {
                json!({ "fits": false, "why": text, "obstacle": kind, "percent": percent })
            }
        }
    }
}

/// Returns all targets for the case that there is no model for any.
fn none_fits(why: &Obstacle) -> Value {
    let board = |name: &str, title: &str| boarded(name, title, &Err(why.clone()));
    let drives: Vec<Value> = drives().map(|(b, _)| board(b.name, b.title)).collect();
    let esphome: Vec<Value> = ESPHOME_BOARDS.iter().map(|b| board(b.name, b.title)).collect();
    let boards = [("uf2", drives), ("esphome", esphome)];
    let others = ["c", "browser", "model"].map(|id| (id, Vec::new()));
    let target = |(id, boards)| targeted(id, &Err(why.clone()), boards);
    boards.into_iter().chain(others).map(target).collect()
}

fn targets(fit: &Fit<'_>) -> Value {
    let shipped = Shipped::find().map_err(|error| Obstacle::of(&error.into(), fit.explain));
    let drive = |(board, _): (&'static Board, Family)| {
        (board.name, board.title, fit.drive(board, &shipped))
    };
    let drives: Vec<_> = drives().map(drive).collect();
    // One board is enough; without any, the first obstacle is as good as another.
    let any = drives.iter().map(|(.., fits)| fits).find(|fits| fits.is_ok());
    let any = any.or(drives.first().map(|(.., fits)| fits)).cloned().unwrap_or(Ok(()));
    let drives = drives.iter().map(|(name, title, fits)| boarded(name, title, fits));
    let esphome = fit.esphome();
    let boards = ESPHOME_BOARDS.iter().map(|b| boarded(b.name, b.title, &esphome));
    json!([
        targeted("uf2", &any, drives.collect()),
        targeted("esphome", &esphome, boards.collect()),
        targeted("c", &Ok(()), Vec::new()),
        targeted("browser", &fit.browser(), Vec::new()),
        targeted("model", &Ok(()), Vec::new()),
    ])
}

fn boarded(name: &str, title: &str, fits: &Result<(), Obstacle>) -> Value {
    let mut value = Obstacle::json(fits);
    (value["name"], value["title"]) = (json!(name), json!(title));
    value
}

fn targeted(id: &str, fits: &Result<(), Obstacle>, boards: Vec<Value>) -> Value {
    let mut value = Obstacle::json(fits);
    (value["id"], value["boards"]) = (json!(id), json!(boards));
    value
}

impl Fit<'_> {
    /// Checks that a board has room for the model and a processor that keeps up, and that its
    /// firmware is there.
    ///
    /// # Errors
    /// The obstacle.
    fn drive(
        &self,
        board: &'static Board,
        shipped: &Result<Shipped, Obstacle>,
    ) -> Result<(), Obstacle> {
        let plain = needs_plain(board, self.source).map_err(|e| self.obstacle(&e.into()))?;
        if let Some(percent) = board.percent_of(self.model).filter(|percent| !keeps_up(*percent)) {
            return Err(self.obstacle(&Error::TooSlow { board, percent }));
        }
        let loaded = shipped.as_ref().map_err(Clone::clone)?.load(board, plain);
        loaded.map(drop).map_err(|e| self.obstacle(&e.into()))
    }

    fn obstacle(&self, error: &Error) -> Obstacle {
        Obstacle::of(error, self.explain)
    }

    /// Checks that the package for browsers is there.
    fn browser(&self) -> Result<(), Obstacle> {
        browser_package().map(drop).map_err(|error| self.obstacle(&error))
    }

    /// Checks that ESPHome can run the model's keywords.
    fn esphome(&self) -> Result<(), Obstacle> {
        (0..self.model.words.len()).try_for_each(|keyword| {
            network(self.model, keyword).map(drop).map_err(|reason| {
                let path = self.source.path.to_owned();
                self.obstacle(&wakeling_interop::Error::Export { path, reason }.into())
            })
        })
    }
}

/// Returns the boards with a UF2 drive, and the UF2 family of each.
pub fn drives() -> impl Iterator<Item = (&'static Board, Family)> {
    BOARDS.iter().filter_map(|board| match board.loader {
        Loader::ProbeOrUf2 { family } => Some((board, family)),
        Loader::Probe | Loader::Espflash => None,
    })
}

/// Builds the UF2 file for a board: the firmware that ships with the program, and the model.
///
/// # Errors
/// [`Error::NotADrive`]; [`Error::Device`] if the board has no room for the model, or if there is no
/// firmware for it.
pub fn uf2(model: &Path, name: &str) -> Result<Vec<u8>> {
    let found = drives().find(|(board, _)| board.name == name);
    let (board, family) = found.ok_or_else(|| Error::NotADrive { name: name.to_owned() })?;
    let bytes = model_file::read(model)?;
    let model = Source { path: model, bytes: &bytes };
    let plain = needs_plain(board, model)?;
    let firmware = Shipped::find()?.load(board, plain)?;
    let plan = Plan::new(board, Some(firmware.source()), model, plain)?;
    Ok(uf2::write(&plan, family))
}
