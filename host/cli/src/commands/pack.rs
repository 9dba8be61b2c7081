//! `wakeling pack`: packs negative speech and noise into a few small files, to ship with a
//! pretrained model.

use std::path::PathBuf;

use clap::Args;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{number, open_datasets};
use crate::error::{Error, Result};
use wakeling_audio::features::{FrontendTables, NormalizationKind};
use wakeling_core::files;
use wakeling_data::clip_features::load_log_mel_start;
use wakeling_data::{
    negatives::{Negatives, SpeechClip, load_speech},
    pack,
};

/// Maximum number of frames used of a recording of noise: one minute.
const LONGEST_NOISE_FRAMES: usize = 6_000;

/// Pack negative speech and noise for fine-tuning, as features
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling pack --speech train.jsonl --noise noise.jsonl --out host/models/negatives --files 6 --megabytes 1.9")]
pub struct PackArgs {
    /// Manifests or folders of speech
    #[arg(long, required = true, num_args = 1..)]
    speech: Vec<PathBuf>,
    /// Manifests or folders of noise and music
    #[arg(long, num_args = 1..)]
    noise: Vec<PathBuf>,
    /// Leave out clips of these sources (as the manifest names them)
    #[arg(long, num_args = 1..)]
    without: Vec<String>,
    /// Folder for the packs
    #[arg(long)]
    out: PathBuf,
    /// Number of files
    #[arg(long, default_value_t = 6, value_parser = number::within(1..=100_000_usize))]
    files: usize,
    /// Maximum size of a file, in megabytes
    #[arg(long, default_value_t = 1.9, value_parser = number::within(0.01..=1_000.0))]
    megabytes: f64,
    /// Total minutes of noise
    #[arg(long, default_value_t = 25.0, value_parser = number::within(0.0..=1_000_000.0))]
    noise_minutes: f64,
    /// Seed of the choice of clips
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
}

/// Runs the command.
pub fn run(args: PackArgs) -> Result<()> {
    let mut speech = open_datasets(&args.speech)?;
    speech.retain(|e| e.source.as_ref().is_none_or(|s| !args.without.contains(s)));
    let noise = open_datasets(&args.noise)?;
    let mut rng = StdRng::seed_from_u64(args.seed);
    speech.shuffle(&mut rng);
    let tables = FrontendTables::default();
    // Only the mel powers are packed, with which every normalization begins.
    let frontend = tables.params(NormalizationKind::Log);
    let noise = load_log_mel_start(&noise, &frontend, LONGEST_NOISE_FRAMES, "noise");
    let mut all = Negatives {
        speech: load_speech(&speech, &frontend, "speech"),
        noise: noise.into_iter().flatten().collect(),
    };
    all.noise.shuffle(&mut rng);
    let mut frames_left = (args.noise_minutes * 6_000.0) as usize;
    all.noise.iter_mut().for_each(|clip| {
        clip.truncate(frames_left.min(LONGEST_NOISE_FRAMES));
        frames_left -= clip.len();
    });
    all.noise.retain(|clip| !clip.is_empty());

    let _claim = files::claim(&args.out)?;
    let noise_share = all.noise.len().div_ceil(args.files);
    let (mut speech, mut noise) = (all.speech, all.noise.into_iter());
    for number in 1..=args.files {
        let path = args.out.join(format!("{number}.pack"));
        let mut part =
            Negatives { speech: Vec::new(), noise: noise.by_ref().take(noise_share).collect() };
        fill(&mut part, &mut speech, (args.megabytes * 1e6) as usize)
            .map_err(Error::io(&path, "write"))?;
        pack::write(&path, &part)?;
        let frames: usize =
            part.speech.iter().map(|s| &s.frames).chain(&part.noise).map(Vec::len).sum();
        println!("{}: {:.2} hours", path.display(), frames as f64 / 360_000.0);
    }
    Ok(())
}

/// Moves speech from the end of `left` to the pack until the next clip would exceed `limit` bytes,
/// to within a twentieth.
fn fill(part: &mut Negatives, left: &mut Vec<SpeechClip>, limit: usize) -> std::io::Result<()> {
    /// Initial estimate, which the first attempt corrects.
    const BYTES_PER_FRAME: f64 = 5.0;
    let of_noise = part.noise.iter().map(Vec::len).sum::<usize>();
    let frames = |part: &Negatives| -> usize {
        of_noise + part.speech.iter().map(|s| s.frames.len()).sum::<usize>()
    };
    let mut bytes_per_frame = BYTES_PER_FRAME;
    loop {
        let most = 0.98 * limit as f64 / bytes_per_frame;
        let mut held = frames(part);
        while held as f64 > most {
            let Some(speech) = part.speech.pop() else { break };
            held -= speech.frames.len();
            left.push(speech);
        }
        while let Some(speech) = left.pop_if(|s| (held + s.frames.len()) as f64 <= most) {
            held += speech.frames.len();
            part.speech.push(speech);
        }
        let size = pack::encode(part)?.len();
        let is_full = left.is_empty() || size * 20 > limit * 19;
        if size <= limit && is_full || part.speech.is_empty() {
            return Ok(());
        }
        bytes_per_frame = size as f64 / held.max(1) as f64;
    }
}
