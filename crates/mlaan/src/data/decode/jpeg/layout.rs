//! What lies where in a JPEG: its header, its scans and its own end, found without decoding.

use super::super::orientation::{Metadata, Text};
use super::super::{CUT, Fault, Turn, unread};

/// Most scans of a picture: each passes over all of it again. Encoders make about ten, by hand some dozens.
const MOST_SCANS: usize = 200;
/// What a segment of XMP begins with.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// What comes before the first scan.
#[derive(Debug, Default)]
pub(in crate::data::decode) struct Header<'a> {
    /// The marker of the frame: how it is coded.
    process: u8,
    /// Bits of a sample.
    bits: u8,
    /// Pixels per column.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// In the frame's order.
    pub components: Vec<Component>,
    /// What an Adobe segment says of colours.
    pub adobe: Option<u8>,
    /// Whether it says that it is JFIF, whose colours are YCbCr.
    pub jfif: bool,
    metadata: Metadata<'a>,
    /// Where the first scan begins.
    scan: usize,
}

/// A component and how finely it is sampled.
#[derive(Clone, Copy, Debug)]
pub(in crate::data::decode) struct Component {
    /// Its number in the file.
    pub id: u8,
    /// Blocks of a unit next to each other.
    pub across: u8,
    /// Blocks of a unit below each other.
    pub down: u8,
    /// Its table of quantisation.
    pub quantisation: u8,
}

/// What components are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    Rgb,
    Ycc,
    /// Inverted, as Adobe writes it and everybody reads it.
    Cmyk,
    /// As CMYK, the first three as YCbCr.
    Ycck,
}

/// What the scans are.
#[derive(Debug)]
pub(super) struct Scans {
    /// Whether one holds all components, and there is no other.
    pub single: bool,
    /// Whether they refine the picture one by one.
    pub progressive: bool,
    /// Where the picture ends.
    pub end: usize,
}

/// The next segment from `at` on: its marker, its content, and where it ends.
pub(super) fn segment(encoded: &[u8], mut at: usize) -> Result<(u8, &[u8], usize), &'static str> {
    // Bytes that belong to nothing are passed over, as libjpeg does.
    loop {
        at += encoded.get(at..).and_then(|rest| memchr::memchr(0xFF, rest)).ok_or(CUT)?;
        match encoded.get(at + 1).ok_or(CUT)? {
            0xFF => at += 1,
            0 => at += 2,
            _ => break,
        }
    }
    let marker = encoded[at + 1];
    if matches!(marker, 0x01 | 0xD0..=0xD9) {
        return Ok((marker, &[], at + 2));
    }
    let length = encoded.get(at + 2..at + 4).ok_or(CUT)?;
    let end = at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if end < at + 4 {
        return Err("the file is damaged: a segment is shorter than its own length");
    }
    Ok((marker, encoded.get(at + 4..end).ok_or(CUT)?, end))
}

impl<'a> Header<'a> {
    /// Reads all up to the first scan.
    ///
    /// # Errors
    /// A file that ends before, or is damaged.
    pub fn read(encoded: &'a [u8]) -> Result<Self, Fault> {
        let mut header = Header::default();
        let mut at = 2;
        loop {
            let (marker, content, end) = segment(encoded, at)?;
            match marker {
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 | 0xDE => {
                    header.frame(marker, content)?
                }
                0xD9 => return Err("the file ends before a picture begins".into()),
                0xDA if header.process == 0 => {
                    return Err("the file is damaged: it lacks the picture's header".into());
                }
                0xDA => break header.scan = at,
                0xE0 if content.starts_with(b"JFIF\0") => header.jfif = true,
                0xE1 if content.starts_with(b"Exif\0\0") => {
                    header.metadata.exif = header.metadata.exif.or(Some(content));
                }
                0xE1 if content.starts_with(XMP) => {
                    header.metadata.xmp = Some(Text::Plain(&content[XMP.len()..]));
                }
                0xEE if content.starts_with(b"Adobe") && content.len() >= 12 => {
                    header.adobe = Some(content[11])
                }
                _ => {}
            }
            at = end;
        }
        Ok(header)
    }

    fn frame(&mut self, marker: u8, content: &[u8]) -> Result<(), Fault> {
        if self.process == 0xDE {
            // Of a hierarchical picture; what kind it is is known.
            return Ok(());
        }
        if self.process != 0 {
            return Err("the file is damaged: it has two headers of a picture".into());
        }
        let damaged =
            || Fault::from("the file is damaged: the picture's header has another length than it says");
        let [bits, h1, h0, w1, w0, count, components @ ..] = content else { return Err(damaged()) };
        if components.len() < usize::from(*count) * 3 {
            return Err(damaged());
        }
        (self.process, self.bits) = (marker, *bits);
        (self.height, self.width) =
            (usize::from(u16::from_be_bytes([*h1, *h0])), usize::from(u16::from_be_bytes([*w1, *w0])));
        self.components = components
            .chunks_exact(3)
            .take(usize::from(*count))
            .map(|c| Component { id: c[0], across: c[1] >> 4, down: c[1] & 15, quantisation: c[2] })
            .collect();
        Ok(())
    }

