//! A whole session by a user's hands: phrase, takes, files, room, training, detection, corrections,
//! downloads, report, list of words. By pointer on a wide screen, by the keyboard alone on a middle
//! one, by touch on a phone, each in dark and light.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use wakeling_device::{
    board::{Board, Family},
    flash::uf2,
    model_file,
};
use wakeling_tests::{
    Random,
    browser::{
        Browser, View,
        input::Hand::{self, Keyboard, Pointer, Touch},
    },
    screens::Gallery,
};

use super::{SHORT, TRAINING, downloaded, firmware_is_built, images, microphone, studio_of};

/// Bytes of the page with all its files.
const PAGE_BYTES: u64 = 150_000;
/// Layout shift while the page is loaded that no eye notices.
const STILL: f64 = 0.01;
/// Layout shift when another step is opened, at which a page still counts as good.
const STEP_SHIFT: f64 = 0.1;
/// Script that returns the controls of the phrase of which a part is covered at some scroll position.
const COVERED: &str = "(() => {
    const controls = document.querySelectorAll('#phrase-section :is(input, select, button)');
    const covered = new Set();
    const end = document.documentElement.scrollHeight;
    for (let y = 0; y < end; y += 60) {
        scrollTo({ top: y, behavior: 'instant' });
        for (const control of controls) {
            const { left, right, top, bottom } = control.getBoundingClientRect();
            if (!control.checkVisibility() || top < 0 || bottom > innerHeight) continue;
            for (const at of [top + 4, (top + bottom) / 2, bottom - 4]) {
                const found = document.elementFromPoint((left + right) / 2, at);
                if (!control.contains(found)) covered.add(`${control.id} by ${found?.id || found?.className}`);
            }
        }
    }
    scrollTo({ top: 0, behavior: 'instant' });
    return [...covered];
})()";

/// Parts whose content varies from run to run, since the sound meets the clock of the machine.
pub const VARYING: &[&str] = &[
    "#sign-box",
    "#sign",
    "#advice-now",
    ".meter",
    "#picture",
    "#takes",
    "#takes-empty",
    "#check-text",
    "#curves",
    "#detail",
    "#bar",
    "#log",
    // The share that is done or the time left, while a training runs.
    "body:has(#cancel:not([hidden])) #to-train",
    "#result-text",
    "#words",
    "#heard",
    "#live-level",
    "#light",
    "#corrections-list",
    "#corrections-text",
    "#ingredients",
    "#comparison",
    // Whether boards fit depends on the firmware and packages that were built.
    "[data-target=uf2]",
    "[data-target=esphome]",
    "[data-target=browser]",
    "#targets article:last-child p",
    // The report.
    ".verdicts",
    "section[id^=w]",
    "code",
];

/// A user with a device.
struct User {
    page: Browser,
    hand: Hand,
    device: &'static str,
    place: PathBuf,
    gallery: Gallery,
    /// What axe found, with the screen.
    violations: Vec<String>,
}

impl User {
    fn operate(&mut self, selector: &str) {
        self.page.operate(self.hand, selector);
    }

    /// Waits until an element is visible.
    fn see(&mut self, selector: &str) {
        self.page.wait_for(
            &format!("document.querySelector('{selector}')?.checkVisibility() ?? false"),
            SHORT,
        );
    }

    fn wait_for(&mut self, expression: &str) {
        self.page.wait_for(expression, SHORT);
    }

