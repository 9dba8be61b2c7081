//! Messages stay beside the control that they belong to, until they are resolved.

use std::time::Duration;

use serde_json::json;
use wakeling_tests::browser::Browser;

use super::{SHORT, microphone, recording, recordings, studio};

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
    // The viewport is so low that the top of the page is out of sight, and wide enough for all steps.
    page.set_viewport((1_280, 500), "light");
    page.wait_for("document.getElementById('phrase')?.checkVisibility() ?? false", SHORT);
    let click = |page: &mut Browser, id: &str| {
        page.evaluate(&format!("document.getElementById('{id}').click()"));
    };

    // The page opens the microphone as soon as there is a phrase, if it is allowed.
    let devices = "navigator.mediaDevices";
    page.evaluate(&format!("(window.given = {devices}.getUserMedia.bind({devices}), {devices}.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError')), 0)"));

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
    page.wait_for("!document.getElementById('check').hidden", SHORT);
    let check = page.evaluate("document.getElementById('check-text').textContent");
    assert!(check.as_str().is_some_and(|c| c.contains("Language: English")), "{check}");

    // A microphone that is first denied, then allowed.
    click(&mut page, "start-recording");
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

    page.wait_for("document.getElementById('take').textContent.trim() === 'Stop'", SHORT);
    click(&mut page, "take");

    // A program that does not answer for a while.
    page.evaluate("(window.asked = window.fetch, window.fetch = () => Promise.reject(new TypeError('failed')), 0)");
    for id in ["train", "remove-take-0011.wav"] {
        click(&mut page, id);
        assert_problem(&mut page, id, "does not answer");
    }
    // The training begins when it answers again; a deletion is left to another press.
    page.evaluate("(window.fetch = window.asked, 0)");
    assert_resolved(&mut page, "train");
    assert_resolved(&mut page, "remove-take-0011.wav");
    page.wait_for("document.getElementById('cancel').checkVisibility()", SHORT);
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
    page.wait_for("document.getElementById('phrase')?.checkVisibility() ?? false", SHORT);
    page.evaluate("document.getElementById('phrase').focus()");
    page.type_text("hey you");
    page.press("Enter");
    page.wait_for("document.activeElement.id === 'start-recording'", SHORT);
    page.press("Enter");
    page.wait_for("document.activeElement.id === 'take'", SHORT);
    page.evaluate("new MutationObserver(() => { if (document.getElementById('problem-take')) window.named ??= performance.now() }).observe(document.body, { childList: true, subtree: true })");
    page.press("Enter");
    assert_problem(&mut page, "take", "muted or off");
    let delay = page.evaluate("window.named - performance.getEntriesByType('resource').find((r) => r.name.includes('/api/sound?for=take')).startTime");
    assert!(delay.as_f64().is_some_and(|ms| ms < 2_000.0), "{delay} ms");
    // The message stays when the take is over, and nothing was saved.
    page.wait_for("document.getElementById('take').textContent.trim() === 'Record a take'", SHORT);
    assert_problem(&mut page, "take", "muted or off");
    assert_eq!(page.evaluate("document.querySelectorAll('#takes li').length"), 0);
    page.image("muted.png");
}
