//! The first directory of a TIFF file, which EXIF metadata is, too.

use std::ops::Range;

/// What turns an image upright.
pub(in crate::data) const ORIENTATION: u16 = 0x112;
/// How a TIFF's pixels are compressed.
pub(in crate::data) const COMPRESSION: u16 = 0x103;

/// The first value of a whole number's tag; none where it is not there, or the bytes are no such directory.
pub(in crate::data) fn number(tiff: &[u8], wanted: u16) -> Option<u32> {
    Directory::first(tiff)?.number(wanted)
}

/// A directory: entries of tags.
pub(super) struct Directory<'a> {
    tiff: &'a [u8],
    little: bool,
    /// Whether places are numbers of 64 bits (BigTIFF).
    big: bool,
    /// Where the entries begin.
    at: usize,
    entries: usize,
}

impl<'a> Directory<'a> {
    /// The first of a TIFF file; none where the bytes are none.
    pub fn first(tiff: &'a [u8]) -> Option<Self> {
        let (little, big) = match tiff.get(..4)? {
            b"II*\0" => (true, false),
            b"MM\0*" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return None,
        };
        let mut directory = Directory { tiff, little, big, at: 0, entries: 0 };
        let from = usize::try_from(directory.whole(if big { 8..16 } else { 4..8 })?).ok()?;
        let count = if big { 8 } else { 2 };
        directory.at = from.checked_add(count)?;
        directory.entries = usize::try_from(directory.whole(from..directory.at)?).ok()?.min(tiff.len());
        Some(directory)
    }

    /// A whole number of so many bytes.
    fn whole(&self, place: Range<usize>) -> Option<u64> {
        let bytes = self.tiff.get(place)?.iter();
        let join = |number, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.little { bytes.rev().fold(0, join) } else { bytes.fold(0, join) })
    }

    /// Where a tag's entry lies.
    fn entry(&self, wanted: u16) -> Option<usize> {
        let size = if self.big { 20 } else { 12 };
        let places = (0..self.entries).map_while(|n| self.at.checked_add(size * n));
        places
            .map_while(|at| Some((at, self.whole(at..at + 2)?)))
            .find(|(_, tag)| *tag == u64::from(wanted))
            .map(|(at, _)| at)
    }

    /// Whether it has a tag.
    pub fn has(&self, wanted: u16) -> bool {
        self.entry(wanted).is_some()
    }

    /// Where the values of a tag lie, bytes of each, and how many there are.
    fn values(&self, wanted: u16) -> Option<(usize, usize, usize)> {
        let at = self.entry(wanted)?;
        let size = match self.whole(at + 2..at + 4)? {
            1 | 2 | 6 | 7 => 1,
            3 => 2,
            4 => 4,
            16 => 8,
            _ => return None,
        };
        let width = if self.big { 8 } else { 4 };
        let count = usize::try_from(self.whole(at + 4..at + 4 + width)?).ok()?;
        let within = at + 4 + width;
        let place = if count.checked_mul(size)? <= width {
            within
        } else {
            usize::try_from(self.whole(within..within + width)?).ok()?
        };
        Some((place, size, count))
    }

    /// The first value of a whole number's tag.
    pub fn number(&self, wanted: u16) -> Option<u32> {
        let at = self.entry(wanted)?;
        let size = match self.whole(at + 2..at + 4)? {
            1 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        // Some writers count wrongly; one value is all that is asked for, unless there are several.
        let place = self.values(wanted).filter(|(.., count)| *count > 1).map(|(place, ..)| place);
        let place = place.unwrap_or(at + if self.big { 12 } else { 8 });
        u32::try_from(self.whole(place..place.checked_add(size)?)?).ok()
    }

    /// All values of a tag of whole numbers.
    pub fn numbers(&self, wanted: u16) -> Option<Vec<u32>> {
        let (place, size, count) = self.values(wanted)?;
        let end = place.checked_add(count.checked_mul(size)?)?;
        (end <= self.tiff.len()).then_some(())?;
        (0..count)
            .map(|n| u32::try_from(self.whole(place + n * size..place + (n + 1) * size)?).ok())
            .collect()
    }

    /// The bytes of a tag's values.
    pub fn bytes(&self, wanted: u16) -> Option<&'a [u8]> {
        let (place, size, count) = self.values(wanted)?;
        self.tiff.get(place..place.checked_add(count.checked_mul(size)?)?)
    }

    /// Gives a tag of one whole number another value, in a copy of the file; none where it does not fit.
    pub fn change(&self, wanted: u16, value: u32, copy: &mut [u8]) -> Option<()> {
        let (place, size, _) = self.values(wanted)?;
        let bytes = copy.get_mut(place..place.checked_add(size)?)?;
        let number = u64::from(value).to_be_bytes();
        let (over, number) = number.split_at(8 - size);
        bytes.copy_from_slice(number);
        if self.little {
            bytes.reverse();
        }
        over.iter().all(|byte| *byte == 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_in_both_byte_orders_and_of_any_whole_type() {
        let little = |kind: u8| {
            let mut tiff = b"II*\0\x08\0\0\0\x02\0\x03\x01\x03\0\x01\0\0\0\x07\0\0\0\x12\x01".to_vec();
            tiff.extend([kind, 0, 1, 0, 0, 0, 6, 0, 0, 0]);
            tiff
        };
        for kind in [1, 3, 4] {
            assert_eq!(number(&little(kind), ORIENTATION), Some(6), "{kind}");
        }
        assert_eq!(number(&little(2), ORIENTATION), None);
        assert_eq!(number(&little(3), COMPRESSION), Some(7));
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!(number(big, ORIENTATION), Some(8));
        // Cut anywhere, or pointing anywhere.
        for end in 0..big.len() {
            let _ = number(&big[..end], ORIENTATION);
        }
        assert_eq!(number(b"MM\0*\xFF\xFF\xFF\xFF\0\x01", ORIENTATION), None);
    }

    #[test]
    fn several_values_and_large_files_are_read() {
        // Three numbers of 16 bits lie behind the directory; four bytes lie within an entry.
        let mut tiff =
            b"II*\0\x08\0\0\0\x02\0\x02\x01\x03\0\x03\0\0\0\x22\0\0\0\xBC\x02\x01\0\x04\0\0\0".to_vec();
        tiff.extend(b"abcd\x08\0\x08\0\x10\0");
        let directory = Directory::first(&tiff).unwrap();
        assert_eq!(directory.numbers(258), Some(vec![8, 8, 16]));
        assert_eq!(directory.number(258), Some(8));
        assert_eq!((directory.bytes(700), directory.has(259)), (Some(&b"abcd"[..]), false));
        assert!(Directory::first(&tiff[..38]).unwrap().numbers(258).is_none());
        let mut big =
            b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x01\x01\x12\0\x03\0\0\0\0\0\0\0\x01".to_vec();
        big.extend([0, 6, 0, 0, 0, 0, 0, 0]);
        let directory = Directory::first(&big).unwrap();
        assert_eq!(directory.number(ORIENTATION), Some(6));
        let mut copy = big.clone();
        assert_eq!(directory.change(ORIENTATION, 259, &mut copy), Some(()));
        assert_eq!(number(&copy, ORIENTATION), Some(259));
        assert_eq!(directory.change(ORIENTATION, 1 << 16, &mut copy), None);
    }
}
