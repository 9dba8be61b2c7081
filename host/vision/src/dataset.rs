//! Image datasets: a folder per class, or a table of labels.
//!
//! - **Folders.** `dataset/cat/*.jpg`, `dataset/dog/*.png`: each image has exactly one label, the
//!   name of its folder.
//! - **A table.** `labels.csv`, or a folder that holds one; see [`table`](wakeling_data::table).
//!
//! Rows and files that cannot be used are skipped and logged, with the reason.

use std::{
    fs,
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use rayon::prelude::*;
use wakeling_shared::model::{MAX_KEYWORDS, Shape};

use super::{Answers, Error, Labelling, Result, pixels};
use wakeling_core::{console, progress::progress_bar};
use wakeling_data::{
    table::Table,
    text::{name_key, nfc},
};

/// Maximum number of labels of a network that is pretrained. A model for a device holds fewer,
/// [`MAX_KEYWORDS`].
pub const MAX_PRETRAINED_LABELS: usize = 1_000;
/// Name of the table that a folder may hold.
pub const TABLE: &str = "labels.csv";
/// Extensions of image files.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "bmp"];

/// Dataset index of images; no pixels are read yet.
#[derive(Clone, Debug)]
pub struct DatasetIndex {
    /// Type of labels.
    pub labelling: Labelling,
    /// Names of the labels.
    pub labels: Vec<String>,
    /// File and labels of each image.
    pub images: Vec<(PathBuf, Answers)>,
    /// Skipped entries, each with the reason.
    pub skipped: Vec<String>,
}

impl DatasetIndex {
    /// Lists a folder of class folders, a table, or a folder with a table. If `split` is given,
    /// only the rows of the table with that split are used.
    ///
    /// # Errors
    /// [`Error::Core`] if it cannot be read; [`Error::Data`] if it is no table of labels;
    /// [`Error::NoSplit`], [`Error::FewClasses`], [`Error::ManyLabels`] if a model for a device
    /// cannot hold them, or [`Error::NoUsableImage`].
    pub fn open(path: &Path, split: Option<&str>) -> Result<Self> {
        Self::open_up_to(path, split, MAX_KEYWORDS)
    }

    /// As [`DatasetIndex::open`], with at most `most` labels.
    fn open_up_to(path: &Path, split: Option<&str>, most: usize) -> Result<Self> {
        let index = if path.is_dir() && !path.join(TABLE).is_file() {
            if let Some(split) = split {
                return Err(Error::NoSplit { path: path.into(), split: split.into() });
            }
            Self::of_folders(path)?
        } else if path.is_dir() {
            Self::of_table(&path.join(TABLE), split)?
        } else {
            Self::of_table(path, split)?
        };
        if index.labels.len() > most {
            let (path, count) = (path.into(), index.labels.len());
            return Err(Error::ManyLabels { path, count, most });
        }
        if index.images.is_empty() {
            index.log_skipped();
            return Err(Error::NoUsableImage { path: path.into() });
        }
        Ok(index)
    }

    /// Logs the skipped entries.
    fn log_skipped(&self) {
        self.skipped.iter().for_each(|skipped| log::info!("skipped: {skipped}"));
    }

    fn of_folders(path: &Path) -> Result<Self> {
        let mut index = Self {
            labelling: Labelling::OneOf,
            labels: Vec::new(),
            images: Vec::new(),
            skipped: Vec::new(),
        };
        let mut found = Vec::new();
        for folder in entries(path)?.into_iter().filter(|entry| entry.is_dir()) {
            let Some(label) = folder.file_name().and_then(|name| name.to_str()) else {
                index.skipped.push(format!("{}: its name is not UTF-8", folder.display()));
                continue;
            };
            if label.starts_with('.') {
                continue;
            }
            let before = found.len();
            for file in entries(&folder)?.into_iter().filter(|entry| entry.is_file()) {
                if has_image_name(&file) {
                    found.push((file, index.labels.len()));
                } else {
                    let reason = "no image by its name (png, jpg, jpeg, bmp)";
                    index.skipped.push(format!("{}: {reason}", file.display()));
                }
            }
            if found.len() > before {
                index.labels.push(nfc(label).into_owned());
            } else {
                index.skipped.push(format!("{}: no image in it", folder.display()));
            }
        }
        if index.labels.len() < 2 {
            index.log_skipped();
            return Err(Error::FewClasses { path: path.into(), count: index.labels.len() });
        }
        let answers = |class| (0..index.labels.len()).map(|label| Some(label == class)).collect();
        index.images = found.into_iter().map(|(file, class)| (file, answers(class))).collect();
        Ok(index)
    }

    fn of_table(path: &Path, split: Option<&str>) -> Result<Self> {
        let Table { labels, rows, skipped } = Table::open(path, split)?;
        let images = rows.into_iter().map(|row| (row.path, row.answers)).collect();
        Ok(Self { labelling: Labelling::Several, labels, images, skipped })
    }
}

/// Returns the paths in a folder, sorted.
fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(path).map_err(Error::io(path, "read"))?;
    let entries = read.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<PathBuf> =
        entries.collect::<Result<_, _>>().map_err(Error::io(path, "read"))?;
    entries.sort();
    Ok(entries)
}

