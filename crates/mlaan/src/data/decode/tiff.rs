//! TIFF: the first picture of a file, by the `tiff` crate, which brings samples; what they mean is told here. Kinds that are not read, or
//! whose samples would mean something else, are refused by name before anything is decoded.

use std::borrow::Cow;
use std::io::Cursor;

use ::tiff::TiffError;
use ::tiff::decoder::{Decoder, DecodingResult, Limits};

use super::orientation::{Metadata, Text};
use super::tags::Directory;
use super::{Fault, MAX_BYTES, Turn, undecodable, unread};
use crate::data::bounds::{MAX_SIDE, plausible};

/// Tags of a directory.
mod tag {
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const SAMPLES: u16 = 277;
    pub const PLANAR: u16 = 284;
    pub const COLORMAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const SUBSAMPLING: u16 = 530;
    pub const XMP: u16 = 700;
    pub const DNG_VERSION: u16 = 50706;
}

/// What samples are.
enum Colours {
    Grey,
    Rgb,
    Cmyk,
    Ycc,
    /// Numbers of these colours.
    Palette(Vec<[u8; 3]>),
}

/// A file and what its first directory says.
pub(super) struct Tiff<'a> {
    /// Height and width as stored.
    pub sides: (usize, usize),
    /// How the picture is turned upright.
    pub turn: Option<Turn>,
    colours: Colours,
    /// Of each sample.
    bits: u32,
    samples: usize,
    /// Colours are stored multiplied by the alpha behind them.
    associated: bool,
    /// The file for the decoder.
    bytes: Cow<'a, [u8]>,
    /// Height and width as the decoder sees them.
    seen: (usize, usize),
}

impl<'a> Tiff<'a> {
    /// Looks at the header.
    ///
    /// # Errors
    /// A kind that is not read; a damaged file.
    pub fn read(encoded: &'a [u8]) -> Result<Self, Fault> {
        let directory = Directory::first(encoded).ok_or("the file is damaged: it has no directory")?;
        let number = |tag, otherwise| directory.number(tag).unwrap_or(otherwise);
        if directory.has(tag::DNG_VERSION) || encoded.get(8..10) == Some(b"CR") {
            return Err(unread("a camera's raw file (TIFF)"));
        }
        let compressed = number(tag::COMPRESSION, 1);
        compression(compressed)?;
        if number(tag::FILL_ORDER, 1) == 2 {
            return Err(unread("TIFF whose bits lie in reverse (FillOrder 2)"));
        }
        let samples = number(tag::SAMPLES, 1);
        let bits = bits(&directory)?;
        let colours = colours(&directory, bits, samples, compressed)?;
        if compressed == 7 && samples == 2 {
            return Err(unread("TIFF with JPEG compression of two samples a pixel"));
        }
        let sides = (number(tag::HEIGHT, 0) as usize, number(tag::WIDTH, 0) as usize);
        plausible(encoded, sides)?;
        let mut bytes = Cow::Borrowed(encoded);
        let mut change = |tag, value| directory.change(tag, value, bytes.to_mut()).ok_or(CUT_DIRECTORY);
        if matches!(colours, Colours::Palette(_)) {
            // The decoder knows no palettes: to it numbers are greys.
            change(tag::PHOTOMETRIC, 1)?;
        }
        let mut seen = sides;
        // Of tiles beyond an edge the decoder loses its place in LZW codes, and in planes: it gets them as part of the picture.
        let tile = |tag| Some(number(tag, 0) as usize).filter(|tile| (1..=MAX_SIDE as usize).contains(tile));
        if let (Some(height), Some(width)) = (tile(tag::TILE_HEIGHT), tile(tag::TILE_WIDTH)) {
            if compressed == 5 && !sides.1.is_multiple_of(width) {
                seen.1 = sides.1.next_multiple_of(width);
                change(tag::WIDTH, seen.1 as u32)?;
            }
            if number(tag::PLANAR, 1) == 2 && !sides.0.is_multiple_of(height) {
                seen.0 = sides.0.next_multiple_of(height);
                change(tag::HEIGHT, seen.0 as u32)?;
            }
        }
        let xmp = directory.bytes(tag::XMP).map(Text::Plain);
        Ok(Tiff {
            sides,
            turn: Metadata { exif: Some(encoded), profile: None, xmp }.turn(),
            colours,
            bits,
            samples: samples as usize,
            associated: directory.number(tag::EXTRA_SAMPLES) == Some(1),
            bytes,
            seen,
        })
    }

