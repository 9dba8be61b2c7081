//! Reads audio files block by block, so that memory does not grow with their length.

use std::path::{Path, PathBuf};

use super::{
    Error, FileFormat, FileProblem, Frames, Member, Range, Recording, Result,
    checks::no_samples,
    format::Format,
    layout::{self, Found},
    packets::PacketFrames,
    pcm::PcmFrames,
    resample,
    source::Source,
    to_i16,
};

/// Iterator over a recording, decoded in blocks of 16 kHz mono.
///
/// Joined, the blocks equal the result of [`read_recording`](super::read_recording). An error ends
/// the iteration.
///
/// ```
/// use wakeling_audio::AudioReader;
///
/// # let path = std::env::temp_dir().join(format!("wakeling-reader-{}.wav", std::process::id()));
/// # wakeling_audio::write_wav(&path, &[7; 40_000])?;
/// // `path` is a file of any supported format; memory does not grow with its length.
/// let mut samples = 0;
/// for block in AudioReader::open(&path)? {
///     samples += block?.len();
/// }
/// assert_eq!(samples, 40_000); // at 16 kHz, whatever the file's rate is
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_audio::Error>(())
/// ```
pub struct AudioReader {
    path: PathBuf,
    /// Name inside the archive.
    member: Option<String>,
    frames: Box<dyn Frames>,
    part: Part,
    resampler: resample::Stream,
    rate_hz: u32,
    format: FileFormat,
    decoded: Vec<f32>,
    resampled: Vec<f32>,
    delivered: u64,
    ended: bool,
}

/// Selected part of the decoded frames.
struct Part {
    range: Range,
    skip: u64,
    left: u64,
    /// Number of frames decoded so far.
    seen: u64,
}

