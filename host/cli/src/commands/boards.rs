//! `wakeling boards`: lists the supported boards, what fits them, how each is flashed, and the connected ones.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use wakeling_core::console::{Stream, Style};
use wakeling_device::{
    attached::{DEVICES, USB_DEVICES, UsbDevice, serial_ports, usb_devices},
    board::{ARENA_BYTES, BOARDS, Board, Loader},
    cost::BoardLoad,
    flash::shipped::Shipped,
};

/// List boards, the base models that fit, and how to flash them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling boards
  wakeling boards --json

A base model fits if flash has room for it with one word (in a slot, or with --plain in the whole
region), and memory for its state. The load is computed from instructions that an emulator counted.
No firmware has run on these boards; the programs of five run on emulated chips in tests.
Pins and wiring: docs/reference/boards.md.")]
pub struct BoardsArgs {
    /// Print a JSON array, an object per board
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: BoardsArgs) -> Result<()> {
    let devices = usb_devices(Path::new(USB_DEVICES));
    let shipped = Shipped::find().ok();
    let entries: Vec<_> =
        BOARDS.iter().map(|board| Listed::new(board, shipped.as_ref(), &devices)).collect();
    if args.json {
        let all: Vec<Value> = entries.iter().map(Listed::json).collect();
        let text = serde_json::to_string_pretty(&all);
        println!("{}", text.map_err(|error| Error::defect(error.to_string()))?);
        return Ok(());
    }
    entries.iter().for_each(|entry| print!("{}", entry.text()));
    let ports = serial_ports(Path::new(DEVICES));
    let ports: Vec<_> = ports.iter().map(|port| port.display().to_string()).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(" ") };
    println!("serial ports: {ports}");
    Ok(())
}

/// Program that a debug probe needs in addition, if this program cannot drive the probe.
const PROBE_RS: &str = if cfg!(feature = "probe") { "" } else { " and probe-rs" };

/// Where a base model fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// In a slot, or on a board without slots.
    Yes,
    /// Only with firmware without slots.
    Plain,
    No,
}

impl Fit {
    fn of(load: &BoardLoad) -> Self {
        match (load.fits(), load.fits_plain()) {
            (true, _) => Self::Yes,
            (false, true) => Self::Plain,
            (false, false) => Self::No,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Yes => "fits",
            Self::Plain => "fits with --plain",
            Self::No => "does not fit",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Yes => Style::Good,
            Self::Plain => Style::Warning,
            Self::No => Style::Error,
        }
    }
}

/// A board with what is known of it on this machine.
struct Listed<'a> {
    board: &'static Board,
    /// Whether its firmware ships with the program, whole.
    has_firmware: bool,
    attached: Option<&'a UsbDevice>,
}

impl<'a> Listed<'a> {
    fn new(board: &'static Board, shipped: Option<&Shipped>, devices: &'a [UsbDevice]) -> Self {
        let has_firmware = shipped.is_some_and(|shipped| shipped.load(board, false).is_ok());
        let attached = devices.iter().find(|device| board.usb.contains(&device.id));
        Self { board, has_firmware, attached }
    }

    fn needs(&self) -> String {
        match self.board.loader {
            Loader::Probe => {
                format!("a debug probe (on board, or wired to it){PROBE_RS}, or --hex")
            }
            Loader::ProbeOrUf2 { .. } => {
                format!("--uf2 and the board's drive, or a debug probe{PROBE_RS}")
            }
            Loader::Espflash => {
                "espflash (cargo install espflash --locked), or --merged".to_owned()
            }
        }
    }

