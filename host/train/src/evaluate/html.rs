//! Evaluation report as one HTML page: the verdict, counts, curves, and the worst errors with their
//! audio.
//!
//! The page has the style sheet of the studio. It embeds its images and sounds and runs no script. A
//! policy in its head forbids loading anything. Text from users (labels, paths, transcripts) is
//! escaped and cut to a length, so a page has at most 1.5 MB per keyword, most of it sound: 12 clips
//! of at most 4 s.

mod about;
pub mod chart;
mod clips;
mod curves;
pub mod media;
mod tables;

pub use curves::det_svg;

use super::{Provenance, Verdict, clipped, detail::KeywordDetail, interval};
use curves::Sweep;
use wakeling_device::sensitivity::duration;

/// Number of worst misses, and of worst false accepts, shown per keyword.
const CLIPS: usize = 6;
/// Width of a bar of the latency histogram, in milliseconds.
const LATENCY_BIN_MS: f64 = 40.0;
/// Number of detections below which there is no histogram of their latency.
const FEWEST_LATENCIES: usize = 10;
/// Number of characters of a label.
const LONGEST_LABEL: usize = 80;

/// Rules that only the report needs.
const REPORT_STYLE: &str = include_str!("html/report.css");

/// Escapes text for an HTML element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Browsers do not show these characters, and some of them reverse the text direction.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                escaped.push('\u{fffd}');
            }
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Builds the page with one section per keyword.
pub fn page(provenance: &Provenance, words: &[KeywordDetail<'_>]) -> String {
    let title = title(provenance, words);
    let sections: String = words.iter().enumerate().map(|(i, word)| section(i, word)).collect();
    let policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'";
    format!(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <meta name='color-scheme' content='light dark'>\
         <meta http-equiv='Content-Security-Policy' content=\"{policy}\">\
         <title>{title}: misses and false accepts</title><link rel='icon' href='data:,'>\
         <style>{}{REPORT_STYLE}</style></head>\n<body><main>\
         <header>{}<div><h1>{title}</h1><p>{}</p></div></header>\
         {}{}\n{sections}{}\
         <footer>Made by wakeling {} evaluate. This page holds all it shows and loads nothing.</footer></main></body></html>\n",
        wakeling_page::STYLE,
        wakeling_page::LOGO,
        escape(&subtitle(provenance)),
        verdicts(words),
        navigation(words),
        about::section(provenance, words),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Returns the title as HTML.
fn title(provenance: &Provenance, words: &[KeywordDetail<'_>]) -> String {
    let model = escape(&clipped(&provenance.model.file, LONGEST_LABEL));
    match words {
        [word] => format!("How well {model} detects “{}”", label(word)),
        words => format!("How well {model} detects {} keywords", words.len()),
    }
}

/// Returns the label of a keyword as HTML.
fn label(word: &KeywordDetail<'_>) -> String {
    escape(&clipped(word.label, LONGEST_LABEL))
}

fn subtitle(provenance: &Provenance) -> String {
    if provenance.made_at == 0 {
        return "Report of wakeling evaluate".into();
    }
    format!("Report of {}", provenance.date())
}

/// Returns the verdicts, and what they rest on.
fn verdicts(words: &[KeywordDetail<'_>]) -> String {
    let one = |(i, word): (usize, &KeywordDetail<'_>)| {
        let verdict = escape(&Verdict::new(word).to_string());
        let name = if words.len() > 1 {
            format!("<h2><a href='#w{i}'>{}</a></h2>", label(word))
        } else {
            String::new()
        };
        format!("<div>{name}<p class='verdict'>{verdict}</p></div>")
    };
    let all: String = words.iter().enumerate().map(one).collect();
    let counts: Vec<usize> =
        words.iter().filter_map(|w| w.scored_keywords.first()).map(|k| k.count()).collect();
    let recordings: usize = counts.iter().sum();
    let hours = words.first().map_or(0.0, |word| word.other.hours);
    let plural = if recordings == 1 { "" } else { "s" };
    format!(
        "<div class='card verdicts' id='verdict'>{all}<p class='soft'>This rests on {recordings} \
         recording{plural} and {} of sound without the keyword, at the model's own threshold. \
         <a href='#about'>How this was measured</a></p></div>",
        duration(hours)
    )
}

/// Returns links to the parts of the page.
fn navigation(words: &[KeywordDetail<'_>]) -> String {
    let link = |target: &str, text: &str| {
        format!("<li><a class='button small' href='#{target}'>{text}</a></li>")
    };
    let mut links = String::new();
    if let [word] = words {
        let threshold = word.scored_keywords.first().map_or(0, |k| k.detector.threshold);
        let misses: usize = word.scored_keywords.iter().map(|k| k.missed(threshold)).sum();
        links += &link("w0-curves", "Curves");
        links += &link("w0-numbers", "In numbers");
        if misses > 0 {
            links += &link("w0-missed", "Listen to misses");
        }
        links += &link("w0-false", "Listen to false wakes");
    } else {
        for (i, word) in words.iter().enumerate() {
            links += &link(&format!("w{i}"), &label(word));
        }
    }
    links += &link("about", "How this was measured");
    format!("<nav aria-label='parts of this page'><ul>{links}</ul></nav>")
}

fn section(number: usize, word: &KeywordDetail<'_>) -> String {
    let Some(clean) = word.scored_keywords.first() else { return String::new() };
    let threshold = clean.detector.threshold;
    let mut latencies = word.latencies_ms(threshold);
    latencies.sort_by(f64::total_cmp);
    let sweep = Sweep::new(word.scored_keywords);
    let mut text = format!("<section id='w{number}'><h2>{}</h2>", label(word));
    text += &tiles(word, threshold, &latencies);
    text += &format!("<div class='figures' id='w{number}-curves'>");
    text += &det_figure(word, &sweep);
    text += &threshold_figure(word, &sweep);
    text += &latency_figure(word, &latencies);
    text += "</div><div class='tables'>";
    text += &tables::conditions(word, threshold);
    text += &tables::groups(word, threshold);
    text += &format!("</div><h3 id='w{number}-numbers'>In numbers</h3>");
    text += &tables::numbers(word);
    text += &missed_clips(number, word, threshold);
    text += &false_clips(number, word, threshold);
    text + "</section>\n"
}

fn missed_clips(number: usize, word: &KeywordDetail<'_>, threshold: i16) -> String {
    let clips = word.worst_misses(threshold, CLIPS);
    let missed: usize = word.scored_keywords.iter().map(|k| k.missed(threshold)).sum();
    let note = match missed {
        0 => "None: every recording wakes it.".into(),
        n if n > clips.len() => format!(
            "The {} with the lowest levels of {n}; those in a quiet room first. {HOW_TO_READ}",
            clips.len()
        ),
        _ => format!("All of them, the lowest levels first. {HOW_TO_READ}"),
    };
    clips::list(&format!("w{number}-missed"), "Missed", &note, &clips, threshold)
}

fn false_clips(number: usize, word: &KeywordDetail<'_>, threshold: i16) -> String {
    let clips = word.worst_false_accepts(threshold, CLIPS);
    let fired = word.scored_keywords.first().map_or(0, |k| k.at(threshold).false_accepts);
    let note = match (fired, clips.len()) {
        (_, 0) => "None: nothing comes near.".into(),
        (0, _) => {
            format!("No false wake. These moments of the other sound came nearest. {HOW_TO_READ}")
        }
        (n, shown) if n > shown => {
            format!("The {shown} with the highest levels of {n} false wakes. {HOW_TO_READ}")
        }
        (n, _) => format!(
            "The highest levels in the other sound; {n} of them {}. {HOW_TO_READ}",
            if n == 1 { "is a false wake" } else { "are false wakes" }
        ),
    };
    clips::list(&format!("w{number}-false"), "False wakes", &note, &clips, threshold)
}

/// Explains the image of a clip.
const HOW_TO_READ: &str = "Below each spectrogram (up to 7.5 kHz) is the level; the dashed line is the \
    threshold. The sound is scaled to full loudness.";

/// Formats a share as `3.6 %`.
fn percent(count: usize, of: usize) -> String {
    format!("{:.1} %", 100.0 * count as f64 / of.max(1) as f64)
}

/// Formats the 95 % interval of a share as `0.7–10.1 %`.
fn range(count: usize, of: usize) -> String {
    let (low, high) = interval(count, of);
    format!("{:.1}–{:.1} %", 100.0 * low, 100.0 * high)
}

fn tile(what: &str, number: &str, note: &str) -> String {
    let (what, number, note) = (escape(what), escape(number), escape(note));
    format!("<div class='card'><dt>{what}</dt><dd><b>{number}</b><span>{note}</span></dd></div>")
}

fn tiles(word: &KeywordDetail<'_>, threshold: i16, sorted: &[f64]) -> String {
    let mut text = String::from("<dl class='tiles'>");
    for (keyword, conditions) in word.scored_keywords.iter().zip(word.conditions) {
        let (misses, n) = (keyword.missed(threshold), keyword.count());
        let name = format!("missed {}", conditions.words());
        text += &tile(
            &name,
            &format!("{misses} of {n}"),
            &format!("{} ({})", percent(misses, n), range(misses, n)),
        );
    }
    if let Some(clean) = word.scored_keywords.first() {
        let counted = clean.false_accepts(&clean.at(threshold));
        let count = if counted.count == 0 { "none".into() } else { counted.count.to_string() };
        let audio = duration(counted.hours);
        text += &tile("false accepts", &format!("{count} in {audio}"), &counted.bound());
    }
    if !sorted.is_empty() {
        let (median, median_side) = from_end(quantile(sorted, 0.5));
        text += &tile("detected", &median, &format!("{median_side} of the phrase (median)"));
    }
    text + "</dl>"
}

/// Returns the value at a share of sorted values, of which there is at least one.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Formats a time relative to the end of the phrase: `60 ms` and `before the end`.
fn from_end(ms: f64) -> (String, &'static str) {
    let side = if ms < 0.0 { "before the end" } else { "after the end" };
    (format!("{:.0} ms", ms.abs()), side)
}

fn det_figure(word: &KeywordDetail<'_>, sweep: &Sweep<'_>) -> String {
    let float =
        if word.float.is_some() { " Dashed: the float network, in a quiet room." } else { "" };
    format!(
        "<figure class='card'><h3>Misses and false accepts</h3>{}<figcaption>Each point of a curve is a threshold; \
         lower left is better. The ring is the model's own, and its cross and the shades are 95 % intervals. \
         The axis of misses is stretched near zero.{float}</figcaption>{}</figure>",
        sweep.det(word),
        tables::curve_points(sweep, word)
    )
}

fn threshold_figure(word: &KeywordDetail<'_>, sweep: &Sweep<'_>) -> String {
    format!(
        "<figure class='card'><h3>Choice of the threshold</h3>{}<figcaption>To the left the model detects more, and \
         more by mistake. The lines are the sensitivities of the program; the shades are 95 % intervals.</figcaption>{}</figure>",
        sweep.thresholds(word),
        tables::levels(sweep, word)
    )
}

fn latency_figure(word: &KeywordDetail<'_>, latencies: &[f64]) -> String {
    if latencies.len() < FEWEST_LATENCIES {
        return String::new();
    }
    let (median, side) = from_end(quantile(latencies, 0.5));
    let text = format!(
        "Histogram of the detection latency of {}. The median is {median} {side} of the phrase.",
        word.label
    );
    let below = "ms before (−) and after the end of the phrase";
    let chart = chart::histogram(&text, below, latencies, LATENCY_BIN_MS);
    format!(
        "<figure class='card'><h3>Detection latency</h3>{chart}<figcaption>Share of the {} recordings that are \
         detected. The end of a phrase is found by its energy.</figcaption>{}</figure>",
        latencies.len(),
        tables::latencies(latencies, word.label)
    )
}

#[cfg(test)]
mod tests;
