//! What an encoded image may ask for: decoding takes memory by what its header says, before any pixel is there.
//!
//! Formats cannot hold any number of pixels in a byte. What is beyond that is no picture, however blank: the emptiest ones
//! that encoders write have half of a JPEG's bound, and come within 1 % of a PNG's.

use super::decode::tags;

/// Longest side accepted.
pub(super) const MAX_SIDE: u32 = 32_768;
/// Most pixels: 134 million, 384 MiB as RGB; more than cameras have, but for a few.
const MAX_PIXELS: u64 = 1 << 27;
/// How many times as long as the other a side may be: more would take gigabytes once the shorter side has the size of
/// the others'.
const MAX_RATIO: usize = 256;
/// Pixels that a byte of a JPEG holds at the most: a block of 8x8 pixels takes a bit for its mean.
const JPEG: u64 = 8 * 64;
/// Bytes of pixels that a byte of a PNG holds at the most: deflate repeats 258 bytes by two bits.
const PNG: u64 = 258 * 8 / 2;
/// Bytes that a byte of LZW codes holds at the most, in a GIF or TIFF: a code of 12 bits names up to 4096.
const LZW: u64 = 4096 * 8 / 12 + 1;
/// Bytes that a byte of zstd holds at the most: four say a block of 128 KiB that repeats one.
const ZSTD: u64 = (128 << 10) / 4;
/// Pixels that a byte of a run-length coded BMP holds at the most: two bytes say 255.
const RUNS: u64 = 128;
/// What a PNG begins with.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Refuses sizes that no picture has, or none that is encoded in these bytes.
///
/// # Errors
/// What is wrong with them.
pub(super) fn plausible(encoded: &[u8], (height, width): (usize, usize)) -> Result<(), String> {
    of_a_picture((height, width))?;
    let pixels = height as u64 * width as u64;
    let bytes = encoded.len() as u64;
    let fits = match encoded {
        [0xFF, 0xD8, ..] => pixels <= bytes * JPEG,
        [b'G', b'I', b'F', ..] => pixels <= bytes * LZW,
        [b'B', b'M', ..] if matches!(encoded.get(30), Some(1 | 2)) => pixels <= bytes * RUNS,
        [b'B', b'M', ..] => pixels <= bytes * 8,
        // Eight pixels a byte.
        [b'P', b'1'..=b'7', ..] => pixels <= bytes * 8,
        // Pixels of one bit; blank lines of a fax are one bit each.
        [b'I', b'I', ..] | [b'M', b'M', ..] if fax(encoded) => pixels <= bytes * 8 * width as u64,
        [b'I', b'I', ..] | [b'M', b'M', ..] if compression(encoded) == Some(50000) => {
            pixels <= bytes * 8 * ZSTD
        }
        [b'I', b'I', ..] | [b'M', b'M', ..] => pixels <= bytes * 8 * LZW,
        _ => match png_bits(encoded) {
            Some(bits) => pixels * bits / 8 <= bytes * PNG,
            // A WebP may say of all its pixels at once that they are alike.
            None => true,
        },
    };
    if fits {
        Ok(())
    } else {
        Err(format!("{width}x{height} pixels cannot be in {bytes} bytes: the file is damaged"))
    }
}

/// Refuses sizes that no picture has, whatever its bytes.
///
/// # Errors
/// What is wrong with them.
pub(super) fn of_a_picture((height, width): (usize, usize)) -> Result<(), String> {
    let sides = || format!("{width}x{height} pixels");
    let pixels = (height as u64).saturating_mul(width as u64);
    if pixels == 0 {
        return Err(format!("the image has no pixels ({width}x{height})"));
    }
    if height.max(width) > MAX_SIDE as usize || pixels > MAX_PIXELS {
        let most = format!("{} million pixels, {MAX_SIDE} a side", MAX_PIXELS / 1_000_000);
        return Err(format!("{} are too many for an image: scale it down (read are up to {most})", sides()));
    }
    if height.max(width) > MAX_RATIO * height.min(width) {
        return Err(format!("{}: one side is more than {MAX_RATIO} times the other", sides()));
    }
    Ok(())
}

/// Whether a TIFF's lines are coded as a fax's are.
fn fax(encoded: &[u8]) -> bool {
    matches!(compression(encoded), Some(2..=4))
}

/// How a TIFF is compressed.
fn compression(encoded: &[u8]) -> Option<u32> {
    tags::number(encoded, tags::COMPRESSION)
}

/// Bits of a pixel, as a PNG's header says.
fn png_bits(encoded: &[u8]) -> Option<u64> {
    if !encoded.starts_with(&SIGNATURE) {
        return None;
    }
    let (depth, colour) = (*encoded.get(24)?, *encoded.get(25)?);
    let channels = match colour {
        2 => 3,
        4 => 2,
        6 => 4,
        // Grey, or numbers of colours; others are refused by the decoder.
        _ => 1,
    };
    Some(u64::from(depth) * channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_format_cannot_hold_is_refused() {
        let jpeg = |bytes: usize| [&[0xFF, 0xD8, 0xFF][..], &vec![0; bytes - 3]].concat();
        // 170 pixels a byte is a blank picture with the best codes.
        assert_eq!(plausible(&jpeg(6000), (1000, 1020)), Ok(()));
        let message = plausible(&jpeg(700), (8000, 16_000)).unwrap_err();
        assert!(message.contains("16000x8000 pixels cannot be in 700 bytes"), "{message}");
        let png = |depth: u8, colour: u8, bytes: usize| {
            let mut png = [&SIGNATURE[..], &[0; 16], &[depth, colour]].concat();
            png.resize(bytes, 0);
            png
        };
        // As an encoder packs a black picture of 6000x6000 pixels.
        for (depth, colour, bytes) in [(1, 0, 4446), (8, 0, 35_018), (8, 2, 104_898)] {
            assert_eq!(plausible(&png(depth, colour, bytes), (6000, 6000)), Ok(()));
            assert!(plausible(&png(depth, colour, bytes * 9 / 10), (6000, 6000)).is_err());
        }
        for (start, least) in [(&b"GIF89a"[..], 2048), (b"BM", 698_880), (b"P4", 698_880), (b"II*\0", 256)] {
            let of = |bytes: usize| [start, &vec![0; bytes - start.len()]].concat();
            let pixels = (2048, 2730);
            assert_eq!(plausible(&of(least), pixels), Ok(()), "{start:?}");
            assert!(plausible(&of(least - 1), pixels).unwrap_err().contains("cannot be in"), "{start:?}");
        }
        // A blank page that came by fax; others only by their sizes.
        let mut fax = b"II*\0\x08\0\0\0\x01\0\x03\x01\x03\0\x01\0\0\0\x04\0\0\0".to_vec();
        fax.resize(450, 0);
        assert_eq!(plausible(&fax, (3508, 2480)), Ok(()));
        assert_eq!(plausible(b"RIFF", (10_000, 10_000)), Ok(()));
    }

    #[test]
    fn extents_beyond_all_pictures_are_refused() {
        let much = vec![0; 1 << 10];
        for (extents, part) in [
            ((0, 5), "no pixels"),
            ((40_000, 400), "too many"),
            ((20_000, 20_000), "up to 134 million pixels"),
            ((1, 257), "256 times"),
        ] {
            let message = plausible(&much, extents).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
