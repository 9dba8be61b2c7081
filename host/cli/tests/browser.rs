//! Test of the npm package against the program: the same scores in Node and in Chromium, byte for
//! byte; damaged models; the demo page with a fake microphone. `./x test` builds the package and
//! names it in `WAKELING_NPM`. Skipped, with a message, where the package, Node or Chromium is
//! missing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use wakeling_audio as audio;
use wakeling_tests::{
    bindings::{write_damaged, write_models, write_sound},
    browser::Browser,
    loud::sawtooth,
    server::{Content, Server},
};

const SHORT: Duration = Duration::from_secs(60);
/// Seconds of sound in which the cost is measured, and those that `cost` in `lines.js` runs before.
const SECONDS: usize = 120;
const WARM_UP: usize = 10;

/// Returns the folder of the built package.
fn package() -> Option<PathBuf> {
    let folder = std::env::var_os("WAKELING_NPM").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIP: no npm package; `./x test` builds it");
    }
    folder
}

/// Returns a Node command for a file in `bindings/npm/test`.
fn node(file: &str) -> Option<Command> {
    let is_there = Command::new("node").arg("--version").output().is_ok_and(|o| o.status.success());
    if !is_there {
        eprintln!("SKIP: no Node; type: sudo apt-get install nodejs");
        return None;
    }
    let mut node = Command::new("node");
    if file.ends_with(".test.js") {
        node.arg("--test");
    }
    node.arg(tests_of_the_package().join(file));
    Some(node)
}

fn tests_of_the_package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bindings/npm/test")
}

/// Runs a command and returns what it prints.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Returns the lines of the program, without the peak and level of detections, which are known only
/// some time after them.
fn simulated(model: &Path, wav: &Path, sensitivity: &str) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wakeling"));
    program.args(["simulate", "sound.wav", "--json", "--scores", "--tail-s", "0"]);
    program.args(["--sensitivity", sensitivity, "--model"]).arg(model);
    let text = output(program.current_dir(wav.parent().expect("a folder")));
    let cut = |line: &str| match (line.find(",\"peak\":"), line.find(",\"threshold\":")) {
        (Some(peak), Some(threshold)) => {
            let rest = line[threshold..].split(",\"level\":").next().unwrap_or_default();
            format!("{}{rest}}}\n", &line[..peak])
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(cut).collect()
}

fn detections(lines: &str) -> usize {
    lines.lines().filter(|line| line.contains("\"word\":")).count()
}

#[test]
fn node_gives_the_bytes_of_the_simulator() {
    let (Some(package), Some(_)) = (package(), node("simulate.js")) else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    let (wav, raw) = write_sound(place.path());
    let models = write_models(place.path());
    let lines = |model: &Path, options: &[&str]| {
        let mut node = node("simulate.js").expect("Node");
        output(node.arg(&package).arg(model).arg(&raw).arg("sound.wav").args(options))
    };
    for (number, model) in models.iter().enumerate() {
        let expected = simulated(model, &wav, "normal");
        assert!(detections(&expected) > 0, "{}: a test of nothing", model.display());
        let options: &[&str] = match number % 3 {
            0 => &["block=1000"],
            1 => &["block=128", "float"],
            _ => &[],
        };
        assert!(lines(model, options) == expected, "{} differs", model.display());
    }
    for sensitivity in ["strict", "eager"] {
        let model = &models[3];
        let found = lines(model, &[&format!("sensitivity={sensitivity}")]);
        assert!(found == simulated(model, &wav, sensitivity), "{sensitivity} differs");
    }
    for name in ["s", "m"] {
        let mut node = node("simulate.js").expect("Node");
        let cost =
            output(node.arg(&package).arg(place.path().join(format!("{name}.wkl"))).arg("cost"));
        let share: f64 = cost.trim().parse().expect("a number");
        println!("Node, a model of tier {name}: {:.3} % of a core", 100.0 * share);
        assert!(share < 0.1, "{share} seconds per second of sound");
    }
}

#[test]
fn tests_of_the_package_pass_in_node() {
    let (Some(package), Some(_)) = (package(), node("package.test.js")) else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    write_models(place.path());
    write_damaged(&place.path().join("damaged"));
    for file in ["resampler.test.js", "package.test.js"] {
        let mut node = node(file).expect("Node");
        let text = output(node.env("WAKELING_NPM", &package).env("WAKELING_MODELS", place.path()));
        let counts = text.lines().filter(|line| line.contains("damaged files"));
        counts.for_each(|line| println!("{}", line.trim_start_matches("# ")));
    }
}

/// `.ci/run` names TypeScript's compiler in `WAKELING_TSC`.
#[test]
fn types_of_the_package_are_right() {
    let (Some(package), Some(tsc)) = (package(), std::env::var_os("WAKELING_TSC")) else {
        eprintln!("SKIP: no npm package, or no TypeScript in WAKELING_TSC");
        return;
    };
    let place = tempfile::tempdir().expect("a temporary folder");
    let installed = place.path().join("node_modules/wakeling");
    fs::create_dir_all(&installed).expect("a folder");
    for name in ["package.json", "index.d.ts", "index.js"] {
        fs::copy(package.join(name), installed.join(name)).expect("a file of the package");
    }
    let file = place.path().join("types.mts");
    fs::copy(tests_of_the_package().join("types.mts"), &file).expect("a file");
    let mut compiler = Command::new(tsc);
    compiler.args(["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]);
    compiler.args(["--lib", "es2022,dom"]).arg(&file).current_dir(place.path());
    output(&mut compiler);
}

/// Starts a server of the package, the JavaScript of its tests, and the files in `place`.
fn serve(package: &Path, place: &Path) -> Server {
    let mut content = Content::default();
    let mut add = |url: String, path: &Path| {
        let bytes = fs::read(path).expect("a file");
        content.files.insert(url, bytes);
    };
    for folder in ["", "demo/"] {
        for entry in fs::read_dir(package.join(folder)).expect("the package") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                add(format!("/{folder}{name}"), &path);
            }
        }
    }
    add("/test/lines.js".into(), &tests_of_the_package().join("lines.js"));
    for entry in fs::read_dir(place).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "wkl" || e == "raw") {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            add(format!("/files/{name}"), &path);
        }
    }
    Server::start(content)
}

