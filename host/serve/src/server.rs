//! The service: listeners, a limited number of clients with a thread each, and an orderly stop.

use std::{
    io::{ErrorKind, Write},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use crate::{
    Error, Result,
    catalog::Catalog,
    connection::Connection,
    refusal::Refusal,
    save::SavedDetections,
    service::{Entry, Limits, OnReport, Report, Service},
    websocket, wyoming,
};

/// Maximum number of refused clients that are answered at once. More are closed without an answer.
const MOST_REFUSALS: usize = 8;
/// Time that clients have at the stop: first to take their last answers, then to end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Settings of a service.
pub struct Options {
    /// Address of the Wyoming protocol, such as `127.0.0.1:10400`. Port 0 selects a free one.
    pub address: String,
    /// Address of the WebSocket, if there is one.
    pub websocket: Option<String>,
    /// Origins of pages that may open the WebSocket, besides pages of this computer.
    pub origins: Vec<String>,
    /// Limits for clients.
    pub limits: Limits,
    /// Folder in which the sound before each detection is saved.
    pub saved: Option<SavedDetections>,
    /// Callback for events.
    pub on_report: OnReport,
}

impl Default for Options {
    /// The usual port of wake word services, on loopback only.
    fn default() -> Self {
        Self {
            address: "127.0.0.1:10400".into(),
            websocket: None,
            origins: Vec::new(),
            limits: Limits::default(),
            saved: None,
            on_report: Box::new(|_| {}),
        }
    }
}

/// Protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Wyoming,
    WebSocket,
}

/// Open service.
///
/// It has no authentication. Whoever reaches its addresses can send it sound and read detections.
pub struct Server {
    wyoming: TcpListener,
    websocket: Option<TcpListener>,
    service: Arc<Service>,
}

/// Stops a running [`Server`] from another thread.
#[derive(Clone)]
pub struct Stop {
    service: Arc<Service>,
    addresses: Vec<SocketAddr>,
}

impl Stop {
    /// Lets [`Server::run`] return, after clients have got their last answers, which takes at most
    /// 4 seconds.
    pub fn stop(&self) {
        self.service.begin_stop();
        for address in &self.addresses {
            // A connection ends the wait for one. If it fails, the listener is closed already.
            let _ = TcpStream::connect_timeout(address, Duration::from_secs(1));
        }
    }
}

fn listen(text: &str) -> Result<TcpListener> {
    let addresses = text.to_socket_addrs();
    let addresses: Vec<SocketAddr> = addresses
        .map_err(|e| Error::NotAnAddress { text: text.to_owned(), reason: e.to_string() })?
        .collect();
    TcpListener::bind(addresses.as_slice())
        .map_err(|source| Error::NotOpened { address: text.to_owned(), source })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(Error::io("the address", "read"))
}

impl Server {
    /// Opens the addresses. Clients are answered once it runs.
    ///
    /// # Errors
    /// [`Error::NotAnAddress`]; [`Error::NotOpened`] if another program has the address.
    pub fn open(catalog: Catalog, options: Options) -> Result<Self> {
        let wyoming = listen(&options.address)?;
        let websocket = options.websocket.as_deref().map(listen).transpose()?;
        let Options { origins, limits, saved, on_report, .. } = options;
        let service = Arc::new(Service::new(catalog, limits, origins, saved, on_report));
        Ok(Self { wyoming, websocket, service })
    }

    /// Returns the address of the Wyoming protocol.
    ///
    /// # Errors
    /// [`Error::Core`] if the system does not name it.
    pub fn address(&self) -> Result<SocketAddr> {
        local_address(&self.wyoming)
    }

    /// Returns the address of the WebSocket, if there is one.
    ///
    /// # Errors
    /// [`Error::Core`] if the system does not name it.
    pub fn websocket_address(&self) -> Result<Option<SocketAddr>> {
        self.websocket.as_ref().map(local_address).transpose()
    }

