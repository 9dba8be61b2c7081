//! A browser for tests: headless Chromium, controlled by the DevTools protocol over a pipe.
//!
//! Its microphone is a WAV file. [`Browser::start`] returns `None` where Chromium or bash is
//! missing, and the tests print that they were skipped.
//!
//! | module | content |
//! |---|---|
//! | [`input`] | pointer, keyboard, touch, dropped and chosen files |
//! | [`watch`] | requests, bytes, messages of the console, layout shifts |

pub mod input;
pub mod watch;

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Names of the program, depending on the distribution.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Font of the accepted screens: Debian's package fonts-inter.
const SANS: &str = "Inter";

/// Patience with a page that loads.
const LOADING: Duration = Duration::from_secs(60);

/// A running browser with one page; dropping it ends the browser.
pub struct Browser {
    process: Child,
    requests: File,
    answers: BufReader<File>,
    session: Value,
    next: u64,
    /// Events of the protocol that [`watch`] has not read yet.
    events: Vec<Value>,
    view: View,
}

/// What the page is shown on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Device pixels per CSS pixel. Half the size at twice the scale is a zoom of 200 %.
    pub scale: f64,
    /// A phone has a touch screen, and no pointer that hovers.
    pub is_phone: bool,
    /// Prefers dark colours.
    pub is_dark: bool,
    /// Prefers a page without movement.
    pub has_reduced_motion: bool,
}

impl View {
    /// Returns a light screen with a pointer.
    pub const fn of(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            scale: 1.0,
            is_phone: false,
            is_dark: false,
            has_reduced_motion: false,
        }
    }
}

impl Browser {
    /// Starts a browser whose page has loaded `url`, with its files in `place`; downloads go to
    /// `place/downloads`.
    pub fn start(place: &Path, microphone: &Path, url: &str) -> Option<Self> {
        let mut browser = Self::launch(place, microphone)?;
        browser.open(url);
        Some(browser)
    }

    /// Starts a browser with an empty page.
    pub fn launch(place: &Path, microphone: &Path) -> Option<Self> {
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
        let fonts = fonts(place);
        let pipe = |name: &str| {
            let path = place.join(name);
            // Of an earlier browser in the same folder.
            let _ = fs::remove_file(&path);
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
            // Text without coloured edges, and the language of the accepted screens.
            .args(["--disable-lcd-text", "--lang=en", "--window-size=900,1400"])
            .current_dir(place)
            .env("HOME", place)
            .env("FONTCONFIG_FILE", fonts)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash starts");
        let requests = OpenOptions::new().write(true).open(requests).expect("a pipe");
        let answers = BufReader::new(File::open(answers).expect("a pipe"));
        let (session, view) = (Value::Null, View::of(900, 1_400));
        let mut browser =
            Self { process, requests, answers, session, next: 0, events: Vec::new(), view };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach)["sessionId"].clone();
        let downloads = place.join("downloads");
        fs::create_dir_all(&downloads).expect("a folder");
        browser.ask(
            "Browser.setDownloadBehavior",
            json!({ "behavior": "allow", "downloadPath": downloads }),
        );
        browser.session = session;
        browser.watch();
        Some(browser)
    }

    /// Loads a page.
    pub fn open(&mut self, url: &str) {
        // The mark distinguishes the old page from the new one, even if the address is the same.
        self.evaluate("window.isOld = true");
        let answer = self.ask("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        // Another fragment alone does not load a page.
        if answer["loaderId"].is_null() {
            self.ask("Page.reload", json!({}));
        }
        self.wait_for("!window.isOld && document.readyState === 'complete'", LOADING);
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.ask_for(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Asks the browser for something. Returns its result, or its error.
    fn ask_for(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
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
            if answer["id"].is_null() {
                self.events.push(answer);
            } else if answer["id"] == self.next {
                let error = &answer["error"];
                return if error.is_null() {
                    Ok(answer["result"].clone())
                } else {
                    Err(error.clone())
                };
            }
        }
    }

    /// Sets the size of the page's viewport, and its color scheme, "light" or "dark".
    pub fn set_viewport(&mut self, (width, height): (u32, u32), scheme: &str) {
        self.set_view(View { is_dark: scheme == "dark", ..View::of(width, height) });
    }

    /// Returns what the page is shown on.
    pub const fn view(&self) -> View {
        self.view
    }

    /// Shows the page on something else.
    pub fn set_view(&mut self, view: View) {
        let View { width, height, scale, is_phone, .. } = view;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        self.ask("Emulation.setTouchEmulationEnabled", json!({ "enabled": is_phone }));
        let scheme = if view.is_dark { "dark" } else { "light" };
        let motion = if view.has_reduced_motion { "reduce" } else { "no-preference" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": motion },
        ]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features }));
        self.view = view;
    }

    /// Waits until fonts are loaded and two frames are drawn, so that a changed view is in effect.
    pub fn settle(&mut self) {
        self.evaluate("document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0)))))");
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
        self.evaluated(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Evaluates an expression. Returns its value, or the error of the browser.
    fn evaluated(&mut self, expression: &str) -> Result<Value, Value> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.ask_for("Runtime.evaluate", parameters)?;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression in the page is true.
    pub fn wait_for(&mut self, expression: &str, patience: Duration) {
        let started = Instant::now();
        loop {
            match self.evaluated(expression) {
                Ok(value) if value == true => return,
                Ok(_) => {}
                // A page that is left in between has no answer; the next one may.
                Err(error) if error["message"].to_string().contains("navigated") => {}
                Err(error) => panic!("{expression}: {error}"),
            }
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
        self.screenshot(&Path::new(&folder).join(name), beyond_view);
    }

    /// Writes a PNG of the viewport, or of the whole page.
    pub fn screenshot(&mut self, path: &Path, beyond_view: bool) {
        let parameters = json!({ "captureBeyondViewport": beyond_view });
        let answer = self.ask("Page.captureScreenshot", parameters);
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(File::create(path).expect("a file"))
            .spawn()
            .expect("base64");
        let text = answer["data"].as_str().unwrap_or_default().as_bytes();
        decoder.stdin.take().expect("a pipe").write_all(text).expect("base64");
        decoder.wait().expect("base64");
    }
}

/// Writes settings of the fonts, so that a page has the same ones on each machine that has them, and
/// another only where they are missing. Returns the file.
fn fonts(place: &Path) -> PathBuf {
    let prefer = |family: &str| {
        format!(
            "<alias binding=\"strong\"><family>{family}</family><prefer><family>{SANS}</family></prefer></alias>"
        )
    };
    let aliases: String = ["system-ui", "sans-serif", "sans"].map(prefer).concat();
    let cache = place.join("fonts-cache");
    let text = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\"><fontconfig><dir>/usr/share/fonts</dir><dir>/usr/local/share/fonts</dir><cachedir>{}</cachedir>{aliases}<match target=\"font\"><edit name=\"hinting\" mode=\"assign\"><bool>false</bool></edit></match></fontconfig>",
        cache.display()
    );
    let path = place.join("fonts.conf");
    fs::write(&path, text).expect("a file");
    path
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser that has ended by itself cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
