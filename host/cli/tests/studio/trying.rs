//! Corrections while the page listens: what is refused, and what is no longer offered.

use std::{fs, path::Path, time::Duration};

use wakeling_tests::{
    Tier,
    browser::{Browser, View, input::Hand::Pointer},
    random_model,
};

use serde_json::Value;

use super::{Program, SHORT, microphone, studio};

/// Script that adds the detections in `window.detections` to the program's next answer: those of a model
/// that is as good as its training would vary from run to run.
const HEARD: &str = "window.asked = window.fetch;
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
    page.evaluate(HEARD);
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
    let heard = [1.0, 2.0, 3.0].map(|t| format!("{{ time_s: {t}, word: 'hey you', level: 60 }}"));
    page.evaluate(&format!("window.detections = [{}]; 0", heard.join(", ")));
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
