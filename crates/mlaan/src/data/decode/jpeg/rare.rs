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
    // Colours are converted below: it tells them by other marks than libjpeg.
    decoder.set_color_transform(ColorTransform::None);
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
    rgb.reserve_exact(height * width * 3);
    let colour = header.colour();
    for pixel in samples.chunks_exact(planes) {
        let [r, g, b] = match (colour, pixel) {
            (Colour::Grey, [y]) => [*y; 3],
            (Colour::Rgb, [r, g, b]) => [*r, *g, *b],
            (Colour::Ycc, [y, cb, cr]) => rgb_of(*y, *cb, *cr),
            (Colour::Cmyk, [c, m, y, k]) => [*c, *m, *y].map(|v| times(v, *k)),
            (Colour::Ycck, [y, cb, cr, k]) => rgb_of(*y, *cb, *cr).map(|v| times(255 - v, *k)),
            _ => return Err("the file is damaged: its colours and its components differ".into()),
        };
        rgb.extend_from_slice(&[r, g, b]);
    }
    Ok(())
}

/// A share of 255, rounded.
fn times(value: u8, share: u8) -> u8 {
    ((u32::from(value) * u32::from(share) + 127) / 255) as u8
}

/// JFIF's YCbCr, in libjpeg's fixed point.
fn rgb_of(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let fix = |x: f64| (x * 65_536.0 + 0.5) as i32;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    let r = y + ((fix(1.402) * cr + half) >> 16);
    let g = y + ((-fix(0.344_14) * cb - fix(0.714_14) * cr + half) >> 16);
    let b = y + ((fix(1.772) * cb + half) >> 16);
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}
