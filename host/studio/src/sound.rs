//! Sound of the browser: a take, the room, live detection, or only its level.

use serde_json::{Value, json};

use super::{
    request::Target, session::Session, silence::Silence, take_image, takes::is_digital_silence,
};
use crate::{Error, Result};
use wakeling_audio::{SAMPLE_RATE, level::Level, live::Live as Resampler};
use wakeling_capture::{
    folder::{ClipMetadata, Folder},
    take::Phase,
};

/// Seconds of room sound per file, the most that is lost when the program is killed.
const ROOM_FILE_S: usize = 10;

impl Session {
    /// Processes sound from the browser: little-endian 16-bit samples of one channel.
    pub(super) fn sound(&mut self, target: &Target<'_>, body: &[u8]) -> Result<Value> {
        let rate = target.number("rate").unwrap_or(SAMPLE_RATE);
        if self.resampler.as_ref().is_none_or(|(known, _)| *known != rate) {
            self.resampler = Some((rate, Resampler::new(rate, 1)?));
        }
        let samples = body.as_chunks::<2>().0.iter().map(|b| f32::from(i16::from_le_bytes(*b)));
        let (samples, mut pcm) = (samples.collect::<Vec<f32>>(), Vec::new());
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.push(&samples, &mut pcm);
        }
        let level = Level::of(&pcm);
        let silent_s = self.silence.push(&pcm);
        let mut value = match target.raw("for") {
            Some("take") => self.push_take(&pcm)?,
            Some("room") => self.push_room(&pcm)?,
            Some("live") => self.live()?.push(&pcm),
            Some("level") => json!({}),
            _ => return Err(Error::StraySound),
        };
        value["peak_db"] = json!(level.peak_db);
        value["clipped"] = json!(level.is_clipped);
        value["silent_s"] = json!(silent_s);
        Ok(value)
    }

    fn push_take(&mut self, pcm: &[i16]) -> Result<Value> {
        let word = self.word.as_mut().ok_or(Error::NoTakeBegun)?;
        let phase = word.take.as_mut().ok_or(Error::NoTakeBegun)?.push(pcm);
        let (name, count) = match phase {
            Phase::Counting(count) => ("counting", count),
            Phase::Waiting => ("waiting", 0),
            Phase::Speaking => ("speaking", 0),
            Phase::Over => ("over", 0),
        };
        let mut value = json!({ "phase": name, "count": count });
        if phase == Phase::Over {
            value["take"] = word.finish_take()?.map_or(Value::Null, take_image::of_recorded);
        }
        Ok(value)
    }

    fn push_room(&mut self, pcm: &[i16]) -> Result<Value> {
        let room = self.room.as_mut().ok_or(Error::NoPhrase)?;
        self.room_pcm.extend(pcm);
        let file = ROOM_FILE_S * SAMPLE_RATE as usize;
        while self.room_pcm.len() >= file {
            keep_room(room, &self.room_pcm[..file])?;
            self.room_pcm.drain(..file);
        }
        let pending = self.room_pcm.len() as f64 / f64::from(SAMPLE_RATE);
        Ok(json!({ "seconds": room.seconds() + pending }))
    }

    /// Stores the remaining samples of room sound that do not fill a file. Less than a second is
    /// dropped.
    pub(super) fn room_ends(&mut self) -> Result<()> {
        self.silence = Silence::default();
        if let (Some(room), true) = (&mut self.room, self.room_pcm.len() >= SAMPLE_RATE as usize) {
            keep_room(room, &self.room_pcm)?;
        }
        self.room_pcm.clear();
        Ok(())
    }
}

/// Stores room sound. Sound of a muted microphone is dropped, since it would make the report look
/// too good.
fn keep_room(room: &mut Folder, pcm: &[i16]) -> Result<()> {
    if is_digital_silence(pcm) {
        return Ok(());
    }
    room.keep(pcm, &ClipMetadata { kind: "room".into(), ..ClipMetadata::default() })?;
    Ok(())
}
