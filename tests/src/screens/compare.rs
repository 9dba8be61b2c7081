//! Differences of an accepted screen and a present one that a user would notice.

use super::{
    look::{DISTINCT, distance},
    parts::{Look, Part},
};

/// Difference of a background's colour channel that is none.
const SAME_BACK: u8 = 3;
/// Difference of an ink's colour channel that may come from the drawing of thin letters.
const SAME_INK: u8 = 72;
/// Height of a line that another font may add.
const LINE: i32 = 34;
/// Left edge, within the containing part, of what begins a line.
const MARGIN: i32 = 64;

/// Returns a line for each difference.
pub fn differences(accepted: &[Part], present: &[Part]) -> Vec<String> {
    let mut found = Vec::new();
    let pairs = align(accepted, present);
    let is_paired = |i: usize| pairs.iter().any(|(a, _)| *a == i);
    let is_known = |j: usize| pairs.iter().any(|(_, b)| *b == j);
    let missing = accepted.iter().enumerate().filter(|(i, _)| !is_paired(*i));
    found.extend(missing.map(|(_, part)| format!("missing: {}", part.label())));
    let new = present.iter().enumerate().filter(|(j, _)| !is_known(*j));
    found.extend(new.map(|(_, part)| format!("new: {}", part.label())));
    let heights = (height(accepted), height(present));
    for &(i, j) in &pairs {
        let (a, b) = (&accepted[i], &present[j]);
        let offset = |parts: &[Part], part: &Part| match part.parent {
            Some(parent) => part.rect[0] - parts[parent].rect[0],
            None => part.rect[0],
        };
        let lefts = (offset(accepted, a), offset(present, b));
        found.extend(geometry(a, b, lefts, heights).map(|d| format!("{}: {d}", b.label())));
        for (scheme, name) in ["light", "dark"].iter().enumerate() {
            if let Some(difference) = colours(a, b, scheme) {
                found.push(format!("{}: {name}: {difference}", b.label()));
            }
        }
    }
    found
}

fn height(parts: &[Part]) -> i32 {
    parts.iter().map(|part| part.rect[1] + part.rect[3]).max().unwrap_or(1).max(1)
}

