//! `wakeling export`: writes a model in the form that another system takes.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{
    choice::{choice, esphome_board},
    file_name, number,
};
use crate::error::{Error, Result};
use wakeling_core::{files, progress::progress_bar};
use wakeling_data::text::file_names;
use wakeling_device::{
    board::esphome::{ESPHOME_BOARDS, EspHomeBoard},
    model_file,
    sensitivity::Preset,
    simulate::Sensitivity,
};
use wakeling_interop::{
    ExportError, c_array,
    microwakeword::{
        counts::{FalseAccepts, false_accepts},
        export::{Network, network},
        files::{About, files as keyword_files},
    },
};
use wakeling_shared::{frontend::Features, model::Model};

/// Form of an exported model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Network, manifest and configuration for ESPHome.
    MicroWakeWord,
    /// C header.
    CArray,
}

wakeling_core::choices!(Format {
    MicroWakeWord: "microwakeword", "Network, manifest and configuration for ESPHome";
    CArray: "c-array", "C header with the model file as a constant array";
});

/// Write a model for ESPHome, or as a C header
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling export runs/computer/model.wkl --format microwakeword --out esphome
  wakeling export runs/computer/model.wkl --format microwakeword --board s3-box-3 --out esphome
  wakeling export runs/computer/model.wkl --format c-array --out src

For ESPHome, each keyword becomes four files: NAME.tflite, the network; NAME.json, its manifest;
NAME.yaml, a configuration for the board (--board); and NAME.md, with the expected false accepts and the
memory that it needs. The model must be on a base model with the features of microWakeWord:
`wakeling finetune --base base-m-pcan`. A gate of the model is left out.")]
pub struct ExportArgs {
    /// Model that `wakeling finetune` or `quantize` wrote
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Form of the result
    #[arg(long, value_parser = choice::<Format>())]
    format: Format,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Board with an ESP32-S3, for ESPHome's configuration: its microphone and pins
    #[arg(long, value_name = "NAME", value_parser = esphome_board())]
    board: Option<&'static EspHomeBoard>,
    /// Export only this keyword
    #[arg(long, value_name = "NAME")]
    word: Option<String>,
    /// Sensitivity of the detection
    #[arg(long, value_parser = choice::<Preset>(), value_name = "NAME",
        conflicts_with = "false_accepts_per_hour")]
    sensitivity: Option<Preset>,
    /// Take the threshold from the model's table for at most this rate
    #[arg(long, value_name = "RATE", value_parser = number::within(0.0..=number::MOST_PER_HOUR))]
    false_accepts_per_hour: Option<f64>,
    /// Author, for the manifest
    #[arg(long, default_value = "unknown")]
    author: String,
    /// Address of a page about the model, for the manifest
    #[arg(long, value_name = "URL")]
    website: Option<String>,
    /// Languages of the recordings, such as "en", for the manifest
    #[arg(long = "language", value_name = "CODE", num_args = 1..)]
    languages: Vec<String>,
    /// Do not count detections in the shipped negatives, which takes up to a minute
    #[arg(long)]
    no_count: bool,
}

/// Runs the command.
///
/// # Errors
/// Errors of the model, of the requested sensitivity, and of a model that has no such form.
pub fn run(args: ExportArgs) -> Result<()> {
    let bytes = model_file::read(&args.model)?;
    match args.format {
        Format::MicroWakeWord => args.microwakeword(&bytes),
        Format::CArray => {
            args.check_c_array()?;
            args.c_array(&bytes)
        }
    }
}

impl ExportArgs {
    fn sensitivity(&self) -> Sensitivity {
        match (self.false_accepts_per_hour, self.sensitivity) {
            (Some(rate), _) => Sensitivity::FalseAcceptsPerHour(rate),
            (None, Some(preset)) => Sensitivity::Preset(preset),
            (None, None) => Sensitivity::Model,
        }
    }

    /// Rejects options that a C header has no place for.
    fn check_c_array(&self) -> Result<()> {
        let given = [
            ("--board", self.board.is_some()),
            ("--word", self.word.is_some()),
            ("--sensitivity", self.sensitivity.is_some()),
            ("--false-accepts-per-hour", self.false_accepts_per_hour.is_some()),
            ("--website", self.website.is_some()),
            ("--language", !self.languages.is_empty()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Error::usage(
                format!("{option} belongs to --format microwakeword"),
                "leave it out: the header has the model file as it is",
            )),
            None => Ok(()),
        }
    }

