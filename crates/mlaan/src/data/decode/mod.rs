//! From an encoded image (JPEG, PNG, WebP, BMP, GIF, TIFF, PNM) to RGB bytes.

mod chunks;
mod fault;
mod gif;
mod jpeg;
mod kind;
mod orientation;
pub(super) mod tags;
mod tiff;

use std::borrow::Cow;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::bounds::{MAX_SIDE, plausible};
use super::resize::{Region, Workspace, resize};
use super::{Image, ImageView};
use crate::Error;

pub(super) use fault::Fault;
use fault::{CUT, MAX_BYTES, undecodable};
use gif::Gif;
pub use kind::IMAGE_ENDINGS;
pub(super) use kind::{fetched, file_placeholder};
use kind::{kind, unread};
pub use orientation::Orientation;
use orientation::Turn;
use tiff::Tiff;

/// Most bytes of an encoded image.
pub(super) const MAX_FILE: u64 = crate::files::IMAGE.most;

/// Reads an image file. `short_side`: scaled down so that its shorter side has so many pixels; 0 keeps its size. It is
/// turned upright unless its orientation is ignored.
///
/// # Errors
/// When it cannot be read or is no image.
pub fn read_image(path: &Path, short_side: usize, orientation: Orientation) -> crate::Result<Image> {
    read_with_orientation(path, short_side, orientation).map(|(image, _)| image)
}

/// As [`read_image`], and whether the image has an orientation that was ignored.
///
/// # Errors
/// As [`read_image`].
pub(crate) fn read_with_orientation(
    path: &Path,
    short_side: usize,
    orientation: Orientation,
) -> crate::Result<(Image, bool)> {
    let wrong = |m: String| Error::data(path.display().to_string(), m);
    let bytes = crate::files::read(path, crate::files::IMAGE)?;
    let image = decode(&bytes, short_side, orientation).map_err(|fault| wrong(fault.message()))?;
    let ignored = !orientation.turns() && extent(&bytes, orientation).is_ok_and(|extent| extent.turned);
    Ok((image, ignored))
}

/// Decodes `encoded`, whatever its colour mode, to RGB (alpha is dropped, 16 bits become 8), into `rgb`; its height and
/// width. Of several pictures in a file it is the first.
///
/// # Errors
/// As [`decode`].
pub(super) fn decode_into(
    encoded: &[u8],
    orientation: Orientation,
    rgb: &mut Vec<u8>,
) -> Result<(usize, usize), Fault> {
    guarded(|| {
        let (sides, turn) = decode_stored(encoded, rgb)?;
        Ok(match turn.filter(|_| orientation.turns()) {
            Some(turn) => turn.apply(rgb, sides),
            None => sides,
        })
    })
}

/// What a header says of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageShape {
    /// Height and width, turned as asked.
    pub sides: (usize, usize),
    /// Whether its orientation says that it is to be turned.
    pub turned: bool,
}

/// Of an encoded image, by its header.
///
/// # Errors
/// As [`decode`].
pub(super) fn extent(encoded: &[u8], orientation: Orientation) -> Result<ImageShape, Fault> {
    guarded(|| {
        let (sides, turn) = match kind(encoded)? {
            ImageFormat::Jpeg => {
                let header = jpeg::Header::read(encoded)?;
                (jpeg::sides(encoded, &header)?, header.turn())
            }
            ImageFormat::Gif => (Gif::read(encoded)?.sides, None),
            ImageFormat::Tiff => {
                let tiff = Tiff::read(encoded)?;
                (tiff.sides, tiff.turn)
            }
            format => {
                let (bytes, turn) = looked(encoded, format)?;
                (header(&bytes, format)?, turn)
            }
        };
        let sides = turn.filter(|_| orientation.turns()).map_or(sides, |turn| turn.sides(sides));
        Ok(ImageShape { sides, turned: turn.is_some() })
    })
}

/// Bytes that reading an image takes beside what is made of it: as it is stored, as its decoder has its pixels, and as RGB
/// where that is another copy; none where its header cannot be read.
pub(crate) fn work_bytes(encoded: &[u8]) -> Option<usize> {
    let work = guarded(|| match kind(encoded)? {
        ImageFormat::Jpeg => {
            let header = jpeg::Header::read(encoded)?;
            let (height, width) = jpeg::sides(encoded, &header)?;
            Ok(height * width * jpeg::work_per_pixel(encoded, &header))
        }
        ImageFormat::Gif => {
            let gif = Gif::read(encoded)?;
            Ok(gif.work() + gif.sides.0 * gif.sides.1 * 3)
        }
        ImageFormat::Tiff => {
            let tiff = Tiff::read(encoded)?;
            Ok(tiff.work().saturating_add(tiff.sides.0 * tiff.sides.1 * 3))
        }
        format => {
            let (bytes, _) = looked(encoded, format)?;
            let (height, width) = header(&bytes, format)?;
            let decoder = reader(&bytes, format).into_decoder().map_err(|e| said(&e, format))?;
            let own = usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX);
            let copy = if decoder.color_type() == ColorType::Rgb8 { 0 } else { height * width * 3 };
            Ok(own.saturating_add(copy))
        }
    });
    work.ok().map(|work| work.saturating_add(encoded.len()))
}

