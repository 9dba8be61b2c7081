//! A service in a thread, and a client of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};
use wakeling_device::simulate::Sensitivity;

use crate::{Catalog, Limits, Options, Report, Result, Server, Stop};

mod model {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/examples/support/loud.rs"));
}

/// Returns a model whose keyword is any loud sound.
pub fn loud() -> Vec<u8> {
    model::loud_model()
}

/// Returns a second of silence and one of loud sound.
pub fn loud_pcm() -> Vec<i16> {
    [vec![0; 16_000], model::sawtooth(16_000)].concat()
}

/// Returns options with limits that tests can wait for.
pub fn quick() -> Options {
    let limits = Limits {
        clients: 8,
        frame: Duration::from_millis(500),
        idle: Duration::from_secs(20),
        write: Duration::from_millis(500),
    };
    Options {
        address: "127.0.0.1:0".into(),
        websocket: Some("127.0.0.1:0".into()),
        limits,
        ..Options::default()
    }
}

/// Running service, stopped with the test.
pub struct Service {
    pub address: SocketAddr,
    pub websocket: SocketAddr,
    /// Reasons of refusals so far.
    pub refusals: Arc<Mutex<Vec<String>>>,
    stop: Stop,
    running: Option<JoinHandle<Result<()>>>,
    _folder: tempfile::TempDir,
}

impl Service {
    pub fn start(models: &[(&str, Vec<u8>)], options: Options) -> Self {
        Self::start_with(models, options, Sensitivity::Model)
    }

    pub fn start_with(
        models: &[(&str, Vec<u8>)],
        mut options: Options,
        sensitivity: Sensitivity,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |(name, file): &(&str, Vec<u8>)| {
            let path = folder.path().join(format!("{name}.wkl"));
            std::fs::write(&path, file).unwrap();
            path
        };
        let paths: Vec<_> = models.iter().map(write).collect();
        let catalog = Catalog::open(&paths, sensitivity).unwrap();
        let refusals = Arc::<Mutex<Vec<String>>>::default();
        let seen = refusals.clone();
        options.on_report = Box::new(move |report| {
            if let Report::Refused { reason, .. } = report {
                seen.lock().unwrap().push((*reason).to_owned());
            }
        });
        let server = Server::open(catalog, options).unwrap();
        let address = server.address().unwrap();
        let websocket = server.websocket_address().unwrap().unwrap();
        let stop = server.stop().unwrap();
        let running = Some(std::thread::spawn(move || server.run()));
        Self { address, websocket, refusals, stop, running, _folder: folder }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Stops the service, and waits for its end.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.stop.stop();
            running.join().unwrap().unwrap();
        }
    }

    /// Checks that a new client gets a detection.
    pub fn assert_works(&self) {
        let mut client = self.client();
        client.sound(&loud_pcm(), 1_600, None);
        assert_eq!(client.event().map(|(kind, _)| kind).as_deref(), Some("detection"));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// Client of the Wyoming protocol.
pub struct Client {
    pub reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Sends bytes; a connection that the service has closed is no failure.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    pub fn send(&mut self, kind: &str, data: &Value, payload: &[u8]) {
        let data = data.to_string();
        let header = json!({
            "type": kind, "data_length": data.len(), "payload_length": payload.len(),
        });
        let mut bytes = format!("{header}\n{data}").into_bytes();
        bytes.extend(payload);
        assert!(self.send_bytes(&bytes));
    }

    pub fn start(&mut self) {
        self.send("audio-start", &json!({ "rate": 16_000, "width": 2, "channels": 1 }), &[]);
    }

    /// Sends 16 kHz mono in chunks, with times from `timestamp` on.
    pub fn sound(&mut self, pcm: &[i16], chunk: usize, timestamp: Option<u64>) {
        for (index, samples) in pcm.chunks(chunk).enumerate() {
            let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
            let time = timestamp.map(|start| start + (index * chunk / 16) as u64);
            let data = json!({ "rate": 16_000, "width": 2, "channels": 1, "timestamp": time });
            self.send("audio-chunk", &data, &bytes);
        }
    }

    /// Returns the next event; `None` at the end of the connection.
    pub fn event(&mut self) -> Option<(String, Value)> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let header: Value = serde_json::from_str(&line).unwrap();
        let mut data = vec![0; header["data_length"].as_u64().unwrap() as usize];
        self.reader.read_exact(&mut data).ok()?;
        Some((header["type"].as_str().unwrap().to_owned(), serde_json::from_slice(&data).unwrap()))
    }
}
