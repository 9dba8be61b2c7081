//! Presets of known programs: command lines, and voices, speeds and pitches that sound different.

use std::process::{Command, Stdio};

use super::{Template, VoiceGrid};
use crate::{Error, Result};

/// Text-to-speech program with a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// espeak-ng: 100 languages, fast, mechanical; `apt-get install espeak-ng`
    EspeakNg,
    /// Piper: neural; `pip install piper-tts`, then `python3 -m piper.download_voices VOICE`
    Piper,
    /// Kokoro: neural, English and Mandarin; `pip install kokoro soundfile`
    Kokoro,
}

wakeling_core::choices!(Engine {
    EspeakNg: "espeak-ng", "espeak-ng: 100 languages, fast, mechanical; `apt-get install espeak-ng`";
    Piper: "piper", "Piper: neural; `pip install piper-tts`, then `python3 -m piper.download_voices VOICE`";
    Kokoro: "kokoro", "Kokoro: neural, English and Mandarin; `pip install kokoro soundfile`";
});

/// Command line, with the voices, speeds and pitches that it offers.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Command line.
    pub template: Template,
    /// Voices, speeds and pitches.
    pub grid: VoiceGrid,
}

/// Variants of espeak-ng's voices that sound like different people, in all versions since 1.49: the
/// plain voice, men, women, and the Klatt synthesizer's source.
const ESPEAK_VARIANTS: [&str; 17] = [
    "", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+m8", "+f1", "+f2", "+f3", "+f4", "+f5",
    "+klatt", "+klatt2", "+klatt3",
];
/// Speeds in words per minute; people speak 120 to 200.
const ESPEAK_SPEEDS: [&str; 5] = ["125", "145", "165", "185", "210"];
/// Pitches from 0 to 99; 50 is the voice's own.
const ESPEAK_PITCHES: [&str; 4] = ["30", "45", "60", "75"];

const PIPER_VOICES: [(&str, &[&str]); 3] = [
    (
        "en",
        &[
            "en_US-lessac-medium",
            "en_US-amy-medium",
            "en_US-ryan-medium",
            "en_US-joe-medium",
            "en_GB-alan-medium",
            "en_GB-cori-medium",
        ],
    ),
    ("de", &["de_DE-thorsten-medium"]),
    ("zh", &["zh_CN-huayan-medium"]),
];
const KOKORO_VOICES: [(&str, &[&str]); 2] = [
    (
        "en",
        &[
            "af_alloy",
            "af_aoede",
            "af_bella",
            "af_heart",
            "af_jessica",
            "af_kore",
            "af_nicole",
            "af_nova",
            "af_river",
            "af_sarah",
            "af_sky",
            "am_adam",
            "am_echo",
            "am_eric",
            "am_fenrir",
            "am_liam",
            "am_michael",
            "am_onyx",
            "am_puck",
            "am_santa",
        ],
    ),
    (
        "zh",
        &[
            "zf_xiaobei",
            "zf_xiaoni",
            "zf_xiaoxiao",
            "zf_xiaoyi",
            "zm_yunjian",
            "zm_yunxi",
            "zm_yunxia",
            "zm_yunyang",
        ],
    ),
];

