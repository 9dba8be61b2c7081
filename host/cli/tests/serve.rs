//! Tests of `serve` as a program: with the Python packages that Home Assistant and its satellites are
//! made of, with many streams, and over a long time.
//!
//! `$WAKELING_PYTHON` (or `python3`) has the package `wyoming`, and `$WAKELING_SATELLITE` is a folder with
//! `wyoming-satellite`; a test whose package is missing prints SKIP.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wakeling_audio as audio;
use wakeling_tests::{
    model::{Tier, random_model},
    sound::speech_like,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wakeling");
/// Time in which the program must end after a signal.
const STOP: Duration = Duration::from_secs(20);
/// Samples of a chunk, as Home Assistant and satellites send them.
const CHUNK: usize = 1_024;

mod support {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/examples/support/loud.rs"));
}

/// Running service, killed with the test.
struct Service {
    child: Child,
    port: u16,
}

impl Service {
    fn start(arguments: &[&str], place: &Path) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--address", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(place)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let mut problem = String::new();
            let _ = child.stderr.take().expect("its messages").read_to_string(&mut problem);
            panic!("{line:?}: {problem}");
        };
        // Detections are printed; a full pipe would stop the service.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, port }
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: it sends a signal to the child, which has not been waited for.
        #[allow(unsafe_code, reason = "std sends SIGKILL only")]
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0);
    }

    /// Waits for the end of the program.
    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < STOP, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the CPU time so far, in seconds.
    fn cpu_s(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("/proc");
        // The name, in brackets, may hold spaces; `utime` and `stime` are fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
        ticks / 100.0
    }

    /// Returns the resident memory, in MB.
    fn rss_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line.and_then(|l| l.split_whitespace().next()?.parse().ok()).expect("RSS");
        kib / 1_024.0
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        Client(BufReader::new(stream))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A program that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Client of the Wyoming protocol.
struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, pcm: &[i16]) {
        let bytes: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
        let data = json!({ "rate": 16_000, "width": 2, "channels": 1 }).to_string();
        let head = json!({
            "type": "audio-chunk", "data_length": data.len(), "payload_length": bytes.len(),
        });
        let stream = self.0.get_mut();
        stream.write_all(format!("{head}\n{data}").as_bytes()).expect("sent");
        stream.write_all(&bytes).expect("sent");
    }

    /// Waits until all sound is processed. Returns the number of detections.
    fn finish(&mut self) -> usize {
        self.0.get_mut().write_all(b"{\"type\":\"ping\"}\n").expect("sent");
        let mut detections = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("an answer");
            let head: Value = serde_json::from_str(&line).expect("JSON");
            let mut data = vec![0; head["data_length"].as_u64().expect("a length") as usize];
            self.0.read_exact(&mut data).expect("data");
            match head["type"].as_str() {
                Some("detection") => detections += 1,
                Some("pong") => return detections,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn python() -> PathBuf {
    env::var_os("WAKELING_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Returns whether a Python package is there; prints SKIP otherwise.
fn has_package(name: &str) -> bool {
    let mut command = Command::new(python());
    command.args(["-c", &format!("import {name}")]).envs(path_of(name));
    let found = command.output();
    let has = found.is_ok_and(|output| output.status.success());
    if !has {
        println!("SKIP: no Python package {name}");
    }
    has
}

/// Returns the variable by which Python finds a package. The satellite needs an older `wyoming` than the
/// other clients, so it has a folder of its own, which `$WAKELING_SATELLITE` names.
fn path_of(package: &str) -> Option<(&'static str, std::ffi::OsString)> {
    let is_satellite = package == "wyoming_satellite";
    env::var_os("WAKELING_SATELLITE").filter(|_| is_satellite).map(|path| ("PYTHONPATH", path))
}

/// Runs a script of `tests/serve` for a package. Returns what it prints.
fn script(package: &str, name: &str, arguments: &[String]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve").join(name);
    let mut command = Command::new(python());
    command.arg(path).args(arguments).envs(path_of(package));
    let output = command.output().expect("Python starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

fn write(place: &Path, name: &str, file: &[u8]) -> String {
    fs::write(place.join(name), file).expect("a model file");
    name.to_owned()
}

/// Returns what `simulate` detects in a file with one model: names, and times in milliseconds.
fn simulated(place: &Path, model: &str, wav: &str) -> Vec<(String, f64)> {
    let output = Command::new(PROGRAM)
        .args(["simulate", wav, "--model", model, "--json"])
        .current_dir(place)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let mut found = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if let (Some(word), Some(time)) = (line["word"].as_str(), line["time_s"].as_f64()) {
            found.push((word.replace(' ', "_"), 1_000.0 * time));
        }
    }
    found
}

#[test]
fn python_clients_get_what_the_simulator_detects() {
    if !has_package("wyoming") {
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    let place = place.path();
    let models = [
        write(place, "loud.wkl", &support::loud_model()),
        write(place, "tiny.wkl", &random_model(3, Tier::Tiny)),
    ];
    let mut wavs = Vec::new();
    for seed in 1..=3 {
        let name = format!("{seed}.wav");
        audio::write_wav(place.join(&name), &speech_like(seed, 20)).expect("a recording");
        wavs.push(name);
    }
    let mut quiet = hound::WavWriter::create(
        place.join("stereo.wav"),
        hound::WavSpec {
            channels: 2,
            sample_rate: 48_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        },
    )
    .expect("a recording");
    for &sample in &[vec![0; 16_000], support::sawtooth(16_000), vec![0; 16_000]].concat() {
        for _ in 0..6 {
            quiet.write_sample(sample).expect("a sample");
        }
    }
    quiet.finalize().expect("a recording");
    audio::write_wav(place.join("silence.wav"), &[0; 32_000]).expect("a recording");

    let service = Service::start(&[&models[0], &models[1]], place);
    let path = |name: &str| place.join(name).display().to_string();
    let mut arguments = vec!["127.0.0.1".to_owned(), service.port.to_string()];
    arguments.extend(wavs.iter().map(|wav| path(wav)));
    arguments.push(format!("loud={}", path(&wavs[0])));
    arguments.push(format!("loud={}", path("stereo.wav")));
    arguments.push(format!("loud={}", path("silence.wav")));
    let results: Value =
        serde_json::from_str(&script("wyoming", "clients.py", &arguments)).expect("JSON");
    let known: BTreeMap<String, String> =
        serde_json::from_value(results["models"].clone()).expect("names and phrases");
    assert_eq!(known["hey_wakeling"], "hey wakeling");
    assert_eq!(known["loud"], "loud");

    let found = |index: usize| {
        let file = &results["files"][index];
        let detections = file["detections"].as_array().expect("a list").iter();
        let detections: Vec<(String, f64)> = detections
            .map(|d| (d["name"].as_str().unwrap().to_owned(), d["timestamp"].as_f64().unwrap()))
            .collect();
        assert_eq!(file["not_detected"], detections.is_empty(), "{file}");
        detections
    };
    // The package's chunks carry their times: a detection has that of its chunk.
    let chunk_ms = |ms: f64| {
        let chunk = (16.0 * ms - 1.0) as usize / CHUNK;
        (chunk * (1_000 * CHUNK / 16_000)) as f64
    };
    let mut count = 0;
    for (index, wav) in wavs.iter().enumerate() {
        let mut expected = simulated(place, &models[0], wav);
        expected.extend(simulated(place, &models[1], wav));
        expected.iter_mut().for_each(|(_, ms)| *ms = chunk_ms(*ms));
        let mut detections = found(index);
        count += detections.len();
        let order =
            |a: &(String, f64), b: &(String, f64)| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0));
        expected.sort_by(order);
        detections.sort_by(order);
        assert_eq!(detections, expected, "{wav}");
    }
    assert!(count > 5, "only {count} detections");
    let mut loud_only = simulated(place, &models[0], &wavs[0]);
    loud_only.iter_mut().for_each(|(_, ms)| *ms = chunk_ms(*ms));
    assert_eq!(found(3), loud_only);
    // Two channels, 48 kHz: sound begins after a second.
    let stereo = found(4);
    assert!(stereo.len() == 1 && (1_000.0..1_250.0).contains(&stereo[0].1), "{stereo:?}");
    assert!(found(5).is_empty());
}

#[test]
fn a_satellite_wakes_again_and_again() {
    if !has_package("wyoming_satellite") {
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    let place = place.path();
    let model = write(place, "loud.wkl", &support::loud_model());
    let sound = [vec![0; 32_000], support::sawtooth(8_000), vec![0; 8_000]].concat();
    audio::write_wav(place.join("microphone.wav"), &sound).expect("a recording");
    let service = Service::start(&[&model], place);
    let wav = place.join("microphone.wav").display().to_string();
    let arguments = [service.port.to_string(), "loud".into(), wav];
    let names = script("wyoming_satellite", "satellite.py", &arguments);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["loud", "loud"]);
}

#[test]
fn a_signal_ends_it_while_clients_are_connected() {
    let place = tempfile::tempdir().expect("a folder");
    let model = write(place.path(), "loud.wkl", &support::loud_model());
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut service = Service::start(&[&model], place.path());
        let mut client = service.client();
        client.send(&[0; CHUNK]);
        assert_eq!(client.finish(), 0);
        service.signal(signal);
        assert_eq!(service.wait().code(), Some(0));
        let mut rest = Vec::new();
        assert_eq!(client.0.read_to_end(&mut rest).expect("an end"), 0);
    }
}

#[test]
fn bad_requests_end_with_a_remedy() {
    let place = tempfile::tempdir().expect("a folder");
    let model = write(place.path(), "loud.wkl", &support::loud_model());
    let model = model.as_str();
    fs::create_dir(place.path().join("empty")).expect("a folder");
    let service = Service::start(&[model], place.path());
    let taken = format!("127.0.0.1:{}", service.port);
    let taken = taken.as_str();
    for (arguments, code, text) in [
        (vec![model, "--address", "kitchen"], 2, "such as 127.0.0.1:10400"),
        (vec![model, "--address", taken], 4, "another program uses this port"),
        (vec![model, "--address", "127.0.0.1:0", "--websocket", taken], 4, "--websocket"),
        (vec!["empty"], 3, "there is no model file"),
        (vec!["none.wkl"], 4, "none.wkl"),
        (vec![model, "--origin", "x"], 2, "--websocket"),
        (vec![model, "--address", "127.0.0.1:0", "--false-accepts-per-hour", "1"], 2, "table"),
    ] {
        let output = Command::new(PROGRAM)
            .arg("serve")
            .args(&arguments)
            .current_dir(place.path())
            .output()
            .expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
    }
}

#[test]
fn it_warns_if_other_computers_can_connect() {
    let place = tempfile::tempdir().expect("a folder");
    let model = write(place.path(), "loud.wkl", &support::loud_model());
    let model = model.as_str();
    let warnings = |address: &str| {
        let mut service = Service::start(&[model, "--websocket", address], place.path());
        service.signal(libc::SIGTERM);
        assert_eq!(service.wait().code(), Some(0));
        let mut messages = String::new();
        let stderr = service.child.stderr.take();
        stderr.expect("its messages").read_to_string(&mut messages).expect("text");
        messages.matches("without authentication").count()
    };
    assert_eq!((warnings("127.0.0.1:0"), warnings("0.0.0.0:0")), (0, 1));
}

/// Reads a number from the environment.
fn setting(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `WAKELING_SERVE_STREAMS` and `WAKELING_SERVE_SECONDS` make it larger.
#[test]
fn fifty_streams_need_less_than_one_core() {
    let streams = setting("WAKELING_SERVE_STREAMS", 10);
    let seconds = setting("WAKELING_SERVE_SECONDS", 4);
    let place = tempfile::tempdir().expect("a folder");
    let model = write(place.path(), "m.wkl", &random_model(1, Tier::M));
    let count = streams.to_string();
    let service = Service::start(&[model.as_str(), "--clients", &count], place.path());
    let start_cpu = service.cpu_s();
    let mut clients: Vec<Client> = (0..streams).map(|_| service.client()).collect();
    let start = Instant::now();
    let lags: Vec<Duration> = thread::scope(|scope| {
        let send = |(index, client): (usize, &mut Client)| {
            let sound = speech_like(index as u64, seconds);
            // Streams do not start at the same moment.
            let offset = Duration::from_millis(64) * index as u32 / streams as u32;
            for (number, chunk) in sound.chunks(CHUNK).enumerate() {
                let due = offset + Duration::from_millis(64) * (number as u32 + 1);
                thread::sleep(due.saturating_sub(start.elapsed()));
                client.send(chunk);
            }
            let sent = Instant::now();
            client.finish();
            sent.elapsed()
        };
        let threads: Vec<_> =
            clients.iter_mut().enumerate().map(|c| scope.spawn(move || send(c))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let cpu = (service.cpu_s() - start_cpu) / (streams * seconds) as f64;
    let lag = lags.iter().max().expect("a stream");
    println!(
        "{streams} streams of {seconds} s, base M: {cpu:.5} CPU s per second of a stream, {lag:?} \
         behind at most, {:.1} MB",
        service.rss_mb()
    );
    assert!(cpu < 1.0 / 50.0, "{cpu} CPU s per second of a stream");
}

/// `WAKELING_SERVE_HOURS` makes it longer.
#[test]
fn memory_does_not_grow_with_time() {
    let hours = setting("WAKELING_SERVE_HOURS", 0);
    let minutes = if hours == 0 { 20 } else { 60 * hours };
    let place = tempfile::tempdir().expect("a folder");
    let tier = if hours == 0 { Tier::Tiny } else { Tier::M };
    let models = [
        write(place.path(), "loud.wkl", &support::loud_model()),
        write(place.path(), "random.wkl", &random_model(3, tier)),
    ];
    let service = Service::start(&[&models[0], &models[1]], place.path());
    let mut client = service.client();
    let minute = speech_like(1, 60);
    let (mut detections, mut memory) = (0, Vec::new());
    for number in 0..minutes {
        for chunk in minute.chunks(CHUNK) {
            client.send(chunk);
        }
        detections += client.finish();
        // Others come and go meanwhile.
        let mut other = service.client();
        other.send(&minute[..16_000]);
        other.finish();
        if number == 0 || (number + 1) % (minutes / 4) == 0 {
            memory.push(service.rss_mb());
        }
    }
    println!("{minutes} min of sound, {detections} detections, RSS in MB: {memory:.1?}");
    assert!(detections > minutes);
    let (first, last) = (memory[1], memory[memory.len() - 1]);
    assert!(last - first < 2.0, "memory grew from {first} to {last} MB: {memory:?}");
}
