//! Names of the formats that are read, and detection of a file's format by its first bytes.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// Formats that are read, for help texts and messages.
pub const FORMATS: &str = "WAV, FLAC, MP3, Ogg (Vorbis, Opus), M4A/MP4/3GP (AAC, ALAC), AAC, \
                           WebM/MKV, AIFF, CAF, AU, W64";

/// Extensions of files that are taken for audio, in lower case. The content decides how a file is
/// decoded.
pub const EXTENSIONS: &[&str] = &[
    "wav", "wave", "flac", "mp3", "ogg", "oga", "opus", "m4a", "m4b", "mp4", "mov", "3gp", "3gpp",
    "3g2", "aac", "webm", "weba", "mka", "mkv", "aif", "aiff", "aifc", "caf", "au", "snd", "w64",
    "rf64", "bwf",
];

/// Extensions of audio that is not read, in lower case.
pub const UNSUPPORTED_EXTENSIONS: &[&str] = &[
    "amr", "awb", "wma", "asf", "spx", "sph", "ape", "wv", "mpc", "mp2", "ac3", "eac3", "dts",
    "ra", "rm", "tta", "gsm", "dss", "ds2", "qcp", "voc", "m4p", "aa", "aax", "dsf", "dff", "avi",
    "wmv", "flv", "mpg", "mpeg",
];

/// Number of bytes read to detect the format. The first Ogg page names its codec within 36 bytes.
const MAGIC_BYTES: usize = 64;

/// Format of a file, which selects its decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// RIFF, RIFX, RF64 or BW64 WAVE.
    Riff,
    /// Sony Wave64.
    W64,
    /// Sun and NeXT audio.
    Au,
    /// FLAC, MPEG audio, or Ogg, with or without tags in front.
    Stream,
    /// AAC in ADTS frames.
    Adts,
    /// ISO base media: MP4, M4A, 3GP, QuickTime.
    Mp4,
    /// Matroska and WebM.
    Matroska,
    /// AIFF and AIFF-C.
    Aiff,
    /// Apple's Core Audio Format.
    Caf,
    /// Known format that is not supported, with its name.
    Unsupported(&'static str),
    /// Not a known audio format.
    Unknown,
}

impl Format {
    /// Detects the format at the current position, and seeks back there. Also returns the first
    /// bytes.
    pub(super) fn detect(file: &mut (impl Read + Seek)) -> io::Result<(Self, Vec<u8>)> {
        let begin = file.stream_position()?;
        let mut magic = Vec::with_capacity(MAGIC_BYTES);
        file.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
        let mut format = Self::of(&magic);
        if let (Self::Stream, Some(tag)) = (format, id3_length(&magic)) {
            let mut behind = Vec::with_capacity(MAGIC_BYTES);
            file.seek(SeekFrom::Start(begin + tag))?;
            file.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut behind)?;
            if Self::of(&behind) == Self::Adts {
                format = Self::Adts;
            }
        }
        file.seek(SeekFrom::Start(begin))?;
        Ok((format, magic))
    }

    fn of(magic: &[u8]) -> Self {
        let at = |from: usize, what: &[u8]| magic.get(from..).is_some_and(|m| m.starts_with(what));
        let has = |what: &[u8]| magic.windows(what.len()).any(|w| w == what);
        let is_riff = [&b"RIFF"[..], b"RIFX", b"RF64", b"BW64"].iter().any(|m| at(0, m));
        match magic {
            _ if is_riff && at(8, b"WAVE") => Self::Riff,
            _ if is_riff && at(8, b"AVI ") => Self::Unsupported("AVI video"),
            _ if at(0, b"riff\x2e\x91\xcf\x11") => Self::W64,
            _ if at(0, b".snd") => Self::Au,
            _ if at(0, b"OggS") && has(b"Speex") => Self::Unsupported("Ogg Speex"),
            _ if at(0, b"fLaC") || at(0, b"OggS") || at(0, b"ID3") => Self::Stream,
            _ if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => Self::Aiff,
            _ if at(0, b"FORM") => Self::Unsupported("this kind of IFF"),
            // Still images in the same container.
            _ if [&b"ftyphei"[..], b"ftypmif1", b"ftypmsf1", b"ftypavif"]
                .iter()
                .any(|m| at(4, m)) =>
            {
                Self::Unknown
            }
            _ if at(4, b"ftyp") => Self::Mp4,
            _ if at(4, b"moov") || at(4, b"mdat") || at(4, b"wide") => {
                Self::Unsupported("this QuickTime variant (without `ftyp`)")
            }
            _ if at(0, b"\x1a\x45\xdf\xa3") => Self::Matroska,
            _ if at(0, b"caff") => Self::Caf,
            // MPEG audio has eleven bits of sync, then a layer other than the reserved 00, which
            // marks AAC in ADTS.
            [0xff, second, ..] if second & 0xe0 == 0xe0 && second & 0x06 != 0 => Self::Stream,
            [0xff, second, ..] if second & 0xf6 == 0xf0 => Self::Adts,
            _ => UNSUPPORTED_MAGIC
                .iter()
                .find(|(magic, _)| at(0, magic))
                .map_or(Self::Unknown, |(_, name)| Self::Unsupported(name)),
        }
    }
}

