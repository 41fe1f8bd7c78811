//! GIF: its first picture, where it lies on the screen. As Pillow has it, a picture beyond the screen enlarges it, and what it leaves free
//! has the transparent colour, or the first one.

use std::borrow::Cow;

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::{CUT, Fault, MAX_BYTES, undecodable};
use crate::data::bounds::plausible;

/// What lies where.
pub(super) struct Gif<'a> {
    /// Height and width of the screen with the picture.
    pub sides: (usize, usize),
    /// Height and width of the picture alone.
    own: (usize, usize),
    /// Where it lies: rows above it, columns to its left.
    at: (usize, usize),
    /// The file for the decoder.
    bytes: Cow<'a, [u8]>,
}

impl<'a> Gif<'a> {
    /// Looks at a file up to what follows its first picture.
    ///
    /// # Errors
    /// One that ends before, or is damaged.
    pub fn read(encoded: &'a [u8]) -> Result<Self, Fault> {
        let byte = |at: usize| encoded.get(at).copied().ok_or(CUT);
        let number = |at: usize| Ok::<_, &str>(usize::from(u16::from_le_bytes([byte(at)?, byte(at + 1)?])));
        let global = byte(10)?;
        let mut at = 13 + table(global);
        loop {
            match byte(at)? {
                0x21 => at = blocks(encoded, at + 2)?,
                0x2C => break,
                0x3B => return Err("the file has no picture".into()),
                _ => return Err("it is damaged: no block begins where one should".into()),
            }
        }
        let local = byte(at + 9)?;
        let (left, top, width, height) = (number(at + 1)?, number(at + 3)?, number(at + 5)?, number(at + 7)?);
        byte(blocks(encoded, at + 11 + table(local))?)?;
        let sides = (number(8)?.max(top + height), number(6)?.max(left + width));
        plausible(encoded, sides)?;
        let bytes = if (global | local) & 0x80 == 0 { greys(encoded, global).into() } else { encoded.into() };
        Ok(Gif { sides, own: (height, width), at: (top, left), bytes })
    }

    /// Bytes that decoding takes beside RGB.
    pub fn work(&self) -> usize {
        self.own.0 * self.own.1
    }

    /// Decodes to RGB into `rgb`.
    ///
    /// # Errors
    /// A damaged file.
    pub fn decode(&self, rgb: &mut Vec<u8>) -> Result<(), Fault> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        options
            .set_memory_limit(MemoryLimit::Bytes(MAX_BYTES.try_into().unwrap_or(std::num::NonZeroU64::MAX)));
        let mut decoder = options.read_info(&self.bytes[..]).map_err(|e| undecodable(&e))?;
        let frame = decoder.next_frame_info().map_err(|e| undecodable(&e))?.ok_or(CUT)?;
        let free = usize::from(frame.transparent.unwrap_or(0));
        let (height, width) = (usize::from(frame.height), usize::from(frame.width));
        if (height, width) != self.own {
            return Err("it is damaged: it says twice where its picture lies".into());
        }
        let mut numbers = vec![0; height * width];
        decoder.read_into_buffer(&mut numbers).map_err(|e| undecodable(&e))?;
        let mut colours = [[0; 3]; 256];
        let palette = decoder.palette().map_err(|e| undecodable(&e))?;
        for (colour, known) in colours.iter_mut().zip(palette.chunks_exact(3)) {
            colour.copy_from_slice(known);
        }
        let ((top, left), of) = (self.at, self.sides.1);
        // The image before gives its room to this one.
        *rgb = colours[free].repeat(self.sides.0 * of);
        for (row, numbers) in (top..).zip(numbers.chunks_exact(width.max(1))) {
            let line = &mut rgb[(row * of + left) * 3..][..width * 3];
            for (pixel, number) in line.chunks_exact_mut(3).zip(numbers) {
                pixel.copy_from_slice(&colours[usize::from(*number)]);
            }
        }
        Ok(())
    }
}

/// Bytes of a colour table: three for each of 2, 4, ... 256 colours.
fn table(flags: u8) -> usize {
    if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 }
}

/// Where the data blocks end that begin at `at`.
fn blocks(encoded: &[u8], mut at: usize) -> Result<usize, &'static str> {
    loop {
        match encoded.get(at).ok_or(CUT)? {
            0 => return Ok(at + 1),
            length => at += usize::from(*length) + 1,
        }
    }
}

/// The file with a table of greys, which the decoder needs: without any table the numbers are greys.
fn greys(encoded: &[u8], flags: u8) -> Vec<u8> {
    let table = (0..=255).flat_map(|grey| [grey; 3]);
    let (head, rest) = encoded.split_at(13);
    let mut bytes: Vec<u8> = head.iter().copied().chain(table).chain(rest.iter().copied()).collect();
    bytes[10] = flags | 0x87;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen of these sides, and a picture of two rows of one pixel on it: the second and the first of two colours.
    fn file(screen: [u8; 2], at: [u8; 2], global: bool, transparent: Option<u8>) -> Vec<u8> {
        let start = [b"GIF89a", &[screen[1], 0, screen[0], 0, u8::from(global) << 7, 0, 0][..]].concat();
        let colours: &[u8] = if global { &[10, 20, 30, 40, 50, 60] } else { &[] };
        let control = transparent.map_or(vec![], |number| vec![0x21, 0xF9, 4, 1, 0, 0, number, 0]);
        let frame = [0x2C, at[1], 0, at[0], 0, 1, 0, 2, 0, 0];
        // Codes of three bits: clear, 1, 0, end.
        [&start[..], colours, b"\x21\xFE\x02hi\0", &control, &frame, b"\x02\x02\x0C\x0A\0", b"\x3B"].concat()
    }

    fn pixels(file: &[u8]) -> ((usize, usize), Vec<u8>) {
        let gif = Gif::read(file).unwrap_or_else(|e| panic!("{e}"));
        let mut rgb = vec![9; 99];
        gif.decode(&mut rgb).unwrap_or_else(|e| panic!("{e}"));
        (gif.sides, rgb.chunks_exact(3).map(|p| p[0]).collect())
    }

    #[test]
    fn a_gif_needs_its_first_picture_and_what_follows() {
        let whole = file([2, 1], [0, 0], true, None);
        assert_eq!(pixels(&whole), ((2, 1), vec![40, 10]));
        for length in 0..whole.len() {
            let message = Gif::read(&whole[..length]).err().map(Fault::message);
            assert_eq!(message.as_deref(), Some(CUT), "{length}");
        }
        assert!(Gif::read(&[&whole[..19], b"\x3B"].concat()).is_err());
        assert!(Gif::read(&[&whole[..19], b"\x00"].concat()).is_err());
    }

    #[test]
    fn a_picture_lies_on_its_screen_as_pillow_has_it() {
        assert_eq!(pixels(&file([3, 2], [1, 1], true, None)), ((3, 2), vec![10, 10, 10, 40, 10, 10]));
        assert_eq!(pixels(&file([3, 2], [1, 0], true, Some(1))), ((3, 2), vec![40, 40, 40, 40, 10, 40]));
        // Beyond the screen.
        assert_eq!(pixels(&file([1, 1], [1, 1], true, None)), ((3, 2), vec![10, 10, 10, 40, 10, 10]));
        // No colours: numbers are greys.
        assert_eq!(pixels(&file([2, 1], [0, 0], false, None)), ((2, 1), vec![1, 0]));
    }
}
