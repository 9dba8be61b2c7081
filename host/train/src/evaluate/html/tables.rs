//! Tables of the report. Each has a caption and headers for rows and columns, and scrolls on its
//! own where it is wider than the screen.

use std::fmt::Write;

use super::super::{
    detail::{Group, KeywordDetail},
    interval,
    report::Row,
    rows,
};
use super::{
    super::clipped, chart::estimate, curves::Sweep, escape, from_end, percent, quantile, range,
};
use wakeling_device::sensitivity::FalseAccepts;

/// Number of groups listed per label.
const LISTED_GROUPS: usize = 10;
/// Number of recordings of the smallest group that is listed: fewer show nothing.
const SMALLEST_GROUP: usize = 5;
/// Number of labels with a table of groups.
const LISTED_FIELDS: usize = 6;

/// Builds a table. `head` and `rows` are HTML: the header cells after the first, and rows.
fn table(caption: &str, first: &str, head: &[String], rows: &str) -> String {
    let heads: String = head.iter().map(|text| format!("<th scope='col'>{text}</th>")).collect();
    let (caption, first) = (escape(caption), escape(first));
    format!(
        "<div class='table-scroll' tabindex='0' role='region' aria-label='{caption}'><table>\
         <caption><span>{caption}</span></caption><thead><tr><th scope='col'>{first}</th>{heads}</tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}

/// Cells of a share: counts, percent, its interval as text and as a line from 0 to `end`.
fn share_cells(misses: usize, count: usize, end: f64) -> String {
    let share = misses as f64 / count.max(1) as f64;
    format!(
        "<td>{misses} of {count}</td>{}<td class='graph'>{}</td>",
        share_cell(misses, count),
        estimate(share, interval(misses, count), end)
    )
}

/// Builds a table of [`share_cells`].
fn share_table(caption: &str, first: &str, end: f64, rows: &str) -> String {
    let graph = format!("0 to {:.0} %", 100.0 * end);
    let heads = ["missed", "share (95 %)", &graph].map(str::to_owned);
    // The last column repeats the one before, and phones leave it out.
    let text = table(caption, first, &heads, rows);
    text.replace(
        &format!("<th scope='col'>{graph}"),
        &format!("<th scope='col' class='graph'>{graph}"),
    )
}

/// Rounds the end of an axis of shares up.
fn axis_end(highest: f64) -> f64 {
    [0.1, 0.2, 0.5].into_iter().find(|end| *end >= highest).unwrap_or(1.0)
}

/// Lists the misses under each test condition, if there are several.
pub(super) fn conditions(word: &KeywordDetail<'_>, threshold: i16) -> String {
    if word.scored_keywords.len() < 2 {
        return String::new();
    }
    let counts: Vec<(usize, usize)> =
        word.scored_keywords.iter().map(|k| (k.missed(threshold), k.count())).collect();
    let end = axis_end(counts.iter().map(|(k, n)| interval(*k, *n).1).fold(0.0, f64::max));
    let rows = counts.iter().zip(word.conditions).map(|((misses, count), conditions)| {
        let name = escape(&conditions.words());
        format!("<tr><th scope='row'>{name}</th>{}</tr>", share_cells(*misses, *count, end))
    });
    let rows: String = rows.collect();
    let caption = "Misses by noise, at the model's own threshold";
    format!(
        "<figure class='card'><h3>Misses by noise</h3>{}<figcaption>The ratio compares the loudest \
         32 ms of a recording with the loudest 32 ms of the noise under it.</figcaption></figure>",
        share_table(caption, "condition", end, &rows)
    )
}

/// Lists the misses of each group of recordings: speakers, styles, and other labels. They are those
/// of the first test condition in which anything is missed.
pub(super) fn groups(word: &KeywordDetail<'_>, threshold: i16) -> String {
    let mut all = word.scored_keywords.iter().zip(word.conditions);
    let Some((keyword, conditions)) = all.find(|(keyword, _)| keyword.missed(threshold) > 0) else {
        return String::new();
    };
    let fields = word.groups_in(keyword, threshold);
    let words = conditions.words();
    let tables = fields.iter().filter_map(|(field, groups)| group(field, groups, &words));
    tables.take(LISTED_FIELDS).collect()
}

/// Lists the groups of a label; `None` if fewer than two are large enough.
fn group(field: &str, groups: &[Group], words: &str) -> Option<String> {
    let (groups, small): (Vec<&Group>, Vec<&Group>) =
        groups.iter().partition(|group| group.count >= SMALLEST_GROUP);
    if groups.len() < 2 {
        return None;
    }
    let listed = || groups.iter().copied().take(LISTED_GROUPS);
    let end = axis_end(listed().map(|g| interval(g.misses, g.count).1).fold(0.0, f64::max));
    let rows = listed().map(|Group { value, count, misses }| {
        let value = escape(&clipped(value, 60));
        format!("<tr><th scope='row'>{value}</th>{}</tr>", share_cells(*misses, *count, end))
    });
    let rows: String = rows.collect();
    let field = clipped(field, 40);
    let mut rest = match groups.len().saturating_sub(LISTED_GROUPS) {
        0 => String::new(),
        rest => format!(" {rest} others miss no larger share."),
    };
    if !small.is_empty() {
        rest += &format!(" Left out: {} with fewer than {SMALLEST_GROUP} recordings.", small.len());
    }
    let caption = format!("Misses by {field} {words}, at the model's own threshold");
    Some(format!(
        "<figure class='card'><h3>Misses by {}</h3>{}<figcaption>Most missed first.{rest} Wide \
         intervals that overlap show no difference.</figcaption></figure>",
        escape(&field),
        share_table(&caption, &field, end, &rows)
    ))
}

/// Lists the named sensitivities and some counted rates, strictest first.
pub(super) fn numbers(word: &KeywordDetail<'_>) -> String {
    let Some(clean) = word.scored_keywords.first() else { return String::new() };
    let mut head: Vec<String> = vec!["level".into(), "false accepts".into()];
    head.extend(missed_heads(word));
    if word.float.is_some() {
        head.push("missed, float".into());
    }
    let mut all = rows(clean, word.points);
    all.sort_by_key(|row| std::cmp::Reverse(row.threshold));
    let mut body = String::new();
    for Row { name, threshold, allowed } in all {
        let class = if threshold == clean.detector.threshold && allowed.is_none() {
            " class='own'"
        } else {
            ""
        };
        let counted = clean.false_accepts(&clean.at(threshold));
        let level = clean.level(threshold).value();
        let _ = write!(
            body,
            "<tr{class}><th scope='row'>{name}</th><td>{level:.1}</td><td>{counted}</td>"
        );
        for keyword in word.scored_keywords {
            body += &share_cell(keyword.missed(threshold), keyword.count());
        }
        if let Some(float) = &word.float {
            // The scores of two networks differ, so they are compared at equal counts of false
            // accepts.
            let misses = allowed.map(|allowed| float.missed(float.threshold_for(allowed)));
            let cell = misses.map_or("–".into(), |misses| percent(misses, float.count()));
            let _ = write!(body, "<td>{cell}</td>");
        }
        body += "</tr>";
    }
    let caption = format!("Misses and false accepts of {} by sensitivity", clipped(word.label, 60));
    let note = if word.float.is_some() {
        "<p class='soft'>Float is the network before quantization, each at its own threshold for the same count of false accepts.</p>"
    } else {
        ""
    };
    table(&caption, "sensitivity", &head, &body) + note
}

/// Returns the headings of the misses under each test condition.
fn missed_heads(word: &KeywordDetail<'_>) -> impl Iterator<Item = String> {
    word.conditions.iter().map(|c| format!("missed {}", escape(&c.words())))
}

/// Cell of a share: percent, and its interval as text.
fn share_cell(misses: usize, count: usize) -> String {
    format!(
        "<td>{} <span class='soft'>({})</span></td>",
        percent(misses, count),
        range(misses, count)
    )
}

/// Lists points of the curves, for those who cannot see them.
pub(super) fn curve_points(sweep: &Sweep<'_>, word: &KeywordDetail<'_>) -> String {
    let Some(clean) = sweep.keywords.first() else { return String::new() };
    let mut head: Vec<String> = vec!["level".into()];
    head.extend(missed_heads(word));
    let rows = sweep.rows().into_iter().map(|point| {
        let counted = FalseAccepts { count: point.false_accepts, hours: clean.hours };
        let level = clean.level(point.threshold).value();
        let misses = point.misses.iter().zip(sweep.keywords);
        let misses: String =
            misses.map(|(misses, keyword)| share_cell(*misses, keyword.count())).collect();
        format!("<tr><th scope='row'>{counted}</th><td>{level:.1}</td>{misses}</tr>")
    });
    let rows: String = rows.collect();
    let caption = format!("Points of the curves of {}", clipped(word.label, 60));
    details(&table(&caption, "false accepts", &head, &rows))
}

/// Lists misses and false accepts at some levels of the threshold.
pub(super) fn levels(sweep: &Sweep<'_>, word: &KeywordDetail<'_>) -> String {
    let Some(clean) = sweep.keywords.first() else { return String::new() };
    let mut head: Vec<String> = vec!["false accepts".into()];
    head.extend(missed_heads(word));
    let own = clean.detector.threshold;
    let rows = (-5i32..=5).rev().filter_map(|fives| {
        let threshold = i16::try_from(i32::from(own) + fives * 256).ok()?;
        let counted = clean.false_accepts(&clean.at(threshold));
        let misses: String =
            sweep.keywords.iter().map(|k| share_cell(k.missed(threshold), k.count())).collect();
        let class = if fives == 0 { " class='own'" } else { "" };
        let level = 50 + 5 * fives;
        Some(format!("<tr{class}><th scope='row'>{level}</th><td>{counted}</td>{misses}</tr>"))
    });
    let rows: String = rows.collect();
    let caption = format!("Misses and false accepts of {} by level", clipped(word.label, 60));
    details(&table(&caption, "level", &head, &rows))
}

/// Lists when recordings are detected.
pub(super) fn latencies(sorted: &[f64], label: &str) -> String {
    let rows = [
        ("earliest", 0.0),
        ("one in ten by", 0.1),
        ("half by", 0.5),
        ("nine in ten by", 0.9),
        ("latest", 1.0),
    ];
    let rows: String = rows
        .iter()
        .map(|(name, share)| {
            let (time, side) = from_end(quantile(sorted, *share));
            format!("<tr><th scope='row'>{name}</th><td>{time} {side}</td></tr>")
        })
        .collect();
    let caption = format!("Detection latency of {}", clipped(label, 60));
    details(&table(&caption, "recordings", &["time from the end of the phrase".into()], &rows))
}

fn details(table: &str) -> String {
    format!("<details><summary>Show as a table</summary>{table}</details>")
}
