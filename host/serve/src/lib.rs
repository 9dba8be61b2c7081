#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

mod audio;
mod catalog;
mod connection;
mod error;
mod refusal;
mod save;
mod server;
mod service;
mod stream;
#[cfg(test)]
mod tests;
mod websocket;
mod wyoming;

pub use catalog::{Catalog, ServedKeyword};
pub use error::{Error, Result};
pub use save::SavedDetections;
pub use server::{Options, Server, Stop};
pub use service::{Limits, OnReport, Report};
