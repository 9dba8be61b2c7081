//! Labels of voice activity per step.
//!
//! The labels need no annotation. Rows are composed of clips, and the level of a clip without noise
//! shows where it holds speech. A frame within 20 dB of the clip's [`loudness`] is voice, one that
//! is 30 dB or more below it is silence, and frames between these limits are unknown. Gaps between
//! clips are silence. Streams with teacher targets are unknown, and clips of noise are silence.

use wakeling_data::mixing::{Powers, loudness};

/// Range below the clip's loudness, in dB, within which a frame is voice.
const VOICE_DB: f32 = 20.0;
/// Distance below the clip's loudness, in dB, from which on a frame is silence.
const SILENCE_DB: f32 = 30.0;

/// Label of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Silent,
    Voiced,
    Unknown,
}

/// Labels each frame of a clip after augmentation and before noise is added.
pub fn of_clip(sound: &Powers) -> Vec<Voice> {
    let level = loudness(sound);
    let below = |db: f32| level * 10f32.powf(-db / 10.0);
    let (voice, silence) = (below(VOICE_DB), below(SILENCE_DB));
    let label = |power: f32| match power {
        p if level <= 0.0 || p <= silence => Voice::Silent,
        p if p >= voice => Voice::Voiced,
        _ => Voice::Unknown,
    };
    sound.iter().map(|frame| label(frame.iter().sum())).collect()
}

/// Returns the target and the weight of each step of `frames_per_step` frames: 1 if at least half
/// of its frames are voice, 0 if all are silence. Other steps have weight 0.
pub fn of_steps(frames: &[Voice], frames_per_step: usize) -> impl Iterator<Item = (f32, f32)> {
    frames.chunks_exact(frames_per_step).map(move |step| {
        let count = |voice| step.iter().filter(|&&v| v == voice).count();
        if 2 * count(Voice::Voiced) >= frames_per_step {
            (1.0, 1.0)
        } else if count(Voice::Silent) == frames_per_step {
            (0.0, 1.0)
        } else {
            (0.0, 0.0)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeling_shared::frontend::MEL_CHANNELS;

    #[test]
    fn levels_separate_voice_from_silence() {
        let frame = |db: f32| [10f32.powf(db / 10.0); MEL_CHANNELS];
        let sound: Powers = [60.0, 60.0, 45.0, 41.0, 35.0, 31.0, 29.0, 0.0].map(frame).to_vec();
        // The loudest third are three of eight frames: 58.3 dB on average.
        let [v, u, s] = [Voice::Voiced, Voice::Unknown, Voice::Silent];
        assert_eq!(of_clip(&sound), [v, v, v, v, u, u, u, s]);
        assert_eq!(of_clip(&vec![[0.0; MEL_CHANNELS]; 2]), [s, s]);
        assert!(of_clip(&Powers::new()).is_empty());
    }

    #[test]
    fn a_step_is_what_its_frames_are() {
        let [v, u, s] = [Voice::Voiced, Voice::Unknown, Voice::Silent];
        let frames = [v, v, s, u, s, s, s, s, s, v, s, s, u, u, u, u, s];
        let steps: Vec<_> = of_steps(&frames, 4).collect();
        assert_eq!(steps, [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (0.0, 0.0)]);
    }
}
