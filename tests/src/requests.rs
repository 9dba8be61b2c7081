//! Requests of a host that updates a device.

use wakeling_device::update::package::Package;
use wakeling_shared::update::{
    frame::{self, MAX_FRAME, MAX_PAYLOAD},
    message::{self, CHUNK_BYTES, Request},
    package::HEADER_BYTES,
};

/// Returns the frames of an update, restart included.
///
/// # Panics
/// If the package is shorter than its header.
pub fn update(package: &Package) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut ask = |request: &Request<'_>| {
        let (mut payload, mut out) = ([0; MAX_PAYLOAD], [0; MAX_FRAME]);
        let payload = message::encode(request, &mut payload).expect("it fits");
        stream.extend(frame::write(1, payload, &mut out).expect("it fits"));
    };
    ask(&Request::Begin(&package.bytes[..HEADER_BYTES]));
    for (i, bytes) in package.body().chunks(CHUNK_BYTES).enumerate() {
        ask(&Request::Data { offset: (i * CHUNK_BYTES) as u32, bytes });
    }
    ask(&Request::Finish { trial: false });
    ask(&Request::Restart);
    stream
}
