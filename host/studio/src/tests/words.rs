//! Tests of the list of words, of deletions, and of what survives another start.

use std::path::Path;

use super::*;

/// Studio at a folder, with requests that must succeed.
struct Page {
    address: SocketAddr,
    token: String,
}

impl Page {
    fn open(place: &Path) -> Self {
        let (address, token) = studio(place);
        Self { address, token }
    }

    fn ask(&self, request: &str, body: &[u8]) -> Value {
        let (status, value) = ask(self.address, &self.token, request, body);
        assert_eq!(status, 200, "{request}: {value}");
        value
    }

    fn refuses(&self, request: &str) -> String {
        let (status, value) = ask(self.address, &self.token, request, b"");
        assert_eq!(status, 400, "{request}: {value}");
        value["error"].as_str().unwrap_or_default().to_owned()
    }

    fn begin(&self, phrase: &str) -> Value {
        self.ask("POST /api/begin", json!({ "phrase": phrase }).to_string().as_bytes())
    }

    /// Records a take: silence, a tone of 0.8 s, silence.
    fn record(&self, pitch: f32) -> Value {
        self.ask("POST /api/take", b"");
        let tone = |i: usize| {
            let level = if (32_000..44_800).contains(&i) { 9_000.0 } else { 30.0 };
            ((i as f32 * pitch).sin() * level) as i16
        };
        let sound: Vec<i16> = (0..16_000 * 5).map(tone).collect();
        for block in sound.chunks(3_200) {
            let bytes: Vec<u8> = block.iter().flat_map(|s| s.to_le_bytes()).collect();
            let value = self.ask("POST /api/sound?for=take&rate=16000", &bytes);
            if value["phase"] == "over" {
                return value["take"].clone();
            }
        }
        panic!("the take does not end");
    }
}

fn names(state: &Value, list: &str, field: &str) -> Vec<String> {
    let entries = state[list].as_array().expect("a list").iter();
    entries.map(|entry| entry[field].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn words_are_listed_opened_and_closed() {
    let place = tempfile::tempdir().unwrap();
    let page = Page::open(place.path());
    let state = page.ask("GET /api/state", b"");
    assert_eq!((&state["words"], &state["phrase"]), (&json!([]), &json!("")));
    page.begin("Hey You");
    page.record(0.15);
    page.ask("POST /api/keep", b"");
    page.begin("room");
    let state = page.begin("../../x");
    assert_eq!(names(&state, "words", "phrase"), ["../../x", "Hey You", "room"]);
    let open: Vec<&Value> =
        state["words"].as_array().unwrap().iter().filter(|w| w["is_open"] == true).collect();
    assert_eq!((open.len(), &open[0]["phrase"]), (1, &json!("../../x")));
    // No word, hidden folder, parent or file can be opened as one.
    for id in ["nothing", "room", ".deleted", "..", "../..", "", "%2e%2e", "hey-you/../hey-you"] {
        page.refuses(&format!("POST /api/open?word={id}"));
    }
    let state = page.ask("POST /api/open?word=hey-you", b"");
    assert_eq!(
        (&state["phrase"], state["takes"].as_array().unwrap().len()),
        (&json!("Hey You"), 1)
    );
    let take = page.ask("GET /api/take?name=take-0001.wav", b"");
    assert_eq!((&take["name"], &take["verdict"]), (&json!("take-0001.wav"), &json!("good")));
    assert!(take["sound"].as_str().unwrap().starts_with("data:audio/wav;base64,"));
    page.refuses("GET /api/take?name=manifest.jsonl");
    page.refuses("GET /api/take?name=..%2Fmanifest.jsonl");
    let state = page.ask("POST /api/close", b"");
    assert_eq!((&state["phrase"], &state["takes"]), (&json!(""), &json!([])));
    page.refuses("POST /api/keep");
    // Folders that were made by hand or by the command line.
    let made = place.path().join("recordings/by hand");
    std::fs::create_dir_all(&made).unwrap();
    wakeling_audio::write_wav(made.join("a.wav"), &[100; 1_600]).unwrap();
    let line = |text: &str| format!("{{\"audio_filepath\": \"a.wav\", \"text\": \"{text}\"}}\n");
    std::fs::write(made.join("manifest.jsonl"), line("good day").repeat(2) + &line("other"))
        .unwrap();
    std::fs::create_dir_all(place.path().join("recordings/empty")).unwrap();
    let state = page.ask("GET /api/state", b"");
    assert_eq!(names(&state, "words", "id")[1..3], ["by hand".to_owned(), "hey-you".to_owned()]);
    let state = page.ask("POST /api/open?word=by%20hand", b"");
    assert_eq!(state["phrase"], "good day");
}

#[test]
fn a_pending_take_survives_the_program() {
    let place = tempfile::tempdir().unwrap();
    let page = Page::open(place.path());
    page.begin("hey you");
    let take = page.record(0.15);
    assert!(take["seconds"].as_f64().unwrap() > 0.5, "{take}");
    let page = Page::open(place.path());
    assert_eq!(page.ask("GET /api/state", b"")["pending"], Value::Null, "no word is open");
    let state = page.ask("POST /api/open?word=hey-you", b"");
    assert_eq!(state["pending"]["verdict"], "good", "{}", state["pending"]["advice"]);
    assert_eq!(state["takes"], json!([]));
    let state = page.ask("POST /api/keep", b"");
    assert_eq!((&state["pending"], state["takes"].as_array().unwrap().len()), (&Value::Null, 1));
    page.record(0.2);
    let state = page.ask("POST /api/discard", b"");
    assert_eq!((&state["pending"], state["takes"].as_array().unwrap().len()), (&Value::Null, 1));
    let page = Page::open(place.path());
    let state = page.ask("POST /api/open?word=hey-you", b"");
    assert_eq!(state["pending"], Value::Null);
}

#[test]
fn deletions_are_undone_also_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let page = Page::open(place.path());
    assert!(page.refuses("POST /api/undo").contains("nothing was deleted"));
    page.begin("hey you");
    for pitch in [0.15, 0.2] {
        page.record(pitch);
        page.ask("POST /api/keep", b"");
    }
    let kept = std::fs::read(place.path().join("recordings/hey-you/take-0001.wav")).unwrap();
    let state = page.ask("POST /api/remove?take=take-0001.wav", b"");
    assert_eq!(state["deleted"], json!({ "kind": "take", "name": "take-0001.wav" }));
    assert_eq!(names(&state, "takes", "name"), ["take-0002.wav"]);
    let page = Page::open(place.path());
    let state = page.ask("POST /api/undo", b"");
    assert_eq!((&state["deleted"], &state["words"][0]["takes"]), (&Value::Null, &json!(2)));
    let state = page.ask("POST /api/open?word=hey-you", b"");
    assert_eq!(names(&state, "takes", "name"), ["take-0001.wav", "take-0002.wav"]);
    assert_eq!(std::fs::read(place.path().join("recordings/hey-you/take-0001.wav")).unwrap(), kept);

    let run = place.path().join("runs/hey-you");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("model.wkl"), "a model").unwrap();
    let state = page.ask("POST /api/delete?word=hey-you", b"");
    assert_eq!((&state["words"], &state["phrase"]), (&json!([]), &json!("")));
    assert_eq!(state["deleted"], json!({ "kind": "word", "name": "hey you" }));
    assert!(!run.exists());
    // Another word of that name is never written over.
    page.begin("hey you");
    assert!(page.refuses("POST /api/undo").contains("again"));
    page.ask("POST /api/delete?word=hey-you", b"");
    let page = Page::open(place.path());
    let state = page.ask("POST /api/undo", b"");
    assert_eq!(state["words"][0]["takes"], 0, "only the last deletion is undone");
    assert_eq!(state["deleted"], Value::Null);
    // The first one is still aside, whole.
    let aside = place.path().join("recordings/.deleted");
    let whole = std::fs::read_dir(&aside)
        .unwrap()
        .any(|entry| entry.unwrap().path().join("recordings/take-0002.wav").is_file());
    assert!(whole);
    page.refuses("POST /api/delete?word=..");
    page.refuses("POST /api/delete?word=.deleted");
    // A forged record leads nowhere.
    let forged = json!({ "folder": "../..", "word": "hey-you", "phrase": "x", "clip": null });
    std::fs::write(aside.join("last.json"), forged.to_string()).unwrap();
    page.refuses("POST /api/undo");
}

