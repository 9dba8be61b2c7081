//! Updates of models on running devices: signed, packed with a self-test, and sent over a serial
//! line.
//!
//! | stage | file | in | out |
//! |---|---|---|---|
//! | keys | [`keys`] | a file that only its owner reads | an Ed25519 key |
//! | image | [`package`] | model file, version, key | header, model, self-test: a `.wku` file |
//! | port | [`port`] | `/dev/ttyACM0`, `COM3`, `tcp://HOST:PORT` | bytes, with a time limit |
//! | device | [`device`] | requests | replies, with retries if one is lost |
//!
//! The device's side is `wakeling_shared::update`. `docs/reference/update-protocol.md` specifies
//! the bytes and the threats.

pub mod device;
pub mod package;
pub mod keys;
pub mod port;
