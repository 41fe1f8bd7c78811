//! Lengths that are packed as differences say themselves how many there are, and the parquet crate makes room for all of them
//! at once.

use parquet::basic::Encoding;

/// Whether the lengths in a page of so many values, nulls included, are no more than these.
pub(super) fn plausible(encoding: Encoding, values: u32, bytes: &[u8]) -> bool {
    match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => lengths(values, bytes).is_some(),
        Encoding::DELTA_BYTE_ARRAY => {
            let behind = lengths(values, bytes).and_then(|end| bytes.get(end..));
            behind.and_then(|bytes| lengths(values, bytes)).is_some()
        }
        _ => true,
    }
}

/// Where packed whole numbers end; none where they are more than `most`, or damaged.
fn lengths(most: u32, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut unsigned = || {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *bytes.get(at)?;
            at += 1;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    };
    let (block, parts, count) = (unsigned()?, unsigned()?, unsigned()?);
    unsigned()?;
    let divisible = (1..=bytes.len() as u64).contains(&parts) && block > 0 && block.is_multiple_of(8 * parts);
    if count > u64::from(most) || !divisible {
        return None;
    }
    let each = block / parts;
    // The first number lies in the header.
    let mut left = count.saturating_sub(1);
    while left > 0 {
        while *bytes.get(at)? >= 0x80 {
            at += 1;
        }
        at += 1;
        let widths = bytes.get(at..at.checked_add(usize::try_from(parts).ok()?)?)?;
        at += widths.len();
        for width in widths {
            if left > 0 {
                at = at.checked_add(usize::try_from((each / 8).checked_mul(u64::from(*width))?).ok()?)?;
                left = left.saturating_sub(each);
            }
        }
    }
    // The last part may be cut short where its last numbers are.
    Some(at.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_the_page_are_refused() {
        // Blocks of 128 in 4 parts; 3 numbers: 5, and two differences in 8 bits each.
        let header = |count: u8| [&[0x80, 1, 4, count, 10][..], &[2, 8, 0, 0, 0], &[0; 32]].concat();
        assert_eq!(lengths(3, &header(3)), Some(42));
        assert_eq!(lengths(2, &header(3)), None);
        assert_eq!(lengths(1, &header(1)), Some(5));
        // More blocks than there are bytes.
        assert_eq!(
            lengths(u32::MAX, &[&[0x80, 1, 4, 0xFF, 0xFF, 0xFF, 0x7F, 0][..], &[0; 64]].concat()),
            None
        );
        assert_eq!(lengths(9, &[0x80, 1, 0, 3, 0]), None);
        assert!(plausible(Encoding::PLAIN, 0, &[]));
        assert!(!plausible(Encoding::DELTA_BYTE_ARRAY, 3, &header(3)[..42]));
    }
}
