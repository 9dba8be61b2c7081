//! Makes `docs/images/*.svg`, the images of a terminal in the documents.
//!
//! ```sh
//! ./x images
//! cargo run -p wakeling-tests --example terminal_image -- target/release/wakeling
//! cargo run -p wakeling-tests --example terminal_image -- render
//! ```
//!
//! The first two run the program in tmux on a virtual sound card that plays the demo's voices, save
//! the screens with their colours in `docs/images/*.txt`, and render each text as an image. `render`
//! does the last step alone. The same text gives the same image.

use std::{
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
        [program] => {
            let place = tempfile::tempdir()?;
            let stage = Stage::new(&root, &fs::canonicalize(program)?, place.path())?;
            // All are captured before any is written.
            let texts = stage.capture()?;
            for (name, text) in texts {
                fs::write(images.join(format!("{name}.txt")), text)?;
            }
            render(&images)
        }
        _ => Err(io::Error::other("usage: terminal_image PROGRAM | render")),
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
struct Stage {
    folder: PathBuf,
    sink: NullSink,
    /// Variables and name of the program, for a shell.
    run: String,
    voices: PathBuf,
    /// The same voices, far too quiet.
    quiet: PathBuf,
}

impl Stage {
    fn new(root: &Path, program: &Path, folder: &Path) -> io::Result<Self> {
        let Some(sink) = NullSink::start(folder, 16_000, 1) else {
            return Err(io::Error::other("there is no virtual sound card: see the line above"));
        };
        // Links, so that no screen shows where this machine has them.
        let links = [
            ("wakeling", program),
            ("demo", &root.join("demo")),
            ("models", &root.join("host/models")),
        ];
        for (name, target) in links {
            std::os::unix::fs::symlink(target, folder.join(name))?;
        }
        let (voices, quiet) = (folder.join("voices.wav"), folder.join("quiet.wav"));
        let sound = recording(root);
        audio::write_wav(&voices, &sound).map_err(io::Error::other)?;
        let faint: Vec<i16> = sound.iter().map(|sample| sample / 80).collect();
        audio::write_wav(&quiet, &faint).map_err(io::Error::other)?;
        let run = "LC_ALL=C.UTF-8 WAKELING_MODELS=models ./wakeling".to_owned();
        Ok(Self { folder: folder.to_owned(), sink, run, voices, quiet })
    }

    fn start(&self, size: (usize, usize), arguments: &str) -> Session<'_> {
        Session::start(&self.sink, &self.folder, size, &format!("{} {arguments}", self.run))
    }

    /// Runs a command to its end. Returns it with its output.
    fn whole(&self, size: (usize, usize), arguments: &str) -> String {
        typed(arguments, &self.start(size, arguments).wait_for("EXIT "))
    }

    /// Returns the text of each image, by its name.
    fn capture(&self) -> io::Result<[(&'static str, String); 5]> {
        let help = self.whole((80, 70), "--help");
        let doctor = self.whole((80, 60), "doctor --device default");
        let record = self.takes()?;
        let terminal = self.journey()?;
        let evaluate = "evaluate --model runs/hey/model.wkl --word \"hey wakeling=demo/test\" \
                        --negatives demo/test-speech";
        let evaluate = self.whole((100, 30), evaluate);
        Ok([
            ("terminal", terminal),
            ("help", help),
            ("record", record),
            ("doctor", doctor),
            ("evaluate", evaluate),
        ])
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
        const SIZE: (usize, usize) = (100, 30);
        let record = "record \"hey wakeling\" --takes 10";
        let options = "--speaker Ana --device default --out takes";
        let session = self.start(SIZE, &format!("{record} {options}"));
        session.wait_for("enter starts");
        let player = self.sink.play(&self.voices);
        session.press("Enter");
        let recorded = session.wait_for("enter or k keeps");
        drop(session);
        stop(player)?;

        let finetune = "finetune --word \"hey wakeling=demo/train\" --negatives demo/train-speech \
                        --out runs/hey";
        let trained = self.start(SIZE, finetune).wait_for("EXIT 0");

        let listen = "listen runs/hey/model.wkl";
        let session = self.start(SIZE, listen);
        session.wait_for("Sensitivity:");
        let player = self.sink.play(&self.voices);
        // One detection is listed, and the next one is in progress.
        session.wait_for("hey wakeling  level");
        let live = session.wait_for("DETECTED");
        stop(player)?;
        let screens = [(record, recorded), (finetune, trained), (listen, live)];
        Ok(screens.map(|(command, screen)| typed(command, &screen)).join("\n"))
    }
}

/// Returns the demo's voices speaking the phrase, with pauses for the countdown of a take.
fn recording(root: &Path) -> Vec<i16> {
    let names = ["af_sarah-0", "am_onyx-0", "bf_lily-0", "bm_george-0"];
    let pause = vec![0; 40_000];
    let voice = |name: &str| {
        let path = root.join("demo/test").join(format!("{name}.ogg"));
        audio::read(path).expect("a sample of the demo")
    };
    let once: Vec<i16> = names.iter().flat_map(|n| [&pause[..], &voice(n)].concat()).collect();
    once.repeat(4)
}
