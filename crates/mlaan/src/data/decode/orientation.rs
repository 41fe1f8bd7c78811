//! Turning pictures upright: cameras store pixels as the sensor has them, and how they were held in metadata.

use std::borrow::Cow;
use std::io::Read;

use super::tags::{Directory, ORIENTATION};

/// Most bytes of a deflated text that are looked at.
const MOST_TEXT: u64 = 1 << 20;
/// What says how a picture is turned, in XMP.
const IN_XMP: &[u8] = b"tiff:Orientation";

/// Whether pictures are turned as their EXIF orientation says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// [`Orientation::Exif`] for folders and archives of pictures of one's own, [`Orientation::Ignore`] for sets as they
    /// are published, so that results compare.
    #[default]
    Auto,
    /// As viewers show them.
    Exif,
    /// As they are stored, which is what torchvision sees.
    Ignore,
}

impl Orientation {
    /// Whether images are turned; what `auto` leaves open is turned.
    pub(in crate::data) fn turns(self) -> bool {
        self != Orientation::Ignore
    }
}

/// How stored pixels become the picture: EXIF's orientation, 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Rows become columns, before the mirrors.
    transpose: bool,
    /// Left and right change places.
    mirror: bool,
    /// Top and bottom change places.
    flip: bool,
}

/// A text of a file's metadata.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    Plain(&'a [u8]),
    Deflated(&'a [u8]),
}

impl<'a> Text<'a> {
    /// Its bytes; of a damaged one those before.
    fn bytes(self) -> Cow<'a, [u8]> {
        match self {
            Text::Plain(bytes) => bytes.into(),
            Text::Deflated(bytes) => {
                let mut inflated = Vec::new();
                let _ = flate2::read::ZlibDecoder::new(bytes).take(MOST_TEXT).read_to_end(&mut inflated);
                inflated.into()
            }
        }
    }
}

/// The metadata of a file that may say how its picture is turned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Metadata<'a> {
    /// EXIF: a directory of tags. A TIFF file is one itself.
    pub exif: Option<&'a [u8]>,
    /// EXIF that ImageMagick and ExifTool write into a PNG's texts, as hexadecimal numbers.
    pub profile: Option<Text<'a>>,
    /// Adobe's XML.
    pub xmp: Option<Text<'a>>,
}

impl Metadata<'_> {
    /// How the picture is turned, in the order of Pillow's `exif_transpose`: EXIF, or else the profile that stands for it;
    /// where that says nothing, XMP. None where nothing is to be turned, or the number says nothing.
    pub fn turn(&self) -> Option<Turn> {
        let exif: Option<Cow<'_, [u8]>> = match (self.exif, self.profile) {
            (Some(exif), _) => Some(exif.into()),
            (None, Some(profile)) => unhexed(&profile.bytes()).map(Cow::Owned),
            (None, None) => None,
        };
        let mut tiff = exif.as_deref().unwrap_or_default();
        // PNG and WebP hold it without this head, but for some writers.
        while let Some(rest) = tiff.strip_prefix(b"Exif\0\0") {
            tiff = rest;
        }
        match Directory::first(tiff).filter(|directory| directory.has(ORIENTATION)) {
            Some(directory) => Turn::of_number(directory.number(ORIENTATION)?),
            None => Turn::of_number(in_xmp(&self.xmp?.bytes())?),
        }
    }
}

