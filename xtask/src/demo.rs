//! The whole journey, on synthetic voices. Results are in [`OUT`].

use std::{fs, path::Path, process::Command};

use crate::{
    firmware,
    process::{Failure, TaskResult, log, output, run as run_command},
    program,
    table::Table,
};

/// Folder of the results.
const OUT: &str = "runs/demo";

/// Mark of the line with the costs on the chip, which the laptop does not print.
const DEVICE: &str = " device: ";

/// Trains, evaluates and simulates a wake word.
pub fn run(table: &Table) -> TaskResult {
    let (program, _) = program::build(None)?;
    let machine = table.machine("cortex-m4")?;
    firmware::build(machine)?;
    let firmware = firmware::program(machine)?;
    fs::create_dir_all(OUT).map_err(Failure::io(Path::new(OUT)))?;
    train_and_evaluate(&program)?;

    log("running the phrase (demo/test) and similar sentences (demo/talk) through the laptop's \
         pipeline and through an emulated Cortex-M4F");
    let model = format!("{OUT}/model.wkl");
    let simulate = ["simulate", "demo/test", "demo/talk", "--model", &model];
    let laptop = output(Command::new(&program).args(simulate))?;
    print!("{laptop}");
    write("laptop.txt", &laptop)?;
    let mut emulated = Command::new(&program);
    let chip = output(emulated.args(simulate).arg("--emulator").arg("--firmware").arg(&firmware))?;
    write("chip.txt", &chip)?;
    let (lines, device) = split(&chip);
    if lines != laptop {
        let files = format!("{OUT}/laptop.txt and {OUT}/chip.txt");
        return Err(Failure::new(format!("laptop and emulated chip disagree; compare {files}")));
    }
    let bytes = fs::metadata(&model).map_err(Failure::io(Path::new(&model)))?.len();
    print!("{}", summary(&program, bytes, &device));
    Ok(())
}

fn train_and_evaluate(program: &Path) -> TaskResult {
    log(
        "training \"hey wakeling\" on 20 synthetic voices (demo/train), against other sentences of \
         theirs (demo/train-speech)",
    );
    let mut finetune = Command::new(program);
    finetune.args(["finetune", "--word", "hey wakeling=demo/train"]);
    run_command(finetune.args(["--negatives", "demo/train-speech", "--out", OUT]))?;
    log(
        "evaluating on 12 other voices (demo/test), and on 23 minutes of speech without the phrase \
         by 22 others (demo/test-speech)",
    );
    let mut evaluate = Command::new(program);
    evaluate
        .args(["evaluate", "--model", &format!("{OUT}/model.wkl")])
        .args(["--word", "hey wakeling=demo/test", "--negatives", "demo/test-speech"])
        .args(["--out", OUT, "--report", &format!("{OUT}/report.html")]);
    run_command(&mut evaluate)
}

fn write(name: &str, text: &str) -> TaskResult {
    let path = Path::new(OUT).join(name);
    fs::write(&path, text).map_err(Failure::io(&path))
}

/// Splits the output of the chip into the lines that the laptop prints too, and its last costs.
fn split(chip: &str) -> (String, String) {
    let (costs, lines): (Vec<_>, Vec<_>) =
        chip.split_inclusive('\n').partition(|line| line.contains(DEVICE));
    let last = costs.last().and_then(|line| line.rsplit_once(DEVICE));
    (lines.concat(), last.map_or(String::new(), |(_, cost)| cost.trim().to_owned()))
}

/// Results, where they are, and what to try next.
fn summary(program: &Path, model_bytes: u64, device: &str) -> String {
    // The alias is used in other folders too.
    let program = std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
    let program = program.display();
    format!(
        r#"
Done: a model that detects "hey wakeling", and the emulated chip gives the same scores as the laptop.

  model        {OUT}/model.wkl, {model_bytes} bytes of flash
  report       {OUT}/report.html, to open in a browser
  detections   {OUT}/laptop.txt; on the emulated chip: {OUT}/chip.txt
  on the chip  {device}

Try next:

  alias wakeling={program}
  wakeling listen {OUT}/model.wkl                          # speak "hey wakeling" into the microphone
  wakeling record "hey computer"                            # record a word of your own, or in a browser:
  wakeling studio --open
  ./x build                                                 # builds the boards' firmware too; then
  wakeling flash --board nano33 {OUT}/model.wkl --dry-run  # lay it out for a board

"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_the_chip_are_split_off() {
        let chip = "a: detection 1\na: device: 5 MHz\nb: none\nb: device:  6 MHz\n";
        assert_eq!(split(chip), ("a: detection 1\nb: none\n".into(), "6 MHz".into()));
        assert_eq!(split("a\n"), ("a\n".into(), String::new()));
    }
}
