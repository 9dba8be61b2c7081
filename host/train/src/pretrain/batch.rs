//! Batches for pretraining: rows composed of clips, or cut from streams with a teacher's outputs.
//!
//! A clip cannot be cut, because its transcript has no time stamps. Rows are 12 s long, or as long
//! as the longest clip of the batch needs. Longer rows are fewer, so a batch takes about the same
//! memory and time.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rand::{RngExt, rngs::StdRng};
use wakeling_shared::frontend::{FrontendParams, MEL_CHANNELS};

use super::{
    prepare::Clip,
    voice::{self, Voice},
};
use crate::Result;
use crate::distillation::TeacherTargets;
use wakeling_audio::features::LogMel;
use wakeling_data::mixing::{MelStream, Mixer, Powers, loudness, mask};
use wakeling_nn::ops::ctc::{Segment, steps_needed};

/// Frames of a row, if no clip of the batch needs more: 12 s.
pub const STREAM_FRAMES: usize = 1_200;
/// Length of the shortest clip that is used, in frames.
pub const LEAST_FRAMES: usize = 10;
/// Background before the first clip of a row, in frames.
const LEAD_FRAMES: usize = 60;
/// Frames after the end of a clip in which CTC may still place its tokens, because the backbone is
/// causal.
const DELAY_FRAMES: usize = 30;
/// Delay of the backbone's prediction behind the teacher's output, in frames.
const TEACHER_DELAY_FRAMES: usize = 4;
/// First frame with a distillation target (0.8 s). The teacher's context before the row is unknown
/// to the backbone.
const TEACHER_FROM_FRAME: usize = 80;

/// Rows of features and the labels of their stretches.
pub struct Batch {
    /// Shape `[streams, steps, inputs]`.
    pub features: Tensor,
    /// Transcripts, as tokens.
    pub tokens: Vec<Segment>,
    /// Words, as classes.
    pub words: Vec<Segment>,
    /// Teacher's embeddings `[streams, steps, dimensions]`, and the weight of each step.
    pub teacher: Option<(Tensor, Vec<f32>)>,
    /// Voice activity `[streams, steps, 1]`, and the weight of each step.
    pub voice: Option<(Tensor, Tensor)>,
}

/// Labelled stretch of a teacher's stream, in frames.
pub struct Stretch {
    pub start: usize,
    pub end: usize,
    pub tokens: Vec<u32>,
    pub words: Vec<u32>,
}

/// Streams with teacher targets, and their labels as classes: one list of stretches per stream.
pub struct TeacherRows {
    pub teacher: TeacherTargets,
    pub stretches: Vec<Vec<Stretch>>,
}

impl TeacherRows {
    /// Returns the streams to train on and those held out: one in fifty, the last ones.
    pub fn split(&self) -> [Range<usize>; 2] {
        let all = self.teacher.streams.len();
        let held_out = all / 50;
        [0..all - held_out, all - held_out..all]
    }
}

/// Returns the number of steps that CTC has for the tokens of a clip of `frames` frames.
pub fn steps_for(frames: usize, frames_per_step: usize) -> usize {
    (frames + DELAY_FRAMES) / frames_per_step
}

/// Returns the number of steps that CTC needs for these tokens, if it is more than `steps`.
pub fn steps_beyond(tokens: &[u32], steps: usize) -> Option<usize> {
    let needed = steps_needed(tokens);
    (needed > steps).then_some(needed)
}

/// Clip after augmentation.
struct Part<'c> {
    clip: &'c Clip,
    sound: Powers,
    /// Frames from its end to the next clip.
    gap: usize,
}

/// Clips that become the rows of one batch.
pub struct Parts<'c> {
    parts: Vec<Part<'c>>,
    /// Frames of each row.
    stream_frames: usize,
}

/// Clips of one row: index of each clip, and its first frame.
type Layout = Vec<(usize, usize)>;

impl<'c> Parts<'c> {
    /// Takes clips from `next` and augments them, until they fill `streams` rows or none is left.
    pub fn gather(
        streams: usize,
        mixer: &Mixer<'_>,
        mut next: impl FnMut(&mut StdRng) -> Option<&'c Clip>,
        rng: &mut StdRng,
    ) -> Self {
        let (mut parts, mut stream_frames) = (Vec::new(), STREAM_FRAMES);
        let mut left = streams * (STREAM_FRAMES - LEAD_FRAMES - 2 * DELAY_FRAMES);
        while left > 0 {
            let Some(clip) = next(rng) else { break };
            let sound = mixer.augment(&clip.log_mel, rng);
            let gap = rng.random_range(2..40);
            left = left.saturating_sub(sound.len() + gap);
            stream_frames = stream_frames.max(LEAD_FRAMES + sound.len() + 2 * DELAY_FRAMES);
            parts.push(Part { clip, sound, gap });
        }
        Self { parts, stream_frames }
    }