    fn microwakeword(&self, bytes: &[u8]) -> Result<()> {
        let mut model = model_file::load(&self.model, bytes)?;
        self.sensitivity().apply(&mut model)?;
        let chosen = self.chosen(&model)?;
        // Before the first file is written, so that there are all or none.
        let networks = chosen.iter().map(|&keyword| network(&model, keyword));
        let networks: Vec<Network> =
            networks.collect::<Result<_, _>>().map_err(|reason| self.refused(reason))?;
        let clips = if self.no_count { Vec::new() } else { negatives(&model)? };
        if model.gate.is_some() {
            log::info!("warning: ESPHome has no gate; the network runs at every step");
        }
        fs::create_dir_all(&self.out).map_err(Error::io(&self.out, "create"))?;
        let names = file_names(chosen.iter().map(|&keyword| model.words[keyword].label));
        for ((keyword, network), name) in chosen.into_iter().zip(networks).zip(names) {
            let bar = progress_bar(clips.len() as u64, "negatives");
            let counted = clips.iter().map(Vec::as_slice).inspect(|_| bar.inc(1));
            let counted = false_accepts(&model, keyword, &network.scale, counted);
            bar.finish_and_clear();
            let counted = counted.map_err(|reason| self.refused(reason))?;
            let counted = (!self.no_count).then_some(counted);
            self.write(&model, keyword, &network, &name, counted.as_ref())?;
        }
        Ok(())
    }

    /// Returns the indices of the keywords to be exported.
    fn chosen(&self, model: &Model<'_>) -> Result<Vec<usize>> {
        let Some(label) = &self.word else { return Ok((0..model.words.len()).collect()) };
        let found = model.words.iter().position(|word| word.label == label);
        let known = || model.words.iter().map(|word| word.label.to_owned()).collect();
        let unknown = || ExportError::UnknownKeyword { keyword: label.clone(), known: known() };
        Ok(vec![found.ok_or_else(|| self.refused(unknown()))?])
    }

    /// Returns the error that names the model.
    fn refused(&self, reason: ExportError) -> Error {
        wakeling_interop::Error::Export { path: self.model.clone(), reason }.into()
    }

    fn write(
        &self,
        model: &Model<'_>,
        keyword: usize,
        network: &Network,
        name: &str,
        counted: Option<&FalseAccepts>,
    ) -> Result<()> {
        let word = &model.words[keyword];
        let scale = &network.scale;
        let about = About {
            author: &self.author,
            website: self.website.as_deref().unwrap_or_default(),
            languages: &self.languages,
            board: self.board.unwrap_or(&ESPHOME_BOARDS[0]),
        };
        for (name, bytes) in keyword_files((model, keyword), network, name, counted, &about) {
            files::write_atomic(self.out.join(name), &bytes)?;
        }
        let manifest = self.out.join(format!("{name}.json"));
        log::info!(
            "{}: {} bytes of flash, {} bytes of RAM, cutoff {} over {} steps",
            manifest.display(),
            network.file.len(),
            network.arena.total(),
            scale.probability_cutoff(),
            scale.window(),
        );
        if let Some(counted) = counted {
            log::info!(
                "{:?}: detections in negatives: {} by ESPHome's rule, {} by ours ({:.1} hours)",
                word.label,
                counted.esphome,
                counted.ours,
                counted.hours(),
            );
        }
        println!("{}", manifest.display());
        Ok(())
    }

    fn c_array(&self, bytes: &[u8]) -> Result<()> {
        let stem = self.model.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = file_name(stem.as_deref().unwrap_or("model"));
        let header = c_array::of_model(&name, &self.model, bytes)?;
        fs::create_dir_all(&self.out).map_err(Error::io(&self.out, "create"))?;
        let path = self.out.join(format!("{name}.h"));
        files::write_atomic(&path, header.as_bytes())?;
        log::info!("{}: {} bytes of flash", path.display(), bytes.len());
        println!("{}", path.display());
        Ok(())
    }
}

/// Returns the features of the shipped negatives.
fn negatives(model: &Model<'_>) -> Result<Vec<Vec<Features>>> {
    let negatives = wakeling_train::models::shipped_negatives()?;
    let speech = negatives.speech.iter().map(|clip| &clip.frames);
    let clips = speech.chain(&negatives.noise);
    Ok(clips.map(|frames| wakeling_audio::features::normalize(frames, &model.frontend)).collect())
}
