//! Makes `docs/images/*.svg`, the images of a terminal in the documents.
//!
//! ```sh
//! ./x images
//! cargo run -p wakeling-tests --example terminal_image -- target/release/wakeling [NAME…]
//! cargo run -p wakeling-tests --example terminal_image -- render
//! ```
//!
//! The first two run the program, for all images or for those named, in tmux on a virtual sound card
//! that plays the demo's voices. They save the screens with their colours in `docs/images/*.txt`, and
//! render each text as an image. `render` does the last step alone. The same text gives the same
//! image.

use std::{
    cell::OnceCell,
    env, fs, io,
    path::{Path, PathBuf},
    process::Child,
};

use wakeling_audio as audio;
use wakeling_tests::{
    null_sink::NullSink,
    terminal::{IMAGES, Session, svg},
};

fn main() -> io::Result<()> {
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let images = root.join("docs/images");
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["render"] => render(&images),
        [program, ref names @ ..] => {
            let place = tempfile::tempdir()?;
            let setup = Setup::new(&root, &fs::canonicalize(program)?, place.path())?;
            let wanted = |name: &str| names.is_empty() || names.contains(&name);
            let wanted = IMAGES.iter().map(|image| image.name).filter(|name| wanted(name));
            // All are captured before any is written.
            let capture = |name| Ok((name, setup.capture(name)?));
            let texts = wanted.map(capture).collect::<io::Result<Vec<_>>>()?;
            if texts.len() < names.len() {
                return Err(io::Error::other(format!("no such images: {}", names.join(" "))));
            }
            for (name, text) in texts {
                fs::write(images.join(format!("{name}.txt")), text)?;
            }
            render(&images)
        }
        [] => Err(io::Error::other("usage: terminal_image PROGRAM [NAME…] | render")),
    }
}

/// Renders the images of the saved screens.
fn render(images: &Path) -> io::Result<()> {
    for image in IMAGES {
        let text = fs::read_to_string(images.join(format!("{}.txt", image.name)))?;
        let svg = svg(&text, image.title, image.columns);
        fs::write(images.join(format!("{}.svg", image.name)), svg)?;
    }
    Ok(())
}

/// Ends a player, and waits for it even if it could not be killed.
fn stop(mut player: Child) -> io::Result<()> {
    let killed = player.kill();
    player.wait()?;
    killed
}

/// Returns a command as typed, and what is on the screen below it.
fn typed(command: &str, screen: &str) -> String {
    format!("$ wakeling {command}\n{}\n", screen.trim_end())
}

/// Folder in which the program runs, with a virtual sound card and the demo's voices.
struct Setup {
    folder: PathBuf,
    sink: NullSink,
    /// Variables and name of the program, for a shell.
    run: String,
    voices: PathBuf,
    /// The same voices without pauses.
    talk: PathBuf,
    /// The same voices, far too quiet.
    quiet: PathBuf,
    /// Screen of the training that made the model of other screens.
    trained: OnceCell<String>,
}

/// Size of a terminal with wide tables.
const WIDE: (usize, usize) = (100, 30);

impl Setup {
    fn new(root: &Path, program: &Path, folder: &Path) -> io::Result<Self> {
        let Some(sink) = NullSink::start(folder, 16_000, 1) else {
            return Err(io::Error::other("there is no virtual sound card: see the line above"));
        };
        // Links, so that no screen shows where this machine has them.
        let firmware = program.ancestors().nth(2).map(|target| target.join("firmware"));
        let links = [
            ("wakeling", program.to_owned()),
            ("demo", root.join("demo")),
            ("models", root.join("host/models")),
            ("firmware", firmware.unwrap_or_default()),
        ];
        for (name, target) in links {
            std::os::unix::fs::symlink(target, folder.join(name))?;
        }
        let [voices, talk, quiet] =
            ["voices", "talk", "quiet"].map(|name| folder.join(name).with_extension("wav"));
        let sound = recording(root, &[0; 40_000]);
        audio::write_wav(&talk, &recording(root, &[])).map_err(io::Error::other)?;
        audio::write_wav(&voices, &sound).map_err(io::Error::other)?;
        let faint: Vec<i16> = sound.iter().map(|sample| sample / 80).collect();
        audio::write_wav(&quiet, &faint).map_err(io::Error::other)?;
        // The sound card has a home of its own, in which rustup finds no compiler.
        let home = env::var("HOME").unwrap_or_default();
        let rustup = env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{home}/.rustup"));
        let run = format!(
            "RUSTUP_HOME='{rustup}' LC_ALL=C.UTF-8 WAKELING_MODELS=models \
             WAKELING_BOARD_FIRMWARE=firmware ./wakeling"
        );
        let (folder, trained) = (folder.to_owned(), OnceCell::new());
        Ok(Self { folder, sink, run, voices, talk, quiet, trained })
    }

