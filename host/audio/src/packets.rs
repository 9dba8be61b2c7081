//! Decodes compressed sound: a container yields packets, and a codec decodes them one by one.
//!
//! Shapes: file in, one channel `(frames)` of f32 in i16 steps out, packet by packet.

use std::{
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use symphonia::{
    core::{
        codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known},
        errors::Error as Symphonia,
        formats::{FormatReader, Track, TrackType, probe::Hint, probe::Probe},
        io::MediaSourceStream,
    },
    default::formats,
};

use super::{
    Error, FULL_SCALE, FileFormat, FileProblem, Frames, Result,
    checks::{check_rate, downmix, no_samples, not_a_number},
    format::Format,
    mp4,
    opus::{self, OpusTrack},
    source::{Failure, Source},
    whole,
};

/// Largest difference between stated and decoded length that is not a cut, in seconds. Matroska
/// counts in milliseconds, and encoders pad.
const LENGTH_SLACK_S: f64 = 0.15;

/// Decoder for the packets of a container.
pub(super) struct PacketFrames {
    path: PathBuf,
    container: Box<dyn FormatReader>,
    codec: Codec,
    track: u32,
    /// Format of the sound.
    pub(super) format: FileFormat,
    /// Sample rate in Hz, from the first packet.
    pub(super) rate: u32,
    channels: usize,
    interleaved: Vec<f32>,
    /// Samples decoded to find the rate, and not returned yet.
    first: Vec<f32>,
    /// Number of frames decoded so far.
    decoded: u64,
    /// Frames to drop at the beginning, and the number that may follow.
    skip: u64,
    limit: Option<u64>,
    /// Length of the sound that the container states, in seconds.
    promised_s: Option<f64>,
    shortfall: Option<String>,
    /// Error in a packet that may have been the last one.
    last_error: Option<String>,
    failure: Failure,
    /// True if the demuxer reports the plain end of the file as an error.
    ends_with_error: bool,
    ended: bool,
}

enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<OpusTrack>),
}

impl PacketFrames {
    /// Opens a file, and decodes up to the first sound.
    ///
    /// # Errors
    /// [`Error::File`] if it holds no sound that can be decoded; an I/O error if it cannot be
    /// read.
    pub(super) fn open(path: &Path, source: Source, format: Format) -> Result<Self> {
        let cut = cut(path, &source, format)?;
        let stream = source.again(path)?.unseekable();
        let mut frames = match Self::start(path, source, format) {
            Ok(frames) => frames,
            Err(error) => {
                // A demuxer that can seek rejects a file whose header promises more than is there.
                // One that cannot seek reads on until the end.
                let again =
                    (!matches!(error, Error::Core(_))).then(|| Self::start(path, stream, format));
                let Some(Ok(mut frames)) = again else { return Err(error) };
                let what = "its header promises more than is there";
                frames.shortfall.get_or_insert_with(|| what.to_owned());
                frames
            }
        };
        frames.shortfall = cut.or(frames.shortfall);
        Ok(frames)
    }

    /// Decodes up to the first sound.
    fn start(path: &Path, source: Source, format: Format) -> Result<Self> {
        let (failure, index) = (source.failure(), source.again(path)?);
        let opened = guarded(path, || Self::begin(path, source, format, index));
        let mut frames = opened.map_err(|e| failure.or(path, e))?;
        let mut first = Vec::new();
        while first.is_empty() && frames.next_packet(&mut first)? {}
        if first.is_empty() {
            return Err(match frames.last_error.take() {
                Some(error) => damaged(path, 0, &error),
                None => no_samples(path),
            });
        }
        frames.first = first;
        Ok(frames)
    }