    /// Returns the speech in the clips.
    pub fn speech(&self) -> Vec<&'c LogMel> {
        let spoken = self.parts.iter().filter(|part| !part.clip.is_noise);
        spoken.map(|part| &part.clip.log_mel).collect()
    }

    /// Returns the number of rows of this batch's length that hold about as much as `streams` rows of
    /// the usual length.
    pub fn streams_for(&self, streams: usize) -> usize {
        ((streams * STREAM_FRAMES + self.stream_frames / 2) / self.stream_frames).max(1)
    }

    /// Distributes the clips over at most `most` rows: the longest first, the others in their
    /// order, each into the first row with room. Clips that do not fit are left out.
    fn layout(&self, most: usize) -> Vec<Layout> {
        let mut streams: Vec<(usize, Layout)> = Vec::new();
        let length = |i: &usize| self.parts.get(*i).map_or(0, |part| part.sound.len());
        // Reversed, so that a tie is won by the first of the longest clips.
        let longest = (0..self.parts.len()).rev().max_by_key(length);
        let others = (0..self.parts.len()).filter(|&i| Some(i) != longest);
        for index in longest.into_iter().chain(others) {
            let part = &self.parts[index];
            let fits = |at: usize| at + part.sound.len() + 2 * DELAY_FRAMES <= self.stream_frames;
            let row = match streams.iter().position(|(at, _)| fits(*at)) {
                Some(row) => row,
                None if streams.len() < most => {
                    streams.push((LEAD_FRAMES, Vec::new()));
                    streams.len() - 1
                }
                None => continue,
            };
            if let Some((at, layout)) = streams.get_mut(row) {
                layout.push((index, *at));
                *at += part.sound.len() + part.gap;
            }
        }
        streams.into_iter().map(|(_, layout)| layout).collect()
    }
}

/// Properties shared by all rows of a run.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Frames per step.
    pub frames_per_step: usize,
    /// Dimensions of the teacher's embeddings, 0 without a teacher.
    pub dimensions: usize,
    /// `true` if voice activity is labelled.
    pub voice: bool,
}

/// Batch under construction.
pub struct Builder<'a> {
    frontend: &'a FrontendParams<'a>,
    mixer: &'a Mixer<'a>,
    shape: Shape,
    stream_frames: usize,
    streams: usize,
    features: Vec<f32>,
    tokens: Vec<Segment>,
    words: Vec<Segment>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    voice: Vec<(f32, f32)>,
}

impl<'a> Builder<'a> {
    /// Creates a batch without rows. Rows will be as long as `parts` need.
    pub fn new(
        frontend: &'a FrontendParams<'a>,
        mixer: &'a Mixer<'a>,
        shape: Shape,
        parts: &Parts<'_>,
    ) -> Self {
        let stream_frames = parts.stream_frames.next_multiple_of(shape.frames_per_step.max(1));
        Self {
            frontend,
            mixer,
            shape,
            stream_frames,
            streams: 0,
            features: Vec::new(),
            tokens: Vec::new(),
            words: Vec::new(),
            targets: Vec::new(),
            weights: Vec::new(),
            voice: Vec::new(),
        }
    }

    fn steps(&self) -> usize {
        self.stream_frames / self.shape.frames_per_step
    }

    fn is_augmented(&self) -> bool {
        self.mixer.augmentation.tempo > 0.0
    }

    /// Adds at most `most` rows of clips. Returns the number of clips in them.
    pub fn add_clips(&mut self, parts: &Parts<'_>, most: usize, rng: &mut StdRng) -> usize {
        let streams = parts.layout(most);
        for layout in &streams {
            self.add_stream(parts, layout, rng);
        }
        streams.iter().map(Vec::len).sum()
    }

