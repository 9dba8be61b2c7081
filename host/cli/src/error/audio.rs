//! Remedies for the errors of sound and its files.

use wakeling_audio::{Error, FORMATS, FileProblem};

use super::{Advice, Advise};

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::File(file) => Advice::input(of_file(&file.problem)),
            Self::MelBands { nyquist_hz, .. } => {
                Advice::usage(format!("choose 0 <= low < high < {nyquist_hz}"))
            }
            Self::TooLongForWav { .. } => Advice::usage("write several shorter files"),
            Self::MicrophoneFormat { .. } | Self::MicrophoneRate { .. } => {
                Advice::system("choose another device or another --rate")
            }
            Self::PlaybackRate { .. } => Advice::system("choose another default output"),
        }
    }
}

/// Returns the remedy for a file that cannot be used.
fn of_file(problem: &FileProblem) -> String {
    use FileProblem as Problem;
    match problem {
        Problem::IsFolder => "name a file, or open the folder as a dataset",
        Problem::IsDevice => "record to a file first",
        Problem::Empty => "record or copy it again, or leave it out",
        Problem::TruncatedHeader { .. } => "copy or record it again, or leave it out",
        Problem::EmptyMember => "leave it out",
        Problem::ArchiveEnds { .. } => "copy the archive again, or leave it out",
        Problem::NotAudio { .. } => {
            return format!("supported are {FORMATS}; convert it or leave it out");
        }
        Problem::NoSound => "it is a video without sound: record it again, or leave it out",
        Problem::NoSamples => "record it again, or leave it out",
        Problem::Interrupted { .. } => {
            "repair it with `sox --ignore-length IN.wav OUT.wav`, or record it again"
        }
        Problem::Truncated { .. } => {
            "copy or record it again, rewrite it with ffmpeg to keep what is there, or leave it out"
        }
        Problem::DamagedHeader { .. } => {
            "the header is damaged: record or copy the file again, or leave it out"
        }
        Problem::ImplausibleRate { .. } => {
            "the header is probably damaged: record or copy the file again, or leave it out"
        }
        Problem::Undecodable { .. } => {
            "convert it with `ffmpeg -i INPUT -ac 1 -ar 16000 -c:a pcm_s16le OUTPUT.wav`, or leave it out"
        }
        Problem::NotAPart { .. } => "offsets and durations are seconds, and not negative",
        Problem::EmptyPart { .. } => "correct `offset` and `duration` in the manifest",
    }
    .to_owned()
}
