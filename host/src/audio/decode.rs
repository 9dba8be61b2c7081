//! Picks the decoder by what the file holds, and decodes the compressed formats.
//!
//! The name is not asked: a `.wav` that is an MP3 inside is common, and an MP3 decoder finds
//! "frames" in any noise. Shapes: file in, one channel `(frames)` of f32 in i16 steps out.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error as Symphonia,
    formats::{FormatReader, TrackType, probe::Hint},
    io::MediaSourceStream,
};

use super::{
    Decoded, FileFormat, Member, Range,
    checks::{CONVERT, check_rate, cut_off, downmix, no_samples, not_a_number, truncated},
    wav, whole,
};
use crate::{Error, Result};

/// Bytes looked at to tell the format. The first Ogg page names its codec within 36 bytes.
const MAGIC_BYTES: usize = 64;

/// The units of an i16 step in a decoder's full scale of 1.
const FULL_SCALE: f32 = 32_768.0;

/// Decodes and down-mixes the given part of a file, or of a file inside an archive.
pub(super) fn decode(path: &Path, member: Option<&Member>, range: Range) -> Result<Decoded> {
    let (mut file, length) = match member {
        Some(member) => member_bytes(path, member)?,
        None => open(path)?,
    };
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    file.by_ref()
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut magic)
        .map_err(Error::io(path, "read"))?;
    file.rewind().map_err(Error::io(path, "read"))?;
    match Format::of(&magic) {
        Format::Wav => wav::decode(path, file, length, range),
        Format::Compressed => {
            // Whole, so that a disk that fails is told from a file that is damaged.
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
            let cut = if magic.starts_with(b"OggS") {
                whole::ogg_is_cut(&bytes)
            } else {
                whole::mp3_is_cut(&bytes)
            };
            let decoded = guarded(path, bytes, range);
            match cut {
                // A decoder that refuses knows better what is wrong.
                Some(what) if decoded.is_ok() => Err(cut_off(path, &what)),
                _ => decoded,
            }
        }
        Format::Unsupported(name) => {
            Err(Error::input(path, format!("{name} is not supported"), CONVERT))
        }
        Format::Unknown => Err(Error::input(
            path,
            format!("this is not audio: it starts with \"{}\"", excerpt(&magic)),
            "supported are WAV, FLAC, Ogg Vorbis and MP3; convert it or leave it out",
        )),
    }
}

/// Opens a regular file that is not empty; anything else could block or never end.
fn open(path: &Path) -> Result<(Bytes, u64)> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path, "read"))?;
    if metadata.is_dir() {
        return Err(Error::input(
            path,
            "this is a folder, and an audio file is expected",
            "name a file, or open the folder as a corpus",
        ));
    }
    if !metadata.is_file() {
        return Err(Error::input(
            path,
            "this is a device or a pipe, and an audio file is expected",
            "record to a file first",
        ));
    }
    if metadata.len() == 0 {
        return Err(Error::input(
            path,
            "the file is empty (0 bytes)",
            "record or copy it again, or leave it out",
        ));
    }
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    Ok((Bytes::File(file), metadata.len()))
}

/// Reads a file out of an archive. What the archive promises and does not hold is an error.
fn member_bytes(path: &Path, member: &Member) -> Result<(Bytes, u64)> {
    let mut archive = File::open(path).map_err(Error::io(path, "read"))?;
    archive.seek(SeekFrom::Start(member.offset)).map_err(Error::io(path, "read"))?;
    let mut bytes = Vec::new();
    archive.take(member.length).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    let found = bytes.len() as u64;
    if found < member.length {
        return Err(Error::input(
            path,
            format!("the archive ends after {found} of the {} bytes of this file", member.length),
            "copy the archive again, or leave it out",
        ));
    }
    if bytes.is_empty() {
        return Err(Error::input(path, "the file is empty (0 bytes)", "leave it out"));
    }
    Ok((Bytes::Memory(Cursor::new(bytes)), found))
}

/// Where encoded bytes come from.
pub(super) enum Bytes {
    File(File),
    Memory(Cursor<Vec<u8>>),
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Bytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Memory(bytes) => bytes.seek(to),
        }
    }
}