    /// Returns a handle that stops this server.
    ///
    /// # Errors
    /// [`Error::Core`] if the system does not name an address.
    pub fn stop(&self) -> Result<Stop> {
        let addresses = [Some(self.address()?), self.websocket_address()?];
        let addresses = addresses.into_iter().flatten().map(reachable).collect();
        Ok(Stop { service: self.service.clone(), addresses })
    }

    /// Answers clients until it is stopped.
    ///
    /// # Errors
    /// [`Error::Core`] if the system closes an address.
    pub fn run(self) -> Result<()> {
        let stop = self.stop()?;
        let websocket = self.websocket.map(|listener| {
            let (service, stop) = (self.service.clone(), stop.clone());
            thread::spawn(move || {
                let ended = accept(&service, &listener, Protocol::WebSocket);
                stop_after_error(ended, &stop)
            })
        });
        let ended =
            stop_after_error(accept(&self.service, &self.wyoming, Protocol::Wyoming), &stop);
        let panicked = || Error::defect("the thread of the WebSocket panicked");
        let websocket = websocket.map_or(Ok(()), |t| t.join().map_err(|_| panicked())?);
        drop(self.wyoming);
        // Threads that wait for their clients get the end of the sound, and can still answer.
        self.service.close(Shutdown::Read, LAST_ANSWERS);
        self.service.close(Shutdown::Both, LAST_ANSWERS);
        ended.and(websocket)
    }
}

/// Ends the other listener as well if one has failed.
fn stop_after_error(ended: Result<()>, stop: &Stop) -> Result<()> {
    ended.inspect_err(|_| stop.stop())
}

/// Returns an address to connect to for a listener that is bound to all interfaces.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Starts a thread for every client until the service stops.
fn accept(service: &Arc<Service>, listener: &TcpListener, protocol: Protocol) -> Result<()> {
    loop {
        let accepted = listener.accept();
        if service.is_stopping() {
            return Ok(());
        }
        match accepted {
            Ok((stream, address)) => admit(service, stream, address, protocol),
            Err(e) if e.kind() == ErrorKind::InvalidInput => {
                return Err(Error::io("the address", "serve")(e));
            }
            // The client has already closed, or too many files are open for a moment.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn admit(service: &Arc<Service>, stream: TcpStream, address: SocketAddr, protocol: Protocol) {
    let Limits { frame, write, .. } = service.limits;
    let entry = Entry::new(service, &stream);
    let Ok(connection) = Connection::new(stream, frame, write) else { return };
    let (service, client) = (service.clone(), address.to_string());
    let Some(entry) = entry else { return refuse(&service, connection, client, protocol) };
    let spawned = thread::Builder::new().name(client.clone()).spawn(move || {
        // Dropped last, when the connection is closed.
        let _entry = entry;
        match protocol {
            Protocol::Wyoming => wyoming::converse(connection, &client, &service),
            Protocol::WebSocket => websocket::converse(connection, &client, &service),
        }
    });
    if let Err(error) = spawned {
        log::info!("warning: a client was dropped: {error}");
    }
}

/// Answers a client beyond the limit, in a thread of its own, since the client may be slow.
fn refuse(service: &Arc<Service>, mut connection: Connection, client: String, protocol: Protocol) {
    let most = service.limits.clients;
    let refusal = Refusal::new("busy", format!("{most} clients are connected, which is the limit"));
    (service.on_report)(&Report::Refused { client: &client, reason: &refusal.text });
    if service.refusals.fetch_add(1, Ordering::SeqCst) >= MOST_REFUSALS {
        service.refusals.fetch_sub(1, Ordering::SeqCst);
        return;
    }
    let answer = match protocol {
        Protocol::Wyoming => wyoming::refusal(&refusal),
        Protocol::WebSocket => websocket::refusal(&refusal),
    };
    let own = service.clone();
    let spawned = thread::Builder::new().spawn(move || {
        if connection.write_all(&answer).is_ok() {
            connection.finish();
        }
        own.refusals.fetch_sub(1, Ordering::SeqCst);
    });
    if spawned.is_err() {
        service.refusals.fetch_sub(1, Ordering::SeqCst);
    }
}
