//! Lists devices on USB, from the files in which Linux describes them, and serial ports. On other
//! systems no USB device is found.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::board::UsbId;

/// Folder in which Linux lists devices on USB.
pub const USB_DEVICES: &str = "/sys/bus/usb/devices";
/// Folder of the serial ports.
pub const DEVICES: &str = "/dev";

/// Device on USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbDevice {
    /// Identifiers of vendor and product.
    pub id: UsbId,
    /// Product name that the device reports; may be empty.
    pub product: String,
    /// Path of the device file.
    pub node: PathBuf,
}

/// Returns all devices below `folder`, by default [`USB_DEVICES`]. Entries without vendor and
/// product are left out.
pub fn usb_devices(folder: &Path) -> Vec<UsbDevice> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut devices: Vec<_> = entries.filter_map(|entry| usb_device(&entry.path())).collect();
    devices.sort_by(|a, b| a.node.cmp(&b.node));
    devices
}

fn usb_device(path: &Path) -> Option<UsbDevice> {
    let read = |name: &str| fs::read_to_string(path.join(name)).ok().map(|s| s.trim().to_owned());
    let hex = |name: &str| u16::from_str_radix(&read(name)?, 16).ok();
    let number = |name: &str| read(name)?.parse::<u32>().ok();
    let id = (hex("idVendor")?, hex("idProduct")?);
    let (bus, device) = (number("busnum").unwrap_or(0), number("devnum").unwrap_or(0));
    let node = format!("/dev/bus/usb/{bus:03}/{device:03}").into();
    Some(UsbDevice { id, product: read("product").unwrap_or_default(), node })
}

/// Returns the serial ports of boards and probes in `folder`, by default [`DEVICES`].
pub fn serial_ports(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_port =
        |name: &str| ["ttyACM", "ttyUSB", "cu.usb"].iter().any(|prefix| name.starts_with(prefix));
    let ports = entries.filter(|entry| is_port(&entry.file_name().to_string_lossy()));
    let mut ports: Vec<_> = ports.map(|entry| entry.path()).collect();
    ports.sort();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_ports_are_read_from_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |device: &str, file: &str, text: &str| {
            let path = folder.path().join(device);
            fs::create_dir_all(&path).expect("a folder");
            fs::write(path.join(file), text).expect("a file");
        };
        for (file, text) in [
            ("idVendor", "0d28\n"),
            ("idProduct", "0204\n"),
            ("product", "BBC micro:bit CMSIS-DAP\n"),
            ("busnum", "1\n"),
            ("devnum", "12\n"),
        ] {
            write("1-2", file, text);
        }
        write("1-2:1.0", "bInterfaceClass", "08\n");
        write("1-3", "idVendor", "rubbish");
        let found = usb_devices(folder.path());
        assert_eq!(
            found,
            [UsbDevice {
                id: (0x0D28, 0x0204),
                product: "BBC micro:bit CMSIS-DAP".into(),
                node: "/dev/bus/usb/001/012".into(),
            }]
        );

        for name in ["ttyUSB0", "ttyACM1", "tty1", "null"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        let ports = ["ttyACM1", "ttyUSB0"].map(|name| folder.path().join(name));
        assert_eq!(serial_ports(folder.path()), ports);
    }

    #[test]
    fn a_folder_that_is_not_there_has_nothing() {
        assert!(usb_devices(Path::new("/nowhere")).is_empty());
        assert!(serial_ports(Path::new("/nowhere")).is_empty());
    }
}
