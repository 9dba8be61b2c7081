//! Connection to a device: a serial port, or TCP.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use crate::{Error, Result};

/// Byte stream with a time limit for reads.
pub trait Port: Read + Write {
    /// Sets the time limit of a read.
    ///
    /// # Errors
    /// Errors of the system.
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()>;
}

impl Port for TcpStream {
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))
    }
}

impl Port for serial2::SerialPort {
    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }
}

/// Opens `tcp://HOST:PORT`, or a serial port by its name (8N1).
///
/// # Errors
/// [`Error::NoConnection`]; [`Error::NoPort`], with the names of the available ports.
pub fn open(name: &str, baud: u32) -> Result<Box<dyn Port>> {
    /// Time limit for connecting.
    const CONNECT: Duration = Duration::from_secs(10);
    if let Some(address) = name.strip_prefix("tcp://") {
        let connected = address.to_socket_addrs().and_then(|mut addresses| {
            let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
            TcpStream::connect_timeout(&address, CONNECT)
        });
        let stream = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        return stream
            .map(|stream| Box::new(stream) as _)
            .map_err(|source| Error::NoConnection { name: name.to_owned(), source });
    }
    let port = serial2::SerialPort::open(name, baud);
    port.map(|port| Box::new(port) as _).map_err(|source| Error::NoPort {
        name: name.to_owned(),
        source,
        available: available(),
    })
}

/// Returns the names of the serial ports of this machine.
fn available() -> Vec<String> {
    let ports = serial2::SerialPort::available_ports().unwrap_or_default();
    ports.iter().map(|port| port.display().to_string()).collect()
}
