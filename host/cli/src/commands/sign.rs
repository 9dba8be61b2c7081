//! `wakeling sign`: packs a model as a signed package, which a device accepts while it runs.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::{number, shell_word};
use crate::error::{Error, Result};
use wakeling_core::files;
use wakeling_device::update::{
    keys::{Key, hex},
    package,
};

/// Sign a model for updates over a serial line
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling sign --new-key ~/wakeling.key
  wakeling sign runs/computer/model.wkl --key ~/wakeling.key
  wakeling device update runs/computer/model.wku --port /dev/ttyACM0

A firmware pins the public key that is in WAKELING_UPDATE_KEY when it is built, and then rejects
models signed with another key. Without --key the model is signed with the development key, which
is public. The version of a model must be higher than that of the one before; by default it is the
time in seconds.")]
pub struct SignArgs {
    /// Model that `wakeling finetune` or `quantize` wrote
    #[arg(required_unless_present = "new_key")]
    model: Option<PathBuf>,
    /// File of the secret key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Create a key, write it to a new file that only you can read, and print its public half
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    new_key: Option<PathBuf>,
    /// Pack the model without a signature, for firmware that does not require one
    #[arg(long, conflicts_with_all = ["key", "new_key"])]
    unsigned: bool,
    /// Version of the model, which may only increase [default: seconds since 1970]
    #[arg(long, value_name = "NUMBER", value_parser = number::within(0..=u32::MAX))]
    model_version: Option<u32>,
    /// Package to write [default: the model's name with .wku]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: SignArgs) -> Result<()> {
    let key = match (&args.new_key, &args.key) {
        (Some(path), _) => {
            let key = Key::create(path)?;
            log::info!("{}: a new key; keep it, and a copy of it, to yourself", path.display());
            println!("{}", hex(&key.public()));
            log::info!("build the firmware with WAKELING_UPDATE_KEY={}", hex(&key.public()));
            Some(key)
        }
        (None, Some(path)) => Some(Key::load(path)?),
        (None, None) if args.unsigned => None,
        (None, None) => {
            log::info!("warning: signed with the public development key; give --key for your own");
            Some(Key::development())
        }
    };
    let Some(path) = &args.model else { return Ok(()) };
    let model = std::fs::read(path).map_err(Error::io(path, "read"))?;
    let version = args.model_version.unwrap_or_else(seconds);
    let bytes = package::pack(path, &model, version, key.as_ref())?;
    let out = args.out.unwrap_or_else(|| path.with_extension("wku"));
    files::write_atomic(&out, &bytes)?;
    log::info!("{}: version {version}, {} bytes", out.display(), bytes.len());
    log::info!("next: wakeling device update {} --port PORT", shell_word(&out));
    println!("{}", out.display());
    Ok(())
}

/// Returns the seconds since 1970, limited to `u32` (2106).
fn seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