/// Decodes `encoded` into an image of its own, as [`decode_into`].
///
/// When `short_side` is not 0 and the image's shorter side is longer than that, the image is scaled
/// down to it and keeps its aspect.
///
/// # Errors
/// What is wrong with the image, without its place, which only the caller knows.
pub(super) fn decode(encoded: &[u8], short_side: usize, orientation: Orientation) -> Result<Image, Fault> {
    let mut rgb = Vec::new();
    let (height, width) = decode_into(encoded, orientation, &mut rgb)?;
    Ok(shrink(Image { height, width, rgb }, short_side))
}

/// Decoders are outside code that reads hostile bytes: a panic there is one more broken image.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("the decoder failed on it; the file is damaged".into()))
}

/// The pixels as they are stored, and how they are to be turned.
fn decode_stored(encoded: &[u8], rgb: &mut Vec<u8>) -> Result<((usize, usize), Option<Turn>), Fault> {
    let format = kind(encoded)?;
    match format {
        ImageFormat::Jpeg => return jpeg::decode(encoded, rgb),
        ImageFormat::Gif => {
            let gif = Gif::read(encoded)?;
            gif.decode(rgb)?;
            return Ok((gif.sides, None));
        }
        ImageFormat::Tiff => {
            let tiff = Tiff::read(encoded)?;
            tiff.decode(rgb)?;
            return Ok((tiff.sides, tiff.turn));
        }
        _ => {}
    }
    let (bytes, turn) = looked(encoded, format)?;
    header(&bytes, format)?;
    // The image before gives its room to this one.
    *rgb = Vec::new();
    let decoded = reader(&bytes, format).decode().map_err(|e| said(&e, format))?.into_rgb8();
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    *rgb = decoded.into_raw();
    Ok(((height, width), turn))
}

/// What the decoder gets of a file that is whole, and how its picture is to be turned.
fn looked(encoded: &[u8], format: ImageFormat) -> Result<(Cow<'_, [u8]>, Option<Turn>), Fault> {
    let chunks = match format {
        ImageFormat::Png => chunks::png(encoded)?,
        ImageFormat::WebP => chunks::webp(encoded)?,
        _ => return Ok((encoded.into(), None)),
    };
    Ok((chunks.bytes, chunks.metadata.turn()))
}

/// Height and width by the header of a format that `image` decodes.
fn header(encoded: &[u8], format: ImageFormat) -> Result<(usize, usize), Fault> {
    let (width, height) = reader(encoded, format).into_dimensions().map_err(|e| said(&e, format))?;
    let sides = (height as usize, width as usize);
    plausible(encoded, sides)?;
    Ok(sides)
}

/// What `image` says of a file.
fn said(error: &ImageError, format: ImageFormat) -> Fault {
    match error {
        ImageError::Unsupported(what) => {
            let name = format.extensions_str().first().map_or_else(String::new, |e| e.to_uppercase());
            Fault::unread(format!("this kind of {name} is not read here ({what}): convert it to JPEG or PNG"))
        }
        other => undecodable(other),
    }
}

/// A reader of any format, with limits.
fn reader(encoded: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(encoded), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    reader
}

/// The image, scaled down where `short_side` is not 0 and its shorter side is longer than that.
pub(super) fn shrink(image: Image, short_side: usize) -> Image {
    if short_side == 0 || image.width.min(image.height) <= short_side {
        return image;
    }
    scaled_down(image.view(), short_side)
}

/// The sides after scaling the shorter one to `short_side` (the longer is cut to whole pixels, as
/// torchvision's `Resize` does).
pub(super) fn sides(height: usize, width: usize, short_side: usize) -> (usize, usize) {
    if height <= width {
        (short_side, (width * short_side / height).max(1))
    } else {
        ((height * short_side / width).max(1), short_side)
    }
}

