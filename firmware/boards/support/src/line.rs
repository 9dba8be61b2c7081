//! The UART of a board: event lines and replies go out, requests come in.
//!
//! The chips' drivers fill and empty buffers of theirs by interrupts, and offer them to tasks that wait
//! (`embedded-io-async`). The loop does not wait for the line: [`Received`] takes what is there, and
//! [`Line`] writes until the buffer has taken all. Both poll once and ask nobody to be woken.

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

/// Bytes that wait while the loop is busy: a request, and half of another.
const RECEIVE_BYTES: usize = 512;
/// Bytes that go out while the loop does something else: a reply, or four lines.
const SEND_BYTES: usize = 512;
/// Bytes that are taken from the driver at once.
const HELD_BYTES: usize = 64;

/// Buffers for the driver of a UART: to receive, to send.
///
/// # Panics
/// If called twice.
pub fn buffers() -> (&'static mut [u8], &'static mut [u8]) {
    static RECEIVE: ConstStaticCell<[u8; RECEIVE_BYTES]> = ConstStaticCell::new([0; _]);
    static SEND: ConstStaticCell<[u8; SEND_BYTES]> = ConstStaticCell::new([0; _]);
    (RECEIVE.take(), SEND.take())
}

/// What a future has by now.
fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Both directions of a UART.
pub struct Line<R, T> {
    received: Received<R>,
    send: RefCell<T>,
}

impl<R, T: embedded_io_async::Write> Line<R, T> {
    /// Of the two halves of a driver.
    pub fn new((receive, send): (R, T)) -> Self {
        let received = Received { driver: receive, held: [0; HELD_BYTES], from: 0, to: 0 };
        Self { received, send: RefCell::new(send) }
    }

    /// What comes in, and who sends: a line of events goes out between replies, never within one.
    pub fn split(&mut self) -> (&mut Received<R>, Sender<'_, T>) {
        (&mut self.received, Sender(&self.send))
    }
}

/// What comes in.
pub struct Received<R> {
    driver: R,
    held: [u8; HELD_BYTES],
    from: usize,
    to: usize,
}

impl<R: embedded_io_async::Read> Received<R> {
    /// Bytes that are there, after at most one look into the driver. What it lost, the host sends again.
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

/// Who sends.
pub struct Sender<'l, T>(&'l RefCell<T>);

impl<T> Clone for Sender<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Sender<'_, T> {}

impl<T: embedded_io_async::Write> Sender<'_, T> {
    /// Writes all of it; waits while the buffer is full.
    ///
    /// # Errors
    /// Only without detail: there is no other line to tell it by.
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

/// Event lines on a UART and in the log.
pub fn lines<B: FnMut(&[u8]) -> fmt::Result>(uart: B) -> Lines<B, fn(&str)> {
    Lines::new(uart, |line| defmt::info!("{=str}", line))
}

/// Both, as requests are served. An error is what was lost: the host asks again.
pub struct Serial<'l, R, T> {
    /// What comes in.
    pub received: &'l mut Received<R>,
    /// Who sends.
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