/// Returns `true` if the file has the extension of an image.
pub fn has_image_name(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Decoded images, all of one size, `height · width · channels` bytes each.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// Size of each image.
    pub shape: Shape,
    /// Type of labels.
    pub labelling: Labelling,
    /// Names of the labels.
    pub labels: Vec<String>,
    /// Pixels and labels of each image.
    pub all: Vec<LabelledImage>,
}

/// Decoded image with its labels.
#[derive(Clone, Debug)]
pub struct LabelledImage {
    /// Pixels, row by row: `(height, width, channels)`.
    pub pixels: Vec<u8>,
    /// Labels of the image.
    pub answers: Answers,
}

impl LabelledImage {
    /// Returns the first label that is set, which is the class of an image with exactly one label.
    pub fn class(&self) -> Option<usize> {
        self.answers.iter().position(|&answer| answer == Some(true))
    }
}

impl ImageSet {
    /// Decodes every image of a dataset. Images that cannot be read are skipped and logged.
    ///
    /// # Errors
    /// As [`DatasetIndex::open`]; [`Error::NothingReadable`] if no image can be read.
    pub fn open(path: &Path, split: Option<&str>, shape: Shape) -> Result<Self> {
        Self::read(DatasetIndex::open(path, split)?, path, shape)
    }

    /// As [`ImageSet::open`], with up to [`MAX_PRETRAINED_LABELS`] labels, for a network that is
    /// only pretrained.
    ///
    /// # Errors
    /// As [`ImageSet::open`].
    pub fn open_for_pretraining(path: &Path, split: Option<&str>, shape: Shape) -> Result<Self> {
        Self::read(DatasetIndex::open_up_to(path, split, MAX_PRETRAINED_LABELS)?, path, shape)
    }

    fn read(mut index: DatasetIndex, path: &Path, shape: Shape) -> Result<Self> {
        let bar = progress_bar(index.images.len() as u64, "images");
        let read = read_all(&index.images, shape, &bar);
        bar.finish_and_clear();
        let mut all = Vec::new();
        for (image, (_, answers)) in read.into_iter().zip(&index.images) {
            match image {
                Ok(pixels) => all.push(LabelledImage { pixels, answers: answers.clone() }),
                Err(error) => index.skipped.push(console::explained(&error)),
            }
        }
        index.log_skipped();
        if all.is_empty() {
            return Err(Error::NothingReadable { path: path.into() });
        }
        let DatasetIndex { labelling, labels, .. } = index;
        Ok(Self { shape, labelling, labels, all })
    }

    /// Reads other images at the size of these, with the labels in the order of these: held-out or
    /// test data.
    ///
    /// # Errors
    /// As [`ImageSet::open`] and [`ImageSet::in_order_of`].
    pub fn open_like(&self, path: &Path, split: Option<&str>) -> Result<Self> {
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        let index = DatasetIndex::open_up_to(path, split, MAX_KEYWORDS.max(labels.len()))?;
        Self::read(index, path, self.shape)?.in_order_of(&labels, path)
    }

    /// Returns the number of images in the rarest class; with several labels, the count of the
    /// rarest value (0 or 1) of any label.
    pub fn rarest(&self) -> usize {
        let count = |label: usize, truth: bool| {
            self.all.iter().filter(|p| p.answers[label] == Some(truth)).count()
        };
        let of_label = |label: usize| match self.labelling {
            Labelling::OneOf => count(label, true),
            Labelling::Several => count(label, true).min(count(label, false)),
        };
        (0..self.labels.len()).map(of_label).min().unwrap_or(0)
    }

    /// Returns the same images with only the labels at these indices, in this order.
    pub fn with_labels(&self, labels: &[usize]) -> Self {
        let pick = |answers: &Answers| labels.iter().map(|&l| answers[l]).collect();
        let image = |p: &LabelledImage| LabelledImage {
            pixels: p.pixels.clone(),
            answers: pick(&p.answers),
        };
        Self {
            labels: labels.iter().map(|&l| self.labels[l].clone()).collect(),
            all: self.all.iter().map(image).collect(),
            ..*self
        }
    }

    /// Reorders the labels to match those of a model.
    ///
    /// # Errors
    /// [`Error::OtherLabels`], naming `path`, if the labels are not those of the model.
    pub fn in_order_of(&self, labels: &[&str], path: &Path) -> Result<Self> {
        let place = |label: &&str| self.labels.iter().position(|l| name_key(l) == name_key(label));
        let places: Option<Vec<usize>> = labels.iter().map(place).collect();
        match places {
            Some(places) if self.labels.len() == labels.len() => Ok(self.with_labels(&places)),
            _ => Err(Error::OtherLabels {
                path: path.into(),
                found: self.labels.clone(),
                expected: labels.iter().map(|&label| label.to_owned()).collect(),
            }),
        }
    }
}

fn read_all(
    images: &[(PathBuf, Answers)],
    shape: Shape,
    bar: &ProgressBar,
) -> Vec<Result<Vec<u8>>> {
    let read = |(path, _): &(PathBuf, Answers)| {
        bar.inc(1);
        pixels::read(path, shape)
    };
    images.par_iter().map(read).collect()
}
