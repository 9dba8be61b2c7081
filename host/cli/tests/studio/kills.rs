//! The program ends while it records takes or the room, trains or listens, without a chance to save anything. The page
//! reports it beside the control and goes on when the program is back, and no take is lost.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use wakeling_tests::browser::{Browser, View, input::Hand::Pointer};

use wakeling_audio as audio;

use super::{Program, ROOM_S, SHORT, TRAINING, microphone, recordings, studio};

/// Ends the program like `kill -9`, and waits until the page reports it beside a control.
fn kill(program: Program, page: &mut Browser, control: &str) {
    // Its end by the destructor is SIGKILL.
    drop(program);
    page.wait_for(
        &format!("document.getElementById('problem-{control}')?.textContent.includes('does not answer') ?? false"),
        SHORT,
    );
    let described = page.evaluate(&format!(
        "document.getElementById('{control}').getAttribute('aria-describedby')?.includes('problem-{control}') ?? false"
    ));
    assert_eq!(described, true, "{control}");
}

/// Starts the program again, at the same address, and waits until the page has noticed.
fn restart(place: &Path, url: &str, page: &mut Browser, control: &str) -> Program {
    let (program, again) = studio(place);
    assert_eq!(again, url, "the page cannot find the program again");
    page.wait_for(&format!("document.getElementById('problem-{control}') === null"), SHORT);
    program
}

/// Returns the seconds of room sound on disk.
fn room_s(place: &Path) -> f64 {
    let entries = fs::read_dir(place.join("recordings/room")).expect("a folder");
    let paths = entries.map(|e| e.expect("an entry").path());
    let waves = paths.filter(|path| path.extension().is_some_and(|e| e == "wav"));
    waves.map(|path| audio::read(path).expect("sound").len() as f64 / 16_000.0).sum()
}

/// Returns the names of the kept takes on disk.
fn kept(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place.join("recordings/hey-you")).expect("a folder");
    let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("take-") && name.ends_with(".wav")).collect();
    names.sort();
    names
}

#[test]
fn a_killed_program_loses_no_take_and_goes_on() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    recordings(place, 8);
    let before = kept(place);
    assert_eq!(before.len(), 8);
    let (program, url) = studio(place);
    let Some(mut page) = Browser::launch(place, &microphone(place)) else { return };
    page.set_view(View::of(1_280, 800));
    page.open(&url);
    page.focus(Pointer, "#phrase");
    page.type_text("hey you");
    page.press("Enter");
    page.operate(Pointer, "#start-recording");

    // While a take is recorded.
    page.operate(Pointer, "#take");
    page.wait_for("document.getElementById('take').textContent.trim() === 'Stop'", SHORT);
    std::thread::sleep(Duration::from_millis(1_500));
    kill(program, &mut page, "take");
    assert_eq!(kept(place), before);
    let program = restart(place, &url, &mut page, "take");
    page.wait_for("['keep', 'redo'].includes(document.activeElement.id)", SHORT);

    // While a take waits for its verdict. It is on disk, so that another page shows it too.
    kill_waiting(program, &mut page);
    let (program, again) = studio(place);
    assert_eq!(again, url);
    page.open(&url);
    open(&mut page);
    page.wait_for("document.querySelector('#keep')?.checkVisibility() ?? false", SHORT);
    page.operate(Pointer, "#keep");
    page.wait_for("document.querySelectorAll('#takes > li').length === 9", SHORT);
    assert_eq!(kept(place).len(), 9);
    assert_eq!(kept(place)[..8], before);
    stop(&mut page);

    // While the room is recorded: what is not on disk yet fits one file, and is sent again.
    page.operate(Pointer, "#room");
    let shown = "parseInt(document.getElementById('room-seconds').textContent)";
    page.wait_for(&format!("{shown} >= {}", ROOM_S + 13), SHORT);
    let before_s = page.evaluate(shown).as_f64().expect("seconds");
    kill(program, &mut page, "room");
    let kept_s = room_s(place);
    assert!((before_s - 10.0..=before_s + 1.0).contains(&kept_s), "{kept_s} s of {before_s} s");
    let program = restart(place, &url, &mut page, "room");
    page.wait_for(&format!("{shown} > {before_s} + 1"), SHORT);
    page.operate(Pointer, "#room");
    page.wait_for(
        "document.getElementById('room').getAttribute('aria-pressed') === 'false'",
        SHORT,
    );
    let started = Instant::now();
    while room_s(place) < before_s {
        assert!(started.elapsed() < SHORT, "{} s of {before_s} s", room_s(place));
        std::thread::sleep(Duration::from_millis(100));
    }

    // While it trains.
    page.operate(Pointer, "#train");
    page.wait_for("document.getElementById('bar').value > 20", TRAINING);
    kill(program, &mut page, "cancel");
    let program = restart(place, &url, &mut page, "cancel");
    page.wait_for(
        "document.getElementById('result').checkVisibility() || document.getElementById('problem-train') !== null",
        TRAINING,
    );
    let problem = page.evaluate("document.getElementById('problem-train')?.textContent ?? ''");
    assert_eq!(problem, "");
    assert!(place.join("runs/hey-you/model.wkl").is_file());
    assert_eq!(kept(place)[..8], before);

    // While it listens.
    page.operate(Pointer, "#listen");
    page.wait_for(
        "document.getElementById('listen').getAttribute('aria-pressed') === 'true'",
        SHORT,
    );
    kill(program, &mut page, "listen");
    let _program = restart(place, &url, &mut page, "listen");
    page.evaluate("window.level = document.getElementById('live-level').textContent");
    page.wait_for(
        "document.getElementById('listen').getAttribute('aria-pressed') === 'true' && document.getElementById('live-level').textContent !== window.level",
        SHORT,
    );
    assert_eq!(kept(place)[..8], before);
}

/// Opens the word, unless the program opened it again by itself.
fn open(page: &mut Browser) {
    let visible =
        |id: &str| format!("(document.getElementById('{id}')?.checkVisibility() ?? false)");
    let (listed, opened) = (visible("open-hey-you"), visible("takes-section"));
    page.wait_for(&format!("{listed} || {opened}"), SHORT);
    if page.evaluate(&listed) == true {
        page.operate(Pointer, "#open-hey-you");
    }
}

/// Ends the program, which the page does not notice before it asks something.
fn kill_waiting(program: Program, page: &mut Browser) {
    drop(program);
    assert_eq!(page.evaluate("document.querySelector('#keep').checkVisibility()"), true);
}

/// Ends a recording that went on by itself.
fn stop(page: &mut Browser) {
    std::thread::sleep(Duration::from_millis(500));
    if page.evaluate("document.getElementById('take').textContent.trim() === 'Stop'") == true {
        page.operate(Pointer, "#take");
    }
}
