//! A browser for tests: headless Chromium, controlled by the DevTools protocol over a pipe.
//!
//! Its microphone is a WAV file. [`Browser::start`] returns `None` where Chromium or bash is
//! missing, and the tests print that they were skipped.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Names of the program, depending on the distribution.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Patience with a page that loads.
const LOADING: Duration = Duration::from_secs(60);

/// A running browser with one page; dropping it ends the browser.
pub struct Browser {
    process: Child,
    requests: File,
    answers: BufReader<File>,
    session: Value,
    next: u64,
}

impl Browser {
    /// Starts a browser whose page has loaded `url`, with its files in `place`; downloads go to `place/downloads`.
    pub fn start(place: &Path, microphone: &Path, url: &str) -> Option<Self> {
        let has = |name: &&&str| {
            Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        };
        let Some(program) = NAMES.iter().find(has) else {
            eprintln!("skipped: no Chromium; type: sudo apt-get install chromium");
            return None;
        };
        let pipe = |name: &str| {
            let path = place.join(name);
            let made = Command::new("mkfifo").arg(&path).status();
            assert!(made.is_ok_and(|s| s.success()), "a pipe");
            path
        };
        let (requests, answers) = (pipe("requests"), pipe("answers"));
        let profile = place.join("profile");
        // The protocol uses descriptors 3 and 4, which only a shell can set up simply.
        let process = Command::new("bash")
            .args(["-c", "exec \"$@\" 3<requests 4>answers", "bash", program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"])
            .args(["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"])
            .arg(format!("--use-file-for-fake-audio-capture={}", microphone.display()))
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("--autoplay-policy=no-user-gesture-required")
            .arg("--window-size=900,1400")
            .current_dir(place)
            .env("HOME", place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash starts");
        let requests = OpenOptions::new().write(true).open(requests).expect("a pipe");
        let answers = BufReader::new(File::open(answers).expect("a pipe"));
        let mut browser = Self { process, requests, answers, session: Value::Null, next: 0 };
        let target = browser.ask("Target.createTarget", json!({ "url": url }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach)["sessionId"].clone();
        let downloads = place.join("downloads");
        fs::create_dir_all(&downloads).expect("a folder");
        browser.ask(
            "Browser.setDownloadBehavior",
            json!({ "behavior": "allow", "downloadPath": downloads }),
        );
        browser.session = session;
        // A new target is an empty page until the navigation commits.
        browser.wait_for(
            "location.href !== 'about:blank' && document.readyState === 'complete'",
            LOADING,
        );
        Some(browser)
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).expect("the browser listens");
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer).expect("the browser answers");
            assert_eq!(answer.pop(), Some(0), "the browser has ended");
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Sets the size of the page's viewport, and its color scheme, "light" or "dark".
    pub fn set_viewport(&mut self, (width, height): (u32, u32), scheme: &str) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.ask("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Returns the CPU seconds that all pages have taken so far.
    pub fn page_seconds(&mut self) -> f64 {
        // Only the browser itself answers this, not a page.
        let session = std::mem::take(&mut self.session);
        let answer = self.ask("SystemInfo.getProcessInfo", json!({}));
        self.session = session;
        let processes = answer["processInfo"].as_array().cloned().unwrap_or_default();
        let pages = processes.iter().filter(|process| process["type"] == "renderer");
        pages.filter_map(|process| process["cpuTime"].as_f64()).sum()
    }

    /// Evaluates an expression in the page and returns its value, after any promise.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.ask("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    pub fn wait_for(&mut self, expression: &str, patience: Duration) {
        let started = Instant::now();
        while self.evaluate(expression) != true {
            if started.elapsed() > patience {
                let page = self.evaluate("document.body.innerText");
                panic!(
                    "{expression} takes too long; the page says:\n{}",
                    page.as_str().unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Presses a key, such as "Tab" or "Enter".
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            _ => (0, key),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event =
                json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into the focused element.
    pub fn type_text(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Returns the page as a screen reader presents it: roles and names, one per line.
    pub fn spoken(&mut self) -> Vec<String> {
        let nodes = self.ask("Accessibility.getFullAXTree", json!({}));
        let nodes = nodes["nodes"].as_array().cloned().unwrap_or_default();
        let line = |node: Value| {
            let part = |name: &str| node[name]["value"].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", part("role"), part("name"))
        };
        nodes.into_iter().filter(|n| n["ignored"] != true).map(line).collect()
    }

    /// Saves an image of the page in the folder that `WAKELING_SCREENSHOTS` names, if it is set.
    pub fn image(&mut self, name: &str) {
        self.save_image(name, true);
    }

    /// Saves an image like [`Browser::image`], but of the viewport only.
    pub fn image_in_view(&mut self, name: &str) {
        self.save_image(name, false);
    }

    fn save_image(&mut self, name: &str, beyond_view: bool) {
        let Some(folder) = std::env::var_os("WAKELING_SCREENSHOTS") else { return };
        let parameters = json!({ "captureBeyondViewport": beyond_view });
        let answer = self.ask("Page.captureScreenshot", parameters);
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(File::create(Path::new(&folder).join(name)).expect("a file"))
            .spawn()
            .expect("base64");
        let text = answer["data"].as_str().unwrap_or_default().as_bytes();
        decoder.stdin.take().expect("a pipe").write_all(text).expect("base64");
        decoder.wait().expect("base64");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser that has ended by itself cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
