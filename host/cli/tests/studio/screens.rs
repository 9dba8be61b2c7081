//! The comparison of screens notices what a user would, and nothing else: shown on the real page.

use wakeling_tests::{
    browser::{Browser, View, input::Hand::Pointer},
    screens::Gallery,
};

use super::{SHORT, microphone, studio};

/// Changes of the page that a user would notice, each with a part of the message.
const NOTICED: [(&str, &str); 7] = [
    ("#room-section { display: none !important }", "missing: div#room-section"),
    ("#drop { visibility: hidden !important }", "missing: div#drop"),
    (":root { --accent: #b0500b !important }", "its ink is [176, 80"),
    (
        "@media (prefers-color-scheme: dark) { :root { --back: #fff !important; --ink: #1b222c !important } }",
        "dark: its background",
    ),
    ("h1, h2, h2 span { color: var(--back) !important }", "it is empty"),
    ("#room { width: 80%; height: 7rem }", "button#room"),
    ("#room-section { transform: translateY(-120px) }", "overlap"),
];

/// Changes that come from another machine.
const FORGIVEN: [&str; 3] = [
    "body, button, input, select { font-family: 'Liberation Sans', 'DejaVu Sans' !important }",
    "main { transform: translateY(1px) }",
    "* { text-rendering: geometricPrecision; letter-spacing: .1px }",
];

#[test]
fn comparison_of_screens_notices_what_a_user_would() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (_program, url) = studio(place.path());
    let Some(mut page) = Browser::launch(place.path(), &microphone(place.path())) else { return };
    page.set_view(View::of(1_280, 800));
    page.open(&url);
    page.wait_for("document.querySelector('#begin')?.checkVisibility() ?? false", SHORT);
    page.focus(Pointer, "#phrase");
    page.type_text("hey you");
    page.press("Enter");
    page.wait_for("!document.getElementById('check').hidden", SHORT);
    page.operate(Pointer, "#start-recording");
    page.wait_for("document.getElementById('microphone-test').hidden", SHORT);
    let gallery = Gallery::new(&place.path().join("accepted"), super::session::VARYING);
    let name = "mutation";
    let (parts, _) = gallery.compare(&mut page, name);
    gallery.accept(name, &parts);
    assert_eq!(gallery.compare(&mut page, name).1, [""; 0], "the same page twice");
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('style'), { id: 'mutation' }))",
    );
    let change = |page: &mut Browser, style: &str| {
        page.evaluate(&format!("document.getElementById('mutation').textContent = {style:?}"));
        gallery.compare(page, name).1
    };
    for style in FORGIVEN {
        assert_eq!(change(&mut page, style), [""; 0], "{style}");
    }
    for (style, expected) in NOTICED {
        let found = change(&mut page, style);
        assert!(found.iter().any(|line| line.contains(expected)), "{style}: {found:#?}");
    }
}