/// First bytes of audio formats that are not supported.
const UNSUPPORTED_MAGIC: &[(&[u8], &str)] = &[
    (b"#!AMR-WB", "AMR-WB"),
    (b"#!AMR", "AMR"),
    (b"#!SILK", "SILK"),
    (b"\x02#!SILK", "SILK"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA)"),
    (b"NIST_1A", "NIST SPHERE"),
    (b"MAC ", "Monkey's Audio"),
    (b"wvpk", "WavPack"),
    (b"MP+", "Musepack"),
    (b"MPCK", "Musepack"),
    (b"TTA1", "TTA"),
    (b".RMF", "RealAudio"),
    (b".ra\xfd", "RealAudio"),
    (b"ADIF", "AAC in ADIF"),
    (b"DSD ", "DSD"),
    (b"FRM8", "DSD"),
    (b"FLV\x01", "Flash video"),
    (b"Creative Voice File", "Creative Voice"),
    (b"\x02dss", "DSS"),
    (b"\x03ds2", "DSS"),
    (b"\0\0\x01\xba", "MPEG video"),
];

/// Length in bytes of the ID3v2 tag at the start of `bytes` (id3.org, "ID3 tag version 2.4.0",
/// section 3.1); none if there is no tag.
fn id3_length(bytes: &[u8]) -> Option<u64> {
    if !bytes.starts_with(b"ID3") {
        return None;
    }
    let size = bytes.get(6..10)?.iter().fold(0u64, |sum, b| sum << 7 | u64::from(b & 0x7f));
    let footer = if bytes[5] & 0x10 != 0 { 10 } else { 0 };
    Some(10 + size + footer)
}

/// Audio content of a file, detected from its first bytes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Supported format.
    Readable(&'static str),
    /// Audio format that is not supported.
    Unsupported(&'static str),
    /// No known audio format, or a file that cannot be opened.
    Other,
}

/// Detects the content of a file from its first bytes.
///
/// ```
/// use wakeling_audio::{Content, content};
///
/// let path = std::env::temp_dir().join(format!("wakeling-content-{}.mp3", std::process::id()));
/// wakeling_audio::write_wav(&path, &[0; 160])?;
/// assert_eq!(content(&path), Content::Readable("WAV")); // whatever its name is
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_audio::Error>(())
/// ```
pub fn content(path: &Path) -> Content {
    let detected = std::fs::File::open(path).and_then(|mut file| Format::detect(&mut file));
    let Ok((format, magic)) = detected else { return Content::Other };
    Content::Readable(match format {
        Format::Riff => "WAV",
        Format::W64 => "Wave64",
        Format::Au => "AU",
        Format::Stream if magic.starts_with(b"fLaC") => "FLAC",
        Format::Stream if magic.starts_with(b"OggS") => "Ogg",
        // Two bytes do not prove MPEG audio, since any noise may contain them.
        Format::Stream if magic.starts_with(b"ID3") => "MP3",
        Format::Stream | Format::Adts | Format::Unknown => return Content::Other,
        Format::Mp4 => "MP4",
        Format::Matroska => "Matroska",
        Format::Aiff => "AIFF",
        Format::Caf => "CAF",
        Format::Unsupported(name) => return Content::Unsupported(name),
    })
}
