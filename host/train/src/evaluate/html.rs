//! Evaluation report as one HTML page: counts, curves, and the worst errors with their audio.
//!
//! The page embeds its images and sounds and runs no script. A policy in its head forbids loading
//! anything. Text from users (labels, paths, transcripts) is escaped. The layout is designed for
//! phones first.

pub mod chart;
pub mod media;

use std::fmt::Write;

use super::{
    Provenance, ScoredKeyword,
    detail::{Clip, Group, KeywordDetail},
    interval,
    report::Row,
    rows, thresholds,
};
use chart::{Column, Curve, Mark};
use wakeling_audio::features::{FrontendTables, NormalizationKind, log_mel, mel_powers};
use wakeling_device::sensitivity::{DetectionLevel, duration};

/// Number of worst misses, and of worst false accepts, shown per keyword.
const CLIPS: usize = 6;
/// Number of groups listed per label.
const LISTED_GROUPS: usize = 10;
/// Width of a bar of the latency histogram, in milliseconds.
const LATENCY_BIN_MS: f64 = 40.0;
/// Height of a clip's score chart, in its own units; its width is 100.
const SCORE_HEIGHT: f64 = 40.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#fff;--card:#f5f7fa;--ink:#1f2530;--soft:#5b6675;--edge:#d9dde3;--bad:#b3261e;--good:#1d7a46;--s0:#0b5fb0}
@media(prefers-color-scheme:dark){:root{--back:#12161d;--card:#1b212b;--ink:#e4e9f0;--soft:#9aa6b6;--edge:#333b48;--bad:#ff8a80;--good:#7fd8a4;--s0:#6cb6ff}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:auto;padding:1rem}h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.6rem;margin:2.2rem 0 .6rem;overflow-wrap:anywhere}
h3{font-size:1.05rem;margin:1.6rem 0 .5rem}p,figcaption,.soft{color:var(--soft)}p{margin:.3rem 0;max-width:46rem}
nav{display:flex;flex-wrap:wrap;gap:.5rem;margin:.8rem 0}nav a{padding:.3rem .7rem;border:1px solid var(--edge);border-radius:1rem;color:inherit;text-decoration:none;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem}
.tile{background:var(--card);border-radius:.6rem;padding:.7rem .9rem}.tile b{display:block;font-size:1.7rem;line-height:1.2;font-weight:650;font-variant-numeric:tabular-nums}
.tile span{font-size:.85rem;color:var(--soft)}.tile .soft{display:block}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1rem;margin-top:1rem}
figure{margin:0;background:var(--card);border-radius:.6rem;padding:.8rem;min-width:0}figure>svg.chart{display:block;width:100%;height:auto;--back:var(--card)}
figcaption{font-size:.85rem}figure h3{margin:0 0 .4rem}
.key{display:inline-flex;align-items:center;gap:.35rem;margin-right:.9rem;white-space:nowrap}.key svg{width:1.6rem;height:.7rem;flex:none}
.wide{overflow-x:auto;-webkit-overflow-scrolling:touch}.wide:focus-visible{outline:2px solid var(--s0);outline-offset:2px}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem;width:100%}
th,td{padding:.35rem .7rem;text-align:right;border-bottom:1px solid var(--edge);white-space:nowrap}th:first-child,td:first-child{text-align:left}.numbers th:first-child,.numbers td:first-child{position:sticky;left:0;background:var(--back)}
td .soft{display:block;font-weight:400;font-size:.8rem}th{font-weight:600;color:var(--soft)}.numbers th{white-space:normal;vertical-align:bottom}.numbers td:first-child{white-space:normal;min-width:6rem}tr.own td{font-weight:650}td.name{white-space:normal;overflow-wrap:anywhere;max-width:12rem}
.bar{position:relative;height:.55rem;min-width:6rem;background:var(--edge);border-radius:.3rem;overflow:hidden}.bar i{position:absolute;inset:0 auto 0 0;background:var(--s0)}
.clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:1rem}
.clip figcaption{margin-bottom:.5rem;overflow-wrap:anywhere}.clip b{color:var(--ink)}.clip audio{width:100%;height:2.4rem;margin-top:.5rem}
.seen{display:block;width:100%;height:5.2rem;image-rendering:auto;border-radius:.3rem .3rem 0 0}
.score{display:block;width:100%;height:3rem;background:var(--back);border-radius:0 0 .3rem .3rem}
.score path,.score line{vector-effect:non-scaling-stroke;fill:none}.score .within{fill:var(--s0);opacity:.13;stroke:none}
.score .limit{stroke:var(--bad);stroke-dasharray:4 3}.score .trace{stroke:var(--s0);stroke-width:1.8}
footer{margin:2.5rem 0 1rem;font-size:.85rem;color:var(--soft)}";

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
            c if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) => {
                escaped.push('\u{fffd}')
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Builds the page with one section per keyword. `model` is the name of the measured file.
pub fn page(provenance: &Provenance, words: &[KeywordDetail<'_>]) -> String {
    let audio = duration(words.first().map_or(0.0, |w| w.other.hours));
    let clips: usize = words.first().map_or(0, |w| w.other.pieces.iter().map(Vec::len).sum());
    let names = words
        .iter()
        .enumerate()
        .map(|(i, word)| format!("<a href='#w{i}'>{}</a>", escape(word.label)));
    let nav: String = if words.len() > 1 { names.collect() } else { String::new() };
    let sections: String = words.iter().enumerate().map(|(i, word)| section(i, word)).collect();
    let model = escape(&provenance.model.file);
    let policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'";
    format!(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <meta http-equiv='Content-Security-Policy' content=\"{policy}\">\
         <title>{model}: misses and false accepts</title><link rel='icon' href='data:,'>\
         <style>{STYLE}{}</style></head>\n<body><main>\
         <h1>Misses and false accepts of {model}</h1>\
         <p>The int8 model as the device runs it, on streams. {audio} of negatives ({clips} clips), speech and noise without a keyword, were processed. \
         Shares come with exact 95 % intervals; a count of false accepts comes with the highest rate that it leaves possible, \
         if there is half an hour of audio. A level is a score on a scale of 0 to 100, on which the model's own threshold is 50; \
         ten levels are a factor of 7.4 in the odds.</p>\
         <nav>{nav}</nav>\n{sections}\
         <footer>Made by wakeling {} evaluate. This page holds all it shows and loads nothing.</footer></main></body></html>\n",
        chart::style(),
        env!("CARGO_PKG_VERSION"),
    )
}

fn section(number: usize, word: &KeywordDetail<'_>) -> String {
    let Some(clean) = word.scored_keywords.first() else { return String::new() };
    let threshold = clean.detector.threshold;
    let latencies = word.latencies_ms(threshold);
    let mut text = format!("<section id='w{number}'><h2>{}</h2>", escape(word.label));
    text += &tiles(word, threshold, &latencies);
    text += "<div class='grid'>";
    text += &det_figure(word, threshold);
    text += &noise_figure(word, threshold);
    text += &latency_figure(&latencies);
    for (field, groups) in word.groups(threshold) {
        text += &group_figure(&field, &groups);
    }
    text += "</div><h3>In numbers</h3>";
    text += &numbers(word);
    let fired = clean.at(threshold).false_accepts;
    text += &clips(
        "Highest levels without the keyword",
        &format!(
            "The highest levels in the negatives; at the model's threshold {fired} of them wake the device."
        ),
        &word.worst_false_accepts(threshold, CLIPS),
        threshold,
    );
    text += &clips(
        "Missed",
        "Recordings of the word at which the model's threshold is not reached, the lowest levels first.",
        &word.worst_misses(threshold, CLIPS),
        threshold,
    );
    text + "</section>\n"
}

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
    format!(
        "<div class='tile'><span>{what}</span><b>{number}</b><span class='soft'>{note}</span></div>"
    )
}

fn tiles(word: &KeywordDetail<'_>, threshold: i16, latencies: &[f64]) -> String {
    let mut text = String::from("<div class='tiles'>");
    for scored_keywords in word.scored_keywords {
        let (misses, n) = (scored_keywords.at(threshold).misses, scored_keywords.count());
        let name = format!("missed, {}", scored_keywords.scored.conditions);
        text +=
            &tile(&name, &percent(misses, n), &format!("{misses} of {n}; {}", range(misses, n)));
    }
    if let Some(clean) = word.scored_keywords.first() {
        let counted = clean.false_accepts(&clean.at(threshold));
        let audio = duration(counted.hours);
        text += &tile("false accepts", &format!("{} in {audio}", counted.count), &counted.bound());
    }
    if !latencies.is_empty() {
        let mut sorted = latencies.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let (median, median_side) = from_end(at(0.5));
        let (most, most_side) = from_end(at(0.9));
        let note =
            format!("{median_side} of the phrase (median); nine in ten by {most} {most_side}");
        text += &tile("detected", &median, &note);
    }
    text += &tile("sensitivity", "normal", "the model's own threshold, level 50");
    text + "</div>"
}

/// Formats a time relative to the end of the phrase: `60 ms` and `before the end`.
fn from_end(ms: f64) -> (String, &'static str) {
    let side = if ms < 0.0 { "before the end" } else { "after the end" };
    (format!("{:.0} ms", ms.abs()), side)
}

fn curve(name: &str, scored_keywords: &ScoredKeyword<'_>, mark: Option<i16>) -> Curve {
    let n = scored_keywords.count();
    let rate = |count: usize| count as f64 / scored_keywords.hours.max(1e-9);
    let share = |misses: usize| misses as f64 / n.max(1) as f64;
    let mut points: Vec<_> = thresholds(scored_keywords)
        .into_iter()
        .map(|threshold| scored_keywords.at(threshold))
        .map(|p| (rate(p.false_accepts), share(p.misses), interval(p.misses, n)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mark = mark.map(|threshold| scored_keywords.at(threshold)).map(|p| Mark {
        rate: rate(p.false_accepts),
        share: share(p.misses),
        text: format!(
            "{} missed; false accepts: {}",
            percent(p.misses, n),
            scored_keywords.false_accepts(&p)
        ),
    });
    Curve { name: name.to_owned(), points, mark, is_dashed: false }
}

fn det_figure(word: &KeywordDetail<'_>, threshold: i16) -> String {
    let mut curves: Vec<Curve> = word
        .scored_keywords
        .iter()
        .map(|scored_keywords| {
            curve(&scored_keywords.scored.conditions, scored_keywords, Some(threshold))
        })
        .collect();
    if let Some(float) = &word.float {
        curves.push(Curve { is_dashed: true, ..curve("float, clean", float, None) });
    }
    let hours = word.other.hours;
    let chart =
        chart::det(&format!("Misses against false accepts of {}", word.label), &curves, hours);
    let keys: String = curves.iter().enumerate().map(|(i, c)| key(i, c)).collect();
    format!(
        "<figure><h3>Misses against false accepts</h3>{chart}<figcaption>{keys}<br>\
         The ring is the model's own threshold (normal), the shade the 95 % interval of the first curve.</figcaption></figure>"
    )
}

fn key(number: usize, curve: &Curve) -> String {
    let dash = if curve.is_dashed { " dash" } else { "" };
    format!(
        "<span class='key'><svg class='chart' viewBox='0 0 28 12' aria-hidden='true'><path class='line s{}{dash}' d='M0 6H28'/></svg>{}</span>",
        number % 5,
        escape(&curve.name)
    )
}

/// Draws the curves as a separate SVG file.
pub fn det_svg(label: &str, scored_keywords: &[ScoredKeyword<'_>]) -> String {
    let hours = scored_keywords.first().map_or(0.0, |h| h.hours);
    let curves: Vec<Curve> = scored_keywords
        .iter()
        .map(|h| curve(&h.scored.conditions, h, Some(h.detector.threshold)))
        .collect();
    let chart = chart::det(&format!("Misses against false accepts of {label}"), &curves, hours);
    let names: String = curves
        .iter()
        .enumerate()
        .map(|(i, c)| {
            format!(
                "<text class='f{}' x='384' y='{}' text-anchor='end'>{}</text>",
                i % 5,
                28 + 16 * i,
                escape(&c.name)
            )
        })
        .collect();
    let title = format!("<text x='54' y='28' font-weight='600'>{}</text>", escape(label));
    chart::standalone(&chart, &format!("{title}{names}"))
}

fn noise_figure(word: &KeywordDetail<'_>, threshold: i16) -> String {
    if word.scored_keywords.len() < 2 {
        return String::new();
    }
    let column = |scored_keywords: &ScoredKeyword<'_>| {
        let (misses, n) = (scored_keywords.at(threshold).misses, scored_keywords.count());
        Column {
            name: scored_keywords.scored.conditions.clone(),
            share: misses as f64 / n.max(1) as f64,
            interval: interval(misses, n),
        }
    };
    let columns: Vec<Column> = word.scored_keywords.iter().map(column).collect();
    let chart = chart::columns(
        "Misses by noise",
        "loudest 32 ms of the phrase over those of the noise",
        &columns,
    );
    format!(
        "<figure><h3>Misses by signal-to-noise ratio</h3>{chart}<figcaption>At the model's own threshold; \
         whiskers are 95 % intervals.</figcaption></figure>"
    )
}

fn latency_figure(latencies: &[f64]) -> String {
    if latencies.is_empty() {
        return String::new();
    }
    let chart =
        chart::histogram("Latency", "ms before (−) and after the end", latencies, LATENCY_BIN_MS);
    format!(
        "<figure><h3>Detection latency</h3>{chart}<figcaption>Share of the {} recordings that are detected. The end of a \
         phrase is found by its energy; earlier detections are to the left of 0. The line is the median.</figcaption></figure>",
        latencies.len()
    )
}

fn group_figure(field: &str, groups: &[Group]) -> String {
    let mut rows = String::new();
    for Group { value, count, misses } in groups.iter().take(LISTED_GROUPS) {
        let (_, high) = interval(*misses, *count);
        let share = 100.0 * *misses as f64 / (*count).max(1) as f64;
        let _ = write!(
            rows,
            "<tr><td class='name'>{}</td><td>{misses} of {count}</td><td>{share:.0} %</td><td><div class='bar' title='at most {:.0} %'><i style='width:{share:.1}%'></i></div></td></tr>",
            escape(value),
            100.0 * high
        );
    }
    let rest = groups.len().saturating_sub(LISTED_GROUPS);
    let rest =
        if rest > 0 { format!(" {rest} others miss no larger share.") } else { String::new() };
    format!(
        "<figure><h3>Misses by {}</h3><div class='wide' tabindex='0' role='region' aria-label='Misses by {0}'><table><tr><th>{0}</th><th>missed</th><th></th><th></th></tr>{rows}</table></div>\
         <figcaption>Clean, at the model's own threshold.{rest} Groups of few recordings show little.</figcaption></figure>",
        escape(field)
    )
}

fn numbers(word: &KeywordDetail<'_>) -> String {
    let Some(clean) = word.scored_keywords.first() else { return String::new() };
    let mut head = String::from("<th></th><th>level</th><th>false accepts</th>");
    for scored_keywords in word.scored_keywords {
        let _ = write!(head, "<th>missed, {}</th>", escape(&scored_keywords.scored.conditions));
    }
    if word.float.is_some() {
        head += "<th>missed, float</th>";
    }
    let mut body = String::new();
    for Row { name, threshold, allowed } in rows(clean, word.points) {
        let class = if threshold == clean.detector.threshold { " class='own'" } else { "" };
        let counted = clean.false_accepts(&clean.at(threshold));
        let level = clean.level(threshold);
        let _ = write!(body, "<tr{class}><td>{name}</td><td>{level}</td><td>{counted}</td>");
        for scored_keywords in word.scored_keywords {
            let (misses, n) = (scored_keywords.at(threshold).misses, scored_keywords.count());
            let (share, range) = (percent(misses, n), range(misses, n));
            let _ = write!(body, "<td>{share} <span class='soft'>{range}</span></td>");
        }
        if let Some(scored_keywords) = &word.float {
            // The scores of two networks differ, so they are compared at equal counts of false
            // accepts.
            let misses = allowed
                .map(|allowed| scored_keywords.at(scored_keywords.threshold_for(allowed)).misses);
            let cell =
                misses.map_or("–".into(), |misses| percent(misses, scored_keywords.count()));
            let _ = write!(body, "<td>{cell}</td>");
        }
        body += "</tr>";
    }
    let note = if word.float.is_some() {
        "<p>Float is the network before quantization, each at its own threshold for the same count of false accepts.</p>"
    } else {
        ""
    };
    format!(
        "<div class='wide numbers' tabindex='0' role='region' aria-label='In numbers: {}'><table><tr>{head}</tr>{body}</table></div>{note}",
        escape(word.label)
    )
}

fn clips(title: &str, note: &str, clips: &[Clip], threshold: i16) -> String {
    if clips.is_empty() {
        return format!("<h3>{}</h3><p>None.</p>", escape(title));
    }
    let all: String = clips.iter().map(|clip| figure(clip, threshold)).collect();
    format!(
        "<h3>{}</h3><p>{} Below each spectrogram (up to 7.5 kHz) is the level, with the threshold as a dashed line.</p>\
         <div class='clips'>{all}</div>",
        escape(title),
        escape(note)
    )
}

fn figure(clip: &Clip, threshold: i16) -> String {
    let tables = FrontendTables::default();
    let frames = log_mel(&mel_powers(&clip.pcm, &tables.params(NormalizationKind::Log)));
    let image = media::data_url("image/png", &media::spectrogram(&frames));
    let sound = media::data_url("audio/wav", &media::wav(&clip.pcm));
    let name = clip.name.rsplit(['/', '\\']).next().unwrap_or_default();
    format!(
        "<figure class='clip'><figcaption><b title='{}'>{}</b><br>{}</figcaption>\
         <img class='seen' alt='spectrogram' src='{image}'>{}<audio controls preload='metadata' src='{sound}'></audio></figure>",
        escape(&clip.name),
        escape(name),
        escape(&clip.metadata),
        trace(clip, threshold)
    )
}

/// Draws the level over a clip, with the threshold at mid-height and the recording shaded.
fn trace(clip: &Clip, threshold: i16) -> String {
    let y = |logit: i16| {
        let share = DetectionLevel::of(logit, threshold).share();
        SCORE_HEIGHT / 2.0 * (1.0 - 0.94 * (2.0 * share - 1.0))
    };
    let steps = clip.scores.len().max(2) as f64 - 1.0;
    let points: Vec<String> = clip
        .scores
        .iter()
        .enumerate()
        .map(|(i, &logit)| format!("{:.1} {:.1}", 100.0 * i as f64 / steps, y(logit)))
        .collect();
    let place = |sample: usize| 100.0 * sample as f64 / clip.pcm.len().max(1) as f64;
    let (from, to) = (place(clip.recording.start), place(clip.recording.end));
    let limit = y(threshold);
    format!(
        "<svg class='score' viewBox='0 0 100 {SCORE_HEIGHT}' preserveAspectRatio='none' role='img' aria-label='level'>\
         <path class='within' d='M{from:.1} 0H{to:.1}V{SCORE_HEIGHT}H{from:.1}Z'/>\
         <path class='limit' d='M0 {limit:.1}H100'/><path class='trace' d='M{}'/></svg>",
        if points.is_empty() { "0 0".into() } else { points.join("L") }
    )
}

#[cfg(test)]
mod tests;
