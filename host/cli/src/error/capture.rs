//! Remedies for the errors of microphones, loudspeakers, and folders of takes.

use wakeling_capture::{Error, Obstacle};

use super::{Advice, Advise};

/// Remedy for a microphone that is not there, or no longer.
const PLUG_IN: &str =
    "check that it is plugged in, then give the same command again; saved takes are kept";

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Audio(error) => error.advice(),
            Self::Device(error) => error.advice(),
            Self::WithoutSound => Advice::system(
                "build it with the feature `microphone`, which is on by default: ./x build",
            ),
            Self::NoService { .. } => Advice::system(
                "start the sound service (pipewire or pulseaudio on Linux), then give the same command again; recordings from other sources work too: wakeling finetune --word NAME=FOLDER",
            ),
            Self::NoMicrophone => Advice::system(
                "plug one in, allow this program to use it, and see `wakeling doctor`; recordings from other sources work too: wakeling finetune --word NAME=FOLDER",
            ),
            Self::NoMatch { names, .. } => {
                let numbered =
                    names.iter().enumerate().map(|(i, name)| format!("{} {name}", i + 1));
                let all: Vec<String> = numbered.collect();
                Advice::system(format!("--device takes one of: {}", all.join("; ")))
            }
            Self::NotOpened { obstacle, .. } => Advice::system(match obstacle {
                Obstacle::Busy => {
                    "close the program that uses it, then give the same command again"
                }
                Obstacle::Permission => {
                    "allow this program, or the terminal it runs in, to use the microphone; on Linux: sudo usermod -aG audio $USER, then log in again"
                }
                Obstacle::Format => "leave out --rate, or choose another microphone with --device",
                Obstacle::Other => PLUG_IN,
            }),
            Self::Disconnected { .. } | Self::NoSamples { .. } => Advice::system(PLUG_IN),
            Self::SilentTakes { .. } => {
                Advice::system("check that it is not muted: wakeling doctor")
            }
            Self::NoLoudspeaker => {
                Advice::system("plug one in; takes can be kept without playback")
            }
            Self::PlaybackFailed { .. } => Advice::system("choose another default output"),
            Self::NoRecording { .. } => Advice::usage("load the page again"),
            Self::ManifestIsNoFile { .. } => {
                Advice::input("move it away, or name another folder with --out")
            }
        }
    }
}
