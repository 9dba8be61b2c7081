//! Connection of a client, on which nothing waits longer than its deadline.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// TCP stream whose reads end at a deadline, and each of whose messages is written in a limited
/// time. A time limit of the system alone would start again with every byte.
pub(crate) struct Connection {
    stream: TcpStream,
    read_until: Instant,
    write_until: Instant,
}

impl Connection {
    /// Takes a stream. Reads end after `read` from now on, writes after `write`.
    ///
    /// # Errors
    /// An error of the operating system if the stream is closed already.
    pub(crate) fn new(stream: TcpStream, read: Duration, write: Duration) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        // Detections are small and urgent.
        stream.set_nodelay(true)?;
        let now = Instant::now();
        Ok(Self { stream, read_until: now + read, write_until: now + write })
    }

    /// Lets reads end after this time from now on.
    pub(crate) fn read_within(&mut self, time: Duration) {
        self.read_until = Instant::now() + time;
    }

    /// Lets writes end after this time from now on.
    pub(crate) fn write_within(&mut self, time: Duration) {
        self.write_until = Instant::now() + time;
    }

    /// Ends writing, and reads what the client still sends. Closing a connection with unread data
    /// resets it, and the last message is lost.
    pub(crate) fn finish(mut self) {
        if self.stream.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        self.read_within(LAST_READS.0);
        // Errors end the connection as well.
        let _ = io::copy(&mut self.take(LAST_READS.1), &mut io::sink());
    }
}

/// Limits for reading what a client sends after its refusal: time and number of bytes.
const LAST_READS: (Duration, u64) = (Duration::from_millis(500), 16_000_000);

/// Returns the time until a deadline.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.read_until)?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.write_until)?))?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Unix gives `WouldBlock` for the end of a time limit, which others take as "try again".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}
