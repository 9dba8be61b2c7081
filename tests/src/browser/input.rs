//! Hands on the page: pointer, keyboard and touch, as events of the devices and not of the page.
//!
//! An element is operated only if a user could: it is visible, nothing covers it, and the keyboard
//! reaches it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::Browser;

/// Patience with an element that is about to appear, or still moves.
const APPEARING: Duration = Duration::from_secs(20);

/// How a user operates the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// A mouse.
    Pointer,
    /// Nothing but keys.
    Keyboard,
    /// A finger.
    Touch,
}

/// Script that scrolls to an element, if necessary, and returns its middle, or the reason why a
/// finger cannot reach it.
const REACH: &str = "(selector => {
    const element = document.querySelector(selector);
    if (!element) return 'is not on the page';
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return 'is hidden';
    if (element.disabled) return 'is disabled';
    const isReached = () => {
        const box = element.getBoundingClientRect();
        const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
        const top = document.elementFromPoint(x, y);
        const isLabel = [...element.labels ?? []].some((label) => label.contains(top));
        return top && (element.contains(top) || isLabel) ? [x, y] : `is covered by ${top?.outerHTML.slice(0, 120)}`;
    };
    let place = isReached();
    if (!Array.isArray(place)) {
        element.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
        place = isReached();
    }
    return place;
})";

/// Script that returns whether an element has the focus, and whether that is visible.
const FOCUSED: &str = "(selector => {
    const element = document.activeElement;
    if (!element?.matches(selector)) return null;
    const style = getComputedStyle(element);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
})";

