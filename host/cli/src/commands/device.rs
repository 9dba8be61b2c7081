//! `wakeling device`: controls a running device over its serial line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wakeling_shared::{enroll::UTTERANCES, update::message::Candidate};

use super::number;
use crate::error::{Error, Result};
use wakeling_core::progress::progress_bar;
use wakeling_device::update::{
    device::{Device, DeviceInfo},
    keys::hex,
    package::Package,
    port,
};

/// Query a running device, and replace its model
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling device info --port /dev/ttyACM0
  wakeling device update runs/computer/model.wku --port /dev/ttyACM0
  wakeling device update model.wku --trial --port COM3
  wakeling device confirm --port COM3
  wakeling device info --port tcp://127.0.0.1:4444
  wakeling device log --port /dev/ttyACM0 --out alarms/
  wakeling finetune --word \"hey computer=recordings/\" --false-wakes alarms/ --out runs/v2

The new model goes into the slot that does not run, is checked, and must pass its self-test at
the restart; else the old one stays. A power failure at any moment is safe.")]
pub struct DeviceArgs {
    #[command(subcommand)]
    command: Command,
}

/// Connection to the device.
#[derive(Debug, Args)]
struct PortArgs {
    /// Serial port, or tcp://HOST:PORT
    #[arg(long)]
    port: String,
    /// Baud rate of a serial port
    #[arg(long, default_value_t = 115_200, value_parser = number::within(300..=12_000_000_u32))]
    baud: u32,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the running model, and the updates that are accepted
    #[command(after_help = "Example:
  wakeling device info --port /dev/ttyACM0")]
    Info {
        #[command(flatten)]
        port: PortArgs,
    },
    /// Send a signed model and run it
    #[command(after_help = "Examples:
  wakeling device update runs/computer/model.wku --port /dev/ttyACM0
  wakeling device update model.wku --trial --port COM3")]
    Update {
        /// Signed package that `wakeling sign` wrote
        package: PathBuf,
        /// Return to the old model at the restart after the next one, unless the new model is
        /// confirmed
        #[arg(long)]
        trial: bool,
        /// Do not restart the device
        #[arg(long)]
        no_restart: bool,
        #[command(flatten)]
        port: PortArgs,
    },
    /// Keep the model that is on trial
    #[command(after_help = "Example:
  wakeling device confirm --port COM3")]
    Confirm {
        #[command(flatten)]
        port: PortArgs,
    },
    /// Read the flight recorder: features, not audio, around the last detections and near misses
    #[command(after_help = "Example:
  wakeling device log --port /dev/ttyACM0 --out alarms/")]
    Log {
        /// Folder for one file per event, which `finetune --false-wakes` reads
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        port: PortArgs,
    },
    /// Enroll a keyword on the device: speak it five times
    #[command(after_help = "Example:
  wakeling device enroll --port /dev/ttyACM0")]
    Enroll {
        #[command(flatten)]
        port: PortArgs,
    },
    /// Restart the device
    #[command(after_help = "Example:
  wakeling device restart --port /dev/ttyACM0")]
    Restart {
        #[command(flatten)]
        port: PortArgs,
    },
}

impl PortArgs {
    fn device(&self) -> Result<Device> {
        Ok(Device::new(&self.port, port::open(&self.port, self.baud)?)?)
    }
}

/// Runs the command.
pub fn run(args: DeviceArgs) -> Result<()> {
    match args.command {
        Command::Info { port } => print(&port.device()?.info()?),
        Command::Update { package, trial, no_restart, port } => {
            // The package is checked before the device is contacted.
            let package = Package::load(&package)?;
            let mut device = port.device()?;
            update(&mut device, &package, trial)?;
            if no_restart {
                log::info!("it is tested and run at the next restart: wakeling device restart");
            } else {
                let info = device.restart()?;
                started(&port.port, &info, package.header.version)?;
                print(&info);
            }
        }
        Command::Confirm { port } => {
            let mut device = port.device()?;
            device.confirm()?;
            print(&device.info()?);
        }
        Command::Log { out, port } => {
            let events = port.device()?.events()?;
            std::fs::create_dir_all(&out).map_err(Error::io(&out, "create"))?;
            for event in &events {
                let path = event.save(&out)?;
                let [smoothed, threshold] =
                    [event.entry.smoothed, event.entry.threshold].map(|q8| f64::from(q8) / 256.0);
                println!("{} {smoothed:.2} of {threshold:.2}", path.display());
            }
            log::info!("{} events", events.len());
        }
        Command::Enroll { port } => {
            let mut device = port.device()?;
            log::info!("speak the word {UTTERANCES} times, with a second of quiet between");
            let bar = progress_bar(UTTERANCES as u64, "enroll");
            let enrolled = device.enroll(|count| bar.set_position(count.into()));
            bar.finish_and_clear();
            enrolled?;
            print(&device.restart()?);
        }
        Command::Restart { port } => print(&port.device()?.restart()?),
    }
    Ok(())
}

fn update(device: &mut Device, package: &Package, trial: bool) -> Result<()> {
    let bar = progress_bar(package.body().len() as u64, "update");
    let sent = device.send(package, trial, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    Ok(sent?)
}

/// Checks that the device runs the version that was sent.
fn started(port: &str, info: &DeviceInfo, version: u32) -> Result<()> {
    if info.running.is_some_and(|running| running.version == version) {
        return Ok(());
    }
    let problem = format!("version {version} failed its self-test and was rolled back");
    Err(Error::device(port, problem, "sign the model with the program of the firmware's source"))
}

fn print(info: &DeviceInfo) {
    println!("board {}", info.board);
    match info.running {
        None => println!("no model"),
        Some(running) => {
            let origin = if running.enrolled { ", enrolled here" } else { "" };
            println!("version {} in slot {}{origin}", running.version, running.slot);
        }
    }
    match info.candidate {
        None => {}
        Some(Candidate::Pending) => println!("another model waits for a restart"),
        Some(Candidate::Trial) => println!("on trial: gone at the next restart unless confirmed"),
    }
    if let Some(version) = info.rolled_back {
        println!("version {version} failed and was rolled back");
    }
    println!("takes versions from {}, of at most {} bytes", info.next_version, info.slot_bytes);
    match info.key {
        None => println!("from anybody"),
        Some(key) => println!("signed by {}", hex(&key)),
    }
}
