//! Requests of a host and replies of a device, each one postcard value in a frame.
//!
//! The variants are numbered in their order; new ones are added at the end, so an old device answers
//! a request that it does not know with [`Refusal::Request`].

use core::fmt;

use serde::{Deserialize, Serialize};

use super::{frame::MAX_PAYLOAD, image::KEY_BYTES};
use crate::{decimal::Decimal, enroll::EnrollError, recorder::Entry};

/// Version of what is said here.
pub const PROTOCOL: u8 = 1;
/// Bytes of model and self-test in a [`Request::Data`], but for the last.
pub const CHUNK_BYTES: usize = 256;

/// What a host asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// What runs, and what is accepted.
    Info,
    /// An image with this header will follow.
    Begin(#[serde(borrow)] &'a [u8]),
    /// Bytes of model and self-test, [`CHUNK_BYTES`] of them or the last.
    Data {
        /// Where they belong.
        offset: u32,
        /// Them.
        bytes: &'a [u8],
    },
    /// All was sent: check it, and run it after the next restart.
    Finish {
        /// Go back to the old model at the restart after that, unless [`Request::Confirm`] comes.
        trial: bool,
    },
    /// Keep the model that is on trial.
    Confirm,
    /// Restart.
    Restart,
    /// An event of the flight recorder, by its place: 0 is the oldest.
    Event(u8),
    /// Features of an event by its number, from this one on: [`CHUNK_BYTES`] of them or the last.
    Features {
        /// The event's number.
        number: u32,
        /// The first feature.
        offset: u16,
    },
    /// Listen for five utterances of a word.
    Enroll,
    /// How many were heard.
    Enrolled,
    /// Make the head of them, and run it after the next restart.
    Keep,
}

/// What a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// To [`Request::Info`].
    Info(#[serde(borrow)] Info<'a>),
    /// Done; so many bytes of the image were received, or utterances heard, in all.
    Done {
        /// Bytes, or utterances.
        received: u32,
    },
    /// Not done.
    Refused(Refusal),
    /// To [`Request::Event`]: it, if there is one at that place.
    Event(Option<Entry>),
    /// To [`Request::Features`]: `i8` features.
    Features(&'a [u8]),
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info<'a> {
    /// [`PROTOCOL`].
    pub protocol: u8,
    /// Name of the board.
    pub board: &'a str,
    /// Version and origin of the model that runs, if one does.
    pub running: Option<Running>,
    /// The least version that is accepted.
    pub next_version: u32,
    /// What waits for a restart or for a confirmation.
    pub candidate: Option<Candidate>,
    /// Most bytes of header, model and self-test.
    pub slot_bytes: u32,
    /// The key that must have signed, if one must.
    pub key: Option<[u8; KEY_BYTES]>,
    /// The last thing that went wrong with an update.
    pub rolled_back: Option<u32>,
}

/// The model that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its version.
    pub version: u32,
    /// Which of the two slots holds it.
    pub slot: u8,
    /// It was made on the device.
    pub enrolled: bool,
}

/// A model that is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Candidate {
    /// It is tested at the next restart.
    Pending,
    /// It runs, and goes at the next restart unless it is confirmed.
    Trial,
}

/// Why a device did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A request that it does not know.
    Request,
    /// The header is none, or was changed.
    Header,
    /// An image of a format that it does not know.
    Format,
    /// The version is not above the one that was confirmed last.
    Version {
        /// The least that is accepted.
        least: u32,
    },
    /// The image is larger than a slot.
    Large {
        /// Bytes of a slot.
        slot_bytes: u32,
    },
    /// Nobody signed it, and somebody must have.
    Unsigned,
    /// Another key signed it.
    ForeignKey,
    /// The signature is not that key's for this image.
    Signature,
    /// Data without [`Request::Begin`].
    NotReceiving,
    /// The bytes are not those that come next.
    Offset {
        /// Where the next ones belong.
        expected: u32,
    },
    /// The CRC-32 of what was received is not the header's.
    Checksum,
    /// The other slot runs on trial: it must be confirmed, or the device restarted.
    OnTrial,
    /// Nothing is on trial.
    NothingToConfirm,
    /// The flash refused.
    Flash,
    /// The flight recorder does not hold that event any more, or not so many features.
    NoEvent,
    /// The model that runs, if one does, has no head that can be enrolled.
    NothingToLearn,
    /// So many utterances are too few.
    Utterances(u8),
    /// The utterances have too little in common.
    Unlike,
}

impl From<EnrollError> for Refusal {
    fn from(error: EnrollError) -> Self {
        match error {
            EnrollError::NoHead => Self::NothingToLearn,
            EnrollError::Utterances(heard) => Self::Utterances(heard),
            EnrollError::Unlike => Self::Unlike,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Request => f.write_str("it does not know this request"),
            Self::Header => f.write_str("the image's header is damaged"),
            Self::Format => f.write_str("it does not know this format of images"),
            Self::Version { least } => {
                write!(f, "it takes versions from {} only", Decimal::of(least))
            }
            Self::Large { slot_bytes } => {
                write!(f, "an image may have {} bytes", Decimal::of(slot_bytes))
            }
            Self::Unsigned => f.write_str("it takes signed models only"),
            Self::ForeignKey => f.write_str("it takes models of another key"),
            Self::Signature => f.write_str("the signature does not fit the model"),
            Self::NotReceiving => f.write_str("it expects no data"),
            Self::Offset { expected } => {
                write!(f, "it expects the bytes from {}", Decimal::of(expected))
            }
            Self::Checksum => f.write_str("what arrived is not what was sent"),
            Self::OnTrial => f.write_str("a model is on trial: confirm it, or restart the device"),
            Self::NothingToConfirm => f.write_str("no model is on trial"),
            Self::NothingToLearn => f.write_str("its model has no head to enroll"),
            Self::Utterances(heard) => {
                write!(f, "it heard {} utterances only", Decimal::of(heard))
            }
            Self::Unlike => f.write_str("the utterances have too little in common"),
            Self::NoEvent => f.write_str("it does not hold that event any more"),
            Self::Flash => f.write_str("its flash refused"),
        }
    }
}

impl core::error::Error for Refusal {}

/// A message as bytes.
pub fn encode<'b>(message: &impl Serialize, out: &'b mut [u8; MAX_PAYLOAD]) -> Option<&'b [u8]> {
    postcard::to_slice(message, out).ok().map(|bytes| &*bytes)
}

/// A message from bytes, all of which must belong to it.
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
