//! Tests of the program with realistic audio files: hours long, in folders with other files, in
//! formats that are not supported, truncated.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use wakeling_audio as audio;
use wakeling_tests::{Tier, random_model, sound};

/// Folder with a model of the keyword "hey wakeling" and a few short recordings.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        fs::write(place.path("good.wkl"), random_model(1, Tier::Tiny)).expect("a model");
        fs::create_dir(place.path("short")).expect("a folder");
        for number in 0..2 {
            let path = place.path(&format!("short/{number}.wav"));
            audio::write_wav(path, &sound::speech_like(number, 1)).expect("a recording");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wakeling"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    fn recording(&self) -> Vec<u8> {
        fs::read(self.path("short/0.wav")).expect("a recording")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a stereo WAV of silence at 48 kHz. Its samples are a hole in the file, which takes no
/// space on the disk.
#[cfg(target_os = "linux")]
fn long_recording(path: PathBuf, minutes: u32) {
    use std::io::Write;
    let bytes = minutes * 60 * 48_000 * 4;
    let mut header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0".to_vec();
    header.extend(48_000u32.to_le_bytes());
    header.extend(192_000u32.to_le_bytes());
    header.extend(b"\x04\0\x10\0data");
    header.extend(bytes.to_le_bytes());
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = fs::File::create(&path).expect("a file");
    file.write_all(&header).expect("a header");
    // A second of 500 Hz at the beginning, since silence is neither a recording nor noise.
    let wave = |i: usize| if (i / 48).is_multiple_of(2) { 3_000i16 } else { -3_000 };
    let tone: Vec<u8> = (0..48_000).flat_map(|i| [wave(i); 2]).flat_map(i16::to_le_bytes).collect();
    file.write_all(&tone).expect("samples");
    file.set_len(header.len() as u64 + u64::from(bytes)).expect("a hole");
}

/// Returns the peak resident size of a run, in MiB.
#[cfg(target_os = "linux")]
fn peak_mib(place: &TestDir, arguments: &[&str]) -> u64 {
    let mut command = place.command(arguments);
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while child.try_wait().expect("it runs").is_none() {
        // The peak never falls, so the last reading is close to the final value.
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("it ended");
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    peak_kib / 1024
}

/// Command line for a folder with a long recording.
#[cfg(target_os = "linux")]
type Arguments<'a> = &'a dyn Fn(&str) -> Vec<String>;

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_length_of_a_recording() {
    let place = TestDir::new();
    for (name, minutes) in [("one", 1), ("thirty", 30)] {
        long_recording(place.path(&format!("{name}/a.wav")), minutes);
    }
    fs::create_dir(place.path("other")).expect("a folder");
    for file in fs::read_dir(place.path("short")).expect("a folder") {
        let file = file.expect("a recording");
        fs::copy(file.path(), place.path("other").join(file.file_name())).expect("a copy");
    }
    let word = |folder: &str| format!("hey wakeling={folder}");
    let evaluate = ["evaluate", "--model", "good.wkl", "--word"];
    let pack = ["pack", "--out", "packs", "--files", "1", "--megabytes", "0.05"];
    // The features of speech that is packed stay in memory: 8 kB per second.
    let runs: [(&str, u64, Arguments<'_>); 6] = [
        ("simulate", 8, &|long| owned(&["simulate", long, "--model", "good.wkl"])),
        ("negatives", 8, &|long| {
            [owned(&evaluate), owned(&[&word("short"), "--negatives", long])].concat()
        }),
        ("positives", 8, &|long| {
            [owned(&evaluate), owned(&[&word(long), "--negatives", "other"])].concat()
        }),
        ("noise", 70, &|long| {
            let more = ["--negatives", "other", "--noise", long];
            [owned(&evaluate), owned(&[&word("short")]), owned(&more)].concat()
        }),
        ("packed noise", 8, &|long| {
            [owned(&pack), owned(&["--speech", "short", "--noise", long])].concat()
        }),
        ("packed speech", 70, &|long| [owned(&pack), owned(&["--speech", long])].concat()),
    ];
    for (name, most_mib, arguments) in runs {
        let peak = |long: &str| {
            let arguments = arguments(long);
            peak_mib(&place, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (short, long) = (peak("one"), peak("thirty"));
        eprintln!("{name}: {short} MiB for a minute, {long} MiB for thirty");
        assert!(long <= short + most_mib, "{name}: {short} MiB, then {long} MiB");
    }
}

#[cfg(target_os = "linux")]
fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

#[test]
fn simulate_goes_on_behind_a_bad_file_in_a_folder() {
    let place = TestDir::new();
    let folder = place.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let wav = place.recording();
    for name in ["a.wav", "z.wav"] {
        fs::write(folder.join(name), &wav).expect("a recording");
    }
    // Metadata file that macOS adds beside every file on a stick.
    fs::write(folder.join("._a.wav"), b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ").expect("a file");
    let simulate = ["simulate", "folder", "--model", "good.wkl", "--json", "--scores"];
    let output = place.run(&simulate);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).is_empty(), "{}", text(&output.stderr));
    let printed = |output: &Output, name: &str| text(&output.stdout).contains(name);
    assert!(printed(&output, "a.wav") && printed(&output, "z.wav"));

    fs::write(folder.join("m.wav"), b"it rains in the mountains").expect("a file");
    fs::write(folder.join("n.flac"), b"fLaC and then nothing that makes sense").expect("a file");
    let output = place.run(&simulate);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(printed(&output, "a.wav") && printed(&output, "z.wav"), "{message}");
    for expected in ["m.wav", "n.flac", "2 of 4 recordings", "remedy"] {
        assert!(message.contains(expected), "{expected} is missing in:\n{message}");
    }
    assert!(!message.contains("._a.wav"), "{message}");
}

#[test]
fn files_of_other_formats_are_named_with_one_command_for_all() {
    let place = TestDir::new();
    let folder = place.path("my takes");
    fs::create_dir(&folder).expect("a folder");
    let wav = place.recording();
    let amr = b"#!AMR\n________________________________".to_vec();
    for (name, bytes) in [
        ("1.amr", amr.clone()),
        ("2.amr", amr.clone()),
        ("3.wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa".to_vec()),
        ("4.bak", wav.clone()),
        ("voicemail", amr),
        ("notes.txt", b"#!AMR is not what this is about".to_vec()),
        ("picture.raw", vec![0x80; 64]),
    ] {
        fs::write(folder.join(name), bytes).expect("a file");
    }
    let word = format!("{}=my takes", "hey wakeling");
    let evaluate = ["evaluate", "--model", "good.wkl", "--word", &word, "--negatives", "short"];
    let command = "cd 'my takes' && for f in *.amr *.wma voicemail; do ffmpeg";
    let check = |output: &Output, expected: &[&str]| {
        let message = text(&output.stderr);
        for expected in expected {
            assert!(message.contains(expected), "{expected} is missing in:\n{message}");
        }
        assert_eq!(message.matches("ffmpeg").count(), 1, "{message}");
    };
    // The folder has no other files, so the error contains the command.
    let output = place.run(&evaluate);
    assert_eq!(output.status.code(), Some(3));
    check(&output, &["1.amr", "AMR is not read", command]);

    fs::write(folder.join("5.wav"), &wav).expect("a recording");
    let named = ["1.amr", "2.amr", "3.wma", "4.bak", "it holds WAV sound", "voicemail", command];
    let output = place.run(&evaluate);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    check(&output, &named);
    for absent in ["notes.txt", "picture.raw"] {
        assert!(!text(&output.stderr).contains(absent), "{}", text(&output.stderr));
    }
    let output = place.run(&["simulate", "my takes", "--model", "good.wkl"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    check(&output, &named);
}

#[test]
fn a_recording_that_is_cut_off_is_used_with_a_line() {
    let place = TestDir::new();
    let wav = place.recording();
    fs::write(place.path("cut.wav"), &wav[..wav.len() * 3 / 4]).expect("a recording");
    let output = place.run(&["simulate", "cut.wav", "--model", "good.wkl"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("cut.wav: the file is cut off"), "{message}");
}

#[test]
fn every_text_about_formats_names_those_that_are_read() {
    let place = TestDir::new();
    fs::create_dir(place.path("hollow")).expect("a folder");
    fs::write(place.path("letter.wav"), b"it rains in the mountains").expect("a file");
    for arguments in [
        &["simulate", "--help"][..],
        &["simulate", "hollow", "--model", "good.wkl"],
        &["simulate", "letter.wav", "--model", "good.wkl"],
        &["corpus", "inspect", "hollow", "--out", "out"],
        &["corpus", "inspect", "good.wkl", "--out", "out"],
    ] {
        let output = place.run(arguments);
        let messages = text(&output.stdout) + &text(&output.stderr);
        let words: Vec<&str> = messages.split_whitespace().collect();
        assert!(words.join(" ").contains(audio::FORMATS), "{arguments:?}:\n{messages}");
    }
}
