//! A whole session of the studio in a browser: type the phrase, record takes and the room from a fake
//! microphone, train, read the report, hear a detection, download the model. Skipped, with a
//! message, where Chromium is missing.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use wakeling::{
    artifact, audio,
    board::{Board, Family},
    flash::uf2,
};
use wakeling_tests::{browser::Browser, shipped::few_models};

/// Training in a test shares the machine with others.
const TRAINING: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(60);

/// The program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended by itself cannot be ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Several voices that say the phrase, with pauses in which a take can count down.
fn microphone(place: &Path) -> PathBuf {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/train");
    let mut voices: Vec<PathBuf> =
        fs::read_dir(demo).expect("the demo").map(|e| e.expect("an entry").path()).collect();
    voices.sort();
    let mut sound = Vec::new();
    for voice in voices.iter().take(8) {
        sound.extend(vec![0; 40_000]);
        sound.extend(audio::read(voice).expect("a voice"));
    }
    let path = place.join("microphone.wav");
    audio::write_wav(&path, &sound).expect("a recording");
    path
}

/// The studio with one pack of the shipped negatives; its address.
fn studio(place: &Path) -> (Program, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["studio", "--steps", "150"])
        .current_dir(place)
        .env("WAKELING_MODELS", few_models(place, "base-m"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut url).expect("an address");
    (Program(child), url.trim().to_owned())
}

#[test]
fn a_person_records_trains_hears_and_downloads() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (_program, url) = studio(place.path());
    let Some(mut page) = Browser::start(place.path(), &microphone(place.path()), &url) else {
        return;
    };
    let count = "document.querySelectorAll('#takes li').length";
    page.wait_for("document.readyState === 'complete' && document.querySelector('h1')?.textContent === 'Wakeling studio'", SHORT);

    // By the keyboard alone.
    page.press("Tab");
    page.type_text("hey wakeling");
    page.press("Tab");
    page.type_text("Ana");
    page.press("Enter");
    page.wait_for(
        "document.activeElement.id === 'take' && !document.getElementById('takes-section').hidden",
        SHORT,
    );
    page.press("Enter");
    page.wait_for("['keep', 'redo'].includes(document.activeElement.id)", SHORT);
    page.picture("take.png");
    page.press("Enter");
    page.evaluate("document.getElementById('automatic').click()");
    page.wait_for(&format!("{count} > 0 || !document.getElementById('picture').hidden || document.getElementById('sign').textContent !== ''"), SHORT);
    page.evaluate("if (document.getElementById('take').textContent !== 'Stop') document.getElementById('take').click()");
    page.wait_for(&format!("{count} >= 8"), TRAINING);
    page.evaluate(
        "document.getElementById('automatic').click(); document.getElementById('room').click()",
    );
    page.wait_for("parseInt(document.getElementById('room-seconds').textContent) >= 11", SHORT);
    page.evaluate("document.getElementById('room').click()");
    let spoken = page.spoken();
    for expected in [
        "button: Record a take",
        "button: Remove take 1",
        "textbox: Phrase",
        "button: Train",
        "heading: 2. Record it",
    ] {
        assert!(spoken.iter().any(|line| line == expected), "{expected} is not in {spoken:#?}");
    }

    page.evaluate("document.getElementById('train').click()");
    page.wait_for("document.getElementById('bar').value > 0 || document.getElementById('stage').textContent.startsWith('Trained')", TRAINING);
    page.picture("training.png");
    page.wait_for("/^Trained|failed/.test(document.getElementById('stage').textContent)", TRAINING);
    let stage = page.evaluate(
        "document.getElementById('stage').textContent + document.getElementById('log').textContent",
    );
    assert!(stage.as_str().is_some_and(|s| s.starts_with("Trained on")), "{stage}");

    page.evaluate("document.getElementById('report').click()");
    page.wait_for("!document.getElementById('report-frame').hidden", SHORT);
    let report =
        fs::read_to_string(place.path().join("runs/hey-wakeling/report.html")).expect("a report");
    assert!(report.contains("Misses and false accepts"));
    page.evaluate("document.getElementById('listen').click()");
    page.wait_for("document.querySelectorAll('#heard li').length > 0", SHORT);
    page.picture("heard.png");
    let heard = page.evaluate("document.querySelector('#heard li').textContent");
    assert!(heard.as_str().is_some_and(|s| s.contains("hey wakeling, score")), "{heard}");
    let problem = page.evaluate("document.getElementById('problem').textContent");
    assert_eq!(problem, "");

    page.evaluate("document.getElementById('download').click()");
    let path = downloaded(place.path(), "hey-wakeling.wkl");
    let bytes = artifact::read(&path).expect("a model");
    let model = artifact::load(&path, &bytes).expect("a model");
    assert_eq!(model.words[0].label, "hey wakeling");
    assert_eq!(bytes, fs::read(place.path().join("runs/hey-wakeling/model.wkl")).expect("a model"));

    page.evaluate("document.getElementById('drives').selectedIndex = 1; document.getElementById('uf2').click()");
    let file = fs::read(downloaded(place.path(), "hey-wakeling-pico2.uf2")).expect("a file");
    let board = Board::named("pico2").expect("a board");
    let parts = uf2::read(&file, Family::Rp2350ArmS).expect("a UF2 file");
    let written = parts.iter().find(|part| part.address == board.model.start).expect("the model");
    // In the first slot: behind two pages of journal and a header.
    let held = &written.bytes[2 * 4_096 + 128..];
    assert!(held.starts_with(&bytes), "the drive's file holds another model");
    page.picture("downloads.png");
}

/// A file that the page was told to save.
fn downloaded(place: &Path, name: &str) -> PathBuf {
    let path = place.join("downloads").join(name);
    let started = Instant::now();
    while !path.is_file() {
        assert!(started.elapsed() < SHORT, "{name} is not downloaded");
        std::thread::sleep(Duration::from_millis(100));
    }
    path
}