#[test]
fn browser_gives_the_bytes_of_the_simulator() {
    let Some(package) = package() else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    let (wav, _) = write_sound(place.path());
    let models = write_models(place.path());
    let server = serve(&package, place.path());
    let page = format!("{}/demo/index.html", server.address);
    let Some(mut page) = Browser::start(place.path(), &wav, &page) else { return };
    let setup = "(async () => { \
        window.wakeling = await import('/index.js'); \
        window.tests = await import('/test/lines.js'); \
        window.bytes = async (name) => (await fetch(`/files/${name}`)).arrayBuffer(); \
        window.lines = async (model, block) => tests.lines(wakeling, await bytes(model), \
            new Int16Array(await bytes('sound.raw')), { name: 'sound.wav', block }); })()";
    page.evaluate(setup);
    for model in &models {
        let name = model.file_name().expect("a name").to_string_lossy();
        let found = page.evaluate(&format!("lines('{name}', 1600)"));
        let found = found.as_str().expect("lines");
        assert!(found == simulated(model, &wav, "normal"), "{name} differs");
    }
    for name in ["s", "m"] {
        let before = page.page_seconds();
        let seconds = page.evaluate(&format!(
            "(async () => tests.cost(wakeling, await bytes('{name}.wkl'), {SECONDS}, () => performance.now() / 1000))()"
        ));
        assert!(seconds.is_number(), "{seconds}");
        let share = (page.page_seconds() - before) / (SECONDS + WARM_UP) as f64;
        println!("Chromium, a model of tier {name}: {:.3} % of a core", 100.0 * share);
        assert!(share < 0.1, "{share} seconds per second of sound");
    }
    // The module without vectors, in a page that has none.
    let plain = "WebAssembly.validate = () => false; location.hash = 'plain'; location.reload()";
    page.evaluate("window.isOld = true");
    page.evaluate(plain);
    page.wait_for("!window.isOld && document.readyState === 'complete'", SHORT);
    page.evaluate("WebAssembly.validate = () => false");
    page.evaluate(setup);
    let found = page.evaluate("lines('m.wkl', 777)");
    assert!(found.as_str() == Some(&*simulated(&models[5], &wav, "normal")), "it differs");
    let asked = server.with(|content| content.asked.concat());
    assert!(asked.contains("/wasm-simd.js") && asked.contains("/wasm-plain.js"), "{asked}");
}

