//! Decoder from image files to the bytes of a network's input.
//!
//! An image of any size is rotated as its Exif orientation requires, converted to gray (BT.709
//! luma) or RGB, and resized to the network's size with a triangle filter, which avoids aliasing. A
//! byte `p` is the `i8` value `p − 128` on the device and represents `(p − 128) / 64`.

use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, imageops};
use wakeling_shared::model::Shape;

use super::{Error, Result};
use wakeling_train::quantize::QuantParams;

/// Quantization parameters of the pixels.
pub const INPUT: QuantParams = QuantParams { scale: 1.0 / 64.0, zero_point: 0 };
/// Maximum width and height of a file, in pixels.
const LARGEST_SIDE: u32 = 16_384;
/// Maximum memory for decoding a file, in bytes.
const LARGEST_MEMORY: u64 = 512 << 20;

/// Converts a pixel to the `i8` that the device uses.
pub fn quantized(pixel: u8) -> i8 {
    (pixel ^ 0x80) as i8
}

/// Converts a pixel in 0 … 255 to the input of the float network.
pub fn value(pixel: f32) -> f32 {
    (pixel - 128.0) * INPUT.scale
}

/// Reads an image as `(height, width, channels)` bytes; 1 channel is gray, 3 are RGB.
///
/// # Errors
/// [`Error::Core`] if it cannot be read; [`Error::NotAnImage`] if it is no PNG, JPEG or BMP, is
/// damaged, or is larger than 16,384 pixels a side.
pub fn read(path: &Path, shape: Shape) -> Result<Vec<u8>> {
    let image = decode(path)?;
    let (width, height) = (u32::from(shape.width), u32::from(shape.height));
    // An image that already has the right size is not changed.
    let triangle = imageops::FilterType::Triangle;
    Ok(match shape.channels {
        1 => imageops::resize(&image.into_luma8(), width, height, triangle).into_raw(),
        _ => imageops::resize(&image.into_rgb8(), width, height, triangle).into_raw(),
    })
}

fn decode(path: &Path) -> Result<DynamicImage> {
    let refused = |problem: String| Error::NotAnImage { path: path.into(), problem };
    let reader = ImageReader::open(path).map_err(Error::io(path, "read"))?;
    let mut reader = reader.with_guessed_format().map_err(Error::io(path, "read"))?;
    if reader.format().is_none() {
        return Err(refused("not an image that can be read".into()));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(LARGEST_MEMORY);
    reader.limits(limits);
    let refuse = |e: image::ImageError| refused(format!("the image cannot be decoded: {e}"));
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    if decoder.dimensions().0 == 0 || decoder.dimensions().1 == 0 {
        return Err(refused("the image has no pixels".into()));
    }
    // A damaged Exif record does not prevent decoding of the pixels.
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(image)
}
