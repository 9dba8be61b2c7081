//! Models that are served, and the names under which clients know their keywords.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use wakeling_device::{model_file, owned::OwnedPipeline, simulate::Sensitivity};
use wakeling_shared::model::{Card, HEADER_BYTES};

use crate::{Error, Result};

/// Keyword of a served model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedKeyword {
    /// Name in the protocols: the label with `_` for spaces, after the model's name and `/` if
    /// several models have this label.
    pub name: String,
    /// Phrase, as the model labels it.
    pub label: String,
}

/// Model file, and what clients see of it.
pub(crate) struct ServedModel {
    /// Name of the file, or of its folder if the file is called `model.wkl`.
    pub name: String,
    pub keywords: Vec<ServedKeyword>,
    file: Arc<[u8]>,
    thresholds: Vec<i16>,
    attribution: String,
    version: String,
}

impl ServedModel {
    fn open(path: &Path, sensitivity: Sensitivity) -> Result<Self> {
        let file: Arc<[u8]> = model_file::read(path)?.into();
        let mut model = model_file::load(path, &file)?;
        sensitivity.apply(&mut model)?;
        let keyword = |label: &str| ServedKeyword {
            name: label.split_whitespace().collect::<Vec<_>>().join("_"),
            label: label.to_owned(),
        };
        Ok(Self {
            name: name_of(path),
            keywords: model.words.iter().map(|word| keyword(word.label)).collect(),
            thresholds: model.words.iter().map(|word| word.detector.threshold).collect(),
            attribution: attribution(&model.card),
            version: version(&file),
            file: file.clone(),
        })
    }

    /// Creates a pipeline at its first sample. Its weights are those of every other.
    pub(crate) fn pipeline(&self) -> Result<(OwnedPipeline, &[i16])> {
        let pipeline = OwnedPipeline::new(self.file.clone());
        let pipeline = pipeline.map_err(|e| Error::defect(format!("a loaded model: {e}")))?;
        Ok((pipeline, &self.thresholds))
    }
}

/// Returns the name of the file without its ending; that of the folder if the file has the name
/// that `finetune` gives to every model.
fn name_of(path: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned());
    let stem = text(path.file_stem()).unwrap_or_default();
    let folder = || fs::canonicalize(path).ok().and_then(|p| text(p.parent()?.file_name()));
    if stem == "model" { folder().unwrap_or(stem) } else { stem }
}

/// Returns the origin and the licence of a model, which users of its weights must be shown.
fn attribution(card: &Card<'_>) -> String {
    let mut text = String::from("trained with Wakeling");
    if !card.pretrained.is_empty() {
        text += &format!(" from {}", card.pretrained);
    }
    if !card.licence.is_empty() {
        text += &format!(", {}", card.licence);
    }
    text
}

/// Returns the checksum of a model file, the last eight bytes of its header, in hexadecimal digits.
fn version(file: &[u8]) -> String {
    let header = file.get(HEADER_BYTES - 8..HEADER_BYTES).unwrap_or_default();
    header.iter().rev().map(|byte| format!("{byte:02x}")).collect()
}

/// Models of a service.
pub struct Catalog {
    pub(crate) models: Vec<ServedModel>,
}

/// Keywords that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// For each model, and each of its keywords, whether it is wanted.
    pub wanted: Vec<Vec<bool>>,
    /// Names that no keyword has.
    pub unknown: Vec<String>,
}

impl Selection {
    /// Returns `true` if no keyword is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        !self.wanted.iter().flatten().any(|&is_wanted| is_wanted)
    }
}

impl Catalog {
    /// Loads model files, and all those (`*.wkl`) of a folder where a folder is named.
    ///
    /// # Errors
    /// [`Error::Device`] if a file is no valid model or has no such sensitivity;
    /// [`Error::NoModelInFolder`].
    pub fn open(paths: &[PathBuf], sensitivity: Sensitivity) -> Result<Self> {
        let mut models = Vec::new();
        for path in paths {
            for file in files(path)? {
                models.push(ServedModel::open(&file, sensitivity)?);
            }
        }
        let mut catalog = Self { models };
        catalog.separate_names();
        Ok(catalog)
    }

    /// Makes the names of models, and those of keywords, unique.
    fn separate_names(&mut self) {
        let mut taken = BTreeSet::new();
        for model in &mut self.models {
            let (name, mut number) = (model.name.clone(), 1);
            while !taken.insert(model.name.clone()) {
                number += 1;
                model.name = format!("{name}-{number}");
            }
        }
        let names: Vec<String> = self.keywords().map(|k| normalized(&k.name)).collect();
        let is_twice = |name: &str| names.iter().filter(|other| *other == name).count() > 1;
        for model in &mut self.models {
            for keyword in &mut model.keywords {
                if is_twice(&normalized(&keyword.name)) {
                    keyword.name = format!("{}/{}", model.name, keyword.name);
                }
            }
        }
    }

    /// Returns the keywords of all models.
    pub fn keywords(&self) -> impl Iterator<Item = &ServedKeyword> {
        self.models.iter().flat_map(|model| &model.keywords)
    }

