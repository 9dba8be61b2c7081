//! Test of a whole session of the studio in a browser: type the phrase, record takes and the room
//! from a fake microphone, train, read the report, trigger a detection, download the model.
//! Skipped, with a message, if Chromium is missing.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wakeling_audio as audio;
use wakeling_device::{
    board::{Board, Family},
    flash::{shipped::Shipped, uf2},
    model_file,
};
use wakeling_tests::{Random, browser::Browser, shipped::few_models};

/// Time limit of a training, which shares the machine with other tests.
const TRAINING: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(60);

/// Running program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Errors are ignored: a program that has ended by itself cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes audio of several voices that speak the phrase, with pauses long enough for the countdown
/// of a take.
fn microphone(place: &Path) -> PathBuf {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/train");
    let mut voices: Vec<PathBuf> =
        fs::read_dir(demo).expect("the demo").map(|e| e.expect("an entry").path()).collect();
    voices.sort();
    let mut sound = Vec::new();
    for voice in voices.iter().take(8) {
        sound.extend(vec![0; 40_000]);
        sound.extend(audio::read(voice).expect("a voice"));
    }
    // A real microphone has some noise.
    let mut random = Random::new(1);
    sound.iter_mut().for_each(|s| *s = s.saturating_add((20.0 * random.unit()) as i16));
    recording(place, &sound)
}

/// Writes the audio that the browser's fake microphone repeats.
fn recording(place: &Path, sound: &[i16]) -> PathBuf {
    let path = place.join("microphone.wav");
    audio::write_wav(&path, sound).expect("a recording");
    path
}

/// Starts the studio with one pack of the shipped negatives, and returns its address.
fn studio(place: &Path) -> (Program, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wakeling"))
        .args(["studio", "--steps", "60"])
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
fn user_records_trains_tries_and_downloads() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (_program, url) = studio(place.path());
    let Some(mut page) = Browser::start(place.path(), &microphone(place.path()), &url) else {
        return;
    };
    let count = "document.querySelectorAll('#takes li').length";
    page.wait_for("document.readyState === 'complete' && document.querySelector('h1')?.textContent === 'Wakeling studio'", SHORT);

    // Uses only the keyboard.
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
    page.image("take.png");
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
    let moves = "document.getElementById('bar').value > 0 && document.getElementById('bar').value < 100 || document.getElementById('problem-train') !== null";
    page.wait_for(moves, TRAINING);
    let problem = page.evaluate("document.getElementById('problem-train')?.textContent ?? ''");
    assert_eq!(problem, "");
    page.image("training.png");
    // The training runs in the program, so a reloaded page still shows it. The mark distinguishes
    // the old page from the new one, because a reload begins some time after the call.
    page.evaluate("window.isOld = true; location.reload()");
    page.wait_for("!window.isOld && document.getElementById('stage')?.textContent.startsWith('Training on 6 takes') && document.activeElement === document.body", SHORT);
    let log = page.evaluate("document.getElementById('log').textContent");
    assert!(log.as_str().is_some_and(|log| !log.contains("progress")), "{log}");
    page.evaluate("document.getElementById('train-section').scrollIntoView()");
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
    page.image("heard.png");
    let item = page.evaluate("document.querySelector('#heard li').textContent");
    assert!(item.as_str().is_some_and(|s| s.contains("hey wakeling, peak level ")), "{item}");
    // Levels have the threshold at 50, and three sensitivities have names.
    let level = item.as_str().and_then(|s| s.rsplit(' ').next()?.parse::<u32>().ok());
    assert!(level.is_some_and(|level| (50..=100).contains(&level)), "{item}");
    let rows = page.evaluate("document.getElementById('rows').innerText");
    let rows: Vec<&str> = rows.as_str().unwrap_or_default().lines().map(str::trim).collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (row, name) in rows.iter().zip(["Strict: ", "Normal: ", "Eager: "]) {
        // One pack of negatives is less than half an hour, too little for a rate.
        assert!(row.starts_with(name) && !row.contains("/h"), "{row}");
    }
    page.evaluate("document.getElementById('row-2').click()");
    let problem = page.evaluate("document.querySelector('.problem')?.textContent ?? ''");
    assert_eq!(problem, "");

    page.evaluate("document.getElementById('download').click()");
    let path = downloaded(place.path(), "hey-wakeling.wkl");
    let bytes = model_file::read(&path).expect("a model");
    let model = model_file::load(&path, &bytes).expect("a model");
    assert_eq!(model.words[0].label, "hey wakeling");
    assert_eq!(bytes, fs::read(place.path().join("runs/hey-wakeling/model.wkl")).expect("a model"));

    if firmware_is_built() {
        page.evaluate("document.getElementById('drives').selectedIndex = 1; document.getElementById('uf2').click()");
        let file = fs::read(downloaded(place.path(), "hey-wakeling-pico2.uf2")).expect("a file");
        let board = Board::named("pico2").expect("a board");
        let parts = uf2::read(&file, Family::Rp2350ArmS).expect("a UF2 file");
        let at = |address| parts.iter().find(|part| part.address == address).expect("a part");
        assert!(at(board.program.start).bytes.len() > 10_000, "the board's program is in it");
        // In the first slot, after two pages of journal and a header.
        let held = &at(board.model.start).bytes[2 * 4_096 + 128..];
        assert!(held.starts_with(&bytes), "the drive's file holds another model");
    }
    page.image("downloads.png");
}

