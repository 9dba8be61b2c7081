#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

mod address;
mod aside;
mod correct;
mod corrections;
mod error;
mod exports;
mod files;
mod http;
mod import;
mod live;
mod phrase;
mod places;
mod request;
mod results;
mod session;
mod silence;
mod sound;
mod stages;
mod state;
mod take_image;
mod takes;
mod targets;
#[cfg(test)]
mod tests;
mod training;
mod unchanged;
mod word;
mod words;

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use address::Memory;
pub use error::{Error, Explain, Explanation, Result};
use http::{Method, Refusal, Request};
use import::Import;
pub use places::Places;
use request::Target;
use serde_json::{Value, json};
use session::Session;

/// Maximum length of a request in bytes: 30 s of 16-bit audio at 48 kHz. Only files may be longer.
const LONGEST_BODY: u64 = 3_000_000;
/// Path of the request that carries a file.
const FILE_PATH: &str = "/api/file";
/// Time between two marks that the address is in use.
const ADDRESS_MARKED_EVERY: Duration = Duration::from_secs(300);
/// Maximum number of open connections.
const MOST_CONNECTIONS: usize = 64;
/// Header that carries the token.
const TOKEN_HEADER: &str = "X-Wakeling-Token";
/// Policy of the page: only its own files run or load; the content it shows is embedded as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    connect-src 'self'; img-src data:; media-src data:; frame-src blob:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'self'";

/// Open studio.
pub struct Studio {
    listener: TcpListener,
    server: Arc<Server>,
}

/// Shared state of the threads that answer requests.
struct Server {
    address: SocketAddr,
    token: String,
    session: Mutex<Session>,
    /// Held while a file is read, so that memory holds one at a time.
    importing: Mutex<()>,
    recordings: PathBuf,
    explain: Explain,
}

/// Response to a request.
struct Answer {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn json(value: &Value) -> Self {
        Self { status: 200, kind: "application/json", body: value.to_string().into_bytes() }
    }

    fn refused(status: u16, why: &str) -> Self {
        Self::failed(status, why, "")
    }

    /// Returns an error: the program's text, and the word for which the page may have its own.
    fn failed(status: u16, why: &str, code: &str) -> Self {
        Self { status, ..Self::json(&json!({ "error": why, "code": code })) }
    }
}

impl Studio {
    /// Opens a studio on loopback; port 0 selects a free port. The page shows the texts that
    /// `explain` returns for errors.
    ///
    /// # Errors
    /// [`Error::Core`] if the port is taken.
    pub fn open(port: u16, places: Places, explain: Explain) -> Result<Self> {
        Self::open_again(port, places, explain, &Memory::none())
    }

    /// Opens a studio as [`Studio::open`] does; port 0 selects that of the last start, or a free one
    /// if another program has it. With the port, the token is used again, so that a page that is
    /// still open finds the studio.
    ///
    /// # Errors
    /// As [`Studio::open`].
    pub fn open_again(
        port: u16,
        places: Places,
        explain: Explain,
        memory: &Memory,
    ) -> Result<Self> {
        let (listener, token) = memory.listen(port)?;
        let address = listener.local_addr().map_err(Error::io("127.0.0.1", "listen at"))?;
        let recordings = places.recordings.clone();
        let session = Mutex::new(Session::new(places, explain));
        let importing = Mutex::new(());
        let server = Arc::new(Server { address, token, session, importing, recordings, explain });
        let (memory, alive) = (memory.clone(), Arc::downgrade(&server));
        std::thread::spawn(move || {
            while alive.strong_count() > 0 {
                memory.touch();
                std::thread::sleep(ADDRESS_MARKED_EVERY);
            }
        });
        Ok(Self { listener, server })
    }