impl Engine {
    /// Returns the preset for a language code, such as "en" or "zh". Voices in `own` replace the
    /// known ones.
    ///
    /// # Errors
    /// [`Error::EspeakNotStarted`]; [`Error::NoVoices`] if no voice is known for
    /// the language.
    pub fn preset(self, language: &str, own: &[String]) -> Result<Preset> {
        let (line, voices, speeds, pitches): (_, _, &[&str], &[&str]) = match self {
            Self::EspeakNg => (
                "espeak-ng -v {voice} -s {speed} -p {pitch} -w {out} -- {text}",
                voices(own, || espeak_voices(language))?,
                &ESPEAK_SPEEDS,
                &ESPEAK_PITCHES,
            ),
            // The speed is a length scale, so values above 1 are slower.
            Self::Piper => (
                "python3 -m piper -m {voice} --length-scale {speed} -f {out} -- {text}",
                voices(own, || known(&PIPER_VOICES, language))?,
                &["0.85", "1.0", "1.2"],
                &[""],
            ),
            Self::Kokoro => (
                match language {
                    "zh" => {
                        "python3 -m kokoro -l z --voice {voice} --speed {speed} -o {out} --text {text}"
                    }
                    _ => {
                        "python3 -m kokoro -l a --voice {voice} --speed {speed} -o {out} --text {text}"
                    }
                },
                voices(own, || known(&KOKORO_VOICES, language))?,
                &["0.85", "1.0", "1.2"],
                &[""],
            ),
        };
        let owned = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
        let grid = VoiceGrid { voices, speeds: owned(speeds), pitches: owned(pitches) };
        Ok(Preset { template: Template::parse(line)?, grid })
    }
}

fn voices(own: &[String], known: impl FnOnce() -> Result<Vec<String>>) -> Result<Vec<String>> {
    if own.is_empty() { known() } else { Ok(own.to_vec()) }
}

fn known(voices: &[(&str, &[&str])], language: &str) -> Result<Vec<String>> {
    let found = voices.iter().find(|(l, _)| *l == language).map(|(_, voices)| *voices);
    let found = found.ok_or_else(|| Error::NoVoices { language: language.to_owned() })?;
    Ok(found.iter().map(|&v| v.to_owned()).collect())
}

/// Returns every accent of a language that espeak-ng synthesizes by itself, in every variant.
fn espeak_voices(language: &str) -> Result<Vec<String>> {
    let language = if language == "zh" { "cmn" } else { language };
    let failed = |reason: String| Error::VoicesNotListed { language: language.to_owned(), reason };
    let output = Command::new("espeak-ng")
        .arg(format!("--voices={language}"))
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::EspeakNotStarted { source })?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let accents = accents(&String::from_utf8_lossy(&output.stdout), language);
    if accents.is_empty() {
        return Err(failed("it has no voice for that language".into()));
    }
    let voices =
        accents.iter().flat_map(|a| ESPEAK_VARIANTS.iter().map(move |v| format!("{a}{v}")));
    Ok(voices.collect())
}

/// Returns the language codes of the voices in a listing of espeak-ng. Leaves out voices that need
/// another program's data (`mb/`) or read another language's script.
fn accents(index: &str, language: &str) -> Vec<String> {
    let mut accents: Vec<String> = Vec::new();
    for line in index.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (Some(code), Some(file)) = (columns.get(1), columns.get(4)) else { continue };
        let belongs = code.split('-').next() == language.split('-').next();
        if belongs && !file.starts_with("mb/") && !code.contains("latn") && !code.contains("shaw") {
            accents.push((*code).to_owned());
        }
    }
    accents.sort();
    accents.dedup();
    accents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_lists_the_accents_that_can_be_spoken() {
        let index = "\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 2  en-gb           --/M      English_(Great_Britain) gmw/en               (en 2)
 3  en-uk           --/M      english-mb-en1     mb/mb-en1            (en-gb 3)(en 2)
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
 9  en              --/F      en-german-1        mb/mb-de1-en
";
        assert_eq!(accents(index, "en"), ["en-gb", "en-us"]);
        assert!(accents("", "en").is_empty());
    }

    #[test]
    fn every_command_line_is_one() {
        for engine in [Engine::Piper, Engine::Kokoro] {
            for language in ["en", "zh"] {
                let preset = engine.preset(language, &[]).unwrap();
                assert!(preset.template.has("{voice}") && preset.template.has("{text}"));
                assert!(preset.grid.voices.len() * preset.grid.speeds.len() >= 3);
            }
            assert!(matches!(engine.preset("xx", &[]), Err(Error::NoVoices { .. })));
        }
    }
}