    fn begin(path: &Path, source: Source, format: Format, mut index: Source) -> Result<Self> {
        let failure = source.failure();
        let refused = |e: Symphonia| FileProblem::undecodable(refusal(format, &e)).of(path);
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let container = probe(format)
            .probe(&Hint::new(), stream, Default::default(), Default::default())
            .map_err(refused)?;
        let no_track = || FileProblem::NoSound.of(path);
        let track = container.default_track(TrackType::Audio).ok_or_else(no_track)?;
        let parameters =
            track.codec_params.as_ref().and_then(|p| p.audio()).ok_or_else(no_track)?;
        let codec = Codec::new(path, parameters, format)?;
        let (stored, id) = (stored_as(parameters, format), track.id);
        let promised_s = stated_length(container.as_ref(), track, stored, format);
        let edit = match format {
            Format::Mp4 => mp4::edit(&mut index, id).map_err(Error::io(path, "read"))?,
            _ => mp4::Edit::default(),
        };
        let rate = match &codec {
            Codec::Opus(_) => opus::RATE,
            Codec::Symphonia(decoder) => decoder.codec_params().sample_rate.unwrap_or(0),
        };
        let frames = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
        let pre_skip = match &codec {
            Codec::Opus(track) => track.pre_skip,
            Codec::Symphonia(_) => 0,
        };
        Ok(Self {
            path: path.to_owned(),
            container,
            codec,
            track: id,
            format: stored,
            rate: 0,
            channels: 0,
            interleaved: Vec::new(),
            first: Vec::new(),
            decoded: 0,
            skip: frames(edit.skip_s).max(pre_skip),
            limit: edit.length_s.map(frames).filter(|&limit| limit > 0),
            promised_s,
            shortfall: None,
            last_error: None,
            failure,
            ends_with_error: format == Format::Stream,
            ended: false,
        })
    }

    /// Decodes a packet, guarded against panics. Returns false at the end.
    fn next_packet(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let (path, failure) = (self.path.clone(), self.failure.clone());
        let result = guarded(&path, || self.packet(out));
        self.ended = !matches!(result, Ok(true));
        result.map_err(|error| failure.or(&path, error))
    }

    fn packet(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        let packet = match self.container.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return self.finish(),
            // Some demuxers report the plain end of the file as an error.
            Err(Symphonia::IoError(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                if !self.ends_with_error {
                    self.last_error.get_or_insert_with(|| e.to_string());
                }
                return self.finish();
            }
            Err(e) => return Err(damaged(&self.path, self.decoded, &e.to_string())),
        };
        if packet.track_id != self.track {
            return Ok(true);
        }
        if let Some(error) = self.last_error.take_if(|_| self.decoded > 0) {
            // Another packet follows, so the file is damaged rather than cut off.
            return Err(damaged(&self.path, self.decoded, &error));
        }
        let error = match &mut self.codec {
            Codec::Opus(track) => {
                let (channels, trim) = (track.channels, packet.trim_end.get() as usize);
                match track.decode(&packet.data) {
                    Ok(decoded) => {
                        let kept = decoded.len().saturating_sub(trim.saturating_mul(channels));
                        self.interleaved.clear();
                        let samples = decoded[..kept].iter().map(|&s| f32::from(s) / FULL_SCALE);
                        self.interleaved.extend(samples);
                        return self.push(opus::RATE, channels, out);
                    }
                    Err(e) => e.to_string(),
                }
            }
            Codec::Symphonia(decoder) => match decoder.decode(&packet) {
                Ok(buffer) => {
                    let (rate, channels) = (buffer.spec().rate(), buffer.num_planes());
                    buffer.copy_to_vec_interleaved(&mut self.interleaved);
                    return self.push(rate, channels, out);
                }
                // An MP3 cut out of a longer one starts with frames that refer to bits before the
                // cut. At the end of a file, the error means an incomplete frame.
                Err(Symphonia::DecodeError(e)) => e.to_owned(),
                Err(Symphonia::IoError(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    e.to_string()
                }
                Err(e) => return Err(damaged(&self.path, self.decoded, &e.to_string())),
            },
        };
        self.last_error = Some(error);
        Ok(true)
    }

    /// Appends the mean of the decoded channels to `out`, without the frames to leave out. Returns
    /// false once the limit is reached.
    fn push(&mut self, rate: u32, channels: usize, out: &mut Vec<f32>) -> Result<bool> {
        self.last_error = None;
        if self.channels == 0 {
            check_rate(&self.path, rate)?;
            (self.rate, self.channels) = (rate, channels);
        }
        if channels == 0 || (rate, channels) != (self.rate, self.channels) {
            let reason = format!(
                "the sound changes from {} Hz, {} channels to {rate} Hz, {channels} channels",
                self.rate, self.channels
            );
            return Err(FileProblem::undecodable(reason).of(&self.path));
        }
        let before = self.decoded;
        let frames = (self.interleaved.len() / channels) as u64;
        self.decoded += frames;
        let skipped = self.skip.saturating_sub(before).min(frames);
        let end = self.limit.map_or(u64::MAX, |limit| self.skip.saturating_add(limit));
        let kept = end.saturating_sub(before).min(frames).saturating_sub(skipped);
        let part = &self.interleaved[skipped as usize * channels..][..kept as usize * channels];
        let from = out.len();
        out.extend(downmix(part, channels).map(|x| x * FULL_SCALE));
        if let Some(at) = out[from..].iter().position(|x| !x.is_finite()) {
            let at = before + skipped + at as u64;
            return Err(not_a_number(&self.path, usize::try_from(at).unwrap_or(usize::MAX)));
        }
        Ok(before + frames < end)
    }

    /// Compares the decoded length with the stated one, and records what is missing. Returns false.
    fn finish(&mut self) -> Result<bool> {
        let found_s = self.decoded as f64 / f64::from(self.rate.max(1));
        let is_exact = self.format == FileFormat::Flac;
        let slack_s = if is_exact { 0.0 } else { LENGTH_SLACK_S };
        let promised_s = self.promised_s.filter(|&promised_s| promised_s > found_s + slack_s);
        if let (None, Some(promised_s)) = (&self.shortfall, promised_s) {
            self.shortfall = Some(match is_exact {
                true => format!(
                    "{} of {:.0} samples per channel are there",
                    self.decoded,
                    promised_s * f64::from(self.rate)
                ),
                false => format!("{found_s:.2} of {promised_s:.2} s are there"),
            });
        }
        if self.decoded > 0 && self.last_error.is_some() {
            self.shortfall.get_or_insert_with(|| "its last frame is not whole".to_owned());
        }
        Ok(false)
    }
}

impl Frames for PacketFrames {
    fn next(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        if !self.first.is_empty() {
            out.append(&mut self.first);
            return Ok(true);
        }
        self.next_packet(out)
    }