    /// Selects keywords by their names, their labels, or the names of their models; case, and the
    /// difference of `_` and a space, do not count. No names select all keywords.
    pub(crate) fn select(&self, names: &[String]) -> Selection {
        let every = |is_wanted| {
            self.models.iter().map(|m| vec![is_wanted; m.keywords.len()]).collect::<Vec<_>>()
        };
        let mut selection = Selection { wanted: every(names.is_empty()), unknown: Vec::new() };
        for name in names {
            let asked = normalized(name);
            let mut is_known = false;
            for (model, wanted) in self.models.iter().zip(&mut selection.wanted) {
                for (keyword, wanted) in model.keywords.iter().zip(wanted) {
                    let own = [&keyword.name, &keyword.label, &model.name];
                    let is_asked = own.iter().any(|own| normalized(own) == asked);
                    *wanted |= is_asked;
                    is_known |= is_asked;
                }
            }
            if !is_known {
                selection.unknown.push(name.clone());
            }
        }
        selection
    }

    /// Returns the data of an `info` event of the Wyoming protocol.
    pub(crate) fn info(&self) -> Value {
        // Its URL is required, and models have none.
        let attribution = |name: &str| json!({ "name": name, "url": "" });
        let model = |model: &ServedModel, keyword: &ServedKeyword| {
            json!({
                "name": keyword.name,
                "phrase": keyword.label,
                "description": format!("{} ({})", keyword.label, model.name),
                // A model does not record its language.
                "languages": [],
                "attribution": attribution(&model.attribution),
                "installed": true,
                "version": model.version,
            })
        };
        let models = self.models.iter();
        let models = models.flat_map(|m| m.keywords.iter().map(move |keyword| model(m, keyword)));
        let program = json!({
            "name": "wakeling",
            "description": "Wake words from a few recordings",
            "attribution": attribution("Wakeling"),
            "installed": true,
            "version": env!("CARGO_PKG_VERSION"),
            "models": models.collect::<Vec<_>>(),
        });
        let none: [Value; 0] = [];
        json!({
            "wake": [program],
            "asr": none, "tts": none, "handle": none, "intent": none, "mic": none, "snd": none,
        })
    }
}

/// Lists the model files of a folder, in order. A file is listed as it is.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(Error::io(path, "read"))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(Error::io(path, "read"))?.path();
        if file.extension().is_some_and(|extension| extension == "wkl") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::NoModelInFolder { path: path.to_owned() });
    }
    Ok(files)
}

/// Returns a name in the form in which names are compared.
fn normalized(name: &str) -> String {
    let spaced = name.to_lowercase().replace('_', " ");
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_tests::model::{Tier, random_model};

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog.keywords().map(|k| k.name.as_str()).collect()
    }

    #[test]
    fn keywords_of_several_models_have_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        // One model is in a folder of its own, with the name that `finetune` gives.
        let own = folder.path().join("kitchen");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("model.wkl"), random_model(1, Tier::Tiny)).unwrap();
        fs::write(folder.path().join("hall.wkl"), random_model(1, Tier::Tiny)).unwrap();
        let single = Catalog::open(&[own.join("model.wkl")], Sensitivity::Model).unwrap();
        assert_eq!(names(&single), ["hey_wakeling"]);
        let paths = [own.join("model.wkl"), folder.path().to_owned(), own.join("model.wkl")];
        let catalog = Catalog::open(&paths, Sensitivity::Model).unwrap();
        let expected = ["kitchen/hey_wakeling", "hall/hey_wakeling", "kitchen-2/hey_wakeling"];
        assert_eq!(names(&catalog), expected);

        let select = |names: &[&str]| {
            catalog.select(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
        };
        let wanted = |a, b, c| vec![vec![a], vec![b], vec![c]];
        assert_eq!(select(&[]).wanted, wanted(true, true, true));
        assert_eq!(select(&["Hall/Hey Wakeling"]).wanted, wanted(false, true, false));
        assert_eq!(select(&["kitchen"]).wanted, wanted(true, false, false));
        assert_eq!(select(&["hey wakeling"]).wanted, wanted(true, true, true));
        let some = select(&["alexa", "hall"]);
        assert_eq!((some.unknown.len(), some.is_empty()), (1, false));
        assert!(select(&["alexa"]).is_empty());
        let info = catalog.info();
        let models = info["wake"][0]["models"].as_array().unwrap();
        assert_eq!(models.len(), 3);
        assert_eq!(models[0]["version"].as_str().unwrap().len(), 16);
    }

    #[test]
    fn rejects_folders_without_models_and_damaged_files() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| Catalog::open(&[path.to_owned()], Sensitivity::Model).err();
        assert!(matches!(open(folder.path()), Some(Error::NoModelInFolder { .. })));
        let path = folder.path().join("half.wkl");
        fs::write(&path, [0; 30]).unwrap();
        assert!(open(folder.path()).unwrap().to_string().contains("half.wkl"));
        assert!(open(&folder.path().join("none.wkl")).unwrap().is_missing());
    }
}
