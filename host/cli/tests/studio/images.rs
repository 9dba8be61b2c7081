//! Images of the documents: screens of the sessions, so that they are as old as the accepted ones.

use std::{fs, path::Path};

use image::imageops;
use wakeling_tests::screens::{Gallery, palette};

/// Largest file of an image in the documents.
const BYTES: u64 = 150_000;

/// Screen, colour scheme, name in `docs/images`, and height in pixels that is shown.
const IMAGES: [(&str, &str, &str, u32); 4] = [
    ("wide-try", "light", "studio", 1_500),
    ("wide-try", "dark", "studio-dark", 1_500),
    ("phone-try", "light", "studio-phone", 1_100),
    ("wide-report", "light", "report", 1_500),
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images")
}

/// Writes the images whose screen was just accepted.
pub fn write(gallery: &Gallery, accepted: &str) {
    for (screen, scheme, name, height) in IMAGES {
        if screen == accepted {
            let image = gallery.image(screen, scheme);
            let height = height.min(image.height());
            let image = imageops::crop_imm(&image, 0, 0, image.width(), height).to_image();
            palette::save(&image, &folder().join(format!("{name}.png")), 128);
        }
    }
}

#[test]
fn images_of_the_documents_are_small_and_of_accepted_screens() {
    let accepted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/studio/accepted");
    for (screen, _, name, _) in IMAGES {
        let path = folder().join(format!("{name}.png"));
        let file = fs::metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(file.len() < BYTES, "{}: {} bytes", path.display(), file.len());
        assert!(accepted.join(format!("{screen}.txt")).is_file(), "{screen} is not accepted");
    }
    let all = fs::read_dir(accepted).expect("the accepted screens");
    let bytes: u64 = all.map(|e| e.expect("an entry").metadata().expect("a file").len()).sum();
    assert!(bytes < 1_500_000, "the accepted screens have {bytes} bytes");
}
