//! Images of the documents, each made by a command, so that it shows the program as it is.

use crate::{
    process::{TaskResult, cargo, log, run},
    program,
};

/// Draws all images of `docs/images/` anew, from the program as it is built now.
pub fn make() -> TaskResult {
    let (program, _) = program::build(None)?;
    log("screens of the terminal");
    let mut terminal = cargo();
    terminal.args(["run", "-q", "-p", "wakeling-tests", "--example", "terminal_image", "--"]);
    run(terminal.arg(program))?;
    log("screens of the studio: those of its test become the accepted ones");
    let mut studio = cargo();
    studio.args(["test", "-p", "wakeling", "--test", "studio", "session::", "--", "--nocapture"]);
    run(studio.env("WAKELING_SCREENS", "accept"))
}