    /// Returns the address for the browser, including the token.
    ///
    /// ```
    /// use wakeling_studio::{Explanation, Places, Studio};
    ///
    /// # let folder = std::env::temp_dir().join(format!("wakeling-url-{}", std::process::id()));
    /// let places = Places { recordings: folder.join("recordings"), runs: folder.join("runs"), settings: wakeling_train::finetune::Settings::default() };
    /// let studio = Studio::open(0, places, |e| Explanation { text: e.to_string(), is_request: false })?; // a free port
    /// let (page, token) = studio.url().split_once("/#").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    /// assert!(page.starts_with("http://127.0.0.1:"));
    /// assert_eq!(token.len(), 32); // random for each start
    /// # Ok::<(), wakeling_studio::Error>(())
    /// ```
    pub fn url(&self) -> String {
        format!("http://{}/#{}", self.server.address, self.server.token)
    }

    /// Answers requests until the process ends.
    ///
    /// # Errors
    /// [`Error::Core`] if the system closes the port.
    pub fn serve(&mut self) -> Result<()> {
        loop {
            let connection = match self.listener.accept() {
                Ok((connection, _)) => connection,
                Err(e) if e.kind() == ErrorKind::InvalidInput => {
                    return Err(Error::io("the page", "serve")(e));
                }
                Err(_) => {
                    // The client has already closed, or too many files are open for a moment.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
            };
            // Connections beyond the limit are closed at once.
            if Arc::strong_count(&self.server) <= MOST_CONNECTIONS {
                let server = self.server.clone();
                std::thread::spawn(move || server.handle(&connection));
            }
        }
    }
}

impl Server {
    fn handle(&self, connection: &TcpStream) {
        let answer = match Request::read(connection) {
            Ok(Some(request)) => self.answer(&request),
            Ok(None) => return,
            Err((status, why)) => Answer::refused(status, why),
        };
        let headers = [
            ("Content-Type", answer.kind),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ];
        // An error means that the client closed before the response; it can be ignored.
        let _ = http::respond(connection, (answer.status, &headers), &answer.body);
    }

    fn answer(&self, request: &Request<'_>) -> Answer {
        let header = |name: &str| request.header(name);
        let port = self.address.port();
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        if !header("Host").is_some_and(|host| hosts.contains(&host)) {
            return Answer::refused(403, "this name is not mine");
        }
        let is_own = |origin: String| hosts.iter().any(|h| origin == format!("http://{h}"));
        if !header("Origin").is_none_or(is_own) {
            return Answer::refused(403, "another page may not ask this");
        }
        let path = request.target.split(['?', '#']).next().unwrap_or_default();
        if request.method == Method::Get
            && let Some((kind, content)) = files::find(path)
        {
            return Answer { status: 200, kind, body: content.as_bytes().to_vec() };
        }
        if !header(TOKEN_HEADER).is_some_and(|token| is_same(&token, &self.token)) {
            return Answer::refused(
                401,
                "the token is missing or wrong: open the address that was printed",
            );
        }
        let answer = match (request.method, path) {
            (Method::Post, FILE_PATH) => self.import(request),
            _ => request
                .body(LONGEST_BODY)
                .map(|body| self.session().answer(request.method, &request.target, &body)),
        };
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let Explanation { text, is_request } = (self.explain)(&error);
                Answer::failed(if is_request { 400 } else { 500 }, &text, error.code())
            }
            Err((status, why)) => Answer::refused(status, why),
        }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a file and keeps its takes for the word that the request names. Other requests are
    /// answered meanwhile, and may open another word.
    fn import(&self, request: &Request<'_>) -> Result<Result<Answer>, Refusal> {
        let _one = self.importing.lock().unwrap_or_else(PoisonError::into_inner);
        let word = match self.session().importing(&Target::of(&request.target).text("word")) {
            Ok(word) => word,
            Err(error) => return Ok(Err(error)),
        };
        let body = request.body(import::LARGEST).map_err(|(status, why)| match status {
            413 => (413, "the file is larger than 100 MB: cut it into smaller ones"),
            _ => (status, why),
        })?;
        let name = Target::of(&request.target).text("name");
        let read = catch_unwind(AssertUnwindSafe(|| {
            import::read(&self.recordings, &name, &body, self.explain)
        }));
        let read = read.unwrap_or_else(|_| Err(Error::defect("a decoder panicked")));
        Ok(read.and_then(|import: Import| self.session().import(&word, &import)))
    }
}

/// Compares two strings in a time that does not depend on the position of a difference.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