/// Tests whether the firmware that ships was built beside the program, as `./x test` does first.
fn firmware_is_built() -> bool {
    let program = Path::new(env!("CARGO_BIN_EXE_wakeling"));
    let folder = program.ancestors().nth(2).expect("a target folder").join("firmware");
    let is_built =
        Board::named("pico2").and_then(|board| Shipped::open(&folder)?.load(board, false)).is_ok();
    assert!(is_built || std::env::var_os("WAKELING_REQUIRE_FIRMWARE").is_none(), "no firmware");
    if !is_built {
        eprintln!("SKIP: the file for a drive; ./x boards builds the firmware");
    }
    is_built
}

/// Waits for a file that the page saves, and returns its path.
fn downloaded(place: &Path, name: &str) -> PathBuf {
    let path = place.join("downloads").join(name);
    let started = Instant::now();
    while !path.is_file() {
        assert!(started.elapsed() < SHORT, "{name} is not downloaded");
        std::thread::sleep(Duration::from_millis(100));
    }
    path
}

/// Generates phrase-like audio: three syllables of harmonics in faint noise.
fn take(random: &mut Random) -> Vec<i16> {
    let noise = |random: &mut Random, samples: usize| -> Vec<f64> {
        (0..samples).map(|_| 20.0 * random.unit()).collect()
    };
    let mut sound = noise(random, 8_000);
    let pitch_hz = 140.0 + 50.0 * random.unit();
    for formant_hz in [700.0, 400.0, 1_100.0] {
        let length = 3_200 + random.below(800);
        sound.extend((0..length).map(|n| {
            let t = n as f64 / 16_000.0;
            let wave = |h: usize| {
                let hz = pitch_hz * h as f64;
                (std::f64::consts::TAU * hz * t).sin() / (1.0 + ((hz - formant_hz) / 200.0).powi(2))
            };
            let envelope = (std::f64::consts::PI * n as f64 / length as f64).sin();
            5_000.0 * envelope * (1..20).map(wave).sum::<f64>() + 20.0 * random.unit()
        }));
        sound.extend(noise(random, 300));
    }
    sound.extend(noise(random, 8_000));
    // The cast with `as` saturates.
    sound.into_iter().map(|s| s as i16).collect()
}

/// Writes takes of "hey you" and a room, as an earlier run would have saved them.
fn recordings(place: &Path, takes: usize) {
    let mut random = Random::new(3);
    let folder = place.join("recordings/hey-you");
    fs::create_dir_all(&folder).expect("a folder");
    for number in 1..=takes {
        let path = folder.join(format!("take-{number:04}.wav"));
        audio::write_wav(path, &take(&mut random)).expect("a take");
    }
    let room: Vec<i16> = (0..16_000 * 12).map(|_| (300.0 * random.unit()) as i16).collect();
    let folder = place.join("recordings/room");
    fs::create_dir_all(&folder).expect("a folder");
    audio::write_wav(folder.join("room-0001.wav"), &room).expect("a room");
}

