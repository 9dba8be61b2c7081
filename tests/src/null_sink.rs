//! Virtual sound card: a private PulseAudio daemon. The monitor of its null sink is the microphone
//! that ALSA, and so cpal, finds.
//!
//! It needs `pulseaudio`, `pactl` and `paplay`, and ALSA's pulse plugin (Debian: pulseaudio
//! pulseaudio-utils libasound2-plugins). [`NullSink::start`] returns `None` where they are missing,
//! and the tests print that they were skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Time limit for the start of the daemon.
const START: Duration = Duration::from_secs(20);

/// Time limit for a program to open the microphone.
const LISTENER: Duration = Duration::from_secs(30);

/// A running daemon; dropping it ends the daemon.
pub struct NullSink {
    daemon: Child,
    home: PathBuf,
}

impl NullSink {
    /// Starts a daemon with its files in `home`, with a sink of this rate in Hz and this number of
    /// channels.
    pub fn start(home: &Path, rate: u32, channels: u32) -> Option<Self> {
        let has = |program: &str| {
            Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        };
        let plugin = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""].iter().any(|arch| {
            Path::new("/usr/lib").join(arch).join("alsa-lib/libasound_module_pcm_pulse.so").exists()
        });
        if !plugin || ["pulseaudio", "pactl", "paplay"].iter().any(|p| has(p).is_err()) {
            eprintln!(
                "skipped: no pulseaudio, pactl, paplay or ALSA plugin; type: sudo apt-get install pulseaudio pulseaudio-utils libasound2-plugins"
            );
            return None;
        }
        let home = home.join("sound");
        fs::create_dir_all(&home).expect("a folder");
        fs::write(
            home.join(".asoundrc"),
            "pcm.!default { type pulse }\nctl.!default { type pulse }\n",
        )
        .expect("a file");
        let socket = home.join("socket");
        let sink =
            format!("module-null-sink sink_name=vmic rate={rate} channels={channels} format=s16le");
        let protocol =
            format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display());
        let daemon = Self::isolated(Command::new("pulseaudio"), &home)
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes"])
            .args(["-L", &protocol, "-L", &sink])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pulseaudio starts");
        let sink = Self { daemon, home };
        let started = Instant::now();
        while !sink.control(&["set-default-source", "vmic.monitor"]) {
            assert!(started.elapsed() < START, "pulseaudio does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(sink)
    }

    fn isolated(mut command: Command, home: &Path) -> Command {
        command
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", home)
            .env("XDG_CONFIG_HOME", home)
            .env("PULSE_SERVER", format!("unix:{}", home.join("socket").display()))
            .env("ALSA_CONFIG_PATH", "/usr/share/alsa/alsa.conf");
        command
    }

    /// Creates a command for a program that finds only this sound card.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        Self::isolated(Command::new(program), &self.home)
    }

    fn control(&self, arguments: &[&str]) -> bool {
        let status = self
            .command("pactl")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|s| s.success())
    }

    /// Waits until a program records from the microphone.
    ///
    /// # Panics
    /// If none does within half a minute.
    pub fn wait_for_listener(&self) {
        let started = Instant::now();
        let records = || {
            let output = self.command("pactl").args(["list", "short", "source-outputs"]).output();
            output.is_ok_and(|output| !output.stdout.is_empty())
        };
        while !records() {
            assert!(started.elapsed() < LISTENER, "no program records");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts to play a WAV file into the microphone.
    pub fn play(&self, wav: &Path) -> Child {
        self.command("paplay")
            .arg("--device=vmic")
            .arg(wav)
            .stderr(Stdio::null())
            .spawn()
            .expect("paplay starts")
    }

    /// Removes the microphone.
    pub fn vanish(&mut self) {
        // If the daemon has already ended, the microphone is gone as well.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Drop for NullSink {
    fn drop(&mut self) {
        self.vanish();
    }
}
