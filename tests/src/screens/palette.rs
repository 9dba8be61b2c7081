//! Small PNG files: few colours, each pixel an index.

use std::{collections::HashMap, fs::File, io::BufWriter, path::Path};

use image::RgbImage;

/// Writes an image with the `count` colours that most of its pixels have, at most 256. Other colours
/// become the nearest of them.
///
/// # Panics
/// If it cannot be written.
pub fn save(image: &RgbImage, path: &Path, count: usize) {
    let palette = palette(image, count.min(256));
    let mut nearest = HashMap::new();
    let indices = image.pixels().map(|pixel| {
        *nearest.entry(pixel.0).or_insert_with(|| {
            let far = |i: &usize| square(palette[*i], pixel.0);
            (0..palette.len()).min_by_key(far).unwrap_or(0) as u8
        })
    });
    let indices: Vec<u8> = indices.collect();
    let file = BufWriter::new(File::create(path).expect("a file"));
    let mut encoder = png::Encoder::new(file, image.width(), image.height());
    encoder.set_color(png::ColorType::Indexed);
    let (depth, pack) =
        if palette.len() > 16 { (png::BitDepth::Eight, 1) } else { (png::BitDepth::Four, 2) };
    encoder.set_depth(depth);
    encoder.set_palette(palette.concat());
    encoder.set_compression(png::Compression::High);
    // Differences of indices mean nothing.
    encoder.set_filter(png::Filter::NoFilter);
    let rows = indices.chunks(image.width() as usize);
    let packed = rows.flat_map(|row| {
        row.chunks(pack)
            .map(|two| if pack == 1 { two[0] } else { two[0] << 4 | two.get(1).unwrap_or(&0) })
    });
    let packed: Vec<u8> = packed.collect();
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&packed).expect("an image");
}

/// Returns the most frequent colours, no two of which are closer than the eye sees.
fn palette(image: &RgbImage, count: usize) -> Vec<[u8; 3]> {
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    image.pixels().for_each(|pixel| *counts.entry(pixel.0).or_default() += 1);
    let mut sorted: Vec<([u8; 3], usize)> = counts.into_iter().collect();
    sorted.sort_by_key(|(colour, n)| (std::cmp::Reverse(*n), *colour));
    let mut palette: Vec<[u8; 3]> = Vec::new();
    for apart in [300, 80, 12] {
        for (colour, _) in &sorted {
            if palette.len() < count && palette.iter().all(|other| square(*other, *colour) > apart)
            {
                palette.push(*colour);
            }
        }
    }
    palette
}

fn square(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_colours_are_kept_exactly() {
        let place = tempfile::tempdir().expect("a temporary folder");
        // At most 28 times 9 colours, which fit a palette.
        for colours in [5_u8, 28] {
            let image = RgbImage::from_fn(31, 9, |x, y| {
                image::Rgb([((x + y) as u8 % colours) * 6, 255 - (x as u8 % colours) * 5, 7])
            });
            let path = place.path().join("image.png");
            save(&image, &path, 256);
            assert_eq!(image::open(&path).expect("an image").into_rgb8(), image);
        }
    }
}
