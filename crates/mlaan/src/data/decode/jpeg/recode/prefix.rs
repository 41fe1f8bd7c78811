//! Coefficients by Huffman codes (T.81, F.2.2, G.2): in all scans that a picture may come in.

use super::super::super::{CUT, Fault};
use super::super::planes::Block;
use super::codes::{BEYOND, Band, Codes, Part};

/// The codes of a table, by their length.
#[derive(Clone)]
struct Table {
    /// Per length: what the codes of this length and shorter ones lie below, as 16 bits; and by how much the place of a
    /// value differs from its code.
    lengths: [(u32, i32); 16],
    values: Vec<u8>,
}

/// Tables of first coefficients and of the others.
#[derive(Default)]
pub(super) struct Tables {
    means: [Option<Table>; 4],
    others: [Option<Table>; 4],
}

impl Tables {
    /// Of a segment that defines some.
    ///
    /// # Errors
    /// A damaged one.
    pub fn read(&mut self, mut content: &[u8]) -> Result<(), Fault> {
        while let Some((kind, rest)) = content.split_first() {
            let (counts, rest) = rest.split_at_checked(16).ok_or(CUT)?;
            let count = counts.iter().map(|n| usize::from(*n)).sum();
            let (values, rest) = rest.split_at_checked(count).ok_or(CUT)?;
            let tables = match kind >> 4 {
                0 => &mut self.means,
                1 => &mut self.others,
                _ => return Err(DAMAGED.into()),
            };
            *tables.get_mut(usize::from(kind & 15)).ok_or(DAMAGED)? = Some(Table::new(counts, values)?);
            content = rest;
        }
        Ok(())
    }
}

const DAMAGED: &str = "the file is damaged: it defines Huffman codes that cannot be";
const NONE: &str = "the file is damaged: it lacks a table of Huffman codes";

impl Table {
    fn new(counts: &[u8], values: &[u8]) -> Result<Self, Fault> {
        let (mut code, mut at, mut lengths) = (0_u32, 0_i32, [(0, 0); 16]);
        for (length, (count, known)) in (1..).zip(counts.iter().zip(&mut lengths)) {
            let difference = at - code as i32;
            code += u32::from(*count);
            at += i32::from(*count);
            if code > 1 << length {
                return Err(DAMAGED.into());
            }
            *known = (code << (16 - length), difference);
            code <<= 1;
        }
        Ok(Table { lengths, values: values.to_vec() })
    }
}

/// The bits of a restart interval.
struct Bits<'a> {
    data: &'a [u8],
    held: u64,
    /// How many are held.
    count: u32,
}

impl Bits<'_> {
    /// The next 16, filled up with zeros behind the last.
    fn next(&mut self) -> u32 {
        while self.count < 16 {
            let (byte, rest) = match self.data {
                // A byte of ones is followed by zeros, by which it is no marker.
                [0xFF, 0, rest @ ..] => (0xFF, rest),
                [0xFF, ..] | [] => return (self.held << (16 - self.count)) as u32 & 0xFFFF,
                [byte, rest @ ..] => (*byte, rest),
            };
            self.data = rest;
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
        (self.held >> (self.count - 16)) as u32 & 0xFFFF
    }

    /// So many bits, 16 at the most.
    fn take(&mut self, count: u32) -> Result<u32, Fault> {
        let next = self.next();
        self.count = self.count.checked_sub(count).ok_or(CUT)?;
        Ok(next >> (16 - count))
    }

    /// What the next code stands for.
    fn value(&mut self, table: &Table) -> Result<u8, Fault> {
        let next = self.next();
        let found = (1..).zip(&table.lengths).find(|(_, (below, _))| next < *below);
        let (length, (_, difference)) =
            found.ok_or("the file is damaged: it has a Huffman code of no value")?;
        let place = self.take(length)? as i32 + difference;
        usize::try_from(place).ok().and_then(|place| table.values.get(place)).copied().ok_or(DAMAGED.into())
    }

    /// A number of so many bits: with its highest bit unset it is a negative one.
    fn number(&mut self, size: u32) -> Result<i32, Fault> {
        let value = self.take(size)? as i32;
        Ok(if size > 0 && value >> (size - 1) == 0 { value + 1 - (1 << size) } else { value })
    }
}

/// The codes of a restart interval, and what was decoded before.
pub(super) struct Prefixes<'a> {
    bits: Bits<'a>,
    tables: &'a Tables,
    /// Per component of the scan: the first coefficient of its block before.
    before: [i32; 4],
    /// Blocks of which nothing more is coded.
    ended: u32,
}

