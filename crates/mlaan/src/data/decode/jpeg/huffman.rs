//! Writes coefficients as a sequential JPEG with the standard's own Huffman codes (T.81, K.3).

use super::super::Fault;
use super::layout::{Header, Scans};
use super::planes::{Block, Plane, Units};

/// Most blocks of a unit of several components.
const MOST_BLOCKS: usize = 10;
/// Codes of each length, and what they stand for: sizes of differences.
const MEANS: (&[u8; 16], &[u8]) =
    (&[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
/// Of runs of zeros and the sizes behind them.
const OTHERS: (&[u8; 16], &[u8]) = (
    &[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D],
    &[
        0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22,
        0x71, 0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33,
        0x62, 0x72, 0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34,
        0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55,
        0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76,
        0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96,
        0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5,
        0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4,
        0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1,
        0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
    ],
);

/// The file, and what its scans are. One scan holds all components where a unit's blocks are no more than the standard allows.
///
/// # Errors
/// Coefficients that no picture of 8 bits has; a component without a table of quantisation.
pub(super) fn write(header: &Header<'_>, planes: &[Plane]) -> Result<(Vec<u8>, Scans), Fault> {
    let mut out = vec![0xFF, 0xD8];
    if header.jfif {
        segment(&mut out, 0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    }
    if let Some(transform) = header.adobe {
        segment(&mut out, 0xEE, &[b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat());
    }
    let mut extended = false;
    for (number, plane) in (0_u8..).zip(planes) {
        let table =
            plane.quantisation.as_deref().ok_or("the file is damaged: it lacks a table of quantisation")?;
        let wide = u8::from(table.len() > 64);
        extended |= wide == 1;
        segment(&mut out, 0xDB, &[&[wide << 4 | number][..], table].concat());
    }
    let [h1, h0] = (header.height as u16).to_be_bytes();
    let [w1, w0] = (header.width as u16).to_be_bytes();
    let mut frame = vec![8, h1, h0, w1, w0, planes.len() as u8];
    for (number, c) in (0..).zip(&header.components) {
        frame.extend([c.id, c.across << 4 | c.down, number]);
    }
    segment(&mut out, if extended { 0xC1 } else { 0xC0 }, &frame);
    for (kind, (lengths, values)) in [(0, MEANS), (0x10, OTHERS)] {
        segment(&mut out, 0xC4, &[&[kind][..], lengths, values].concat());
    }
    let blocks: usize = header.components.iter().map(|c| usize::from(c.across) * usize::from(c.down)).sum();
    let all: Vec<usize> = (0..planes.len()).collect();
    let single = planes.len() == 1 || blocks <= MOST_BLOCKS;
    let mut bits = Bits { out, held: 0, count: 0 };
    for of in all.chunks(if single { all.len() } else { 1 }) {
        scan(&mut bits, header, planes, of)?;
    }
    bits.out.extend([0xFF, 0xD9]);
    let end = bits.out.len();
    Ok((bits.out, Scans { single, progressive: false, end }))
}

fn segment(out: &mut Vec<u8>, marker: u8, content: &[u8]) {
    out.extend([0xFF, marker]);
    out.extend((content.len() as u16 + 2).to_be_bytes());
    out.extend(content);
}

fn scan(bits: &mut Bits, header: &Header<'_>, planes: &[Plane], of: &[usize]) -> Result<(), Fault> {
    let mut start = vec![of.len() as u8];
    start.extend(of.iter().flat_map(|c| [header.components[*c].id, 0]));
    start.extend([0, 63, 0]);
    segment(&mut bits.out, 0xDA, &start);
    let codes = [codes(MEANS), codes(OTHERS)];
    let mut before = vec![0; of.len()];
    // Only `jpeg-decoder` reads a component alone that is written here.
    let units = match of {
        [alone] if planes.len() > 1 => Units::padded(header, &planes[*alone]),
        _ => Units::new(header, planes, of),
    };
    for unit in 0..units.count() {
        for (place, block) in units.blocks(unit) {
            bits.block(&planes[of[place]].blocks[block], &mut before[place], &codes)?;
        }
    }
    bits.end();
    Ok(())
}

/// Code and length of each value; no length where it has none.
type Codes = [(u16, u32); 256];

fn codes((lengths, values): (&[u8; 16], &[u8])) -> Codes {
    let mut codes = [(0, 0); 256];
    let (mut code, mut values) = (0, values.iter());
    for (length, count) in (1..).zip(lengths) {
        for value in values.by_ref().take(usize::from(*count)) {
            codes[usize::from(*value)] = (code, length);
            code += 1;
        }
        code <<= 1;
    }
    codes
}

/// Writes bits, the highest first.
struct Bits {
    out: Vec<u8>,
    held: u64,
    /// How many are held.
    count: u32,
}

impl Bits {
    fn block(&mut self, block: &Block, before: &mut i32, codes: &[Codes; 2]) -> Result<(), Fault> {
        let mean = i32::from(block[0]);
        self.value(&codes[0], 0, mean - *before)?;
        *before = mean;
        let mut run = 0;
        for value in &block[1..] {
            if *value == 0 {
                run += 1;
                continue;
            }
            for _ in 0..run / 16 {
                self.value(&codes[1], 0xF, 0)?;
            }
            self.value(&codes[1], run % 16, i32::from(*value))?;
            run = 0;
        }
        if run > 0 { self.value(&codes[1], 0, 0) } else { Ok(()) }
    }

    /// A run of zeros and a value behind it.
    fn value(&mut self, codes: &Codes, run: usize, value: i32) -> Result<(), Fault> {
        let size = 32 - value.unsigned_abs().leading_zeros();
        let known = if size < 16 { codes[run << 4 | size as usize] } else { (0, 0) };
        let (code, length @ 1..) = known else {
            return Err("the file is damaged: a coefficient is larger than any picture's".into());
        };
        // Of negative ones the bits of the value less one.
        let low = (value - i32::from(value < 0)) as u64 & ((1 << size) - 1);
        self.held = self.held << (length + size) | u64::from(code) << size | low;
        self.count += length + size;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.held >> self.count) as u8;
            self.out.push(byte);
            if byte == 0xFF {
                self.out.push(0);
            }
        }
        Ok(())
    }

    /// Fills up the last byte with ones.
    fn end(&mut self) {
        if self.count > 0 {
            let free = 8 - self.count;
            let byte = (self.held << free) as u8 | ((1 << free) - 1);
            self.out.push(byte);
            if byte == 0xFF {
                self.out.push(0);
            }
            self.count = 0;
        }
    }
}
