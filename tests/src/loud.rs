//! A model that detects any loud sound: the example of the device crate.

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/examples/support/loud.rs"));
