//! A picture in a file, made into the bytes that a network sees.
//!
//! Whatever its size, it is stretched to the network's (a triangle as wide as a pixel of the result,
//! so that nothing aliases), turned as its Exif says, and made gray (BT.709 luma) or RGB. A byte `p`
//! of it is the `i8` `p − 128` on the device, which stands for `(p − 128) / 64`.

use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, imageops};
use wakeling_shared::artifact::Shape;

use crate::{Error, Result, quantize::Code};

/// How the pixels of a picture are coded.
pub const INPUT: Code = Code { scale: 1.0 / 64.0, zero_point: 0 };
/// Wider or higher pictures are refused, pixels.
const LARGEST_SIDE: u32 = 16_384;
/// Pictures that take more memory while they are decoded are refused, bytes.
const LARGEST_MEMORY: u64 = 512 << 20;

/// The `i8` that a byte of a picture is on the device.
pub fn quantized(pixel: u8) -> i8 {
    (pixel ^ 0x80) as i8
}

/// What a byte of a picture is to the float network; `pixel` in 0 … 255.
pub fn value(pixel: f32) -> f32 {
    (pixel - 128.0) * INPUT.scale
}

/// Reads a picture as `(height, width, channels)` bytes; 1 channel is gray, 3 are RGB.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no PNG, JPEG or BMP, is damaged, or
/// is larger than 16,384 pixels a side.
pub fn read(path: &Path, shape: Shape) -> Result<Vec<u8>> {
    let picture = decode(path)?;
    let (width, height) = (u32::from(shape.width), u32::from(shape.height));
    // Of the same size, nothing is changed.
    let triangle = imageops::FilterType::Triangle;
    Ok(match shape.channels {
        1 => imageops::resize(&picture.into_luma8(), width, height, triangle).into_raw(),
        _ => imageops::resize(&picture.into_rgb8(), width, height, triangle).into_raw(),
    })
}

fn decode(path: &Path) -> Result<DynamicImage> {
    let refused = |problem: String| {
        Error::input(path, problem, "give a whole PNG, JPEG or BMP file, or remove this one")
    };
    let reader = ImageReader::open(path).map_err(Error::io(path, "read"))?;
    let mut reader = reader.with_guessed_format().map_err(Error::io(path, "read"))?;
    if reader.format().is_none() {
        return Err(refused("not a picture that can be read".into()));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(LARGEST_MEMORY);
    reader.limits(limits);
    let refuse = |e: image::ImageError| refused(format!("the picture cannot be decoded: {e}"));
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    if decoder.dimensions().0 == 0 || decoder.dimensions().1 == 0 {
        return Err(refused("the picture has no pixels".into()));
    }
    // A damaged Exif is no reason to refuse what can be seen.
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(picture)
}