    /// Bytes that decoding takes beside RGB.
    pub fn work(&self) -> usize {
        let samples = self.seen.0 * self.seen.1 * self.samples;
        let copy = if matches!(self.bytes, Cow::Owned(_)) { self.bytes.len() } else { 0 };
        // Narrower ones as bytes, too.
        let narrow = if self.bits == 8 { 0 } else { samples };
        samples.saturating_mul(self.bits.div_ceil(8) as usize).saturating_add(narrow).saturating_add(copy)
    }

    /// Decodes to RGB into `rgb`.
    ///
    /// # Errors
    /// A damaged file.
    pub fn decode(&self, rgb: &mut Vec<u8>) -> Result<(), Fault> {
        // The image before gives its room to this one.
        *rgb = Vec::new();
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_BYTES as usize;
        limits.intermediate_buffer_size = MAX_BYTES as usize;
        limits.ifd_value_size = MAX_BYTES as usize;
        let mut decoder = Decoder::new(Cursor::new(&self.bytes[..])).map_err(said)?.with_limits(limits);
        let (width, height) = decoder.dimensions().map_err(said)?;
        if (height as usize, width as usize) != self.seen {
            return Err("the file is damaged: it says twice how large its picture is".into());
        }
        let samples = usize::from(decoder.colortype().map_err(said)?.num_samples());
        let mut read = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut read).map_err(said)?;
        if read.as_buffer(0).as_bytes().len() < layout.complete_len {
            return Err(undecodable(&"it takes too much memory"));
        }
        let planes = layout.planes.max(1);
        let bytes = self.cropped(self.bytes_of(read, samples / planes)?, samples / planes);
        let pixels = self.sides.0 * self.sides.1;
        if samples < self.least() || bytes.len() != pixels * samples {
            return Err("the file is damaged: it has fewer samples than its header says".into());
        }
        *rgb = match (&self.colours, planes) {
            (Colours::Rgb, 1) if samples == 3 => bytes,
            (_, 1) => self.rgb(pixels, |pixel, sample| bytes[pixel * samples + sample]),
            _ => self.rgb(pixels, |pixel, sample| bytes[sample * pixels + pixel]),
        };
        Ok(())
    }

    /// Samples that a pixel needs.
    fn least(&self) -> usize {
        let colours = match self.colours {
            Colours::Grey | Colours::Palette(_) => 1,
            Colours::Rgb | Colours::Ycc => 3,
            Colours::Cmyk => 4,
        };
        colours + usize::from(self.associated && matches!(self.colours, Colours::Grey | Colours::Rgb))
    }

    /// Samples as bytes; in a row there are so many a pixel. Numbers of colours stay as they are.
    fn bytes_of(&self, read: DecodingResult, in_row: usize) -> Result<Vec<u8>, Fault> {
        match read {
            DecodingResult::U8(bytes) if self.bits == 8 => Ok(bytes),
            DecodingResult::U8(packed) if self.bits < 8 => {
                let scale = if matches!(self.colours, Colours::Palette(_)) {
                    1
                } else {
                    255 / ((1 << self.bits) - 1)
                };
                let row = self.seen.1 * in_row;
                let of_row = |packed: &[u8]| -> Vec<u8> {
                    let bits = self.bits as usize;
                    let sample = |n: usize| {
                        packed[n * bits / 8] >> (8 - bits - n * bits % 8) & ((1 << bits) - 1) as u8
                    };
                    (0..row).map(|n| sample(n) * scale as u8).collect()
                };
                let length = (row * self.bits as usize).div_ceil(8);
                Ok(packed.chunks_exact(length.max(1)).flat_map(of_row).collect())
            }
            // Of colours that are to be divided Pillow, too, takes the upper byte.
            DecodingResult::U16(words) if self.associated => {
                Ok(words.iter().map(|v| (v >> 8) as u8).collect())
            }
            DecodingResult::U16(words) => {
                Ok(words.iter().map(|v| ((u32::from(*v) + 128) / 257) as u8).collect())
            }
            DecodingResult::F32(values) => {
                let (least, most) = values.iter().fold((0_f32, 1_f32), |(a, b), v| (a.min(*v), b.max(*v)));
                let found = match (values.iter().any(|v| v.is_nan()), least < 0.0 || most > 1.0) {
                    (true, _) => "of which some are no numbers (NaN)".to_owned(),
                    (_, true) => format!("from {least} to {most}"),
                    _ => return Ok(values.iter().map(|v| (v * 255.0).round() as u8).collect()),
                };
                Err(Fault::unread(format!(
                    "TIFF of floating-point samples {found}; 0 to 1 is read: scale them, or convert it to 8 or 16 bits"
                )))
            }
            _ => Err("the file is damaged: it says twice what its samples are".into()),
        }
    }

    /// Samples of the picture alone; in a row there are so many a pixel.
    fn cropped(&self, bytes: Vec<u8>, in_row: usize) -> Vec<u8> {
        if self.seen == self.sides {
            return bytes;
        }
        let (own, row) = (self.sides.1 * in_row, self.seen.1 * in_row);
        let planes = bytes.chunks_exact(self.seen.0 * row);
        let rows = planes.flat_map(|plane| plane.chunks_exact(row).take(self.sides.0));
        rows.flat_map(|row| &row[..own]).copied().collect()
    }

    /// Pixels by their samples.
    fn rgb(&self, pixels: usize, sample: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        let three = |pixel: usize| [0, 1, 2].map(|n| sample(pixel, n));
        let pixel = |pixel: usize| match &self.colours {
            Colours::Grey if self.associated => [divided(sample(pixel, 0), sample(pixel, 1)); 3],
            Colours::Grey => [sample(pixel, 0); 3],
            Colours::Rgb if self.associated => three(pixel).map(|v| divided(v, sample(pixel, 3))),
            Colours::Rgb => three(pixel),
            Colours::Cmyk => {
                let light = 255 - sample(pixel, 3);
                three(pixel).map(|ink| light - share(ink, light))
            }
            Colours::Ycc => ycc(three(pixel)),
            Colours::Palette(colours) => colours[usize::from(sample(pixel, 0)).min(colours.len() - 1)],
        };
        (0..pixels).flat_map(pixel).collect()
    }
}