/// Returns pairs of equal parts in the order of both: the longest common subsequence.
fn align(accepted: &[Part], present: &[Part]) -> Vec<(usize, usize)> {
    let is_same = |a: &Part, b: &Part| a.kind == b.kind && a.text == b.text && a.varies == b.varies;
    let (rows, columns) = (accepted.len(), present.len());
    let mut lengths = vec![vec![0_u32; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            lengths[i][j] = if is_same(&accepted[i], &present[j]) {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < rows && j < columns {
        if is_same(&accepted[i], &present[j]) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Returns how a part's place or size differs. `lefts` are relative to the containing parts.
fn geometry(a: &Part, b: &Part, lefts: (i32, i32), heights: (i32, i32)) -> Option<String> {
    let ([_, ay, aw, ah], [_, by, bw, bh]) = (a.rect, b.rect);
    // Texts before it in the same row may be wider or narrower.
    let is_wrapped = a.is_text && (ay - by).abs() > LINE / 3 && lefts.0.min(lefts.1) <= MARGIN;
    let left_is_off = !is_wrapped && (lefts.0 - lefts.1).abs() > 6 + lefts.0.max(lefts.1) / 4;
    if left_is_off {
        return Some(format!("its left edge is at {} instead of {}", lefts.1, lefts.0));
    }
    let share = |y: i32, height: i32| f64::from(y) / f64::from(height);
    if (share(ay, heights.0) - share(by, heights.1)).abs() > 0.05 && (ay - by).abs() > LINE {
        return Some(format!("its top is at {by} instead of {ay}"));
    }
    let width_slack = if a.is_text { 8 + aw.max(bw) / 4 } else { 6 + aw.max(bw) / 20 };
    if !a.varies && (aw - bw).abs() > width_slack {
        return Some(format!("it is {bw} pixels wide instead of {aw}"));
    }
    let height_slack = LINE.max(ah.max(bh) / 5);
    if !a.varies && (ah - bh).abs() > height_slack {
        return Some(format!("it is {bh} pixels high instead of {ah}"));
    }
    None
}

fn colours(a: &Part, b: &Part, scheme: usize) -> Option<String> {
    if a.varies {
        return None;
    }
    let (a, b) = match (a.looks[scheme], b.looks[scheme]) {
        (Some(a), Some(b)) => (a, b),
        // Nothing was visible of it between its parts, and a pixel more or less may be.
        _ => return None,
    };
    if distance(a.back, b.back) > SAME_BACK {
        return Some(format!("its background is {:?} instead of {:?}", b.back, a.back));
    }
    let has_ink = |look: Look| distance(look.ink, look.back) > DISTINCT;
    match (has_ink(a), has_ink(b)) {
        (true, false) if a.coverage > 1.0 => Some(String::from("it is empty")),
        (false, true) if b.coverage > 1.0 => Some(String::from("it is no longer empty")),
        (true, true) if distance(a.ink, b.ink) > SAME_INK && a.coverage.min(b.coverage) > 1.0 => {
            Some(format!("its ink is {:?} instead of {:?}", b.ink, a.ink))
        }
        _ if (a.coverage - b.coverage).abs() > 4.0 + 0.5 * a.coverage.max(b.coverage) => {
            Some(format!("ink covers {:.0} % instead of {:.0} %", b.coverage, a.coverage))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screens::parts;

    /// A card with a title and a button, and a note below.
    fn screen() -> Vec<Part> {
        let look = |back, ink, coverage| Some(Look { back, ink, coverage });
        let part = |kind: &str, text: &str, rect, parent, is_text, light, dark| Part {
            kind: kind.into(),
            text: text.into(),
            rect,
            parent,
            varies: false,
            floats: false,
            is_text,
            looks: [light, dark],
        };
        let card = look([244, 246, 250], [207, 214, 223], 0.0);
        let night = look([26, 32, 41], [58, 68, 81], 0.0);
        let ink = look([244, 246, 250], [27, 34, 44], 22.0);
        let light_ink = look([26, 32, 41], [230, 235, 242], 21.0);
        let button = look([11, 95, 176], [255, 255, 255], 12.0);
        let night_button = look([108, 182, 255], [11, 26, 43], 12.0);
        vec![
            part("section", "", [16, 80, 700, 220], None, false, card, night),
            part("h2", "Record it", [32, 96, 130, 30], Some(0), true, ink, light_ink),
            part(
                "button#take",
                "Record a take",
                [32, 140, 160, 44],
                Some(0),
                true,
                button,
                night_button,
            ),
            part("p", "A note", [16, 320, 300, 24], None, true, ink, light_ink),
        ]
    }

    fn changed(change: impl Fn(&mut Vec<Part>)) -> Vec<String> {
        let mut parts = screen();
        change(&mut parts);
        differences(&screen(), &parts)
    }

    #[test]
    fn forgives_another_font_and_a_shift_by_a_pixel() {
        assert_eq!(changed(|_| {}), [""; 0]);
        assert_eq!(changed(|parts| parts.iter_mut().for_each(|p| p.rect[1] += 1)), [""; 0]);
        let wider = |parts: &mut Vec<Part>| {
            for part in parts.iter_mut().filter(|part| part.is_text) {
                part.rect[2] = part.rect[2] * 115 / 100;
                part.looks.iter_mut().flatten().for_each(|look| look.coverage *= 1.3);
            }
            // A line more in the card.
            parts[0].rect[3] += 24;
            parts[3].rect[1] += 24;
        };
        assert_eq!(changed(wider), [""; 0]);
    }

    #[test]
    fn notices_what_a_user_would() {
        type Change = fn(&mut Vec<Part>);
        let changes: [(Change, &str); 10] = [
            (|parts| drop(parts.pop()), "missing: p \"A note\""),
            (|parts| parts[1].text = "Record".into(), "new: h2 \"Record\""),
            (|parts| parts.push(parts[3].clone()), "new: p"),
            (|parts| parts[2].rect[0] += 60, "its left edge is at 76 instead of 16"),
            (|parts| parts[3].rect[1] = 20, "its top is at 20"),
            (|parts| parts[0].rect[2] = 500, "500 pixels wide"),
            (|parts| parts[0].rect[3] = 120, "120 pixels high"),
            (|parts| parts[0].looks[1] = parts[0].looks[0], "dark: its background"),
            (
                |parts| {
                    parts[1].looks[0] = Some(Look {
                        ink: [244, 246, 250],
                        coverage: 0.0,
                        ..parts[1].looks[0].expect("a look")
                    })
                },
                "light: it is empty",
            ),
            (
                |parts| {
                    parts[2].looks[0] =
                        Some(Look { ink: [27, 34, 44], ..parts[2].looks[0].expect("a look") })
                },
                "its ink is",
            ),
        ];
        for (change, expected) in changes {
            let found = changed(change);
            assert!(found.iter().any(|d| d.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn overlapping_texts_are_found_and_nested_ones_are_not() {
        let mut parts = screen();
        assert_eq!(parts::overlaps(&parts), [""; 0]);
        parts[1].rect = [32, 150, 130, 30];
        assert!(parts::overlaps(&parts)[0].contains("\"Record it\" and button#take"));
    }

    #[test]
    fn text_file_keeps_everything() {
        let mut parts = screen();
        parts[3].varies = true;
        parts[3].looks = [None, None];
        parts[3].is_text = false;
        assert_eq!(parts::read(&parts::write(&parts)), parts);
    }
}