#[test]
fn the_level_needs_no_word() {
    let place = tempfile::tempdir().unwrap();
    let page = Page::open(place.path());
    let sound: Vec<u8> = (0..1_600_i16).flat_map(|i| (i % 100).to_le_bytes()).collect();
    let value = page.ask("POST /api/sound?for=level&rate=16000", &sound);
    assert!(value["peak_db"].as_f64().unwrap() < -40.0, "{value}");
    assert_eq!((&value["clipped"], &value["silent_s"]), (&json!(false), &json!(0.0)));
    page.refuses("POST /api/sound?for=room&rate=16000");
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("recordings/other");
    std::fs::create_dir_all(&folder).unwrap();
    wakeling_audio::write_wav(folder.join("take-0001.wav"), &[9; 1_600]).unwrap();
    let manifest = folder.join("manifest.jsonl");
    let write = |text: &str| {
        let line = json!({ "audio_filepath": "take-0001.wav", "duration": 0.1, "text": text });
        std::fs::write(&manifest, format!("{line}\n")).unwrap();
    };
    let file = || std::fs::File::options().append(true).open(&manifest).unwrap();
    let (address, token) = studio(place.path());
    let phrase = || {
        let (_, state) = ask(address, &token, "GET /api/state", b"");
        state["words"][0]["phrase"].as_str().unwrap_or_default().to_owned()
    };
    write("one word");
    assert_eq!(phrase(), "one word");
    // Another text of the same length and time can only be noticed by reading it.
    let modified = file().metadata().unwrap().modified().unwrap();
    write("no words");
    file().set_modified(modified).unwrap();
    assert_eq!(phrase(), "one word");
    file().set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(phrase(), "no words");
    // A change of the folder is noticed too.
    std::fs::remove_file(folder.join("take-0001.wav")).unwrap();
    let (_, state) = ask(address, &token, "GET /api/state", b"");
    assert_eq!(state["words"], json!([]));
}