impl AudioReader {
    /// Opens a whole file.
    ///
    /// # Errors
    /// As [`read`](super::read).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::of_part(path.as_ref(), None, Range::ALL)
    }

    /// Opens `duration_s` seconds from `offset_s` on, of a file or of a file inside an archive.
    ///
    /// # Errors
    /// As [`read_recording`](super::read_recording).
    pub fn open_part(
        path: impl AsRef<Path>,
        member: Option<&Member>,
        offset_s: f64,
        duration_s: Option<f64>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let range = Range::checked(path, offset_s, duration_s)?;
        Self::of_part(path, member, range).map_err(|e| e.inside(member.map(|m| m.name.as_str())))
    }

    pub(super) fn of_part(path: &Path, member: Option<&Member>, range: Range) -> Result<Self> {
        let mut source = Source::open(path, member)?;
        let (format, magic) = Format::detect(&mut source).map_err(Error::io(path, "read"))?;
        let mut part = Part { range, skip: 0, left: u64::MAX, seen: 0 };
        let (frames, rate_hz, format): (Box<dyn Frames>, _, _) = match format {
            Format::Unsupported(name) => {
                let reason = format!("{name} is not supported");
                return Err(FileProblem::undecodable(reason).of(path));
            }
            Format::Unknown => return Err(not_audio(path, &magic)),
            Format::Riff | Format::W64 | Format::Au => {
                let packets = match layout::find(path, &mut source, format)? {
                    Found::Pcm(layout) => {
                        let stored =
                            if format == Format::Au { FileFormat::Au } else { FileFormat::Wav };
                        let rate = layout.rate;
                        let frames = range.frames(path, rate, layout.frames)?;
                        part.left = frames.end - frames.start;
                        let frames = PcmFrames::new(path, source, layout, frames)?;
                        return Self::new(path, member, Box::new(frames), part, (rate, stored));
                    }
                    Found::Mpeg { at, bytes } => {
                        let section = source.section(at, bytes).map_err(Error::io(path, "read"))?;
                        PacketFrames::open(path, section, Format::Stream)?
                    }
                    Found::Adpcm => PacketFrames::open(path, source, Format::Riff)?,
                };
                let (rate, format) = (packets.rate, packets.format);
                (Box::new(packets), rate, format)
            }
            _ => {
                let packets = PacketFrames::open(path, source, format)?;
                let (rate, format) = (packets.rate, packets.format);
                (Box::new(packets), rate, format)
            }
        };
        (part.skip, part.left) = range.bounds(rate_hz);
        Self::new(path, member, frames, part, (rate_hz, format))
    }

    fn new(
        path: &Path,
        member: Option<&Member>,
        frames: Box<dyn Frames>,
        part: Part,
        (rate_hz, format): (u32, FileFormat),
    ) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            member: member.map(|m| m.name.clone()),
            frames,
            part,
            resampler: resample::Stream::new(path, rate_hz)?,
            rate_hz,
            format,
            decoded: Vec::new(),
            resampled: Vec::new(),
            delivered: 0,
            ended: false,
        })
    }

    /// Returns the sample rate of the file, in Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Returns the format of the file.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// Describes what is missing at the end of a file that was cut off. Known once the last block
    /// was returned; the blocks hold the sound that is present.
    pub fn shortfall(&self) -> Option<String> {
        let reached_end = self.ended && self.part.left > 0;
        let is_pcm_end = self.ended && self.part.range.duration_s.is_none();
        self.frames.shortfall().filter(|_| reached_end || is_pcm_end)
    }

    /// Reads the remaining blocks into one recording.
    ///
    /// # Errors
    /// As [`read_recording`](super::read_recording).
    pub fn collect_recording(mut self) -> Result<Recording> {
        let mut samples = Vec::new();
        for block in self.by_ref() {
            samples.append(&mut block?);
        }
        let (rate_hz, format, shortfall) = (self.rate_hz, self.format, self.shortfall());
        Ok(Recording { samples, rate_hz, format, shortfall })
    }

    /// Returns the next block, which is empty at the end.
    fn block(&mut self) -> Result<Vec<i16>> {
        loop {
            self.decoded.clear();
            self.resampled.clear();
            let more = self.part.left > 0 && self.frames.next(&mut self.decoded)?;
            if more || !self.decoded.is_empty() {
                let wanted = self.part.cut(&self.decoded);
                self.resampler.push(&self.path, wanted, &mut self.resampled)?;
            }
            if !more {
                self.ended = true;
                self.resampler.finish(&self.path, &mut self.resampled)?;
                self.check_length()?;
            }
            if self.ended || !self.resampled.is_empty() {
                self.delivered += self.resampled.len() as u64;
                return Ok(to_i16(&self.resampled));
            }
        }
    }

    /// Rejects a file or part that gave no sample.
    fn check_length(&self) -> Result<()> {
        if self.delivered > 0 || !self.resampled.is_empty() {
            return Ok(());
        }
        if self.part.seen > 0 {
            self.part.range.frames(&self.path, self.rate_hz, self.part.seen)?;
        }
        Err(no_samples(&self.path))
    }
}

impl Iterator for AudioReader {
    type Item = Result<Vec<i16>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.block() {
            Ok(block) if block.is_empty() => None,
            Ok(block) => Some(Ok(block)),
            Err(error) => {
                self.ended = true;
                Some(Err(error.inside(self.member.as_deref())))
            }
        }
    }
}

impl Part {
    /// Returns the selected part of the next decoded frames.
    fn cut<'f>(&mut self, frames: &'f [f32]) -> &'f [f32] {
        self.seen += frames.len() as u64;
        let skipped = self.skip.min(frames.len() as u64);
        self.skip -= skipped;
        let rest = &frames[skipped as usize..];
        let kept = self.left.min(rest.len() as u64);
        self.left -= kept;
        &rest[..kept as usize]
    }
}

fn not_audio(path: &Path, magic: &[u8]) -> Error {
    // Keeps the message printable and short.
    let start = magic[..magic.len().min(16)].escape_ascii().to_string();
    FileProblem::NotAudio { start }.of(path)
}