    /// Whether it refines the picture scan by scan.
    pub(super) fn progressive(&self) -> bool {
        matches!(self.process, 0xC2 | 0xCA)
    }

    /// Whether its codes are arithmetic ones.
    pub(super) fn arithmetic(&self) -> bool {
        matches!(self.process, 0xC9 | 0xCA)
    }

    /// Whether a component is sampled more than once a unit and yet less than another. Where it is alone in a scan,
    /// `jpeg-decoder` takes more blocks for its own than the scan has, and puts all that follow in wrong places.
    pub(super) fn between(&self) -> bool {
        let any = |of: fn(&Component) -> u8| {
            let most = self.components.iter().map(of).max();
            self.components.iter().map(of).any(|factor| factor > 1 && Some(factor) < most)
        };
        any(|c| c.across) || any(|c| c.down)
    }

    /// How the picture is turned upright.
    pub fn turn(&self) -> Option<Turn> {
        self.metadata.turn()
    }

    /// Refuses what is not read, by its name.
    ///
    /// # Errors
    /// Such a file; one that is damaged.
    pub fn readable(&self) -> Result<(), Fault> {
        match self.process {
            0xC0..=0xC2 | 0xC9 | 0xCA => {}
            0xC3 | 0xC7 | 0xCB | 0xCF => return Err(unread("lossless JPEG")),
            0xF7 => return Err(unread("JPEG-LS")),
            _ => return Err(unread("hierarchical JPEG")),
        }
        if self.bits != 8 {
            return Err(unread(&format!("JPEG with {} bits a sample", self.bits)));
        }
        if self.height == 0 && self.width > 0 {
            return Err(unread("JPEG whose height follows behind its pixels (DNL)"));
        }
        if !matches!(self.components.len(), 1 | 3 | 4) {
            return Err(unread(&format!("JPEG with {} components", self.components.len())));
        }
        if self.components.iter().any(|c| !matches!((c.across, c.down), (1..=4, 1..=4))) {
            return Err("the file is damaged: sampling factors are 1 to 4".into());
        }
        Ok(())
    }

    /// Passes over the scans to the picture's own end.
    ///
    /// # Errors
    /// A file that ends before, or lacks a component.
    pub(super) fn scans(&self, encoded: &[u8]) -> Result<Scans, Fault> {
        let (mut at, mut count, mut single) = (self.scan, 0, false);
        let mut seen = vec![false; self.components.len()];
        loop {
            let (marker, content, end) = segment(encoded, at)?;
            at = end;
            match marker {
                0xD9 => break,
                0xD8 => return Err(CUT.into()),
                0xDA => {
                    count += 1;
                    let in_scan = usize::from(*content.first().unwrap_or(&0));
                    let ids = content.get(1..1 + 2 * in_scan).unwrap_or_default();
                    let first = content.get(1 + 2 * in_scan).copied();
                    single = count == 1 && in_scan == self.components.len();
                    for id in ids.iter().step_by(2) {
                        let places = self.components.iter().map(|c| c.id == *id && first == Some(0));
                        seen.iter_mut().zip(places).for_each(|(seen, here)| *seen |= here);
                    }
                    at = entropy(encoded, end)?;
                }
                _ => {}
            }
            if count > MOST_SCANS {
                return Err(format!("more than {MOST_SCANS} scans are too many for a picture").into());
            }
        }
        match seen.iter().all(|s| *s) {
            true => Ok(Scans { single, progressive: self.progressive(), end: at }),
            false => Err("the file lacks a component of the picture: it is damaged".into()),
        }
    }
}

/// Where the entropy-coded data end that begin at `at`: at the next marker that ends some.
pub(super) fn entropy(encoded: &[u8], mut at: usize) -> Result<usize, &'static str> {
    loop {
        at += encoded.get(at..).and_then(|rest| memchr::memchr(0xFF, rest)).ok_or(CUT)?;
        match encoded.get(at + 1).ok_or(CUT)? {
            0xFF => at += 1,
            0xC0..=0xC7 | 0xC9..=0xCF | 0xD8..=0xEF | 0xFE => return Ok(at),
            // A stuffed byte, a restart, or damage, which the decoder sees.
            _ => at += 2,
        }
    }
}
