//! Colours of parts, from the pixels of a screen.

use std::collections::HashMap;

use image::RgbImage;

use super::parts::{Look, Part};

/// Pixels of a part that are looked at, about.
const SAMPLES: usize = 20_000;
/// Distance of two colours that are different to the eye, of 255.
pub const DISTINCT: u8 = 40;

/// Returns the largest difference of a colour channel.
pub fn distance(a: [u8; 3], b: [u8; 3]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0)
}

/// Measures the looks of all parts on a screen in colour scheme `scheme`. Pixels of a part's own
/// parts do not count.
pub fn measure(parts: &mut [Part], screen: &RgbImage, scheme: usize) {
    for i in 0..parts.len() {
        let inner: Vec<[i32; 4]> =
            parts.iter().filter(|part| part.parent == Some(i)).map(|part| part.rect).collect();
        parts[i].looks[scheme] = look(screen, parts[i].rect, &inner);
    }
}

fn look(
    screen: &RgbImage,
    [left, top, width, height]: [i32; 4],
    inner: &[[i32; 4]],
) -> Option<Look> {
    let (right, bottom) = (screen.width() as i32, screen.height() as i32);
    let (columns, rows) =
        (left.max(0)..(left + width).min(right), top.max(0)..(top + height).min(bottom));
    let area = columns.len() * rows.len();
    // An odd step does not follow the columns.
    let step = (area / SAMPLES).max(1) | 1;
    let mut colours: HashMap<[u8; 3], usize> = HashMap::new();
    let mut count = 0;
    for n in (0..area).step_by(step) {
        let x = columns.start + (n % columns.len()) as i32;
        let y = rows.start + (n / columns.len()) as i32;
        let is_inner = inner
            .iter()
            .any(|[l, t, w, h]| (*l - 1..=l + w).contains(&x) && (*t - 1..=t + h).contains(&y));
        if !is_inner {
            *colours.entry(screen.get_pixel(x as u32, y as u32).0).or_default() += 1;
            count += 1;
        }
    }
    let back = *colours.iter().max_by_key(|(colour, n)| (**n, **colour))?.0;
    let farthest = colours.keys().map(|colour| distance(*colour, back)).max()?;
    // The mean of the extreme: the colour of letters, whose edges are between it and the background.
    let extreme: Vec<(&[u8; 3], &usize)> = colours
        .iter()
        .filter(|(c, _)| distance(**c, back) >= farthest.saturating_sub(16))
        .collect();
    let total: usize = extreme.iter().map(|(_, n)| **n).sum();
    let ink = std::array::from_fn(|channel| {
        (extreme.iter().map(|(c, n)| usize::from(c[channel]) * **n).sum::<usize>() / total.max(1))
            as u8
    });
    let distinct: usize =
        colours.iter().filter(|(c, _)| distance(**c, back) > DISTINCT).map(|(_, n)| *n).sum();
    Some(Look { back, ink, coverage: 100.0 * distinct as f64 / f64::from(count) })
}
