//! Makes `docs/images/terminal.svg`, the image of a terminal in the README.
//!
//! ```sh
//! ./x images
//! cargo run -p wakeling-tests --example terminal_image -- target/release/wakeling
//! cargo run -p wakeling-tests --example terminal_image -- render
//! ```
//!
//! The first two run the program in tmux on a virtual sound card that plays the demo's voices, save
//! the screens with their colours in `docs/images/terminal.txt`, and render that text as an image.
//! `render` does the last step alone. The same text gives the same image.

use std::{env, fs, io, path::Path, process::Child};

use wakeling_audio as audio;
use wakeling_tests::{
    null_sink::NullSink,
    terminal::{IMAGE_COLUMNS, IMAGE_TITLE, Session, svg},
};

const SIZE: (usize, usize) = (IMAGE_COLUMNS, 30);

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let images = root.join("docs/images");
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["render"] => render(&images),
        [program] => {
            let text = capture(&root, &fs::canonicalize(program)?)?;
            fs::create_dir_all(&images)?;
            fs::write(images.join("terminal.txt"), text)?;
            render(&images)
        }
        _ => Err(io::Error::other("usage: terminal_image PROGRAM | render")),
    }
}

/// Renders the images of the saved screens.
fn render(images: &Path) -> io::Result<()> {
    let text = fs::read_to_string(images.join("terminal.txt"))?;
    fs::write(images.join("terminal.svg"), svg(&text, IMAGE_TITLE, IMAGE_COLUMNS))
}

/// Ends a player, and waits for it even if it could not be killed.
fn stop(mut player: Child) -> io::Result<()> {
    let killed = player.kill();
    player.wait()?;
    killed
}

/// Returns the screens of `record`, `finetune` and `listen`, each below the command that was typed.
fn capture(root: &Path, program: &Path) -> io::Result<String> {
    let folder = tempfile::tempdir()?;
    let Some(sink) = NullSink::start(folder.path(), 16_000, 1) else {
        return Err(io::Error::other("there is no virtual sound card: see the line above"));
    };
    for (name, target) in [("wakeling", program.to_owned()), ("demo", root.join("demo"))] {
        std::os::unix::fs::symlink(fs::canonicalize(target)?, folder.path().join(name))?;
    }
    let voices = folder.path().join("voices.wav");
    audio::write_wav(&voices, &recording(root)).map_err(io::Error::other)?;

    let models = fs::canonicalize(root.join("host/models"))?;
    let run = format!("WAKELING_MODELS={} ./wakeling", models.display());
    let record = "record \"hey wakeling\" --takes 10";
    let options = "--speaker Ana --device default --out recordings/hey-wakeling";
    let session = Session::start(&sink, folder.path(), SIZE, &format!("{run} {record} {options}"));
    session.wait_for("enter starts");
    let player = sink.play(&voices);
    session.press("Enter");
    let recorded = session.wait_for("enter or k keeps");
    drop(session);
    stop(player)?;

    let finetune = "finetune --word \"hey wakeling=demo/train\" --out runs/hey";
    let session = Session::start(&sink, folder.path(), SIZE, &format!("{run} {finetune}"));
    let trained = session.wait_for("EXIT 0");
    drop(session);

    let listen = "listen runs/hey/model.wkl";
    let session = Session::start(&sink, folder.path(), SIZE, &format!("{run} {listen}"));
    session.wait_for("Sensitivity:");
    let player = sink.play(&voices);
    // One detection is listed, and the next one is in progress.
    session.wait_for("hey wakeling  level");
    let live = session.wait_for("DETECTED");
    stop(player)?;
    let screens = [(record, recorded), (finetune, trained), (listen, live)];
    let screens = screens.map(|(command, screen)| format!("$ wakeling {command}\n{screen}\n"));
    Ok(screens.join("\n"))
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
