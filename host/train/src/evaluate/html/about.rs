//! How an evaluation was made: date, model, command, data and settings.

use super::super::{
    detail::KeywordDetail,
    provenance::{Provenance, SourceKind},
};
use super::{clipped, escape};
use wakeling_device::sensitivity::duration;

/// Number of datasets that are listed for each use.
const LISTED_SOURCES: usize = 12;
/// Number of characters of a command that are shown.
const LONGEST_COMMAND: usize = 2_000;

/// Builds the section on how the page was made, and how to read it.
pub(super) fn section(provenance: &Provenance, words: &[KeywordDetail<'_>]) -> String {
    let mut entries = String::new();
    let mut entry = |name: &str, value: &str| {
        if !value.is_empty() {
            entries += &format!("<dt>{}</dt><dd>{value}</dd>", escape(name));
        }
    };
    let model = &provenance.model;
    entry("date", &escape(&provenance.date()));
    entry("program", &format!("wakeling {}", env!("CARGO_PKG_VERSION")));
    entry("model", &file(&model.file, model.bytes));
    entry(
        "SHA-256",
        &if model.sha256.is_empty() {
            String::new()
        } else {
            format!("<code>{}</code>", escape(&model.sha256))
        },
    );
    entry("pretrained model", &escape(&clipped(&model.pretrained, 80)));
    entry("trained on", &escape(&clipped(&model.trained_on, 600)));
    if !provenance.command.is_empty() {
        let command = escape(&clipped(&provenance.command, LONGEST_COMMAND));
        entry("command", &format!("<code>{command}</code>"));
    }
    for word in words {
        let count = word.scored_keywords.first().map_or(0, |keyword| keyword.count());
        entry("recordings", &format!("{count} of {}", escape(&clipped(word.label, 80))));
    }
    entry("recordings from", &sources(provenance, SourceKind::Recordings));
    if let Some(other) = words.first().map(|word| word.other) {
        let clips: usize = other.pieces.iter().map(Vec::len).sum();
        entry("negatives", &format!("{}, {clips} clips", duration(other.hours)));
    }
    entry("negatives from", &sources(provenance, SourceKind::Negatives));
    entry("noise from", &sources(provenance, SourceKind::Noise));
    for (name, value) in &provenance.settings {
        entry(name, &escape(&clipped(value, 200)));
    }
    format!(
        "<section id='about'><h2>How this was measured</h2>\
         <p>The int8 model runs as on the device, on streams. Each recording has 2 s of silence before it \
         and 1.2 s after it, or noise before, under and after it. The negatives, speech and noise without a keyword, are one long stream.</p>\
         <ul><li>A <strong>level</strong> is a score on a scale of 0 to 100, on which the model's own threshold is 50. \
         Ten levels are a factor of 7.4 in the odds.</li>\
         <li>Shares and rates have exact <strong>95 % intervals</strong>. A count of false accepts in half an hour of \
         audio or more has the highest rate that it leaves possible; less audio gives no rate.</li>\
         <li>Recordings of one person, or of one day, are more alike than these intervals assume.</li></ul>\
         <dl class='about'>{entries}</dl></section>"
    )
}

fn file(name: &str, bytes: u64) -> String {
    let name = escape(&clipped(name, 120));
    if bytes == 0 { name } else { format!("{name}, {:.0} KB", (bytes as f64 / 1e3).max(1.0)) }
}

fn sources(provenance: &Provenance, kind: SourceKind) -> String {
    let names = provenance.names(kind);
    let listed = names.iter().take(LISTED_SOURCES).map(|name| escape(&clipped(name, 200)));
    let mut listed: Vec<String> = listed.collect();
    if let rest @ 1.. = names.len().saturating_sub(LISTED_SOURCES) {
        listed.push(format!("and {rest} more"));
    }
    listed.join(", ")
}
