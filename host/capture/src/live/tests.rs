use wakeling_shared::model::{Model, OperatingPoint};
use wakeling_tests::{Tier, random_model, sound};

use super::*;
use crate::view::Glyphs;
use wakeling_data::dataset::Dataset;
use wakeling_device::{
    owned::OwnedPipeline,
    simulate::{Chunking, Device},
};

/// Sound in blocks of 40 ms; keys that are pressed after a number of blocks; the last view.
struct FakeDevice {
    sound: Vec<i16>,
    keys: Vec<(usize, Key)>,
    blocks: usize,
    last: String,
}

impl FakeDevice {
    fn new(sound: &[i16], keys: &[(usize, Key)]) -> (Self, Self) {
        let stage = |sound: &[i16], keys: &[_]| Self {
            sound: sound.to_vec(),
            keys: keys.to_vec(),
            blocks: 0,
            last: String::new(),
        };
        (stage(sound, &[]), stage(&[], keys))
    }
}

impl Microphone for FakeDevice {
    fn name(&self) -> &str {
        "a file"
    }

    fn read(&mut self, _: Duration) -> Result<Vec<i16>> {
        Ok(self.sound.drain(..640.min(self.sound.len())).collect())
    }

    fn has_gaps(&mut self) -> bool {
        false
    }
}

impl Screen for FakeDevice {
    fn show(&mut self, view: &View) -> Result<()> {
        self.last =
            view.lay_out(100, Glyphs::ASCII).iter().map(|line| line.text() + "\n").collect();
        Ok(())
    }

    fn key(&mut self, _: Duration) -> Result<Option<Key>> {
        self.blocks += 1;
        Ok(self.keys.iter().find(|(at, _)| *at == self.blocks).map(|(_, key)| *key))
    }

    fn ask(&mut self, _: &str, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Runs with a model whose table has three points around its score for `pcm`.
fn with_model<T>(pcm: &[i16], run: impl FnOnce(&Model<'_>) -> T) -> T {
    let bytes = random_model(1, Tier::Tiny);
    let mut model = Model::load(&bytes).unwrap();
    let simulation = Device::Host(Chunking::Whole).run(&model, pcm, true).unwrap();
    let mut smoothed: Vec<i16> =
        simulation.steps.iter().flat_map(|s| s.words.iter().map(|w| w.smoothed)).collect();
    smoothed.sort_unstable();
    let at = |share: f64| smoothed[(smoothed.len() as f64 * share) as usize];
    let point = |false_accepts, threshold| OperatingPoint {
        false_accepts,
        audio_seconds: 7_200,
        threshold,
    };
    for word in &mut model.words {
        word.points =
            [point(0, i16::MAX), point(2, at(0.9)), point(20, at(0.4))].into_iter().collect();
        word.detector.threshold = at(0.9);
    }
    run(&model)
}

fn detections(
    model: &Model<'_>,
    pcm: &[i16],
    keys: &[(usize, Key)],
    out: &std::path::Path,
) -> (Vec<LiveDetection>, String) {
    let (mut microphone, mut screen) = FakeDevice::new(pcm, keys);
    let mut all = Vec::new();
    let mut on_detection = |detections: &LiveDetection| {
        all.push(detections.clone());
        Ok(())
    };
    let seconds = Some(pcm.len() as f64 / 16_000.0);
    let sensitivity = SensitivityScale::of(model);
    let mut options = Options { seconds, sensitivity, out, on_detection: &mut on_detection };
    let pipeline = OwnedPipeline::new(random_model(1, Tier::Tiny)).unwrap();
    let stream = KeywordStream::new(pipeline);
    detect(stream, &mut microphone, &mut screen, &mut options).unwrap();
    (all, screen.last)
}

#[test]
fn microphone_detects_what_simulate_detects() {
    let (pcm, out) = (sound::speech_like(3, 6), tempfile::tempdir().unwrap());
    with_model(&pcm, |model| {
        let device = Device::Host(Chunking::Whole);
        let mut blocks = std::iter::once(Ok(pcm.clone()));
        let expected = device.run_blocks(model, &mut blocks, false).unwrap().detections;
        let (found, screen) = detections(model, &pcm, &[], out.path());
        assert!(!expected.is_empty());
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.time_s * 16_000.0).round() as u64, expected.end_samples);
            let threshold = model.words[0].detector.threshold;
            assert_eq!((found.score, found.threshold), (score(expected.logit), score(threshold)));
            assert_eq!(found.peak, score(expected.peak));
            assert_eq!(found.level, DetectionLevel::of(expected.peak, threshold));
        }
        let rises = |d: &wakeling_device::simulate::Detection| d.peak > d.logit;
        assert!(expected.iter().any(rises), "a peak above its crossing");
        for part in [
            "Sensitivity: strict · [normal] · eager",
            "False accepts counted: 2 in 2.0 h (at most 3.2/h)",
            "hey wakeling",
        ] {
            assert!(screen.contains(part), "no {part:?} in\n{screen}");
        }
        // The mark is in the middle of the bar, whatever the threshold is.
        let bar = screen.lines().find(|l| l.starts_with("hey wakeling  [")).unwrap();
        let bar = bar.split(['[', ']']).nth(1).unwrap();
        assert_eq!(bar.find('|'), Some(bar.len() / 2), "{bar}");
    });
}

#[test]
fn keys_move_the_threshold_through_the_table() {
    let (pcm, out) = (sound::speech_like(3, 6), tempfile::tempdir().unwrap());
    with_model(&pcm, |model| {
        let count = |key| detections(model, &pcm, &[(1, Key::Char(key))], out.path());
        let (own, _) = count(' ');
        let (more, screen) = count('+');
        assert!(more.len() > own.len(), "{} and {}", more.len(), own.len());
        assert!(screen.contains("strict · normal · [eager]"), "{screen}");
        assert!(screen.contains("20 in 2.0 h (at most 15/h)"), "{screen}");
        let (less, screen) = count('-');
        assert_eq!(less.len(), 0);
        assert!(screen.contains("[strict] · normal · eager"), "{screen}");
        // Further keys do not move past the ends.
        let keys: Vec<_> = (1..6).map(|at| (at, Key::Char('+'))).collect();
        let (_, screen) = detections(model, &pcm, &keys, out.path());
        assert!(screen.contains("eager is the most sensitive setting"), "{screen}");
    });
}

#[test]
fn last_three_seconds_are_saved_for_finetune() {
    let (pcm, out) = (sound::speech_like(3, 6), tempfile::tempdir().unwrap());
    with_model(&pcm, |model| {
        let keys = [(100, Key::Char('f')), (140, Key::Char('m'))];
        let (_, screen) = detections(model, &pcm, &keys, out.path());
        assert!(screen.contains("saved"), "{screen}");
        let wakes = Dataset::open(out.path().join("false-wakes")).unwrap().examples;
        // Key and sound alternate, so 100 blocks of 40 ms were processed.
        assert_eq!(wakes[0].load().unwrap(), pcm[64_000 - 48_000..64_000]);
        let misses = out.path().join("misses/hey-wakeling/manifest.jsonl");
        let misses = Dataset::open(misses).unwrap().examples;
        assert_eq!(misses[0].text.as_deref(), Some("hey wakeling"));
        assert_eq!(misses[0].load().unwrap(), pcm[64_000..64_000 + 40 * 640]);
    });
}