const CUT_DIRECTORY: &str = "the file is damaged: its directory is cut off";

/// Refuses ways of compression that are not read.
fn compression(number: u32) -> Result<(), Fault> {
    let name = match number {
        1 | 4 | 5 | 7 | 8 | 32773 | 32946 | 50000 => return Ok(()),
        2 => "CCITT's Huffman compression",
        3 => "CCITT Group 3 compression",
        6 => "JPEG compression of the old kind",
        33003 | 33005 | 34712 => "JPEG 2000 compression",
        34887 => "LERC compression",
        34925 => "LZMA compression",
        34933 => "PNG compression",
        50001 => "WebP compression",
        50002 | 52546 => "JPEG XL compression",
        other => return Err(unread(&format!("TIFF with compression {other}"))),
    };
    Err(unread(&format!("TIFF with {name}")))
}

/// What samples mean, which have so many bits.
fn colours(directory: &Directory<'_>, bits: u32, samples: u32, compressed: u32) -> Result<Colours, Fault> {
    let photometric = directory
        .number(tag::PHOTOMETRIC)
        .ok_or("the file is damaged: it does not say what its samples mean (PhotometricInterpretation)")?;
    let colours = match photometric {
        0 if samples > 1 => return Err(unread("TIFF of inverted gray with further samples")),
        0 | 1 => Colours::Grey,
        2 => Colours::Rgb,
        3 if matches!(bits, 1 | 2 | 4 | 8) => Colours::Palette(palette(directory, bits)?),
        5 => Colours::Cmyk,
        6 => {
            let whole = directory.numbers(tag::SUBSAMPLING).is_some_and(|by| by == [1, 1]);
            if compressed != 7 && !whole {
                return Err(unread("TIFF of subsampled YCbCr without JPEG compression"));
            }
            Colours::Ycc
        }
        8..=10 => return Err(unread("TIFF in CIELAB colors")),
        32803 | 34892 => return Err(unread("a camera's raw file (TIFF)")),
        other => return Err(unread(&format!("TIFF with photometric interpretation {other}"))),
    };
    let read = matches!(
        (&colours, bits),
        (_, 8)
            | (Colours::Grey | Colours::Palette(_), 1 | 2 | 4)
            | (Colours::Grey | Colours::Rgb, 16 | 32)
            | (Colours::Cmyk | Colours::Ycc, 16)
    );
    if read { Ok(colours) } else { Err(unread(&format!("TIFF with {bits} bits a sample of such colors"))) }
}