    fn add_stream(&mut self, parts: &Parts<'_>, layout: &Layout, rng: &mut StdRng) {
        let mut row = MelStream::new(self.stream_frames);
        let mut voice = vec![Voice::Silent; self.stream_frames];
        let mut level = None;
        for &(index, at) in layout {
            let Part { clip, sound, .. } = &parts.parts[index];
            level.get_or_insert_with(|| loudness(sound));
            row.add(at, sound, 1.0);
            self.label(at, at + sound.len(), [&clip.tokens, &clip.words]);
            if self.shape.voice && !clip.is_noise {
                let spoken = voice::of_clip(sound);
                voice.iter_mut().skip(at).zip(spoken).for_each(|(v, spoken)| *v = spoken);
            }
        }
        let steps = self.steps();
        self.targets.resize(self.targets.len() + steps * self.shape.dimensions, 0.0);
        self.weights.resize(self.weights.len() + steps, 0.0);
        self.finish_stream(row, &voice, level.unwrap_or(1e6), rng);
    }

    /// Adds a row cut from one of the streams `among` with teacher targets.
    pub fn add_targets(&mut self, streams: &TeacherRows, among: Range<usize>, rng: &mut StdRng) {
        let index = rng.random_range(among);
        let stream = &streams.teacher.streams[index];
        let needed =
            (self.stream_frames as f32 * (1.0 + self.mixer.augmentation.tempo)) as usize + 1;
        let start = rng.random_range(0..=stream.log_mel.len().saturating_sub(needed));
        let piece = &stream.log_mel[start..(start + needed).min(stream.log_mel.len())];
        let sound = self.mixer.augment(piece, rng);
        let mut row = MelStream::new(self.stream_frames);
        row.add(0, &sound, 1.0);
        // Augmentation of the tempo changes lengths; positions within the piece scale with it.
        let scale = sound.len() as f32 / piece.len().max(1) as f32;
        for stretch in streams.stretches[index].iter().filter(|s| s.start >= start) {
            let within = |frame: usize| ((frame - start) as f32 * scale) as usize;
            let (from, to) = (within(stretch.start), within(stretch.end));
            if to + DELAY_FRAMES > self.stream_frames {
                break;
            }
            self.label(from, to, [&stretch.tokens, &stretch.words]);
        }
        for step in 0..self.steps() {
            let seen_frames = (step + 1) * self.shape.frames_per_step;
            let frame =
                seen_frames.saturating_sub(TEACHER_DELAY_FRAMES) as f32 / scale + start as f32;
            let first = self.targets.len();
            self.targets.resize(first + self.shape.dimensions, 0.0);
            let is_known = streams.teacher.target(stream, frame, &mut self.targets[first..]);
            let counts = is_known && seen_frames > TEACHER_FROM_FRAME;
            self.weights.push(if counts { 1.0 } else { 0.0 });
        }
        // Streams already have noise under them, so levels do not reveal voice activity.
        let voice = vec![Voice::Unknown; self.stream_frames];
        self.finish_stream(row, &voice, loudness(&sound), rng);
    }

    /// Labels frames `from..to` of the row under construction.
    fn label(&mut self, from: usize, to: usize, labels: [&Vec<u32>; 2]) {
        let start = from / self.shape.frames_per_step;
        let end = ((to + DELAY_FRAMES) / self.shape.frames_per_step).min(self.steps());
        for (labels, segments) in labels.into_iter().zip([&mut self.tokens, &mut self.words]) {
            if !labels.is_empty() {
                segments.push(Segment { row: self.streams, start, end, labels: labels.clone() });
            }
        }
    }

    fn finish_stream(&mut self, mut row: MelStream, voice: &[Voice], level: f32, rng: &mut StdRng) {
        if self.mixer.background.chance > 0.0 {
            self.mixer.add_background(&mut row, level, rng);
        }
        let mut row = row.features(self.frontend);
        if self.is_augmented() {
            mask(&mut row, rng);
        }
        self.features.extend(row.into_iter().map(|f| f32::from(f) * wakeling_nn::INPUT_SCALE));
        if self.shape.voice {
            self.voice.extend(voice::of_steps(voice, self.shape.frames_per_step));
        }
        self.streams += 1;
    }

