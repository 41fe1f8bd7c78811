//! JPEG: two decoders. `zune-jpeg` is the fast one and takes every usual file; what it decodes wrongly or refuses, told by the
//! headers, goes to `jpeg-decoder`. Neither reads arithmetic coding, nor some components in scans of their own: such files are
//! coded again first. What is not read is refused by name.

mod huffman;
mod layout;
mod planes;
mod rare;
mod recode;

use std::borrow::Cow;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::super::bounds::{MAX_SIDE, of_a_picture, plausible};
use super::{Fault, Turn, undecodable};
pub(super) use layout::Header;
use layout::{Colour, Scans};

/// Decodes to RGB into `rgb`; height and width as stored.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(encoded: &[u8], rgb: &mut Vec<u8>) -> Result<((usize, usize), Option<Turn>), Fault> {
    let header = Header::read(encoded)?;
    let sides = sides(encoded, &header)?;
    let mut scans = header.scans(encoded)?;
    // Behind its end other pictures or videos may follow.
    let mut picture = Cow::Borrowed(&encoded[..scans.end]);
    if recoded(&header, &scans) {
        let (bytes, written) = recode::recoded(&picture, &header)?;
        (picture, scans) = (Cow::Owned(bytes), written);
    }
    if usual(&header, &scans) {
        usually(&picture, sides, rgb)?;
    } else {
        rare::decode(&picture, &header, sides, rgb)?;
    }
    Ok((sides, header.turn()))
}

/// Bytes a pixel that decoding takes, at the most: three of RGB; of progressive files and of those for the slower decoder
/// also three components as planes and as coefficients of 16 bits; of those that are coded again also what is written in
/// their place.
pub(super) fn work_per_pixel(encoded: &[u8], header: &Header<'_>) -> usize {
    match header.scans(encoded) {
        Ok(scans) if recoded(header, &scans) => 15,
        Ok(scans) if !header.progressive() && usual(header, &scans) => 3,
        _ => 12,
    }
}

/// Height and width as stored, by the header.
///
/// # Errors
/// A picture of a kind that is not read, or larger than its bytes can hold.
pub(super) fn sides(encoded: &[u8], header: &Header<'_>) -> Result<(usize, usize), Fault> {
    header.readable()?;
    let sides = (header.height, header.width);
    if header.arithmetic() {
        // Its codes have no least length: a blank picture of any size takes a few bytes.
        of_a_picture(sides)?;
    } else {
        plausible(encoded, sides)?;
    }
    Ok(sides)
}

/// Whether neither decoder reads such a file as it is.
fn recoded(header: &Header<'_>, scans: &Scans) -> bool {
    header.arithmetic() || (header.between() && (scans.progressive || !scans.single))
}

/// Whether `zune-jpeg` decodes such a file as libjpeg does. It loses components of sequential files that come in scans of
/// their own, and what sampling factors other than the usual ones say; it takes colours by fewer marks.
fn usual(header: &Header<'_>, scans: &Scans) -> bool {
    let [first, others @ ..] = &header.components[..] else { return false };
    if !(scans.progressive || scans.single) || Some(header.colour()) != header.colour_by_adobe() {
        return false;
    }
    if others.is_empty() {
        return first.across != 3;
    }
    // The black of CMYK is as fine as the first.
    let chroma = &others[..2.min(others.len())];
    let least = |c: &layout::Component| (c.across, c.down) == (1, 1);
    let halves = others.iter().all(|c| c.across <= first.across && c.down <= first.down);
    match (first.across, first.down) {
        (1 | 2, 1 | 2) => halves,
        (1 | 2 | 4, 1..=4) => chroma.iter().all(least) && others.len() == 2,
        _ => false,
    }
}

/// By the fast decoder: the one that `image` uses, without its copies of the file.
fn usually(picture: &[u8], (height, width): (usize, usize), rgb: &mut Vec<u8>) -> Result<(), Fault> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(MAX_SIDE as usize)
        .set_max_height(MAX_SIDE as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(picture), options);
    decoder.decode_headers().map_err(|e| undecodable(&e))?;
    if decoder.dimensions() != Some((width, height)) {
        return Err("the file is damaged: it has two headers of a picture".into());
    }
    // Cleared: what a damaged file lacks must not show the image before.
    rgb.clear();
    rgb.resize(height * width * 3, 0);
    decoder.decode_into(rgb).map_err(|e| undecodable(&e))
}

/// How components become red, green and blue, and what the Adobe segment alone would say.
impl Header<'_> {
    /// As libjpeg tells it: by JFIF's mark, Adobe's, or the components' numbers.
    fn colour(&self) -> Colour {
        let numbers: Vec<u8> = self.components.iter().map(|c| c.id).collect();
        match (self.components.len(), self.adobe) {
            (1, _) => Colour::Grey,
            (3, _) if self.jfif => Colour::Ycc,
            (3, Some(0)) => Colour::Rgb,
            (3, None) if numbers == *b"RGB" => Colour::Rgb,
            (3, _) => Colour::Ycc,
            (_, None | Some(0)) => Colour::Cmyk,
            _ => Colour::Ycck,
        }
    }

    /// As `zune-jpeg` tells it.
    fn colour_by_adobe(&self) -> Option<Colour> {
        let rgb = self.components.iter().map(|c| c.id).eq(*b"RGB");
        match (self.components.len(), self.adobe) {
            (1, _) => Some(Colour::Grey),
            (3, _) if rgb => Some(Colour::Rgb),
            (3, Some(0)) => Some(Colour::Rgb),
            (3, None | Some(1 | 2)) => Some(Colour::Ycc),
            (4, None | Some(0)) => Some(Colour::Cmyk),
            (4, Some(2)) => Some(Colour::Ycck),
            _ => None,
        }
    }
}