/// The demo page: a file that is no model, a model, the microphone, a detection.
#[test]
fn demo_page_detects_from_the_microphone() {
    let Some(package) = package() else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    write_models(place.path());
    let microphone = place.path().join("microphone.wav");
    // The browser repeats it: silence of three seconds, then a loud second.
    let pcm = [vec![0; 48_000], sawtooth(16_000)].concat();
    audio::write_wav(&microphone, &pcm).expect("a recording");
    let server = serve(&package, place.path());
    let url = format!("{}/demo/index.html", server.address);
    let Some(mut page) = Browser::start(place.path(), &microphone, &url) else { return };
    page.set_viewport((1_000, 900), "light");
    page.wait_for(
        "document.readyState === 'complete' && document.title === 'Wakeling in the browser'",
        SHORT,
    );
    page.image("demo-empty.png");
    let spoken = page.spoken();
    for expected in
        ["heading: Wakeling in the browser", "button: Start the microphone", "radio: Normal"]
    {
        assert!(spoken.iter().any(|line| line == expected), "{expected} is not in {spoken:#?}");
    }
    let pick = |page: &mut Browser, name: &str, file: &str| {
        page.evaluate(&format!(
            "(async () => {{ const bytes = {file}; const list = new DataTransfer(); \
             list.items.add(new File([bytes], '{name}')); const input = document.getElementById('file'); \
             input.files = list.files; input.dispatchEvent(new Event('change')); }})()"
        ));
    };
    pick(&mut page, "notes.wkl", "'these are no bytes of a model, but some words'");
    page.wait_for("document.getElementById('model-problem').textContent.includes('notes.wkl is no model file')", SHORT);
    assert_eq!(page.evaluate("document.getElementById('toggle').disabled"), true);
    page.image("demo-problem.png");
    pick(&mut page, "loud.wkl", "await (await fetch('/files/loud.wkl')).arrayBuffer()");
    page.wait_for("!document.getElementById('toggle').disabled", SHORT);
    assert_eq!(page.evaluate("document.getElementById('model-problem').hidden"), true);
    page.evaluate("document.getElementById('toggle').click()");
    page.wait_for("document.getElementById('status').textContent === 'Listening.'", SHORT);
    page.wait_for("document.querySelector('.word.lit') !== null", SHORT);
    page.image("demo-detection.png");
    let spoken = page.spoken();
    assert!(spoken.iter().any(|line| line == "meter: loud"), "{spoken:#?}");
    page.set_viewport((360, 740), "dark");
    page.wait_for("document.querySelectorAll('#log li').length >= 2", SHORT);
    page.image("demo-phone.png");
    let wide = page.evaluate("document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(wide, true, "the page scrolls sideways");
    let line = page.evaluate("document.querySelector('#log li').textContent");
    assert!(line.as_str().is_some_and(|line| line.starts_with("loud, after ")), "{line}");
    // It stops, and starts again with another sensitivity.
    page.evaluate("document.getElementById('toggle').click()");
    page.wait_for("document.getElementById('status').textContent === 'Stopped.'", SHORT);
    // Also without a conversion by the browser: the worklet converts from the rate of the device.
    let detected = "(async () => { const { listen } = await import('/index.js'); \
        const Native = AudioContext; \
        window.AudioContext = class extends Native { constructor(options) { \
            if (options?.sampleRate) throw new DOMException('', 'NotSupportedError'); super({ sampleRate: 48000 }); } }; \
        let found; const first = new Promise((resolve) => { found = resolve; }); \
        window.listener = await listen({ model: '/files/loud.wkl', sensitivity: 'eager', onDetection: found }); \
        return `${(await first).label} ${listener.sampleRate}`; })()";
    assert_eq!(page.evaluate(detected), "loud 48000");
    page.evaluate("listener.stop()");
    // Nothing outside of the package and the model was asked for.
    let asked = server.with(|content| content.asked.clone());
    let is_ours = |url: &String| {
        ["/demo/", "/index.js", "/engine.js", "/wasm-", "/files/"]
            .iter()
            .any(|p| url.starts_with(p))
    };
    assert!(asked.iter().all(is_ours), "{asked:?}");
}