    fn text(&mut self, selector: &str) -> String {
        let text =
            self.page.evaluate(&format!("document.querySelector('{selector}')?.textContent ?? ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    fn count(&mut self, selector: &str) -> u64 {
        self.page
            .evaluate(&format!("document.querySelectorAll('{selector}').length"))
            .as_u64()
            .unwrap_or(0)
    }

    /// Checks the screen: it is as accepted, is not wider than the device, and axe finds nothing in
    /// either scheme.
    fn check(&mut self, state: &str) {
        let name = format!("{}-{state}", self.device);
        self.gallery.take(&mut self.page, &name);
        if self.gallery.accepts() {
            images::write(&self.gallery, &name);
        }
        let view = self.page.view();
        for is_dark in [!view.is_dark, view.is_dark] {
            self.page.set_view(View { is_dark, has_reduced_motion: true, ..view });
            self.page.settle();
            // The other scheme differs in its colours alone.
            let found = self.page.violations(is_dark != view.is_dark).unwrap_or_default();
            let scheme = if is_dark { "dark" } else { "light" };
            self.violations
                .extend(found.into_iter().map(|line| format!("{name}, {scheme}: {line}")));
        }
        if self.hand == Pointer {
            // A small phone, a zoom of 200 %, and a large screen.
            for (width, height, scale) in [(320, 640, 1.0), (640, 400, 2.0), (3_840, 2_160, 1.0)] {
                self.page.set_view(View { width, height, scale, ..view });
                self.assert_fits(&name);
            }
        }
        self.page.set_view(view);
        self.assert_fits(&name);
        let problem = self.text(".problem");
        assert_eq!(problem, "", "{name}");
    }

    /// Goes to another step, and checks that little moves that was there before.
    fn go_to(&mut self, selector: &str) {
        self.page.layout_shift_by_input();
        self.operate(selector);
        std::thread::sleep(Duration::from_millis(300));
        let (shift, shifted) = self.page.layout_shift_by_input();
        eprintln!("{}: {selector} shifts by {shift}", self.device);
        assert!(shift < STEP_SHIFT, "{}: {selector} shifts by {shift}: {shifted}", self.device);
    }

    /// Checks that nothing covers a control of the phrase, wherever the page is scrolled to.
    fn assert_uncovered(&mut self) {
        let covered = self.page.evaluate(COVERED);
        assert_eq!(covered, serde_json::json!([]), "{}", self.device);
    }

    /// Checks that nothing has to be scrolled sideways.
    fn assert_fits(&mut self, name: &str) {
        let wider = self.page.evaluate("document.documentElement.scrollWidth - innerWidth");
        assert!(
            wider.as_i64().is_some_and(|pixels| pixels <= 0),
            "{name}: {wider} pixels too wide for {:?}",
            self.page.view()
        );
    }
}

#[test]
fn by_pointer_on_a_wide_screen() {
    session("wide", Pointer, View::of(1_280, 800));
}

#[test]
fn by_keyboard_alone_on_a_middle_screen() {
    session("middle", Keyboard, View { is_dark: true, ..View::of(768, 1_024) });
}

#[test]
fn by_touch_on_a_phone() {
    session("phone", Touch, View { is_phone: true, ..View::of(360, 740) });
}

fn session(device: &'static str, hand: Hand, view: View) {
    let place = tempfile::tempdir().expect("a temporary folder");
    // A short training is enough for a detection; the wide screen's is long enough for curves.
    let steps = if hand == Pointer { 60 } else { 20 };
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("studio-cache");
    earlier_room(place.path());
    let (_program, url) = studio_of(place.path(), steps, &cache);
    let Some(mut page) = Browser::launch(place.path(), &microphone(place.path())) else { return };
    page.set_view(view);
    page.open(&url);
    let accepted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/studio/accepted");
    let gallery = Gallery::new(&accepted, VARYING);
    let place = place.path().to_owned();
    let mut user = User { page, hand, device, place, gallery, violations: Vec::new() };
    first_page(&mut user, &url);
    type Step = (&'static str, fn(&mut User));
    let steps: [Step; 8] = [
        ("phrase", phrase),
        ("takes", takes),
        ("files", files),
        ("training", training),
        ("listening", listening),
        ("report", report),
        ("room", room),
        ("downloads", targets),
    ];
    for (name, step) in steps {
        let started = Instant::now();
        step(&mut user);
        eprintln!("{device}: {name} in {:.1} s", started.elapsed().as_secs_f64());
    }
    words(&mut user, &url);
    let watched = user.page.watched();
    assert_eq!(watched.complaints, [""; 0]);
    assert_local(watched.requests.keys(), &url);
    report_page(&mut user);
    assert!(user.violations.is_empty(), "axe: {:#?}", user.violations);
    user.gallery.finish();
}

/// Seconds of room sound from an earlier session.
const ROOM_S: usize = 12;

/// Writes room sound of an earlier session, which is trained on. The microphone of this one goes on
/// speaking the phrase, so what it hears of the room must not be trained on as other sound.
fn earlier_room(place: &Path) {
    let mut random = Random::new(2);
    let sound: Vec<i16> = (0..ROOM_S * 16_000).map(|_| (40.0 * random.unit()) as i16).collect();
    let folder = place.join("recordings/room");
    fs::create_dir_all(&folder).expect("a folder");
    wakeling_audio::write_wav(folder.join("room-0001.wav"), &sound).expect("a recording");
}

/// Checks that all requests go to the program.
fn assert_local<'u>(mut requests: impl Iterator<Item = &'u String>, url: &str) {
    let origin = url.split("/#").next().expect("an address");
    let is_local = |request: &String| {
        [origin, "data:", "blob:", "about:"].iter().any(|start| request.starts_with(start))
    };
    let other = requests.find(|request| !is_local(request));
    assert!(other.is_none(), "a request to {other:?}");
}

/// Checks what the page costs and that it does not move while it is loaded.
fn first_page(user: &mut User, url: &str) {
    user.see("#phrase");
    let (shift, shifted) = user.page.layout_shift();
    assert!(shift < STILL, "the layout shifts by {shift} while the page is loaded: {shifted}");
    let watched = user.page.watched();
    assert_local(watched.requests.keys(), url);
    let bytes: u64 = watched.requests.values().sum();
    assert!((20_000..PAGE_BYTES).contains(&bytes), "{bytes} bytes: {:#?}", watched.requests);
    assert_eq!(watched.complaints, [""; 0]);
    eprintln!("{}: page of {bytes} bytes, layout shift {shift}", user.device);
    user.assert_uncovered();
    user.check("start");
}

fn phrase(user: &mut User) {
    user.page.focus(user.hand, "#phrase");
    user.page.type_text("hey wakeling");
    user.page.focus(user.hand, "#speaker");
    user.page.type_text("Ana");
    user.operate("#begin");
    user.see("#check #start-recording");
    user.assert_uncovered();
    user.check("phrase");
    // On a wide screen the phrase is above the columns, which take its place.
    match user.hand {
        Pointer => user.operate("#start-recording"),
        _ => user.go_to("#start-recording"),
    }
    user.see("#take");
}

fn takes(user: &mut User) {
    // The level is shown once the microphone is open.
    user.wait_for("document.getElementById('microphone-test').hidden");
    user.check("record");
    // Where the machine is busy, the phrase may fall into the countdown.
    for _ in 0..4 {
        user.operate("#take");
        user.wait_for("['keep', 'redo'].includes(document.activeElement.id) || document.querySelector('#problem-take')");
        if user.count("#problem-take") == 0 {
            break;
        }
    }
    user.wait_for("document.querySelector('#spectrogram').complete");
    user.check("take");
    user.operate("#keep");
    // Goes on by itself from here.
    user.wait_for("document.querySelectorAll('#takes > li').length >= 3");
    user.operate("#take");
    user.wait_for("document.querySelector('#take').textContent.trim() !== 'Stop'");
}

fn files(user: &mut User) {
    // The browser rejects paths with `..`.
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/train");
    let demo = demo.canonicalize().expect("the demo");
    let mut files: Vec<PathBuf> =
        fs::read_dir(demo).expect("the demo").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    let files: Vec<&Path> = files.iter().skip(8).take(9).map(PathBuf::as_path).collect();
    let before = user.count("#takes > li");
    match user.hand {
        Pointer => user.page.drop_files("#takes-section", &files),
        hand => user.page.choose_files(hand, "#files", &files),
    }
    user.wait_for(&format!("document.querySelectorAll('#takes > li').length >= {}", before + 9));
    // One too many: removed, brought back.
    user.operate("#takes > li:last-child [id^=remove]");
    user.wait_for(&format!("document.querySelectorAll('#takes > li').length === {}", before + 8));
    user.see("#undo");
    user.operate("#undo");
    user.wait_for(&format!("document.querySelectorAll('#takes > li').length === {}", before + 9));
    user.check("takes");
}

fn room(user: &mut User) {
    user.go_to("#to-record");
    let started = Instant::now();
    user.operate("#room");
    let seconds = ROOM_S + 11;
    user.wait_for(&format!(
        "parseInt(document.getElementById('room-seconds').textContent) >= {seconds}"
    ));
    // After takes and a live test, one microphone is open: two would double the seconds.
    let took = started.elapsed();
    assert!(took > Duration::from_secs(9), "11 s of the room took {took:?}");
    user.operate("#room");
    user.wait_for("document.getElementById('room').getAttribute('aria-pressed') === 'false'");
}

fn training(user: &mut User) {
    user.go_to("#to-train");
    user.operate("#train");
    user.page.wait_for(
        "document.getElementById('bar').value > 0 && document.getElementById('bar').value < 100",
        TRAINING,
    );
    user.check("training");
    // The training runs in the program, so a reloaded page still shows it.
    user.page.evaluate("window.isOld = true; location.reload()");
    user.page.wait_for(
        "!window.isOld && document.getElementById('stage')?.textContent.startsWith('Training on')",
        SHORT,
    );
    user.page.wait_for(
        "!document.getElementById('result').hidden || document.querySelector('#problem-train')",
        TRAINING,
    );
    // On a small screen the next step is in view by now.
    user.go_to("#to-train");
    user.check("trained");
    assert!(user.place.join("runs/hey-wakeling/model.wkl").is_file());
}

fn listening(user: &mut User) {
    user.go_to("#to-try");
    user.operate("#listen");
    user.see("#heard li");
    let item = user.text("#heard li");
    assert!(item.contains("hey wakeling"), "{item}");
    user.operate("#heard li .wrong");
    user.wait_for("document.querySelectorAll('#corrections-list li').length === 1");
    // Sound is kept once: the next correction needs some of its own, with the phrase in it.
    std::thread::sleep(Duration::from_secs(5));
    user.operate("#missed");
    user.wait_for("document.querySelectorAll('#corrections-list li').length === 2");
    user.operate("#row-2");
    user.wait_for("document.getElementById('row-2').checked");
    user.operate("#listen");
    user.wait_for("document.getElementById('listen').getAttribute('aria-pressed') === 'false'");
    user.check("try");
}

fn report(user: &mut User) {
    user.go_to("#to-train");
    user.operate("#report");
    user.see("#report-dialog #report-frame");
    let report = fs::read_to_string(user.place.join("runs/hey-wakeling/report.html"));
    assert!(report.expect("a report").contains("<html"));
    user.operate("#report-close");
    user.wait_for("!document.querySelector('#report-dialog').open");
}

/// Checks the report as a page of its own. What it found out differs from run to run.
fn report_page(user: &mut User) {
    let report = user.place.join("runs/hey-wakeling/report.html");
    user.page.open(&format!("file://{}", report.display()));
    user.see("h1");
    let watched = user.page.watched();
    assert_eq!(watched.complaints, [""; 0]);
    let is_own =
        |url: &String| ["file:", "data:", "blob:"].iter().any(|start| url.starts_with(start));
    let other = watched.requests.keys().find(|url| !is_own(url));
    assert!(other.is_none(), "the report asks for {other:?}");
    user.check("report");
}

fn targets(user: &mut User) {
    user.go_to("#to-export");
    user.see("#targets #download");
    user.check("targets");
    user.operate("#download");
    let path = downloaded(&user.place, "hey-wakeling.wkl");
    let bytes = model_file::read(&path).expect("a model");
    let model = model_file::load(&path, &bytes).expect("a model");
    assert_eq!(model.words[0].label, "hey wakeling");
    let run = user.place.join("runs/hey-wakeling/model.wkl");
    assert_eq!(bytes, fs::read(run).expect("a model"));
    download(user, "#get-c", "h");
    // The package for browsers is built by `./x test`.
    if std::env::var_os("WAKELING_NPM").is_some() {
        download(user, "#get-browser", "zip");
    }
    if firmware_is_built() {
        user.page.select(user.hand, "#drives", "pico2");
        let board = user.page.evaluate("document.getElementById('drives').value");
        eprintln!("{}: a UF2 file for {board}", user.device);
        let path = download(user, "#uf2", "uf2");
        assert_uf2(&path, &bytes);
    }
}

/// Operates a button that saves a file, and returns its path.
fn download(user: &mut User, button: &str, ending: &str) -> PathBuf {
    let before = files_with(&user.place, ending);
    user.operate(button);
    let started = Instant::now();
    loop {
        let now = files_with(&user.place, ending);
        let is_whole = files_with(&user.place, "crdownload").is_empty();
        if let Some(path) = now.into_iter().find(|path| is_whole && !before.contains(path)) {
            // The file is there, empty, before its content.
            if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
                return path;
            }
        }
        assert!(started.elapsed() < SHORT, "{button} downloads nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the downloaded files with an ending.
fn files_with(place: &Path, ending: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(place.join("downloads")).expect("a folder");
    let paths = files.map(|e| e.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect()
}

/// Checks a file for a board's drive: the program and the model are in it.
fn assert_uf2(path: &Path, model: &[u8]) {
    let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let name = name.rsplit('-').next().expect("a board");
    let board = Board::named(name).expect("a board");
    let family = if name.starts_with("pico2") { Family::Rp2350ArmS } else { Family::Rp2040 };
    let file = fs::read(path).expect("a file");
    let parts = uf2::read(&file, family).expect("a UF2 file");
    let at = |address| parts.iter().find(|part| part.address == address).expect("a part");
    assert!(at(board.program.start).bytes.len() > 10_000, "the board's program is in it");
    // In the first slot, after two pages of journal and a header.
    let held = &at(board.model.start).bytes[2 * 4_096 + 128..];
    assert!(held.starts_with(model), "the drive's file holds another model");
}

fn words(user: &mut User, url: &str) {
    user.operate("#home");
    user.see("#word-list > li");
    user.check("words");
    user.operate("#delete-hey-wakeling");
    user.see("#undo");
    user.check("deleted");
    user.operate("#undo");
    user.see("#word-list > li");
    let run = user.place.join("runs/hey-wakeling/model.wkl");
    assert!(run.is_file() && user.place.join("recordings/hey-wakeling").is_dir());
    // With a word in the list, the page does not move either while it is loaded.
    user.page.open(url);
    user.see("#app");
    let (shift, shifted) = user.page.layout_shift();
    assert!(shift < STILL, "the layout shifts by {shift} with a list of words: {shifted}");
}
