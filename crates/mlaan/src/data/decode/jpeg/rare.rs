//! JPEGs of rare layouts, by `jpeg-decoder`: it keeps all coefficients, so scans may come as they like, and interpolates
//! whole sampling factors as libjpeg does. It is slower.

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::super::{Fault, undecodable};
use super::Colour;
use super::layout::Header;

/// Decodes to RGB into `rgb`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(
    picture: &[u8],
    header: &Header<'_>,
    (height, width): (usize, usize),
    rgb: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut decoder = Decoder::new(picture);
    // It tells colours by other marks than libjpeg.
    decoder.set_color_transform(match header.colour() {
        Colour::Grey => ColorTransform::Grayscale,
        Colour::Rgb => ColorTransform::RGB,
        Colour::Ycc => ColorTransform::YCbCr,
        Colour::Cmyk => ColorTransform::CMYK,
        Colour::Ycck => ColorTransform::YCCK,
    });
    decoder.set_max_decoding_buffer_size(height * width * header.components.len());
    let samples = decoder.decode().map_err(|e| match e {
        jpeg_decoder::Error::Unsupported(what) => Fault::unread(format!(
            "this kind of JPEG is not read here ({what:?}): convert it to an ordinary one"
        )),
        other => undecodable(&other),
    })?;
    let info = decoder.info().filter(|i| (usize::from(i.height), usize::from(i.width)) == (height, width));
    let planes = match info.map(|i| i.pixel_format) {
        Some(PixelFormat::L8) => 1,
        Some(PixelFormat::RGB24) => 3,
        Some(PixelFormat::CMYK32) => 4,
        _ => 0,
    };
    if planes != header.components.len() || samples.len() != height * width * planes {
        return Err("the file is damaged: its header and its pixels differ".into());
    }
    rgb.clear();
    match planes {
        1 => rgb.extend(samples.iter().flat_map(|v| [*v; 3])),
        3 => *rgb = samples,
        // Inks are stored inverted, as Adobe does; here they come inverted once more.
        _ => rgb.extend(
            samples.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]].map(|v| times(255 - v, 255 - p[3]))),
        ),
    }
    Ok(())
}

/// A share of 255, rounded.
fn times(value: u8, share: u8) -> u8 {
    ((u32::from(value) * u32::from(share) + 127) / 255) as u8
}