/// Script that returns the selector of the group of a radio button; null for other elements.
const GROUP: &str = "(selector => {
    const element = document.querySelector(selector);
    return element?.type === 'radio' ? `input[name=\"${element.name}\"]` : null;
})";

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Browser {
    /// Operates a button, link, check box or choice, found by a CSS selector, the way `hand` does.
    ///
    /// # Panics
    /// If a user could not: the element is missing, hidden, disabled, covered, or the keyboard does
    /// not reach it or does not show where it is.
    pub fn operate(&mut self, hand: Hand, selector: &str) {
        match hand {
            Hand::Pointer => {
                let (x, y) = self.reach(selector);
                self.click_at(x, y);
            }
            Hand::Touch => {
                let (x, y) = self.reach(selector);
                let touch =
                    |kind: &str, points: Value| json!({ "type": kind, "touchPoints": points });
                let start = touch("touchStart", json!([{ "x": x, "y": y }]));
                self.ask("Input.dispatchTouchEvent", start);
                self.ask("Input.dispatchTouchEvent", touch("touchEnd", json!([])));
            }
            Hand::Keyboard => {
                let group = self.evaluate(&format!("{GROUP}({})", quoted(selector)));
                if let Some(group) = group.as_str() {
                    return self.choose(group, selector);
                }
                self.tab_to(selector);
                // A choice changes by the space bar, a button by both.
                let is_input = self.evaluate("document.activeElement.matches('input')") == true;
                self.press(if is_input { " " } else { "Enter" });
            }
        }
    }

    /// Chooses one of a group of radio buttons with the arrow keys: Tab reaches only the group.
    fn choose(&mut self, group: &str, selector: &str) {
        self.tab_to(group);
        let chosen = format!(
            "document.activeElement.matches({0}) && document.activeElement.checked",
            quoted(selector)
        );
        for _ in 0..20 {
            if self.evaluate(&chosen) == true {
                return;
            }
            self.press("ArrowDown");
        }
        panic!("the arrow keys do not reach {selector}");
    }

    /// Chooses an option of a list by its value, with the arrow keys: the list that a pointer opens
    /// belongs to the system, not to the page.
    pub fn select(&mut self, hand: Hand, selector: &str, value: &str) {
        match hand {
            Hand::Keyboard => self.tab_to(selector),
            Hand::Pointer | Hand::Touch => {
                self.reach(selector);
                self.evaluate(&format!("document.querySelector({}).focus()", quoted(selector)));
            }
        }
        let is_chosen = format!("document.activeElement.value === {}", quoted(value));
        self.press("Home");
        for _ in 0..100 {
            if self.evaluate(&is_chosen) == true {
                return;
            }
            self.press("ArrowDown");
        }
        panic!("{selector} does not offer {value}");
    }

    /// Puts the focus into a field and selects its text.
    pub fn focus(&mut self, hand: Hand, selector: &str) {
        match hand {
            Hand::Keyboard => self.tab_to(selector),
            Hand::Pointer | Hand::Touch => self.operate(hand, selector),
        }
        self.key("a", 2);
    }

    /// Clicks with the left button of a mouse.
    pub fn click_at(&mut self, x: f64, y: f64) {
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// Waits until an element can be reached and no longer moves. Returns its middle.
    fn reach(&mut self, selector: &str) -> (f64, f64) {
        let script = format!("{REACH}({})", quoted(selector));
        let started = Instant::now();
        let mut last = Value::Null;
        loop {
            let found = self.evaluate(&script);
            if found.is_array() && found == last {
                let at = |i: usize| found[i].as_f64().unwrap_or_default();
                return (at(0), at(1));
            }
            assert!(started.elapsed() < APPEARING, "{selector} {found}");
            last = found;
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Presses Tab until an element has the focus, and checks that the focus is visible.
    fn tab_to(&mut self, selector: &str) {
        let script = format!("{FOCUSED}({})", quoted(selector));
        let elements = self.evaluate("document.querySelectorAll('*').length").as_u64();
        for _ in 0..elements.unwrap_or(0).min(400) {
            let focused = self.evaluate(&script);
            if !focused.is_null() {
                assert_eq!(focused, true, "{selector}: the focus is not visible");
                return;
            }
            self.press("Tab");
        }
        let page = self.evaluate("document.body.innerText");
        panic!("the keyboard does not reach {selector}; the page reads:\n{page}");
    }

    /// Presses a key, such as "Tab" or "Enter".
    pub fn press(&mut self, key: &str) {
        self.key(key, 0);
    }

    /// Presses a key with modifiers: 1 for Alt, 2 for Control, 8 for Shift, or their sum.
    pub fn key(&mut self, key: &str, modifiers: u8) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            " " => (32, " "),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            "Home" => (36, ""),
            "End" => (35, ""),
            _ => (0, key),
        };
        let is_command = modifiers & 2 != 0;
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" && !is_command { text } else { "" };
            let mut event = json!({
                "type": kind, "key": key, "code": if key == " " { "Space" } else { key },
                "windowsVirtualKeyCode": code, "text": text, "modifiers": modifiers,
            });
            if is_command && key == "a" {
                event["commands"] = json!(["selectAll"]);
            }
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into the focused element.
    pub fn type_text(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Drops files from outside the browser onto the middle of an element.
    pub fn drop_files(&mut self, selector: &str, files: &[&Path]) {
        let (x, y) = self.reach(selector);
        let data = json!({ "items": [], "files": files, "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            let event = json!({ "type": kind, "x": x, "y": y, "data": data });
            self.ask("Input.dispatchDragEvent", event);
        }
    }

    /// Operates a control that opens a dialog for files, and chooses them there.
    pub fn choose_files(&mut self, hand: Hand, selector: &str, files: &[&Path]) {
        self.ask("Page.setInterceptFileChooserDialog", json!({ "enabled": true }));
        self.operate(hand, selector);
        let event = self.event("Page.fileChooserOpened", APPEARING);
        let node = &event["backendNodeId"];
        self.ask("DOM.setFileInputFiles", json!({ "files": files, "backendNodeId": node }));
        self.ask("Page.setInterceptFileChooserDialog", json!({ "enabled": false }));
    }
}