fn scaled_down(image: ImageView<'_>, short_side: usize) -> Image {
    let (height, width) = sides(image.height, image.width, short_side);
    let mut rgb = vec![0; height * width * 3];
    let mut work = Workspace::default();
    resize(image, Region::all(image), (height, width), &mut rgb, &mut work);
    Image { height, width, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::DynamicImage;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_mode_becomes_rgb() {
        let rgba =
            image::RgbaImage::from_fn(6, 4, |x, y| image::Rgba([40 * x as u8, 60 * y as u8, 200, 128]));
        let rgba = DynamicImage::ImageRgba8(rgba);
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let image = decode(&encoded(&rgba, format), 0, Orientation::Exif).unwrap();
            assert_eq!((image.height, image.width), (4, 6));
            assert_eq!(image.rgb[3 * 7..3 * 7 + 3], [40, 60, 200]);
        }
        let grey = DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(3, 5, image::Luma([0x8000u16])));
        let image = decode(&encoded(&grey, ImageFormat::Png), 0, Orientation::Exif).unwrap();
        assert_eq!((image.height, image.width), (5, 3));
        assert!(image.rgb.iter().all(|v| v.abs_diff(128) <= 1));
        let jpeg = encoded(&DynamicImage::ImageLuma8(grey.to_luma8()), ImageFormat::Jpeg);
        let image = decode(&jpeg, 0, Orientation::Exif).unwrap();
        assert!(image.rgb.iter().all(|v| v.abs_diff(128) <= 2));
    }

    #[test]
    fn large_images_are_scaled_to_the_short_side() {
        let wide = DynamicImage::ImageRgb8(image::RgbImage::from_pixel(101, 50, image::Rgb([9, 8, 7])));
        let bytes = encoded(&wide, ImageFormat::Png);
        let image = decode(&bytes, 20, Orientation::Exif).unwrap();
        assert_eq!((image.height, image.width), (20, 40));
        assert_eq!(image.rgb[..3], [9, 8, 7]);
        assert_eq!(decode(&bytes, 60, Orientation::Exif).unwrap().width, 101);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        assert!(decode(b"", 0, Orientation::Exif).unwrap_err().contains("0 bytes"));
        assert!(decode(b"hello, world", 0, Orientation::Exif).unwrap_err().contains("not an image"));
        let picture = DynamicImage::ImageRgb8(image::RgbImage::from_fn(40, 40, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 6) as u8, (x ^ y) as u8])
        }));
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
            let bytes = encoded(&picture, format);
            assert!(decode(&bytes[..20], 0, Orientation::Exif).is_err(), "{format:?}");
            assert!(decode(&bytes[..bytes.len() * 3 / 4], 0, Orientation::Exif).is_err(), "{format:?}");
            for i in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[i] ^= 0x55;
                let _ = decode(&damaged, 0, Orientation::Exif);
            }
        }
    }

    #[test]
    fn what_would_take_gigabytes_once_scaled_is_refused() {
        let line = DynamicImage::ImageRgb8(image::RgbImage::new(2000, 2));
        let message = decode(&encoded(&line, ImageFormat::Png), 0, Orientation::Exif).unwrap_err();
        assert!(message.contains("2000x2"), "{message}");
        assert!(
            decode(&encoded(&line.crop_imm(0, 0, 512, 2), ImageFormat::Png), 0, Orientation::Exif).is_ok()
        );
    }

    #[test]
    fn a_header_cannot_ask_for_all_memory() {
        let small = DynamicImage::ImageRgb8(image::RgbImage::new(4, 4));
        let mut png = encoded(&small, ImageFormat::Png);
        // Width and height in the header chunk, then its checksum.
        png[16..24].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]);
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(decode(&png, 0, Orientation::Exif).unwrap_err().contains("cannot be decoded"));
        // Nor for what could be, in a file that is larger.
        png[16..24].copy_from_slice(&[0, 0, 0x1F, 0xFF, 0, 0, 0x1F, 0xFF]);
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        let mut jpeg = encoded(&small, ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1F, 0xFF, 0x1F, 0xFF]);
        for hostile in [png, jpeg] {
            for message in [
                decode(&hostile, 0, Orientation::Exif).unwrap_err(),
                extent(&hostile, Orientation::Exif).unwrap_err(),
            ] {
                assert!(message.contains("8191x8191 pixels cannot be in"), "{message}");
            }
        }
    }

    #[test]
    fn blank_pictures_are_read() {
        let blank = DynamicImage::ImageLuma8(image::GrayImage::from_pixel(1500, 1500, image::Luma([255])));
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
            assert_eq!(
                decode(&encoded(&blank, format), 10, Orientation::Exif).unwrap().width,
                10,
                "{format:?}"
            );
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for b in bytes {
            crc ^= u32::from(*b);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }
}
