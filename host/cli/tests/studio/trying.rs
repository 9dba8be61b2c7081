//! Trying a model: corrections that are refused or no longer offered, where it goes, and all of it in
//! German.

use std::{fs, path::Path, time::Duration};

use wakeling_tests::{
    Tier,
    browser::{Browser, View, input::Hand::Pointer},
    random_model,
};

use serde_json::Value;
use wakeling_audio as audio;
use wakeling_train::evaluate::{Advice, FalseAccepts, KeywordSummary, MissCount, Summary, Verdict};

use super::{Program, SHORT, microphone, studio};

/// Script that adds the detections in `window.detections` to the program's next answer: those of a model
/// that is as good as its training would vary from run to run.
const DETECTIONS: &str = "window.asked = window.fetch;
window.fetch = async (path, options) => {
    const answer = await asked(path, options);
    if (!window.detections || !path.startsWith('/api/sound?for=live')) return answer;
    const body = await answer.json();
    body.heard.push(...window.detections);
    window.detections = null;
    return new Response(JSON.stringify(body));
}; 0";

const LISTENS: &str = "document.getElementById('listen').getAttribute('aria-pressed') === 'true'";

/// Opens the page of a word with a model, and listens.
fn listening(place: &Path) -> Option<(Program, Browser)> {
    let run = place.join("runs/hey-you");
    fs::create_dir_all(&run).expect("a folder");
    fs::write(run.join("model.wkl"), random_model(1, Tier::M)).expect("a model");
    let (program, url) = studio(place);
    let mut page = Browser::launch(place, &microphone(place))?;
    page.set_view(View::of(1_280, 800));
    page.open(&url);
    page.focus(Pointer, "#phrase");
    page.type_text("hey you");
    page.press("Enter");
    page.wait_for("!document.getElementById('check').hidden", SHORT);
    page.evaluate(DETECTIONS);
    page.operate(Pointer, "#to-try");
    page.operate(Pointer, "#listen");
    page.wait_for(LISTENS, SHORT);
    Some((program, page))
}

#[test]
fn a_refused_correction_leaves_listening_on() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let Some((_program, mut page)) = listening(place.path()) else { return };
    // The microphone begins with seconds of silence, in which nothing was missed.
    page.operate(Pointer, "#missed");
    page.wait_for("document.getElementById('problem-missed') !== null", SHORT);
    let level = "document.getElementById('live-level').textContent";
    page.evaluate("document.getElementById('live-level').textContent = ''");
    page.wait_for(&format!("{level} !== ''"), SHORT);
    for _ in 0..2 {
        assert_eq!(page.evaluate(LISTENS), true);
        let beside = page.evaluate(
            "document.getElementById('problem-missed').previousElementSibling.contains(document.getElementById('missed'))",
        );
        assert_eq!(beside, true);
        assert_eq!(page.evaluate("document.getElementById('missed').disabled"), false);
        std::thread::sleep(Duration::from_millis(700));
    }
}

#[test]
fn detections_whose_sound_is_gone_offer_no_correction() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let Some((_program, mut page)) = listening(place.path()) else { return };
    std::thread::sleep(Duration::from_secs(4));
    let detections =
        [1.0, 2.0, 3.0].map(|t| format!("{{ time_s: {t}, word: 'hey you', level: 60 }}"));
    page.evaluate(&format!("window.detections = [{}]; 0", detections.join(", ")));
    let buttons = "document.querySelectorAll('#heard .wrong').length";
    page.wait_for(&format!("{buttons} >= 3"), SHORT);
    page.operate(Pointer, "#wrong-3000");
    page.wait_for("document.querySelectorAll('#heard .badge').length === 1", SHORT);
    // The sound of both is before the correction.
    page.wait_for(
        "!document.getElementById('wrong-1000') && !document.getElementById('wrong-2000')",
        Duration::from_secs(5),
    );
    assert_eq!(page.evaluate("document.querySelector('.problem')?.textContent ?? ''"), "");
    assert_eq!(page.evaluate("document.activeElement.matches('#heard .badge')"), true);
    assert_eq!(page.evaluate(LISTENS), true);
    // A later one can be corrected.
    std::thread::sleep(Duration::from_secs(3));
    page.evaluate("window.detections = [{ time_s: 6.5, word: 'hey you', level: 60 }]; 0");
    page.wait_for("document.getElementById('wrong-6500') !== null", SHORT);
    page.operate(Pointer, "#wrong-6500");
    page.wait_for("document.querySelectorAll('#heard .badge').length === 2", SHORT);
}