/// Bits of a sample, which all have alike, as whole numbers or, of 32 bits, as floating-point ones.
fn bits(directory: &Directory<'_>) -> Result<u32, Fault> {
    let of = |tag| match directory.number(tag) {
        Some(_) => {
            directory.numbers(tag).or_else(|| directory.number(tag).map(|n| vec![n])).unwrap_or_default()
        }
        None => vec![1],
    };
    let (bits, formats) = (of(tag::BITS), of(tag::SAMPLE_FORMAT));
    let alike = |numbers: &[u32]| numbers.iter().all(|n| *n == numbers[0]);
    let ([first, ..], [format, ..]) = (&bits[..], &formats[..]) else {
        return Err(CUT_DIRECTORY.into());
    };
    if !alike(&bits) || !alike(&formats) {
        return Err(unread("TIFF whose samples differ in kind"));
    }
    match (format, first) {
        // What is said to be undefined is a whole number to everybody.
        (1 | 4, 1 | 2 | 4 | 8 | 16) | (3, 32) => Ok(*first),
        (1 | 4, bits) => Err(unread(&format!("TIFF with {bits} bits a sample"))),
        (2, bits) => Err(unread(&format!("TIFF of signed samples ({bits} bits)"))),
        (3, bits) => Err(unread(&format!("TIFF of floating-point samples of {bits} bits"))),
        _ => Err(unread("TIFF of complex samples")),
    }
}

/// The colours of a palette: all red values, all green ones, all blue ones, of 16 bits.
fn palette(directory: &Directory<'_>, bits: u32) -> Result<Vec<[u8; 3]>, Fault> {
    let values = directory.numbers(tag::COLORMAP).unwrap_or_default();
    let count = 1 << bits;
    if values.len() < 3 * count {
        return Err("the file is damaged: it lacks colors of its palette".into());
    }
    Ok((0..count).map(|n| [0, 1, 2].map(|c| (values[c * count + n] >> 8) as u8)).collect())
}

/// What the crate says of a file.
fn said(error: TiffError) -> Fault {
    match error {
        TiffError::UnsupportedError(what) => unread(&format!("TIFF of this kind ({what})")),
        other => undecodable(&other),
    }
}

/// A colour that was multiplied by its alpha; black where nothing is to be seen.
fn divided(value: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        _ => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// A share of 255, rounded as Pillow does.
fn share(value: u8, of: u8) -> u8 {
    let product = u32::from(value) * u32::from(of) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// From YCbCr by libjpeg's whole numbers.
fn ycc([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    let red = y + ((91_881 * cr + half) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + half) >> 16);
    let blue = y + ((116_130 * cb + half) >> 16);
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}
