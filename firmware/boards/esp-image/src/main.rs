//! Makes the content of an ESP32-C3's flash, from its first byte to the end of the program: Espressif's
//! bootloader, the table of partitions, and the program. Runs on the computer that builds: `./x boards` calls
//! it. A tool of its own, so that nothing else compiles espflash.
//!
//! ```sh
//! cargo run -p wakeling-esp-image -- PROGRAM.elf partitions.csv OUT.bin
//! ```

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use espflash::{
    flasher::{FlashData, FlashSettings, FlashSize},
    image_format::idf::IdfBootloaderFormat,
    target::{Chip, XtalFrequency},
};

/// Byte of erased flash.
const ERASED: u8 = 0xFF;

fn run(elf: &Path, partitions: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let program = fs::read(elf)?;
    // boards.toml: 4 MiB. The other settings are those of the chip's bootloader.
    let settings = FlashSettings::new(None, Some(FlashSize::_4Mb), None);
    let data = FlashData::new(settings, 0, None, Chip::Esp32c3, XtalFrequency::_40Mhz);
    let image = IdfBootloaderFormat::new(&program, &data, Some(partitions), None, None, None)?;
    let mut flash = Vec::new();
    for segment in image.flash_segments() {
        let (start, bytes) = (segment.addr as usize, segment.data());
        if start < flash.len() {
            return Err(format!("a segment at {start:#x} overlaps the one before").into());
        }
        flash.resize(start, ERASED);
        flash.extend_from_slice(bytes);
    }
    Ok(fs::write(out, flash)?)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [elf, partitions, out] = &arguments[..] else {
        eprintln!("wakeling-esp-image: PROGRAM.elf partitions.csv OUT.bin");
        return ExitCode::from(2);
    };
    match run(Path::new(elf), Path::new(partitions), Path::new(out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wakeling-esp-image: {elf}: {error}");
            ExitCode::FAILURE
        }
    }
}
