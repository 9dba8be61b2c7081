//! Reads the lines of a device as they arrive, and follows detections to their peaks.

use std::fmt::{self, Write};

use wakeling_shared::{
    events::{self, Scores},
    model::{Keyword, Model},
};

use super::{Detection, Simulation};
use crate::Result;
use crate::sensitivity::DetectionEvent;

/// Parser of a device's lines, which follows each detection to its peak. Memory does not grow with
/// the number of steps, unless they are kept.
pub(super) struct LineReader<'m, 'a> {
    model: &'m Model<'a>,
    keep_steps: bool,
    /// Part of the current line that has arrived.
    line: String,
    simulation: Simulation,
    /// Event that is still open for each keyword, with the index of its detection.
    open: Vec<Option<(usize, DetectionEvent)>>,
    outcome: Result<()>,
}

impl<'m, 'a> LineReader<'m, 'a> {
    pub(super) fn new(model: &'m Model<'a>, keep_steps: bool) -> Self {
        let open = vec![None; model.words.len()];
        let (line, simulation) = (String::new(), Simulation::default());
        Self { model, keep_steps, line, simulation, open, outcome: Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<Simulation> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.outcome.map(|()| self.simulation)
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.outcome.is_ok() {
            self.outcome = self.take(&line);
        }
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let before = self.simulation.detections.len();
        if let Some(scores) = self.simulation.take(line)? {
            self.step(scores);
        } else if self.simulation.detections.len() > before {
            self.detection(before);
        }
        Ok(())
    }

    fn step(&mut self, scores: Scores) {
        let simulation = &mut self.simulation;
        simulation.highest.resize(scores.words.len(), i16::MIN);
        for (highest, score) in simulation.highest.iter_mut().zip(&scores.words) {
            *highest = score.smoothed.max(*highest);
        }
        for (open, score) in self.open.iter_mut().zip(&scores.words) {
            let Some((index, event)) = open else { continue };
            if event.extend(score.smoothed) {
                simulation.detections[*index].peak = event.peak;
            } else {
                *open = None;
            }
        }
        if self.keep_steps {
            simulation.steps.push(scores);
        }
    }

    fn detection(&mut self, index: usize) {
        let detection = &self.simulation.detections[index];
        // Labels are printed without control characters.
        let is_word = |w: &Keyword<'_>| events::Text(w.label).to_string() == detection.word;
        let Some(word) = self.model.words.iter().position(is_word) else { return };
        let Detection { end_samples, logit, .. } = *detection;
        let event = DetectionEvent::start(end_samples, logit, &self.model.words[word].detector);
        self.open[word] = Some((index, event));
    }
}

impl Write for LineReader<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.line.push_str(part.trim_end_matches('\n'));
            if part.ends_with('\n') {
                self.end_line();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_shared::detector::DetectorParams;

    #[test]
    fn a_detection_is_followed_to_its_peak_however_its_lines_come() {
        let bytes = wakeling_tests::random_model(1, wakeling_tests::Tier::Tiny);
        let mut model = Model::load(&bytes).unwrap();
        model.words[0].detector =
            DetectorParams { smoothing_steps: 1, threshold: 100, refractory_steps: 3 };
        let word = events::Text(model.words[0].label).to_string();
        let mut lines = format!("{}\n", events::Loaded(&model));
        // A crossing at 110 with a peak of 180; the refractory period hides 900; then a crossing at
        // 120.
        let smoothed = [50, 110, 180, 90, 900, 20, 120, 99];
        for (i, &smoothed) in smoothed.iter().enumerate() {
            let words = [events::Score { logit: 0, smoothed }].into_iter().collect();
            let (index, end_samples) = (i as u64, 320 * i as u64);
            let _ = writeln!(lines, "{}", Scores { index, end_samples, words });
            if [110, 120].contains(&smoothed) {
                let detection = events::Detection { end_samples, logit: smoothed, word: &word };
                let _ = writeln!(lines, "{detection}");
            }
        }
        for size in [1, 7, lines.len()] {
            let mut reader = LineReader::new(&model, false);
            for part in lines.as_bytes().chunks(size) {
                reader.write_str(std::str::from_utf8(part).unwrap()).unwrap();
            }
            let simulation = reader.finish().unwrap();
            let peaks: Vec<_> = simulation.detections.iter().map(|d| (d.logit, d.peak)).collect();
            assert_eq!(peaks, [(110, 180), (120, 120)]);
            assert_eq!((simulation.highest[0], simulation.steps.len()), (900, 0));
        }
        let mut reader = LineReader::new(&model, true);
        reader.write_str("step 0 320 0:5\nsmoke\n").unwrap();
        assert!(reader.finish().unwrap_err().to_string().contains("smoke"));
    }
}
