//! `wakeling boards`: lists the supported boards, how each is flashed, and the connected ones.

use std::path::Path;

use clap::Args;

use crate::error::Result;
use wakeling_device::{
    attached::{DEVICES, USB_DEVICES, UsbDevice, serial_ports, usb_devices},
    board::{BOARDS, Board, Loader},
};

/// List boards: microphone, how they are flashed, whether one is plugged in
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling boards

No firmware has run on these boards yet; it is built only.
Pins and wiring: docs/reference/boards.md.")]
pub struct BoardsArgs {}

/// Runs the command.
pub fn run(_: BoardsArgs) -> Result<()> {
    print!("{}", index(&usb_devices(Path::new(USB_DEVICES))));
    let ports = serial_ports(Path::new(DEVICES));
    let ports: Vec<_> = ports.iter().map(|port| port.display().to_string()).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(" ") };
    println!("serial ports: {ports}");
    Ok(())
}

/// Program that a debug probe needs in addition, if this program cannot drive the probe.
const PROBE_RS: &str = if cfg!(feature = "probe") { "" } else { " and probe-rs" };

/// Formats three lines per board.
fn index(devices: &[UsbDevice]) -> String {
    let entry = |board: &Board| {
        let Board { name, title, chip, microphone, loader, usb, .. } = board;
        let needs = match loader {
            Loader::Probe => format!("a debug probe (on board, or wired to it){PROBE_RS}"),
            Loader::ProbeOrUf2 { .. } => {
                format!("--uf2 and the board's drive, or a debug probe{PROBE_RS}")
            }
            Loader::Espflash => "espflash (cargo install espflash --locked)".to_owned(),
        };
        let attached = match devices.iter().find(|device| usb.contains(&device.id)) {
            Some(device) => format!("{} ({})", device.product, device.node.display()),
            None => "no".to_owned(),
        };
        format!(
            "{name:18} {title} ({chip}); microphone: {microphone}\n{:18} to flash: {needs}\n{:18} attached: {attached}\n",
            "", ""
        )
    };
    BOARDS.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_a_plugged_in_board() {
        let device = UsbDevice {
            id: (0x0D28, 0x0204),
            product: "BBC micro:bit CMSIS-DAP".into(),
            node: "/dev/bus/usb/001/012".into(),
        };
        let text = index(&[device]);
        assert_eq!(text.lines().count(), 3 * BOARDS.len());
        let line = text.lines().skip_while(|line| !line.starts_with("microbit-v2")).nth(2);
        assert_eq!(
            line.map(str::trim),
            Some("attached: BBC micro:bit CMSIS-DAP (/dev/bus/usb/001/012)")
        );
        assert_eq!(text.matches("attached: no").count(), BOARDS.len() - 1);
    }
}