/// Sends a request to the studio at an address with its token. Returns the JSON of the answer.
fn ask(url: &str, path: &str, body: Option<&Value>) -> Value {
    let (address, token) = url.split_once("/#").expect("a token");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (address, name) = (format!("{address}{path}"), "X-Wakeling-Token");
    let answer = match body {
        Some(body) => agent.post(address).header(name, token).send(body.to_string()),
        None => agent.get(address).header(name, token).call(),
    };
    let text = answer.expect("an answer").body_mut().read_to_string().expect("text");
    serde_json::from_str(&text).expect("JSON")
}

/// Returns the states of a training until it ends, or until `is_it` accepts one.
fn follow(url: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
    let started = Instant::now();
    let mut states = Vec::new();
    loop {
        assert!(started.elapsed() < TRAINING, "{:#?}", states.last());
        let training = ask(url, "/api/state", None)["training"].clone();
        let is_running =
            ["finetune", "evaluate"].iter().any(|running| training["state"] == **running);
        let is_last = !is_running || is_it(&training);
        states.push(training);
        if is_last {
            return states;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_progress_of_a_training_goes_through_all_stages() {
    let place = tempfile::tempdir().expect("a temporary folder");
    recordings(place.path(), 8);
    let silent = place.path().join("recordings/hey-you/take-0009.wav");
    audio::write_wav(silent, &[0; 16_000]).expect("a take");
    let (_program, url) = studio(place.path());
    ask(&url, "/api/begin", Some(&json!({ "phrase": "hey you" })));
    let state = ask(&url, "/api/train", Some(&json!({})));
    assert_eq!(state["training"]["left_out"][0]["name"], "take-0009.wav", "{state}");
    assert_eq!(state["training"]["takes"], json!([6, 2]), "{state}");

    let states = follow(&url, |_| false);
    let last = states.last().expect("a state");
    assert_eq!((&last["state"], &last["share"]), (&json!("done"), &json!(1.0)), "{last:#}");
    let shares: Vec<f64> = states.iter().filter_map(|s| s["share"].as_f64()).collect();
    assert!(shares.is_sorted(), "{shares:?}");
    let different = shares.chunk_by(|a, b| a == b).count();
    assert!(different > 10, "{shares:?}");
    assert!(shares.iter().any(|s| (0.01..0.5).contains(s)), "{shares:?}");
    assert!(states.iter().any(|s| s["left_s"].as_u64().is_some()), "{states:?}");
    // The page has a text for each stage, and progress lines are kept out of the messages.
    let strings = include_str!("../../studio/src/page/strings.js");
    for stage in states.iter().filter_map(|s| s["stage"].as_str()).filter(|s| !s.is_empty()) {
        assert!(strings.contains(&format!("\"stage.{stage}\": ")), "{stage}");
    }
    let log: Vec<&str> =
        last["log"].as_array().expect("a log").iter().flat_map(Value::as_str).collect();
    assert!(log.iter().any(|line| line.contains("recordings of")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("progress")), "{log:#?}");
    let state = ask(&url, "/api/state", None);
    assert_eq!((&state["model"], &state["report"]), (&json!(true), &json!(true)));
}

#[test]
fn a_training_is_cancelled_and_the_next_one_begins() {
    let place = tempfile::tempdir().expect("a temporary folder");
    recordings(place.path(), 3);
    let (_program, url) = studio(place.path());
    ask(&url, "/api/begin", Some(&json!({ "phrase": "hey you" })));
    let run = place.path().join("runs/hey-you");
    for work in ["mixing and embedding negatives", "mixing and embedding", "head 2 of 3"] {
        let state = ask(&url, "/api/train", Some(&json!({})));
        assert_eq!(state["training"]["state"], "finetune", "{state}");
        let is_there = |training: &Value| {
            let message = training["message"].as_str().unwrap_or("");
            message.contains(work) && training["share"].as_f64() > Some(0.0)
        };
        let states = follow(&url, is_there);
        assert_eq!(states.last().expect("a state")["state"], "finetune", "{states:#?}");
        let asked = Instant::now();
        let state = ask(&url, "/api/cancel", Some(&json!({})));
        assert_eq!(state["training"]["state"], "cancelled", "{state}");
        assert_eq!(state["model"], false, "{state}");
        // About a second on a machine that has nothing else to do.
        assert!(asked.elapsed() < Duration::from_secs(8), "{work}: {:?}", asked.elapsed());
        eprintln!("cancelled while {work} in {:?}", asked.elapsed());
        // Only the lists of takes are there, and nothing of the training.
        let files =
            fs::read_dir(&run).expect("the folder").map(|e| e.expect("an entry").file_name());
        let mut files: Vec<_> = files.collect();
        files.sort();
        assert_eq!(files, ["test.jsonl", "train.jsonl"]);
    }
}

/// Script that returns the visible state of a control's message: its text, whether it is in the
/// viewport, and whether the control has the focus and refers to it.
const PROBLEM: &str = "(id => {
    const element = document.getElementById(`problem-${id}`);
    if (!element) return null;
    const { top, bottom, height } = element.getBoundingClientRect();
    const control = document.getElementById(id);
    const next = control.getBoundingClientRect();
    return [
        element.textContent,
        height > 0 && top >= 0 && bottom <= innerHeight && next.top >= 0 && next.bottom <= innerHeight,
        element.getAttribute('role') === 'alert',
        document.activeElement === control,
        control.getAttribute('aria-describedby')?.split(' ').includes(element.id) ?? false,
    ];
})";

/// Waits for the message of a control, and checks that it is beside the control and stays.
fn assert_problem(page: &mut Browser, id: &str, text: &str) {
    page.wait_for(&format!("{PROBLEM}('{id}') !== null"), SHORT);
    for _ in 0..2 {
        let found = page.evaluate(&format!("{PROBLEM}('{id}')"));
        assert!(found[0].as_str().is_some_and(|t| t.contains(text)), "{id}: {found}");
        assert_eq!(
            found.as_array().map(|f| &f[1..]),
            Some(&[json!(true), json!(true), json!(true), json!(true)][..]),
            "{id}: in view, an alert, focused, described: {found}"
        );
        std::thread::sleep(Duration::from_millis(700));
    }
}

fn assert_resolved(page: &mut Browser, id: &str) {
    page.wait_for(&format!("{PROBLEM}('{id}') === null"), SHORT);
    let described = page.evaluate(&format!(
        "(document.getElementById('{id}').getAttribute('aria-describedby') ?? '').includes('problem')"
    ));
    assert_eq!(described, false, "{id}");
}

#[test]
fn errors_stay_beside_their_control_until_they_are_resolved() {
    let place = tempfile::tempdir().expect("a temporary folder");
    recordings(place.path(), 12);
    let (program, url) = studio(place.path());
    let Some(mut page) = Browser::start(place.path(), &microphone(place.path()), &url) else {
        return;
    };
    // The viewport is so low that the top of the page is out of sight.
    page.set_viewport((800, 500), "light");
    page.wait_for("document.querySelector('h1')?.textContent === 'Wakeling studio'", SHORT);
    let click = |page: &mut Browser, id: &str| {
        page.evaluate(&format!("document.getElementById('{id}').click()"));
    };

    // Missing or rejected input: the message disappears with the next letter.
    click(&mut page, "begin");
    assert_problem(&mut page, "phrase", "There is no phrase");
    page.type_text("-you");
    assert_resolved(&mut page, "phrase");
    page.press("Enter");
    assert_problem(&mut page, "phrase", "begins with a dash");
    page.evaluate("document.getElementById('phrase').select()");
    page.type_text("hey you");
    assert_resolved(&mut page, "phrase");
    page.press("Enter");
    page.wait_for("!document.getElementById('takes-section').hidden", SHORT);
    let check = page.evaluate("document.getElementById('check').textContent");
    assert!(check.as_str().is_some_and(|c| c.contains("Language: looks like English")), "{check}");

    // A microphone that is first denied, then allowed.
    let devices = "navigator.mediaDevices";
    page.evaluate(&format!("(window.given = {devices}.getUserMedia.bind({devices}), {devices}.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError')), 0)"));
    for id in ["room", "take"] {
        click(&mut page, id);
        assert_problem(&mut page, id, "does not allow this page to use the microphone");
    }
    page.image("refused.png");
    page.evaluate(&format!("({devices}.getUserMedia = window.given, 0)"));
    for id in ["room", "take"] {
        click(&mut page, id);
        assert_resolved(&mut page, id);
    }

    // A program that does not answer for a while.
    page.evaluate("(window.asked = window.fetch, window.fetch = () => Promise.reject(new TypeError('failed')), 0)");
    for id in ["train", "remove-take-0011.wav"] {
        click(&mut page, id);
        assert_problem(&mut page, id, "does not answer");
    }
    page.evaluate("(window.fetch = window.asked, 0)");
    click(&mut page, "train");
    assert_resolved(&mut page, "train");
    click(&mut page, "cancel");
    page.wait_for("document.activeElement.id === 'train'", SHORT);

    // A program that has ended.
    drop(program);
    for id in ["train", "take", "remove-take-0012.wav"] {
        click(&mut page, id);
        assert_problem(&mut page, id, "does not answer");
    }
    page.image("gone.png");
}

#[test]
fn a_muted_microphone_is_named_within_two_seconds() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (_program, url) = studio(place.path());
    let muted = recording(place.path(), &[0; 16_000 * 20]);
    let Some(mut page) = Browser::start(place.path(), &muted, &url) else { return };
    page.set_viewport((360, 640), "dark");
    page.wait_for("document.querySelector('h1')?.textContent === 'Wakeling studio'", SHORT);
    page.evaluate("document.getElementById('phrase').focus()");
    page.type_text("hey you");
    page.press("Enter");
    page.wait_for("document.activeElement.id === 'take'", SHORT);
    page.evaluate("new MutationObserver(() => { if (document.getElementById('problem-take')) window.named ??= performance.now() }).observe(document.body, { childList: true, subtree: true })");
    page.press("Enter");
    assert_problem(&mut page, "take", "muted or off");
    let delay = page.evaluate("window.named - performance.getEntriesByType('resource').find((r) => r.name.includes('/api/sound')).startTime");
    assert!(delay.as_f64().is_some_and(|ms| ms < 2_000.0), "{delay} ms");
    // The message stays when the take is over, and nothing was saved.
    page.wait_for("document.getElementById('take').textContent === 'Record a take'", SHORT);
    assert_problem(&mut page, "take", "muted or off");
    assert_eq!(page.evaluate("document.querySelectorAll('#takes li').length"), 0);
    page.image("muted.png");
}

