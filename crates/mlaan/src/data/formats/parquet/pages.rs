//! The pages of a column, for the parquet crate to take values out of.
//!
//! Headers are read and pages inflated here, so that what a file claims of itself is checked against its bytes before it costs
//! time or memory: the crate takes claims as they are.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

use super::super::super::at::read_exact_at;
use super::codec::Codec;
use super::delta;
use super::footer::Chunk;
use super::thrift::{Fault, Struct, parse};

/// Bytes of a header that are read at first; statistics in it may be long.
const HEADER: u64 = 1 << 10;
/// Longest header.
const MOST_HEADER: u64 = 16 << 20;

/// Bytes that pages may inflate to in one pass over a file: compressed pictures hardly shrink any further, so what is
/// beyond this is no data set.
#[derive(Clone)]
pub(super) struct Budget {
    left: Arc<AtomicU64>,
    /// Bytes that the largest page took, as it lies in the file and inflated.
    largest: Arc<AtomicUsize>,
}

impl Budget {
    /// For a file of so many bytes.
    pub fn of(size: u64) -> Self {
        /// Small files may hold the same picture a thousand times.
        const LEAST: u64 = 64 << 20;
        const TIMES: u64 = 1024;
        let left = LEAST.saturating_add(size.saturating_mul(TIMES));
        Budget { left: Arc::new(AtomicU64::new(left)), largest: Arc::default() }
    }

    /// Bytes that the largest page took.
    pub fn largest(&self) -> usize {
        self.largest.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<()> {
        let left =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        left.map(drop).map_err(|_| damaged("its pages claim to be larger than the file can hold"))
    }
}

/// See the module.
pub(super) struct Pages {
    file: Arc<File>,
    codec: Codec,
    levels: i16,
    /// Where the next header begins, or the page where that is read already.
    at: u64,
    /// Bytes of the column from there on.
    left: u64,
    /// Values of the column that no page had yet.
    values: u64,
    budget: Budget,
    next: Option<Header>,
    /// A dictionary that was skipped, and where it lies.
    deferred: Option<(Header, u64)>,
}

/// What pages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageHeader {
    Dictionary,
    /// With the encodings of its levels.
    First {
        nullable: Encoding,
        repeated: Encoding,
    },
    /// With its rows and nulls, the bytes of its levels, and whether the others are compressed.
    Second {
        rows: u32,
        nulls: u32,
        nullable: u32,
        repeated: u32,
        compressed: bool,
    },
}

/// What is said of a page.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: PageHeader,
    values: u32,
    encoding: Encoding,
    /// Bytes in the file.
    packed: usize,
    /// Bytes inflated.
    size: usize,
}

impl Pages {
    /// The pages of `chunk`, of a column so many of whose levels may be null.
    ///
    /// # Errors
    /// A codec that is not read.
    pub fn new(
        file: Arc<File>,
        chunk: &Chunk,
        levels: i16,
        budget: Budget,
    ) -> std::result::Result<Self, String> {
        let codec = Codec::of(chunk.codec)?;
        Ok(Pages {
            file,
            codec,
            levels,
            at: chunk.start,
            left: chunk.bytes,
            values: chunk.values,
            budget,
            next: None,
            deferred: None,
        })
    }

    /// The next page's header; none behind the last.
    fn header(&mut self) -> Result<Option<Header>> {
        while self.next.is_none() && self.left > 0 {
            let (header, length) = self.read_header()?;
            self.pass(length)?;
            match header {
                Some(header) => self.next = Some(header),
                None => continue,
            }
        }
        Ok(self.next)
    }

    fn pass(&mut self, bytes: u64) -> Result<()> {
        self.left =
            self.left.checked_sub(bytes).ok_or_else(|| damaged("a page reaches beyond its column"))?;
        self.at = self.at.checked_add(bytes).ok_or_else(|| damaged("a page reaches beyond the file"))?;
        Ok(())
    }

    /// A header and its bytes; none for a page of another kind, with its bytes.
    fn read_header(&mut self) -> Result<(Option<Header>, u64)> {
        let (mut length, mut bytes) = (HEADER.min(self.left), Vec::new());
        loop {
            bytes.resize(length as usize, 0);
            read_exact_at(&self.file, &mut bytes, self.at)
                .map_err(|e| ParquetError::External(Box::new(e)))?;
            match parse(&bytes) {
                Ok((fields, used)) => return self.checked(&fields, used as u64),
                Err(Fault::End) if length < self.left.min(MOST_HEADER) => {
                    length = (length * 8).min(self.left).min(MOST_HEADER);
                }
                Err(_) => return Err(damaged("the header of a page is damaged")),
            }
        }
    }

