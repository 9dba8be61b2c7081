//! Emulated devices whose flash changes while they run.

use std::{
    fs,
    process::{Child, Stdio},
};

use super::{Emulator, EmulatorError, Scratch, io_error};

/// File with the bytes that arrive over the serial line.
const STREAM: &str = "stream.bin";
/// File that receives the final content of the flash.
const DUMP: &str = "flash.bin";

/// Running emulated device; stops when dropped.
pub struct Served {
    qemu: Child,
    _folder: Scratch,
}

impl Drop for Served {
    fn drop(&mut self) {
        // The process may have ended already, so an error is ignored.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Emulator {
    /// Returns the size of the region for models, in bytes.
    pub fn flash_bytes(&self) -> usize {
        self.machine.model().len()
    }

    /// Runs [`UPDATE`](super::UPDATE) on a flash with the content `flash`. The bytes of `stream`
    /// arrive over the serial line before the firmware processes `pcm`. Returns the printed lines
    /// and the final content of the flash. `words` are further command-line arguments; they can
    /// simulate a power failure, which ends the run early.
    ///
    /// # Errors
    /// [`EmulatorError`].
    pub fn run_on_flash(
        &self,
        flash: &[u8],
        pcm: &[i16],
        stream: &[u8],
        words: &[&str],
    ) -> Result<(String, Vec<u8>), EmulatorError> {
        let folder = Scratch::with(flash, pcm)?;
        folder.write(STREAM, stream)?;
        let mut all = vec![format!("stream={STREAM}"), format!("dump={DUMP}")];
        all.extend(words.iter().map(|&word| word.to_owned()));
        let (lines, output) = self.output_in(&folder, &all)?;
        if !output.status.success() {
            return Err(super::ended_early(&output));
        }
        let dump = folder.path.join(DUMP);
        let held = fs::read(&dump).map_err(|e| io_error(&dump, "read", e))?;
        Ok((lines, held))
    }

    /// Starts the same program with its serial line on TCP, at `port` of this machine. The firmware
    /// processes `pcm` and then only serves the serial line.
    ///
    /// # Errors
    /// [`EmulatorError`].
    pub fn serve(&self, flash: &[u8], pcm: &[i16], port: u16) -> Result<Served, EmulatorError> {
        let folder = Scratch::with(flash, pcm)?;
        let serial = format!("tcp:127.0.0.1:{port},server=on,wait=off");
        let mut command = self.command(&folder.path, &["serve".to_owned()], &serial);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let qemu = command.spawn().map_err(|source| io_error(&self.qemu, "run", source))?;
        Ok(Served { qemu, _folder: folder })
    }
}
