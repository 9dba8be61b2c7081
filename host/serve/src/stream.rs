//! Pipelines of one client: sound in its own format in, detections out.

use std::sync::Arc;

use wakeling_audio::SAMPLE_RATE;
use wakeling_device::{
    sensitivity::{DetectionEvent, DetectionLevel},
    stream::{KeywordStream, StreamEvent},
};
use wakeling_shared::pipeline::Step;

use crate::{
    Result,
    audio::{AudioFormat, Converter},
    catalog::{Catalog, Selection, ServedKeyword, ServedModel},
    refusal::Refusal,
    save::{Recent, SavedDetections},
};

/// Number of samples that the models take at once. Sound is saved up to the end of the block with
/// the detection.
const BLOCK: usize = 1_600;

/// Keyword of a detection, with its model.
#[derive(Clone, Copy)]
pub(crate) struct Keyword<'c> {
    pub model: &'c ServedModel,
    pub keyword: &'c ServedKeyword,
}

/// Part of the result for a block of sound.
pub(crate) enum Notice<'n> {
    /// A detection began.
    Began(Keyword<'n>, &'n DetectionEvent),
    /// A detection is over.
    Ended(Keyword<'n>, &'n DetectionEvent),
    /// A step of a model ended; with the thresholds of its keywords.
    Step(&'n ServedModel, Step<'n>, &'n [i16]),
}

/// Returns the time of a number of samples, in seconds.
pub(crate) fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}

/// Returns the level of the first step of a detection.
pub(crate) fn level(event: &DetectionEvent) -> DetectionLevel {
    DetectionLevel::of(event.logit, event.threshold)
}

/// Model that runs for one client.
struct Running {
    model: usize,
    /// Whether each keyword is wanted.
    wanted: Vec<bool>,
    stream: KeywordStream,
    thresholds: Vec<i16>,
}

/// State of one client's sound, from its first sample.
pub(crate) struct ClientStream {
    catalog: Arc<Catalog>,
    saved: Option<Arc<SavedDetections>>,
    running: Vec<Running>,
    converter: Converter,
    recent: Recent,
    samples: u64,
}

impl ClientStream {
    /// Starts the models whose keywords are wanted.
    ///
    /// # Errors
    /// A refusal if the format is not supported.
    pub(crate) fn start(
        catalog: &Arc<Catalog>,
        selection: &Selection,
        format: AudioFormat,
        saved: Option<Arc<SavedDetections>>,
    ) -> Result<Self, Refusal> {
        let converter = Converter::new(format)?;
        let mut running = Vec::new();
        for (index, wanted) in selection.wanted.iter().enumerate() {
            if !wanted.contains(&true) {
                continue;
            }
            let internal = |error: crate::Error| Refusal::new("internal", error.to_string());
            let (pipeline, thresholds) = catalog.models[index].pipeline().map_err(internal)?;
            let mut stream = KeywordStream::new(pipeline);
            stream.set_thresholds(thresholds);
            let (wanted, thresholds) = (wanted.clone(), thresholds.to_vec());
            running.push(Running { model: index, wanted, stream, thresholds });
        }
        let (catalog, recent) = (catalog.clone(), Recent::default());
        Ok(Self { catalog, saved, running, converter, recent, samples: 0 })
    }

    /// Returns the number of 16 kHz samples so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Changes the format of the sound that follows. The models go on.
    ///
    /// # Errors
    /// A refusal if the format is not supported.
    pub(crate) fn set_format(&mut self, format: AudioFormat) -> Result<(), Refusal> {
        if self.converter.format() != format {
            self.converter = Converter::new(format)?;
        }
        Ok(())
    }

    /// Processes sound, and calls `on_notice` for what the wanted keywords give.
    ///
    /// # Errors
    /// A refusal if the bytes end within a frame.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut on_notice: impl FnMut(Notice<'_>),
    ) -> Result<(), Refusal> {
        let Self { catalog, saved, running, converter, recent, samples } = self;
        converter.push(bytes, |pcm| {
            for block in pcm.chunks(BLOCK) {
                *samples += block.len() as u64;
                if saved.is_some() {
                    recent.push(block);
                }
                for model in &mut *running {
                    model.push(catalog, block, |notice| {
                        if let (Notice::Began(found, _), Some(saved)) = (&notice, saved.as_ref()) {
                            save(saved, found, recent);
                        }
                        on_notice(notice);
                    });
                }
            }
        })
    }

    /// Ends the detections that are still open.
    pub(crate) fn finish(&mut self, mut on_notice: impl FnMut(Notice<'_>)) {
        for Running { model, wanted, stream, .. } in &mut self.running {
            let model = &self.catalog.models[*model];
            stream.finish(|event| {
                if let StreamEvent::Ended { word, event } = event
                    && wanted[word]
                {
                    on_notice(Notice::Ended(
                        Keyword { model, keyword: &model.keywords[word] },
                        event,
                    ));
                }
            });
        }
    }
}

impl Running {
    fn push(&mut self, catalog: &Catalog, pcm: &[i16], mut on_notice: impl FnMut(Notice<'_>)) {
        let Self { model, wanted, stream, thresholds } = self;
        let model = &catalog.models[*model];
        let found = |word: usize| Keyword { model, keyword: &model.keywords[word] };
        stream.push(pcm, |event| match event {
            StreamEvent::Began { word, event } if wanted[word] => {
                on_notice(Notice::Began(found(word), event));
            }
            StreamEvent::Ended { word, event } if wanted[word] => {
                on_notice(Notice::Ended(found(word), event));
            }
            StreamEvent::Step(step) => on_notice(Notice::Step(model, step, thresholds)),
            StreamEvent::Began { .. } | StreamEvent::Ended { .. } => {}
        });
    }
}

/// Saves the sound before a detection. A failure is logged, and detection goes on.
fn save(saved: &SavedDetections, found: &Keyword<'_>, recent: &Recent) {
    if let Err(error) = saved.save(&found.keyword.name, recent) {
        log::info!("warning: {}", wakeling_core::console::explained(&error));
    }
}
