//! How pages are compressed. All of them are inflated to the size that their header claims and no further: the parquet crate
//! does not hold gzip and brotli, of which a few bytes can be gigabytes, to it.

use std::io::Read;

use brotli_decompressor::Decompressor;
use flate2::read::MultiGzDecoder;
use lz4_flex::{block, frame::FrameDecoder};

/// What a column is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// Nothing.
    None,
    /// Snappy.
    Snappy,
    /// One gzip member or several.
    Gzip,
    /// Brotli.
    Brotli,
    /// What the first writers called LZ4: Hadoop's frames, LZ4's own, or bare blocks.
    Lz4,
    /// Zstandard.
    Zstd,
    /// LZ4's bare blocks.
    Lz4Raw,
}

/// Codecs that are read, for messages.
const READ: &str = "none, snappy, gzip, brotli, zstd and lz4";

impl Codec {
    /// By parquet's number of it.
    ///
    /// # Errors
    /// One that is not read, by its name.
    pub fn of(number: i64) -> Result<Self, String> {
        Ok(match number {
            0 => Codec::None,
            1 => Codec::Snappy,
            2 => Codec::Gzip,
            3 => {
                return Err(format!(
                    "compressed with lzo, which is not read: write the file with another ({READ} are)"
                ));
            }
            4 => Codec::Brotli,
            5 => Codec::Lz4,
            6 => Codec::Zstd,
            7 => Codec::Lz4Raw,
            _ => {
                return Err(format!(
                    "compressed with codec {number}, which is not known: write the file with another ({READ} are read)"
                ));
            }
        })
    }

    /// The `size` bytes that `packed` holds.
    ///
    /// # Errors
    /// When it holds others or another number, or memory is out.
    pub fn inflate(self, packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let out = match self {
            Codec::None => return Err("the page is not compressed".into()),
            Codec::Snappy => {
                let (mut out, length) = (room(size)?, snap::raw::decompress_len(packed).map_err(text)?);
                if length != size {
                    return Err(other_size(length, size));
                }
                out.resize(size, 0);
                let length = snap::raw::Decoder::new().decompress(packed, &mut out).map_err(text)?;
                out.truncate(length);
                out
            }
            Codec::Gzip => exactly(MultiGzDecoder::new(packed), size)?,
            Codec::Brotli => exactly(Decompressor::new(packed, BUFFER), size)?,
            Codec::Zstd => {
                let mut out = room(size)?;
                let mut zstd = zstd::bulk::Decompressor::new().map_err(text)?;
                zstd.decompress_to_buffer(packed, &mut out).map_err(text)?;
                out
            }
            Codec::Lz4Raw => raw(packed, size)?,
            Codec::Lz4 => hadoop(packed, size)
                .or_else(|_| exactly(FrameDecoder::new(packed), size))
                .or_else(|_| raw(packed, size))?,
        };
        if out.len() == size { Ok(out) } else { Err(other_size(out.len(), size)) }
    }
}

/// Bytes that are taken from a compressed page at a time.
const BUFFER: usize = 1 << 16;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn other_size(found: usize, claimed: usize) -> String {
    format!("a page of {found} bytes or more, where its header says {claimed}")
}

/// Memory for so many bytes.
fn room(size: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    out.try_reserve_exact(size).map_err(|_| format!("no memory for a page of {size} bytes"))?;
    Ok(out)
}

/// All that `reader` gives, if it is so many bytes; no more than one beyond them is asked for.
fn exactly(reader: impl Read, size: usize) -> Result<Vec<u8>, String> {
    let mut out = room(size + 1)?;
    reader.take(size as u64 + 1).read_to_end(&mut out).map_err(text)?;
    Ok(out)
}

/// A bare block.
fn raw(packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut out = room(size)?;
    out.resize(size, 0);
    let length = block::decompress_into(packed, &mut out).map_err(text)?;
    out.truncate(length);
    Ok(out)
}

/// Blocks, each behind its inflated and its packed size, the highest byte first.
fn hadoop(mut packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut out = room(size)?;
    while let Some((sizes, rest)) = packed.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *sizes;
        let (inflated, length) =
            (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]) as usize);
        let bytes = rest.get(..length).ok_or("a block ends too early")?;
        if inflated > size - out.len() {
            return Err(other_size(out.len() + inflated, size));
        }
        let block = raw(bytes, inflated)?;
        if block.len() != inflated {
            return Err(other_size(block.len(), inflated));
        }
        out.extend(block);
        packed = &rest[length..];
    }
    if packed.is_empty() { Ok(out) } else { Err("bytes behind the last block".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// 16 MiB of zeros.
    const BROTLI: [u8; 26] = [
        0xcb, 0xff, 0xff, 0x3f, 0, 0x24, 0, 0xe2, 0xb1, 0x40, 0x72, 0xef, 0xff, 0xf2, 0xff, 0xff, 0x0f, 0x80,
        0x04, 0x40, 0x1c, 0x16, 0x80, 0xee, 0xfd, 0x1f,
    ];
    const LARGE: usize = 16 << 20;

    fn packed() -> Vec<(Codec, Vec<u8>)> {
        let zeros = vec![0; LARGE];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&zeros).unwrap();
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(&zeros).unwrap();
        let block = block::compress(&zeros);
        let sizes = [LARGE, block.len()].map(|size| (size as u32).to_be_bytes()).concat();
        vec![
            (Codec::Brotli, BROTLI.to_vec()),
            (Codec::Gzip, gzip.finish().unwrap()),
            (Codec::Snappy, snap::raw::Encoder::new().compress_vec(&zeros).unwrap()),
            (Codec::Zstd, zstd::bulk::compress(&zeros, 1).unwrap()),
            (Codec::Lz4Raw, block.clone()),
            (Codec::Lz4, frame.finish().unwrap()),
            (Codec::Lz4, [sizes, block.clone()].concat()),
            (Codec::Lz4, block),
        ]
    }

    #[test]
    fn pages_have_the_size_that_is_claimed_or_are_refused() {
        for (codec, bytes) in packed() {
            assert_eq!(codec.inflate(&bytes, LARGE).unwrap(), vec![0; LARGE], "{codec:?}");
            for size in [LARGE - 1, LARGE + 1, 100, 0] {
                let error = codec.inflate(&bytes, size).map(|page| page.len()).unwrap_err();
                assert!(!error.is_empty(), "{codec:?}, {size}");
            }
            assert!(codec.inflate(&bytes[..bytes.len() / 2], LARGE).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn codecs_that_are_not_read_are_named() {
        assert!(Codec::of(3).unwrap_err().contains("compressed with lzo, which is not read"));
        assert!(Codec::of(8).unwrap_err().contains("codec 8, which is not known"));
        assert_eq!(Codec::of(6), Ok(Codec::Zstd));
    }
}
