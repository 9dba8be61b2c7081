//! Log-mel frames of the clips of a dataset.

use crate::Result;
use rayon::prelude::*;
use wakeling_audio::{
    features::{LogMel, log_mel, push_mel_powers},
    log_shortfall,
};
use wakeling_core::{console, progress::progress_bar};
use wakeling_shared::frontend::{FrontendParams, PowerFrontend};

use crate::dataset::Example;

/// Decodes a clip into at most `most_frames` log-mel frames, block by block. The samples are never
/// in memory as a whole, and reading stops after those frames. Also returns a description of the
/// missing part if the file is truncated.
///
/// # Errors
/// As [`Example::record`].
pub fn decode_log_mel(
    example: &Example,
    params: &FrontendParams<'_>,
    most_frames: usize,
) -> Result<(LogMel, Option<String>)> {
    let mut frontend = PowerFrontend::new(params);
    let (mut powers, mut frames) = (Vec::new(), LogMel::new());
    let mut reader = example.reader()?;
    for block in reader.by_ref() {
        powers.clear();
        push_mel_powers(&mut frontend, &block?, &mut powers);
        frames.extend(log_mel(&powers));
        if frames.len() >= most_frames {
            frames.truncate(most_frames);
            break;
        }
    }
    Ok((frames, reader.shortfall()))
}

/// Decodes a clip as [`decode_log_mel`] does. A truncated file is used as far as it goes, and
/// logged.
///
/// # Errors
/// As [`Example::record`].
pub fn read_log_mel(
    example: &Example,
    params: &FrontendParams<'_>,
    most_frames: usize,
) -> Result<LogMel> {
    let (frames, shortfall) = decode_log_mel(example, params, most_frames)?;
    if let Some(what) = shortfall {
        log_shortfall(&example.name(), &what);
    }
    Ok(frames)
}

/// Loads the log-mel frames of every example. Examples that cannot be read are logged and give
/// `None`.
pub fn load_log_mel(
    examples: &[Example],
    frontend: &FrontendParams<'_>,
    title: &'static str,
) -> Vec<Option<LogMel>> {
    load_log_mel_start(examples, frontend, usize::MAX, title)
}

/// Loads at most the first `most_frames` frames of every example. Examples that cannot be read are
/// logged and give `None`.
pub fn load_log_mel_start(
    examples: &[Example],
    frontend: &FrontendParams<'_>,
    most_frames: usize,
    title: &'static str,
) -> Vec<Option<LogMel>> {
    let bar = progress_bar(examples.len() as u64, title);
    let loaded = examples
        .par_iter()
        .map(|example| {
            bar.inc(1);
            match read_log_mel(example, frontend, most_frames) {
                Ok(frames) => Some(frames),
                Err(error) => {
                    bar.suspend(|| log::info!("skipped: {}", console::explained(&error)));
                    None
                }
            }
        })
        .collect();
    bar.finish_and_clear();
    loaded
}
