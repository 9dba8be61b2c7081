//! Emulated devices whose flash changes while they run.

use std::{
    fs,
    process::{Child, Stdio},
};

use super::{Emulator, EmulatorError, Scratch, io_error};

/// The file of bytes that come over the serial line.
const STREAM: &str = "stream.bin";
/// The file for what the flash holds in the end.
const DUMP: &str = "flash.bin";

/// A device that runs, until this is dropped.
pub struct Served {
    qemu: Child,
    _folder: Scratch,
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Emulator {
    /// Bytes of the region for models.
    pub fn flash_bytes(&self) -> usize {
        self.machine.model().len()
    }

    /// Runs [`UPDATE`](super::UPDATE) on a flash that holds `flash`, with `stream` coming over its
    /// serial line before it hears `pcm`; returns its lines and what the flash holds in the end, which
    /// may be when the power fails: `words` say when.
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

    /// Starts the same program with its serial line on TCP, at `port` of this machine. It hears `pcm`,
    /// then only its line.
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
