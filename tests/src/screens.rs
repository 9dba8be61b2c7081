//! Screens of a page, compared with accepted ones.
//!
//! A screen is taken in light and dark, whole, however long it is. It becomes a list of its visible
//! parts: position, size, text, and from the pixels their colours and how much of them is ink. The
//! accepted list is a text file, `NAME.txt`, beside a small image for people. The comparison forgives
//! what another font or browser changes: a line that wraps, a button that is wider, a shift by a few
//! pixels. It does not forgive a part that is missing or new, another text, another colour, or a
//! part that moved or is empty.
//!
//! | module | content |
//! |---|---|
//! | [`parts`] | page → parts |
//! | [`look`] | pixels → colours |
//! | [`compare`] | accepted and present parts → differences |
//! | [`palette`] | image → small file |

pub mod compare;
pub mod look;
pub mod palette;
pub mod parts;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use image::{Rgb, RgbImage, imageops};

use crate::browser::{Browser, View};
use parts::Part;

/// Height up to which a page is taken.
const TALLEST: u32 = 12_000;
/// Width of the small images.
const SMALL: u32 = 160;

/// Folders of screens, and what to do with them.
pub struct Gallery {
    accepted: PathBuf,
    /// Screens in full size, differences.
    written: PathBuf,
    accepts: bool,
    /// Selectors of parts whose content varies from run to run.
    varying: String,
    differences: String,
}

impl Gallery {
    /// Creates a gallery whose screens are compared with those in `accepted`, or written there if
    /// `WAKELING_SCREENS` is `accept`. All are written to `target/screens` in full size.
    ///
    /// `varying` are selectors of parts that may have another text, look and height in each run.
    pub fn new(accepted: &Path, varying: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let written = root.join("target/screens");
        for folder in [&written, accepted] {
            fs::create_dir_all(folder).expect("a folder");
        }
        Self {
            accepted: accepted.to_owned(),
            written,
            accepts: std::env::var("WAKELING_SCREENS").is_ok_and(|value| value == "accept"),
            varying: varying.join(", "),
            differences: String::new(),
        }
    }

    /// Takes a screen of the page as it is, in light and dark, and compares it. Differences are
    /// collected for [`Gallery::finish`].
    pub fn take(&mut self, page: &mut Browser, name: &str) {
        let (parts, found) = self.compare(page, name);
        let marked = self.written.join(format!("{name}-difference.png"));
        // Of an earlier run.
        let _ = fs::remove_file(&marked);
        if self.accepts {
            assert!(parts::overlaps(&parts).is_empty(), "{name}: {:#?}", parts::overlaps(&parts));
            self.accept(name, &parts);
        } else if !found.is_empty() {
            self.mark(name, &parts, &found).save(&marked).expect("an image");
            let (path, found) = (marked.display(), found.join("\n  "));
            let _ = write!(self.differences, "{name} ({path}):\n  {found}\n");
        }
    }

    /// Takes a screen, and returns its parts and what differs from the accepted one.
    pub fn compare(&self, page: &mut Browser, name: &str) -> (Vec<Part>, Vec<String>) {
        let view = page.view();
        let parts = self.parts(page, name);
        page.set_view(view);
        let mut found = parts::overlaps(&parts);
        match fs::read_to_string(self.accepted.join(format!("{name}.txt"))) {
            Ok(text) => found.extend(compare::differences(&parts::read(&text), &parts)),
            Err(_) => found.push(String::from("no such screen is accepted")),
        }
        (parts, found)
    }

    /// Makes the screen that was just taken the accepted one.
    pub fn accept(&self, name: &str, parts: &[Part]) {
        let path = self.accepted.join(name);
        fs::write(path.with_extension("txt"), parts::write(parts)).expect("a file");
        let image = self.image(name, "light");
        let (width, height) = image.dimensions();
        let small = imageops::thumbnail(&image, SMALL, (height * SMALL / width).max(1));
        palette::save(&small, &path.with_extension("png"), 16);
    }

    /// Returns whether the screens become the accepted ones.
    pub const fn accepts(&self) -> bool {
        self.accepts
    }

    /// Returns the last screen of a name in full size, "light" or "dark".
    ///
    /// # Panics
    /// If there is none.
    pub fn image(&self, name: &str, scheme: &str) -> RgbImage {
        let path = self.written.join(format!("{name}-{scheme}.png"));
        image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_rgb8()
    }

    /// Shows the whole page in both schemes, and returns its parts.
    fn parts(&self, page: &mut Browser, name: &str) -> Vec<Part> {
        // Half a pixel of rounding is no reason to scroll.
        let tall = "Math.max(innerHeight, document.documentElement.scrollHeight)";
        let mut view = View { has_reduced_motion: true, is_dark: false, ..page.view() };
        view.height = page.evaluate(tall).as_u64().map_or(view.height, |h| h as u32).min(TALLEST);
        page.set_view(view);
        page.settle();
        let mut parts = parts::of(page, &self.varying);
        for (number, scheme) in ["light", "dark"].iter().enumerate() {
            page.set_view(View { is_dark: number == 1, ..view });
            page.settle();
            page.screenshot(&self.written.join(format!("{name}-{scheme}.png")), false);
            look::measure(&mut parts, &self.image(name, scheme), number);
        }
        parts
    }

    /// Returns the accepted screen and the present one side by side, with marks at what differs.
    fn mark(&self, name: &str, parts: &[Part], found: &[String]) -> RgbImage {
        let mut image = self.image(name, "light");
        let text = found.join("\n");
        for part in parts.iter().filter(|part| text.contains(&part.label())) {
            frame(&mut image, part.rect);
        }
        let (width, height) = image.dimensions();
        let small = self.accepted.join(format!("{name}.png"));
        let before = image::open(small).map(image::DynamicImage::into_rgb8).unwrap_or_default();
        let before = match before.width() {
            0 => RgbImage::new(0, 0),
            w => {
                let height = before.height() * width / w;
                imageops::resize(&before, width, height, imageops::FilterType::Triangle)
            }
        };
        let mut both = RgbImage::new(before.width() + width, before.height().max(height));
        imageops::replace(&mut both, &before, 0, 0);
        imageops::replace(&mut both, &image, before.width().into(), 0);
        both
    }

    /// Ends the comparison.
    ///
    /// # Panics
    /// If a screen differs from the accepted one.
    pub fn finish(self) {
        assert!(
            self.differences.is_empty(),
            "screens differ from the accepted ones in {}:\n{}\nif they are right: ./x images",
            self.accepted.display(),
            self.differences
        );
    }
}

/// Draws the border of a rectangle.
fn frame(image: &mut RgbImage, [x, y, width, height]: [i32; 4]) {
    for px in x..=x + width {
        for py in y..=y + height {
            let is_inside = px - x > 2 && x + width - px > 2 && py - y > 2 && y + height - py > 2;
            if is_inside || px < 0 || py < 0 {
                continue;
            }
            if let Some(pixel) = image.get_pixel_mut_checked(px as u32, py as u32) {
                *pixel = Rgb([255, 0, 160]);
            }
        }
    }
}
