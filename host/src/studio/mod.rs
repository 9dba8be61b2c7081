//! The studio: a page in the browser for recording, training, reading the report and trying.
//!
//! The server listens on loopback only. The page itself holds nothing; everything else needs the
//! token, random for each start, which the browser gets in the part of the address that is never
//! sent (`#…`) and returns in a header of its own. So another site can neither guess it nor make a
//! browser send it; besides, a request that names another host or another origin is refused, which
//! keeps out pages whose name was pointed at this machine. One request is answered at a time.
//!
//! The browser sends sound as it comes, and the same code as in `record` and `listen` decides: the
//! take, the trimming, the verdict, the device's pipeline.

mod http;
mod live;
mod phrase;
mod session;
mod silence;
mod stages;
mod takes;
#[cfg(test)]
mod tests;
mod training;

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request};
use serde_json::{Value, json};
pub use session::Places;
use session::Session;

use crate::{Error, Result};

/// Bytes of the longest request: 30 s of 16-bit sound at 48 kHz.
const LONGEST_BODY: u64 = 3_000_000;
/// Connections that are open at once.
const MOST_CONNECTIONS: usize = 64;
/// The header with the token.
const TOKEN_HEADER: &str = "X-Wakeling-Token";
/// Nothing but the page's own files is run or loaded; what it shows is held as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    connect-src 'self'; img-src data:; media-src data:; frame-src blob:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'self'";

/// The page's files: path, kind, content.
const FILES: [(&str, &str, &str); 9] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/studio.css", "text/css; charset=utf-8", include_str!("page/studio.css")),
    ("/studio.js", "text/javascript; charset=utf-8", include_str!("page/studio.js")),
    ("/api.js", "text/javascript; charset=utf-8", include_str!("page/api.js")),
    ("/microphone.js", "text/javascript; charset=utf-8", include_str!("page/microphone.js")),
    ("/problems.js", "text/javascript; charset=utf-8", include_str!("page/problems.js")),
    ("/scores.js", "text/javascript; charset=utf-8", include_str!("page/scores.js")),
    ("/strings.js", "text/javascript; charset=utf-8", include_str!("page/strings.js")),
    ("/worklet.js", "text/javascript; charset=utf-8", include_str!("page/worklet.js")),
];

/// A studio that is open.
pub struct Studio {
    listener: TcpListener,
    server: Arc<Server>,
}

/// What answers requests, from the thread of each connection.
struct Server {
    address: SocketAddr,
    token: String,
    session: Mutex<Session>,
}

/// What is answered.
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
        Self { status, ..Self::json(&json!({ "error": why })) }
    }
}

impl Studio {
    /// Opens a studio on loopback; port 0 takes a free one.
    ///
    /// # Errors
    /// [`Error::Io`] if the port is taken.
    pub fn open(port: u16, places: Places) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(Error::io(format!("127.0.0.1:{port}"), "listen at"))?;
        let address = listener.local_addr().map_err(Error::io("127.0.0.1", "listen at"))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|e| Error::io("random numbers", "read")(std::io::Error::other(e)))?;
        let token = format!("{:032x}", u128::from_ne_bytes(random));
        let session = Mutex::new(Session::new(places));
        Ok(Self { listener, server: Arc::new(Server { address, token, session }) })
    }

    /// Where the browser finds it, with the token.
    pub fn url(&self) -> String {
        format!("http://{}/#{}", self.server.address, self.server.token)
    }

    /// Answers requests until the process ends.
    ///
    /// # Errors
    /// [`Error::Io`] if the system takes the port away.
    pub fn serve(&mut self) -> Result<()> {
        loop {
            let connection = match self.listener.accept() {
                Ok((connection, _)) => connection,
                Err(e) if e.kind() == ErrorKind::InvalidInput => {
                    return Err(Error::io("the page", "serve")(e));
                }
                Err(_) => {
                    // The client is gone already, or too many files are open for a moment.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
            };
            // Beyond these, a connection is closed at once.
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
        // A client that does not wait for the answer does not need it.
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
            && let Some((_, kind, content)) = FILES.iter().find(|(name, ..)| *name == path)
        {
            return Answer { status: 200, kind, body: content.as_bytes().to_vec() };
        }
        if !header(TOKEN_HEADER).is_some_and(|token| is_same(&token, &self.token)) {
            return Answer::refused(
                401,
                "the token is missing or wrong: open the address that was printed",
            );
        }
        let body = match request.body(LONGEST_BODY) {
            Ok(body) => body,
            Err((status, why)) => return Answer::refused(status, why),
        };
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.answer(request.method, &request.target, &body) {
            Ok(answer) => answer,
            Err(error) => {
                Answer::refused(if error.exit_code() == 2 { 400 } else { 500 }, &error.to_string())
            }
        }
    }
}

/// Compares in a time that does not depend on where they differ.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
