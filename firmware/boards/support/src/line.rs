//! The UART of a board: event lines and replies go out, requests come in.
//!
//! The chips' drivers fill and empty their buffers by interrupts, and offer them to async tasks
//! (`embedded-io-async`). The loop does not wait for input: [`Received`] takes the bytes that have
//! arrived, and [`Line`] writes until the buffer has accepted all. Both poll once, without a waker.

use core::{
    cell::RefCell,
    convert::Infallible,
    fmt,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use embedded_io::{ErrorType, ReadReady};
use static_cell::ConstStaticCell;
use wakeling_firmware::outputs::Lines;

/// Size of the receive buffer in bytes, for the time in which the loop is busy: one and a half
/// requests.
const RECEIVE_BYTES: usize = 512;
/// Size of the send buffer in bytes, sent in the background: a reply, or four lines.
const SEND_BYTES: usize = 512;
/// Number of bytes taken from the driver at once.
const HELD_BYTES: usize = 64;

/// Returns the receive and the send buffer for a UART driver.
///
/// # Panics
/// If called twice.
pub fn buffers() -> (&'static mut [u8], &'static mut [u8]) {
    static RECEIVE: ConstStaticCell<[u8; RECEIVE_BYTES]> = ConstStaticCell::new([0; _]);
    static SEND: ConstStaticCell<[u8; SEND_BYTES]> = ConstStaticCell::new([0; _]);
    (RECEIVE.take(), SEND.take())
}

/// Polls a future once.
fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Both directions of a UART.
pub struct Line<R, T> {
    received: Received<R>,
    send: RefCell<T>,
}

impl<R, T: embedded_io_async::Write> Line<R, T> {
    /// Creates a line from both halves of a driver.
    pub fn new((receive, send): (R, T)) -> Self {
        let received = Received { driver: receive, held: [0; HELD_BYTES], from: 0, to: 0 };
        Self { received, send: RefCell::new(send) }
    }

    /// Splits the line into input and output. Event lines go out between replies, never within one.
    pub fn split(&mut self) -> (&mut Received<R>, Sender<'_, T>) {
        (&mut self.received, Sender(&self.send))
    }
}

/// Input of the line.
pub struct Received<R> {
    driver: R,
    held: [u8; HELD_BYTES],
    from: usize,
    to: usize,
}

impl<R: embedded_io_async::Read> Received<R> {
    /// Returns the bytes that have arrived, after at most one read of the driver. If the driver
    /// loses bytes, the host repeats its request.
    fn look(&mut self) -> &[u8] {
        if self.from == self.to {
            let came = match now(self.driver.read(&mut self.held)) {
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            };
            (self.from, self.to) = (0, came);
        }
        self.held.get(self.from..self.to).unwrap_or_default()
    }
}

/// Output of the line.
pub struct Sender<'l, T>(&'l RefCell<T>);

impl<T> Clone for Sender<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Sender<'_, T> {}

impl<T: embedded_io_async::Write> Sender<'_, T> {
    /// Writes all of `bytes`; waits while the buffer is full.
    ///
    /// # Errors
    /// If the driver fails, without its error: there is no other line to report it on.
    pub fn send(&self, mut bytes: &[u8]) -> fmt::Result {
        let mut driver = self.0.try_borrow_mut().map_err(|_| fmt::Error)?;
        while !bytes.is_empty() {
            match now(driver.write(bytes)) {
                Poll::Ready(Ok(count)) => bytes = bytes.get(count..).ok_or(fmt::Error)?,
                Poll::Ready(Err(_)) => return Err(fmt::Error),
                Poll::Pending => core::hint::spin_loop(),
            }
        }
        Ok(())
    }
}

/// Creates a sink that writes event lines to a UART and to the log.
pub fn lines<B: FnMut(&[u8]) -> fmt::Result>(uart: B) -> Lines<B, fn(&str)> {
    Lines::new(uart, |line| defmt::info!("{=str}", line))
}

/// Both directions, in which requests are served. Errors are treated as lost bytes, and the host
/// repeats its request.
pub struct Serial<'l, R, T> {
    /// Input of the line.
    pub received: &'l mut Received<R>,
    /// Output of the line.
    pub sender: Sender<'l, T>,
}

impl<R, T> ErrorType for Serial<'_, R, T> {
    type Error = Infallible;
}

impl<R: embedded_io_async::Read, T> ReadReady for Serial<'_, R, T> {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.received.look().is_empty())
    }
}

impl<R: embedded_io_async::Read, T> embedded_io::Read for Serial<'_, R, T> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let there = self.received.look();
        let count = there.len().min(bytes.len());
        bytes.iter_mut().zip(there).for_each(|(slot, &byte)| *slot = byte);
        self.received.from += count;
        Ok(count)
    }
}

impl<R, T: embedded_io_async::Write> embedded_io::Write for Serial<'_, R, T> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let _ = self.sender.send(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
