//! Requests of a host and replies of a device, each one postcard value in a frame.
//!
//! The variants are numbered in their order, and new ones are appended. An old device thus answers
//! an unknown request with [`Refusal::Request`].

use core::fmt;

use serde::{Deserialize, Serialize};

use super::{frame::MAX_PAYLOAD, package::KEY_BYTES};
use crate::{decimal::Decimal, enroll::EnrollError, recorder::Entry};

/// Version of the protocol.
pub const PROTOCOL: u8 = 1;
/// Number of bytes of model and self-test in each [`Request::Data`] but the last.
pub const CHUNK_BYTES: usize = 256;

/// Request of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Asks for [`Info`].
    Info,
    /// Announces a package with this header.
    Begin(#[serde(borrow)] &'a [u8]),
    /// Sends bytes of model and self-test: [`CHUNK_BYTES`], or the last ones.
    Data {
        /// Position of the bytes after the header.
        offset: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Ends the transfer: the device checks the package, and runs it after the next restart.
    Finish {
        /// Runs the model on trial: the restart after that returns to the old one, unless
        /// [`Request::Confirm`] comes first.
        trial: bool,
    },
    /// Confirms the model on trial.
    Confirm,
    /// Restarts the device.
    Restart,
    /// Asks for an event of the flight recorder by its position; 0 is the oldest.
    Event(u8),
    /// Asks for features of an event, from `offset` on: [`CHUNK_BYTES`], or the last ones.
    Features {
        /// Number of the event.
        number: u32,
        /// Index of the first feature.
        offset: u16,
    },
    /// Starts to record five utterances of a keyword.
    Enroll,
    /// Asks for the number of utterances recorded.
    Enrolled,
    /// Builds the head from the utterances, and runs it after the next restart.
    Keep,
}

/// Reply of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// Reply to [`Request::Info`].
    Info(#[serde(borrow)] Info<'a>),
    /// The request succeeded.
    Done {
        /// Total number of bytes of the package received, or of utterances recorded.
        received: u32,
    },
    /// The request failed.
    Refused(Refusal),
    /// Reply to [`Request::Event`]: the event, if there is one at that position.
    Event(Option<Entry>),
    /// Reply to [`Request::Features`]: `i8` features.
    Features(&'a [u8]),
}

/// State of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info<'a> {
    /// Version of the protocol, [`PROTOCOL`].
    pub protocol: u8,
    /// Name of the board.
    pub board: &'a str,
    /// The running model, if any.
    pub running: Option<Running>,
    /// Least version that the device accepts.
    pub next_version: u32,
    /// Model that waits for a restart or for a confirmation.
    pub candidate: Option<Candidate>,
    /// Largest size of header, model and self-test in bytes.
    pub slot_bytes: u32,
    /// Public key that must have signed a package, if any.
    pub key: Option<[u8; KEY_BYTES]>,
    /// Version of the last candidate that failed.
    pub rolled_back: Option<u32>,
}

/// The running model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Version of the model.
    pub version: u32,
    /// Index of its slot, 0 or 1.
    pub slot: u8,
    /// `true` if it was made on the device by enrollment.
    pub enrolled: bool,
}

/// A model that is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Candidate {
    /// The model is tested at the next restart.
    Pending,
    /// The model runs, and is dropped at the next restart unless it is confirmed.
    Trial,
}

/// Reason for which a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The request is unknown.
    Request,
    /// The bytes are no header, or were changed.
    Header,
    /// The format of the package is unknown.
    Format,
    /// The version is not above the highest confirmed one.
    Version {
        /// Least version that is accepted.
        least: u32,
    },
    /// The package is larger than a slot.
    Large {
        /// Size of a slot in bytes.
        slot_bytes: u32,
    },
    /// The package is unsigned, and a signature is required.
    Unsigned,
    /// Another key signed the package.
    ForeignKey,
    /// The signature does not match the key and the package.
    Signature,
    /// The data came without [`Request::Begin`].
    NotReceiving,
    /// The bytes are not the next ones.
    Offset {
        /// Position of the next bytes.
        expected: u32,
    },
    /// The CRC-32 of the received bytes differs from that in the header.
    Checksum,
    /// The other slot is on trial. Confirm it or restart the device first.
    OnTrial,
    /// No model is on trial.
    NothingToConfirm,
    /// The flash reported an error.
    Flash,
    /// The flight recorder no longer holds that event, or it has fewer features.
    NoEvent,
    /// No model with an enrollment head is running.
    NothingToLearn,
    /// Only this many utterances were recorded.
    Utterances(u8),
    /// The utterances have too little in common.
    Unlike,
}

