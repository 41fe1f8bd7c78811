//! Files made of chunks: PNG and WebP. What a decoder would not notice is looked at here: whether the file is whole, how it
//! is to be turned, and what would inflate without bound.

use std::borrow::Cow;

use super::CUT;

/// What the chunks of a file say.
pub(super) struct Chunks<'a> {
    /// EXIF metadata.
    pub exif: Option<&'a [u8]>,
    /// The file for the decoder.
    pub bytes: Cow<'a, [u8]>,
}

/// Of a PNG: it ends with an end chunk. Colour profiles are left out of what is decoded: they are compressed, up to a
/// thousandfold, would be inflated, and are not used.
///
/// # Errors
/// A file that ends before its end chunk.
pub(super) fn png(encoded: &[u8]) -> Result<Chunks<'_>, String> {
    let mut exif = None;
    let mut profiles = Vec::new();
    let mut at = 8;
    loop {
        let head = encoded.get(at..at + 8).ok_or(CUT)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let end = at.saturating_add(length).saturating_add(12);
        let data = encoded.get(at + 8..end - 4).filter(|_| end <= encoded.len()).ok_or(CUT)?;
        match &head[4..] {
            b"IEND" => {
                at = end;
                break;
            }
            b"eXIf" => exif = exif.or(Some(data)),
            b"iCCP" => profiles.push(at..end),
            _ => {}
        }
        at = end;
    }
    let bytes = if profiles.is_empty() {
        Cow::Borrowed(&encoded[..at])
    } else {
        let mut kept = Vec::with_capacity(at);
        let mut from = 0;
        for profile in profiles {
            kept.extend_from_slice(&encoded[from..profile.start]);
            from = profile.end;
        }
        kept.extend_from_slice(&encoded[from..at]);
        Cow::Owned(kept)
    };
    Ok(Chunks { exif, bytes })
}

/// Of a WebP: it has as many bytes as its head says.
///
/// # Errors
/// A file with fewer.
pub(super) fn webp(encoded: &[u8]) -> Result<Chunks<'_>, String> {
    let length = |at: usize| -> Option<usize> {
        let bytes = encoded.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let end = length(4).ok_or(CUT)?.saturating_add(8);
    let whole = encoded.get(..end).ok_or(CUT)?;
    let (mut at, mut exif) = (12, None);
    while let (Some(size), true) = (length(at + 4), at + 8 <= end) {
        let data = whole.get(at + 8..(at + 8).saturating_add(size)).ok_or(CUT)?;
        if &whole[at..at + 4] == b"EXIF" {
            exif = exif.or(Some(data));
        }
        at += 8 + size.next_multiple_of(2);
    }
    Ok(Chunks { exif, bytes: Cow::Borrowed(whole) })
}

/// Refuses a GIF that ends within its first picture, or right behind it.
///
/// # Errors
/// Such a file.
pub(super) fn gif(encoded: &[u8]) -> Result<(), String> {
    // A colour table has three bytes for each of 2, 4, ... 256 colours.
    let table = |flags: u8| if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 };
    let byte = |at: usize| encoded.get(at).copied().ok_or(CUT);
    let mut at = 13 + table(byte(10)?);
    loop {
        match byte(at)? {
            0x21 => at = blocks(encoded, at + 2)?,
            0x2C => {
                at = blocks(encoded, at + 11 + table(byte(at + 9)?))?;
                return byte(at).map(drop).map_err(Into::into);
            }
            0x3B => return Err("the file has no picture".into()),
            _ => return Err("it is damaged: no block begins where one should".into()),
        }
    }
}

/// Where the data blocks end that begin at `at`.
fn blocks(encoded: &[u8], mut at: usize) -> Result<usize, String> {
    loop {
        match encoded.get(at).ok_or(CUT)? {
            0 => return Ok(at + 1),
            length => at += usize::from(*length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &[0; 4]].concat()
    }

    #[test]
    fn colour_profiles_never_reach_the_decoder() {
        let (start, middle, end) = (chunk(b"IHDR", &[1; 13]), chunk(b"IDAT", &[2; 9]), chunk(b"IEND", &[]));
        let (profile, exif) = (chunk(b"iCCP", &[3; 1000]), chunk(b"eXIf", b"MM"));
        let file = |parts: &[&[u8]]| [b"\x89PNG\r\n\x1a\n", &parts.concat()[..]].concat();
        let plain = file(&[&start, &middle, &exif, &end]);
        let seen = png(&plain).unwrap();
        assert_eq!((&seen.bytes[..], seen.exif), (&plain[..], Some(&b"MM"[..])));
        assert!(matches!(seen.bytes, Cow::Borrowed(_)));
        let with = file(&[&start, &profile, &middle, &profile, &exif, &end, b"behind it"]);
        assert_eq!(&png(&with).unwrap().bytes[..], &plain[..]);
        for lost in 1..end.len() {
            assert_eq!(png(&plain[..plain.len() - lost]).err().as_deref(), Some(CUT));
        }
    }

    #[test]
    fn a_gif_needs_its_first_picture_and_what_follows() {
        // Two colours; a comment; a frame with a table of its own; one block of data.
        let start = [&b"GIF89a\x01\0\x01\0\x80\0\0"[..], &[0; 6]].concat();
        let frame = [&b"\x2C\0\0\0\0\x01\0\x01\0\x80"[..], &[0; 6], b"\x02\x02\x44\x01\0"].concat();
        let whole = [&start[..], b"\x21\xFE\x02hi\0", &frame, b"\x3B"].concat();
        assert_eq!(gif(&whole), Ok(()));
        for length in 0..whole.len() {
            assert_eq!(gif(&whole[..length]), Err(CUT.into()), "{length}");
        }
        assert!(gif(&[&start[..], b"\x3B"].concat()).is_err());
        assert!(gif(&[&start[..], b"\x00"].concat()).is_err());
    }
}
