//! Parses the chunks of uncompressed files to find the samples and their format.
//!
//! RIFF and RF64 follow EBU Tech 3306 and Microsoft's `mmreg.h` and `ksmedia.h`. Wave64 is Sony's
//! format, with a GUID and a 64-bit size per chunk. AU is the format of Sun and NeXT.

use std::{
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use super::{
    Error, FileProblem, Result,
    checks::{check_rate, no_samples, truncated},
    format::Format,
    pcm::{Coding, PcmLayout, integer},
    source::Source,
};

/// Bytes of `RIFF size WAVE`.
const RIFF_HEADER: u64 = 12;
/// Bytes of a chunk's name and size.
const CHUNK_HEADER: u64 = 8;
/// Bytes of the Wave64 header and of its chunk headers, with GUIDs as names.
const W64_HEADER: u64 = 40;
const W64_CHUNK_HEADER: u64 = 24;
/// Bytes of an AU header without its text.
const AU_HEADER: u64 = 24;
/// Bytes of `WAVEFORMATEXTENSIBLE`, the longest format chunk that is interpreted.
const FMT_MAX: usize = 40;
/// Largest number of chunks that is searched; a real file has a handful.
const CHUNKS_MAX: usize = 10_000;
/// Smallest data length that may be a placeholder. A program that streams cannot come back to fill
/// in the real one (ffmpeg: all ones; sox: 2^31 − 1 less the header).
const UNKNOWN_LENGTH: u64 = 0x7fff_f000;

/// Sound found in a RIFF, Wave64 or AU file.
pub(super) enum Found {
    /// Uncompressed sound.
    Pcm(PcmLayout),
    /// MPEG stream of `bytes` bytes at offset `at`.
    Mpeg { at: u64, bytes: u64 },
    /// ADPCM, whose data the WAV demuxer finds.
    Adpcm,
}

/// Finds the sound in a file of the given format.
///
/// # Errors
/// [`Error::File`] if there is no sound, or none that is supported; an I/O error if the file
/// cannot be read.
pub(super) fn find(path: &Path, source: &mut Source, format: Format) -> Result<Found> {
    let length = source.length();
    let mut file = BufReader::new(source);
    let found = match format {
        Format::Au => au(path, &mut file, length)?,
        Format::W64 => Chunks::w64().find(path, &mut file, length)?,
        _ => Chunks::riff(path, &mut file)?.find(path, &mut file, length)?,
    };
    match found {
        Raw::Other(found) => Ok(found),
        Raw::Pcm { stored, data_at, promised } => {
            let coding = stored.coding(path, &mut file, data_at, promised.min(length - data_at))?;
            let (channels, rate) = (stored.channels, stored.rate);
            let frame_bytes = (coding.bytes() * channels) as u64;
            let (frames, shortfall) = whole_frames(path, length - data_at, promised, frame_bytes)?;
            Ok(Found::Pcm(PcmLayout { coding, channels, rate, data_at, frames, shortfall }))
        }
    }
}

/// Returns the number of whole frames present, and a description of what is missing.
fn whole_frames(
    path: &Path,
    present: u64,
    promised: u64,
    frame_bytes: u64,
) -> Result<(u64, Option<String>)> {
    let unfilled = (UNKNOWN_LENGTH..=u64::from(u32::MAX)).contains(&promised);
    let streamed = promised == u64::MAX || unfilled && promised > present;
    let promised = if streamed { present } else { promised };
    let frames = promised.min(present) / frame_bytes;
    if frames == 0 {
        return Err(match promised {
            0 => no_samples_or_unfinished(path, present),
            _ => truncated(path, present / frame_bytes, promised / frame_bytes),
        });
    }
    if promised > present {
        let promised = promised / frame_bytes;
        let what = format!("{frames} of {promised} samples per channel are there");
        return Ok((frames, Some(what)));
    }
    let rest = promised % frame_bytes;
    let what = format!("its last frame has {rest} of {frame_bytes} bytes");
    Ok((frames, (rest > 0).then_some(what)))
}

/// Error for a data length of zero, which an interrupted recorder leaves in front of its sound.
fn no_samples_or_unfinished(path: &Path, present: u64) -> Error {
    if present <= CHUNK_HEADER {
        return no_samples(path);
    }
    FileProblem::Interrupted { present }.of(path)
}

/// Content of a header, before any sample is read.
enum Raw {
    Pcm { stored: Stored, data_at: u64, promised: u64 },
    Other(Found),
}

/// Sample format as the header states it.
struct Stored {
    rate: u32,
    channels: usize,
    kind: Kind,
    /// Bytes per sample.
    container: usize,
    /// Bits used per sample; 0 for all.
    valid_bits: u32,
    big: bool,
}

enum Kind {
    /// Signed integers, but unsigned in one byte.
    Int,
    /// Signed integers in one byte, as AU has them.
    SignedByte,
    Float,
    ALaw,
    MuLaw,
}

impl Stored {
    /// Determines the coding. Reads the samples if the header leaves open where in their containers
    /// the bits are.
    fn coding(
        &self,
        path: &Path,
        file: &mut (impl Read + Seek),
        data_at: u64,
        data_bytes: u64,
    ) -> Result<Coding> {
        let big = self.big;
        let refused = || {
            let (bits, bytes) = (self.valid_bits, self.container);
            unsupported(path, &format!("{bits} bits in {bytes} bytes a sample"))
        };
        let container_bits = 8 * self.container as u32;
        if self.valid_bits > container_bits {
            return Err(refused());
        }
        match (&self.kind, self.container) {
            (Kind::ALaw, 1) => Ok(Coding::ALaw),
            (Kind::MuLaw, 1) => Ok(Coding::MuLaw),
            (Kind::Float, 4) => Ok(Coding::F32 { big }),
            (Kind::Float, 8) => Ok(Coding::F64 { big }),
            (Kind::SignedByte, _) => Ok(Coding::Int { bytes: 1, bits: 8, big }),
            (Kind::Int, 1) => Ok(Coding::U8),
            (Kind::Int, bytes @ 2..=4) => {
                let is_full = self.valid_bits == 0 || self.valid_bits == container_bits;
                let bits = if is_full || self.lie_on_top(path, file, data_at, data_bytes)? {
                    container_bits
                } else {
                    self.valid_bits
                };
                Ok(Coding::Int { bytes, bits, big })
            }
            _ => Err(refused()),
        }
    }

    /// Returns true if samples fill their containers from the top, as the standard demands
    /// (`ksmedia.h`, wValidBitsPerSample).
    ///
    /// Some programs put them at the bottom instead, with the sign above. Such a file has no sample
    /// beyond the valid range, and some samples with bits set where the standard requires zeros.
    fn lie_on_top(
        &self,
        path: &Path,
        file: &mut (impl Read + Seek),
        data_at: u64,
        data_bytes: u64,
    ) -> Result<bool> {
        let io = || Error::io(path, "read");
        let unused = 8 * self.container as u32 - self.valid_bits;
        let limit = 1i64 << (self.valid_bits - 1);
        let below = (1i32 << unused) - 1;
        file.seek(SeekFrom::Start(data_at)).map_err(io())?;
        let mut left = data_bytes / self.container as u64;
        let mut block = vec![0; self.container << 14];
        let mut bits_below = false;
        while left > 0 {
            let samples = left.min(1 << 14);
            let bytes = &mut block[..samples as usize * self.container];
            file.read_exact(bytes).map_err(io())?;
            for sample in bytes.chunks_exact(self.container) {
                let value = integer(sample, self.big);
                if !(-limit..limit).contains(&i64::from(value)) {
                    return Ok(true);
                }
                bits_below |= value & below != 0;
            }
            left -= samples;
        }
        Ok(!bits_below)
    }
}

/// Byte order and header layout of a file's chunks.
struct Chunks {
    big: bool,
    /// Data length from the `ds64` chunk of RF64.
    data64: Option<u64>,
    w64: bool,
}

impl Chunks {
    fn w64() -> Self {
        Self { big: false, data64: None, w64: true }
    }

    fn riff(path: &Path, file: &mut (impl Read + Seek)) -> Result<Self> {
        let io = || Error::io(path, "read");
        let mut magic = [0; 4];
        file.rewind().map_err(io())?;
        file.read_exact(&mut magic).map_err(io())?;
        let mut chunks = Self { big: &magic == b"RIFX", data64: None, w64: false };
        if matches!(&magic, b"RF64" | b"BW64") {
            // The first chunk holds the 64-bit lengths (EBU Tech 3306, section 3).
            let mut header = [0; 28];
            file.seek(SeekFrom::Start(RIFF_HEADER)).map_err(io())?;
            let read = file.read_exact(&mut header);
            if read.is_ok() && header.starts_with(b"ds64") {
                chunks.data64 = Some(u64::from_le_bytes(word(&header, 16)));
            }
        }
        Ok(chunks)
    }

    /// Returns the name, the offset of the body and the length of the chunk at `at`.
    fn chunk(&self, file: &mut (impl Read + Seek), at: u64) -> io::Result<([u8; 4], u64, u64)> {
        file.seek(SeekFrom::Start(at))?;
        if self.w64 {
            let mut header = [0; W64_CHUNK_HEADER as usize];
            file.read_exact(&mut header)?;
            // The size counts the header.
            let size = u64::from_le_bytes(word(&header, 16)).saturating_sub(W64_CHUNK_HEADER);
            return Ok((word(&header, 0), at + W64_CHUNK_HEADER, size));
        }
        let mut header = [0; CHUNK_HEADER as usize];
        file.read_exact(&mut header)?;
        let size = self.u32(&header, 4);
        Ok((word(&header, 0), at + CHUNK_HEADER, u64::from(size)))
    }

    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let bytes = word(bytes, at);
        if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let bytes = word(bytes, at);
        if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn find(&self, path: &Path, file: &mut (impl Read + Seek), length: u64) -> Result<Raw> {
        let (mut at, header, alignment) = match self.w64 {
            true => (W64_HEADER, W64_CHUNK_HEADER, 8),
            false => (RIFF_HEADER, CHUNK_HEADER, 2),
        };
        let mut format = None;
        for _ in 0..CHUNKS_MAX {
            if length.saturating_sub(at) < header {
                break;
            }
            let (name, body, size) = self.chunk(file, at).map_err(Error::io(path, "read"))?;
            match &name {
                b"fmt " => format = Some(read_format(path, file, size)?),
                b"data" => {
                    let format: Vec<u8> = format.ok_or_else(|| {
                        FileProblem::undecodable("the data comes before its format").of(path)
                    })?;
                    let unfilled = size == u64::from(u32::MAX);
                    let size = self.data64.filter(|_| unfilled).unwrap_or(size);
                    return self.interpret(path, &format, body, size);
                }
                _ => {}
            }
            // Chunks are padded to the alignment.
            at = body.saturating_add(size).div_ceil(alignment).saturating_mul(alignment);
        }
        let missing = "hold no sound (no `data` chunk)";
        Err(FileProblem::TruncatedHeader { length, missing }.of(path))
    }

    fn interpret(&self, path: &Path, format: &[u8], data_at: u64, promised: u64) -> Result<Raw> {
        const EXTENSIBLE: u16 = 0xfffe;
        let (mut tag, channels) = (self.u16(format, 0), self.u16(format, 2));
        let (rate, frame_bytes) = (self.u32(format, 4), self.u16(format, 12));
        let mut valid_bits = u32::from(self.u16(format, 14));
        if tag == EXTENSIBLE && format.len() == FMT_MAX {
            // The tag is the first word of a GUID, whose rest is the same for all tags.
            const REST: &[u8] = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
            if format[26..] != *REST {
                return Err(unsupported(path, "an unknown sub-format"));
            }
            (tag, valid_bits) = (self.u16(format, 24), u32::from(self.u16(format, 18)));
        }
        if channels == 0 || frame_bytes == 0 {
            return Err(damaged(path, channels, frame_bytes));
        }
        check_rate(path, rate)?;
        let kind = match tag {
            1 => Kind::Int,
            3 => Kind::Float,
            6 => Kind::ALaw,
            7 => Kind::MuLaw,
            0x0002 | 0x0011 if !self.w64 && !self.big => return Ok(Raw::Other(Found::Adpcm)),
            0x0050 | 0x0055 => {
                return Ok(Raw::Other(Found::Mpeg { at: data_at, bytes: promised }));
            }
            _ => return Err(unsupported(path, &codec_name(tag))),
        };
        if frame_bytes % channels != 0 {
            return Err(damaged(path, channels, frame_bytes));
        }
        let container = usize::from(frame_bytes / channels);
        let channels = usize::from(channels);
        let stored = Stored { rate, channels, kind, container, valid_bits, big: self.big };
        Ok(Raw::Pcm { stored, data_at, promised })
    }
}

fn unsupported(path: &Path, codec: &str) -> Error {
    FileProblem::undecodable(format!("this kind of WAV is not supported: {codec}")).of(path)
}

fn damaged(path: &Path, channels: u16, frame_bytes: u16) -> Error {
    let place = format!("in frames of {frame_bytes} bytes");
    FileProblem::DamagedHeader { channels: channels.into(), place }.of(path)
}

/// Name of a codec, by its tag in `mmreg.h`.
fn codec_name(tag: u16) -> String {
    match tag {
        0x0031 => "GSM 6.10".into(),
        0x0040 | 0x0045 | 0x0064 | 0x0065 => "G.726".into(),
        0x0160..=0x0163 => "Windows Media Audio".into(),
        0x00ff | 0x1600..=0x1610 => "AAC".into(),
        0x2000 => "AC-3".into(),
        0xfffe => "WAVE_FORMAT_EXTENSIBLE with a short header".into(),
        other => format!("codec {other:#06x}"),
    }
}

fn read_format(path: &Path, file: &mut impl Read, size: u64) -> Result<Vec<u8>> {
    let mut format = Vec::with_capacity(FMT_MAX);
    file.take(size.min(FMT_MAX as u64))
        .read_to_end(&mut format)
        .map_err(Error::io(path, "read"))?;
    if format.len() < 16 {
        return Err(FileProblem::undecodable("the format chunk is too short").of(path));
    }
    Ok(format)
}

/// Parses the header of an AU file: magic, offset, length, encoding, rate, channels.
fn au(path: &Path, file: &mut (impl Read + Seek), length: u64) -> Result<Raw> {
    const UNKNOWN: u32 = u32::MAX;
    let io = || Error::io(path, "read");
    if length < AU_HEADER {
        return Err(truncated_header(path, length));
    }
    let mut header = [0; AU_HEADER as usize];
    file.rewind().map_err(io())?;
    file.read_exact(&mut header).map_err(io())?;
    let field = |number: usize| u32::from_be_bytes(word(&header, 4 * number));
    let (data_at, promised, encoding) = (u64::from(field(1)), field(2), field(3));
    let (rate, channels) = (field(4), field(5));
    if data_at < AU_HEADER || data_at > length || channels == 0 || channels > 0xffff {
        let place = format!("from byte {data_at} on");
        return Err(FileProblem::DamagedHeader { channels, place }.of(path));
    }
    check_rate(path, rate)?;
    let (kind, container, valid_bits) = match encoding {
        1 => (Kind::MuLaw, 1, 0),
        2 => (Kind::SignedByte, 1, 0),
        3..=5 => (Kind::Int, encoding as usize - 1, 0),
        6 => (Kind::Float, 4, 0),
        7 => (Kind::Float, 8, 0),
        27 => (Kind::ALaw, 1, 0),
        other => {
            let reason = format!("this kind of AU is not supported: encoding {other}");
            return Err(FileProblem::undecodable(reason).of(path));
        }
    };
    let promised = if promised == UNKNOWN { u64::MAX } else { u64::from(promised) };
    let channels = channels as usize;
    let stored = Stored { rate, channels, kind, container, valid_bits, big: true };
    Ok(Raw::Pcm { stored, data_at, promised })
}

fn truncated_header(path: &Path, length: u64) -> Error {
    FileProblem::TruncatedHeader { length, missing: "are less than a header" }.of(path)
}

/// Returns the `N` bytes from `at` on, or zeros if they are not all there.
fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}
