//! Connection to a device: a serial port, or TCP.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use wakeling_core::{Error, Result};

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
/// [`Error::Device`], with the names of the available ports.
pub fn open(name: &str, baud: u32) -> Result<Box<dyn Port>> {
    /// Time limit for connecting.
    const CONNECT: Duration = Duration::from_secs(10);
    if let Some(address) = name.strip_prefix("tcp://") {
        let connected = address.to_socket_addrs().and_then(|mut addresses| {
            let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
            TcpStream::connect_timeout(&address, CONNECT)
        });
        let stream = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        return stream.map(|stream| Box::new(stream) as _).map_err(|error| {
            Error::device(name, error.to_string(), "check the address, and that something listens")
        });
    }
    let port = serial2::SerialPort::open(name, baud);
    port.map(|port| Box::new(port) as _).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "join the group that owns the port (often dialout), then log in again".into()
            }
            _ => format!("check the cable and the name; {}", there_are()),
        };
        Error::device(name, error.to_string(), remedy)
    })
}

/// Describes the serial ports of this machine, for error messages.
fn there_are() -> String {
    let ports = serial2::SerialPort::available_ports().unwrap_or_default();
    let names: Vec<String> = ports.iter().map(|port| port.display().to_string()).collect();
    match names.len() {
        0 => "there is no serial port".into(),
        _ => format!("there are: {}", names.join(", ")),
    }
}