impl<'a> Prefixes<'a> {
    /// As the interval begins.
    pub fn new(data: &'a [u8], tables: &'a Tables) -> Self {
        Prefixes { bits: Bits { data, held: 0, count: 0 }, tables, before: [0; 4], ended: 0 }
    }

    fn mean(&mut self, table: usize, place: usize, band: Band, block: &mut Block) -> Result<(), Fault> {
        if band.refined {
            block[0] |= (self.bits.take(1)? as i16) << band.shift;
            return Ok(());
        }
        let table = self.tables.means.get(table).and_then(Option::as_ref).ok_or(NONE)?;
        let size = self.bits.value(table)?;
        if size > 15 {
            return Err("the file is damaged: a coefficient has too many bits".into());
        }
        let before = &mut self.before[place];
        *before = before.wrapping_add(self.bits.number(u32::from(size))?);
        // Of a damaged file there may be too many bits.
        block[0] = (*before << band.shift) as i16;
        Ok(())
    }

    /// The other coefficients, as they are first brought.
    fn others(&mut self, table: &Table, band: Band, block: &mut Block) -> Result<(), Fault> {
        let mut k = band.first.max(1);
        while self.ended == 0 && k <= band.last {
            let code = self.bits.value(table)?;
            let (run, size) = (usize::from(code >> 4), u32::from(code & 15));
            match size {
                0 if run == 15 => k += 16,
                0 => self.end(run as u32)?,
                _ => {
                    k += run;
                    if k > band.last {
                        return Err(BEYOND.into());
                    }
                    block[k] = (self.bits.number(size)? << band.shift) as i16;
                    k += 1;
                }
            }
        }
        self.ended = self.ended.saturating_sub(1);
        Ok(())
    }

    /// Adds a bit to each of the others that is known, and brings those that begin with this bit.
    fn refine(&mut self, table: &Table, band: Band, block: &mut Block) -> Result<(), Fault> {
        let bit = 1_i16 << band.shift;
        let mut k = band.first;
        while self.ended == 0 && k <= band.last {
            let code = self.bits.value(table)?;
            let (run, size) = (usize::from(code >> 4), code & 15);
            if size == 0 && run < 15 {
                self.end(run as u32)?;
                break;
            }
            let new = match size {
                0 => 0,
                _ if self.bits.take(1)? == 1 => bit,
                _ => -bit,
            };
            k = self.known(k..band.last + 1, Some(run), bit, block)?;
            if size > 0 {
                *block[..=band.last].get_mut(k).ok_or(BEYOND)? = new;
            }
            k += 1;
        }
        if self.ended > 0 {
            self.known(k..band.last + 1, None, bit, block)?;
            self.ended -= 1;
        }
        Ok(())
    }

    /// Adds a bit to the known ones up to the zero behind so many zeros; where that is.
    fn known(
        &mut self,
        range: std::ops::Range<usize>,
        mut zeros: Option<usize>,
        bit: i16,
        block: &mut Block,
    ) -> Result<usize, Fault> {
        let end = range.end;
        for k in range {
            let value = &mut block[k];
            if *value == 0 {
                match &mut zeros {
                    Some(0) => return Ok(k),
                    Some(zeros) => *zeros -= 1,
                    None => {}
                }
            } else if self.bits.take(1)? == 1 && *value & bit == 0 {
                *value = value.wrapping_add(if *value < 0 { -bit } else { bit });
            }
        }
        Ok(end)
    }

    /// Ends this block and others, in number a power of two and these many bits more.
    fn end(&mut self, bits: u32) -> Result<(), Fault> {
        self.ended = (1 << bits) + self.bits.take(bits)?;
        Ok(())
    }
}

impl Codes for Prefixes<'_> {
    fn block(&mut self, part: Part, place: usize, band: Band, block: &mut Block) -> Result<(), Fault> {
        if band.first == 0 {
            self.mean(part.dc, place, band, block)?;
        }
        if band.last == 0 {
            return Ok(());
        }
        let tables = self.tables;
        let table = tables.others.get(part.ac).and_then(Option::as_ref).ok_or(NONE)?;
        if band.refined { self.refine(table, band, block) } else { self.others(table, band, block) }
    }

    fn beyond(&self) -> u64 {
        // Its codes end with its bytes.
        0
    }
}
