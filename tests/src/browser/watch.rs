//! What a page does behind its face: requests and their bytes, messages of the console, layout
//! shifts, and rules of accessibility.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::Browser;

/// Script that runs before those of each page, and adds up the layout shifts, as the Layout
/// Instability API defines them: those that no input caused, and all.
const OBSERVE: &str = "window.watched = { shift: 0, shifts: [], paint: null, all: 0, sources: [] };
const nameOf = ({ node }) => node?.outerHTML?.slice(0, 100) ?? node?.nodeName;
new PerformanceObserver((list) => {
    for (const { hadRecentInput, value, sources } of list.getEntries()) {
        watched.all += value;
        watched.sources.push([value.toFixed(3), ...(sources ?? []).map(nameOf)]);
        if (hadRecentInput) continue;
        watched.shift += value;
        watched.shifts.push(...(sources ?? []).map(nameOf));
    }
}).observe({ type: 'layout-shift', buffered: true });
new PerformanceObserver((list) => { watched.paint ??= list.getEntries()[0].startTime; }).observe({ type: 'paint', buffered: true });";

/// Script that runs before those of each page, and hides the text cursor, which blinks, and the
/// highlight of a tap, which fades.
const STILL: &str = "const sheet = new CSSStyleSheet();
sheet.replaceSync('* { caret-color: transparent !important; -webkit-tap-highlight-color: transparent !important }');
document.adoptedStyleSheets.push(sheet);";

/// Script that makes the number of passed rules and a line for each violation of axe's result.
const REPORT: &str = "({ violations, passes }) => [
    passes.length,
    violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) =>
        `${id}: ${help}: ${target}: ${failureSummary.replace(/\\s+/g, ' ')}`)),
]";

/// What a page did since it was loaded.
#[derive(Debug, Default)]
pub struct Watched {
    /// Address of each request and its bytes on the wire, without headers.
    pub requests: BTreeMap<String, u64>,
    /// Errors and warnings of the console, exceptions that no one caught, and resources that did
    /// not load.
    pub complaints: Vec<String>,
}

impl Browser {
    pub(super) fn watch(&mut self) {
        for domain in ["Page", "Runtime", "Log", "Network", "DOM"] {
            self.ask(&format!("{domain}.enable"), json!({}));
        }
        self.ask("Network.setCacheDisabled", json!({ "cacheDisabled": true }));
        for script in [OBSERVE, STILL] {
            // In a function of its own, so that its names are not those of the page.
            let source = format!("(() => {{ {script} }})()");
            self.ask("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source }));
        }
    }

    /// Returns what the page did since the last call.
    pub fn watched(&mut self) -> Watched {
        // Events are read with the answer to a request.
        self.evaluate("0");
        let mut addresses = BTreeMap::new();
        let mut watched = Watched::default();
        for event in std::mem::take(&mut self.events) {
            let parameters = &event["params"];
            let id = parameters["requestId"].as_str().unwrap_or_default().to_owned();
            match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    let url = parameters["request"]["url"].as_str().unwrap_or_default();
                    watched.requests.entry(url.to_owned()).or_default();
                    addresses.insert(id, url.to_owned());
                }
                "Network.dataReceived" => {
                    if let Some(url) = addresses.get(&id) {
                        let bytes = parameters["dataLength"].as_u64().unwrap_or(0);
                        *watched.requests.entry(url.clone()).or_default() += bytes;
                    }
                }
                "Runtime.consoleAPICalled"
                    if ["error", "warning", "assert"]
                        .iter()
                        .any(|kind| parameters["type"] == **kind) =>
                {
                    watched.complaints.push(parameters["args"].to_string());
                }
                "Runtime.exceptionThrown" => {
                    watched.complaints.push(parameters["exceptionDetails"].to_string());
                }
                "Log.entryAdded"
                    if ["error", "warning"]
                        .iter()
                        .any(|level| parameters["entry"]["level"] == **level) =>
                {
                    watched.complaints.push(parameters["entry"].to_string());
                }
                _ => {}
            }
        }
        watched
    }

    /// Waits for an event of the protocol, and returns its parameters.
    pub(super) fn event(&mut self, method: &str, patience: Duration) -> Value {
        let started = Instant::now();
        loop {
            self.evaluate("0");
            if let Some(i) = self.events.iter().position(|event| event["method"] == method) {
                return self.events.remove(i)["params"].clone();
            }
            assert!(started.elapsed() < patience, "no {method}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the sum of the layout shifts since the page was loaded, and the elements that
    /// shifted.
    ///
    /// # Panics
    /// If nothing was painted yet: a page that is not painted has no shifts either.
    pub fn layout_shift(&mut self) -> (f64, String) {
        self.wait_for("watched.paint !== null", Duration::from_secs(20));
        let shifts = self.evaluate("watched.shifts").to_string();
        (self.evaluate("watched.shift").as_f64().expect("a sum"), shifts)
    }

    /// Returns the sum of all layout shifts since the last call, also of those that an input caused,
    /// and the elements that shifted.
    pub fn layout_shift_by_input(&mut self) -> (f64, String) {
        self.settle();
        let taken = self.evaluate("[watched.all, JSON.stringify(watched.sources)]");
        self.evaluate("watched.all = 0; watched.sources = []; 0");
        (taken[0].as_f64().expect("a sum"), taken[1].to_string())
    }

    /// Returns what axe-core finds wrong with the page: rule, help and element, a line each; with
    /// `only_colours`, by the rule of contrast alone. `None` where `WAKELING_AXE` does not name its
    /// file.
    pub fn violations(&mut self, only_colours: bool) -> Option<Vec<String>> {
        let Some(path) = std::env::var_os("WAKELING_AXE").map(PathBuf::from) else {
            eprintln!("SKIP: no axe-core; .ci/run installs it and names its file in WAKELING_AXE");
            return None;
        };
        if self.evaluate("typeof axe") == "undefined" {
            let script = fs::read_to_string(&path);
            let script = script.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            // As a statement, without the result, which cannot be returned by value.
            self.evaluate(&format!("{script};0"));
        }
        let rules = if only_colours {
            "{ type: 'rule', values: ['color-contrast'] }"
        } else {
            "{ type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }"
        };
        let found = self.evaluate(&format!(
            "axe.run(document, {{ resultTypes: ['violations'], runOnly: {rules} }}).then({REPORT})"
        ));
        assert!(
            found[0].as_u64() >= Some(if only_colours { 1 } else { 5 }),
            "axe checked almost nothing: {found}"
        );
        let lines = found[1].as_array().expect("a list");
        Some(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }
}
