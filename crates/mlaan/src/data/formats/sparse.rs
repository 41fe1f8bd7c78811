//! Files with holes in tar archives (`tar -S`): only what is not zero is stored, with a map of where it belongs.

use std::io::{self, Read};

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

/// Most parts of a file; images have few holes.
const MOST_PARTS: usize = 1 << 16;

/// Where the stored parts of a file belong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holes {
    /// Bytes of the whole file.
    pub size: u64,
    /// Beginning and length of every part, in order.
    parts: Vec<(u64, u64)>,
}

impl Holes {
    /// Of parts of `stored` bytes together.
    ///
    /// # Errors
    /// Parts that overlap, or are not those that are stored.
    pub fn new(size: u64, parts: Vec<(u64, u64)>, stored: u64) -> io::Result<Self> {
        let mut end = 0_u64;
        let mut all = 0_u64;
        for (start, length) in &parts {
            let next = start.checked_add(*length).filter(|next| *start >= end && *next <= size);
            end = next.ok_or_else(|| wrong("its parts overlap, or lie behind its end"))?;
            all += length;
        }
        if all != stored {
            return Err(wrong("its map is not that of the bytes stored"));
        }
        Ok(Holes { size, parts })
    }

    /// The whole file, of what is stored of it; of at most `most` bytes.
    ///
    /// # Errors
    /// A larger one.
    pub fn fill(&self, stored: &[u8], most: u64) -> Result<Vec<u8>, String> {
        if self.size > most {
            return Err(format!("{} bytes, where at most {most} can be", self.size));
        }
        let mut whole = vec![0; self.size as usize];
        let mut rest = stored;
        for (start, length) in &self.parts {
            let (start, length) = (*start as usize, *length as usize);
            let (part, next) = rest.split_at_checked(length).ok_or("the archive ends within it")?;
            whole[start..start + length].copy_from_slice(part);
            rest = next;
        }
        Ok(whole)
    }

    /// The first bytes of the whole file, at most `most`, of the first that are stored of it.
    pub fn begin(&self, stored: &[u8], most: usize) -> Vec<u8> {
        let mut begin = vec![0; most.min(self.size as usize)];
        let mut rest = stored.iter();
        for (start, length) in &self.parts {
            for at in *start..(start + length).min(begin.len() as u64) {
                // `at` is below the length of what a process holds.
                begin[at as usize] = rest.next().copied().unwrap_or(0);
            }
        }
        begin
    }

    /// GNU's own form: four parts in the header, more in blocks behind it. Also gives the bytes of these blocks.
    ///
    /// # Errors
    /// A header that is damaged.
    pub fn gnu(header: &Header, reader: &mut impl Read, stored: u64) -> io::Result<(Self, u64)> {
        let gnu = header.as_gnu().ok_or_else(|| wrong("its header is not GNU's"))?;
        let (mut parts, mut bytes) = (Vec::new(), 0);
        add(&mut parts, &gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            reader.read_exact(block.as_mut_bytes())?;
            bytes += 512;
            add(&mut parts, block.sparse())?;
            more = block.is_extended();
        }
        Ok((Holes::new(gnu.real_size()?, parts, stored)?, bytes))
    }

    /// The form of pax headers of version 1: the map is text at the beginning of the content. Also gives its bytes.
    ///
    /// # Errors
    /// A map that is damaged.
    pub fn from_text(size: u64, reader: &mut impl Read, length: u64) -> io::Result<(Self, u64)> {
        let (mut numbers, mut bytes, mut line) = (Vec::<u64>::new(), 0_u64, Vec::new());
        let wanted = |numbers: &[u64]| numbers.first().map(|parts| parts.saturating_mul(2).saturating_add(1));
        while wanted(&numbers).is_none_or(|wanted| (numbers.len() as u64) < wanted) {
            let mut block = [0; 512];
            reader.read_exact(&mut block)?;
            bytes += 512;
            for byte in block {
                match byte {
                    b'\n' => numbers.push(number(&std::mem::take(&mut line))?),
                    byte => line.push(byte),
                }
                if wanted(&numbers).is_some_and(|wanted| numbers.len() as u64 == wanted) {
                    break;
                }
            }
            if numbers.len() > 2 * MOST_PARTS || line.len() > 32 || bytes > length {
                return Err(wrong("its map is too long"));
            }
        }
        let stored = length.checked_sub(bytes).ok_or_else(|| wrong("its map is too long"))?;
        Ok((Holes::new(size, pairs(&numbers[1..]), stored)?, bytes))
    }

    /// The form of pax headers of version 0: the map is a list of numbers.
    ///
    /// # Errors
    /// A map that is damaged.
    pub fn from_list(size: u64, list: &[u8], stored: u64) -> io::Result<Self> {
        let numbers: Vec<u64> = list.split(|b| *b == b',').map(number).collect::<io::Result<_>>()?;
        if numbers.len() > 2 * MOST_PARTS || numbers.len() % 2 == 1 {
            return Err(wrong("its map is too long, or cut"));
        }
        Holes::new(size, pairs(&numbers), stored)
    }
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn add(parts: &mut Vec<(u64, u64)>, headers: &[GnuSparseHeader]) -> io::Result<()> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        parts.push((header.offset()?, header.length()?));
    }
    if parts.len() > MOST_PARTS { Err(wrong("its map is too long")) } else { Ok(()) }
}

/// A number in digits.
pub(super) fn number(text: &[u8]) -> io::Result<u64> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| wrong("a number in its header is none"))
}

fn wrong(what: &str) -> io::Error {
    io::Error::other(format!("a file with holes: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_where_they_belong() {
        let holes = Holes::from_list(10, b"2,3,7,1", 4).unwrap();
        assert_eq!(holes.fill(b"abcd", 10).unwrap(), b"\0\0abc\0\0d\0\0");
        for most in 0..12 {
            assert_eq!(holes.begin(b"abcd", most), b"\0\0abc\0\0d\0\0"[..most.min(10)]);
        }
        assert!(holes.fill(b"abc", 10).is_err() && holes.fill(b"abcd", 9).is_err());
        for (list, stored) in
            [("2,3,4,1", 4), ("2,3", 4), ("2,9", 9), ("2", 2), ("x,1", 1), ("18446744073709551615,2", 2)]
        {
            assert!(Holes::from_list(10, list.as_bytes(), stored).is_err(), "{list}");
        }
    }

    #[test]
    fn the_map_is_read_from_the_content() {
        let mut block = b"2\n2\n3\n7\n1\n".to_vec();
        block.resize(512, 0);
        let (holes, bytes) = Holes::from_text(10, &mut &block[..], 516).unwrap();
        assert_eq!((holes, bytes), (Holes::from_list(10, b"2,3,7,1", 4).unwrap(), 512));
        assert!(Holes::from_text(10, &mut &block[..], 500).is_err());
        assert!(Holes::from_text(10, &mut &[b'1'; 512][..], 512).is_err());
    }
}