    /// A header whose claims agree with the bytes that are there.
    fn checked(&mut self, fields: &Struct<'_>, length: u64) -> Result<(Option<Header>, u64)> {
        let missing = || damaged("the header of a page lacks a number");
        let number =
            |of: &Struct<'_>, id| of.size(id).and_then(|n| u32::try_from(n).ok()).ok_or_else(missing);
        let (size, packed) = (number(fields, 2)?, number(fields, 3)?);
        if u64::from(packed) > self.left.saturating_sub(length) {
            return Err(damaged("a page reaches beyond its column"));
        }
        let (kind, about) = match (fields.number(1), fields.within(5), fields.within(7), fields.within(8)) {
            (Some(0), Some(about), _, _) => {
                (PageHeader::First { nullable: encoding(about, 3)?, repeated: encoding(about, 4)? }, about)
            }
            (Some(2), _, Some(about), _) => (PageHeader::Dictionary, about),
            (Some(3), _, _, Some(about)) => {
                let kind = PageHeader::Second {
                    nulls: number(about, 2)?,
                    rows: number(about, 3)?,
                    nullable: number(about, 5)?,
                    repeated: number(about, 6)?,
                    compressed: about.flag(7).unwrap_or(true),
                };
                (kind, about)
            }
            (Some(0 | 2 | 3), ..) => return Err(missing()),
            _ => return Ok((None, length + u64::from(packed))),
        };
        let of_values = if matches!(kind, PageHeader::Second { .. }) { 4 } else { 2 };
        let (values, encoding) = (number(about, 1)?, encoding(about, of_values)?);
        let header = Header { kind, values, encoding, packed: packed as usize, size: size as usize };
        self.plausible(&header)?;
        Ok((Some(header), length))
    }

    fn plausible(&mut self, header: &Header) -> Result<()> {
        let size = header.size as u64;
        match header.kind {
            // Values that are worth a dictionary take four bytes at least.
            PageHeader::Dictionary if u64::from(header.values) * 4 > size => {
                return Err(damaged("a dictionary claims more values than it has bytes"));
            }
            PageHeader::Dictionary => {}
            PageHeader::First { .. } | PageHeader::Second { .. } => {
                let left = self.values.checked_sub(header.values.into());
                self.values =
                    left.ok_or_else(|| damaged("the pages of a column have more values than it"))?;
            }
        }
        if let PageHeader::Second { nullable, repeated, nulls, .. } = header.kind {
            let levels = u64::from(nullable) + u64::from(repeated);
            if levels > size || levels > header.packed as u64 || nulls > header.values {
                return Err(damaged("a page is too short for what its header says of it"));
            }
        }
        self.budget.take(size.max(header.packed as u64))
    }

    /// The page that follows `header` at `at`.
    fn page(&self, header: Header, at: u64) -> Result<Page> {
        self.budget.largest.fetch_max(header.packed.saturating_add(header.size), Ordering::Relaxed);
        let mut packed = vec![0; header.packed];
        read_exact_at(&self.file, &mut packed, at).map_err(|e| ParquetError::External(Box::new(e)))?;
        // Levels of the second kind are never compressed.
        let (plain, compressed) = match header.kind {
            PageHeader::Second { nullable, repeated, compressed, .. } => {
                ((nullable + repeated) as usize, compressed)
            }
            _ => (0, true),
        };
        let bytes = if self.codec == Codec::None || !compressed || header.size == plain {
            packed
        } else {
            let inflated = self.codec.inflate(&packed[plain..], header.size - plain);
            let mut inflated = inflated.map_err(|e| damaged(&format!("a page cannot be inflated ({e})")))?;
            inflated.splice(..0, packed[..plain].iter().copied());
            inflated
        };
        let values = self.values_within(&header, &bytes);
        if !values.is_some_and(|own| delta::plausible(header.encoding, header.values, own)) {
            return Err(damaged("a page claims other values than it has"));
        }
        let (buf, num_values, encoding) = (bytes.into(), header.values, header.encoding);
        Ok(match header.kind {
            PageHeader::Dictionary => Page::DictionaryPage { buf, num_values, encoding, is_sorted: false },
            PageHeader::First { nullable, repeated } => Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding: nullable,
                rep_level_encoding: repeated,
                statistics: None,
            },
            PageHeader::Second { rows, nulls, nullable, repeated, compressed } => Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls: nulls,
                num_rows: rows,
                def_levels_byte_len: nullable,
                rep_levels_byte_len: repeated,
                is_compressed: compressed,
                statistics: None,
            },
        })
    }

    /// The bytes of a page behind its levels.
    fn values_within<'a>(&self, header: &Header, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let start = match header.kind {
            PageHeader::Dictionary => 0,
            PageHeader::Second { nullable, repeated, .. } => (nullable + repeated) as usize,
            PageHeader::First { .. } if self.levels == 0 => 0,
            PageHeader::First { nullable: Encoding::RLE, .. } => {
                let length = bytes.first_chunk::<4>().map(|length| u32::from_le_bytes(*length))?;
                (length as usize).checked_add(4)?
            }
            PageHeader::First { .. } => {
                let bits = (i16::BITS - self.levels.leading_zeros()) as usize;
                (header.values as usize).checked_mul(bits)?.div_ceil(8)
            }
        };
        bytes.get(start..)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(header) = self.header()? else {
            return Ok(None);
        };
        let at = self.at;
        self.skip_next_page()?;
        if header.kind == PageHeader::Dictionary {
            // It is handed over now.
            self.deferred = None;
        }
        self.page(header, at).map(Some)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let about = |header: Header| {
            let rows = match header.kind {
                PageHeader::Second { rows, .. } => Some(rows as usize),
                _ => None,
            };
            let is_dict = header.kind == PageHeader::Dictionary;
            PageMetadata { num_rows: rows, num_levels: (!is_dict).then_some(header.values as usize), is_dict }
        };
        Ok(self.header()?.map(about))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        if let Some(header) = self.header()? {
            if header.kind == PageHeader::Dictionary {
                self.deferred = Some((header, self.at));
            }
            self.next = None;
            self.pass(header.packed as u64)?;
        }
        Ok(())
    }

    fn supports_deferred_dictionary(&self) -> bool {
        true
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.deferred.take().map(|(header, at)| self.page(header, at)).transpose()
    }
}

