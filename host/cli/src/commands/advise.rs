//! `wakeling advise`: estimates whether transfer helps a keyword, and the gain from more
//! recordings.

use std::{collections::BTreeSet, fmt::Write};

use clap::Args;

use super::{KeywordPath, number, open_takes, parse_keyword};
use crate::error::Result;
use wakeling_data::takes::Purpose;
use wakeling_train::{
    advise::Advice,
    finetune::{ENOUGH_TO_TUNE, Trainable},
    models,
};

/// Mean miss rate of the development keywords at 0.5 false accepts per hour, in percent, by number
/// of training recordings: the table "From 5, 20 and 50 recordings" of docs/lab/fine-tuning.md.
const MEASURED: [(usize, f64); 3] = [(5, 28.7), (20, 15.0), (50, 11.8)];
/// Level of a phrase above its background, in dB, below which the background masks it.
const LOW_LEVEL_DB: f64 = 10.0;
/// Number of speakers from which on another one matters less.
const MANY_SPEAKERS: usize = 5;

/// Check whether recordings suit the pretrained model
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling advise --word \"hey computer=recordings/\"

Nothing is trained. The command checks three conditions of transfer learning: the same kind of
input, a pretrained model trained on far more speech than you recorded, and embeddings in which
recordings of the phrase resemble each other more than they resemble negative speech. It then
recommends which layers to train, and shows how much more recordings helped other keywords.
`wakeling compare` measures this on your own keywords.")]
pub struct AdviseArgs {
    /// A keyword and its recordings: a folder, a manifest or a file; may be given several times
    #[arg(long = "word", value_name = "NAME=PATH", required = true, num_args = 1..,
        value_parser = parse_keyword)]
    words: Vec<KeywordPath>,
    /// Pretrained model: the name of a shipped one, or a path
    #[arg(long = "base", value_name = "BASE", default_value = models::DEFAULT_PRETRAINED)]
    pretrained: String,
    /// Seed of the choice of pairs to compare
    #[arg(long, default_value_t = 1, value_parser = number::seed())]
    seed: u64,
}

/// Runs the command.
pub fn run(args: AdviseArgs) -> Result<()> {
    let pretrained = models::pretrained(&args.pretrained)?;
    let frontend = pretrained.tables.params(pretrained.info.normalization);
    let other = models::shipped_negatives()?;
    for word in &args.words {
        let checked = open_takes(word, &frontend, Purpose::Train)?;
        let speakers: BTreeSet<String> =
            checked.takes.iter().filter_map(|take| take.example.speaker.clone()).collect();
        let left_out = checked.left_out.len();
        let recordings: Vec<_> = checked.takes.into_iter().map(|take| take.frames).collect();
        let advice = Advice::of(&pretrained, &recordings, speakers.len(), &other, args.seed)?;
        print!(
            "{}",
            show(
                &word.label,
                (&pretrained.info.name, &pretrained.info.provenance),
                &advice,
                left_out
            )
        );
    }
    Ok(())
}

fn show(
    label: &str,
    (pretrained, provenance): (&str, &str),
    advice: &Advice,
    left_out: usize,
) -> String {
    let mut text = format!(
        "{label}: {} recording{} with {:.0} s of the phrase",
        advice.usable,
        if advice.usable == 1 { "" } else { "s" },
        advice.phrase_s
    );
    let _ = match advice.speakers {
        0 => writeln!(text, "; no speaker is named"),
        1 => writeln!(text, " by 1 speaker"),
        n => writeln!(text, " by {n} speakers"),
    };
    if left_out > 0 {
        let _ = writeln!(
            text,
            "  ! {left_out} more cannot be used: see the lines that begin with \"skipped\""
        );
    }
    same_input(&mut text, advice);
    let _ = match (advice.pretrained_hours, advice.has_far_more()) {
        (Some(hours), Some(true)) => writeln!(
            text,
            "  + far more data behind the pretrained model: {hours} h against {:.1} min",
            advice.phrase_s / 60.0
        ),
        (Some(hours), _) => writeln!(
            text,
            "  ! {pretrained} was trained on {hours} h, at most 50 times what you recorded: a backbone trained from scratch may be as good"
        ),
        (None, _) => writeln!(
            text,
            "  ? hours of speech behind the pretrained model: unknown ({provenance})"
        ),
    };
    carried_over(&mut text, pretrained, advice);
    let _ = match advice.train {
        Trainable::Head => writeln!(
            text,
            "  → train the head alone (--train head): fine-tuning the backbone helps from about {ENOUGH_TO_TUNE} recordings on"
        ),
        train => writeln!(text, "  → enough recordings to fine-tune the backbone: --train {train}"),
    };
    if advice.speakers > 0 && advice.speakers < MANY_SPEAKERS {
        let _ =
            writeln!(text, "  → let others record it too: most misses come from a few speakers");
    }
    text + &gain(advice.usable)
}

fn same_input(text: &mut String, advice: &Advice) {
    let _ = match advice.limit_hz {
        None => writeln!(text, "  + same input: speech up to 7.5 kHz, as in pretraining"),
        Some(hz) => writeln!(
            text,
            "  ! nothing above {:.1} kHz: pretraining covers that, but the device's microphone should have the same bandwidth",
            hz / 1000.0
        ),
    };
    if advice.usable > 0 && advice.level_db < LOW_LEVEL_DB {
        let _ = writeln!(
            text,
            "  ! the phrase is only {:.0} dB above what is around it: record nearer, or in quiet",
            advice.level_db
        );
    }
}

fn carried_over(text: &mut String, pretrained: &str, advice: &Advice) {
    let Some(carries) = &advice.carries else {
        let _ = writeln!(text, "  ? too few recordings to compare their embeddings");
        return;
    };
    let _ = writeln!(
        text,
        "  {} {pretrained} recognizes: {}\n    two recordings differ in {:.0} % of their sounds, a recording and negative speech in {:.0} %{}",
        if carries.is_clear() { "+" } else { "!" },
        carries.example,
        100.0 * carries.within,
        100.0 * carries.hard_negatives,
        if carries.is_clear() {
            ""
        } else {
            ": it may not help with this language or these recordings"
        },
    );
}

/// Formats the miss rates that more recordings reached on the development keywords.
fn gain(recordings: usize) -> String {
    let more: Vec<String> = MEASURED
        .iter()
        .filter(|(n, _)| *n * 2 > recordings)
        .map(|(n, missed)| format!("{missed:.0} % with {n}"))
        .collect();
    if more.is_empty() {
        return String::new();
    }
    format!(
        "  measured on other words, missed at 0.5 false accepts per hour: {}\n",
        more.join(", ")
    )
}