    /// Formats a line for each thing, the first of which begins with the name.
    fn text(&self) -> String {
        let Board { name, title, chip, microphone, clock_mhz, .. } = self.board;
        let paint = |style: Style, text: &str| style.paint(Stream::Output, text).into_owned();
        let name = paint(Style::Title, &format!("{name:18}"));
        let mut text = format!("{name} {title} ({chip}); microphone: {microphone}\n");
        let mut line = |content: String| text += &format!("{:18} {content}\n", "");
        for load in self.board.loads() {
            let fit = Fit::of(&load);
            let fit = paint(fit.style(), fit.name());
            let [model, state] =
                [load.cost.model_bytes, load.cost.state_bytes].map(|b| (b + 500) / 1_000);
            let (model_name, percent) = (load.cost.model.to_lowercase(), load.percent);
            let slow = match load.keeps_up() {
                true => String::new(),
                false => format!(": {}", paint(Style::Warning, "too slow")),
            };
            line(format!(
                "base-{model_name}: {fit}; {model} KB of flash, {state} KB of state, {percent:.0} % of {clock_mhz} MHz{slow}"
            ));
        }
        let firmware = if self.has_firmware {
            "ships with this program"
        } else {
            "not beside this program (wakeling doctor)"
        };
        line(format!("firmware: {firmware}"));
        line(format!("to flash: {}", self.needs()));
        line(match self.attached {
            Some(device) => {
                let product = paint(Style::Good, &device.product);
                format!("attached: {product} ({})", device.node.display())
            }
            None => "attached: no".to_owned(),
        });
        text
    }

    fn json(&self) -> Value {
        let Board { name, title, chip, microphone, clock_mhz, model, page_bytes, .. } = self.board;
        let loads = self.board.loads().map(|load| {
            json!({
                "base": format!("base-{}", load.cost.model.to_lowercase()),
                "fits": Fit::of(&load) == Fit::Yes,
                "fits_plain": Fit::of(&load) != Fit::No,
                "model_bytes": load.cost.model_bytes,
                "state_bytes": load.cost.state_bytes,
                "cycles_per_second": load.cycles_per_second,
                "load_percent": load.percent,
                "keeps_up": load.keeps_up(),
                "slot_bytes": page_bytes.map(|_| load.room),
            })
        });
        json!({
            "board": name,
            "title": title,
            "chip": chip,
            "microphone": microphone,
            "clock_mhz": clock_mhz,
            "model_region_bytes": model.len(),
            "arena_bytes": ARENA_BYTES,
            "firmware": self.has_firmware,
            "models": loads.collect::<Vec<_>>(),
            "attached": self.attached.map(|device| device.node.display().to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_a_plugged_in_board() {
        let devices = [UsbDevice {
            id: (0x0D28, 0x0204),
            product: "BBC micro:bit CMSIS-DAP".into(),
            node: "/dev/bus/usb/001/012".into(),
        }];
        for board in BOARDS.iter() {
            let text = Listed::new(board, None, &devices).text();
            let last = text.lines().last().map(str::trim);
            let expected = match board.name {
                "microbit-v2" => "attached: BBC micro:bit CMSIS-DAP (/dev/bus/usb/001/012)",
                _ => "attached: no",
            };
            assert_eq!(last, Some(expected), "{text}");
        }
    }

    /// What the list states is what `flash` accepts.
    #[test]
    fn a_model_fits_where_flash_takes_it() {
        use wakeling_device::flash::{Source, needs_plain};
        use wakeling_tests::{Tier, random_model};
        let mut seen = std::collections::BTreeSet::new();
        for board in BOARDS.iter() {
            for (load, tier) in board.loads().zip([Tier::S, Tier::M]) {
                let model = random_model(1, tier);
                let source = Source { path: Path::new("m.wkl"), bytes: &model };
                let expected = match needs_plain(board, source) {
                    Ok(false) => Fit::Yes,
                    Ok(true) => Fit::Plain,
                    Err(_) => Fit::No,
                };
                let found = Fit::of(&load);
                assert_eq!(found, expected, "{} {}", board.name, load.cost.model);
                seen.insert(found.name());
            }
        }
        assert_eq!(seen.len(), 2, "both in slots and without: {seen:?}");
    }
}
