//! The first directory of a TIFF file, which EXIF metadata is, too.

/// What turns an image upright.
pub(in crate::data) const ORIENTATION: u16 = 0x112;
/// How a TIFF's pixels are compressed.
pub(in crate::data) const COMPRESSION: u16 = 0x103;

/// The first value of a whole number's tag; none where it is not there, or the bytes are no such directory.
pub(in crate::data) fn number(tiff: &[u8], wanted: u16) -> Option<u32> {
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let two = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let four = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = four(4)? as usize;
    let entries = two(directory)?;
    for entry in 0..usize::from(entries) {
        let at = directory.checked_add(2 + 12 * entry)?;
        if two(at)? != wanted {
            continue;
        }
        // Some writers count wrongly; one value is all that is asked for.
        return match two(at + 2)? {
            1 => tiff.get(at + 8).map(|value| u32::from(*value)),
            3 => two(at + 8).map(u32::from),
            4 => four(at + 8),
            _ => None,
        };
    }
    None
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
}
