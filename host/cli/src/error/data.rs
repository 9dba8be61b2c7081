//! Remedies for the errors of datasets, tables, archives, and the programs that speak or spell.

use wakeling_audio::FORMATS;
use wakeling_data::{Error, takes::TakeProblem};

use super::{Advice, Advise};

/// Layout of a table of labels.
const LAYOUT: &str = "the first row names the columns: file, then labels; cells are 1, 0 or ?";
/// Remedy for a path that is not a dataset.
const NAME_A_DATASET: &str =
    "name a folder with recordings, a manifest (.jsonl, .tsv), a shard (.tar) or an audio file";
/// Remedy for missing espeak-ng in a pretraining.
const WITHOUT_PHONES: &str =
    "install it (apt-get install espeak-ng), or leave --g2p away to train on letters";

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Audio(error) => error.advice(),

            Self::NoDataset { .. } | Self::UnknownDataset { .. } => Advice::input(NAME_A_DATASET),
            Self::CompressedDataset { .. } => {
                Advice::input("unpack it first: wakeling corpus fetch ARCHIVE --out FOLDER")
            }
            Self::NoClip { .. } => Advice::input(format!(
                "put recordings ({FORMATS}) into it, or one folder of recordings for each word; if \
                 they lie deeper, name the folder just above the words. A manifest holds one JSON \
                 object a line, such as {{\"audio_filepath\": \"a.wav\", \"text\": \"hello\"}}"
            )),
            Self::NoUsableClip { .. } => Advice::input(
                "correct what is named there; `wakeling corpus inspect` lists all of it",
            ),
            Self::NotCommonVoice { .. } => Advice::input(
                "name a table of Common Voice, such as validated.tsv, or a .jsonl manifest",
            ),
            Self::ShardPattern { .. } => Advice::input("write for instance {0000..0099}"),
            Self::NoSuchText { .. } => Advice::input(
                "name the word as its clips do, or name a folder of its recordings alone (a folder in a folder counts as a word)",
            ),
            Self::IndexChanged { .. } => {
                Advice::input("remove it together with the checkpoint beside it, and start again")
            }
            Self::NothingLoads { .. } => Advice::input(
                "see `wakeling corpus inspect`; check the disk or the network share of the dataset",
            ),
            Self::Fractions { .. } => {
                Advice::usage("give positive fractions that sum to 1, such as 0.8, 0.1 and 0.1")
            }
            Self::FewSpeakers { .. } => {
                Advice::usage("record more speakers, or ask for fewer parts")
            }

            Self::TableIsNoText { .. } => {
                Advice::input("save it as CSV in UTF-8 (\"CSV UTF-8\" in Excel)")
            }
            Self::TableWithoutHeader { .. } => {
                Advice::input("add a first row that names the columns, such as: file,hey computer")
            }
            Self::TableColumns { .. } | Self::TableWithoutSplit { .. } => Advice::input(LAYOUT),
            Self::TableContradicts { .. } => Advice::input("keep the row that is right"),
            Self::InvalidPack { .. } => {
                Advice::input("copy it again, or make it again with `wakeling pack`")
            }
            Self::NoUsableTake { most, .. } => Advice::input(of_takes(*most)),

            Self::Checksum { .. } => {
                Advice::input("remove this file and fetch it again, or correct the checksum")
            }
            Self::NoArchiveName { .. } => {
                Advice::input("give the address of a .tar, .tar.gz or .zip file")
            }
            Self::TargetExists { .. } => Advice::input("remove it, or name another"),
            Self::ArchiveFormat { .. } => Advice::input(
                "unpack it by another program, for instance `tar -xf`, and name the folder",
            ),
            Self::DamagedArchive { .. } => Advice::input(
                "fetch it again, and compare its checksum with the one its maker gives",
            ),
            Self::HostileArchive { .. } => Advice::input("do not trust this archive"),
            Self::WithoutRemote { .. } => {
                Advice::usage("fetch it first, or build the program with the feature `remote`")
            }
            Self::NoListOfFiles { suffix, .. } => Advice::input(format!(
                "name the files, for instance https://host/name-{{0000..0099}}{suffix}"
            )),
            Self::S3Server { .. } => Advice::input("check AWS_ENDPOINT_URL and AWS_REGION"),
            Self::NoBucket { .. } => Advice::input("write s3://BUCKET/KEY"),
            Self::NoCacheFolder => Advice::usage("set WAKELING_CACHE to a folder"),

            Self::NotSpeakable { .. } => Advice::usage("give the phrase in words"),
            Self::OtherSamples { .. } => Advice::input("name another folder, or remove this one"),
            Self::SynthesisFailed { .. } => Advice::usage(
                "run the command above yourself; name other --voices, or correct --command",
            ),
            Self::InvalidCommand { .. } => Advice::usage(
                "write it as in: espeak-ng -v {voice} -s {speed} -p {pitch} -w {out} -- {text}",
            ),
            Self::CommandNotStarted { .. } => Advice::system(
                "install the program (apt-get install espeak-ng), or name another with --command",
            ),
            Self::NoVoices { .. } => Advice::usage("name some with --voices"),
            Self::VoicesNotListed { .. } => Advice::usage(
                "name another --language (espeak-ng --voices lists them), or another program with --command",
            ),
            Self::EspeakNotStarted { .. } => Advice::system(
                "install it (apt-get install espeak-ng), or name another program with --command",
            ),
            Self::PhonesFailed { .. } => Advice::usage(WITHOUT_PHONES),
            Self::PhonesNotStarted { .. } => Advice::system(WITHOUT_PHONES),
        }
    }
}

/// Returns the remedy for recordings of which most have this problem.
fn of_takes(problem: TakeProblem) -> &'static str {
    match problem {
        TakeProblem::Silent => {
            "the microphone was probably muted, or another one was chosen: try it with `wakeling doctor`, unmute it, and record again"
        }
        TakeProblem::NoPhrase => "speak the phrase once in each recording, with a pause around it",
        TakeProblem::TooQuiet => "come nearer, or turn the microphone up, and record again",
        TakeProblem::Clipped => "speak softer, or turn the microphone down, and record again",
        TakeProblem::Unreadable | TakeProblem::Repeated => {
            "see the lines above; record again, or name another folder"
        }
    }
}