    /// Converts the rows to tensors on the CPU.
    pub fn build(self) -> Result<Batch> {
        let (streams, steps) = (self.streams, self.steps());
        let of = |values: Vec<f32>, width: usize| {
            Tensor::from_vec(values, (streams, steps, width), &Device::Cpu)
        };
        let features = of(self.features, self.shape.frames_per_step * MEL_CHANNELS)?;
        let teacher = if self.weights.iter().any(|&w| w > 0.0) {
            Some((of(self.targets, self.shape.dimensions)?, self.weights))
        } else {
            None
        };
        let voice = if self.voice.iter().any(|&(_, weight)| weight > 0.0) {
            let (targets, weights) = self.voice.into_iter().unzip();
            Some((of(targets, 1)?, of(weights, 1)?))
        } else {
            None
        };
        Ok(Batch { features, tokens: self.tokens, words: self.words, teacher, voice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use wakeling_audio::features::{FrontendTables, NormalizationKind};
    use wakeling_data::mixing::{BackgroundMix, FeatureAugmentation, NoisePool};

    fn clip(frames: usize) -> Clip {
        let tokens = vec![1, 2];
        let log_mel = vec![[6_000; MEL_CHANNELS]; frames];
        Clip { log_mel, tokens, words: Vec::new(), weight: 1.0, is_noise: false }
    }

    fn mixer() -> Mixer<'static> {
        let (noise, augmentation) = (NoisePool::default(), FeatureAugmentation::NONE);
        Mixer::new(noise, Vec::new(), BackgroundMix::NEGATIVE, augmentation)
    }

    fn gather<'c>(clips: &'c [Clip], streams: usize) -> Parts<'c> {
        let mut left = clips.iter();
        let mut rng = StdRng::seed_from_u64(3);
        Parts::gather(streams, &mixer(), |_| left.next(), &mut rng)
    }

    #[test]
    fn long_clips_make_rows_longer_and_fewer() {
        for (lengths, streams, frames) in [
            (vec![300; 40], 4, 1_200),
            (vec![300, 300, 3_480, 300, 300, 300, 300, 300, 300], 1, 3_600),
            (vec![1_480; 6], 3, 1_600),
        ] {
            let clips: Vec<Clip> = lengths.into_iter().map(clip).collect();
            let parts = gather(&clips, 4);
            assert_eq!((parts.streams_for(4), parts.stream_frames), (streams, frames));
            let layout = parts.layout(streams);
            assert_eq!(layout.len(), streams);
            for row in &layout {
                // No overlap, nothing beyond the end, and time left after the last clip.
                let mut end = LEAD_FRAMES;
                for &(index, at) in row {
                    assert!(at >= end);
                    end = at + parts.parts[index].sound.len();
                }
                assert!(end + 2 * DELAY_FRAMES <= frames);
            }
            let longest = clips.iter().map(|c| c.log_mel.len()).max().unwrap();
            let mut placed = layout.iter().flatten().map(|&(i, _)| &parts.parts[i]);
            assert!(placed.any(|part| part.sound.len() == longest));
        }
    }

    #[test]
    fn transcripts_are_measured_against_their_steps() {
        assert_eq!(steps_beyond(&[1, 2, 3], 3), None);
        assert_eq!(steps_beyond(&[1, 2, 2, 3], 4), Some(5), "a blank between the two");
        assert_eq!(steps_beyond(&[], 0), None);
    }

    #[test]
    fn without_a_limit_every_clip_has_a_place() {
        let clips: Vec<Clip> = (0..30).map(|i| clip(100 + 97 * (i % 11))).collect();
        let parts = gather(&clips, 100);
        let mut placed: Vec<usize> =
            parts.layout(usize::MAX).iter().flatten().map(|&(index, _)| index).collect();
        placed.sort_unstable();
        assert_eq!(placed, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn labels_stand_where_their_clips_do() -> Result<()> {
        let clips = [clip(2_000), clip(100)];
        let parts = gather(&clips, 8);
        let tables = FrontendTables::default();
        let frontend = tables.params(NormalizationKind::Log);
        let mixer = mixer();
        let shape = Shape { frames_per_step: 4, dimensions: 0, voice: true };
        let mut builder = Builder::new(&frontend, &mixer, shape, &parts);
        assert_eq!(builder.add_clips(&parts, 2, &mut StdRng::seed_from_u64(1)), 2);
        let batch = builder.build()?;
        assert_eq!(batch.features.dims(), [2, 530, 160]);
        let places: Vec<_> = batch.tokens.iter().map(|s| (s.row, s.start, s.end)).collect();
        assert_eq!(places, [(0, 15, 522), (1, 15, 47)]);
        let (targets, weights) = batch.voice.expect("labels");
        assert_eq!(targets.flatten_all()?.sum_all()?.to_scalar::<f32>()?, 500.0 + 25.0);
        assert_eq!(weights.flatten_all()?.sum_all()?.to_scalar::<f32>()?, 2.0 * 530.0);
        let streams: Vec<Vec<f32>> = targets.squeeze(2)?.to_vec2()?;
        assert_eq!(
            (streams[1][14], streams[1][15], streams[1][39], streams[1][40]),
            (0.0, 1.0, 1.0, 0.0)
        );
        Ok(())
    }
}
