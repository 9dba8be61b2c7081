//! `wakeling serve`: a wake word service for Home Assistant, voice satellites and pages.

use std::{io::Write, net::SocketAddr, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::number;
use crate::error::{Error, Result};
use wakeling_device::{sensitivity::Preset, simulate::Sensitivity};
use wakeling_serve::{Catalog, Limits, Options, Report, SavedDetections, Server};

/// Maximum number of clients, each of which is a thread.
const MOST_CLIENTS: usize = 4_096;
/// Maximum number of saved detections.
const MOST_SAVED: usize = 1_000_000;

/// Detect wake words for Home Assistant, satellites and web pages
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling serve runs/computer/model.wkl
  wakeling serve models/ --address 0.0.0.0:10400 --websocket 127.0.0.1:10401
  wakeling serve runs/computer/model.wkl --save-detections runs/serve/detections

The address speaks the Wyoming protocol. In Home Assistant, add the integration \"Wyoming Protocol\"
with the host and port of this computer. A WebSocket takes PCM and sends JSON. There is no
authentication: the default address is on this computer only; with 0.0.0.0 every computer of the
network can connect. Ctrl-C or SIGTERM ends the service.")]
pub struct ServeArgs {
    /// Model files, or folders of them (*.wkl)
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<PathBuf>,
    /// Address of the Wyoming protocol
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10400")]
    address: String,
    /// Address of a WebSocket: 16-bit PCM in, JSON out
    #[arg(long, value_name = "HOST:PORT")]
    websocket: Option<String>,
    /// Origin of web pages that may open the WebSocket, besides those of this computer
    #[arg(long = "origin", value_name = "ORIGIN", requires = "websocket")]
    origins: Vec<String>,
    /// Sensitivity of all models
    #[arg(long, value_parser = super::choice::choice::<Preset>(), value_name = "NAME", conflicts_with = "false_accepts_per_hour")]
    sensitivity: Option<Preset>,
    /// Thresholds of the models' tables for at most this rate
    #[arg(long, value_name = "RATE", value_parser = number::within(0.0..=number::MOST_PER_HOUR))]
    false_accepts_per_hour: Option<f64>,
    /// Maximum number of clients at once
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().clients,
        value_parser = number::within(1..=MOST_CLIENTS))]
    clients: usize,
    /// Folder in which the last three seconds before each detection are saved, for `finetune
    /// --false-wakes`
    #[arg(long, value_name = "DIR")]
    save_detections: Option<PathBuf>,
    /// Maximum number of saved detections; the oldest are removed
    #[arg(long, value_name = "COUNT", default_value_t = 200, requires = "save_detections",
        value_parser = number::within(1..=MOST_SAVED))]
    save_most: usize,
    /// Print detections as one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Runs the command until the process is interrupted.
///
/// # Errors
/// Errors of the models, their sensitivity, and the addresses.
pub fn run(args: ServeArgs) -> Result<()> {
    let sensitivity = match (args.sensitivity, args.false_accepts_per_hour) {
        (Some(preset), _) => Sensitivity::Preset(preset),
        (None, Some(rate)) => Sensitivity::FalseAcceptsPerHour(rate),
        (None, None) => Sensitivity::Model,
    };
    let catalog = Catalog::open(&args.models, sensitivity)?;
    let names: Vec<String> = catalog.keywords().map(|keyword| keyword.name.clone()).collect();
    let saved = args.save_detections.as_deref();
    let saved = saved.map(|folder| SavedDetections::open(folder, args.save_most)).transpose()?;
    let json = args.json;
    let server = Server::open(
        catalog,
        Options {
            address: args.address,
            websocket: args.websocket,
            origins: args.origins,
            limits: Limits { clients: args.clients, ..Limits::default() },
            saved,
            on_report: Box::new(move |report| log_report(report, json)),
        },
    )?;
    let stop = server.stop()?;
    ctrlc::set_handler(move || stop.stop())
        .map_err(|error| Error::device("signals", error, "report it"))?;
    announce("Wyoming", "tcp", server.address()?);
    if let Some(address) = server.websocket_address()? {
        announce("WebSocket", "ws", address);
    }
    log::info!("wake words: {}", names.join(", "));
    Ok(server.run()?)
}

/// Prints an address, and warns if other computers reach it.
fn announce(protocol: &str, scheme: &str, address: SocketAddr) {
    println!("{protocol} {scheme}://{address}");
    // A closed standard output does not end the service.
    let _ = std::io::stdout().flush();
    if !address.ip().is_loopback() {
        let place = if address.ip().is_unspecified() { "all interfaces" } else { "the network" };
        log::info!(
            "warning: {protocol} is open on {place}, without authentication: every computer that \
             reaches {address} can use it"
        );
    }
}

fn log_report(report: &Report<'_>, json: bool) {
    match report {
        Report::Detection { client, name, time_s, level } if json => {
            println!(
                "{}",
                json!({
                    "client": client, "name": name, "time_s": time_s, "level": level.value(),
                })
            );
        }
        Report::Detection { client, name, time_s, level } => {
            println!("{time_s:9.2} s  level {level:>3}  {name}  {client}");
        }
        Report::Refused { client, reason } => log::info!("refused {client}: {reason}"),
    }
    let _ = std::io::stdout().flush();
}