    fn shortfall(&self) -> Option<String> {
        self.shortfall.clone()
    }
}

impl Codec {
    fn new(path: &Path, parameters: &AudioCodecParameters, format: Format) -> Result<Self> {
        if parameters.codec == well_known::CODEC_ID_OPUS {
            let header = parameters.extra_data.as_deref().unwrap_or_default();
            let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
            let track = OpusTrack::new(header, format == Format::Mp4, channels);
            let refused = |e| FileProblem::undecodable(format!("cannot be decoded: Opus: {e}"));
            return track.map(|track| Self::Opus(Box::new(track))).map_err(|e| refused(e).of(path));
        }
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|e| FileProblem::undecodable(unsupported_codec(parameters, &e)).of(path))?;
        Ok(Self::Symphonia(decoder))
    }
}

/// Describes a codec that is not supported.
fn unsupported_codec(parameters: &AudioCodecParameters, error: &Symphonia) -> String {
    let name = match parameters.codec {
        well_known::CODEC_ID_AAC => "this kind of AAC (not Low Complexity)",
        well_known::CODEC_ID_AC3 => "AC-3",
        well_known::CODEC_ID_EAC3 => "E-AC-3",
        _ => return format!("cannot be decoded: {error}"),
    };
    format!("{name} is not supported")
}

fn refusal(format: Format, error: &Symphonia) -> String {
    let text = error.to_string();
    match format {
        Format::Mp4 if text.contains("moov") => {
            "the file is truncated: its index, which is written last, is missing".to_owned()
        }
        _ => format!("cannot be decoded: {text}"),
    }
}

fn damaged(path: &Path, at: u64, error: &str) -> Error {
    FileProblem::undecodable(format!("the file is damaged after {at} samples: {error}")).of(path)
}

