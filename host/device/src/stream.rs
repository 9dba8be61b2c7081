//! Detection in a stream of sound: a pipeline with its thresholds in force, and every detection
//! followed to its peak.

use wakeling_shared::{
    detector::{Decision, DetectorParams},
    model::Model,
    pipeline::Step,
};

use crate::owned::OwnedPipeline;
use crate::sensitivity::DetectionEvent;

/// Part of the result of a [`KeywordStream`].
#[derive(Clone, Copy, Debug)]
pub enum StreamEvent<'s> {
    /// A detection began.
    Began {
        /// Index of the keyword in the model.
        word: usize,
        /// The detection at its first step.
        event: &'s DetectionEvent,
    },
    /// A detection is over: the score fell below the threshold, or the refractory period ended.
    Ended {
        /// Index of the keyword in the model.
        word: usize,
        /// The detection with its peak.
        event: &'s DetectionEvent,
    },
    /// A step ended, after the events that it caused.
    Step(Step<'s>),
}

/// Pipeline of one stream of sound, which reports where detections begin and end.
///
/// ```
/// use wakeling_device::{owned::OwnedPipeline, stream::{KeywordStream, StreamEvent}};
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/examples/support/loud.rs")); }
/// # let file = support::loud_model();
///
/// let mut stream = KeywordStream::new(OwnedPipeline::new(file)?); // the keyword is any loud sound
/// let pcm = [vec![0; 16_000], support::sawtooth(8_000), vec![0; 16_000]].concat();
/// let (mut began, mut ended) = (Vec::new(), Vec::new());
/// for block in pcm.chunks(480) {
///     stream.push(block, |event| match event {
///         StreamEvent::Began { event, .. } => began.push(event.end_samples),
///         StreamEvent::Ended { event, .. } => ended.push((event.end_samples, event.peak)),
///         StreamEvent::Step(_) => {}
///     });
/// }
/// assert_eq!(began.len(), 1);
/// assert_eq!(ended[0].0, began[0]); // the position of a detection is that of its first step
/// # Ok::<(), wakeling_shared::model::LoadError>(())
/// ```
pub struct KeywordStream {
    pipeline: OwnedPipeline,
    detectors: Vec<DetectorParams>,
    /// Open detection of each keyword.
    open: Vec<Option<DetectionEvent>>,
}

impl KeywordStream {
    /// Starts at the first sample, with the thresholds of the model.
    pub fn new(pipeline: OwnedPipeline) -> Self {
        let detectors: Vec<_> = pipeline.model().words.iter().map(|w| w.detector).collect();
        Self { open: vec![None; detectors.len()], detectors, pipeline }
    }

    /// Returns the model. Its thresholds are those of the file.
    pub fn model(&self) -> &Model<'_> {
        self.pipeline.model()
    }

    /// Returns the parameters of the keywords' detectors, with the thresholds in force.
    pub fn detectors(&self) -> &[DetectorParams] {
        &self.detectors
    }

    /// Returns `true` while a detection of the keyword is open.
    pub fn is_open(&self, word: usize) -> bool {
        self.open.get(word).is_some_and(Option::is_some)
    }

    /// Sets the thresholds (Q8), one per keyword. Further ones are ignored.
    pub fn set_thresholds(&mut self, thresholds: &[i16]) {
        for (word, (detector, &threshold)) in self.detectors.iter_mut().zip(thresholds).enumerate()
        {
            detector.threshold = threshold;
            self.pipeline.set_threshold(word, threshold);
        }
    }

    /// Processes `pcm` (16 kHz mono). Calls `on_event` for each detection that begins or ends in it
    /// and for each step that it completes, in order.
    pub fn push(&mut self, pcm: &[i16], mut on_event: impl FnMut(StreamEvent<'_>)) {
        let Self { pipeline, detectors, open } = self;
        pipeline.push(pcm, |step| {
            for (word, decision) in step.decisions.iter().enumerate() {
                let Decision { smoothed, fired } = *decision;
                if let Some(event) = open[word].take_if(|event| !event.extend(smoothed)) {
                    on_event(StreamEvent::Ended { word, event: &event });
                }
                if fired {
                    let event = DetectionEvent::start(step.end_samples, smoothed, &detectors[word]);
                    on_event(StreamEvent::Began { word, event: &event });
                    open[word] = Some(event);
                }
            }
            on_event(StreamEvent::Step(step));
        });
    }

    /// Ends the detections that are still open, at the end of the sound.
    pub fn finish(&mut self, mut on_event: impl FnMut(StreamEvent<'_>)) {
        for (word, event) in self.open.iter_mut().enumerate() {
            if let Some(event) = event.take() {
                on_event(StreamEvent::Ended { word, event: &event });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Chunking, Device};
    use wakeling_shared::model::Model;
    use wakeling_tests::{
        model::{Tier, random_model},
        sound,
    };

    #[test]
    fn events_are_those_of_the_simulator() {
        let (file, pcm) = (random_model(3, Tier::Tiny), sound::speech_like(1, 20));
        let mut model = Model::load(&file).unwrap();
        let thresholds: Vec<i16> = model.words.iter().map(|w| w.detector.threshold - 700).collect();
        for (word, &threshold) in model.words.iter_mut().zip(&thresholds) {
            word.detector.threshold = threshold;
        }
        let device = Device::Host(Chunking::Whole);
        let mut blocks = std::iter::once(Ok(pcm.clone()));
        let simulation = device.run_blocks(&model, &mut blocks, true).unwrap();

        let mut stream = KeywordStream::new(OwnedPipeline::new(file.clone()).unwrap());
        stream.set_thresholds(&thresholds);
        let labels: Vec<&str> = model.words.iter().map(|w| w.label).collect();
        let (mut began, mut ended, mut steps) = (Vec::new(), Vec::new(), 0);
        let mut on_event = |event: StreamEvent<'_>| match event {
            StreamEvent::Began { word, event } => {
                began.push((event.end_samples, event.logit, labels[word].to_owned()));
            }
            StreamEvent::Ended { event, .. } => ended.push((event.end_samples, event.peak)),
            StreamEvent::Step(_) => steps += 1,
        };
        for block in pcm.chunks(701) {
            stream.push(block, &mut on_event);
        }
        stream.finish(&mut on_event);
        let expected = simulation.detections.iter();
        let expected: Vec<_> = expected.map(|d| (d.end_samples, d.logit, d.word.clone())).collect();
        assert!(expected.len() > 2, "{expected:?}");
        assert_eq!(began, expected);
        let mut peaks: Vec<_> =
            simulation.detections.iter().map(|d| (d.end_samples, d.peak)).collect();
        peaks.sort();
        ended.sort();
        assert_eq!(ended, peaks);
        assert_eq!(steps, simulation.steps.len());
    }
}