    fn start(&self, size: (usize, usize), arguments: &str) -> Session<'_> {
        eprintln!("wakeling {arguments}");
        Session::start(&self.sink, &self.folder, size, &format!("{} {arguments}", self.run))
    }

    /// Runs a command to its end. Returns it with its output.
    fn whole(&self, size: (usize, usize), arguments: &str) -> String {
        typed(arguments, &self.start(size, arguments).wait_for("EXIT "))
    }

    /// Returns the text of an image.
    fn capture(&self, name: &str) -> io::Result<String> {
        match name {
            "terminal" => self.journey(),
            "help" => Ok(self.whole((80, 70), "--help")),
            "record" => self.takes(),
            "doctor" => {
                // A microphone in a silent room counts as muted.
                let player = self.sink.play(&self.talk);
                let doctor = self.whole((80, 60), "doctor --device default");
                stop(player)?;
                Ok(doctor)
            }
            "evaluate" => {
                self.finetune();
                Ok(self.whole(
                    WIDE,
                    "evaluate --model runs/hey/model.wkl --word \"hey wakeling=demo/test\" \
                     --negatives demo/test-speech",
                ))
            }
            _ => Err(io::Error::other(format!("nothing is captured for {name}"))),
        }
    }

    /// Trains the model of the other screens, once. Returns the command with its screen.
    fn finetune(&self) -> &str {
        self.trained.get_or_init(|| {
            let finetune = "finetune --word \"hey wakeling=demo/train\" --negatives \
                            demo/train-speech --out runs/hey";
            typed(finetune, &self.start(WIDE, finetune).wait_for("EXIT 0"))
        })
    }

    /// Returns screens of `record`: a phrase that is spoken, its verdict, and a take that is too quiet.
    fn takes(&self) -> io::Result<String> {
        let record = "record \"hey wakeling\"";
        let session = self.start((80, 24), &format!("{record} --speaker Ana --device default"));
        session.wait_for("enter starts");
        let player = self.sink.play(&self.voices);
        session.press("Enter");
        session.wait_for("NOW · detected");
        // A syllable later, the meter has risen.
        std::thread::sleep(std::time::Duration::from_millis(500));
        let spoken = session.wait_for("NOW · detected");
        let good = session.wait_for("enter or k keeps");
        stop(player)?;
        let player = self.sink.play(&self.quiet);
        session.press("k");
        let quiet = session.wait_for("too quiet: come");
        stop(player)?;
        Ok(format!("{}\n{good}\n\n{quiet}\n", typed(record, &spoken)))
    }

    /// Returns the screens of `record`, `finetune` and `listen`, each below the command that was typed.
    fn journey(&self) -> io::Result<String> {
        let record = "record \"hey wakeling\" --takes 10";
        let options = "--speaker Ana --device default --out takes";
        let session = self.start(WIDE, &format!("{record} {options}"));
        session.wait_for("enter starts");
        let player = self.sink.play(&self.voices);
        session.press("Enter");
        let recorded = session.wait_for("enter or k keeps");
        drop(session);
        stop(player)?;

        let trained = self.finetune();
        let listen = "listen runs/hey/model.wkl";
        let session = self.start(WIDE, listen);
        session.wait_for("Sensitivity:");
        let player = self.sink.play(&self.voices);
        // One detection is listed, and the next one is in progress.
        session.wait_for("hey wakeling  level");
        let live = session.wait_for("DETECTED");
        stop(player)?;
        Ok([&typed(record, &recorded), trained, &typed(listen, &live)].join("\n"))
    }
}

/// Returns the demo's voices speaking the phrase, each after a pause: one for the countdown of a take.
fn recording(root: &Path, pause: &[i16]) -> Vec<i16> {
    let names = ["af_sarah-0", "am_onyx-0", "bf_lily-0", "bm_george-0"];
    let voice = |name: &str| {
        let path = root.join("demo/test").join(format!("{name}.ogg"));
        audio::read(path).expect("a sample of the demo")
    };
    let once: Vec<i16> = names.iter().flat_map(|n| [pause, &voice(n)].concat()).collect();
    once.repeat(4)
}