/// The bytes of a profile: three lines of head, then hexadecimal numbers.
fn unhexed(profile: &[u8]) -> Option<Vec<u8>> {
    let numbers = profile.splitn(4, |byte| *byte == b'\n').nth(3)?;
    let digits = numbers.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Option<Vec<u32>> = digits.map(|byte| char::from(*byte).to_digit(16)).collect();
    Some(digits?.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

/// The first orientation in XMP: an attribute's value, or an element's text.
fn in_xmp(xmp: &[u8]) -> Option<u32> {
    memchr::memmem::find_iter(xmp, IN_XMP).find_map(|at| {
        let rest = &xmp[at + IN_XMP.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        char::from(*value.first()?).to_digit(10)
    })
}

impl Turn {
    /// By EXIF's number.
    fn of_number(number: u32) -> Option<Self> {
        let turn = |transpose, mirror, flip| Some(Turn { transpose, mirror, flip });
        match number {
            2 => turn(false, true, false),
            3 => turn(false, true, true),
            4 => turn(false, false, true),
            5 => turn(true, false, false),
            6 => turn(true, true, false),
            7 => turn(true, true, true),
            8 => turn(true, false, true),
            _ => None,
        }
    }

    /// Height and width once turned.
    pub fn sides(self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.transpose { (width, height) } else { (height, width) }
    }

    /// The pixels, turned; `sides` are those stored. Gives those of the result.
    pub fn apply(self, rgb: &mut Vec<u8>, sides: (usize, usize)) -> (usize, usize) {
        let (height, width) = self.sides(sides);
        let mut turned = Vec::with_capacity(rgb.len());
        for y in 0..height {
            for x in 0..width {
                let y = if self.flip { height - 1 - y } else { y };
                let x = if self.mirror { width - 1 - x } else { x };
                let (row, column) = if self.transpose { (x, y) } else { (y, x) };
                let at = (row * sides.1 + column) * 3;
                turned.extend_from_slice(&rgb[at..at + 3]);
            }
        }
        *rgb = turned;
        (height, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_exif(exif: &[u8]) -> Option<Turn> {
        Metadata { exif: Some(exif), ..Metadata::default() }.turn()
    }

    #[test]
    fn all_eight_orientations_are_turned_upright() {
        let exif = |value: u8| {
            [&b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[value, 0, 0]].concat()
        };
        // What Pillow's `exif_transpose` makes of 1 2 3 over 4 5 6.
        for (value, sides, expected) in [
            (2, (2, 3), [3, 2, 1, 6, 5, 4]),
            (3, (2, 3), [6, 5, 4, 3, 2, 1]),
            (4, (2, 3), [4, 5, 6, 1, 2, 3]),
            (5, (3, 2), [1, 4, 2, 5, 3, 6]),
            (6, (3, 2), [4, 1, 5, 2, 6, 3]),
            (7, (3, 2), [6, 3, 5, 2, 4, 1]),
            (8, (3, 2), [3, 6, 2, 5, 1, 4]),
        ] {
            let turn = of_exif(&exif(value)).unwrap();
            let mut rgb: Vec<u8> = [1, 2, 3, 4, 5, 6].into_iter().flat_map(|v| [v; 3]).collect();
            assert_eq!((turn.sides((2, 3)), turn.apply(&mut rgb, (2, 3))), (sides, sides), "{value}");
            assert_eq!(rgb.iter().step_by(3).copied().collect::<Vec<_>>(), expected, "{value}");
        }
        for value in [0, 1, 9] {
            assert_eq!(of_exif(&exif(value)), None, "{value}");
        }
        assert_eq!(of_exif(b"nothing"), None);
    }

    #[test]
    fn exif_goes_before_xmp_and_its_profile_stands_for_it() {
        let exif =
            |value: u8| [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[value, 0, 0]].concat();
        let without = b"MM\0*\0\0\0\x08\0\x01\x01\x0F\0\x03\0\0\0\x01\0\x01\0\0";
        let (six, eight) = (Turn::of_number(6), Turn::of_number(8));
        let attribute = Text::Plain(b"<rdf:Description tiff:Orientation=\"8\" tiff:Orientation=\"3\"/>");
        let element = Text::Plain(b"tiff:Orientation <tiff:Orientation>8</tiff:Orientation>");
        let hex: String = exif(6).iter().map(|byte| format!("{byte:02x}\n")).collect();
        let text = format!("\nexif\n      24\n{hex}");
        let profile = Some(Text::Plain(text.as_bytes()));
        let none = Metadata::default();
        for xmp in [attribute, element].map(Some) {
            assert_eq!(Metadata { xmp, ..none }.turn(), eight);
            assert_eq!(Metadata { exif: Some(&exif(6)), xmp, ..none }.turn(), six);
            // An orientation that says nothing is one.
            assert_eq!(Metadata { exif: Some(&exif(0)), xmp, ..none }.turn(), None);
            assert_eq!(Metadata { exif: Some(without), xmp, profile }.turn(), eight);
            assert_eq!(Metadata { exif: None, xmp, profile }.turn(), six);
        }
        let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut deflated, text.as_bytes()).unwrap();
        let deflated = deflated.finish().unwrap();
        assert_eq!(Metadata { profile: Some(Text::Deflated(&deflated)), ..none }.turn(), six);
        for xmp in [
            &b"tiff:Orientation"[..],
            b"tiff:Orientation=\"",
            b"tiff:Orientation='6'",
            b"tiff:Orientation=\"x",
        ] {
            assert_eq!(Metadata { xmp: Some(Text::Plain(xmp)), ..none }.turn(), None);
        }
        let damaged = Some(Text::Plain(b"\nexif\n 2\nxyz"));
        assert_eq!(Metadata { profile: damaged, ..none }.turn(), None);
    }
}
