//! Coefficients by decisions (T.81, F.1.4.1 to F.1.4.4, G.1.3): what the bins stand for.

use super::super::super::Fault;
use super::super::planes::Block;
use super::codes::{BEYOND, Band, Codes, Part};
use super::qm::{Bin, Qm};

/// Which statistics are taken, by the tables of a scan: bounds of small differences, and of low frequencies.
pub(super) struct Conditions {
    small: [(u8, u8); 16],
    low: [u8; 16],
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions { small: [(0, 1); 16], low: [5; 16] }
    }
}

impl Conditions {
    /// Of a segment that sets them.
    ///
    /// # Errors
    /// A damaged one.
    pub fn read(&mut self, content: &[u8]) -> Result<(), Fault> {
        for pair in content.chunks_exact(2) {
            let (table, value) = (usize::from(pair[0] & 15), pair[1]);
            match pair[0] >> 4 {
                0 if value & 15 <= value >> 4 => self.small[table] = (value & 15, value >> 4),
                1 if (1..=63).contains(&value) => self.low[table] = value,
                _ => return Err("the file is damaged: conditions of its arithmetic coding cannot be".into()),
            }
        }
        Ok(())
    }
}

/// The decisions of a restart interval, and what was decided before.
pub(super) struct Decisions<'a> {
    qm: Qm<'a>,
    statistics: Statistics,
    conditions: &'a Conditions,
    /// Per component of the scan: the first coefficient of its block before, and the context that it leaves.
    before: [(i32, usize); 4],
}

impl<'a> Decisions<'a> {
    /// As the interval begins.
    pub fn new(data: &'a [u8], conditions: &'a Conditions) -> Self {
        Decisions { qm: Qm::new(data), statistics: Statistics::new(), conditions, before: [(0, 0); 4] }
    }
}

impl Codes for Decisions<'_> {
    fn block(&mut self, part: Part, place: usize, band: Band, block: &mut Block) -> Result<(), Fault> {
        let (statistics, qm) = (&mut self.statistics, &mut self.qm);
        if band.first == 0 {
            let (before, context) = &mut self.before[place];
            statistics.mean(qm, part.dc, self.conditions, band, &mut (before, context), block)?;
        }
        if band.last > 0 {
            statistics.others(qm, part.ac, self.conditions, band, block)?;
        }
        Ok(())
    }

    fn beyond(&self) -> u64 {
        self.qm.beyond()
    }
}

/// The bins of all tables.
struct Statistics {
    dc: [[Bin; 64]; 16],
    ac: [[Bin; 256]; 16],
}

impl Statistics {
    /// As a restart interval begins.
    fn new() -> Self {
        Statistics { dc: [[0; 64]; 16], ac: [[0; 256]; 16] }
    }

    /// The first coefficient. Known from the component's block before are its value and the context.
    ///
    /// # Errors
    /// A damaged code.
    fn mean(
        &mut self,
        qm: &mut Qm<'_>,
        table: usize,
        conditions: &Conditions,
        band: Band,
        known: &mut (&mut i32, &mut usize),
        block: &mut Block,
    ) -> Result<(), Fault> {
        if band.refined {
            block[0] |= i16::from(qm.even()) << band.shift;
            return Ok(());
        }
        let bins = &mut self.dc[table];
        let (before, context) = known;
        let at = **context;
        if qm.decide(&mut bins[at]) {
            let negative = qm.decide(&mut bins[at + 1]);
            let mut at = at + 2 + usize::from(negative);
            let mut size = i32::from(qm.decide(&mut bins[at]));
            if size > 0 {
                (size, at) = doubled(qm, bins, 20, size)?;
            }
            let (small, large) = conditions.small[table];
            let half = |bits: u8| (1 << bits) >> 1;
            **context = match size {
                _ if size < half(small) => 0,
                _ if size > half(large) => 12 + 4 * usize::from(negative),
                _ => 4 + 4 * usize::from(negative),
            };
            let value = filled(qm, &mut bins[at + 14], size);
            **before = before.wrapping_add(if negative { -value } else { value });
        } else {
            **context = 0;
        }
        // Of a damaged file there may be too many bits.
        block[0] = (**before << band.shift) as i16;
        Ok(())
    }

    /// The others of a band.
    ///
    /// # Errors
    /// A damaged code.
    fn others(
        &mut self,
        qm: &mut Qm<'_>,
        table: usize,
        conditions: &Conditions,
        band: Band,
        block: &mut Block,
    ) -> Result<(), Fault> {
        let bins = &mut self.ac[table];
        if band.refined {
            return refine(qm, bins, band, block);
        }
        let mut k = band.first.max(1);
        // Of each coefficient three bins: whether the rest is zero, whether it is not, how large it is.
        while k <= band.last && !qm.decide(&mut bins[3 * (k - 1)]) {
            while !qm.decide(&mut bins[3 * (k - 1) + 1]) {
                k += 1;
                if k > band.last {
                    return Err(BEYOND.into());
                }
            }
            let negative = qm.even();
            let mut at = 3 * (k - 1) + 2;
            let mut size = i32::from(qm.decide(&mut bins[at]));
            if size > 0 && qm.decide(&mut bins[at]) {
                (size, at) =
                    doubled(qm, bins, if k <= usize::from(conditions.low[table]) { 189 } else { 217 }, 2)?;
            }
            let value = filled(qm, &mut bins[at + 14], size);
            block[k] = ((if negative { -value } else { value }) << band.shift) as i16;
            k += 1;
        }
        Ok(())
    }
}

/// Adds a bit to what earlier scans brought of a band.
fn refine(qm: &mut Qm<'_>, bins: &mut [Bin; 256], band: Band, block: &mut Block) -> Result<(), Fault> {
    let bit = 1_i16 << band.shift;
    // Up to where the earlier ones went, no end is coded.
    let known = (1..=band.last).rev().find(|k| block[*k] != 0).unwrap_or(0);
    let mut k = band.first;
    while k <= band.last && !(k > known && qm.decide(&mut bins[3 * (k - 1)])) {
        loop {
            let (at, value) = (3 * (k - 1), &mut block[k]);
            if *value != 0 {
                if qm.decide(&mut bins[at + 2]) {
                    *value = value.wrapping_add(if *value < 0 { -bit } else { bit });
                }
                break;
            }
            if qm.decide(&mut bins[at + 1]) {
                *value = if qm.even() { -bit } else { bit };
                break;
            }
            k += 1;
            if k > band.last {
                return Err(BEYOND.into());
            }
        }
        k += 1;
    }
    Ok(())
}

/// The power of two that a value less one reaches, and the bin that said so.
fn doubled(qm: &mut Qm<'_>, bins: &mut [Bin], mut at: usize, mut size: i32) -> Result<(i32, usize), Fault> {
    while qm.decide(&mut bins[at]) {
        size <<= 1;
        at += 1;
        if size == 0x8000 {
            return Err("the file is damaged: a coefficient has too many bits".into());
        }
    }
    Ok((size, at))
}

/// A value of this power of two: its lower bits follow.
fn filled(qm: &mut Qm<'_>, bin: &mut Bin, size: i32) -> i32 {
    let (mut value, mut bit) = (size, size >> 1);
    while bit > 0 {
        if qm.decide(bin) {
            value |= bit;
        }
        bit >>= 1;
    }
    value + 1
}