#[test]
fn boards_without_firmware_offer_no_training_and_a_remedy_for_users() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let Some((_program, mut page)) = listening(place.path()) else { return };
    page.operate(Pointer, "#listen");
    page.operate(Pointer, "#to-export");
    page.wait_for("document.getElementById('drives') !== null", SHORT);
    if super::firmware_is_built() {
        return;
    }
    let boards = page.evaluate("[...document.getElementById('drives').options].map(o => o.value)");
    for board in boards.as_array().expect("a list").iter().filter_map(Value::as_str) {
        page.select(Pointer, "#drives", board);
        let visible = page.evaluate("document.getElementById('train-board').checkVisibility()");
        assert_eq!(visible, false, "{board}");
        let text = page.evaluate("document.getElementById('drive-text').textContent");
        let text = text.as_str().unwrap_or_default();
        assert!(text.contains("Unpack the whole archive") && !text.contains("--"), "{text}");
    }
    // A model with other features is another matter: a training helps.
    assert_eq!(page.evaluate("document.getElementById('train-esphome').checkVisibility()"), true);
}

/// Writes a report, as a training would.
fn report(run: &Path) {
    let verdict = Verdict {
        misses: vec![MissCount { snr_db: None, missed: 1, recordings: 40 }],
        false_accepts: FalseAccepts { count: 2, hours: 2.0 },
        advice: vec![Advice::RecordGroup { field: "style".into(), value: "far".into() }],
    };
    let keyword = KeywordSummary { verdict, ..KeywordSummary::default() };
    let text = keyword.verdict.to_string();
    let summary = Summary { verdict: text, keywords: vec![keyword], ..Summary::default() };
    fs::create_dir_all(run).expect("a folder");
    summary.save(&run.join(Summary::FILE)).expect("a summary");
    fs::write(run.join("report.html"), "<html></html>").expect("a report");
}

#[test]
fn a_german_page_shows_no_english_of_the_program() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    report(&place.join("runs/hey-you"));
    let takes = place.join("recordings/hey-you");
    fs::create_dir_all(&takes).expect("a folder");
    audio::write_wav(takes.join("take-0001.wav"), &[0; 16_000]).expect("a take");
    let Some((_program, mut page)) = listening(place) else { return };
    let text = |page: &mut Browser, selector: &str| {
        let script = format!("document.querySelector({selector:?})?.textContent ?? ''");
        page.evaluate(&script).as_str().unwrap_or_default().to_owned()
    };
    let english = text(&mut page, "#result-text");
    assert!(english.contains("In a quiet room it misses"), "{english}");
    page.evaluate("localStorage.setItem('wakeling.language', 'de'); location.reload(); 0");
    page.wait_for("document.documentElement?.lang === 'de' && document.querySelector('#light-word')?.textContent === 'hey you'", SHORT);
    for (selector, expected, other) in [
        (
            "#result-text",
            "In einem ruhigen Raum überhörte es 1 von 40; Fehlauslösungen: 2 in 2 h",
            "quiet",
        ),
        ("#result-text", "nimm mehr auf: quer durchs Zimmer.", "record"),
        ("#rows", "Fehlauslösungen: ", "measured"),
        ("#takes .remark", "kein Ton", "silence"),
    ] {
        let found = text(&mut page, selector);
        assert!(found.contains(expected) && !found.contains(other), "{selector}: {found}");
    }
    // Where nothing listens, nothing can be kept; the browser's fake microphone begins with silence.
    page.operate(Pointer, "#to-try");
    page.operate(Pointer, "#listen");
    page.wait_for(LISTENS, SHORT);
    page.operate(Pointer, "#missed");
    page.wait_for("document.getElementById('problem-missed') !== null", SHORT);
    let problem = text(&mut page, "#problem-missed");
    assert!(problem.contains("drück") && !problem.contains("listen"), "{problem}");
    page.operate(Pointer, "#listen");
    page.operate(Pointer, "#to-phrase");
    page.focus(Pointer, "#phrase");
    page.type_text("go");
    page.press("Enter");
    page.wait_for(
        "document.getElementById('check-text').textContent.includes('Er ist zu kurz')",
        SHORT,
    );
    let check = text(&mut page, "#check-text");
    assert!(!check.contains("short") && !check.contains("sounds"), "{check}");
}