fn encoding(of: &Struct<'_>, id: i16) -> Result<Encoding> {
    Ok(match of.number(id) {
        Some(0) => Encoding::PLAIN,
        Some(2) => Encoding::PLAIN_DICTIONARY,
        Some(3) => Encoding::RLE,
        #[expect(deprecated, reason = "old files have it")]
        Some(4) => Encoding::BIT_PACKED,
        Some(5) => Encoding::DELTA_BINARY_PACKED,
        Some(6) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        Some(7) => Encoding::DELTA_BYTE_ARRAY,
        Some(8) => Encoding::RLE_DICTIONARY,
        Some(9) => Encoding::BYTE_STREAM_SPLIT,
        other => return Err(ParquetError::NYI(format!("values in encoding {}", other.unwrap_or(-1)))),
    })
}

fn damaged(message: &str) -> ParquetError {
    ParquetError::General(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A whole number in seven bits a byte; `number` is not negative.
    fn number(number: u32) -> Vec<u8> {
        let mut left = u64::from(number) << 1;
        let mut bytes = Vec::new();
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes
    }

    /// A page of this kind, its sizes as claimed, about it `numbers`.
    fn page(kind: u32, (size, packed): (u32, u32), numbers: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut page = Vec::new();
        for value in [kind, size, packed] {
            page.push(0x15);
            page.extend(number(value));
        }
        // Fields 5, 7 and 8 are those of the three kinds.
        page.push([0x2C, 0x3C, 0x4C, 0x5C][kind as usize]);
        for value in numbers {
            page.push(0x15);
            page.extend(number(*value));
        }
        page.extend([0, 0]);
        page.extend(bytes);
        page
    }

    fn first(bytes: &[u8], codec: i64, values: u64) -> Result<Option<Page>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let chunk = Chunk { codec, start: 0, bytes: bytes.len() as u64, values, unread: None };
        let mut pages = Pages::new(Arc::new(file), &chunk, 0, Budget::of(bytes.len() as u64)).unwrap();
        pages.get_next_page()
    }

    #[test]
    fn claims_are_held_against_bytes() {
        let bytes = [0; 16];
        let huge = i32::MAX as u32;
        let fits = page(0, (16, 16), &[2, 0, 3, 3], &bytes);
        assert!(matches!(first(&fits, 0, 2), Ok(Some(Page::DataPage { num_values: 2, .. }))));
        for (what, page) in [
            ("values of a dictionary", page(2, (16, 16), &[huge, 0], &bytes)),
            ("values of a page", page(0, (16, 16), &[3, 0, 3, 3], &bytes)),
            ("bytes in the file", page(0, (16, 17), &[2, 0, 3, 3], &bytes)),
            ("bytes inflated", page(0, (huge, 16), &[2, 0, 3, 3], &bytes)),
            ("levels", page(3, (16, 16), &[2, 0, 2, 0, 17, 0], &bytes)),
            ("nulls", page(3, (16, 16), &[2, 3, 2, 0, 0, 0], &bytes)),
            ("a length that is negative", [&[0x15, 0, 0x15, 0x20, 0x15, 1][..], &[0; 20]].concat()),
            ("a kind without its header", page(0, (16, 16), &[], &bytes)),
            ("a header without an end", vec![0x15, 0, 0x15]),
        ] {
            for codec in [0, 2, 4, 6] {
                assert!(first(&page, codec, 2).is_err(), "{what}, codec {codec}");
            }
        }
        // Other kinds are passed over.
        let other = [page(1, (4, 4), &[], &[]), vec![0; 4]].concat();
        assert!(matches!(first(&[&other[..], &fits].concat(), 0, 2), Ok(Some(Page::DataPage { .. }))));
    }
}
