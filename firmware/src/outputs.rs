//! Adapters for a board's outputs: several pins as one, active-low LEDs, and lines for several
//! sinks.

use core::fmt::{self, Write};

use embedded_hal::digital::{ErrorType, OutputPin};

/// Two pins with the same level: an LED for people and a pin for another chip.
pub struct Both<A, B>(pub A, pub B);

impl<A: ErrorType, B: ErrorType<Error = A::Error>> ErrorType for Both<A, B> {
    type Error = A::Error;
}

impl<A: OutputPin, B: OutputPin<Error = A::Error>> OutputPin for Both<A, B> {
    fn set_low(&mut self) -> Result<(), A::Error> {
        self.0.set_low()?;
        self.1.set_low()
    }

    fn set_high(&mut self) -> Result<(), A::Error> {
        self.0.set_high()?;
        self.1.set_high()
    }
}

/// LED that is lit when its pin is low.
pub struct ActiveLow<P>(pub P);

impl<P: ErrorType> ErrorType for ActiveLow<P> {
    type Error = P::Error;
}

impl<P: OutputPin> OutputPin for ActiveLow<P> {
    fn set_low(&mut self) -> Result<(), P::Error> {
        self.0.set_high()
    }

    fn set_high(&mut self) -> Result<(), P::Error> {
        self.0.set_low()
    }
}

/// Longest line that is passed on as a whole; longer ones are split.
pub const LINE_BYTES: usize = 128;

/// Passes text to `bytes` at once, and to `line` by line, without line endings.
pub struct Lines<B, L> {
    bytes: B,
    line: L,
    pending: heapless::String<LINE_BYTES>,
}

impl<B: FnMut(&[u8]) -> fmt::Result, L: FnMut(&str)> Lines<B, L> {
    /// Creates a sink; `bytes` is a UART, `line` a log.
    pub fn new(bytes: B, line: L) -> Self {
        Self { bytes, line, pending: heapless::String::new() }
    }

    fn hand_over(&mut self) {
        (self.line)(&self.pending);
        self.pending.clear();
    }
}

impl<B: FnMut(&[u8]) -> fmt::Result, L: FnMut(&str)> Write for Lines<B, L> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.bytes)(text.as_bytes())?;
        for letter in text.chars() {
            if letter == '\n' {
                self.hand_over();
            } else if self.pending.push(letter).is_err() {
                self.hand_over();
                self.pending.push(letter).map_err(|_| fmt::Error)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::convert::Infallible;
    use std::{string::String, vec, vec::Vec};

    #[derive(Default)]
    struct Pin(Option<bool>);

    impl ErrorType for Pin {
        type Error = Infallible;
    }

    impl OutputPin for Pin {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0 = Some(false);
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0 = Some(true);
            Ok(())
        }
    }

    #[test]
    fn led_and_pin_switch_together_each_with_its_polarity() {
        let mut both = Both(ActiveLow(Pin::default()), Pin::default());
        assert_eq!(both.set_high(), Ok(()));
        assert_eq!((both.0.0.0, both.1.0), (Some(false), Some(true)));
        assert_eq!(both.set_low(), Ok(()));
        assert_eq!((both.0.0.0, both.1.0), (Some(true), Some(false)));
    }

    #[test]
    fn a_line_is_whole_in_the_log_and_as_it_comes_on_the_wire() {
        let (mut wire, mut log) = (Vec::new(), vec![]);
        let mut lines = Lines::new(
            |bytes| {
                wire.extend_from_slice(bytes);
                Ok(())
            },
            |line| log.push(String::from(line)),
        );
        let long = "ä".repeat(LINE_BYTES);
        write!(lines, "detection {}", 5).expect("the wire is a vector");
        write!(lines, " hey\nmodel").expect("the wire is a vector");
        writeln!(lines, " x\n{long}").expect("the wire is a vector");
        assert_eq!(log[..2], ["detection 5 hey", "model x"]);
        assert_eq!(log[2..].concat(), long);
        assert!(log[2..].iter().all(|piece| piece.len() <= LINE_BYTES));
        assert_eq!(String::from_utf8(wire), Ok(std::format!("detection 5 hey\nmodel x\n{long}\n")));
    }

    #[test]
    fn a_wire_that_fails_is_an_error() {
        let mut lines = Lines::new(|_| Err(fmt::Error), |_| {});
        assert!(writeln!(lines, "x").is_err());
    }
}