impl From<EnrollError> for Refusal {
    fn from(error: EnrollError) -> Self {
        match error {
            EnrollError::NoHead => Self::NothingToLearn,
            EnrollError::Utterances(count) => Self::Utterances(count),
            EnrollError::Unlike => Self::Unlike,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Request => f.write_str("the request is unknown"),
            Self::Header => f.write_str("the package's header is damaged"),
            Self::Format => f.write_str("the format of the package is unknown"),
            Self::Version { least } => {
                write!(f, "it accepts only versions from {} on", Decimal::of(least))
            }
            Self::Large { slot_bytes } => {
                write!(f, "a package may have at most {} bytes", Decimal::of(slot_bytes))
            }
            Self::Unsigned => f.write_str("it accepts only signed models"),
            Self::ForeignKey => f.write_str("it accepts only models of another key"),
            Self::Signature => f.write_str("the signature does not fit the model"),
            Self::NotReceiving => f.write_str("it expects no data"),
            Self::Offset { expected } => {
                write!(f, "it expects the bytes from {}", Decimal::of(expected))
            }
            Self::Checksum => f.write_str("the data was damaged on the way"),
            Self::OnTrial => f.write_str("a model is on trial: confirm it, or restart the device"),
            Self::NothingToConfirm => f.write_str("no model is on trial"),
            Self::NothingToLearn => f.write_str("its model has no head to enroll"),
            Self::Utterances(count) => {
                write!(f, "only {} utterances were found", Decimal::of(count))
            }
            Self::Unlike => f.write_str("the utterances have too little in common"),
            Self::NoEvent => f.write_str("that event is not stored any more"),
            Self::Flash => f.write_str("its flash failed"),
        }
    }
}

impl core::error::Error for Refusal {}

/// Encodes a message; `None` if it does not fit.
pub fn encode<'b>(message: &impl Serialize, out: &'b mut [u8; MAX_PAYLOAD]) -> Option<&'b [u8]> {
    postcard::to_slice(message, out).ok().map(|bytes| &*bytes)
}

/// Decodes a message; `None` if the bytes are not exactly one.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (message, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_messages_fit_a_frame() {
        let mut out = [0; MAX_PAYLOAD];
        let data = Request::Data { offset: u32::MAX, bytes: &[1; CHUNK_BYTES] };
        let bytes = encode(&data, &mut out).expect("it fits");
        assert_eq!(decode(bytes), Some(data));
        let info = Reply::Info(Info {
            protocol: PROTOCOL,
            board: "a board with a name of some length, such as nobody gives",
            running: Some(Running { version: u32::MAX, slot: 1, enrolled: true }),
            next_version: u32::MAX,
            candidate: Some(Candidate::Trial),
            slot_bytes: u32::MAX,
            key: Some([255; KEY_BYTES]),
            rolled_back: Some(u32::MAX),
        });
        let bytes = encode(&info, &mut out).expect("it fits");
        assert_eq!(decode(bytes), Some(info));
    }

    #[test]
    fn stray_bytes_are_no_message() {
        assert_eq!(decode::<Request<'_>>(&[0]), Some(Request::Info));
        assert_eq!(decode::<Request<'_>>(&[0, 0]), None);
        assert_eq!(decode::<Request<'_>>(&[200]), None);
        assert_eq!(decode::<Request<'_>>(&[]), None);
    }
}
