//! Files made of chunks: PNG and WebP. What a decoder would not notice is looked at here: whether the file is whole, how it
//! is to be turned, and what would inflate without bound.

use std::borrow::Cow;

use super::CUT;
use super::orientation::{Metadata, Text};

/// What the chunks of a file say.
pub(super) struct Chunks<'a> {
    /// How the picture is to be turned.
    pub metadata: Metadata<'a>,
    /// The file for the decoder.
    pub bytes: Cow<'a, [u8]>,
}

/// Of a PNG: it ends with an end chunk. Colour profiles are left out of what is decoded: they are compressed, up to a
/// thousandfold, would be inflated, and are not used.
///
/// # Errors
/// A file that ends before its end chunk.
pub(super) fn png(encoded: &[u8]) -> Result<Chunks<'_>, String> {
    let mut metadata = Metadata::default();
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
            b"eXIf" => metadata.exif = Some(data),
            b"tEXt" | b"zTXt" | b"iTXt" => text(&head[4..], data, &mut metadata),
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
    Ok(Chunks { metadata, bytes })
}

/// Keeps a text of a PNG that may say how its picture is turned: of several the last, as Pillow does.
fn text<'a>(kind: &[u8], data: &'a [u8], metadata: &mut Metadata<'a>) {
    let field = |data: &'a [u8]| memchr::memchr(0, data).map(|end| (&data[..end], &data[end + 1..]));
    let Some((keyword, rest)) = field(data) else { return };
    let place = match keyword {
        b"Raw profile type exif" => &mut metadata.profile,
        b"XML:com.adobe.xmp" if kind == b"iTXt" => &mut metadata.xmp,
        _ => return,
    };
    let text = match (kind, rest) {
        (b"tEXt", rest) => Some(Text::Plain(rest)),
        (b"zTXt", [0, rest @ ..]) => Some(Text::Deflated(rest)),
        // A language and the keyword in it go before the text.
        (b"iTXt", [deflated, 0, rest @ ..]) => {
            let text = field(rest).and_then(|(_, rest)| field(rest)).map(|(_, text)| text);
            text.map(|text| if *deflated == 0 { Text::Plain(text) } else { Text::Deflated(text) })
        }
        _ => None,
    };
    *place = text.or(*place);
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
    let (mut at, mut metadata) = (12, Metadata::default());
    while let (Some(size), true) = (length(at + 4), at + 8 <= end) {
        let data = whole.get(at + 8..(at + 8).saturating_add(size)).ok_or(CUT)?;
        match &whole[at..at + 4] {
            b"EXIF" => metadata.exif = metadata.exif.or(Some(data)),
            b"XMP " => metadata.xmp = metadata.xmp.or(Some(Text::Plain(data))),
            _ => {}
        }
        at += 8 + size.next_multiple_of(2);
    }
    Ok(Chunks { metadata, bytes: Cow::Borrowed(whole) })
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
        assert_eq!((&seen.bytes[..], seen.metadata.exif), (&plain[..], Some(&b"MM"[..])));
        assert!(matches!(seen.bytes, Cow::Borrowed(_)));
        let with = file(&[&start, &profile, &middle, &profile, &exif, &end, b"behind it"]);
        assert_eq!(&png(&with).unwrap().bytes[..], &plain[..]);
        for lost in 1..end.len() {
            assert_eq!(png(&plain[..plain.len() - lost]).err().as_deref(), Some(CUT));
        }
    }
}