/// Writes `studio.png`, the image of the studio in the documents. espeak-ng should be installed.
///
/// `WAKELING_SCREENSHOTS=$PWD/docs/images cargo test -p wakeling --test studio -- --ignored image`
#[test]
#[ignore = "writes a picture of the documents"]
fn image_of_the_studio() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (_program, url) = studio(place.path());
    let Some(mut page) = Browser::start(place.path(), &microphone(place.path()), &url) else {
        return;
    };
    page.set_viewport((760, 1_090), "light");
    page.wait_for("document.querySelector('h1')?.textContent === 'Wakeling studio'", SHORT);
    page.evaluate("document.getElementById('phrase').focus()");
    page.type_text("hey wakeling");
    page.press("Enter");
    page.wait_for("document.activeElement.id === 'take'", SHORT);
    for kept in 0..=5 {
        page.press("Enter");
        page.wait_for("['keep', 'redo'].includes(document.activeElement.id)", SHORT);
        page.wait_for("document.getElementById('spectrogram').complete", SHORT);
        if kept < 5 {
            page.evaluate("document.getElementById('keep').click()");
            page.wait_for("document.activeElement.id === 'take'", SHORT);
        }
    }
    page.evaluate("(document.documentElement.style.scrollbarWidth = 'none', scrollTo(0, 0))");
    page.image_in_view("studio.png");
}