/// Runs third-party parsers of untrusted data behind a guard. If one panics on a broken file, one
/// clip is lost and not a night of training.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let reason = "the file is damaged so badly that the decoder failed";
        Err(FileProblem::undecodable(reason).of(path))
    })
}

/// Returns the demuxers that may accept a file of this format.
fn probe(format: Format) -> Probe {
    let mut probe = Probe::default();
    match format {
        Format::Adts => probe.register_format::<formats::AdtsReader<'_>>(),
        Format::Mp4 => probe.register_format::<formats::IsoMp4Reader<'_>>(),
        Format::Matroska => probe.register_format::<formats::MkvReader<'_>>(),
        Format::Aiff => probe.register_format::<formats::AiffReader<'_>>(),
        Format::Caf => probe.register_format::<formats::CafReader<'_>>(),
        Format::Riff => probe.register_format::<formats::WavReader<'_>>(),
        _ => {
            probe.register_format::<formats::FlacReader<'_>>();
            probe.register_format::<formats::MpaReader<'_>>();
            probe.register_format::<formats::OggReader<'_>>();
        }
    }
    probe
}

fn stored_as(parameters: &AudioCodecParameters, format: Format) -> FileFormat {
    match parameters.codec {
        well_known::CODEC_ID_FLAC => FileFormat::Flac,
        well_known::CODEC_ID_VORBIS => FileFormat::Ogg,
        well_known::CODEC_ID_OPUS => FileFormat::Opus,
        well_known::CODEC_ID_AAC => FileFormat::Aac,
        well_known::CODEC_ID_ALAC => FileFormat::Alac,
        well_known::CODEC_ID_MP1 | well_known::CODEC_ID_MP2 | well_known::CODEC_ID_MP3 => {
            FileFormat::Mp3
        }
        _ => match format {
            Format::Aiff => FileFormat::Aiff,
            Format::Caf => FileFormat::Caf,
            Format::Riff => FileFormat::Wav,
            _ => FileFormat::Other,
        },
    }
}

/// Length in seconds, where a container states it reliably; MP3 and Ogg only estimate it.
fn stated_length(
    container: &dyn FormatReader,
    track: &Track,
    stored: FileFormat,
    format: Format,
) -> Option<f64> {
    let reliable = stored == FileFormat::Flac && format == Format::Stream
        || matches!(format, Format::Mp4 | Format::Aiff | Format::Caf | Format::Riff);
    let rate = track.codec_params.as_ref().and_then(|p| p.audio()).and_then(|p| p.sample_rate);
    let frames = track.num_frames.filter(|&frames| frames > 0 && reliable);
    let by_frames = frames.zip(rate).map(|(frames, rate)| frames as f64 / f64::from(rate.max(1)));
    let by_media = || {
        let info = container.media_info();
        let (unit, length) = info.time_base.zip(info.duration)?;
        let seconds =
            length.get() as f64 * f64::from(unit.numer.get()) / f64::from(unit.denom.get());
        (format == Format::Matroska).then_some(seconds)
    };
    by_frames.or_else(by_media)
}

/// Describes what is missing at the end, for formats whose decoder does not notice.
fn cut(path: &Path, source: &Source, format: Format) -> Result<Option<String>> {
    if !matches!(format, Format::Stream | Format::Adts | Format::Mp4) {
        return Ok(None);
    }
    let mut file = BufReader::with_capacity(1 << 16, source.again(path)?);
    if format == Format::Mp4 {
        return mp4::is_cut(&mut file, source.length()).map_err(Error::io(path, "read"));
    }
    let cut = match (format, starts_with_ogg(&mut file)) {
        (Format::Adts, _) => whole::adts_is_cut(&mut file),
        (_, Ok(true)) => whole::ogg_is_cut(&mut file),
        (_, Ok(false)) => whole::mp3_is_cut(&mut file),
        (_, Err(e)) => Err(e),
    };
    cut.map_err(Error::io(path, "read"))
}

fn starts_with_ogg(file: &mut BufReader<Source>) -> io::Result<bool> {
    use io::BufRead;
    Ok(file.fill_buf()?.starts_with(b"OggS"))
}
