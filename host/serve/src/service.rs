//! What the conversations with all clients share: models, limits, and the list of those who are
//! connected.

use std::{
    collections::HashMap,
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use wakeling_device::sensitivity::DetectionLevel;

use crate::{catalog::Catalog, save::SavedDetections};

/// Limits that keep a client from harming others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of clients at once, of both protocols together.
    pub clients: usize,
    /// Time from the first byte of a frame to its last.
    pub frame: Duration,
    /// Time in which a client must send the next frame, or a WebSocket client a whole message.
    pub idle: Duration,
    /// Time in which a client must read an answer.
    pub write: Duration,
}

impl Default for Limits {
    /// 64 clients, 10 s for a frame, 10 min between frames, 10 s for an answer.
    fn default() -> Self {
        Self {
            clients: 64,
            frame: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            write: Duration::from_secs(10),
        }
    }
}

/// Event of the service, for its log.
#[derive(Clone, Debug, PartialEq)]
pub enum Report<'r> {
    /// A keyword was detected.
    Detection {
        /// Address of the client.
        client: &'r str,
        /// Name of the keyword.
        name: &'r str,
        /// Position of the decision in the client's sound, in seconds.
        time_s: f64,
        /// Level of the decision.
        level: DetectionLevel,
    },
    /// A client was refused.
    Refused {
        /// Address of the client.
        client: &'r str,
        /// Reason.
        reason: &'r str,
    },
}

/// Callback for the events of the service. Threads of several clients call it at once.
pub type OnReport = Box<dyn Fn(&Report<'_>) + Send + Sync>;

/// What the conversations with all clients share.
pub(crate) struct Service {
    pub catalog: Arc<Catalog>,
    pub limits: Limits,
    pub origins: Vec<String>,
    pub saved: Option<Arc<SavedDetections>>,
    pub on_report: OnReport,
    /// Number of refused clients that are being answered.
    pub refusals: AtomicUsize,
    is_stopping: AtomicBool,
    clients: Mutex<Clients>,
    /// Notified when a client has ended.
    ended: Condvar,
}

/// Connections that are open.
#[derive(Default)]
struct Clients {
    next: u64,
    open: HashMap<u64, TcpStream>,
}

impl Service {
    pub(crate) fn new(
        catalog: Catalog,
        limits: Limits,
        origins: Vec<String>,
        saved: Option<SavedDetections>,
        on_report: OnReport,
    ) -> Self {
        Self {
            catalog: Arc::new(catalog),
            limits,
            origins,
            saved: saved.map(Arc::new),
            on_report,
            refusals: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            clients: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Lets no further client in.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    /// Returns `true` once the service stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every connection in the direction `how`, and waits for the clients to end.
    pub(crate) fn close(&self, how: Shutdown, patience: Duration) {
        let until = Instant::now() + patience;
        let mut clients = self.clients();
        for stream in clients.open.values() {
            // A connection that the client has closed already cannot be closed again.
            let _ = stream.shutdown(how);
        }
        while !clients.open.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.ended.wait_timeout(clients, left);
            clients = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Entry of a client among those that are open, removed when its thread ends in any way.
pub(crate) struct Entry {
    service: Arc<Service>,
    id: u64,
}

impl Entry {
    /// Enters a client; `None` if there are as many as allowed.
    pub(crate) fn new(service: &Arc<Service>, stream: &TcpStream) -> Option<Self> {
        let stream = stream.try_clone().ok()?;
        let mut clients = service.clients();
        if clients.open.len() >= service.limits.clients {
            return None;
        }
        let id = clients.next;
        clients.next += 1;
        clients.open.insert(id, stream);
        Some(Self { service: service.clone(), id })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.service.clients().open.remove(&self.id);
        self.service.ended.notify_all();
    }
}