enum Format {
    Wav,
    Compressed,
    Unsupported(&'static str),
    Unknown,
}

impl Format {
    fn of(magic: &[u8]) -> Self {
        let at = |from: usize, what: &[u8]| magic.get(from..).is_some_and(|m| m.starts_with(what));
        let has = |what: &[u8]| magic.windows(what.len()).any(|w| w == what);
        match magic {
            _ if at(0, b"RIFF") && at(8, b"WAVE") => Self::Wav,
            _ if at(0, b"RF64") || at(0, b"RIFX") => Self::Unsupported("this WAV variant"),
            _ if at(0, b"OggS") && has(b"OpusHead") => Self::Unsupported("Ogg Opus"),
            _ if at(0, b"OggS") && has(b"Speex") => Self::Unsupported("Ogg Speex"),
            _ if at(0, b"fLaC") || at(0, b"OggS") || at(0, b"ID3") => Self::Compressed,
            _ if at(0, b"FORM") => Self::Unsupported("AIFF"),
            _ if at(4, b"ftyp") => Self::Unsupported("MP4 / M4A"),
            _ if at(0, b"\x1a\x45\xdf\xa3") => Self::Unsupported("Matroska / WebM"),
            _ if at(0, b"caff") => Self::Unsupported("CAF"),
            // MPEG audio: eleven bits of sync, then a layer that is not the reserved 00 (which
            // is what AAC in ADTS has).
            [0xff, second, ..] if second & 0xe0 == 0xe0 && second & 0x06 != 0 => Self::Compressed,
            [0xff, second, ..] if second & 0xf6 == 0xf0 => Self::Unsupported("AAC"),
            _ => Self::Unknown,
        }
    }
}

/// The first bytes for a message: printable, and short.
fn excerpt(magic: &[u8]) -> String {
    magic[..magic.len().min(16)].escape_ascii().to_string()
}

/// Runs the compressed decoders behind a guard. They are other people's parsers of hostile data;
/// should one ever panic on a broken file, one clip is lost and not a night of training.
fn guarded(path: &Path, bytes: Vec<u8>, range: Range) -> Result<Decoded> {
    let run = std::panic::AssertUnwindSafe(|| compressed(path, bytes, range));
    std::panic::catch_unwind(run).unwrap_or_else(|_| {
        Err(Error::input(path, "the file is damaged so badly that the decoder failed", CONVERT))
    })
}

fn compressed(path: &Path, bytes: Vec<u8>, range: Range) -> Result<Decoded> {
    let damaged = |e: Symphonia| Error::input(path, format!("cannot be decoded: {e}"), CONVERT);
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, Default::default(), Default::default())
        .map_err(damaged)?;
    let no_track = || Error::input(path, "there is no audio track inside", CONVERT);
    let track = format.default_track(TrackType::Audio).ok_or_else(no_track)?;
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio()).ok_or_else(no_track)?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(damaged)?;
    // FLAC states its exact length; the other formats only estimate it.
    let is_flac = parameters.codec == symphonia::core::codecs::audio::well_known::CODEC_ID_FLAC;
    let promised = track.num_frames.filter(|&n| is_flac && n > 0);
    let id = track.id;
    let file_format = if is_flac {
        FileFormat::Flac
    } else if parameters.codec == symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS {
        FileFormat::Ogg
    } else {
        FileFormat::Mp3
    };
    let mut mono = Mono { samples: Vec::new(), rate: 0, channels: 0, scratch: Vec::new() };
    decode_packets(path, format.as_mut(), decoder.as_mut(), id, &mut mono)?;
    let found = mono.samples.len() as u64;
    if let Some(promised) = promised.filter(|&n| n > found) {
        return Err(truncated(path, found, promised));
    }
    mono.finish(path, file_format, range)
}

fn decode_packets(
    path: &Path,
    format: &mut dyn FormatReader,
    decoder: &mut dyn AudioDecoder,
    track: u32,
    mono: &mut Mono,
) -> Result<()> {
    let broken = |mono: &Mono, e: Symphonia| {
        let at = mono.samples.len();
        Error::input(path, format!("the file is damaged after {at} samples: {e}"), CONVERT)
    };
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            // Some demuxers report the plain end of the file as an error; a FLAC that ends early
            // is caught by its stated length.
            Err(Symphonia::IoError(e)) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(broken(mono, e)),
        };
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(buffer) => mono.push(path, &buffer)?,
            // An MP3 cut out of a longer one starts with frames that refer to bits before the cut.
            Err(Symphonia::DecodeError(_)) if mono.samples.is_empty() => {}
            Err(e) => return Err(broken(mono, e)),
        }
    }
}

/// Collects the mean of the channels.
struct Mono {
    samples: Vec<f32>,
    rate: u32,
    channels: usize,
    scratch: Vec<f32>,
}

impl Mono {
    fn push(
        &mut self,
        path: &Path,
        buffer: &symphonia::core::audio::GenericAudioBufferRef<'_>,
    ) -> Result<()> {
        let (rate, channels) = (buffer.spec().rate(), buffer.num_planes());
        if self.channels == 0 {
            check_rate(path, rate)?;
            (self.rate, self.channels) = (rate, channels);
        }
        if channels == 0 || (rate, channels) != (self.rate, self.channels) {
            return Err(Error::input(
                path,
                format!(
                    "the sound changes from {} Hz, {} channels to {rate} Hz, {channels} channels",
                    self.rate, self.channels
                ),
                CONVERT,
            ));
        }
        buffer.copy_to_vec_interleaved(&mut self.scratch);
        self.samples.extend(downmix(&self.scratch, channels).map(|x| x * FULL_SCALE));
        Ok(())
    }

    fn finish(mut self, path: &Path, format: FileFormat, range: Range) -> Result<Decoded> {
        if self.samples.is_empty() {
            return Err(no_samples(path));
        }
        if let Some(at) = self.samples.iter().position(|x| !x.is_finite()) {
            return Err(not_a_number(path, at));
        }
        let part = range.frames(path, self.rate, self.samples.len() as u64)?;
        self.samples.truncate(part.end as usize);
        self.samples.drain(..part.start as usize);
        Ok(Decoded { samples: self.samples, rate: self.rate, format })
    }
}
