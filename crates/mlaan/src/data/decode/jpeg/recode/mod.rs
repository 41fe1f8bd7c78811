//! JPEGs that neither decoder reads as they are: those with arithmetic coding (ITU-T T.81, Annex D, F.1.4, F.2.4 and G), and
//! scans that `jpeg-decoder` takes for others. Their coefficients are decoded here and written again in one scan with
//! Huffman codes, without loss, so that the same decoders make pixels of all JPEGs.

mod arithmetic;
mod codes;
mod prefix;
mod qm;

use arithmetic::{Conditions, Decisions};
use codes::{Band, Codes, Part};
use prefix::{Prefixes, Tables};

use super::super::{CUT, Fault};
use super::huffman;
use super::layout::{Header, Scans, segment};
use super::planes::{Plane, Units, planes};

/// Decisions that may follow the last byte of a scan, whose zeros at the end are not written, besides four a block.
const MOST_BEYOND: u64 = 1 << 28;
/// Pixels that all scans together may pass over: 64 scans of the largest picture.
const MOST_PASSED: u64 = 1 << 33;

/// The same picture in a sequential file with Huffman codes, and what its scans are.
///
/// # Errors
/// A damaged file.
pub(super) fn recoded(picture: &[u8], header: &Header<'_>) -> Result<(Vec<u8>, Scans), Fault> {
    let mut decoder = Decoder {
        header,
        planes: planes(header),
        conditions: Conditions::default(),
        prefixes: Tables::default(),
        restart: 0,
        tables: [const { None }; 4],
        passed: 0,
        blocks: 0,
        beyond: 0,
    };
    let mut at = 2;
    loop {
        let (marker, content, end) = segment(picture, at)?;
        at = end;
        match marker {
            0xD9 => break,
            0xDB => decoder.quantisation(content)?,
            0xC4 => decoder.prefixes.read(content)?,
            0xCC => decoder.conditions.read(content)?,
            0xDD => {
                let [high, low, ..] = content else { return Err(CUT.into()) };
                decoder.restart = usize::from(u16::from_be_bytes([*high, *low]));
            }
            0xDA => at = decoder.scan(content, picture, end)?,
            _ => {}
        }
    }
    decoder.planes.iter_mut().for_each(Plane::pad);
    huffman::write(header, &decoder.planes)
}

struct Decoder<'a> {
    header: &'a Header<'a>,
    planes: Vec<Plane>,
    conditions: Conditions,
    prefixes: Tables,
    /// Units between restarts; 0 where there are none.
    restart: usize,
    /// Of quantisation, as they are written.
    tables: [Option<Vec<u8>>; 4],
    /// Pixels that scans passed over.
    passed: u64,
    /// Blocks that scans brought.
    blocks: u64,
    /// Decisions behind the last bytes.
    beyond: u64,
}

impl Decoder<'_> {
    /// Keeps tables of quantisation. A component has the table that is there when its first scan begins.
    fn quantisation(&mut self, mut content: &[u8]) -> Result<(), Fault> {
        while let [kind, rest @ ..] = content {
            let length = if kind >> 4 == 0 { 64 } else { 128 };
            let (table, next) = rest.split_at_checked(length).ok_or(CUT)?;
            let place = self.tables.get_mut(usize::from(kind & 15)).ok_or(DAMAGED_TABLE)?;
            *place = Some(table.to_vec());
            content = next;
        }
        Ok(())
    }

    /// Decodes a scan whose header is `content` and whose data begin at `from`; where they end.
    fn scan(&mut self, content: &[u8], picture: &[u8], from: usize) -> Result<usize, Fault> {
        let end = super::layout::entropy(picture, from)?;
        let (parts, band) = self.parts(content)?;
        self.passed += self.header.width as u64 * self.header.height as u64;
        if self.passed > MOST_PASSED {
            return Err("its scans are too many for so large a picture".into());
        }
        for part in &parts {
            let plane = &mut self.planes[part.component];
            if plane.quantisation.is_none() {
                let table = usize::from(self.header.components[part.component].quantisation);
                plane.quantisation = self.tables.get(table).cloned().flatten();
            }
            plane.padded |= parts.len() > 1 && band.first == 0;
        }
        let of: Vec<usize> = parts.iter().map(|part| part.component).collect();
        let units = Units::new(self.header, &self.planes, &of);
        let mut intervals = intervals(&picture[from..end]);
        let each = if self.restart == 0 { units.count() } else { self.restart };
        let mut first = 0;
        while first < units.count() {
            let data = intervals.next().ok_or("the file is damaged: a scan lacks its last restart")?;
            let last = (first + each).min(units.count());
            let mut codes: Box<dyn Codes> = if self.header.arithmetic() {
                Box::new(Decisions::new(data, &self.conditions))
            } else {
                Box::new(Prefixes::new(data, &self.prefixes))
            };
            for unit in first..last {
                for (place, block) in units.blocks(unit) {
                    let part = parts[place];
                    codes.block(part, place, band, &mut self.planes[part.component].blocks[block])?;
                    self.blocks += 1;
                }
                if self.beyond + codes.beyond() > MOST_BEYOND + 4 * self.blocks {
                    return Err(CUT.into());
                }
            }
            self.beyond += codes.beyond();
            first = last;
        }
        Ok(end)
    }

    /// What a scan's header says.
    fn parts(&self, content: &[u8]) -> Result<(Vec<Part>, Band), Fault> {
        let damaged = || Fault::from("the file is damaged: the header of a scan says what no scan can be");
        let (count, rest) = content.split_first().ok_or_else(damaged)?;
        let (pairs, [first, last, bits, ..]) =
            rest.split_at_checked(2 * usize::from(*count)).ok_or_else(damaged)?
        else {
            return Err(damaged());
        };
        let part = |pair: &[u8]| {
            let component = self.header.components.iter().position(|c| c.id == pair[0])?;
            Some(Part { component, dc: usize::from(pair[1] >> 4), ac: usize::from(pair[1] & 15) })
        };
        let parts: Vec<Part> = pairs.chunks_exact(2).map_while(part).collect();
        let twice = (1..parts.len()).any(|i| parts[..i].iter().any(|p| p.component == parts[i].component));
        if parts.is_empty() || parts.len() != usize::from(*count) || twice {
            return Err(damaged());
        }
        if !self.header.progressive() {
            // What such a scan says of bands is 0, 63 and 0; libjpeg takes others for it, too.
            return Ok((parts, Band { first: 0, last: 63, refined: false, shift: 0 }));
        }
        let (first, last) = (usize::from(*first), usize::from(*last));
        let band = Band { first, last, refined: bits >> 4 > 0, shift: u32::from(bits & 15) };
        let whole = if first == 0 { last == 0 } else { first <= last && last <= 63 && parts.len() == 1 };
        let refines = !band.refined || u32::from(bits >> 4) == band.shift + 1;
        if whole && refines && band.shift <= 13 { Ok((parts, band)) } else { Err(damaged()) }
    }
}

const DAMAGED_TABLE: &str = "the file is damaged: it names a table of quantisation that cannot be";

/// The data between restarts, which are markers.
fn intervals(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        let mut from = 0;
        while let Some(at) = memchr::memchr(0xFF, &data[from..]).map(|at| from + at) {
            if matches!(data.get(at + 1), Some(0xD0..=0xD7)) {
                rest = Some(&data[at + 2..]);
                return Some(&data[..at]);
            }
            from = at + 1;
        }
        rest = None;
        Some(data)
    })
}
